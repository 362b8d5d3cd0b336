// Reads something of a room again and again, while its panel is open.

import { createRoomPoller } from '../room-poller.js';
import { createRecent } from './recent.js';

const VISIBLE_MS = 2500;

/** In a room whose events do not reach the page nothing arrives by itself. */
const NO_EVENTS = { isQuiet: () => false, isOpen: () => false };

/**
 * `read` resolves to `{changed, body}`; `onBody` gets each body, whether it is new, and the events that it may lack.
 * `onChange` is told when the connection of this feed changes. While `events` are heard without gaps, the feed is read
 * once when it is opened.
 */
export function createFeed({ read, onBody, onChange, isHidden, now, random, timers = {}, events = NO_EVENTS }) {
  const recent = createRecent({ now });
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
    const began = now();
    const { changed, body } = await read();
    isMissed ||= changed;
    if (poller !== null) {
      onBody(body, isMissed, recent.since(began));
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
      poller = createRoomPoller({ fetchRoom: fetchBody, onUpdate: update, visibleMs: VISIBLE_MS, isHidden, isQuiet: events.isQuiet, now, random, ...timers });
      if (isPaused) poller.pause();
      else poller.start();
    },
    /** An event has arrived. */
    hear: (event) => recent.add(event),
    /** This person has just written: reads now, unless the event of that comes by itself. */
    nudge() { if (!events.isQuiet()) poller?.nudge(); },
    /** Reads now, because events may be missing. */
    reread: () => poller?.nudge(),
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
