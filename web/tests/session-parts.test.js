import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createContradictionAnnouncer } from '../session/contradiction.js';
import { createDevice } from '../session/device.js';
import { createMute } from '../session/mute.js';
import { createOwnState } from '../session/own-state.js';
import { createReconciler } from '../session/reconcile.js';
import { deferred, fakeClock } from './fake-clock.js';

const at = (version, more = {}) => ({ userId: 'ada', createdAt: '2026-11-21T10:00:00.000Z', version, ...more });

function ownState({ first = at(1) } = {}) {
  const clock = fakeClock();
  const world = { busy: false, ended: false, answers: [] };
  const log = [];
  const own = createOwnState({
    api: { getUser: async () => { log.push('get'); return world.answers.shift(); } },
    userId: 'ada', first, now: clock.now, isBusy: () => world.busy, isEnded: () => world.ended,
    onState: (state) => log.push(`state ${state.version}`), onRead: () => log.push('read'),
    onGone: () => log.push('gone'), onMissing: () => log.push('missing'),
  });
  return { own, clock, world, take: () => log.splice(0) };
}

test('an older state that arrives late is ignored, and one of the same version is not', () => {
  const { own, take } = ownState({ first: null });
  for (const version of [2, 1, 2]) own.accept(at(version));
  assert.deepEqual([take(), own.newest().version], [['state 2', 'state 2'], 2]);
});

test('reads that are asked for during a read become one read after it', async () => {
  const { own, clock, world, take } = ownState();
  const slow = deferred();
  world.answers.push(slow.promise, at(3));
  for (let i = 0; i < 3; i += 1) own.read();
  assert.equal(own.isReading(), true);
  slow.resolve(at(2));
  await clock.settle();
  assert.deepEqual([take(), own.newest().version, own.isReading()], [['get', 'state 2', 'read', 'get', 'state 3', 'read'], 3, false]);
});

test('a state that does not exist any more is forgotten; another failure changes nothing', async () => {
  const { own, clock, world, take } = ownState();
  world.answers.push(Promise.reject(new ApiError({ status: 503 })));
  own.read();
  await clock.settle();
  assert.deepEqual([take(), own.newest().version], [['get'], 1]);
  world.answers.push(Promise.reject(new ApiError({ status: 404 })));
  own.read();
  await clock.settle();
  assert.deepEqual([take(), own.newest()], [['get', 'gone'], null]);
});

test('after leaving nothing is read, and a late 404 writes nothing', async () => {
  const { own, clock, world, take } = ownState();
  const slow = deferred();
  world.answers.push(slow.promise);
  own.read();
  world.ended = true;
  slow.reject(new ApiError({ status: 404 }));
  await clock.settle();
  own.read();
  assert.deepEqual([take(), own.newest().version], [['get'], 1]);
});

test('a person is read only after the listing has lacked them for four seconds, and not while a claim is under way', async () => {
  const { own, clock, world, take } = ownState();
  world.answers.push(at(1));
  own.lookIn([]);
  await clock.advance(3999);
  own.lookIn([at(1)]);
  own.lookIn([]);
  await clock.advance(3999);
  world.busy = true;
  own.lookIn([]);
  world.busy = false;
  own.lookIn([]);
  await clock.advance(3999);
  own.lookIn([]);
  assert.deepEqual(take(), []);
  await clock.advance(1);
  own.lookIn([]);
  await clock.settle();
  assert.deepEqual(take(), ['missing', 'get', 'state 1', 'read']);
});

function reconciler() {
  const said = [];
  const tracks = [];
  const it = createReconciler({ roomId: 'r', muteTrack: () => tracks.push('muted'), announce: (text) => said.push(text) });
  const see = (isMutedThere, isMutedHere, roomId = 'r') => {
    it.reconcile({ roomId, isMuted: isMutedThere }, isMutedHere);
    return it.notice()?.kind ?? null;
  };
  return { it, see, said, tracks };
}

test('an unmute from elsewhere is reported once, until the server agrees again', () => {
  const { it, see, said, tracks } = reconciler();
  assert.deepEqual([see(false, true), see(false, true)], ['says-unmuted', 'says-unmuted']);
  it.dismiss();
  assert.equal(see(false, true), null, 'a dismissed report does not come back');
  assert.equal(see(true, true), null);
  assert.equal(see(false, true), 'says-unmuted');
  assert.equal(see(true, true), null);
  assert.deepEqual([said.length, tracks], [2, []]);
});

test('a mute from elsewhere mutes the track, and its report stays until the person decides', () => {
  const { it, see, tracks } = reconciler();
  assert.equal(see(true, false), 'muted-elsewhere');
  assert.equal(see(true, true), 'muted-elsewhere');
  it.decided();
  assert.deepEqual([it.notice(), tracks], [null, ['muted']]);
});

