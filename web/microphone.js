// The microphone as this page sees it. This file connects the parts in microphone/ and publishes one view of them.
//
// Nothing is sent or recorded: the track feeds the level meter only, and "muted in this app" means that the track's
// `enabled` flag is off.

import { isAlias } from './devices.js';
import { createCapture } from './microphone/capture.js';
import { createInputs } from './microphone/inputs.js';
import { createMeter } from './microphone/meter.js';
import { createOpener } from './microphone/opener.js';
import { watchPermission } from './microphone/permission.js';
import { cleanLabel } from './text.js';

/** status: off | asking | live | denied | missing | busy | insecure | unplugged | failed */
const OFF = { status: 'off', devices: [], deviceId: null, label: null, silenced: false, meterPaused: false, lost: null, problem: null };

class Microphone {
  #mediaDevices;
  #permissions;
  #onChange;
  #inputs;
  #opener;
  #capture;
  #meter;
  #view = OFF;
  #isMuted;
  #starting = null;
  #looking = null;
  #isWatching = false;
  #isStopped = false;

  constructor({ mediaDevices, AudioContext, permissions, onChange, levelMs, muted }) {
    this.#mediaDevices = mediaDevices;
    this.#permissions = permissions;
    this.#onChange = onChange;
    this.#isMuted = muted;
    this.#inputs = createInputs(mediaDevices);
    this.#opener = createOpener({
      mediaDevices, inputs: this.#inputs, onStream: (stream) => this.#take(stream), onFailure: (status) => this.#fail(status),
    });
    this.#capture = createCapture({ onEnded: () => this.#lose(), onSilenced: (silenced) => this.#publish({ silenced }) });
    this.#meter = createMeter({
      AudioContext, levelMs, isMuted: () => this.#isMuted, onPaused: (meterPaused) => this.#publish({ meterPaused }),
    });
  }

  view() { return this.#view; }

  /** Opens the microphone. Calls while the browser's prompt is open do not ask the browser again. */
  start(deviceId = null) {
    this.#starting ??= this.#open(deviceId).finally(() => { this.#starting = null; });
    return this.#starting;
  }

  choose(deviceId) { return this.#open(deviceId); }

  /**
   * Opens the captured device anew, and no other device. The new stream records from the requested device, even if the
   * system has moved the old stream. The old stream is closed first, because Chromium answers a second request for a
   * device with the stream that is open already. False if no device is captured under its own id, or if a microphone is
   * being opened.
   */
  async renew() {
    const deviceId = this.#capture.deviceId();
    if (!deviceId || isAlias(deviceId) || this.#opener.isOpening()) return false;
    this.#capture.close();
    this.#meter.stop();
    // A call of `start` in the meantime gets this microphone.
    this.#starting ??= this.#open(deviceId, { only: true }).finally(() => { this.#starting = null; });
    return this.#starting;
  }

  setMuted(isMuted) {
    this.#isMuted = isMuted;
    this.#capture.setMuted(isMuted);
    if (isMuted) this.#meter.drop();
  }

  onLevel(listener) { return this.#meter.onLevel(listener); }

  /** Closes the microphone for good. */
  stop() {
    this.#isStopped = true;
    this.#opener.cancel();
    this.#capture.close();
    this.#meter.close();
    this.#mediaDevices?.removeEventListener?.('devicechange', this.#onDeviceChange);
    this.#view = { ...this.#view, status: 'off' };
  }

  #publish(change) {
    this.#view = { ...this.#view, ...change };
    this.#onChange(this.#view);
  }

  async #open(deviceId, options) {
    if (this.#isStopped) return false;
    if (!this.#mediaDevices?.getUserMedia) {
      this.#publish({ status: 'insecure' });
      return false;
    }
    this.#watch();
    // While another microphone is open, the view keeps its status.
    this.#publish({ status: this.#capture.isOpen() ? this.#view.status : 'asking', problem: null });
    return this.#opener.open(deviceId, options);
  }

  async #take(stream) {
    this.#capture.replace(stream, this.#isMuted);
    this.#meter.start(stream);
    await this.#inputs.refresh();
    if (!this.#capture.holds(stream)) return false;
    this.#publish({
      ...this.#captured(), status: 'live', lost: null, problem: null,
      silenced: this.#capture.isSilenced(), meterPaused: this.#meter.isPaused(),
    });
    return true;
  }

  #fail(status) {
    // After a failed switch, the working microphone stays in use.
    if (this.#capture.isOpen()) this.#publish({ ...this.#captured(), problem: status });
    else this.#publish({ devices: this.#choices(), status, deviceId: null, label: null });
  }

  #lose() {
    const lost = this.#view.label;
    this.#capture.close();
    this.#meter.stop();
    this.#publish({ status: 'unplugged', lost, deviceId: null, label: null, silenced: false });
    this.#inputs.refresh().then(() => this.#publish({ devices: this.#choices() }));
  }

  #watch() {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#mediaDevices.addEventListener?.('devicechange', this.#onDeviceChange);
    // A person who allows the microphone in the browser's settings need not press a button as well.
    watchPermission(this.#permissions, () => { if (this.#view.status === 'denied') this.#open(this.#view.deviceId); });
  }

  /**
   * Reads the list of devices again, because browsers do not report every change: Chromium on Linux reports hardware
   * only. One look at a time: a new one would make the one before wait for its answer.
   */
  look = () => {
    this.#looking ??= this.#onDeviceChange().finally(() => { this.#looking = null; });
    return this.#looking;
  };

  // The default may have changed, the system may have moved the stream to another device, or a device was added or
  // removed. The claim is about the device that is captured now, not about the one that was opened once.
  #onDeviceChange = async () => {
    if (!this.#mediaDevices?.enumerateDevices) return undefined;
    await this.#inputs.refresh();
    if (!this.#capture.isOpen()) return this.#publish({ devices: this.#choices() });
    const deviceId = this.#capture.deviceId();
    // Not every browser ends the track when its device is removed, so the list is checked as well.
    if (deviceId && !this.#inputs.includes(deviceId)) return this.#lose();
    const meant = isAlias(deviceId) ? this.#inputs.meantBy(deviceId, this.#capture.label()) : null;
    if (meant && !this.#opener.isOpening()) return this.#open(meant);
    return this.#publish(this.#view.status === 'live' ? this.#captured() : { devices: this.#choices() });
  };

  /** The device that is captured, under the names that the browser has for it now. */
  #captured() {
    const deviceId = this.#capture.deviceId();
    return { deviceId, label: this.#inputs.labelOf(deviceId) ?? cleanLabel(this.#capture.label()), devices: this.#choices() };
  }

  #choices() { return this.#inputs.choices(this.#capture.deviceId()); }
}

export function createMicrophone({
  mediaDevices = globalThis.navigator?.mediaDevices,
  AudioContext = globalThis.AudioContext,
  permissions = globalThis.navigator?.permissions,
  onChange = () => {},
  levelMs = 100,
  muted = true,
} = {}) {
  return new Microphone({ mediaDevices, AudioContext, permissions, onChange, levelMs, muted });
}
