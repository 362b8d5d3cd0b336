// Reads the room: its people and, only when needed, the server's answer whether the room is safe.

import { momentOf } from '../time.js';
import { isSilent } from '../verdict.js';

export function createRoomReader({ api, roomId, serverNow }) {
  let safety = null;

  function isCurrent(now) {
    const expiresAt = momentOf(safety?.expiresAt);
    return safety !== null && (expiresAt === null || now <= expiresAt);
  }

  return {
    /** The server's last answer whether the room is safe; null if there is none. */
    safety: () => safety,
    async read() {
      const room = await api.roomUsers(roomId);
      const now = serverNow();
      // One person who is not measured to be silent makes the room unsafe, so the server need not be asked.
      const isCandidate = room.items.every((item) => isSilent(item, now));
      if (isCandidate && !room.changed && isCurrent(now)) return room;
      // If this fails, the page shows that the room is not safe, and goes on with the listing.
      const answer = isCandidate ? await api.roomSafety(roomId).catch(() => null) : null;
      const changed = room.changed || answer !== safety;
      safety = answer;
      return { ...room, changed };
    },
  };
}
