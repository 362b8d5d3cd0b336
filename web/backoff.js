/**
 * Exponential delay with jitter in the upper half: spread enough that thirty pages do not return in
 * the same instant, yet never so short that a struggling server is hit at once.
 */
export function backoffDelay(attempt, { baseMs = 800, maxMs = 8000, random = Math.random } = {}) {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling * (0.5 + random() / 2));
}

/** `Retry-After` is seconds or a date (RFC 9110). Capped, so that a bad header cannot park the page. */
export function parseRetryAfter(header, now = Date.now(), maxMs = 60_000) {
  if (header == null || header.trim() === '') return null;
  const value = header.trim();
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), maxMs);
}
