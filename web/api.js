// The server's API: one method for each call that the page makes.

import { createHttp } from './http.js';

const enc = encodeURIComponent;
const agent = (agentId) => `/api/agents/${enc(agentId)}`;
const room = (roomId) => `/api/rooms/${enc(roomId)}`;
const participant = (roomId, id) => `${room(roomId)}/participants/${enc(id)}`;
const question = (roomId, id) => `${room(roomId)}/questions/${enc(id)}`;
const user = (userId) => `/api/users/${enc(userId)}`;
/** The most pages that are read. A room of more than 10 times 200 people is listed in part. */
const MAX_PAGES = 10;

/** Everyone in a room that nobody created, all pages; `changed` is false only if no page has changed. */
async function readPeople(http, roomId) {
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

/** A created room with its people and, for a presenter, those who wait in its lobby: one request. */
async function readRoom(http, roomId) {
  const { changed, body } = await http.get(room(roomId));
  const { participants, room: details, waiting = [], warning = null } = body;
  return { changed, items: participants, truncated: false, room: details, waiting, warning };
}

/** Tells the server that the person leaves. The browser is closing the page, so nothing waits for the answer. */
function sendLeave({ http, sendBeacon, base, token }, roomId, presence) {
  const path = `${room(roomId)}/leave`;
  // A beacon cannot carry a token.
  if (token === null && sendBeacon(base + path, new Blob([JSON.stringify(presence)], { type: 'application/json' }))) return;
  http.send('POST', path, { body: presence, keepalive: true }).catch(() => {});
}

/** With `token`, the calls are those of a participant in a room that somebody created. */
export function createApi({ sendBeacon = (...args) => globalThis.navigator?.sendBeacon?.(...args) ?? false, base = '', token = null, ...options } = {}) {
  const http = createHttp({ base, token, ...options });
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
    leaveRoom: (roomId, presence) => sendLeave({ http, sendBeacon, base, token }, roomId, presence),
    /** The server's answer whether everybody in the room is muted and verified. */
    roomSafety: async (roomId) => (await http.get(`${room(roomId)}/safe`)).body,
    roomUsers: (roomId) => (token === null ? readPeople(http, roomId) : readRoom(http, roomId)),

    /** Who may call this server: `open`, anybody for anybody, or `strict`; null if it does not say. */
    authMode: async () => (await http.call('GET', '/api/health?deep=1')).deep?.settings?.authMode ?? null,
    // A repeated request with the same key takes effect once, and gets the first answer.
    createRoom: (wanted, key) => http.call('POST', '/api/rooms', { body: wanted, headers: { 'idempotency-key': key } }),
    /** What a stranger may know of a room: `{room, isActive}`. `text` is a slug or an id. */
    lookUp: (text) => http.call('GET', room(text)),
    joinRoom: (text, person, key) => http.call('POST', `${room(text)}/join`, { body: person, headers: { 'idempotency-key': key } }),
    /** The participant leaves a created room for good; the token ends. */
    quitRoom: (roomId) => http.call('POST', `${room(roomId)}/leave`, { body: {}, keepalive: true }),
    /** Ends a created room for everybody. Resolves to `{sessionStats}`. */
    endRoom: (roomId) => http.call('DELETE', room(roomId)),
    /** With `version`, the room is changed only if it still has this version. Resolves to `{room, warning}`. */
    changeRoom: (roomId, change, version = null) => http.call('PATCH', room(roomId), { body: change, headers: version === null ? {} : { 'if-match': `"${version}"` } }),
    changeParticipant: (roomId, id, change) => http.call('PATCH', participant(roomId, id), { body: change }),

    /** Asks everybody to mute: `{requestId, targets}`. */
    muteAll: (roomId) => http.call('POST', `${room(roomId)}/mute-all`),
    /** What has become of a request to mute: `{targets}`, each `{participantId, outcome}`. */
    muteOutcome: async (roomId, requestId) => (await http.get(`${room(roomId)}/mute-all/${enc(requestId)}`)).body,

    /** The newest messages, and whether they have changed since the last call. */
    messages: (roomId) => http.get(`${room(roomId)}/messages?limit=50`),
    /** The messages before this place, as `nextBefore` gives it. */
    earlierMessages: (roomId, before) => http.call('GET', `${room(roomId)}/messages?limit=50&before=${enc(before)}`),
    sendMessage: (roomId, message) => http.call('POST', `${room(roomId)}/messages`, { body: message }),

    questions: (roomId) => http.get(`${room(roomId)}/questions`),
    ask: (roomId, text) => http.call('POST', `${room(roomId)}/questions`, { body: { question: text } }),
    vote: (roomId, id, isFor) => http.call(isFor ? 'PUT' : 'DELETE', `${question(roomId, id)}/vote`),
    answer: (roomId, id, text) => http.call('POST', `${question(roomId, id)}/answer`, { body: { answer: text } }),
    changeQuestion: (roomId, id, change) => http.call('PATCH', question(roomId, id), { body: change }),
  };
}
