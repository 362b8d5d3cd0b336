import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createRoomPoller } from '../room-poller.js';
import { arrange, isNewer } from '../room.js';
import { deferred, fakeClock } from './fake-clock.js';

const at = (version, createdAt = '2026-11-21T10:00:00.000Z', more = {}) => ({ userId: 'me', version, createdAt, ...more });

test('a state that was created again is newer although its version is lower', () => {
  assert.equal(isNewer(at(2), at(1)), true);
  assert.equal(isNewer(at(1), at(1)), false);
  assert.equal(isNewer(at(1, '2026-11-21T11:00:00.000Z'), at(9)), true);
  assert.equal(isNewer(at(9), at(1, '2026-11-21T11:00:00.000Z')), false);
  assert.equal(isNewer(at(1), null), true);
});

test('a listing that lags never replaces a newer confirmed state', () => {
  const others = [{ userId: 'a' }, { userId: 'z' }];
  assert.deepEqual(arrange([others[0], at(1), others[1]], 'me', at(2)), { own: at(2), others });
  assert.deepEqual(arrange([at(3)], 'me', at(2)).own, at(3));
  assert.deepEqual(arrange([], 'me', at(2)).own, at(2));
  assert.deepEqual(arrange([], 'me', null).own, null);
  const measured = { ...at(2), verdict: {} };
  assert.equal(arrange([measured], 'me', at(2)).own, measured, 'a verdict changes without the version');
});

function poller({ hidden = false } = {}) {
  const clock = fakeClock();
  const updates = [];
  const script = [];
  const world = { calls: 0, hidden };
  const p = createRoomPoller({
    async fetchRoom() {
      world.calls += 1;
      const step = script.shift();
      if (step instanceof Error) throw step;
      return (await step) ?? { changed: false, items: [], truncated: false };
    },
    onUpdate: (view, meta) => updates.push({ ...view, ...meta }),
    isHidden: () => world.hidden, isQuiet: () => world.quiet ?? false, random: () => 1, ...clock,
  });
  return { clock, updates, script, world, p };
}

test('a hidden tab polls more slowly, and an unchanged answer is reported as unchanged', async () => {
  const { clock, updates, script, world, p } = poller();
  script.push({ changed: true, items: [1], truncated: false });
  p.start();
  await clock.advance(3100);
  assert.equal(world.calls, 3);
  assert.deepEqual(updates.map((u) => u.changed), [true, false, false]);
  world.hidden = true;
  await clock.advance(1500);
  world.calls = 0;
  await clock.advance(9000);
  assert.equal(world.calls, 0);
  p.nudge();
  await clock.settle();
  assert.equal(world.calls, 1);
});

test('the poller keeps the last data during a failure, and recovers by itself', async () => {
  const { clock, updates, script, p } = poller();
  script.push({ changed: true, items: ['x'], truncated: false }, new ApiError({}), new ApiError({ status: 503 }));
  p.start();
  await clock.advance(1500);
  assert.equal(p.view().connection, 'reconnecting');
  assert.deepEqual(p.view().items, ['x']);
  assert.equal(p.view().okAt, 1_000_000);
  await clock.advance(800);
  assert.equal(p.view().failures, 2);
  await clock.advance(1600);
  assert.equal(p.view().connection, 'online');
  assert.deepEqual(p.view().items, ['x']);
  assert.deepEqual([updates.at(-1).recovered, updates.at(-1).changed], [true, true]);
});

test('Retry-After is honoured even if the page asks for a poll now', async () => {
  const { clock, script, world, p } = poller();
  script.push(new ApiError({ status: 429, retryAfterMs: 5000 }));
  p.start();
  await clock.advance(4000);
  p.nudge();
  await clock.settle();
  assert.equal(world.calls, 1);
  await clock.advance(1000);
  assert.equal(world.calls, 2);
});

test('what changes while a request is under way is read right after it, once', async () => {
  const { clock, script, world, p } = poller();
  const slow = deferred();
  script.push(slow.promise);
  p.start();
  p.nudge();
  p.nudge();
  await clock.advance(3000);
  assert.equal(world.calls, 1);
  slow.resolve();
  await clock.settle();
  await clock.advance(0);
  assert.equal(world.calls, 2);
  await clock.advance(1499);
  assert.equal(world.calls, 2);
});

test('a paused poller waits for the request under way, and reads nothing until it goes on', async () => {
  const { clock, script, world, p } = poller();
  const slow = deferred();
  script.push(slow.promise);
  p.start();
  let isQuiet = false;
  p.pause().then(() => { isQuiet = true; });
  await clock.settle();
  assert.equal(isQuiet, false);
  slow.resolve();
  await clock.settle();
  assert.equal(isQuiet, true);
  p.nudge();
  await clock.advance(60_000);
  assert.deepEqual([world.calls, clock.waiting()], [1, 0]);
  p.resume();
  await clock.advance(0);
  assert.equal(world.calls, 2);
});

test('a listener that fails stops no polling, and a pause succeeds', async () => {
  const clock = fakeClock();
  let calls = 0;
  const p = createRoomPoller({
    async fetchRoom() {
      calls += 1;
      throw new ApiError({});
    },
    onUpdate() { throw new Error('a fault of the page'); }, now: clock.now, random: () => 1, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout,
  });
  await assert.rejects(p.start(), /a fault of the page/);
  assert.equal(clock.waiting(), 1);
  await p.pause();
  assert.deepEqual([calls, clock.waiting()], [1, 0]);
});

test('a paused poller forgets no Retry-After', async () => {
  const { clock, script, world, p } = poller();
  script.push(new ApiError({ status: 429, retryAfterMs: 5000 }));
  p.start();
  await clock.settle();
  await p.pause();
  p.resume();
  await clock.advance(4900);
  assert.equal(world.calls, 1);
  await clock.advance(100);
  assert.equal(world.calls, 2);
});

test('a stopped poller leaves no timer behind', async () => {
  const { clock, world, p } = poller();
  p.start();
  await clock.settle();
  p.stop();
  await clock.advance(60_000);
  assert.deepEqual([world.calls, clock.waiting()], [1, 0]);
});

test('a poller to which changes come by themselves reads once, again when it is asked, and on when they stop', async () => {
  const { clock, script, world, p } = poller();
  world.quiet = true;
  script.push(new ApiError({}));
  p.start();
  await clock.advance(60_000);
  assert.deepEqual([world.calls, clock.waiting()], [2, 0], 'a reading that fails is repeated');
  p.nudge();
  await clock.settle();
  assert.deepEqual([world.calls, clock.waiting()], [3, 0]);
  const slow = deferred();
  script.push(slow.promise);
  p.nudge();
  p.nudge();
  slow.resolve();
  await clock.advance(60_000);
  assert.equal(world.calls, 5, 'what changes during a reading is read after it');
  world.quiet = false;
  p.nudge();
  await clock.advance(3000);
  assert.equal(world.calls, 8);
});

test('people who have arrived by themselves say nothing about the connection', async () => {
  const { clock, script, updates, p } = poller();
  script.push({ changed: true, items: ['a'], truncated: false }, new ApiError({}));
  p.start();
  await clock.advance(1500);
  const { length } = updates;
  p.take(['a', 'b']);
  assert.deepEqual([p.view().items, p.view().okAt, p.view().connection, updates.length], [['a', 'b'], clock.now(), 'reconnecting', length]);
});
