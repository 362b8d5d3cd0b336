import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createApi } from '../api.js';

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

test('the whole room is read, page by page, and one changed page makes the room changed', async () => {
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

test('a token goes with each request as a header, and never in a URL or a beacon', async () => {
  const seen = [];
  const beacons = [];
  const api = createApi({
    token: 'T', sendBeacon: (...args) => beacons.push(args),
    fetch: async (url, init) => { seen.push([init.method, url, init.headers.authorization, init.keepalive]); return reply({ participants: [], room: {} }); },
  });
  await api.roomUsers('rm_1');
  await api.patchMute('p_1', { isMuted: true });
  api.leaveRoom('rm_1', { lease: 'l' });
  await api.quitRoom('rm_1');
  assert.deepEqual(beacons, []);
  assert.ok(seen.every(([, url, authorization]) => authorization === 'Bearer T' && !url.includes('T')), JSON.stringify(seen));
  assert.deepEqual(seen.map(([method, url]) => `${method} ${url}`), ['GET /api/rooms/rm_1', 'PATCH /api/users/p_1/mute', 'POST /api/rooms/rm_1/leave', 'POST /api/rooms/rm_1/leave']);
  assert.deepEqual(seen.map(([, , , keepalive]) => keepalive), [false, false, true, true], 'what is sent while the page closes outlives it');
});

test('one request reads a created room', async () => {
  const body = { room: { title: 'Weekly' }, participants: ['a'], waiting: ['b'], warning: 'star_size', isActive: true };
  let asked = 0;
  const api = createApi({ token: 'T', fetch: async () => { asked += 1; return asked === 1 ? reply(body, { headers: { etag: '"1"' } }) : new Response(null, { status: 304 }); } });
  const read = { items: ['a'], truncated: false, room: body.room, waiting: ['b'], warning: 'star_size' };
  assert.deepEqual([await api.roomUsers('r'), await api.roomUsers('r'), asked], [{ changed: true, ...read }, { changed: false, ...read }, 2]);
});

test('a problem document becomes an error that says whether a retry may help', async () => {
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

test('an answer that is not JSON is an error with its own code', async () => {
  const { api } = server({ '/api/users/x': () => new Response('<html>') });
  await assert.rejects(api.getUser('x'), { name: 'ApiError', code: 'BAD_ANSWER', status: 0 });
});

test('a body without an entity tag is fetched again each time', async () => {
  const { api, seen } = server({ '/api/users/x': () => reply({ version: seen.length }) });
  assert.deepEqual([await api.getUser('x'), await api.getUser('x')], [{ version: 1 }, { version: 2 }]);
  assert.deepEqual(seen.map(({ headers }) => headers), [{}, {}]);
});

test('a room with too many pages is truncated, and marked as truncated', async () => {
  const routes = {};
  const root = '/api/rooms/r/users?limit=200';
  for (let page = 0; page <= 10; page += 1) {
    routes[page === 0 ? root : `${root}&cursor=${page}`] = () => reply({ items: [page], nextCursor: String(page + 1) });
  }
  const { api, seen } = server(routes);
  const room = await api.roomUsers('r');
  assert.deepEqual([room.items.length, room.truncated, seen.length], [10, true, 10]);
});

test('each call uses the method, path and body of the API', async () => {
  const sent = [];
  const fetch = async (path, { method, body }) => {
    sent.push([method, path, body]);
    return new Response('{}', { headers: { 'content-type': 'application/json' } });
  };
  const api = createApi({ fetch });
  await api.startPairing('a@b');
  await api.stopAgent('a@b');
  await api.attachAgent('a@b', 'w');
  await api.renewPresence('r:1', { participantId: 'a', lease: 'l' });
  await api.bindAgent('agt_1', { deviceId: 'd', agentDeviceId: 'p' });
  await api.roomSafety('r:1');
  assert.deepEqual(sent, [
    ['POST', '/api/users/a%40b/pairing', undefined],
    ['DELETE', '/api/users/a%40b/agent', undefined],
    ['PUT', '/api/users/a%40b/agent', '{"witness":"w"}'],
    ['POST', '/api/rooms/r%3A1/presence', '{"participantId":"a","lease":"l"}'],
    ['PUT', '/api/agents/agt_1/binding', '{"deviceId":"d","agentDeviceId":"p"}'],
    ['GET', '/api/rooms/r%3A1/safe', undefined],
  ]);
});

test('a change of a room names the version only if one is given', async () => {
  const sent = [];
  const fetch = async (path, { method, headers, body }) => { sent.push([method, path, headers['if-match'], body]); return new Response('{}'); };
  const api = createApi({ fetch, token: 't' });
  await api.changeRoom('r:1', { settings: { chat: false } });
  await api.changeRoom('r:1', { password: null }, 3);
  assert.deepEqual(sent, [
    ['PATCH', '/api/rooms/r%3A1', undefined, '{"settings":{"chat":false}}'],
    ['PATCH', '/api/rooms/r%3A1', '"3"', '{"password":null}'],
  ]);
});

test('leaving is sent by a request that outlives the page', async () => {
  const beacons = [];
  const sent = [];
  const fetch = async (path, init) => { sent.push([path, init.method, init.keepalive, init.body]); return new Response('{}'); };
  const body = { participantId: 'a', lease: 'l' };
  createApi({ fetch, sendBeacon: (path, blob) => { beacons.push([path, blob.type, blob]); return true; } }).leaveRoom('r:1', body);
  assert.deepEqual([beacons[0][0], beacons[0][1], await beacons[0][2].text()], ['/api/rooms/r%3A1/leave', 'application/json', JSON.stringify(body)]);
  createApi({ fetch, sendBeacon: () => false }).leaveRoom('r:1', body);
  assert.deepEqual(sent, [['/api/rooms/r%3A1/leave', 'POST', true, JSON.stringify(body)]]);
});
