// The tickets of this tab: what it needs to come back to a room that it has joined.

import { isParticipantId } from './identity.js';

const KEY = 'greenroom:tickets';
/** The most rooms that a tab remembers. */
const KEPT_MAX = 8;

const isWhole = (ticket) => isParticipantId(ticket?.participantId) && typeof ticket.roomId === 'string' && typeof ticket.slug === 'string'
  && (typeof ticket.token === 'string' || typeof ticket.stats === 'object');

/**
 * A ticket is `{roomId, slug, participantId, token, wsUrl, name, role, isWaiting, deviceId}`; once the person has ended
 * the room, `stats` replaces `token`. A ticket is as secret as a password: it stays in the tab's storage.
 */
export function createTicketStore(tab) {
  function read() {
    const stored = tab.read(KEY);
    return Array.isArray(stored) ? stored.filter(isWhole) : [];
  }
  const others = (roomId) => read().filter((ticket) => ticket.roomId !== roomId);

  return {
    /** The ticket for a room's slug or id, or null. */
    find: (text) => read().find((ticket) => ticket.slug === text || ticket.roomId === text) ?? null,
    save: (ticket) => tab.write(KEY, [ticket, ...others(ticket.roomId)].slice(0, KEPT_MAX)),
    update(roomId, change) {
      tab.write(KEY, read().map((ticket) => (ticket.roomId === roomId ? { ...ticket, ...change } : ticket)));
    },
    drop: (roomId) => tab.write(KEY, others(roomId)),
  };
}
