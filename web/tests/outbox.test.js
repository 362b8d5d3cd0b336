import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createOutbox } from '../outbox.js';
import { deferred, fakeClock } from './fake-clock.js';

const offline = () => new ApiError({});
const status = (code, more = {}) => new ApiError({ status: code, code: `E${code}`, detail: 'no', ...more });

/** A server that answers with the steps that the test puts into `script`, and then with success. */
function setup({ claim = { isMuted: true, muteScope: 'app', deviceId: 'd1', deviceLabel: 'Mic', roomId: 'r' } } = {}) {
  const clock = fakeClock();
  const sent = [];
  const acks = [];
  const script = [];
  let seq = 0;
  const answer = (kind) => async (userId, body) => {
    sent.push({ kind, ...body });
    const step = script.shift();
    if (step instanceof Error) throw step;
    if (step) return step;
    return { userId, ...body };
  };
  const outbox = createOutbox({
    api: { putState: answer('post'), patchMute: answer('mute'), patchDevice: answer('device') },
    userId: 'ada-7f3k', whole: () => claim, nextSeq: () => { seq += 1; return seq; },
    onAck: (state) => acks.push(state), ...clock, random: () => 1,
  });
  return { clock, outbox, sent, acks, script, claim };
}

test('a mute is sent with scope and counter, and its status is then "sent"', async () => {
  const { clock, outbox, sent, acks } = setup();
  outbox.wantMute(false);
  assert.equal(outbox.muteStatus(), 'sending');
  await clock.settle();
  assert.equal(outbox.muteStatus(), 'sent');
  assert.equal(outbox.busy(), false);
  assert.deepEqual(sent, [{ kind: 'mute', isMuted: false, muteScope: 'app', seq: 1 }]);
  assert.equal(acks.length, 1);
});

test('after a lost connection only the latest intent is sent, with its own counter', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(offline(), offline());
  outbox.wantMute(false);
  await clock.settle();
  assert.equal(outbox.muteStatus(), 'unsent');
  for (const muted of [true, false, true]) outbox.wantMute(muted);
  await clock.advance(60_000);
  assert.equal(outbox.muteStatus(), 'sent');
  assert.deepEqual(sent.map((s) => [s.isMuted, s.seq]), [[false, 1], [true, 4], [true, 4]]);
  assert.equal(clock.waiting(), 0);
});

test('of several presses during a request only the last one is sent after it', async () => {
  const { clock, outbox, sent, script } = setup();
  const slow = deferred();
  script.push(slow.promise);
  outbox.wantMute(false);
  outbox.wantMute(true);
  outbox.wantMute(false);
  await clock.settle();
  assert.equal(sent.length, 1);
  slow.resolve({ isMuted: false });
  await clock.settle();
  assert.deepEqual(sent.map((s) => s.seq), [1, 3]);
});

test('a mute does not wait for the device that the server has put off', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(status(429, { retryAfterMs: 30_000 }));
  outbox.wantDevice('d2', 'Other');
  await clock.settle();
  outbox.wantMute(true);
  await clock.settle();
  assert.deepEqual([sent.map((s) => s.kind), outbox.muteStatus(), outbox.deviceStatus()], [['device', 'mute'], 'sent', 'unsent']);
  outbox.wake();
  await clock.advance(29_000);
  assert.equal(sent.length, 2, 'the device waits as long as the server has asked');
  await clock.advance(10_000);
  assert.deepEqual([sent.map((s) => s.kind), outbox.deviceStatus(), clock.waiting()], [['device', 'mute', 'device'], 'sent', 0]);
});

test('a mute that the server has put off keeps its own wait', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(status(429, { retryAfterMs: 30_000 }), status(429, { retryAfterMs: 30_000 }));
  outbox.wantDevice('d2', 'Other');
  await clock.settle();
  outbox.wantMute(true);
  await clock.settle();
  outbox.wantMute(false);
  await clock.settle();
  assert.equal(sent.length, 2);
  await clock.advance(60_000);
  assert.deepEqual(sent.slice(2).map((s) => [s.kind, s.isMuted]), [['mute', false], ['device', undefined]]);
});

