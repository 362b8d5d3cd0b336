// Follows a created room by its events: decides whether the page knows the room from them alone, or has to read it.
//
// A reading may lack what was written shortly before it, and an event may be lost. So whenever something may be missing
// the page is in doubt, and polls, until a reading has begun late enough to show it.

import { isNewer } from '../room.js';
import { createSocket } from '../socket.js';
import { applyToRoom, createOrder, isStrange } from './frames.js';
import { createLeases } from './leases.js';
import { createRecent, LAG_MS } from './recent.js';

const TEXTS = new Set(['new-chat-message', 'new-question', 'question-updated', 'question-answered', 'question-removed']);
/** The answer to a reading says what has happened, and whether it concerns this page. */
const ENDS = new Set(['room-ended', 'removed']);

/** The people of a reading, each as new as this page knows them. */
const newest = (read, known) => read.map((item) => known.find((one) => one.userId === item.userId && isNewer(one, item)) ?? item);

/**
 * `onRoom` gets the room after an event, and whether that event has only renewed verdicts. `onText` gets the events of
 * messages and questions. `onDoubt` asks for a reading now. `onGap` says that events may have been missed, `onCaughtUp`
 * that the room was read after that. `onChange` is called when `isLive` changes.
 */
export function createLive({ socket: { url, token, open }, userId, isPresenter, now, onRoom, onText, onDoubt, onGap, onCaughtUp, onAlive, onChange, serverNow, timers, ...others }) {
  const order = createOrder();
  const presence = createLeases({ now: serverNow, timers, onLapsed: lapse });
  const recent = createRecent({ now });
  /** The room as it was last read, with what has arrived since. */
  let known = null;
  /** Whether an event has changed it since. */
  let isTouched = false;
  let isOpen = false;
  /** Whether the room was read on this connection. */
  let isSettled = false;
  /** Since when the page is in doubt; null if it is not. */
  let doubtAt = null;
  let isGap = false;
  let isAway = true;
  let isPaused = false;

  const isLive = () => isOpen && isSettled;
  const isQuiet = () => isLive() && doubtAt === null;

  /** Gives back whether a reading was asked for: a page that is in doubt already polls. */
  function doubt() {
    const wasQuiet = isQuiet();
    doubtAt = now();
    if (wasQuiet) onDoubt();
    return wasQuiet;
  }

  function miss() {
    isGap = true;
    onGap();
  }

  function begin() {
    isOpen = true;
    order.restart();
    miss();
    doubt();
  }

  function end() {
    const wasLive = isLive();
    isOpen = false;
    isSettled = false;
    doubtAt = null;
    miss();
    return wasLive;
  }

  function fall() {
    if (!end()) return;
    onDoubt();
    onChange();
  }

  function settle() {
    const wasLive = isLive();
    const wasGap = isGap;
    doubtAt = null;
    isSettled = true;
    isGap = false;
    if (wasGap) onCaughtUp();
    if (!wasLive) onChange();
  }

  const hasOwn = (room) => room.items.some((item) => item.userId === userId);

  /** Whether the events do not say all about what has changed. Only a reading says who waits. */
  function isUnsaid(before, after) {
    if (!hasOwn(after)) return true;
    const roleIn = (room) => room.items.find((item) => item.userId === userId)?.participant?.role;
    return roleIn(before) !== roleIn(after) || (isPresenter() && before.room?.settings?.lobby !== after.room?.settings?.lobby);
  }

  /** Nobody says that somebody has gone silent. */
  function lapse(gone) {
    if (!isLive() || known === null) return;
    const items = known.items.filter((item) => item.userId === userId || !gone.has(item.userId));
    if (items.length === known.items.length) return;
    known = { ...known, items };
    isTouched = true;
    onRoom(known, false);
  }

  function take(frame) {
    recent.add(frame);
    if (frame.event === 'verdicts-renewed') presence.renew(frame.data?.leases);
    else if (frame.event === 'participant-joined') presence.see([frame.data?.user?.userId]);
    if (known === null) return;
    const before = known;
    const strange = isStrange(before.items, frame, serverNow());
    known = applyToRoom(before, frame);
    if (known !== before) {
      isTouched = true;
      onRoom(known, frame.event === 'verdicts-renewed');
    }
    if (strange || isUnsaid(before, known)) doubt();
  }

  function hear(frame) {
    const place = order.see(frame.seq);
    if (place === 'old') return;
    if (TEXTS.has(frame.event)) onText(frame);
    else if (ENDS.has(frame.event) || (frame.event === 'lobby-updated' && isPresenter())) doubt();
    else take(frame);
    if (place === 'gap') {
      miss();
      doubt();
    }
  }

  function alive({ seq }) {
    if (order.check(seq)) {
      miss();
      doubt();
    } else if (isQuiet()) {
      onAlive();
    }
  }

  const socket = createSocket({ url, token, open, now, timers, ...others, onOpen: begin, onDown: fall, onFrame: hear, onAlive: alive });

  function connect() {
    if (!isAway && !isPaused) socket.start();
  }

  function disconnect() {
    socket.stop();
    presence.stop();
    end();
  }

  return {
    /** Whether changes arrive by themselves. While the page catches up after a gap they do. */
    isLive,
    /** Whether nothing need be read. */
    isQuiet,
    isOpen: () => isOpen,
    doubt,
    /** The room as it is known; null before it was read. */
    room: () => known,
    /** Is called when a reading begins. Gives back what its answer is given to, and what makes it as new as the events. */
    reading() {
      const began = now();
      return (answer) => {
        const late = recent.since(began);
        // Nothing bounds how much a reading lags: one that knows less than this page is not the last.
        const items = newest(answer.items, known?.items ?? []);
        const isBehind = items.some((item, at) => item !== answer.items[at]);
        known = late.reduce(applyToRoom, isBehind ? { ...answer, items } : answer);
        const changed = answer.changed || isTouched || known !== answer;
        isTouched = known !== answer;
        presence.see(known.items.map((item) => item.userId));
        if (isOpen && doubtAt !== null && began - doubtAt >= LAG_MS && hasOwn(known) && !isBehind) settle();
        return { ...known, changed };
      };
    },
    /** The page is shown. */
    start() {
      isAway = false;
      connect();
    },
    /** The browser leaves the page. */
    stop() {
      isAway = true;
      disconnect();
    },
    /** Nothing is asked of the room until `resume`. */
    pause() {
      isPaused = true;
      disconnect();
    },
    resume() {
      isPaused = false;
      connect();
    },
    wake: socket.wake,
  };
}
