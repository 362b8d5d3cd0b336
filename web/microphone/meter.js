// The level meter: reads the samples of the captured stream and tells its listeners a level from 0 to 100.

import { levelOf, smoothLevel } from '../levels.js';

/** After a reload browsers keep audio suspended until the person touches the page. */
function resume(context) {
  if (context.state !== 'suspended') return;
  const attempt = () => context.resume().catch(() => {});
  attempt();
  for (const type of ['pointerdown', 'keydown']) globalThis.addEventListener?.(type, attempt, { once: true });
}

/** Reads the samples of one stream. `onPaused` says whether the browser has suspended audio. */
function createSampler({ AudioContext, onPaused }) {
  let context = null;
  let analyser = null;
  let samples = null;
  let source = null;

  return {
    /** False if this browser cannot read the samples of the stream. */
    connect(stream) {
      if (!AudioContext) return false;
      try {
        context ??= new AudioContext();
        analyser ??= Object.assign(context.createAnalyser(), { fftSize: 1024 });
        samples ??= new Float32Array(analyser.fftSize);
        source = context.createMediaStreamSource(stream);
        // Deliberately not connected to the speakers.
        source.connect(analyser);
      } catch {
        return false;
      }
      const current = context;
      current.onstatechange = () => { if (current === context) onPaused(current.state === 'suspended'); };
      resume(current);
      return true;
    },
    read() {
      analyser.getFloatTimeDomainData(samples);
      return samples;
    },
    isPaused: () => context?.state === 'suspended',
    disconnect() {
      source?.disconnect();
      source = null;
    },
    close() {
      context?.close().catch(() => {});
      context = null;
      analyser = null;
    },
  };
}

/** While `isMuted()` the level is 0. `AudioContext` may be missing; the level then stays 0. */
export function createMeter({ AudioContext, levelMs, isMuted, onPaused }) {
  const sampler = createSampler({ AudioContext, onPaused });
  const listeners = new Set();
  let timer = null;
  let level = 0;

  function show(value) {
    level = value;
    for (const listener of listeners) listener(level);
  }

  function stop() {
    sampler.disconnect();
    clearInterval(timer);
    timer = null;
    show(0);
  }

  return {
    start(stream) {
      stop();
      if (!sampler.connect(stream)) return;
      timer = setInterval(() => show(isMuted() ? 0 : smoothLevel(level, levelOf(sampler.read()))), levelMs);
    },
    stop,
    /** Shows 0 at once instead of at the next reading. */
    drop: () => show(0),
    isPaused: sampler.isPaused,
    /** Stops, and gives the browser's audio resources back. */
    close() {
      stop();
      sampler.close();
    },
    /** Calls the listener with the level now and with every later one. Gives back the function that ends this. */
    onLevel(listener) {
      listeners.add(listener);
      listener(level);
      return () => listeners.delete(listener);
    },
  };
}
