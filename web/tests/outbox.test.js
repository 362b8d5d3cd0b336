import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../api.js';
import { createOutbox } from '../outbox.js';
import { deferred, fakeClock } from './fake-clock.js';

const offline = () => new ApiError({});
const status = (code, more = {}) => new ApiError({ status: code, code: `E${code}`, detail: 'no', ...more });

/** A server that answers with whatever the test put into `script`, else with success. */
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

test('a press is sent with scope and counter, and is then "sent"', async () => {
  const { clock, outbox, sent, acks } = setup();
  outbox.wantMute(false);
  assert.equal(outbox.muteStatus(), 'sending');
  await clock.settle();
  assert.equal(outbox.muteStatus(), 'sent');
  assert.equal(outbox.busy(), false);
  assert.deepEqual(sent, [{ kind: 'mute', isMuted: false, muteScope: 'app', seq: 1 }]);
  assert.equal(acks.length, 1);
});

test('after a drop only the latest intent is sent, with its own counter', async () => {
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

test('presses during a request wait for it, and only the last of them follows', async () => {
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

test('404 means nothing is there to patch: the whole claim is sent, at once', async () => {
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

test('no device can only be said in a whole claim, which then covers the mute too', async () => {
  const { clock, outbox, sent, script } = setup();
  const slow = deferred();
  script.push(slow.promise);
  outbox.wantMute(true);
  outbox.wantMute(true);
  outbox.wantDevice(null, null);
  slow.resolve({});
  await clock.settle();
  assert.deepEqual(sent.map((s) => s.kind), ['mute', 'post']);
  assert.equal(outbox.busy(), false);
});

test('a refused claim is not repeated until the next press', async () => {
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

test('Retry-After is honoured, even when the way seems open again', async () => {
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

test('wake sends what waits without sitting out the backoff', async () => {
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

test('close waits for the request under way and sends nothing more', async () => {
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
