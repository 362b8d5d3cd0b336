// Carries this person's claim to the server, one request at a time.
//
// It holds intents, not messages: one for the mute and one for the device. So after a lost connection it sends the
// person's last decisions, not every decision on the way there. A retried intent keeps its `seq`, which makes the retry
// idempotent. A refusal ends the intent that was refused, and no other.

import { retryDelay } from './backoff.js';
import { createTimer, steadyNow } from './time.js';

/** A smaller claim in place of a refused one: without the label, or of no device. Null if there is no smaller claim. */
function lessThan({ deviceId, deviceLabel }, fields) {
  if (deviceId === null) return null;
  if (deviceLabel && fields.includes('deviceLabel') && !fields.includes('deviceId')) return { deviceId, deviceLabel: null };
  return { deviceId: null, deviceLabel: null };
}

/** Whether the server's state is different from the one that the request asked for. */
function differs(state, { mute, device, claim }) {
  if (claim) return state.isMuted !== claim.isMuted || state.roomId !== claim.roomId;
  return mute ? state.isMuted !== mute.isMuted : state.deviceId !== device.deviceId;
}

const fieldsOf = (error) => (error.errors ?? []).map(({ field }) => field);

class Outbox {
  #options;
  #timer;
  #pending = { mute: null, device: null };
  #refusals = { mute: null, device: null, whole: null };
  /** The whole claim has to be sent: the server has none, or has not taken the last one. */
  #mustPost = false;
  /** The smaller device claim that replaces a refused one. */
  #instead = null;
  /** Whether the name is sent: false once the server has refused it. */
  #isNamed = true;
  /** Whether `seq` is sent: false once the server's counter has overtaken this page's. */
  #isOrdered = true;
  /** Whether the current intent has got a new `seq` because the server refused the first one. */
  #isRenewed = false;
  /** The request that is under way, as a promise. */
  #flight = null;
  #attempt = 0;
  #holdUntil = 0;
  /** Until when the device waits: the server's answer to it says nothing about a mute. */
  #deviceWaitsUntil = 0;
  /** The kind of request that the timer puts off. */
  #waitingKind = null;
  #isHeld = false;
  #isClosed = false;

  constructor(options) {
    this.#options = options;
    this.#timer = createTimer(options);
  }

