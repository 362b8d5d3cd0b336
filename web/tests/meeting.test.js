import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createMeeting, outcomeNow } from '../session/meeting.js';
import { deferred, fakeClock } from './fake-clock.js';

const ROOM = 'rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE';
const ME = 'p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF';
const BOB = 'p_01KBA8M3Q4V4W5X6Y7Z8A9BCDG';
/** When each request to mute was made. */
const AT = { mr_1: '2026-11-21T11:44:18.027Z', mr_2: '2026-11-21T11:44:19.000Z', mr_3: '2026-11-21T11:45:00.000Z' };
const person = (userId, name, more = {}) => ({ userId, name, participant: { role: 'attendee', handRaised: false, mayUnmute: false, ...more } });

/** A meeting whose server answers as `answers` says, by the name of the call. */
function setup({ role = 'attendee', moderated = false, muted = true, answers = {} } = {}) {
  const clock = fakeClock();
  const world = { muted, said: [], calls: [], nudges: 0 };
  const call = (name) => async (...args) => {
    world.calls.push([name, ...args]);
    const answer = typeof answers[name] === 'function' ? answers[name]() : answers[name];
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const room = { title: 'Weekly', settings: { moderatedUnmute: moderated }, muteRequest: null };
  const api = Object.fromEntries(['changeParticipant', 'changeRoom', 'muteAll', 'muteOutcome'].map((name) => [name, call(name)]));
  const meeting = createMeeting({
    api, roomId: ROOM, participantId: ME, room, role, timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
    isMuted: () => world.muted, mute: () => { world.muted = true; world.calls.push(['mute']); },
    announce: (text) => world.said.push(text), nudge: () => { world.nudges += 1; },
  });
  const see = (own, { others = [], waiting = [], request = null } = {}) => meeting.see({
    room: { ...room, muteRequest: request && { requestId: request, at: AT[request] } }, items: [person(ME, 'Ada', own), ...others], waiting, warning: null,
  });
  return { clock, world, meeting, see };
}

test('in a moderated room only permission lets an attendee unmute, and its end mutes the page', () => {
  const t = setup({ moderated: true });
  assert.equal(t.meeting.mayOpen(), false, 'before the room was read');
  t.see({});
  assert.equal(t.meeting.mayOpen(), false);
  t.see({ mayUnmute: true });
  assert.deepEqual([t.meeting.mayOpen(), t.world.said, t.world.calls], [true, ['You may unmute now.'], []], 'nothing opens a microphone');
  t.world.muted = false;
  t.see({});
  assert.deepEqual([t.world.muted, t.world.said.at(-1)], [true, 'A presenter has taken back the permission to unmute. You are muted.']);
  t.see({ role: 'presenter' });
  assert.equal(t.meeting.mayOpen(), true);
  assert.ok(t.world.said.includes('You are a presenter now.'));
});

test('a new request mutes the page, and one that was there before does not', () => {
  const t = setup({ muted: false });
  t.see({}, { request: 'mr_1' });
  assert.equal(t.world.muted, false, 'it was made before this page came');
  t.see({}, { request: 'mr_1' });
  assert.equal(t.world.muted, false);
  t.see({}, { request: 'mr_2' });
  assert.deepEqual([t.world.muted, t.meeting.view().request, t.world.said], [true, { requestId: 'mr_2', wasOpen: true }, ['A presenter asks everybody to mute. You are muted.']]);
  t.meeting.dismissRequest();
  t.see({}, { request: 'mr_2' });
  assert.equal(t.meeting.view().request, null);
});

test('an older reading of the room does not mute again who has unmuted since', () => {
  for (const older of [null, 'mr_1']) {
    const t = setup({ muted: false });
    t.see({});
    t.see({}, { request: 'mr_1' });
    t.see({}, { request: 'mr_2' });
    t.world.muted = false;
    t.meeting.dismissRequest();
    t.see({}, { request: older });
    t.see({}, { request: 'mr_2' });
    assert.deepEqual([t.world.muted, t.meeting.view().request], [false, null], `after ${older}`);
    t.see({}, { request: 'mr_3' });
    assert.deepEqual([t.world.muted, t.meeting.view().request.requestId], [true, 'mr_3'], 'a later request counts');
  }
});

test('a request that was there before the page came stays known when an older reading lacks it', () => {
  const t = setup({ muted: false });
  for (const request of ['mr_2', null, 'mr_1', 'mr_2']) t.see({}, { request });
  assert.equal(t.world.muted, false);
});

test('a page that is muted already claims it once more, because that is the answer', () => {
  const t = setup();
  t.see({});
  t.see({}, { request: 'mr_1' });
  assert.deepEqual([t.world.calls, t.meeting.view().request.wasOpen], [[['mute']], false]);
});

test('a presenter does not follow a request to mute', () => {
  const t = setup({ role: 'presenter', muted: false });
  t.see({ role: 'presenter' });
  t.see({ role: 'presenter' }, { request: 'mr_1' });
  assert.deepEqual([t.world.muted, t.meeting.view().request], [false, null]);
});

test('the refusal of a request is told to the server', async () => {
  const t = setup({ muted: false });
  t.see({});
  t.see({}, { request: 'mr_1' });
  await t.meeting.refuseRequest();
  assert.deepEqual(t.world.calls.at(-1), ['changeParticipant', ROOM, ME, { refusedRequest: 'mr_1' }]);
  assert.equal(t.meeting.view().request, null);
});

test('a request is refused while something else is under way, and only the one that the person has seen', async () => {
  const slow = deferred();
  const answers = { changeParticipant: () => slow.promise };
  const t = setup({ muted: false, answers });
  t.see({});
  t.see({}, { request: 'mr_1' });
  const hand = t.meeting.raiseHand(true);
  answers.changeParticipant = null;
  await t.meeting.refuseRequest();
  assert.deepEqual(t.world.calls.at(-1), ['changeParticipant', ROOM, ME, { refusedRequest: 'mr_1' }]);
  slow.resolve();
  await hand;
  const { length } = t.world.calls;
  await t.meeting.refuseRequest();
  assert.equal(t.world.calls.length, length, 'there is no request any more');
});

test('new hands and people who wait are announced once', () => {
  const t = setup({ role: 'presenter' });
  const bob = (up) => ({ others: [person(BOB, 'Bob', { handRaised: up })] });
  t.see({ role: 'presenter' }, bob(false));
  t.see({ role: 'presenter' }, bob(true));
  t.see({ role: 'presenter' }, bob(true));
  assert.deepEqual(t.world.said, ['Bob raises a hand.']);
  const cleo = { waiting: [person('p_01KBA8M3Q4V4W5X6Y7Z8A9BCDH', 'Cleo')] };
  t.see({ role: 'presenter' }, cleo);
  t.see({ role: 'presenter' }, cleo);
  assert.equal(t.world.said.filter((text) => text === 'Cleo waits to be let in.').length, 1);
});

test('a setting and a hand are shown as soon as the server has them', async () => {
  const t = setup({ role: 'presenter', answers: { changeRoom: { room: { settings: { moderatedUnmute: true } } } } });
  await t.meeting.changeSettings({ moderatedUnmute: true });
  assert.deepEqual([t.meeting.view().room.settings.moderatedUnmute, t.meeting.view().room.title], [true, 'Weekly']);
  await t.meeting.raiseHand(true);
  assert.equal(t.meeting.view().isHandUp, true);
});

test('permission answers a raised hand', async () => {
  const t = setup({ role: 'presenter' });
  await t.meeting.allow(person(BOB, 'Bob', { handRaised: true }), true);
  await t.meeting.allow(person(BOB, 'Bob'), false);
  assert.deepEqual(t.world.calls.map((call) => call[3]), [{ mayUnmute: true, handRaised: false }, { mayUnmute: false }]);
  assert.equal(t.world.nudges, 2, 'the room is read at once');
});

test('a failure is shown beside its control until the next try', async () => {
  const answers = { changeParticipant: new ApiError({ status: 409, code: 'room_full' }) };
  const t = setup({ role: 'presenter', answers });
  assert.equal(await t.meeting.admit(person(BOB, 'Bob')), false);
  assert.equal(t.meeting.view().problem.where, BOB);
  assert.match(t.meeting.view().problem.text, /full/);
  answers.changeParticipant = {};
  assert.equal(await t.meeting.admit(person(BOB, 'Bob')), true);
  assert.deepEqual([t.meeting.view().problem, t.meeting.view().busy, t.world.said], [null, null, ['Bob was let in.']]);
});

test('a presenter’s page asks for a minute who has refused, and not at all once it was dismissed', async () => {
  const targets = (outcome) => [{ participantId: BOB, outcome }];
  const t = setup({ role: 'presenter', answers: { muteAll: { requestId: 'mr_1', targets: targets('requested') }, muteOutcome: { targets: targets('refused') } } });
  await t.meeting.muteAll();
  assert.deepEqual(t.meeting.view().round, { requestId: 'mr_1', targets: targets('requested'), isOver: false });
  await t.clock.advance(2000);
  assert.equal(t.meeting.view().round.targets[0].outcome, 'refused');
  await t.clock.advance(600_000);
  assert.deepEqual([t.meeting.view().round.isOver, t.world.calls.length], [true, 31]);
  await t.meeting.muteAll();
  t.meeting.dismissRound();
  await t.clock.advance(60_000);
  assert.deepEqual([t.meeting.view().round, t.world.calls.length], [null, 32]);
});

test('an outcome is never better than what is known of the person now', () => {
  for (const said of ['requested', 'claimed', 'verified', 'refused', 'gone']) {
    assert.equal(outcomeNow(said, null), 'gone');
    assert.equal(outcomeNow(said, { isMuted: true, value: 'verified' }), 'verified');
    for (const value of ['stale', 'unverified', 'contradicted']) assert.equal(outcomeNow(said, { isMuted: true, value }), 'claimed', `${said}, ${value}`);
    assert.equal(outcomeNow(said, { isMuted: false, value: 'verified' }), said === 'refused' ? 'refused' : 'requested');
  }
});

test('a lost seat is announced once, and so is its return', () => {
  const t = setup();
  for (const isSeated of [true, false, false, true, true]) t.meeting.seat(isSeated);
  assert.deepEqual(t.world.said, ['Your place was given away, and the room is full.', 'You are back in the room.']);
});

const VERSION_1 = { title: 'Weekly', hasPassword: false, maxParticipants: 50, settings: { moderatedUnmute: false }, version: 1, muteRequest: null, present: 1 };
const seeRoom = (t, room) => t.meeting.see({ room, items: [], waiting: [], warning: null });

test('a change of the room names the version that the presenter has seen, and shows what the server answers', async () => {
  const t = setup({ role: 'presenter', answers: { changeRoom: { room: { ...VERSION_1, title: 'Part two', version: 2 } } } });
  seeRoom(t, VERSION_1);
  assert.equal(await t.meeting.changeRoom({ title: 'Part two' }), true);
  assert.deepEqual(t.world.calls, [['changeRoom', ROOM, { title: 'Part two' }, 1]]);
  assert.deepEqual([t.meeting.view().room.title, t.world.nudges, t.world.said], ['Part two', 1, ['The room was changed.']]);
});

test('a change that meets another one is refused, and the room is read at once', async () => {
  const t = setup({ role: 'presenter', answers: { changeRoom: new ApiError({ status: 412, code: 'version_conflict' }) } });
  seeRoom(t, VERSION_1);
  assert.equal(await t.meeting.changeRoom({ title: 'Part two' }), false);
  const { problem, busy, room } = t.meeting.view();
  assert.deepEqual([problem.where, problem.field, busy, room.title, t.world.nudges], ['room', null, null, 'Weekly', 1]);
  assert.match(problem.text, /Somebody else has changed the room meanwhile/);
});

test('a refusal of one member of the room is shown at its field, and no password stays in the view', async () => {
  const answers = {};
  const t = setup({ role: 'presenter', answers });
  for (const [member, field] of [['title', 'title'], ['maxParticipants', 'size'], ['password', 'password']]) {
    answers.changeRoom = new ApiError({ status: 400, code: 'validation_failed', detail: 'no', errors: [{ field: member, message: 'no' }] });
    assert.equal(await t.meeting.changeRoom({ password: 'sesame' }), false);
    assert.equal(t.meeting.view().problem.field, field);
    assert.ok(!JSON.stringify(t.meeting.view()).includes('sesame'));
  }
});

test('an older reading of the room does not undo what a presenter has just changed', async () => {
  const t = setup({ role: 'presenter', answers: { changeRoom: { room: { ...VERSION_1, title: 'Part two', hasPassword: true, version: 2 } } } });
  seeRoom(t, VERSION_1);
  await t.meeting.changeRoom({ title: 'Part two', password: 'sesame' });
  seeRoom(t, { ...VERSION_1, present: 4, muteRequest: { requestId: 'mr_1', at: AT.mr_1 } });
  const { title, hasPassword, version, present, muteRequest } = t.meeting.view().room;
  assert.deepEqual([title, hasPassword, version, present, muteRequest.requestId], ['Part two', true, 2, 4, 'mr_1']);
  seeRoom(t, { ...VERSION_1, title: 'Part three', version: 3 });
  assert.deepEqual([t.meeting.view().room.title, t.meeting.view().room.hasPassword], ['Part three', false]);
});
