// HTTP as the page uses it: JSON bodies, the token, a time limit, entity tags, and failures as `ApiError`.

import { parseRetryAfter } from './backoff.js';
import { steadyNow } from './time.js';

/** A failed call. `retryable` says whether the same request may succeed later. */
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

async function jsonOf(response) {
  try {
    return await response.json();
  } catch (cause) {
    throw Object.assign(new ApiError({ code: 'BAD_ANSWER', detail: 'The server sent an answer that could not be read.' }), { cause });
  }
}

/** `clock` learns the server's time from each answer. `token` goes with each request; a URL never holds it. */
export function createHttp({ fetch = (...args) => globalThis.fetch(...args), clock = null, timeoutMs = 8000, base = '', token = null } = {}) {
  const proof = token === null ? {} : { authorization: `Bearer ${token}` };
  // Dates in answers are in the server's time.
  const now = () => clock?.now() ?? steadyNow();
  // The entity tag and the body of the last answer, by path.
  const cache = new Map();

  async function send(method, path, { body, headers = {}, keepalive = false } = {}) {
    const sent = clock?.mark();
    let response;
    try {
      response = await fetch(base + path, {
        method,
        headers: body === undefined ? { ...headers, ...proof } : { ...headers, ...proof, 'content-type': 'application/json' },
        body: body === undefined ? undefined : JSON.stringify(body),
        // The page keeps its own entity tags. The browser's cache would turn a 304 into a 200.
        cache: 'no-store',
        credentials: 'same-origin',
        keepalive,
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch (cause) {
      throw Object.assign(new ApiError({}), { cause });
    }
    clock?.observe(response.headers.get('date'), sent);
    if (response.ok || response.status === 304) return response;
    throw await problemOf(response, now());
  }

  return {
    send,
    /** Sends a request and gives back the JSON of its answer. */
    call: async (method, path, options) => jsonOf(await send(method, path, options)),
    /** A GET that the server may answer with 304. `changed` is false if the body is the one that is known already. */
    async get(path) {
      const known = cache.get(path);
      const response = await send('GET', path, { headers: known ? { 'if-none-match': known.etag } : {} });
      if (response.status === 304 && known) return { changed: false, body: known.body };
      const body = await jsonOf(response);
      const etag = response.headers.get('etag');
      if (etag) cache.set(path, { etag, body });
      else cache.delete(path);
      return { changed: true, body };
    },
    /** Forgets all bodies if there are more than `max`. */
    trim(max) { if (cache.size > max) cache.clear(); },
  };
}
