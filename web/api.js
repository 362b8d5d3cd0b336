// The server's API: one method for each call that the page makes.

import { createHttp } from './http.js';

const enc = encodeURIComponent;
const agent = (agentId) => `/api/agents/${enc(agentId)}`;
const room = (roomId) => `/api/rooms/${enc(roomId)}`;
const user = (userId) => `/api/users/${enc(userId)}`;
/** The most pages that are read. A room of more than 10 times 200 people is listed in part. */
const MAX_PAGES = 10;

/** Everyone in the room, all pages; `changed` is false only if no page has changed. */
async function readRoom(http, roomId) {
  const root = `${room(roomId)}/users?limit=200`;
  const items = [];
  let changed = false;
  let cursor = null;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await http.get(cursor === null ? root : `${root}&cursor=${enc(cursor)}`);
    changed ||= answer.changed;
    items.push(...answer.body.items);
    cursor = answer.body.nextCursor ?? null;
    if (cursor === null) break;
  }
  // Old cursors are never requested again. Without a bound, their bodies would pile up in a busy room.
  http.trim(4 * MAX_PAGES);
  return { changed, items, truncated: cursor !== null };
}

/** Tells the server that the person leaves. The browser is closing the page, so nothing waits for the answer. */
function sendLeave({ http, sendBeacon, base }, roomId, presence) {
  const path = `${room(roomId)}/leave`;
  const body = new Blob([JSON.stringify(presence)], { type: 'application/json' });
  if (!sendBeacon(base + path, body)) http.send('POST', path, { body: presence, keepalive: true }).catch(() => {});
}

export function createApi({ sendBeacon = (...args) => globalThis.navigator?.sendBeacon?.(...args) ?? false, base = '', ...options } = {}) {
  const http = createHttp({ base, ...options });
  return {
    putState: (userId, state) => http.call('POST', `${user(userId)}/state`, { body: state }),
    patchMute: (userId, mute) => http.call('PATCH', `${user(userId)}/mute`, { body: mute }),
    patchDevice: (userId, device) => http.call('PATCH', `${user(userId)}/device`, { body: device }),
    getUser: async (userId) => (await http.get(user(userId))).body,
    // keepalive: leaving is often followed by closing the tab.
    removeUser: (userId) => http.call('DELETE', user(userId), { keepalive: true }),

    /** Asks for a code that pairs an agent with this browser: `{code, witness, expiresAt}`. */
    startPairing: (userId) => http.call('POST', `${user(userId)}/pairing`),
    /** Attaches the agent that was paired by this token to the person. Resolves to the person's state. */
    attachAgent: (userId, witness) => http.call('PUT', `${user(userId)}/agent`, { body: { witness } }),
    /** Ends the agent that this person's state shows. */
    stopAgent: (userId) => http.call('DELETE', `${user(userId)}/agent`),
    /** Says which of the agent's devices is the browser's `deviceId`. Resolves to the person's state. */
    bindAgent: (agentId, binding) => http.call('PUT', `${agent(agentId)}/binding`, { body: binding }),

    renewPresence: (roomId, presence) => http.call('POST', `${room(roomId)}/presence`, { body: presence }),
    leaveRoom: (roomId, presence) => sendLeave({ http, sendBeacon, base }, roomId, presence),
    /** The server's answer whether everybody in the room is muted and verified. */
    roomSafety: async (roomId) => (await http.get(`${room(roomId)}/safe`)).body,
    roomUsers: (roomId) => readRoom(http, roomId),
  };
}
