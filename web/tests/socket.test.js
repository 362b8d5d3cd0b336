import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createSocket, socketUrl } from '../socket.js';
import { fakeBeat, fakeClock } from './fake-clock.js';
import { fakeSockets } from './fake-socket.js';

function setup({ random = () => 1, ...options } = {}) {
  let slept = 0;
  const clock = fakeClock();
  const beat = fakeBeat();
  const server = fakeSockets();
  const log = [];
  const socket = createSocket({
    url: 'ws://h/ws', token: 'T', open: server.open, beat, now: clock.now, wallNow: () => clock.now() + slept, random,
    timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
    onOpen: () => log.push('open'), onDown: () => log.push('down'), onAlive: () => log.push('alive'), onFrame: ({ event }) => log.push(event), ...options,
  });
  return {
    clock, beat, log, socket, server, last: server.last, take: () => log.splice(0),
    sleep: (ms) => { slept += ms; },
    /** Time passes, with beats. With `answers`, each ping is answered. */
    async pass(ms, { answers = false } = {}) {
      for (let rest = ms; rest > 0; rest -= 1000) {
        await clock.advance(1000);
        const before = server.last().pings();
        beat.once();
        if (answers && server.last().pings() > before) server.last().ack();
      }
    },
  };
}

/** An open connection, whose first ping is answered. */
const opened = (options) => {
  const t = setup(options);
  t.socket.start();
  t.last().accept();
  t.last().ack();
  t.log.splice(1);
  return t;
};

test('the token goes as a subprotocol, and never in the address', () => {
  const t = opened();
  assert.deepEqual([t.last().url, t.last().protocols], ['ws://h/ws', ['greenroom.v1', 'greenroom.bearer.T']]);
  assert.deepEqual(t.take(), ['open']);
});

test('a connection is pinged when it opens and every ten seconds, each time with another id', async () => {
  const t = opened();
  await t.pass(60_000, { answers: true });
  const pings = t.last().sent;
  assert.deepEqual([pings.length, new Set(pings.map(({ id }) => id)).size], [7, 7]);
  assert.ok(pings.every(({ event, id }) => event === 'ping' && typeof id === 'string'));
  assert.deepEqual([t.server.sockets.length, t.take().filter((said) => said === 'alive').length], [1, 6]);
});

test('the server says how often to ping, within its lease', async () => {
  const t = opened();
  await t.pass(10_000);
  t.last().ack({ pingEveryMs: 5000 });
  await t.pass(5000);
  assert.equal(t.last().pings(), 3);
  t.last().ack({ pingEveryMs: 3_600_000 });
  await t.pass(12_000);
  assert.equal(t.last().pings(), 4);
  t.last().ack({ pingEveryMs: 'soon' });
  await t.pass(10_000);
  assert.equal(t.last().pings(), 5);
});

test('a connection on which no ping is answered is given up, and another is opened', async () => {
  const t = opened();
  await t.pass(19_000);
  assert.deepEqual([t.server.sockets.length, t.last().isClosed, t.last().pings()], [1, false, 4], 'a ping that the gateway has dropped is repeated');
  await t.pass(2000);
  assert.deepEqual([t.server.sockets[0].isClosed, t.server.sockets.length], [true, 2]);
  assert.deepEqual(t.take(), ['open', 'down']);
});

test('a ping that the server could not serve is repeated, and the connection lives as long as its lease', async () => {
  const t = opened();
  await t.pass(10_000);
  t.last().say({ event: 'error', id: '1', data: { code: 'unavailable', detail: 'd', requestId: 'r' } });
  await t.pass(4000);
  t.last().ack();
  await t.pass(30_000, { answers: true });
  assert.equal(t.server.sockets.length, 1);
  for (let i = 0; i < 30 && t.server.sockets.length === 1; i += 1) {
    await t.pass(1000);
    t.last().say({ event: 'error', data: { code: 'unavailable' } });
  }
  assert.equal(t.server.sockets[0].isClosed, true);
});

test('a lease that has lapsed means another connection', async () => {
  const t = opened();
  await t.pass(10_000);
  t.last().say({ event: 'error', id: '1', data: { code: 'connection_lapsed' } });
  assert.deepEqual([t.last().isClosed, t.take()], [true, ['open', 'down']]);
  await t.clock.advance(800);
  assert.equal(t.server.sockets.length, 2);
});

test('after a sleep, in which the steady clock may stand still, the connection is not trusted', async () => {
  const t = opened();
  await t.pass(10_000, { answers: true });
  t.sleep(60_000);
  t.beat.once();
  assert.equal(t.server.sockets[0].isClosed, true);
  await t.clock.advance(800);
  assert.equal(t.server.sockets.length, 2);
  t.last().accept();
  await t.pass(30_000, { answers: true });
  assert.equal(t.server.sockets.length, 2, 'once');
});

