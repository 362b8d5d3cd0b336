// The stream that the page captures at this moment, and its one audio track.

import { stopTracks } from './request.js';

/** `onEnded` is called when the current track ends, `onSilenced` when the system begins or stops silencing it. */
export function createCapture({ onEnded, onSilenced }) {
  let stream = null;
  let track = null;

  function close() {
    if (stream) stopTracks(stream);
    stream = null;
    track = null;
  }

  function listenTo(listened) {
    listened.addEventListener('ended', () => { if (track === listened) onEnded(); });
    const report = () => { if (track === listened) onSilenced(listened.muted); };
    listened.addEventListener('mute', report);
    listened.addEventListener('unmute', report);
  }

  return {
    /** Takes a stream in place of the current one, which is closed. */
    replace(next, isMuted) {
      const [nextTrack] = next.getAudioTracks();
      // The track is muted before anything can listen to it: a switch while muted must not let one sample through.
      nextTrack.enabled = !isMuted;
      close();
      stream = next;
      track = nextTrack;
      listenTo(nextTrack);
    },
    close,
    isOpen: () => track !== null,
    /** Whether this stream is the current one. */
    holds: (other) => stream === other,
    setMuted(isMuted) { if (track) track.enabled = !isMuted; },
    /** The id of the captured device, as the browser names it now: the system may move a stream to another device. */
    deviceId: () => track?.getSettings?.().deviceId || null,
    label: () => track?.label ?? null,
    /** Whether the system delivers no sound from the device. */
    isSilenced: () => track?.muted ?? false,
  };
}
