import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../api.js';
import { createSession } from '../session.js';
import { fakeClock } from './fake-clock.js';

const ME = 'ada-7f3k';

/** A server in memory with one room, and a microphone that does as the test says. */
function setup({ muted = true, joined = true, mic: opens = true } = {}) {
  const clock = fakeClock();
  const calls = [];
  const said = [];
  const world = { states: new Map(), down: false, hideFromRoom: false, changed: true, safety: { safe: false, expiresAt: null }, safetyCalls: 0 };
  let version = 0;
  const write = (userId, change) => {
    version += 1;
    const state = { createdAt: '2026-11-21T10:00:00.000Z', ...world.states.get(userId), ...change, userId, version, lastUpdated: `t${version}` };
    delete state.seq;
    world.states.set(userId, state);
    return { ...state };
  };
  const call = (name, run) => async (...args) => {
    calls.push([name, ...args]);
    if (world.down) throw new ApiError({});
    return run(...args);
  };
  const known = (userId) => { if (!world.states.has(userId)) throw new ApiError({ status: 404 }); };
  const api = {
    putState: call('post', (userId, body) => write(userId, body)),
    patchMute: call('mute', (userId, body) => { known(userId); return write(userId, { isMuted: body.isMuted }); }),
    patchDevice: call('device', (userId, body) => { known(userId); return write(userId, { deviceId: body.deviceId, deviceLabel: body.deviceLabel }); }),
    getUser: call('get', (userId) => { known(userId); return { ...world.states.get(userId) }; }),
    removeUser: call('delete', (userId) => { known(userId); world.states.delete(userId); }),
    roomUsers: async () => {
      if (world.down) throw new ApiError({});
      return { changed: world.changed, truncated: false, items: world.hideFromRoom ? [] : [...world.states.values()].map((s) => ({ ...s })) };
    },
  };
  api.roomSafety = async () => {
    world.safetyCalls += 1;
    if (world.safety instanceof Error) throw world.safety;
    return world.safety;
  };
  api.startPairing = call('pair', () => ({ code: 'C', expiresAt: clock.now() + 600_000 }));
  api.revokeAgent = call('revoke', () => ({ success: true }));
  api.bindAgent = call('bind', () => write(ME, {}));
  const track = { muted, status: 'off' };
  let changed = () => {};
  const view = () => ({ status: track.status, deviceId: track.status === 'live' ? 'd1' : null, label: track.status === 'live' ? 'Mic' : null, devices: [], lost: null });
  const createMicrophone = ({ onChange }) => {
    changed = () => onChange(view());
    return {
      view,
      setMuted: (m) => { track.muted = m; },
      start: async () => { track.status = opens ? 'live' : 'denied'; changed(); return opens; },
      choose: async () => true,
      stop: () => { track.status = 'off'; },
    };
  };
  const saved = {};
  const store = { updateSession: (c) => Object.assign(saved, c), remember: () => {}, endSession: () => { saved.ended = true; } };
  const confirmed = joined ? write(ME, { isMuted: muted, deviceId: null, deviceLabel: null, roomId: 'r' }) : null;
  let snapshot = null;
  let seq = 0;
  const session = createSession({
    api, store, createMicrophone, userId: ME, roomId: 'r', muted, confirmed, random: () => 1,
    nextSeq: () => { seq += 1; return seq; }, now: clock.now,
    timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout }, onChange: (s) => { snapshot = s; },
    announce: (text) => said.push(text),
  });
  return {
    clock, calls, said, world, track, session, saved, write,
    view: () => snapshot, me: () => world.states.get(ME),
    lose: () => { track.status = 'unplugged'; changed(); },
    names: () => calls.map((c) => c[0]),
  };
}

