import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError, createApi } from '../api.js';
import { arrange, createRoomPoller, isNewer } from '../room.js';
import { fakeClock } from './fake-clock.js';

const at = (version, createdAt = '2026-11-21T10:00:00.000Z', more = {}) => ({ userId: 'me', version, createdAt, ...more });

test('a recreated state is newer although its version is lower', () => {
  assert.equal(isNewer(at(2), at(1)), true);
  assert.equal(isNewer(at(1), at(1)), false);
  assert.equal(isNewer(at(1, '2026-11-21T11:00:00.000Z'), at(9)), true);
  assert.equal(isNewer(at(9), at(1, '2026-11-21T11:00:00.000Z')), false);
  assert.equal(isNewer(at(1), null), true);
});

test('a lagging listing never takes back what the server has confirmed', () => {
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
      return step ?? { changed: false, items: [], truncated: false };
    },
    onUpdate: (view, meta) => updates.push({ ...view, ...meta }),
    isHidden: () => world.hidden, random: () => 1, ...clock,
  });
  return { clock, updates, script, world, p };
}

test('polls at its pace, slower in a hidden tab, and says when nothing changed', async () => {
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

test('keeps the last data through a failure and recovers by itself', async () => {
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

test('Retry-After holds back even a nudge', async () => {
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

test('a stopped poller leaves no timer behind', async () => {
  const { clock, world, p } = poller();
  p.start();
  await clock.settle();
  p.stop();
  await clock.advance(60_000);
  assert.deepEqual([world.calls, clock.waiting()], [1, 0]);
});

function server(routes) {
  const seen = [];
  const api = createApi({
    async fetch(url, init) {
      seen.push({ url, method: init.method, headers: init.headers, body: init.body });
      const r = routes[url]?.(init) ?? new Response(null, { status: 500 });
      if (r instanceof Error) throw r;
      return r;
    },
  });
  return { api, seen };
}
const reply = (body, init = {}) => new Response(JSON.stringify(body), { status: 200, ...init });

test('follows the cursor, and one unchanged page does not hide a changed one', async () => {
  const root = '/api/rooms/r/users?limit=200';
  let second = ['b'];
  let tag = '"2"';
  const conditional = (etag, body) => ({ headers }) => (headers['if-none-match'] === etag
    ? new Response(null, { status: 304 }) : reply(body, { headers: { etag } }));
  const { api } = server({
    [root]: conditional('"1"', { items: ['a'], nextCursor: 'c 1' }),
    [`${root}&cursor=c%201`]: (init) => conditional(tag, { items: second, nextCursor: null })(init),
  });
  assert.deepEqual(await api.roomUsers('r'), { changed: true, items: ['a', 'b'], truncated: false });
  assert.deepEqual(await api.roomUsers('r'), { changed: false, items: ['a', 'b'], truncated: false });
  second = ['c'];
  tag = '"3"';
  assert.deepEqual(await api.roomUsers('r'), { changed: true, items: ['a', 'c'], truncated: false });
});

test('problem documents become errors that say whether to try again', async () => {
  const problem = { type: 'about:blank', title: 'T', status: 400, code: 'VALIDATION', detail: 'deviceLabel is too long', errors: [{ field: 'deviceLabel', rule: 'length' }], requestId: 'q1' };
  const { api, seen } = server({
    '/api/users/a%40b/state': () => reply(problem, { status: 400, headers: { 'content-type': 'application/problem+json' } }),
    '/api/users/x/mute': () => reply({ code: 'RATE', detail: 'slow down' }, { status: 429, headers: { 'retry-after': '2' } }),
    '/api/users/x/device': () => new Response('<html>', { status: 502 }),
    '/api/users/x': () => new TypeError('failed to fetch'),
  });
  await assert.rejects(api.putState('a@b', { isMuted: true }), (e) => {
    assert.equal(e.retryable, false);
    assert.deepEqual([e.status, e.code, e.detail, e.errors[0].field, e.requestId], [400, 'VALIDATION', 'deviceLabel is too long', 'deviceLabel', 'q1']);
    return true;
  });
  assert.equal(seen[0].body, '{"isMuted":true}');
  await assert.rejects(api.patchMute('x', {}), (e) => e.retryable && e.retryAfterMs === 2000);
  await assert.rejects(api.patchDevice('x', {}), (e) => e.retryable && e.status === 502);
  await assert.rejects(api.removeUser('x'), (e) => e.retryable && e.status === 0);
});
