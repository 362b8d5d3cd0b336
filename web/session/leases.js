// Knows until when the people of a room are present unless they renew it. The server says it from time to time.

import { createTimer, momentOf } from '../time.js';

/** How long somebody is present who has just been listed or has just joined. */
const LEASE_MS = 35_000;
/** How long a message may be on its way. A page renews every 12 s, and the server says so at most 22 s later. */
const LATE_MS = 1000;

/** `onLapsed` gets the ids of those whose presence is over, as a set. `now` is the server's clock. */
export function createLeases({ now, timers = {}, onLapsed }) {
  const timer = createTimer(timers);
  /** The end of each person's presence in ms. */
  const ends = new Map();

  function check() {
    const gone = new Set([...ends].filter(([, end]) => end <= now()).map(([userId]) => userId));
    for (const userId of gone) ends.delete(userId);
    wait();
    if (gone.size > 0) onLapsed(gone);
  }

  function wait() {
    timer.clear();
    if (ends.size > 0) timer.set(check, Math.max(0, Math.min(...ends.values()) - now()));
  }

  return {
    /** These people are here. Unless the server has said it, it is not known until when. */
    see(userIds) {
      for (const userId of userIds) {
        if (!(ends.get(userId) > now())) ends.set(userId, now() + LEASE_MS + LATE_MS);
      }
      wait();
    },
    /** The server says until when these people are present, by id. */
    renew(leases) {
      for (const [userId, until] of Object.entries(leases ?? {})) {
        const end = momentOf(until);
        if (end !== null) ends.set(userId, end);
      }
      wait();
    },
    stop() {
      timer.clear();
      ends.clear();
    },
  };
}