test('the mute goes before the device, and each keeps its own status', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push({}, offline());
  outbox.wantMute(false);
  outbox.wantDevice('d2', 'Other');
  await clock.settle();
  assert.deepEqual(sent.map((s) => s.kind), ['mute', 'device']);
  assert.deepEqual([outbox.muteStatus(), outbox.deviceStatus()], ['sent', 'unsent']);
  await clock.advance(1000);
  assert.equal(outbox.deviceStatus(), 'sent');
  assert.deepEqual(sent.at(-1), { kind: 'device', deviceId: 'd2', deviceLabel: 'Other', seq: 2 });
});

test('after a 404 the whole claim is sent at once', async () => {
  const { clock, outbox, sent, script, claim } = setup();
  script.push(status(404));
  outbox.wantMute(true);
  await clock.settle();
  assert.deepEqual(sent.map((s) => s.kind), ['mute', 'post']);
  const { kind, seq, ...body } = sent[1];
  assert.deepEqual(body, claim);
  assert.ok(seq > sent[0].seq);
  assert.equal(outbox.muteStatus(), 'sent');
});

test('a claim of no device is sent by itself and leaves the mute alone', async () => {
  const { clock, outbox, sent } = setup();
  outbox.wantDevice(null, null);
  await clock.settle();
  assert.deepEqual(sent, [{ kind: 'device', deviceId: null, seq: 1 }]);
  assert.equal(outbox.busy(), false);
});

test('a refused device is no longer claimed, and does not hold up a waiting mute', async () => {
  for (const code of [400, 403]) {
    const { clock, outbox, sent, script } = setup();
    const slow = deferred();
    script.push(slow.promise);
    outbox.wantDevice('d1', 'a label that is refused');
    await clock.settle();
    outbox.wantMute(true);
    slow.reject(status(code));
    await clock.settle();
    assert.deepEqual(sent.slice(1), [{ kind: 'mute', isMuted: true, muteScope: 'app', seq: 2 }, { kind: 'device', deviceId: null, seq: 3 }],
      'and the device of before is claimed no more');
    assert.deepEqual([outbox.muteStatus(), outbox.deviceStatus(), outbox.busy(), outbox.refusal()], ['sent', 'refused', false, null]);
    assert.equal(outbox.deviceRefusal().status, code);
    outbox.wantDevice('d2', 'Other');
    await clock.settle();
    assert.equal(outbox.deviceStatus(), 'sent');
  }
});

test('a refused mute does not hold up a waiting device', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(status(403));
  outbox.wantMute(false);
  outbox.wantDevice('d2', 'Other');
  await clock.settle();
  assert.deepEqual(sent.map((s) => s.kind), ['mute', 'device']);
  assert.deepEqual([outbox.muteStatus(), outbox.deviceStatus(), outbox.busy()], ['refused', 'sent', false]);
});

test('a device whose label is refused is claimed without the label', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(status(400, { errors: [{ field: 'deviceLabel', rule: 'readable' }] }));
  outbox.wantDevice('d1', 'bad');
  await clock.settle();
  assert.deepEqual(sent[1], { kind: 'device', deviceId: 'd1', deviceLabel: null, seq: 2 });
});

test('a whole claim is sent again without the device or the name that the server refuses', async () => {
  const claim = { isMuted: true, muteScope: 'app', deviceId: 'd1', deviceLabel: 'Mic', roomId: 'r', name: 'Ada', lease: 'l' };
  const { clock, outbox, sent, script } = setup({ claim });
  const of = (field) => status(400, { errors: [{ field, rule: 'readable' }] });
  script.push(status(404), of('deviceLabel'), of('deviceId'), of('name'));
  outbox.wantMute(true);
  await clock.settle();
  assert.deepEqual(sent.slice(1).map((s) => [s.kind, s.deviceId, s.deviceLabel, s.name]),
    [['post', 'd1', 'Mic', 'Ada'], ['post', 'd1', null, 'Ada'], ['post', null, null, 'Ada'], ['post', null, null, undefined]]);
  assert.deepEqual([outbox.muteStatus(), outbox.deviceStatus(), outbox.busy()], ['sent', 'refused', false]);
});

test('a whole claim that is refused for another reason is sent again only after a press', async () => {
  const { clock, outbox, sent, script } = setup({ claim: { isMuted: true, deviceId: null, deviceLabel: null, roomId: 'r' } });
  script.push(status(404), status(403));
  outbox.wantMute(true);
  await clock.advance(60_000);
  assert.deepEqual([sent.length, outbox.muteStatus(), outbox.busy()], [2, 'refused', false]);
  outbox.wantMute(true);
  await clock.settle();
  assert.deepEqual([sent.at(-1).kind, outbox.muteStatus()], ['post', 'sent']);
});