test('the track changes before anybody is told', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  t.world.down = true;
  await t.session.toggle();
  assert.equal(t.track.muted, false);
  await t.clock.settle();
  assert.deepEqual([t.view().muted, t.view().muteStatus, t.saved.muted], [false, 'unsent', false]);
  t.world.down = false;
  await t.clock.advance(5000);
  assert.deepEqual([t.me().isMuted, t.view().muteStatus], [false, 'sent']);
});

test('joining tells the device once it is known and does not touch the mute', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  assert.deepEqual(t.names(), ['device']);
  assert.deepEqual([t.me().deviceLabel, t.me().isMuted], ['Mic', true]);
});

test('nothing from outside opens the microphone', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  t.write(ME, { isMuted: false });
  await t.clock.advance(1500);
  assert.deepEqual([t.track.muted, t.view().muted, t.view().notice.kind], [true, true, 'says-unmuted']);
  const before = t.calls.length;
  await t.clock.advance(6000);
  assert.equal(t.calls.length, before, 'it does not fight over the claim by itself');
  t.session.sayAgain();
  await t.clock.settle();
  assert.deepEqual([t.me().isMuted, t.view().notice], [true, null]);
});

test('a mute from outside is followed, and said', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  await t.session.toggle();
  await t.clock.settle();
  t.write(ME, { isMuted: true });
  await t.clock.advance(1500);
  assert.deepEqual([t.track.muted, t.view().muted, t.view().notice.kind], [true, true, 'muted-elsewhere']);
});

test('a pulled microphone mutes, and says that there is no device', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  await t.session.toggle();
  await t.clock.settle();
  t.lose();
  await t.clock.settle();
  assert.equal(t.track.muted, true);
  assert.deepEqual([t.me().isMuted, t.me().deviceId, t.me().roomId], [true, null, 'r']);
});

test('without a microphone one is in the room, muted, and cannot claim otherwise', async () => {
  const t = setup({ mic: false });
  t.session.start();
  await t.clock.settle();
  await t.session.toggle();
  await t.clock.settle();
  assert.deepEqual([t.view().muted, t.view().blocked, t.me().isMuted], [true, true, true]);
});

test('an expired state is written again as a whole', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  t.world.states.delete(ME);
  await t.clock.advance(9000);
  assert.ok(t.names().includes('get') && t.names().at(-1) === 'post');
  assert.deepEqual([t.me().roomId, t.me().deviceLabel, t.me().isMuted], ['r', 'Mic', true]);
});

test('a listing that merely lags causes no write', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  const before = t.names().filter((n) => n !== 'get').length;
  t.world.hideFromRoom = true;
  await t.clock.advance(20_000);
  assert.equal(t.names().filter((n) => n !== 'get').length, before);
  assert.equal(t.view().own.userId, ME);
});

test('a resumed session says its state again, unmuted included', async () => {
  const t = setup({ muted: false, joined: false });
  t.session.start();
  await t.clock.settle();
  assert.deepEqual([t.me().isMuted, t.me().roomId, t.track.muted], [false, 'r', false]);
});

test('being moved by another tab is said, not undone', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  t.write(ME, { roomId: 'other' });
  await t.clock.advance(1500);
  assert.deepEqual(t.view().notice, { kind: 'moved', roomId: 'other' });
  assert.equal(t.me().roomId, 'other');
});

test('leaving closes everything first, then removes the claim', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  await t.session.leave();
  assert.equal(t.names().at(-1), 'delete');
  assert.deepEqual([t.world.states.has(ME), t.track.status, t.saved.ended, t.clock.waiting()], [false, 'off', true, 0]);
});

// Evidence changes a verdict without changing the claim, so the version stays.
const measure = (t, value, reason) => {
  const mute = { value, reason, observedAt: t.clock.now(), expiresAt: t.clock.now() + 25_000, assurance: 'self-hosted' };
  t.world.states.set(ME, { ...t.me(), agent: { agentId: 'agt_1', revoked: false, deviceId: 'x', deviceLabel: 'Mic' }, verdict: { mute, device: mute } });
};

