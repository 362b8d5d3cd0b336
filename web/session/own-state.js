// The newest state that the server has confirmed of this person. Reads it again when the room's listing lacks it.

import { isNewer } from '../room.js';
import { createSingleRun } from '../single-run.js';

/** How long a listing may lack this person before their state is read: a listing may lag behind a write. */
const MISSING_MS = 4000;

/**
 * `isBusy`: a claim is under way, so the server's state may be older. `onState` gets every state that arrives, unless a
 * newer one has arrived before. `onRead` follows a read. `onGone` says that the server has no such state, `onMissing`
 * that the listing lacks it.
 */
export function createOwnState({ api, userId, first, now, isBusy, isEnded, onState, onRead, onGone, onMissing }) {
  let newest = first;
  let missingSince = null;

  function accept(state) {
    // Answers can arrive in another order than the server made them.
    if (newest && isNewer(newest, state)) return;
    newest = state;
    onState(state);
  }

  function forgetIfGone(error) {
    if (error.status !== 404 || isEnded()) return;
    newest = null;
    onGone();
  }

  const reading = createSingleRun(async () => {
    if (isEnded()) return;
    await api.getUser(userId)
      .then((state) => { accept(state); onRead(); })
      .catch(forgetIfGone)
      .finally(() => { missingSince = null; });
  });

  function miss() {
    missingSince ??= now();
    if (reading.isRunning() || now() - missingSince < MISSING_MS) return;
    onMissing();
    reading.start();
  }

  return {
    newest: () => newest,
    accept,
    /** Reads the state. A call during a read causes one more read afterwards. */
    read: reading.start,
    isReading: reading.isRunning,
    /** Looks for this person in a new listing of the room. */
    lookIn(items) {
      const listed = items.find((item) => item.userId === userId);
      if (listed || isBusy()) missingSince = null;
      else miss();
      if (listed && isNewer(listed, newest)) accept(listed);
    },
  };
}
