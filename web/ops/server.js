// Asks the server for figures, and says in words why it does not give them.

const TIMEOUT_MS = 5000;

/** A GET of JSON: its body, and the server's time in ms. */
export async function get(path, { fetch = (...args) => globalThis.fetch(...args), now = Date.now } = {}) {
  const response = await fetch(path, { headers: { accept: 'application/json' }, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail ?? body.title), { status: response.status });
  const atMs = Date.parse(response.headers.get('date'));
  return { body, atMs: Number.isFinite(atMs) ? atMs : now() };
}

/** Why there is no answer. `what` names what was asked for; `then` is a sentence about what the page shows instead. */
export function problemOf(error, what, then = '') {
  if (error.status === 401 || error.status === 403) return `This server is strict. It has no accounts yet, so nobody may read ${what} here.`;
  if (error.status) return `The server answers ${error.status}: ${error.message}`;
  return `The server does not answer. ${then}`.trim();
}
