// Runs requests for a microphone such that the latest request wins and the streams of earlier requests are closed.

import { failureOf, requestExactly, requestMicrophone, stopTracks } from './request.js';

/**
 * `onStream` gets the stream of the latest request, `onFailure` the status that stands for its error. `open` resolves
 * to the result of `onStream`, and to false if the request failed, was replaced or was cancelled.
 */
export function createOpener({ mediaDevices, inputs, onStream, onFailure }) {
  let latest = 0;
  let running = 0;

  return {
    isOpening: () => running > 0,
    /** The stream of the running request is closed as soon as it comes. */
    cancel() { latest += 1; },
    /** With `only: true` no other device is opened in place of this one. */
    async open(deviceId, { only = false } = {}) {
      latest += 1;
      const mine = latest;
      let stream;
      running += 1;
      try {
        stream = await (only ? requestExactly : requestMicrophone)({ mediaDevices, inputs }, deviceId);
      } catch (error) {
        if (mine !== latest) return false;
        await inputs.refresh();
        if (mine === latest) onFailure(failureOf(error));
        return false;
      } finally {
        running -= 1;
      }
      if (mine === latest) return onStream(stream);
      stopTracks(stream);
      return false;
    },
  };
}
