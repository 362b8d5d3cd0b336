/** Timers and time that move only when a test says so. */
export function fakeClock(start = 1_000_000) {
  let time = start;
  let next = 1;
  const timers = new Map();

  // Long enough for every chain of awaits between two timers to finish.
  const settle = async () => { for (let i = 0; i < 60; i += 1) await Promise.resolve(); };

  return {
    now: () => time,
    setTimeout(run, ms) {
      timers.set(next, { at: time + ms, run });
      next += 1;
      return next - 1;
    },
    clearTimeout: (id) => { timers.delete(id); },
    waiting: () => timers.size,
    settle,
    async advance(ms) {
      const end = time + ms;
      await settle();
      for (;;) {
        const due = [...timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
        if (!due) break;
        timers.delete(due[0]);
        time = Math.max(time, due[1].at);
        due[1].run();
        await settle();
      }
      time = end;
      await settle();
    },
  };
}

/** A promise that is settled from outside. */
export function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((a, b) => { resolve = a; reject = b; });
  return { promise, resolve, reject };
}

/** The beat of the page: `once()` is one beat. */
export function fakeBeat() {
  const listeners = new Set();
  const beat = (onBeat) => {
    listeners.add(onBeat);
    return () => { listeners.delete(onBeat); };
  };
  return Object.assign(beat, { once: () => { for (const run of [...listeners]) run(); }, running: () => listeners.size > 0 });
}

/** Storage in memory with the interface of `safeStorage`. It gives back copies, as the real storage does. */
export function fakeStorage() {
  const map = new Map();
  return {
    read: (key) => JSON.parse(map.get(key) ?? 'null'),
    write: (key, value) => { map.set(key, JSON.stringify(value)); },
    remove: (key) => { map.delete(key); },
  };
}
