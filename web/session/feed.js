// Reads something of a room again and again, while its panel is open.

import { createRoomPoller } from '../room-poller.js';

const VISIBLE_MS = 2500;

/**
 * `read` resolves to `{changed, body}`; `onBody` gets each body that is new. `onChange` is told when the connection of
 * this feed changes.
 */
export function createFeed({ read, onBody, onChange, isHidden, now, random, timers = {} }) {
  let poller = null;
  let isPaused = false;
  let connection = 'connecting';
  /** What arrived after the panel was closed. The server says only once that it has changed. */
  let isMissed = false;

  function update(view) {
    if (view.connection === connection) return;
    connection = view.connection;
    onChange();
  }

  async function fetchBody() {
    const { changed, body } = await read();
    isMissed ||= changed;
    if (poller !== null) {
      onBody(body, isMissed);
      isMissed = false;
    }
    return { changed, items: [], truncated: false };
  }

  return {
    isOpen: () => poller !== null,
    connection: () => connection,
    open() {
      if (poller !== null) return;
      connection = 'connecting';
      poller = createRoomPoller({ fetchRoom: fetchBody, onUpdate: update, visibleMs: VISIBLE_MS, isHidden, now, random, ...timers });
      if (isPaused) poller.pause();
      else poller.start();
    },
    /** Reads now, for instance because this person has just written. */
    nudge: () => poller?.nudge(),
    /** Reads nothing until `resume`. Resolves when the request under way is over. */
    pause() {
      isPaused = true;
      return poller?.pause();
    },
    resume() {
      isPaused = false;
      poller?.resume();
    },
    close() {
      poller?.stop();
      poller = null;
    },
  };
}