  wantMute(isMuted) { this.#want('mute', { isMuted }); }

  wantDevice(deviceId, deviceLabel) {
    this.#instead = null;
    this.#want('device', { deviceId, deviceLabel });
  }

  /** The server has no claim of this person (it expired or was removed): sends everything again. */
  repost() {
    this.#mustPost = true;
    this.#refusals.whole = null;
    this.#passDevice();
    this.#pump();
  }

  /** The server can be reached again: sends a waiting retry now, but not before the server's `Retry-After` is over. */
  wake() {
    if (!this.#timer.isSet() || this.#options.now() < this.#holdUntil) return;
    this.#timer.clear();
    this.#pump();
  }

  /** Sends nothing until `goOn`. Resolves when the request under way is over. What is wanted meanwhile is kept. */
  async hold() {
    this.#isHeld = true;
    await this.#flight;
  }

  goOn() {
    this.#isHeld = false;
    this.#pump();
  }

  /** Sends nothing more. Resolves when the last request is over, so that a DELETE can follow it. */
  async close() {
    this.#isClosed = true;
    this.#timer.clear();
    await this.#flight;
  }

  muteStatus() { return this.#statusOf('mute'); }

  deviceStatus() { return this.#statusOf('device'); }

  /** Whether a mute or a whole claim is under way, or any request. Until it has arrived, the server's state of this person may be older. */
  busy() { return this.#flight !== null || (this.#mustPost && !this.#refusals.whole) || this.#pending.mute !== null; }

  refusal() { return this.#refusals.whole ?? this.#refusals.mute; }

  deviceRefusal() { return this.#refusals.device; }

  #statusOf(aspect) {
    if (this.#refusals.whole ?? this.#refusals[aspect]) return 'refused';
    if (!this.#pending[aspect] && !this.#mustPost) return 'sent';
    if (aspect === 'device' && this.#options.now() < this.#deviceWaitsUntil) return 'unsent';
    return this.#attempt > 0 ? 'unsent' : 'sending';
  }

  #want(aspect, intent) {
    this.#pending[aspect] = { ...intent, seq: this.#options.nextSeq() };
    this.#refusals[aspect] = null;
    this.#refusals.whole = null;
    if (aspect === 'mute') this.#passDevice();
    this.#pump();
    this.#options.onChange();
  }

  /** What follows goes before a device that the server has put off. */
  #passDevice() {
    if (this.#waitingKind === 'device' && this.#options.now() < this.#deviceWaitsUntil) this.#timer.clear();
  }

  #pump() {
    if (this.#isClosed || this.#isHeld || this.#flight || this.#timer.isSet()) return;
    const wait = this.#deviceWaitsUntil - this.#options.now();
    const job = this.#nextJob(wait > 0);
    if (!job) {
      if (this.#pending.device && wait > 0) this.#wait('device', wait);
      return;
    }
    this.#flight = this.#run(job).finally(() => {
      this.#flight = null;
      this.#options.onChange();
      this.#pump();
    });
    this.#options.onChange();
  }

  #nextJob(deviceWaits) {
    const { mute, device } = this.#pending;
    if (this.#mustPost) return this.#refusals.whole ? null : { kind: 'post', mute, device };
    if (mute) return { kind: 'mute', mute, device: null };
    if (device && !deviceWaits) return { kind: 'device', mute: null, device };
    return null;
  }

  async #run(job) {
    try {
      const { applied = true, ...state } = await this.#request(job);
      const isOvertaken = !applied && this.#isOrdered && differs(state, job);
      // The server's counter is ahead of this page's. The next press must take effect, so it is sent without `seq`. A
      // whole claim is sent again without `seq`, because the person wants it now.
      if (isOvertaken) this.#isOrdered = false;
      if (job.kind === 'post') this.#mustPost = isOvertaken;
      this.#settle(job);
      this.#attempt = 0;
      this.#isRenewed = false;
      if (!this.#isClosed) this.#options.onAck(state, { applied, isWhole: job.kind === 'post' });
    } catch (error) {
      this.#fail(job, error);
    }
  }

  #request(job) {
    const { api, userId, whole, nextSeq } = this.#options;
    const counted = (body, seq) => (this.#isOrdered ? { ...body, seq } : body);
    if (job.kind === 'post') {
      const { name, ...claim } = { ...whole(), ...this.#instead };
      job.claim = claim;
      return api.putState(userId, counted(name && this.#isNamed ? { ...claim, name } : claim, nextSeq()));
    }
    if (job.kind === 'mute') return api.patchMute(userId, counted({ isMuted: job.mute.isMuted, muteScope: 'app' }, job.mute.seq));
    const { deviceId, deviceLabel, seq } = job.device;
    return api.patchDevice(userId, counted(deviceId === null ? { deviceId } : { deviceId, deviceLabel }, seq));
  }

  /** Removes the intents of the request. An intent that arrived during the request is another object, and stays. */
  #settle(job) {
    if (job.mute && this.#pending.mute === job.mute) this.#pending.mute = null;
    if (job.device && this.#pending.device === job.device) this.#pending.device = null;
  }

  #fail(job, error) {
    if (error.status === 404 && job.kind !== 'post') this.#mustPost = true;
    else if (error.retryable || error.status === 404) this.#retry(job, error);
    else this.#refuse(job, error, fieldsOf(error));
  }

  #retry(job, error) {
    const { now, random } = this.#options;
    const delay = retryDelay(error, this.#attempt, { random });
    this.#attempt += 1;
    this.#holdUntil = error.retryAfterMs ? now() + error.retryAfterMs : 0;
    if (job.kind === 'device') this.#deviceWaitsUntil = error.retryAfterMs ? now() + delay : 0;
    if (!this.#isClosed) this.#wait(job.kind, delay);
  }

  #wait(kind, ms) {
    this.#waitingKind = kind;
    this.#timer.set(() => this.#pump(), ms);
  }

  /** The same request would be refused again, so it is not repeated; the next press is a new chance. */
  #refuse(job, error, fields) {
    this.#attempt = 0;
    if (fields.includes('seq') && !this.#isRenewed) {
      // The machine's clock is wrong. This answer has told the page the server's time, so a new `seq` fits.
      this.#isRenewed = true;
      for (const intent of [job.mute, job.device]) if (intent) intent.seq = this.#options.nextSeq();
    } else if (job.kind === 'mute') {
      this.#settle(job);
      this.#refusals.mute = error;
    } else if (job.kind === 'device') {
      this.#refuseDevice(job, error, fields);
    } else {
      this.#refuseWhole(job, error, fields);
    }
  }

  /** The server still has the previous device. It is not in use any more, so its claim must not stay. */
  #refuseDevice(job, error, fields) {
    const isCurrent = this.#pending.device === job.device;
    this.#settle(job);
    if (!isCurrent) return;
    this.#refusals.device = error;
    this.#instead = lessThan(job.device, fields);
    if (this.#instead) this.#pending.device = { ...this.#instead, seq: this.#options.nextSeq() };
  }

  #refuseWhole(job, error, fields) {
    if (fields.includes('name') && this.#isNamed) {
      this.#isNamed = false;
      return;
    }
    const less = fields.length === 0 || fields.some((field) => field.startsWith('device')) ? lessThan(job.claim, fields) : null;
    if (less) {
      // A device that was claimed during the request has not been refused.
      if (this.#pending.device !== job.device) return;
      this.#refusals.device = error;
      this.#instead = less;
      return;
    }
    this.#settle(job);
    this.#refusals.whole = error;
  }
}

/**
 * `whole()` gives back the complete claim, for the case that the server has nothing to patch. `onAck` gets the state of
 * each answer, whether the request changed it (`applied`), and whether the complete claim was sent (`isWhole`).
 */
export function createOutbox({ onChange = () => {}, onAck = () => {}, now = steadyNow, random = Math.random, ...others }) {
  return new Outbox({ onChange, onAck, now, random, ...others });
}
