// Polls one room's listing, and says whether the server can be reached.

import { retryDelay } from './backoff.js';
import { createTimer } from './time.js';

/**
 * Polls more slowly in a hidden tab and with jitter while the server cannot be reached. While it `isQuiet`, because what
 * changes arrives by itself, a reading that succeeds is the last one until `nudge`. `onUpdate` gets the view after each
 * answer, whether it `changed`, and whether the connection has just `recovered`.
 */
export function createRoomPoller({
  fetchRoom, onUpdate, visibleMs = 1500, hiddenMs = 10_000, isHidden = () => false, isQuiet = () => false,
  setTimeout, clearTimeout, now = Date.now, random = Math.random,
}) {
  const timer = createTimer({ setTimeout, clearTimeout });
  let asking = false;
  let stopped = false;
  let paused = false;
  /** Something has changed since the request under way was sent: it is read again at once. */
  let again = false;
  let flight = Promise.resolve();
  let holdUntil = 0;
  let view = { connection: 'connecting', items: null, truncated: false, okAt: null, error: null, failures: 0 };

  function publish(change, meta) {
    view = { ...view, ...change };
    onUpdate(view, meta);
  }

  function schedule(ms) {
    if (!stopped && !paused) timer.set(poll, ms);
  }

  async function ask() {
    asking = true;
    again = false;
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
      const usualMs = isHidden() ? hiddenMs : visibleMs;
      if (again || !isQuiet()) schedule(again ? 0 : usualMs);
    } catch (error) {
      if (stopped) return;
      const wait = retryDelay(error, view.failures, { random });
      holdUntil = error.retryAfterMs ? now() + error.retryAfterMs : 0;
      // The next poll does not depend on who is told.
      schedule(wait);
      publish({ connection: 'reconnecting', error, failures: view.failures + 1 }, { changed: true, recovered: false });
    } finally {
      asking = false;
    }
  }

  function poll() {
    if (!asking && !stopped && !paused) flight = ask();
    return flight;
  }

  return {
    start: poll,
    view: () => view,
    /** Takes people who have arrived by themselves. That says nothing about whether requests succeed. */
    take(items) { view = { ...view, items, okAt: now() }; },
    /**
     * Polls now (the tab is shown again, the network is back, this person has changed something), but not before the
     * server's `Retry-After` is over.
     */
    nudge() {
      again = true;
      if (now() < holdUntil) return;
      timer.clear();
      poll();
    },
    /** Reads nothing until `resume`. Resolves when the request under way is over. */
    pause() {
      paused = true;
      timer.clear();
      return flight.catch(() => {});
    },
    resume() {
      paused = false;
      schedule(Math.max(0, holdUntil - now()));
    },
    stop() {
      stopped = true;
      timer.clear();
    },
  };
}
