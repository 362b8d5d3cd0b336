// Reads the room: its people, and the server's answer whether the room is safe, which is asked for only when needed.

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
      // Without an answer the page shows that the room is not known to be safe; the listing goes on.
      const answer = isCandidate ? await api.roomSafety(roomId).catch(() => null) : null;
      const changed = room.changed || answer !== safety;
      safety = answer;
      return { ...room, changed };
    },
  };
}
