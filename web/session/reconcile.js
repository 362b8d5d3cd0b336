// Compares the server's state of this person with the page's claim. Another tab, or anyone in open mode, may have
// written under the same id. The page follows a mute. It only reports an unmute, or a move to another room.

/** `muteTrack` mutes the microphone of this page. */
export function createReconciler({ roomId, muteTrack, announce }) {
  let notice = null;
  // Whether the person has been told that the server lists them as unmuted.
  let isTold = false;

  function compareRoom(state) {
    if (state.roomId !== roomId) notice = { kind: 'moved', roomId: state.roomId };
    else if (notice?.kind === 'moved') notice = null;
  }

  function compareMute(state, isMuted) {
    if (state.isMuted === isMuted) {
      if (isTold && notice?.kind === 'says-unmuted') notice = null;
      isTold = false;
    } else if (state.isMuted) {
      muteTrack();
      notice = { kind: 'muted-elsewhere' };
      announce('You were muted from elsewhere. This page has muted too.');
    } else if (!isTold) {
      // Following would open a microphone by remote control. Sending the opposite at once could start a fight with
      // another tab of the same person. So the person is told, and decides.
      isTold = true;
      notice = { kind: 'says-unmuted' };
      announce('The server lists you as unmuted. This page stays muted.');
    }
  }

  return {
    /** The notice for the person; null if there is none. */
    notice: () => notice,
    reconcile(state, isMuted) {
      compareRoom(state);
      compareMute(state, isMuted);
    },
    /** The person has muted or unmuted here. That settles a notice about the mute. */
    decided() {
      isTold = false;
      if (notice?.kind !== 'moved') notice = null;
    },
    /** The person wants the server to have the claim of this page. */
    restart() {
      isTold = false;
      notice = null;
    },
    dismiss() { notice = null; },
  };
}
