// Reads the room: its people and, only when needed, the server's answer whether the room is safe.

import { createSingleRun } from '../single-run.js';
import { momentOf } from '../time.js';
import { isSilent } from '../verdict.js';

/** When verdicts are renewed, an answer that ends within this time is replaced before its end. */
const AHEAD_MS = 5000;

export function createRoomReader({ api, roomId, serverNow }) {
  let safety = null;
  let asked = 0;

  function endsBy(moment) {
    const expiresAt = momentOf(safety?.expiresAt);
    return safety === null || (expiresAt !== null && moment > expiresAt);
  }

  // One person who is not measured to be silent makes the room unsafe, so the server need not be asked.
  const isCandidate = (items) => items.every((item) => isSilent(item, serverNow()));

  /** An answer to an earlier question does not replace a later one. */
  function take(number, answer) { if (number === asked) safety = answer; }

  function drop() {
    asked += 1;
    safety = null;
  }

  async function ask() {
    asked += 1;
    const number = asked;
    // If this fails, the page shows that the room is not safe, and goes on with the listing.
    take(number, await api.roomSafety(roomId).catch(() => null));
  }

  const asking = createSingleRun(ask);

  return {
    /** The server's last answer whether the room is safe; null if there is none. */
    safety: () => safety,
    /** `mend` is given the listing, and gives back what is known of the room with it. */
    async read(mend = (room) => room) {
      const room = mend(await api.roomUsers(roomId));
      const before = safety;
      if (!isCandidate(room.items)) drop();
      else if (room.changed || endsBy(serverNow())) await ask();
      return { ...room, changed: room.changed || safety !== before };
    },
    /** The people have changed without a reading. Resolves to whether the server's answer is another one now. */
    async judge(items, isRenewal) {
      const before = safety;
      if (!isCandidate(items)) drop();
      else if (!isRenewal || !before?.safe || endsBy(serverNow() + AHEAD_MS)) await asking.start();
      return safety !== before;
    },
  };
}
