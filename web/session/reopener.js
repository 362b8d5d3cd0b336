// Opens the microphone of this page anew when the agent finds that the system has moved a recording away from it.
//
// A sound server can move a page's stream to another microphone without the browser noticing. A new stream goes where it
// was asked to go. Only a microphone that is open already is opened, and it stays as muted as it is: nothing that comes
// from outside opens a microphone.

import { isAlias } from '../devices.js';
import { isMoved } from '../verdict.js';

/** Tries before a pause. A system that moves every new stream is not changed by trying on at once. */
const TRIES_MAX = 3;
/** The pause. It counts from the last try, whether that helped or not. */
const PAUSE_MS = 60_000;

/** `claimAgain` sends the claim on the device once more, so that the agent learns of the new stream. */
export function createReopener({ mic, now, isSettled, claimAgain, onChange }) {
  let tries = 0;
  let triedAt = null;
  let answered = null;
  let isOpening = false;

  async function reopen() {
    isOpening = true;
    onChange();
    const { deviceId } = mic.view();
    const isOpen = await mic.renew();
    isOpening = false;
    if (isOpen && mic.view().deviceId === deviceId) claimAgain();
    else answered = null;
    onChange();
  }

  /** Whether the claim is about the microphone of this page. */
  function isAboutThis(own) {
    const { status, deviceId } = mic.view();
    return status === 'live' && deviceId !== null && own.deviceId === deviceId && !isAlias(deviceId);
  }

  return {
    /** Whether the page pauses after several tries, so that the person has to act. */
    isStuck: () => tries >= TRIES_MAX && !isOpening,
    /** Takes the newest state of this person, and the verdict on it at this moment. */
    see(own, verdict) {
      const isFound = isMoved(own, verdict);
      if (triedAt !== null && now() - triedAt > PAUSE_MS) {
        tries = 0;
        answered = null;
      }
      // Once for each version of the claim: until the next one nothing is known of the new stream.
      if (!isFound || isOpening || own.version === answered || tries >= TRIES_MAX) return;
      if (!isSettled() || !isAboutThis(own)) return;
      tries += 1;
      triedAt = now();
      answered = own.version;
      reopen();
    },
    /** The person has chosen a microphone, so what was tried before does not count. */
    restart() { tries = 0; },
    /** The person wants the microphone to be opened anew. */
    again() {
      tries = 0;
      if (!isOpening) reopen();
    },
  };
}
