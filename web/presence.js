// Tells the server that the person is present, for as long as the page is open.

import { retryDelay } from './backoff.js';
import { steadyNow } from './time.js';
import { workerBeat } from './worker-beat.js';

/** The server's lease lasts 35 s from the last renewal, so two renewals may be lost. */
const RENEW_MS = 12_000;

/**
 * Renews a person's presence in a room from `begin` to `end`.
 *
 * `onBack` is called when the server confirms the presence for the first time after `begin` or `onLost`.
 * `onLost` is called when the server has no such person in the room, and `onFull` when their seat was given away and no
 * other is free.
 */
export function createPresence({ api, roomId, userId, lease, onBack = () => {}, onLost = () => {}, onFull = () => {}, beat = workerBeat, now = steadyNow, wallNow = Date.now, random = Math.random }) {
  const body = { participantId: userId, lease };
  let stop = null;
  let dueAt = 0;
  let holdUntil = 0;
  let failures = 0;
  let asking = false;
  let isThere = false;
  let beatAt = 0;

  /** The steady clock may stand still while the machine sleeps, so a gap between two beats counts as well. */
  function onBeat() {
    const slept = wallNow() - beatAt >= RENEW_MS;
    beatAt = wallNow();
    if (now() >= dueAt || (slept && now() >= holdUntil)) ask();
  }

  async function ask() {
    if (asking || stop === null) return;
    asking = true;
    try {
      await api.renewPresence(roomId, body);
      failures = 0;
      dueAt = now() + RENEW_MS;
      const isBack = !isThere && stop !== null;
      isThere = stop !== null;
      if (isBack) onBack();
    } catch (error) {
      const wait = error.retryable ? retryDelay(error, failures, { random }) : RENEW_MS;
      failures += 1;
      dueAt = now() + wait;
      holdUntil = error.retryAfterMs ? dueAt : 0;
      if (error.status === 404 && stop !== null) {
        isThere = false;
        onLost();
      } else if (error.code === 'room_full' && stop !== null) {
        isThere = false;
        onFull();
      }
    } finally {
      asking = false;
    }
  }

  function quit() {
    stop?.();
    stop = null;
    isThere = false;
  }

  return {
    begin() {
      if (stop !== null) return;
      beatAt = wallNow();
      stop = beat(onBeat);
      ask();
    },
    /** Renews now, because the page may have been suspended. */
    renew() { if (now() >= holdUntil) ask(); },
    /**
     * The page closes: ends the presence by a request that outlives the page. The state stays, and `begin` brings the
     * person back.
     */
    end() {
      if (stop === null) return;
      quit();
      api.leaveRoom(roomId, body);
    },
    /** Ends without telling the server, for the case that the state itself is removed. */
    quit,
  };
}
