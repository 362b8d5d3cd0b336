import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createMicrophone } from '../microphone.js';
import { watchPermission } from '../microphone/permission.js';
import { fakeClock } from './fake-clock.js';

const { settle } = fakeClock();

class FakePermission extends EventTarget {
  changeTo(state) {
    this.state = state;
    this.dispatchEvent(new Event('change'));
  }
}
const permissionsWith = (permission) => ({ query: async ({ name }) => { assert.equal(name, 'microphone'); return permission; } });

test('only a change to "granted" calls back', async () => {
  const permission = new FakePermission();
  let granted = 0;
  watchPermission(permissionsWith(permission), () => { granted += 1; });
  await settle();
  permission.changeTo('denied');
  assert.equal(granted, 0);
  permission.changeTo('granted');
  assert.equal(granted, 1);
});

test('a browser without this permission never calls back', async () => {
  const refuse = { query: async () => { throw new TypeError('unknown permission'); } };
  for (const permissions of [null, undefined, {}, refuse]) watchPermission(permissions, () => assert.fail());
  await settle();
});

test('a microphone that was denied opens when it is allowed in the settings', async () => {
  const permission = new FakePermission();
  let denied = true;
  const track = Object.assign(new EventTarget(), { label: 'Mic', getSettings: () => ({ deviceId: 'a' }), stop: () => {} });
  const mediaDevices = {
    enumerateDevices: async () => [{ kind: 'audioinput', deviceId: 'a', label: 'Mic' }],
    async getUserMedia() {
      if (denied) throw new DOMException('no', 'NotAllowedError');
      return { getAudioTracks: () => [track], getTracks: () => [track] };
    },
  };
  const mic = createMicrophone({ mediaDevices, AudioContext: null, permissions: permissionsWith(permission) });
  await mic.start();
  assert.equal(mic.view().status, 'denied');
  denied = false;
  permission.changeTo('granted');
  await settle();
  assert.deepEqual([mic.view().status, mic.view().deviceId, track.enabled], ['live', 'a', false], 'and it is still muted');
});
