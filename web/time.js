// Ages are shown against the server's clock, because `lastUpdated` was written by it.

/** How long ago, in the coarsest unit that is still informative. */
export function formatAge(ms) {
  const seconds = Math.floor(ms / 1000);
  // A negative age only means that two clocks disagree by a little.
  if (!Number.isFinite(ms) || seconds < 1) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ago`;
  return `${Math.floor(hours / 24)} d ago`;
}

/** A point in time as milliseconds, from ISO 8601 or milliseconds; null if it is neither. */
export function momentOf(value) {
  const ms = typeof value === 'number' ? value : Date.parse(value ?? '');
  return Number.isFinite(ms) ? ms : null;
}

/** How long still, compactly. */
export function formatLeft(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return seconds < 100 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

/** A time of day to the second, `10:32:05`. */
export function formatClock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}

/**
 * Estimates server time from `Date` headers. The header has a resolution of one second, so small
 * differences are noise: following them would make every age jump back and forth.
 */
export function createServerClock({ now = Date.now } = {}) {
  let offset = 0;
  return {
    now: () => now() + offset,
    get offset() { return offset; },
    observe(dateHeader, sentAt, receivedAt) {
      const served = Date.parse(dateHeader ?? '');
      if (Number.isNaN(served)) return;
      const estimate = served + 500 - (sentAt + receivedAt) / 2;
      const uncertainty = 1000 + (receivedAt - sentAt) / 2;
      if (Math.abs(estimate - offset) > uncertainty) offset = Math.abs(estimate) > uncertainty ? estimate : 0;
    },
  };
}

/** One timer for all ages on the page, stopped while nobody listens. */
export function createTicker({ setInterval: every = (f, ms) => setInterval(f, ms), clearInterval: stop = (t) => clearInterval(t), periodMs = 1000 } = {}) {
  const listeners = new Set();
  let timer = null;
  return {
    subscribe(listener) {
      listeners.add(listener);
      timer ??= every(() => listeners.forEach((l) => l()), periodMs);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0 && timer !== null) { stop(timer); timer = null; }
      };
    },
  };
}
