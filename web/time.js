// Moments, ages, the server's clock, and timers. Ages are shown by the server's clock, which has written `lastUpdated`.

/** An age in the coarsest unit that is still informative: `4 min ago`. */
export function formatAge(ms) {
  const seconds = Math.floor(ms / 1000);
  // A negative age only means that two clocks differ a little.
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

/** The time that is left, rounded up, so that nothing seems over before it is: `21 s`. */
export function formatLeft(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return seconds < 100 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

/** The time that has passed, in the coarsest unit that is still informative: `4 min`. */
export function formatFor(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
}

/** A time of day to the second, `10:32:05`. */
export function formatClock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}

/** Milliseconds that never go back, even if somebody sets the machine's clock. They may stand still while it sleeps. */
export const steadyNow = () => performance.timeOrigin + performance.now();

/** A smaller difference between the steady clock and the machine's clock is ignored. */
const DRIFT_MS_MAX = 2000;
/** A larger correction means that a clock was wrong; a smaller one comes from the resolution of the header. */
const NOISE_MS_MAX = 5000;

/**
 * Estimates the server's time from `Date` headers. The header has a resolution of one second, so small differences are
 * noise: if they were followed, every age would jump back and forth.
 *
 * Between two answers time runs by the steady clock, so that an expired verdict never becomes valid again because
 * somebody sets the machine's clock back. The steady clock may stand still while the machine sleeps. If the machine's
 * clock says that more time has passed, it is believed until the next answer: a verdict that expires early does no
 * harm.
 */
export function createServerClock({ steady = steadyNow, wall = Date.now } = {}) {
  const mark = () => ({ steady: steady(), wall: wall() });
  const hiddenSince = (then) => {
    const hidden = (wall() - then.wall) - (steady() - then.steady);
    return Math.abs(hidden) < DRIFT_MS_MAX ? 0 : hidden;
  };
  let base = mark();
  let offset = wall() - steady();
  let shown = -Infinity;

  return {
    now() {
      shown = Math.max(shown, steady() + offset + Math.max(0, hiddenSince(base)));
      return shown;
    },
    /** A mark of this moment. It is taken when a request is sent, and given to `observe` with the answer. */
    mark,
    observe(dateHeader, sent) {
      const served = Date.parse(dateHeader ?? '');
      // If the machine slept in between, the answer may be old.
      if (Number.isNaN(served) || hiddenSince(sent) !== 0) return;
      const received = steady();
      const estimate = served + 500 - (sent.steady + received) / 2;
      const uncertainty = 1000 + (received - sent.steady) / 2;
      const hidden = hiddenSince(base);
      if (hidden !== 0 || Math.abs(estimate - offset) > uncertainty) offset = estimate;
      base = mark();
      if (shown - (received + offset) > NOISE_MS_MAX) shown = -Infinity;
    },
  };
}

/** One timer that is set or not. Setting it again replaces what it was set to. */
export function createTimer({ setTimeout: later = (f, ms) => setTimeout(f, ms), clearTimeout: cancel = (t) => clearTimeout(t) } = {}) {
  let handle = null;
  function clear() {
    if (handle !== null) cancel(handle);
    handle = null;
  }
  return {
    isSet: () => handle !== null,
    clear,
    set(run, ms) {
      clear();
      handle = later(() => {
        handle = null;
        run();
      }, ms);
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
