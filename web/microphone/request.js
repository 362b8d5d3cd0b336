// Asks the browser for a microphone. Captures a device under its own id, never under an alias if that can be avoided.

import { isAlias } from '../devices.js';

const FAILURES = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'missing',
  NotReadableError: 'busy',
  AbortError: 'busy',
};

/** The status that stands for an error of `getUserMedia`. */
export const failureOf = (error) => FAILURES[error.name] ?? 'failed';

export const stopTracks = (stream) => { for (const track of stream.getTracks()) track.stop(); };

const exactly = (mediaDevices, deviceId) => mediaDevices.getUserMedia({ audio: { deviceId: { exact: deviceId } } });

/** Captures this device and no other. */
export const requestExactly = ({ mediaDevices }, deviceId) => exactly(mediaDevices, deviceId);

/** Captures this device, or the default if there is no such device or none is named. */
async function captureOrDefault(mediaDevices, deviceId) {
  if (!deviceId) return mediaDevices.getUserMedia({ audio: true });
  try {
    return await exactly(mediaDevices, deviceId);
  } catch (error) {
    if (error.name !== 'OverconstrainedError' && error.name !== 'NotFoundError') throw error;
    return mediaDevices.getUserMedia({ audio: true });
  }
}

/**
 * Captures a device and gives back the stream. A claim is about one device, so an alias is replaced by the device that
 * it stands for now: tomorrow the alias may stand for another device, and measurements of the first device say nothing
 * about the other one.
 */
export async function requestMicrophone({ mediaDevices, inputs }, deviceId) {
  const first = await captureOrDefault(mediaDevices, deviceId);
  const [opened] = first.getAudioTracks();
  const alias = opened.getSettings?.().deviceId;
  if (!isAlias(alias)) return first;
  await inputs.refresh();
  const meant = inputs.meantBy(alias, opened.label);
  if (!meant) return first;
  try {
    return await exactly(mediaDevices, meant).finally(() => stopTracks(first));
  } catch {
    return captureOrDefault(mediaDevices, deviceId);
  }
}