test('after the server’s counter has overtaken ours, the next mute is sent without a counter', async () => {
  const { clock, outbox, sent, script, acks } = setup();
  script.push({ isMuted: true, applied: false });
  outbox.wantMute(false);
  await clock.settle();
  assert.deepEqual([acks[0], outbox.muteStatus()], [{ isMuted: true }, 'sent']);
  outbox.wantMute(false);
  await clock.settle();
  assert.deepEqual(sent.at(-1), { kind: 'mute', isMuted: false, muteScope: 'app' });
});

test('a retry of a request that was stored already does not count as overtaken', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(offline(), { isMuted: false, applied: false });
  outbox.wantMute(false);
  await clock.advance(1000);
  outbox.wantMute(true);
  await clock.settle();
  assert.equal(sent.at(-1).seq, 2);
});

test('a refused counter is replaced by a new one, once', async () => {
  const { clock, outbox, sent, script } = setup();
  const ahead = () => status(400, { errors: [{ field: 'seq', rule: 'range' }] });
  script.push(ahead());
  outbox.wantMute(false);
  await clock.settle();
  assert.deepEqual([sent.map((s) => s.seq), outbox.muteStatus()], [[1, 2], 'sent']);
  script.push(ahead(), ahead());
  outbox.wantMute(true);
  await clock.settle();
  assert.deepEqual([sent.length, outbox.muteStatus()], [4, 'refused']);
});

test('a refused mute is not repeated until the next press', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(status(400));
  outbox.wantMute(false);
  await clock.advance(120_000);
  assert.equal(sent.length, 1);
  assert.equal(outbox.muteStatus(), 'refused');
  assert.equal(outbox.refusal().message, 'no');
  outbox.wantMute(true);
  await clock.settle();
  assert.equal(outbox.muteStatus(), 'sent');
});

test('Retry-After is honoured even if the network seems to be back', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(status(429, { retryAfterMs: 20_000 }));
  outbox.wantMute(false);
  await clock.advance(19_000);
  outbox.wake();
  await clock.settle();
  assert.equal(sent.length, 1);
  await clock.advance(1000);
  assert.equal(sent.length, 2);
});

test('wake sends a waiting retry at once', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(offline());
  outbox.wantMute(false);
  await clock.settle();
  outbox.wake();
  await clock.settle();
  assert.equal(sent.length, 2);
  assert.equal(clock.waiting(), 0);
  outbox.wake();
  await clock.settle();
  assert.equal(sent.length, 2);
});

test('a held outbox waits for the running request, and sends what is wanted meanwhile only once it goes on', async () => {
  const { clock, outbox, sent, script } = setup();
  const answer = deferred();
  script.push(answer.promise);
  outbox.wantMute(false);
  let isQuiet = false;
  outbox.hold().then(() => { isQuiet = true; });
  outbox.wantMute(true);
  await clock.settle();
  assert.equal(isQuiet, false);
  answer.resolve({ isMuted: false });
  await clock.advance(60_000);
  outbox.wake();
  assert.deepEqual([isQuiet, sent.length, outbox.busy(), outbox.muteStatus()], [true, 1, true, 'sending']);
  outbox.goOn();
  await clock.settle();
  assert.deepEqual([sent.map(({ isMuted }) => isMuted), outbox.muteStatus()], [[false, true], 'sent']);
});

test('a retry that came due while the outbox was held is sent once it goes on', async () => {
  const { clock, outbox, sent, script } = setup();
  script.push(offline());
  outbox.wantMute(false);
  await clock.settle();
  await outbox.hold();
  await clock.advance(60_000);
  assert.equal(sent.length, 1);
  outbox.goOn();
  await clock.settle();
  assert.deepEqual([sent.length, outbox.muteStatus()], [2, 'sent']);
});

test('close waits for the running request and sends nothing more', async () => {
  const { clock, outbox, sent, script } = setup();
  const slow = deferred();
  script.push(slow.promise);
  outbox.wantMute(false);
  outbox.wantMute(true);
  let closed = false;
  outbox.close().then(() => { closed = true; });
  await clock.settle();
  assert.equal(closed, false);
  slow.reject(offline());
  await clock.advance(60_000);
  assert.equal(closed, true);
  assert.equal(sent.length, 1);
  assert.equal(clock.waiting(), 0);
});
