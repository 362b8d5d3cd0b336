import { parseRetryAfter } from './backoff.js';

/** Any failed call. `retryable` is what the caller needs to know: the same request may work later. */
export class ApiError extends Error {
  constructor({ status = 0, code = 'NETWORK', detail = 'The server could not be reached.', errors = [], retryAfterMs = null, requestId = null }) {
    super(detail);
    this.name = 'ApiError';
    Object.assign(this, { status, code, detail, errors, retryAfterMs, requestId });
  }

  get retryable() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const enc = encodeURIComponent;
const MAX_PAGES = 10;

export function createApi({ fetch = (...args) => globalThis.fetch(...args), clock = null, now = Date.now, timeoutMs = 8000, base = '' } = {}) {
  // By URL: the list's ETag is only useful together with the body it stood for.
  const cache = new Map();

  async function send(method, path, { body, headers = {}, keepalive = false } = {}) {
    const sentAt = now();
    let response;
    try {
      response = await fetch(base + path, {
        method,
        headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
        body: body === undefined ? undefined : JSON.stringify(body),
        // The page keeps its own validators; the browser's cache would answer 200 where a 304 came.
        cache: 'no-store',
        credentials: 'same-origin',
        keepalive,
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch (cause) {
      throw Object.assign(new ApiError({}), { cause });
    }
    clock?.observe(response.headers.get('date'), sentAt, now());
    if (response.ok || response.status === 304) return response;
    throw await problemOf(response, now());
  }

  async function json(response) {
    try {
      return await response.json();
    } catch (cause) {
      throw Object.assign(new ApiError({ code: 'BAD_ANSWER', detail: 'The server sent an answer that could not be read.' }), { cause });
    }
  }

  async function conditionalGet(path) {
    const known = cache.get(path);
    const response = await send('GET', path, { headers: known ? { 'if-none-match': known.etag } : {} });
    if (response.status === 304 && known) return { changed: false, body: known.body };
    const body = await json(response);
    const etag = response.headers.get('etag');
    if (etag) cache.set(path, { etag, body });
    else cache.delete(path);
    return { changed: true, body };
  }

  const agent = (agentId) => `/api/agents/${enc(agentId)}`;
  const user = (userId) => `/api/users/${enc(userId)}`;

  return {
    putState: async (userId, state) => json(await send('POST', `${user(userId)}/state`, { body: state })),
    patchMute: async (userId, mute) => json(await send('PATCH', `${user(userId)}/mute`, { body: mute })),
    patchDevice: async (userId, device) => json(await send('PATCH', `${user(userId)}/device`, { body: device })),
    getUser: async (userId) => (await conditionalGet(user(userId))).body,
    // keepalive: leaving is often followed by closing the tab.
    removeUser: async (userId) => json(await send('DELETE', user(userId), { keepalive: true })),

    /** A code that pairs an agent with this person: `{code, expiresAt}`. */
    startPairing: async (userId) => json(await send('POST', `${user(userId)}/pairing`)),
    revokeAgent: async (agentId) => json(await send('DELETE', agent(agentId))),
    /** Says which of the agent's devices the browser's `deviceId` is; answers the person's state. */
    bindAgent: async (agentId, binding) => json(await send('PUT', `${agent(agentId)}/binding`, { body: binding })),
    /** Whether everybody in the room is muted, and measured to be. */
    roomSafety: async (roomId) => (await conditionalGet(`/api/rooms/${enc(roomId)}/safe`)).body,

    /** Everyone in the room, all pages; `changed` is false only if no page changed. */
    async roomUsers(roomId) {
      const root = `/api/rooms/${enc(roomId)}/users?limit=200`;
      const items = [];
      let changed = false;
      let cursor = null;
      for (let page = 0; page < MAX_PAGES; page += 1) {
        const answer = await conditionalGet(cursor === null ? root : `${root}&cursor=${enc(cursor)}`);
        changed ||= answer.changed;
        items.push(...answer.body.items);
        cursor = answer.body.nextCursor ?? null;
        if (cursor === null) break;
      }
      // Old cursors are never asked for again; without a bound they would pile up in a busy room.
      if (cache.size > 4 * MAX_PAGES) cache.clear();
      return { changed, items, truncated: cursor !== null };
    },
  };
}

async function problemOf(response, now) {
  let problem = {};
  try { problem = await response.json(); } catch { /* a proxy's error page has no problem document */ }
  return new ApiError({
    status: response.status,
    code: problem.code ?? `HTTP_${response.status}`,
    detail: problem.detail ?? problem.title ?? `The server answered ${response.status}.`,
    errors: Array.isArray(problem.errors) ? problem.errors : [],
    requestId: problem.requestId ?? response.headers.get('x-request-id'),
    retryAfterMs: parseRetryAfter(response.headers.get('retry-after'), now),
  });
}
