// The beat of the page: a call every two seconds, also in a hidden tab. Whoever needs it shares one worker.

const BEAT_MS = 2000;

/**
 * Calls back every two seconds. Browsers slow the timers of hidden pages down to one call a minute, but not those of a
 * worker. Gives back the function that stops it.
 */
function beginWorker(onBeat) {
  let timer = null;
  let worker = null;
  const bySelf = () => { timer ??= setInterval(onBeat, BEAT_MS); };
  try {
    worker = new Worker('/beat.js');
    worker.onmessage = onBeat;
    worker.onerror = bySelf;
  } catch {
    bySelf();
  }
  return () => { worker?.terminate(); clearInterval(timer); };
}

/** A beat for several listeners: it runs while there is one. It gives each the function that ends its listening. */
export function createSharedBeat(begin = beginWorker) {
  const listeners = new Set();
  let stop = null;
  return (onBeat) => {
    // The same function may listen twice.
    const listener = () => onBeat();
    listeners.add(listener);
    stop ??= begin(() => { for (const each of [...listeners]) if (listeners.has(each)) each(); });
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      stop();
      stop = null;
    };
  };
}

export const workerBeat = createSharedBeat();
