import { backoffDelay } from './backoff.js';

/**
 * Carries this person's claim to the server, one request at a time.
 *
 * It holds intents, not messages: there is one slot for the mute and one for the device, so what is
 * sent after a drop is where the person ended, not the way they took. A retried intent keeps its
 * `seq`, which makes the retry harmless.
 *
 * `whole()` returns the complete claim, for the times when there is nothing on the server to patch.
 */
export function createOutbox({
  api, userId, whole, nextSeq, onChange = () => {}, onAck = () => {},
  setTimeout: later = (f, ms) => setTimeout(f, ms), clearTimeout: cancel = (t) => clearTimeout(t),
  now = Date.now, random = Math.random,
}) {
  const pending = { mute: null, device: null };
  let mustPost = false;
  let flight = null;
  let timer = null;
  let holdUntil = 0;
  let attempt = 0;
  let refusal = null;
  let closed = false;

  function nextJob() {
    const { mute, device } = pending;
    // "No device" is only expressible in a whole claim, and one request then covers both aspects.
    if (mustPost || (device && device.deviceId === null)) return { kind: 'post', mute, device };
    if (mute) return { kind: 'mute', mute, device: null };
    if (device) return { kind: 'device', mute: null, device };
    return null;
  }

  function request(job) {
    if (job.kind === 'post') return api.putState(userId, { ...whole(), seq: nextSeq() });
    if (job.kind === 'mute') return api.patchMute(userId, { isMuted: job.mute.isMuted, muteScope: 'app', seq: job.mute.seq });
    const { deviceId, deviceLabel, seq } = job.device;
    return api.patchDevice(userId, { deviceId, deviceLabel, seq });
  }

  // Compared by identity: an intent that arrived while this one was in flight is a new object and stays.
  function settle(job) {
    if (job.mute && pending.mute === job.mute) pending.mute = null;
    if (job.device && pending.device === job.device) pending.device = null;
  }

  async function run(job) {
    try {
      const state = await request(job);
      if (job.kind === 'post') mustPost = false;
      settle(job);
      attempt = 0;
      refusal = null;
      if (!closed) onAck(state);
    } catch (error) {
      fail(job, error);
    }
  }

  function fail(job, error) {
    if (error.status === 404 && job.kind !== 'post') {
      mustPost = true;
      return;
    }
    if (error.retryable || error.status === 404) {
      const delay = Math.max(error.retryAfterMs ?? 0, backoffDelay(attempt, { random }));
      attempt += 1;
      holdUntil = error.retryAfterMs ? now() + error.retryAfterMs : 0;
      if (!closed) timer = later(() => { timer = null; pump(); }, delay);
      return;
    }
    // Sending the same thing again would be refused again; the next press is a new chance.
    settle(job);
    attempt = 0;
    refusal = error;
  }

  function pump() {
    if (closed || flight || timer !== null || refusal) return;
    const job = nextJob();
    if (!job) return;
    flight = run(job).finally(() => {
      flight = null;
      onChange();
      pump();
    });
    onChange();
  }

  function statusOf(aspect) {
    if (refusal) return 'refused';
    if (!pending[aspect] && !mustPost) return 'sent';
    return attempt > 0 ? 'unsent' : 'sending';
  }

  function want(aspect, intent) {
    pending[aspect] = { ...intent, seq: nextSeq() };
    refusal = null;
    pump();
    onChange();
  }

  return {
    wantMute: (isMuted) => want('mute', { isMuted }),
    wantDevice: (deviceId, deviceLabel) => want('device', { deviceId, deviceLabel }),

    /** The claim is not on the server (joining, expired, removed): say everything again. */
    repost() {
      mustPost = true;
      refusal = null;
      pump();
    },

    /** The way is open again; waiting longer would only show "not sent yet" for nothing. */
    wake() {
      if (timer === null || now() < holdUntil) return;
      cancel(timer);
      timer = null;
      pump();
    },

    /** Nothing is sent after this; resolves when the last request is over, so a DELETE can follow it. */
    async close() {
      closed = true;
      if (timer !== null) cancel(timer);
      timer = null;
      await flight;
    },

    muteStatus: () => statusOf('mute'),
    deviceStatus: () => statusOf('device'),
    /** While anything is under way, what the server says about us may simply be older than us. */
    busy: () => flight !== null || mustPost || pending.mute !== null,
    refusal: () => refusal,
  };
}
