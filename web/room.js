import { backoffDelay } from './backoff.js';

/** True when `a` is a later state of the same user than `b`. A recreated user starts again at version 1. */
export function isNewer(a, b) {
  if (!b) return true;
  if (a.createdAt !== b.createdAt) return a.createdAt > b.createdAt;
  return a.version > b.version;
}

/**
 * The list as it is shown: ourselves first, always present, and never older than what the server
 * has already confirmed to us (the room index may lag behind the write). Of the same version the
 * listed one is shown: a measurement changes the verdict, but not the version of the claim.
 */
export function arrange(items, userId, confirmed) {
  const listed = items.find((item) => item.userId === userId) ?? null;
  const own = confirmed && (!listed || isNewer(confirmed, listed)) ? confirmed : listed;
  // The server sorts by bytes, which would put every "ada" behind every "Zoe".
  const folded = (item) => item.userId.toLowerCase();
  const others = items.filter((item) => item.userId !== userId)
    .sort((a, b) => (folded(a) < folded(b) ? -1 : Number(folded(a) > folded(b))));
  return { own, others };
}

/**
 * Polls one room. Polling is the whole transport of this release, so it has to be a good guest:
 * slower in a hidden tab, jittered while the server is away, immediate when there is reason to hope.
 */
export function createRoomPoller({
  fetchRoom, onUpdate, visibleMs = 1500, hiddenMs = 10_000, isHidden = () => false,
  setTimeout: later = (f, ms) => setTimeout(f, ms), clearTimeout: cancel = (t) => clearTimeout(t),
  now = Date.now, random = Math.random,
}) {
  let timer = null;
  let asking = false;
  let stopped = false;
  let holdUntil = 0;
  let view = { connection: 'connecting', items: null, truncated: false, okAt: null, error: null, failures: 0 };

  function publish(change, meta) {
    view = { ...view, ...change };
    onUpdate(view, meta);
  }

  function schedule(ms) {
    if (stopped) return;
    if (timer !== null) cancel(timer);
    timer = later(() => { timer = null; poll(); }, ms);
  }

  async function poll() {
    if (asking || stopped) return;
    asking = true;
    const recovered = view.connection === 'reconnecting';
    try {
      const answer = await fetchRoom();
      if (stopped) return;
      holdUntil = 0;
      const changed = answer.changed || view.connection !== 'online';
      publish({
        connection: 'online', okAt: now(), error: null, failures: 0,
        items: answer.changed || !view.items ? answer.items : view.items,
        truncated: answer.truncated,
      }, { changed, recovered });
      schedule(isHidden() ? hiddenMs : visibleMs);
    } catch (error) {
      if (stopped) return;
      const wait = Math.max(error.retryAfterMs ?? 0, backoffDelay(view.failures, { random }));
      holdUntil = error.retryAfterMs ? now() + error.retryAfterMs : 0;
      publish({ connection: 'reconnecting', error, failures: view.failures + 1 }, { changed: true, recovered: false });
      schedule(wait);
    } finally {
      asking = false;
    }
  }

  return {
    start: poll,
    view: () => view,
    /** Ask now (tab shown again, network back), unless the server asked for patience. */
    nudge() {
      if (stopped || asking || now() < holdUntil) return;
      if (timer !== null) cancel(timer);
      timer = null;
      poll();
    },
    stop() {
      stopped = true;
      if (timer !== null) cancel(timer);
      timer = null;
    },
  };
}
