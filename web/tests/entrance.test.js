import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createLobby, createOnce, createRoom, isOver, joinRoom, lookUp, whyOver } from '../entrance.js';
import { ApiError } from '../http.js';
import { createTicketStore } from '../tickets.js';
import { fakeBeat, fakeClock, fakeStorage } from './fake-clock.js';

const refusal = (status, code) => new ApiError({ status, code });
const ROOM = 'rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE';
const ME = 'p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF';

/** An API of one call that gives these answers in order. */
function api(name, ...answers) {
  const asked = [];
  const call = async (...args) => {
    asked.push(args);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { asked, [name]: call };
}

test('a link leads to a created room, to a room that is there once it is named, or nowhere', async () => {
  const room = { slug: 'weekly-4f7k2m9q3x8tn', title: 'Weekly' };
  assert.deepEqual(await lookUp(api('lookUp', { room }), ['x']), { kind: 'created', link: 'x', room });
  assert.deepEqual(await lookUp(api('lookUp', { room: { roomId: 'x', implicit: true } }), ['x']), { kind: 'implicit', link: 'x' });
  assert.deepEqual(await lookUp(api('lookUp', refusal(404)), ['x']), { kind: 'none', isStrict: false });
  assert.deepEqual(await lookUp(api('lookUp', refusal(401)), ['x']), { kind: 'none', isStrict: true });
  await assert.rejects(lookUp(api('lookUp', refusal(503)), ['x']), { status: 503 });
  const second = api('lookUp', refusal(404), { room: { implicit: true } });
  assert.deepEqual([await lookUp(second, ['a', 'b']), second.asked], [{ kind: 'implicit', link: 'b' }, [['a'], ['b']]]);
});

test('the creator gets the presenter’s ticket, and an empty password is no password', async () => {
  const answer = { roomId: ROOM, slug: 's', participantId: ME, presenterToken: 'T', wsUrl: 'ws://h/ws', room: { title: 'Weekly' }, joinUrl: 'u' };
  const server = api('createRoom', answer);
  const { ticket } = await createRoom(server, createOnce(() => 'K'), { title: 'Weekly', name: 'Ada', password: '', settings: { lobby: true } });
  assert.deepEqual(ticket, { roomId: ROOM, slug: 's', participantId: ME, token: 'T', wsUrl: 'ws://h/ws', name: 'Ada', role: 'presenter', isWaiting: false });
  assert.deepEqual(server.asked, [[{ title: 'Weekly', presenterName: 'Ada', settings: { lobby: true } }, 'K']]);
});

test('a person who joins a room with a lobby waits', async () => {
  const joined = (state) => ({ participantId: ME, token: 'T', wsUrl: 'ws://h/ws', state, roomDetails: { roomId: ROOM, slug: 's' } });
  const server = api('joinRoom', joined('waiting'), joined('joined'));
  const once = createOnce(() => 'K');
  const { ticket } = await joinRoom(server, once, 's', { name: 'Bob', password: 'sesame' });
  assert.deepEqual([ticket.isWaiting, ticket.wsUrl], [true, 'ws://h/ws']);
  assert.equal((await joinRoom(server, once, 's', { name: 'Bob', password: '' })).ticket.isWaiting, false);
  assert.deepEqual(server.asked, [['s', { name: 'Bob', password: 'sesame' }, 'K'], ['s', { name: 'Bob' }, 'K']]);
});

test('a call whose answer was lost is repeated with its key, and any other call has a new one', async () => {
  let made = 0;
  const once = createOnce(() => { made += 1; return `k${made}`; });
  const keys = [];
  const attempt = (wanted, answer) => once(wanted, async (key) => {
    keys.push(key);
    if (answer instanceof Error) throw answer;
    return answer;
  }).catch(() => null);
  await attempt({ title: 'a' }, new ApiError({}));
  await attempt({ title: 'a' }, {});
  await attempt({ title: 'a' }, refusal(401));
  await attempt({ title: 'a' }, refusal(503));
  await attempt({ title: 'b' }, {});
  assert.deepEqual(keys, ['k1', 'k1', 'k2', 'k3', 'k4']);
});

test('a stay is over because the room has ended, or because the room goes on without the person', async () => {
  const removed = refusal(401, 'token_invalid');
  assert.deepEqual([removed, refusal(410, 'room_ended'), refusal(404, 'room_not_found'), refusal(404, 'user_not_found'), refusal(503), null].map(isOver), [true, true, true, false, false, false]);
  assert.equal(await whyOver(api('lookUp', { isActive: true }), ROOM, removed), 'removed');
  assert.equal(await whyOver(api('lookUp', { isActive: false }), ROOM, removed), 'ended');
  assert.equal(await whyOver(api('lookUp', refusal(404)), ROOM, removed), 'ended');
  assert.equal(await whyOver(api('lookUp', new ApiError({})), ROOM, removed), 'removed', 'the person may try to join again');
  assert.equal(await whyOver(null, ROOM, refusal(410, 'room_ended')), 'ended');
});

/** A lobby whose server gives these answers. */
function lobby(...answers) {
  const clock = fakeClock();
  const seen = { presences: 0, admitted: 0, over: [], quits: 0 };
  const room = api('roomUsers', ...answers);
  const waiting = createLobby({
    api: { ...room, renewPresence: async () => { seen.presences += 1; }, leaveRoom: () => {}, quitRoom: async () => { seen.quits += 1; } },
    roomId: ROOM, participantId: ME, lease: 'l', beat: fakeBeat(), random: () => 1, now: clock.now,
    timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
    onAdmitted: () => { seen.admitted += 1; }, onOver: (error) => seen.over.push(error.code), onChange: (connection) => { seen.connection = connection; },
  });
  return { clock, seen, waiting, asked: room.asked };
}

test('a person in the lobby goes in as soon as they are admitted, and asks no more', async () => {
  const wait = refusal(403, 'not_admitted');
  const t = lobby(wait, wait, { items: [] });
  t.waiting.start();
  await t.clock.advance(10_000);
  assert.deepEqual([t.seen.admitted, t.seen.over, t.asked.length, t.seen.connection], [1, [], 3, 'online']);
  assert.ok(t.seen.presences >= 1, 'presence is renewed in the lobby');
});

test('a person who is turned away is told so once', async () => {
  const t = lobby(refusal(403, 'not_admitted'), refusal(401, 'token_invalid'));
  t.waiting.start();
  await t.clock.advance(10_000);
  assert.deepEqual([t.seen.admitted, t.seen.over, t.asked.length], [0, ['token_invalid'], 2]);
});

test('a server that is away does not end the waiting', async () => {
  const t = lobby(new ApiError({}), refusal(403, 'not_admitted'));
  t.waiting.start();
  await t.clock.settle();
  assert.equal(t.seen.connection, 'reconnecting');
  await t.clock.advance(5000);
  assert.deepEqual([t.seen.connection, t.seen.over], ['online', []]);
  await t.waiting.leave();
  const before = t.asked.length;
  await t.clock.advance(10_000);
  assert.deepEqual([t.asked.length, t.seen.quits], [before, 1]);
});

test('a ticket is found by slug and by id, and one that is damaged is not used', () => {
  const tab = fakeStorage();
  const tickets = createTicketStore(tab);
  const ticket = { roomId: ROOM, slug: 's', participantId: ME, token: 'T' };
  tickets.save(ticket);
  assert.deepEqual([tickets.find('s'), tickets.find(ROOM), tickets.find('t')], [ticket, ticket, null]);
  tickets.update(ROOM, { deviceId: 'd' });
  assert.equal(tickets.find('s').deviceId, 'd');
  tickets.save({ ...ticket, token: 'U' });
  assert.equal(tickets.find('s').token, 'U', 'one ticket for a room');
  tickets.drop(ROOM);
  assert.equal(tickets.find('s'), null);
  for (const damaged of ['x', [null], [{ ...ticket, participantId: 'ada' }], [{ ...ticket, token: undefined }], { roomId: ROOM }]) {
    tab.write('greenroom:tickets', damaged);
    assert.equal(tickets.find('s'), null);
  }
  for (let i = 0; i < 20; i += 1) tickets.save({ ...ticket, roomId: `r${i}`, slug: `s${i}` });
  assert.deepEqual([tickets.find('s11'), tickets.find('s12')?.slug], [null, 's12'], 'a tab remembers the last eight');
});
