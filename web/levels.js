// The level of a microphone, from its samples.

/** The RMS of time-domain samples, from 0 to 100 on a decibel scale, so that quiet speech is visible. */
export function levelOf(samples, floorDb = -60) {
  let sum = 0;
  for (const s of samples) sum += s * s;
  const rms = Math.sqrt(sum / (samples.length || 1));
  if (!(rms > 0)) return 0;
  const db = 20 * Math.log10(rms);
  return Math.round(Math.min(1, Math.max(0, (db - floorDb) / -floorDb)) * 100);
}

/** Rises at once and falls slowly, because a level that falls at once cannot be read. */
export function smoothLevel(previous, current, decay = 0.6) {
  return current >= previous ? current : Math.max(current, Math.floor(previous * decay));
}
