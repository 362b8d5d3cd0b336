import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createMicrophone } from '../microphone.js';
import { deferred, fakeClock } from './fake-clock.js';

const { settle } = fakeClock();

class FakeTrack extends EventTarget {
  constructor(deviceId, label) {
    super();
    // Like a real track: audible until somebody says otherwise.
    Object.assign(this, { deviceId, label, enabled: true, muted: false, stopped: false });
  }

  getSettings() { return { deviceId: this.deviceId }; }

  stop() { this.stopped = true; }
}

class FakeDevices extends EventTarget {
  constructor(devices) {
    super();
    this.devices = devices;
    this.tracks = [];
    this.asked = [];
    this.next = [];
  }

  async enumerateDevices() { return this.devices.map(([deviceId, label, groupId = '']) => ({ kind: 'audioinput', deviceId, label, groupId })); }

  async getUserMedia({ audio }) {
    this.asked.push(audio === true ? null : audio.deviceId.exact);
    const step = this.next.shift();
    if (step) await step;
    const found = audio === true ? this.devices[0] : this.devices.find(([id]) => id === audio.deviceId.exact);
    if (!found) throw new DOMException('none', audio === true ? 'NotFoundError' : 'OverconstrainedError');
    const track = new FakeTrack(...found);
    this.tracks.push(track);
    return { getAudioTracks: () => [track], getTracks: () => [track] };
  }
}

function setup(devices = [['a', 'Mic A'], ['b', 'Mic B']], muted = true) {
  const mediaDevices = new FakeDevices(devices);
  const views = [];
  const mic = createMicrophone({ mediaDevices, AudioContext: null, permissions: null, muted, onChange: (v) => views.push(v) });
  return { mic, mediaDevices, views };
}
const refuse = (name) => Promise.reject(new DOMException('no', name));

test('opens muted, and the flag follows the person', async () => {
  const { mic, mediaDevices } = setup();
  assert.equal(await mic.start(), true);
  assert.deepEqual([mic.view().status, mic.view().deviceId, mic.view().label], ['live', 'a', 'Mic A']);
  assert.equal(mediaDevices.tracks[0].enabled, false);
  mic.setMuted(false);
  assert.equal(mediaDevices.tracks[0].enabled, true);
});

test('a switch keeps the mute state of the moment it happens, and closes the old device', async () => {
  const { mic, mediaDevices } = setup();
  mic.setMuted(false);
  await mic.start();
  const prompt = deferred();
  mediaDevices.next.push(prompt.promise);
  const switching = mic.choose('b');
  await settle();
  mic.setMuted(true);
  prompt.resolve();
  await switching;
  const [first, second] = mediaDevices.tracks;
  assert.deepEqual([first.stopped, second.enabled, mic.view().label], [true, false, 'Mic B']);
});

test('of two quick switches the last one wins and the other is closed', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start();
  const slow = deferred();
  mediaDevices.next.push(slow.promise);
  const one = mic.choose('b');
  const two = mic.choose('a');
  await two;
  slow.resolve();
  await one;
  assert.equal(mic.view().deviceId, 'a');
  assert.deepEqual(mediaDevices.tracks.map((t) => t.stopped), [true, false, true]);
});

test('a switch that fails leaves the working microphone in place', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start();
  mediaDevices.next.push(refuse('NotReadableError'));
  assert.equal(await mic.choose('b'), false);
  assert.deepEqual([mic.view().status, mic.view().deviceId, mic.view().problem], ['live', 'a', 'busy']);
  assert.equal(mediaDevices.tracks[0].stopped, false);
});

test('each way of having no microphone has its own name', async () => {
  for (const [error, status] of [['NotAllowedError', 'denied'], ['NotReadableError', 'busy'], ['TypeError', 'failed']]) {
    const { mic, mediaDevices } = setup();
    mediaDevices.next.push(refuse(error));
    assert.equal(await mic.start(), false);
    assert.equal(mic.view().status, status);
  }
  const none = setup([]);
  await none.mic.start();
  assert.equal(none.mic.view().status, 'missing');
  const insecure = createMicrophone({ mediaDevices: null, permissions: null, AudioContext: null });
  assert.equal(await insecure.start(), false);
  assert.equal(insecure.view().status, 'insecure');
});

test('a remembered device that is gone gives way to the default', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start('gone');
  assert.deepEqual(mediaDevices.asked, ['gone', null]);
  assert.equal(mic.view().deviceId, 'a');
});

test('a pulled device is noticed by its track or by the list', async () => {
  const byTrack = setup();
  await byTrack.mic.start();
  byTrack.mediaDevices.tracks[0].dispatchEvent(new Event('ended'));
  assert.deepEqual([byTrack.mic.view().status, byTrack.mic.view().lost, byTrack.mic.view().deviceId], ['unplugged', 'Mic A', null]);

  const byList = setup();
  await byList.mic.start();
  byList.mediaDevices.devices = [['b', 'Mic B']];
  byList.mediaDevices.dispatchEvent(new Event('devicechange'));
  await settle();
  assert.equal(byList.mic.view().status, 'unplugged');
  assert.deepEqual(byList.mic.view().devices.map((d) => d.deviceId), ['b']);
  assert.equal(byList.mediaDevices.tracks[0].stopped, true);
});

test('a new device is listed, not opened', async () => {
  const { mic, mediaDevices } = setup([['a', 'Mic A']]);
  await mic.start();
  mediaDevices.devices = [['a', 'Mic A'], ['c', '']];
  mediaDevices.dispatchEvent(new Event('devicechange'));
  await settle();
  assert.deepEqual(mic.view().devices, [{ deviceId: 'a', label: 'Mic A' }, { deviceId: 'c', label: 'Microphone 2' }]);
  assert.equal(mediaDevices.asked.length, 1);
});

test('start asks once while the prompt is open, and a stop during it closes what comes', async () => {
  const { mic, mediaDevices } = setup();
  const prompt = deferred();
  mediaDevices.next.push(prompt.promise);
  const first = mic.start();
  const second = mic.start();
  mic.stop();
  prompt.resolve();
  assert.deepEqual([await first, await second], [false, false]);
  assert.equal(mediaDevices.asked.length, 1);
  assert.equal(mediaDevices.tracks[0].stopped, true);
});

test('what the system prefers is captured by its own name', async () => {
  const { mic, mediaDevices } = setup([['default', 'Default', 'g2'], ['a', 'Mic A', 'g1'], ['b', 'Mic B', 'g2']]);
  assert.equal(await mic.start(), true);
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['b', 'Mic B']);
  assert.deepEqual(mediaDevices.asked, [null, 'b']);
  assert.deepEqual(mediaDevices.tracks.map((track) => track.stopped), [true, false]);
  assert.deepEqual(mic.view().devices.map((device) => device.deviceId), ['a', 'b'], 'and the alias is no choice');
});

test('the only device there is must be the one that is meant', async () => {
  const { mic } = setup([['default', 'Default'], ['a', 'Mic A']]);
  await mic.start();
  assert.equal(mic.view().deviceId, 'a');
});

test('a default that nothing identifies stays what it is, and is listed', async () => {
  const { mic, mediaDevices } = setup([['default', 'Default'], ['a', 'Mic A'], ['b', 'Mic B']]);
  await mic.start();
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['default', 'Default']);
  assert.equal(mic.view().devices.length, 3);
  assert.deepEqual(mediaDevices.tracks.map((track) => track.stopped), [false]);
});