test('a move to another room is reported until the state is back here, whatever the person decides', () => {
  const { it, see } = reconciler();
  assert.equal(see(true, true, 'other'), 'moved');
  it.decided();
  assert.equal(it.notice().kind, 'moved');
  assert.equal(see(true, true), null);
  see(true, true, 'other');
  it.restart();
  assert.equal(it.notice(), null);
});

test('a contradiction is announced with its reason and advice', () => {
  const said = [];
  const see = createContradictionAnnouncer((text) => said.push(text));
  see({ value: 'contradicted', reason: 'a', short: 'short', means: 'Means.', todo: null });
  see({ value: 'stale', reason: 'attestation_expired' });
  see({ value: 'contradicted', reason: 'a', short: 'short', means: 'Means.', todo: null });
  see({ value: 'contradicted', reason: 'b', short: 'other', means: 'Means.', todo: 'Do.' });
  assert.deepEqual(said, ['Your claim is contradicted: short. Means. ', 'Your claim is contradicted: other. Means. Do.']);
});

function switchOf({ status = 'off', opens = async () => true } = {}) {
  const world = { track: [], wanted: [], said: [], blocked: 0, decided: 0, ended: false };
  const mute = createMute({
    mic: { view: () => ({ status }), setMuted: (isMuted) => world.track.push(isMuted) },
    outbox: { wantMute: (isMuted) => world.wanted.push(isMuted) },
    announce: (text) => world.said.push(text), openMicrophone: opens, isEnded: () => world.ended,
    onDecided: () => { world.decided += 1; }, onBlocked: () => { world.blocked += 1; },
  });
  return { mute, world };
}

test('unmuting opens the microphone first, and is blocked without one', async () => {
  const open = switchOf();
  await open.mute.toggle();
  assert.deepEqual([open.world.track, open.world.wanted, open.world.decided], [[false], [false], 1]);
  await open.mute.toggle();
  assert.deepEqual([open.world.track, open.world.wanted], [[false, true], [false, true]]);

  const none = switchOf({ opens: async () => false });
  await none.mute.toggle();
  assert.deepEqual([none.mute.isMuted(), none.mute.isBlocked(), none.world.wanted, none.world.blocked], [true, true, [], 1]);
  none.mute.unblock();
  assert.equal(none.mute.isBlocked(), false);
});

test('a person who leaves while the browser asks for the microphone is not unmuted', async () => {
  for (const isOpen of [true, false]) {
    const prompt = deferred();
    const { mute, world } = switchOf({ opens: () => prompt.promise });
    const toggling = mute.toggle();
    world.ended = true;
    prompt.resolve(isOpen);
    await toggling;
    assert.deepEqual([mute.isMuted(), mute.isBlocked(), world.track, world.wanted, world.blocked], [true, false, [], [], 0]);
  }
});

test('the claimed device follows the microphone, is sent once, and an alias is not remembered', () => {
  const wanted = [];
  const stored = [];
  const said = [];
  const device = createDevice({
    mic: {}, outbox: { wantDevice: (...args) => wanted.push(args) },
    store: { updateSession: (change) => stored.push(change.deviceId), remember: (change) => stored.push(change.deviceId) },
    mute: { isMuted: () => true, unblock: () => {}, set: () => assert.fail('already muted') },
    announce: (text) => said.push(text), first: { deviceId: 'd1', deviceLabel: 'Mic' }, wanted: null,
  });
  const live = (deviceId, label) => device.follow({ status: 'live', deviceId, label });
  live('d1', 'Mic');
  assert.deepEqual([wanted, stored], [[], ['d1', 'd1']], 'the server has this claim already');
  live('default', 'Default');
  live('default', 'Default');
  assert.deepEqual([wanted.splice(0), stored.slice(2)], [[['default', 'Default']], [null, null, null, null]]);
  device.follow({ status: 'asking' });
  assert.deepEqual(wanted, []);
  for (const status of ['unplugged', 'unplugged']) device.follow({ status });
  assert.deepEqual([wanted, said.length, device.claimed()], [[[null, null]], 1, { deviceId: null, label: null }]);
});

test('a chosen device is the one that is opened from then on', () => {
  const asked = [];
  const mic = { start: (deviceId) => asked.push(['start', deviceId]), choose: (deviceId) => asked.push(['choose', deviceId]) };
  const device = createDevice({ mic, outbox: {}, store: {}, mute: {}, announce: () => {}, first: null, wanted: 'd1' });
  device.open();
  device.choose('d2');
  device.open();
  assert.deepEqual(asked, [['start', 'd1'], ['choose', 'd2'], ['start', 'd2']]);
});
