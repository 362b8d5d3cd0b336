import { test } from 'node:test';
import assert from 'node:assert/strict';
import { isAlias, meantBy } from '../devices.js';
import { createMicrophone } from '../microphone.js';
import { deferred, fakeClock } from './fake-clock.js';

const { settle } = fakeClock();

class FakeTrack extends EventTarget {
  constructor(deviceId, label) {
    super();
    // Like a real track: enabled at first.
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
    this.nextLook = [];
  }

  async enumerateDevices() {
    const answer = this.devices.map(([deviceId, label, groupId = '']) => ({ kind: 'audioinput', deviceId, label, groupId }));
    const step = this.nextLook.shift();
    if (step) await step;
    return answer;
  }

  async changeTo(devices) {
    this.devices = devices;
    this.dispatchEvent(new Event('devicechange'));
    await settle();
  }

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

test('the microphone opens muted, and the track follows the mute', async () => {
  const { mic, mediaDevices } = setup();
  assert.equal(await mic.start(), true);
  assert.deepEqual([mic.view().status, mic.view().deviceId, mic.view().label], ['live', 'a', 'Mic A']);
  assert.equal(mediaDevices.tracks[0].enabled, false);
  mic.setMuted(false);
  assert.equal(mediaDevices.tracks[0].enabled, true);
});

test('a new device takes over the mute state of that moment, and the old device is closed', async () => {
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

test('of two quick switches the last one wins, and the stream of the other is closed', async () => {
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

test('each reason for having no microphone has its own status', async () => {
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

test('the default is opened if the remembered device is missing', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start('gone');
  assert.deepEqual(mediaDevices.asked, ['gone', null]);
  assert.equal(mic.view().deviceId, 'a');
});

test('an unplugged device is noticed by its track or by the list of devices', async () => {
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

test('a change that the browser does not report is found by looking', async () => {
  const { mic, mediaDevices } = setup([['a', 'Mic A']]);
  await mic.start();
  mediaDevices.devices = [['a', 'Mic A'], ['c', 'Mic C']];
  await mic.look();
  assert.deepEqual(mic.view().devices.map((device) => device.title), ['Mic A', 'Mic C']);
  mediaDevices.devices = [['c', 'Mic C']];
  await mic.look();
  assert.deepEqual([mic.view().status, mic.view().lost], ['unplugged', 'Mic A']);
  const none = createMicrophone({ mediaDevices: null, AudioContext: null, permissions: null });
  await none.look();
  assert.equal(none.view().status, 'off');
});

test('a new device is listed but not opened', async () => {
  const { mic, mediaDevices } = setup([['a', 'Mic A']]);
  await mic.start();
  await mediaDevices.changeTo([['a', 'Mic A'], ['c', 'Mic C']]);
  assert.deepEqual(mic.view().devices.map((device) => device.title), ['Mic A', 'Mic C']);
  assert.equal(mediaDevices.asked.length, 1);
});

test('a microphone without a name is claimed without a name, and keeps its number in the list', async () => {
  const { mic, mediaDevices } = setup([['x1', ''], ['x2', '']]);
  await mic.start();
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['x1', null]);
  const titles = () => Object.fromEntries(mic.view().devices.map((device) => [device.deviceId, device.title]));
  assert.deepEqual(titles(), { x1: 'Microphone 1', x2: 'Microphone 2' });
  await mediaDevices.changeTo([['x0', ''], ['x1', ''], ['x2', '']]);
  assert.deepEqual(titles(), { x0: 'Microphone 3', x1: 'Microphone 1', x2: 'Microphone 2' });
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['x1', null]);
});

test('a microphone that was stopped is never opened again', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start();
  mic.stop();
  assert.deepEqual([await mic.start(), await mic.choose('b'), mic.view().status], [false, false, 'off']);
  assert.deepEqual(mediaDevices.tracks.map((track) => track.stopped), [true]);
});

test('start asks once while the prompt is open, and a stop during the prompt closes the stream that follows', async () => {
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

test('the system’s default is captured under its own id, not under the alias', async () => {
  const { mic, mediaDevices } = setup([['default', 'Default', 'g2'], ['a', 'Mic A', 'g1'], ['b', 'Mic B', 'g2']]);
  assert.equal(await mic.start(), true);
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['b', 'Mic B']);
  assert.deepEqual(mediaDevices.asked, [null, 'b']);
  assert.deepEqual(mediaDevices.tracks.map((track) => track.stopped), [true, false]);
  assert.deepEqual(mic.view().devices.map((device) => device.deviceId), ['a', 'b'], 'the alias cannot be chosen');
});

test('an alias stands for the only device if there is only one', async () => {
  const { mic } = setup([['default', 'Default'], ['a', 'Mic A']]);
  await mic.start();
  assert.equal(mic.view().deviceId, 'a');
});

test('a default that cannot be identified is captured as an alias, and is listed', async () => {
  const { mic, mediaDevices } = setup([['default', 'Default'], ['a', 'Mic A'], ['b', 'Mic B']]);
  await mic.start();
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['default', 'Default']);
  assert.equal(mic.view().devices.length, 3);
  assert.deepEqual(mediaDevices.tracks.map((track) => track.stopped), [false]);
});

// The headset's group has two inputs, so only the label tells which one the alias stands for.
const HEADSET = ['aaa', 'Headset', 'g1'];
const MIX = ['aa2', 'Stereo Mix', 'g1'];
const BUILT_IN = ['bbb', 'Built-in', 'g2'];

test('the label at the end of the alias’s label identifies the default, in any language', async () => {
  for (const prefix of ['Default', 'Standard', '默认', 'افتراضي', 'Par défaut']) {
    const { mic } = setup([['default', `${prefix} - Headset`, 'g1'], HEADSET, MIX, BUILT_IN]);
    await mic.start();
    assert.deepEqual([mic.view().deviceId, mic.view().label], ['aaa', 'Headset'], prefix);
  }
});

test('the claimed device stays the captured one when the default changes', async () => {
  const { mic, mediaDevices } = setup([['default', 'Default - Headset', 'g1'], HEADSET, MIX, BUILT_IN]);
  await mic.start();
  await mediaDevices.changeTo([['default', 'Default - Built-in', 'g2'], HEADSET, MIX, BUILT_IN]);
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['aaa', 'Headset']);
  assert.equal(mediaDevices.tracks.at(-1).deviceId, 'aaa');
});

test('an alias that can be identified later is replaced by its device, still muted', async () => {
  const { mic, mediaDevices, views } = setup([['default', 'Default'], ['a', 'Mic A'], ['b', 'Mic B']]);
  await mic.start();
  const before = views.length;
  await mediaDevices.changeTo([['default', 'Default - Mic B'], ['a', 'Mic A'], ['b', 'Mic B']]);
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['b', 'Mic B']);
  const last = mediaDevices.tracks.at(-1);
  assert.deepEqual([last.deviceId, last.enabled, last.stopped, mediaDevices.tracks[0].stopped], ['b', false, false, true]);
  assert.ok(views.slice(before).every((view) => view.label !== 'Default - Mic B'), 'the alias is never claimed in between');
});

test('a stream that the system moves to another device changes the claimed device', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start();
  mediaDevices.tracks[0].deviceId = 'b';
  await mediaDevices.changeTo(mediaDevices.devices);
  assert.deepEqual([mic.view().deviceId, mic.view().label], ['b', 'Mic B']);
});

test('a microphone that is opened anew is closed first, keeps its mute, and is the same device', async () => {
  for (const muted of [true, false]) {
    const { mic, mediaDevices } = setup([['a', 'Mic A'], ['b', 'Mic B']], muted);
    await mic.start('b');
    const prompt = deferred();
    mediaDevices.next.push(prompt.promise);
    const renewing = mic.renew();
    assert.equal(mediaDevices.tracks[0].stopped, true, 'a browser may give the open stream to a second request');
    assert.equal(await mic.renew(), false, 'two renewals do not run at once');
    const joined = mic.start('a');
    prompt.resolve();
    assert.deepEqual([await renewing, await joined], [true, true]);
    assert.deepEqual(mediaDevices.asked, ['b', 'b'], 'a start in the meantime asks for no other device');
    assert.deepEqual([mic.view().status, mic.view().deviceId, mediaDevices.tracks[1].enabled, mediaDevices.tracks[1].stopped], ['live', 'b', !muted, false]);
  }
});

test('a microphone that cannot be opened anew is gone, and no other is opened in its place', async () => {
  const { mic, mediaDevices } = setup([['a', 'Mic A'], ['b', 'Mic B']], false);
  await mic.start('b');
  mediaDevices.devices = [['a', 'Mic A']];
  assert.equal(await mic.renew(), false);
  assert.deepEqual([mediaDevices.asked, mic.view().status, mic.view().deviceId], [['b', 'b'], 'failed', null]);
});

test('a microphone that is not open, or has no id of its own, is not opened anew', async () => {
  const closed = setup();
  assert.equal(await closed.mic.renew(), false);
  const alias = setup([['default', 'Default'], ['a', 'Mic A'], ['b', 'Mic B']]);
  await alias.mic.start();
  assert.equal(await alias.mic.renew(), false);
  assert.deepEqual([closed.mediaDevices.asked, alias.mediaDevices.asked, alias.mediaDevices.tracks[0].stopped], [[], [null], false]);
});

test('an older list of devices never replaces a newer one', async () => {
  const { mic, mediaDevices } = setup();
  await mic.start();
  const slow = deferred();
  mediaDevices.nextLook.push(slow.promise);
  await mediaDevices.changeTo([['b', 'Mic B']]);
  await mediaDevices.changeTo([['a', 'Mic A'], ['b', 'Mic B'], ['c', 'Mic C']]);
  slow.resolve();
  await settle();
  assert.deepEqual([mic.view().status, mic.view().devices.map((device) => device.deviceId).join()], ['live', 'a,b,c']);
});

test('a change of the list does not override a choice that is under way', async () => {
  const { mic, mediaDevices } = setup([['default', 'Default'], ['a', 'Mic A'], ['b', 'Mic B']]);
  await mic.start();
  const prompt = deferred();
  mediaDevices.next.push(prompt.promise);
  const choosing = mic.choose('a');
  await settle();
  await mediaDevices.changeTo([['default', 'Default - Mic B'], ['a', 'Mic A'], ['b', 'Mic B']]);
  prompt.resolve();
  assert.equal(await choosing, true);
  assert.equal(mic.view().deviceId, 'a');
});

test('the longest label identifies an alias, then the group', () => {
  const list = (alias, ...named) => [alias, ...named].map(([deviceId, label, groupId = '']) => ({ deviceId, label, groupId }));
  const usb = ['u', 'USB Headset', 'g1'];
  assert.equal(meantBy('default', '', list(['default', 'Default - USB Headset'], HEADSET, usb)), 'u');
  assert.equal(meantBy('default', '', list(['default', 'Default - Headset'], HEADSET, usb)), 'aaa');
  assert.equal(meantBy('default', '', list(['default', 'DefaultHeadset'], HEADSET, usb)), null, 'part of a word');
  assert.equal(meantBy('default', '', list(['default', 'Default', 'g9'], ['a', 'Default'], ['b', 'Mic'])), null, 'a device may have this label itself');
  const twins = list(['default', 'Default - Mic', 'g2'], ['a', 'Mic', 'g1'], ['b', 'Mic', 'g2']);
  assert.equal(meantBy('default', '', twins), 'b');
  assert.equal(meantBy('communications', 'Communications - Built-in', list(HEADSET, BUILT_IN)), 'bbb', 'by the label of the track');
  for (const alias of ['default', 'DEFAULT', 'Communications']) assert.equal(isAlias(alias), true);
  for (const other of ['', null, undefined, 'default2']) assert.equal(isAlias(other), false);
});