test('a verdict is shown although the claim has the version it had, and changes nothing of it', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  const before = t.calls.length;
  for (const [value, reason] of [['verified', 'digital_zero'], ['contradicted', 'device_mismatch'], ['contradicted', 'silent_device'], ['unverified', 'agent_revoked']]) {
    measure(t, value, reason);
    await t.clock.advance(1500);
    assert.equal(t.view().own.verdict.mute.reason, reason);
    assert.deepEqual([t.track.muted, t.view().muted, t.me().isMuted], [true, true, true]);
  }
  assert.equal(t.calls.length, before);
});

test('a contradiction of oneself is said once, and again only after it was over', async () => {
  const t = setup();
  const contradictions = () => t.said.filter((text) => text.includes('contradicted')).length;
  t.session.start();
  await t.clock.settle();
  for (let i = 0; i < 4; i += 1) {
    measure(t, 'contradicted', 'device_mismatch');
    await t.clock.advance(1500);
  }
  assert.equal(contradictions(), 1);
  await t.clock.advance(30_000);
  measure(t, 'contradicted', 'device_mismatch');
  await t.clock.advance(1500);
  assert.equal(contradictions(), 1, 'a measurement that was late does not make it news');
  measure(t, 'contradicted', 'device_missing');
  await t.clock.advance(1500);
  assert.equal(contradictions(), 2);
  measure(t, 'verified', 'digital_zero');
  await t.clock.advance(1500);
  measure(t, 'contradicted', 'device_missing');
  await t.clock.advance(1500);
  assert.equal(contradictions(), 3);
});

test('whoever is listed as not silent for sure has said no, and the room is not asked', async () => {
  const t = setup();
  t.session.start();
  await t.clock.advance(6000);
  assert.deepEqual([t.world.safetyCalls, t.view().safety], [0, null]);
  measure(t, 'verified', 'digital_zero');
  await t.clock.advance(1500);
  assert.equal(t.view().safety, t.world.safety);
  measure(t, 'contradicted', 'device_missing');
  await t.clock.advance(1500);
  assert.equal(t.view().safety, null, 'what was safe is forgotten');
});

test('the room is asked whether it is safe when something has changed or the answer is over', async () => {
  const t = setup();
  measure(t, 'verified', 'digital_zero');
  t.world.safety = { safe: true, expiresAt: t.clock.now() + 10_000 };
  t.session.start();
  await t.clock.settle();
  t.world.changed = false;
  await t.clock.advance(9000);
  assert.equal(t.world.safetyCalls, 1);
  t.world.safety = { safe: true, expiresAt: t.clock.now() + 20_000 };
  await t.clock.advance(3000);
  assert.equal(t.world.safetyCalls, 2);
  assert.equal(t.view().safety, t.world.safety);
});

test('the list goes on without that answer, and the room is then not known to be safe', async () => {
  const t = setup();
  measure(t, 'verified', 'digital_zero');
  t.world.safety = new ApiError({ status: 503 });
  t.session.start();
  await t.clock.advance(3000);
  assert.deepEqual([t.view().connection, t.view().loaded, t.view().safety], ['online', true, null]);
});

test('pairing, binding and stopping go to the server and never touch the microphone', async () => {
  const t = setup();
  t.session.start();
  await t.clock.settle();
  await t.session.startPairing();
  assert.equal(t.view().pairing.code.text, 'C');
  measure(t, 'unverified', 'device_unbound');
  await t.clock.advance(1500);
  assert.equal(t.view().pairing.code, null);
  await t.session.bind({ agentId: 'agt_1', deviceId: 'd1', agentDeviceId: 'x' });
  await t.session.stopAgent();
  assert.deepEqual(t.names().slice(-3), ['pair', 'bind', 'revoke']);
  assert.deepEqual([t.track.muted, t.me().isMuted, t.view().pairing.stopped], [true, true, 'agt_1']);
});
