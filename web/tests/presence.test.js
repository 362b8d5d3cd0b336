import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createPresence } from '../presence.js';
import { fakeBeat, fakeClock } from './fake-clock.js';

function setup() {
  let slept = 0;
  const clock = fakeClock();
  const beat = fakeBeat();
  const log = [];
  const script = [];
  const api = {
    renewPresence: async (roomId, body) => {
      log.push(`renew ${roomId} ${body.participantId} ${body.lease}`);
      const step = script.shift();
      if (step) throw step;
    },
    leaveRoom: (roomId, body) => { log.push(`leave ${roomId} ${body.participantId} ${body.lease}`); },
  };
  const presence = createPresence({
    api, roomId: 'r', userId: 'ada', lease: 'l1', beat, now: clock.now, random: () => 1,
    wallNow: () => clock.now() + slept, onBack: () => log.push('back'), onLost: () => log.push('lost'), onFull: () => log.push('full'),
  });
  const pass = async (ms) => {
    for (let rest = ms; rest > 0; rest -= 2000) {
      await clock.advance(2000);
      beat.once();
    }
    await clock.settle();
  };
  const sleep = (ms) => { slept += ms; };
  return { presence, beat, log, script, pass, sleep, settle: clock.settle, take: () => log.splice(0) };
}
const RENEW = 'renew r ada l1';

test('presence is renewed at once and every twelve seconds', async () => {
  const t = setup();
  t.presence.begin();
  await t.settle();
  assert.deepEqual(t.take(), [RENEW, 'back']);
  await t.pass(36_000);
  assert.deepEqual(t.take(), [RENEW, RENEW, RENEW]);
});

test('after a sleep, in which the steady clock may stand still, presence is renewed at the next beat', async () => {
  const t = setup();
  t.presence.begin();
  await t.settle();
  await t.pass(2000);
  t.take();
  t.sleep(60_000);
  await t.pass(2000);
  assert.deepEqual(t.take(), [RENEW]);
  await t.pass(8000);
  assert.deepEqual(t.take(), [], 'once');
});

test('a failed renewal is repeated well before the lease ends', async () => {
  const t = setup();
  t.presence.begin();
  await t.settle();
  t.take();
  t.script.push(new ApiError({}), new ApiError({ status: 503 }));
  await t.pass(20_000);
  assert.deepEqual(t.take(), [RENEW, RENEW, RENEW], 'and the recovery is not reported as a return');
});

test('Retry-After is honoured even if the page is shown again', async () => {
  const t = setup();
  t.script.push(new ApiError({ status: 429, retryAfterMs: 30_000 }));
  t.presence.begin();
  await t.pass(20_000);
  t.presence.renew();
  await t.settle();
  assert.deepEqual(t.take(), [RENEW]);
  await t.pass(10_000);
  assert.deepEqual(t.take(), [RENEW, 'back']);
});

test('losing and regaining presence are both reported', async () => {
  const t = setup();
  t.presence.begin();
  await t.settle();
  t.script.push(new ApiError({ status: 404 }));
  await t.pass(12_000);
  t.presence.renew();
  await t.settle();
  assert.deepEqual(t.take(), [RENEW, 'back', RENEW, 'lost', RENEW, 'back']);
});

test('the end is sent once, stops all renewals, and can be followed by a new begin', async () => {
  const t = setup();
  t.presence.begin();
  await t.settle();
  t.take();
  t.presence.end();
  t.presence.end();
  t.presence.renew();
  await t.pass(60_000);
  assert.deepEqual([t.take(), t.beat.running()], [['leave r ada l1'], false]);
  t.presence.begin();
  await t.settle();
  assert.deepEqual(t.take(), [RENEW, 'back']);
  t.presence.quit();
  await t.pass(60_000);
  assert.deepEqual([t.take(), t.beat.running()], [[], false]);
});

test('a person whose seat was given away is told so, and is back once another is free', async () => {
  const t = setup();
  t.presence.begin();
  await t.settle();
  t.script.push(new ApiError({ status: 409, code: 'room_full' }));
  t.take();
  await t.pass(12_000);
  assert.deepEqual(t.take(), [RENEW, 'full']);
  await t.pass(12_000);
  assert.deepEqual(t.take(), [RENEW, 'back']);
});