test('connections that are refused are tried again, ever more slowly and without end', async () => {
  const t = setup();
  t.socket.start();
  const waits = [];
  for (let i = 0; i < 8; i += 1) {
    const { length } = t.server.sockets;
    t.last().fail();
    const from = t.clock.now();
    while (t.server.sockets.length === length) await t.clock.advance(100);
    waits.push(t.clock.now() - from);
  }
  assert.deepEqual(waits, [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  assert.deepEqual(t.take(), [], 'what was never open is not down');
});

test('a connection that is accepted and dropped at once counts as refused, and one that was alive does not', async () => {
  const t = setup();
  t.socket.start();
  for (let i = 0; i < 4; i += 1) {
    t.last().accept();
    t.last().fail();
    await t.clock.advance(800 * 2 ** i - 1);
    assert.equal(t.server.sockets.length, i + 1);
    await t.clock.advance(1);
  }
  t.last().accept();
  await t.pass(10_000, { answers: true });
  t.last().fail();
  await t.clock.advance(800);
  assert.equal(t.server.sockets.length, 6);
});

test('a handshake that takes too long is given up', async () => {
  const t = setup();
  t.socket.start();
  await t.clock.advance(10_000);
  await t.clock.advance(800);
  assert.equal(t.server.sockets.length, 2);
  t.server.sockets[0].accept();
  assert.deepEqual([t.take(), t.server.sockets[0].isClosed], [[], true], 'what opens too late is closed');
});

test('before a restart the pages come back spread over some seconds', async () => {
  const waits = [];
  for (const random of [0, 0.5, 1]) {
    const t = opened({ random: () => random });
    t.last().say({ event: 'bye', at: 'x', data: { reason: 'restart' } });
    assert.deepEqual([t.last().isClosed, t.take()], [true, ['open', 'down']]);
    const from = t.clock.now();
    while (t.server.sockets.length === 1) await t.clock.advance(100);
    waits.push(t.clock.now() - from);
  }
  assert.deepEqual(waits, [500, 2000, 3500]);
});

test('a page whose place another tab took does not take it back by itself', async () => {
  const t = opened();
  t.last().say({ event: 'bye', at: 'x', data: { reason: 'replaced' } });
  t.socket.wake();
  await t.clock.advance(600_000);
  assert.deepEqual([t.server.sockets.length, t.take(), t.clock.waiting(), t.beat.running()], [1, ['open', 'down'], 0, false]);
  t.socket.stop();
  t.socket.start();
  assert.equal(t.server.sockets.length, 2, 'the page was shown again');
});

test('after the end of the stay the page does not run against the closed door', async () => {
  for (const reason of ['removed', 'ended']) {
    const t = opened();
    t.last().say({ event: 'bye', at: 'x', data: { reason } });
    assert.deepEqual(t.take(), ['open', 'down']);
    await t.clock.advance(4900);
    assert.equal(t.server.sockets.length, 1);
  }
});

test('waking pings at once, or opens a connection that waits for its time', async () => {
  const t = opened();
  await t.pass(3000);
  t.socket.wake();
  t.socket.wake();
  assert.equal(t.last().pings(), 2);
  t.last().ack();
  t.last().fail();
  t.socket.wake();
  t.socket.wake();
  assert.equal(t.server.sockets.length, 2, 'one at a time');
});

test('a message may hold a list of events, and none is taken after the one that ends the connection', () => {
  const t = opened();
  t.take();
  const event = (name) => ({ event: name, data: {} });
  t.last().say([event('one'), event('two')]);
  t.last().say([event('three'), { event: 'bye', data: { reason: 'restart' } }, event('four')]);
  assert.deepEqual(t.take(), ['one', 'two', 'three', 'down']);
});

test('frames that are no JSON, no object or no event are ignored', () => {
  const t = opened();
  t.take();
  for (const strange of ['', 'x', 'null', '[]', '1', '{"event":7}', '{"event":"ack","data":null}', { message: 'Too Many Requests', connectionId: 'c', requestId: 'r' }, { event: 'error' }]) t.last().say(strange);
  t.last().onmessage({ data: new ArrayBuffer(2) });
  assert.deepEqual(t.take(), ['alive'], 'an answer to a ping need not say anything');
  t.last().say({ event: 'room-updated', data: {} });
  assert.deepEqual(t.take(), ['room-updated']);
});

test('a stopped socket leaves nothing behind, whatever it did', async () => {
  for (const prepare of [() => {}, (t) => t.last().accept(), (t) => t.last().fail(), (t) => { t.last().accept(); t.last().fail(); }]) {
    const t = setup();
    t.socket.start();
    prepare(t);
    t.take();
    t.socket.stop();
    t.socket.wake();
    assert.deepEqual([t.clock.waiting(), t.beat.running(), t.take()], [0, false, []]);
    t.last().say({ event: 'room-updated', data: {} });
    t.last().fail();
    await t.clock.advance(60_000);
    assert.deepEqual([t.server.sockets.length, t.take(), t.clock.waiting()], [1, [], 0]);
  }
});

test('a connection is not cut off during its handshake, which the browser would complain about: it is closed after it', () => {
  const t = setup();
  t.socket.start();
  t.socket.stop();
  assert.equal(t.last().isClosed, false);
  t.last().accept();
  assert.deepEqual([t.last().isClosed, t.take()], [true, []]);
});

test('an address that no browser opens is tried once', async () => {
  let tries = 0;
  const t = setup({ open: () => { tries += 1; throw new SyntaxError('no'); } });
  t.socket.start();
  t.socket.wake();
  await t.clock.advance(600_000);
  assert.deepEqual([tries, t.clock.waiting(), t.take()], [1, 0, []]);
});

test('the socket is where the ticket says, or at this server, and encrypted if the page is', () => {
  const plain = { protocol: 'http:', host: 'h:3001' };
  const tls = { protocol: 'https:', host: 'h' };
  assert.deepEqual([socketUrl('ws://h:3001/ws', plain), socketUrl(undefined, plain), socketUrl(null, tls)], ['ws://h:3001/ws', 'ws://h:3001/ws', 'wss://h/ws']);
  assert.deepEqual([socketUrl('wss://x.example/live', tls), socketUrl('wss://x.example/live', plain), socketUrl('ws://h/ws', tls)], ['wss://x.example/live', 'wss://x.example/live', 'wss://h/ws']);
});
