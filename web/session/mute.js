// Mutes and unmutes this person: first the microphone's track, then the claim.

/**
 * `openMicrophone` opens the microphone if it can, and resolves to whether it is open. `mayOpen` says whether the room
 * lets this person unmute. `onDecided` is called when the person has decided, before the claim is sent. Nobody unmutes
 * once `isEnded`.
 */
export function createMute({ mic, outbox, announce, openMicrophone, mayOpen = () => true, onDecided, onBlocked, isEnded }) {
  // A page always begins muted: nobody should be heard because a page was opened, or opened again.
  let isMuted = true;
  let isBlocked = false;
  let isDenied = false;

  // The track changes first: a press takes effect even if the server cannot be reached.
  function setTrack(next) {
    isMuted = next;
    mic.setMuted(next);
  }

  function set(next) {
    setTrack(next);
    isBlocked = false;
    isDenied = false;
    onDecided();
    outbox.wantMute(next);
    announce(next ? 'Muted in this app.' : 'Unmuted.');
  }

  function deny() {
    isDenied = true;
    announce('Still muted: a presenter must allow you to unmute first.');
    onBlocked();
  }

  async function unmute() {
    if (isEnded()) return;
    if (!mayOpen()) {
      deny();
      return;
    }
    if (mic.view().status !== 'live') {
      announce('Waiting for the microphone.');
      const isOpen = await openMicrophone();
      if (isEnded()) return;
      if (isOpen && !mayOpen()) {
        deny();
        return;
      }
      if (!isOpen) {
        isBlocked = true;
        announce('Still muted: there is no microphone to open.');
        onBlocked();
        return;
      }
    }
    set(false);
  }

  return {
    isMuted: () => isMuted,
    /** Whether the last attempt to unmute failed because no microphone is open. */
    isBlocked: () => isBlocked,
    unblock() { isBlocked = false; },
    /** Whether the last attempt to unmute failed because the room does not let this person unmute. */
    isDenied: () => isDenied && !mayOpen(),
    /** The server has refused an unmute that the page took to be allowed. */
    refuse() {
      set(true);
      deny();
    },
    /** Mutes or unmutes without telling the server. */
    setTrack,
    set,
    toggle: async () => (isMuted ? unmute() : set(true)),
  };
}
