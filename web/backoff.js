// How long to wait before a failed call is repeated.

/**
 * Exponential delay with jitter in its upper half. The jitter keeps thirty pages from returning in the same instant,
 * and the lower half protects a server that is struggling from being asked again at once.
 */
export function backoffDelay(attempt, { baseMs = 800, maxMs = 8000, random = Math.random } = {}) {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling * (0.5 + random() / 2));
}

/** How long to wait after a failed call: what the server asked for, but at least the backoff of this attempt. */
export function retryDelay(error, attempt, { random = Math.random } = {}) {
  return Math.max(error.retryAfterMs ?? 0, backoffDelay(attempt, { random }));
}

/**
 * `Retry-After` in milliseconds: it is seconds or a date (RFC 9110). Capped, so that a bad header cannot stop the page.
 */
export function parseRetryAfter(header, now = Date.now(), maxMs = 60_000) {
  if (header == null || header.trim() === '') return null;
  const value = header.trim();
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), maxMs);
}
