import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { deferred } from './fake-clock.js';
import { ME, setup, started } from './fake-session.js';

const meeting = (settings = {}, role = 'attendee') => ({ role, room: { title: 'Weekly', version: 1, settings: { moderatedUnmute: false, lobby: false, ...settings }, muteRequest: null } });
const verdict = (t, value, reason) => {
  const mute = { value, reason, observedAt: t.clock.now(), expiresAt: t.clock.now() + 25_000, assurance: 'self-hosted' };
  return { mute, device: mute };
};

/** A page in a created room, with a server that sends its events. */
function page(options = {}) {
  const t = setup({ meeting: meeting(), isLive: true, ...options });
  let seq = 0;
  t.world.standing = { role: (options.meeting ?? meeting()).role, handRaised: false, mayUnmute: false };
  t.write(ME, { participant: t.world.standing });
  return Object.assign(t, {
    /** Time passes, with the beats of the page. The server answers each ping. */
    async pass(ms, { isAnswered = true } = {}) {
      for (let rest = ms; rest > 0; rest -= 500) {
        await t.clock.advance(Math.min(500, rest));
        const socket = t.server.last();
        const before = socket?.pings();
        t.beat.once();
        if (isAnswered && socket?.readyState === 1 && socket.pings() > before) socket.ack();
      }
    },
    say(event, data = {}, more = {}) {
      seq += 1;
      t.server.last().say({ event, room: 'r', at: 'now', seq, data, ...more });
    },
    /** An event that the server has sent and that does not arrive. */
    drop() { seq += 1; },
    /** The last number of the history. */
    numbered: () => seq,
    /** Somebody's state changes, and the event of it arrives. */
    happens(userId, change, event = 'user-state-changed') { t.say(event, { user: { participant: t.world.standing, ...t.write(userId, { roomId: 'r', ...change }) } }); },
    renews(userId, renewed) { t.say('verdicts-renewed', { verdicts: { [userId]: renewed }, versions: { [userId]: t.world.states.get(userId).version } }); },
    others: () => t.view().others.map(({ userId, isMuted }) => [userId, isMuted]),
  });
}

/** The same, after it has become live. */
async function live(options) {
  const t = page(options);
  t.session.start();
  await t.clock.settle();
  t.server.last().accept();
  await t.pass(3000);
  assert.deepEqual([t.view().isLive, t.view().connection], [true, 'online']);
  t.reads = () => {
    const { reads } = t.world;
    t.world.reads = 0;
    return reads;
  };
  t.reads();
  return t;
}

test('a live page asks nothing of the room, for as long as it hears of it', async () => {
  const t = await live();
  const before = t.names();
  await t.pass(120_000);
  assert.deepEqual([t.reads(), t.names(), t.view().isLive, t.server.sockets.length], [0, before, true, 1]);
  t.session.nudge();
  await t.pass(10_000);
  assert.deepEqual([t.reads(), t.clock.waiting()], [0, 0], 'also when the page is shown again');
});

test('the page is live once a reading has begun a second after the opening, and polls until then', async () => {
  const t = page();
  t.session.start();
  await t.clock.settle();
  assert.equal(t.view().isLive, false);
  await t.pass(2500);
  t.server.last().accept();
  await t.pass(1500);
  assert.deepEqual([t.view().isLive, t.world.reads], [false, 3], 'the listing may lag by so much');
  await t.pass(1500);
  assert.deepEqual([t.view().isLive, t.world.reads], [true, 4]);
});

test('people come, change and go by events alone', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true, name: 'Bob' }, 'participant-joined');
  t.happens('p_cleo', { isMuted: true, name: 'Cleo' }, 'participant-joined');
  t.happens('p_bob', { isMuted: false });
  assert.deepEqual(t.others(), [['p_bob', false], ['p_cleo', true]]);
  t.happens('p_cleo', { verdict: verdict(t, 'contradicted', 'device_missing') }, 'verdict-changed');
  assert.equal(t.view().others[1].verdict.mute.reason, 'device_missing');
  t.happens('p_bob', { participant: { ...t.world.standing, handRaised: true } }, 'participant-updated');
  assert.deepEqual(t.said.slice(-1), ['Bob raises a hand.']);
  t.say('participant-left', { userId: 'p_cleo', reason: 'left' });
  assert.deepEqual(t.others(), [['p_bob', false]]);
  await t.pass(5000);
  assert.equal(t.reads(), 0);
});

test('a mute from elsewhere is followed at once, and nothing that arrives opens the microphone', async () => {
  const t = await live();
  await t.session.toggle();
  await t.clock.settle();
  t.happens(ME, { isMuted: true });
  assert.deepEqual([t.track.muted, t.view().muted, t.view().notice.kind], [true, true, 'muted-elsewhere']);
  t.happens(ME, { isMuted: false });
  t.say('room-updated', { room: { settings: { moderatedUnmute: false }, version: 9 } });
  assert.deepEqual([t.track.muted, t.view().muted, t.view().notice.kind], [true, true, 'says-unmuted']);
});

test('an older event of one’s own does not undo what the server has confirmed', async () => {
  const t = await live();
  const old = { ...t.me() };
  await t.session.toggle();
  await t.clock.settle();
  t.say('user-state-changed', { user: old });
  assert.deepEqual([t.track.muted, t.view().own.isMuted, t.view().notice], [false, false, null]);
});

test('a request to mute and the end of a permission arrive as updates of the room', async () => {
  const t = await live();
  await t.session.toggle();
  await t.clock.settle();
  t.say('room-updated', { room: { muteRequest: { requestId: 'mr_1', at: '2026-11-21T10:00:00.000Z' } } });
  assert.deepEqual([t.track.muted, t.view().meeting.request], [true, { requestId: 'mr_1', wasOpen: true }]);
  await t.session.toggle();
  assert.equal(t.track.muted, false);
  t.say('room-updated', { room: { settings: { moderatedUnmute: true, lobby: false }, version: 2, title: 'Part two' } });
  assert.deepEqual([t.track.muted, t.session.meeting.mayOpen(), t.view().meeting.room.title], [true, false, 'Part two']);
  t.happens(ME, { participant: { ...t.world.standing, mayUnmute: true } }, 'participant-updated');
  assert.deepEqual([t.session.meeting.mayOpen(), t.said.at(-1)], [true, 'You may unmute now.']);
  await t.pass(5000);
  assert.equal(t.reads(), 0);
});

test('after an event that was lost the page reads the room at once, and once more when nothing can lag', async () => {
  const t = await live();
  t.say('room-updated', { room: {} });
  t.write('p_bob', { roomId: 'r', isMuted: false });
  t.drop();
  await t.pass(1000);
  assert.deepEqual([t.reads(), t.others()], [0, []], 'nobody can know yet');
  t.happens('p_cleo', { isMuted: true }, 'participant-joined');
  await t.clock.settle();
  assert.deepEqual([t.reads(), t.others(), t.view().isLive], [1, [['p_bob', false], ['p_cleo', true]], true]);
  await t.pass(30_000);
  assert.equal(t.reads(), 1);
});

test('the last event that is lost is missed by the answers to the pings', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true, name: 'Bob' }, 'participant-joined');
  const seq = () => t.server.last().ack({ seq: t.numbered() });
  seq();
  t.write('p_bob', { isMuted: false });
  t.drop();
  seq();
  assert.equal(t.reads(), 0, 'the event may be on its way');
  seq();
  await t.pass(3000);
  assert.deepEqual([t.reads() > 0, t.others()], [true, [['p_bob', false]]]);
  await t.pass(30_000);
  t.reads();
  await t.pass(30_000);
  assert.deepEqual([t.reads(), t.view().isLive], [0, true], 'and then the page asks nothing again');
});

test('somebody who goes silent is gone when the server has said that their presence ends', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true, name: 'Bob' }, 'participant-joined');
  t.say('verdicts-renewed', { verdicts: {}, leases: { p_bob: new Date(t.clock.now() + 30_000).toISOString() } }, { seq: undefined });
  await t.pass(29_000);
  assert.equal(t.others().length, 1);
  await t.pass(2000);
  assert.deepEqual([t.others(), t.reads()], [[], 0]);
  t.happens('p_bob', { isMuted: true, name: 'Bob' }, 'participant-joined');
  assert.equal(t.others().length, 1, 'they are back');
  await t.pass(35_000);
  assert.equal(t.others().length, 1, 'as long as the server may be about to say that they are here');
  await t.pass(2000);
  assert.deepEqual([t.others(), t.view().own.userId], [[], ME]);
});

test('an event that is repeated is known, and changes nothing', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true }, 'participant-joined');
  const seq = 1;
  t.happens('p_bob', { isMuted: false });
  t.say('participant-left', { userId: 'p_bob', reason: 'left' }, { seq });
  assert.deepEqual(t.others(), [['p_bob', false]]);
});

test('what arrives during a reading is applied to it, and a reading that lags hides nobody', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: false }, 'participant-joined');
  const slow = deferred();
  t.world.reading = slow.promise;
  t.drop();
  t.happens('p_dora', { isMuted: true }, 'participant-joined');
  await t.clock.settle();
  t.happens('p_cleo', { isMuted: true }, 'participant-joined');
  slow.resolve([t.me()]);
  await t.clock.settle();
  assert.deepEqual(t.others(), [['p_bob', false], ['p_cleo', true], ['p_dora', true]]);
  t.world.reading = null;
  await t.pass(5000);
  assert.equal(t.others().length, 3);
});

test('a reading that knows less than the page, however much it lags, undoes nothing, and is not the last', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true, name: 'Bob' }, 'participant-joined');
  const old = { ...t.world.states.get('p_bob') };
  t.happens('p_bob', { isMuted: false });
  const { states } = t.world;
  await t.pass(2000);
  t.world.states = new Map([...states, ['p_bob', old]]);
  t.drop();
  t.say('room-updated', { room: {} });
  await t.pass(10_000);
  assert.deepEqual([t.others(), t.reads() > 3], [[['p_bob', false]], true]);
  t.world.states = states;
  await t.pass(5000);
  t.reads();
  await t.pass(10_000);
  assert.deepEqual([t.others(), t.reads()], [[['p_bob', false]], 0]);
});

test('what was wrong because of a reading that lags is right after the next one', async () => {
  const t = page();
  t.session.start();
  t.world.reading = Promise.resolve([t.me()]);
  await t.pass(500);
  t.write('p_bob', { roomId: 'r', isMuted: false });
  t.server.last().accept();
  await t.pass(300);
  assert.deepEqual([t.others(), t.view().isLive], [[], false]);
  t.world.reading = null;
  await t.pass(3000);
  assert.deepEqual([t.others(), t.view().isLive], [[['p_bob', false]], true]);
});

test('an answer that has not changed since it was read still replaces what events have made of it', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: false }, 'participant-joined');
  await t.pass(2000);
  t.world.states.delete('p_bob');
  t.drop();
  t.world.changed = false;
  t.say('room-updated', { room: {} });
  await t.clock.settle();
  assert.deepEqual(t.others(), []);
});

test('when the connection is lost the page polls as before and says so, and is live again after another', async () => {
  const t = await live();
  t.server.last().fail();
  await t.clock.settle();
  assert.deepEqual([t.view().isLive, t.view().connection, t.reads()], [false, 'online', 1]);
  t.write('p_bob', { roomId: 'r', isMuted: false });
  await t.pass(1500);
  assert.deepEqual([t.others(), t.reads()], [[['p_bob', false]], 1]);
  assert.equal(t.server.sockets.length, 2);
  t.server.last().accept();
  await t.pass(4000);
  assert.equal(t.view().isLive, true);
  t.reads();
  await t.pass(30_000);
  assert.equal(t.reads(), 0);
});

test('numbers begin anew with each connection', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true }, 'participant-joined');
  t.server.last().fail();
  await t.pass(1000);
  t.server.last().accept();
  await t.pass(4000);
  t.reads();
  t.say('participant-left', { userId: 'p_bob', reason: 'left' }, { seq: 500 });
  await t.pass(2000);
  assert.deepEqual([t.others(), t.reads()], [[], 0]);
});

test('a server that is away is reported as before', async () => {
  const t = await live();
  t.world.down = true;
  t.server.last().fail();
  await t.clock.settle();
  assert.deepEqual([t.view().isLive, t.view().connection, t.said.at(-1)], [false, 'reconnecting', 'Connection lost. Reconnecting.']);
  t.world.down = false;
  await t.pass(1000);
  assert.equal(t.view().connection, 'online');
});

test('a connection on which nothing is answered is not live for long', async () => {
  const t = await live();
  await t.pass(21_000, { isAnswered: false });
  assert.deepEqual([t.view().isLive, t.server.sockets[0].isClosed], [false, true]);
  assert.ok(t.reads() >= 1);
});

test('when the browser says that the network is gone, the page finds out', async () => {
  const t = await live();
  t.world.down = true;
  t.session.offline();
  await t.clock.settle();
  assert.deepEqual([t.view().connection, t.reads(), t.server.last().pings()], ['reconnecting', 1, 1]);
});

test('a tab whose place another one took polls, and does not fight', async () => {
  const t = await live();
  t.say('bye', { reason: 'replaced' });
  await t.pass(60_000);
  assert.deepEqual([t.server.sockets.length, t.view().isLive, t.view().connection], [1, false, 'online']);
  assert.ok(t.reads() >= 40);
});

for (const event of ['removed', 'room-ended']) {
  test(`after ${event} the page asks once what has happened, and everything stops`, async () => {
    const t = await live();
    t.world.over = new ApiError({ status: 410, code: 'room_ended' });
    t.say(event, {});
    await t.clock.settle();
    assert.deepEqual([t.reads(), t.world.told, t.track.status, t.saved.ended], [1, t.world.over, 'off', true]);
    assert.deepEqual([t.clock.waiting(), t.beat.running(), t.server.last().isClosed], [0, false, true]);
    await t.pass(60_000);
    assert.deepEqual([t.reads(), t.server.sockets.length], [0, 1]);
  });
}

test('a person who is removed while a replica still lists them is told so a moment later', async () => {
  const t = await live();
  t.say('removed', {});
  t.server.last().say({ event: 'bye', data: { reason: 'removed' } });
  await t.clock.settle();
  assert.equal(t.world.told, undefined);
  t.world.over = new ApiError({ status: 401, code: 'token_invalid' });
  await t.pass(1500);
  assert.deepEqual([t.world.told, t.clock.waiting(), t.server.sockets.length], [t.world.over, 0, 1]);
});

test('the socket is closed while the browser shows another page, and opened when it comes back', async () => {
  const t = await live();
  t.session.away();
  assert.deepEqual([t.server.last().isClosed, t.beat.running(), t.clock.waiting()], [true, false, 0]);
  await t.clock.advance(60_000);
  assert.deepEqual([t.reads(), t.server.sockets.length], [0, 1]);
  t.write('p_bob', { roomId: 'r', isMuted: false });
  t.session.back();
  await t.clock.settle();
  assert.deepEqual([t.reads(), t.others(), t.server.sockets.length], [1, [['p_bob', false]], 2]);
  t.server.last().accept();
  await t.pass(3000);
  assert.equal(t.view().isLive, true);
});

test('the socket closes when the person leaves, and opens again if they cannot', async () => {
  const t = await live({ meeting: meeting({}, 'presenter') });
  const answer = deferred();
  t.world.quitting = answer.promise;
  const leaving = t.session.leave();
  await t.clock.settle();
  assert.equal(t.server.last().isClosed, true);
  t.session.back();
  t.session.nudge();
  await t.pass(10_000);
  assert.deepEqual([t.server.sockets.length, t.reads()], [1, 0], 'nothing is asked meanwhile');
  answer.reject(new ApiError({ status: 409, code: 'last_presenter' }));
  assert.equal(await leaving, false);
  await t.clock.settle();
  assert.equal(t.server.sockets.length, 2);
  t.server.last().accept();
  await t.pass(4000);
  assert.equal(t.view().isLive, true);
  t.world.quitting = null;
  assert.equal(await t.session.leave(), true);
  assert.deepEqual([t.clock.waiting(), t.beat.running(), t.server.last().isClosed], [0, false, true]);
});

test('the socket closes when the presenter ends the room, in whatever state it is', async () => {
  for (const prepare of [() => {}, (t) => t.server.last().fail(), (t) => t.say('lobby-updated'), (t) => { t.world.down = true; t.server.last().fail(); }]) {
    const t = await live({ meeting: meeting({}, 'presenter') });
    prepare(t);
    await t.clock.settle();
    t.world.down = false;
    await t.session.end();
    assert.deepEqual([t.clock.waiting(), t.beat.running(), t.server.sockets.every(({ isClosed, readyState }) => isClosed || readyState === 3)], [0, false, true]);
    await t.pass(60_000);
    assert.equal(t.server.sockets.length, 1);
  }
});

test('a session that ends before its connection is open opens none', async () => {
  const t = page();
  t.session.start();
  await t.clock.settle();
  await t.session.leave();
  t.server.last().accept();
  assert.deepEqual([t.server.last().isClosed, t.clock.waiting(), t.beat.running()], [true, 0, false]);
});

test('a presenter reads who waits when the lobby has changed, and an attendee does not', async () => {
  const t = await live({ meeting: meeting({ lobby: true }, 'presenter') });
  t.world.waiting = [{ userId: 'p_bob', name: 'Bob' }];
  t.say('lobby-updated');
  await t.clock.settle();
  assert.deepEqual([t.view().meeting.waiting.length, t.said.at(-1), t.view().isLive], [1, 'Bob waits to be let in.', true]);
  t.world.waiting = [];
  t.happens('p_bob', { isMuted: true, name: 'Bob' }, 'participant-joined');
  assert.deepEqual(t.view().meeting.waiting, [], 'who has come in does not wait');
  await t.pass(5000);
  t.reads();
  await t.pass(30_000);
  assert.equal(t.reads(), 0);
  const attendee = await live({ meeting: meeting({ lobby: true }) });
  attendee.say('lobby-updated');
  await attendee.pass(5000);
  assert.equal(attendee.reads(), 0);
  attendee.happens(ME, { participant: { role: 'presenter', handRaised: false, mayUnmute: false } }, 'participant-updated');
  await attendee.clock.settle();
  assert.equal(attendee.reads(), 1, 'who becomes a presenter may see who waits');
});

test('a page that is not listed polls until it is', async () => {
  const t = await live();
  t.say('participant-left', { userId: ME, reason: 'lapsed' });
  t.world.hideFromRoom = true;
  await t.pass(10_000);
  assert.ok(t.reads() >= 6);
  t.world.hideFromRoom = false;
  await t.pass(4000);
  t.reads();
  await t.pass(10_000);
  assert.equal(t.reads(), 0);
});

test('a change of this person’s needs no reading while its event comes by itself; one that met another does', async () => {
  const t = await live({ meeting: meeting({}, 'presenter') });
  await t.session.meeting.raiseHand(true);
  t.api.changeRoom = async () => { throw new ApiError({ status: 412, code: 'version_conflict' }); };
  await t.pass(2000);
  assert.equal(t.reads(), 0);
  await t.session.meeting.changeRoom({ title: 'Part two' });
  await t.clock.settle();
  assert.equal(t.reads(), 1);
});

test('a verdict that is renewed holds longer, and one that does not fit is read', async () => {
  const t = await live();
  t.happens('p_bob', { isMuted: true, verdict: verdict(t, 'verified', 'digital_zero') }, 'participant-joined');
  await t.pass(20_000);
  const renewed = verdict(t, 'verified', 'digital_zero');
  t.renews('p_bob', renewed);
  assert.deepEqual([t.view().others[0].verdict.mute.expiresAt, t.reads()], [renewed.mute.expiresAt, 0]);
  t.happens('p_bob', { isMuted: false, verdict: verdict(t, 'stale', 'claim_newer') });
  t.renews('p_bob', renewed);
  await t.clock.settle();
  assert.deepEqual([t.view().others[0].verdict.mute.value, t.reads()], ['stale', 1]);
});

test('the server is asked whether a silent room is safe when somebody has changed, and when its answer ends soon', async () => {
  const t = await live();
  t.world.safety = { safe: false, expiresAt: null };
  t.happens(ME, { verdict: verdict(t, 'verified', 'digital_zero') }, 'verdict-changed');
  await t.clock.settle();
  assert.deepEqual([t.world.safetyCalls, t.view().safety.safe], [1, false]);
  t.world.safety = { safe: true, expiresAt: t.clock.now() + 25_000 };
  const renew = async () => {
    t.renews(ME, verdict(t, 'verified', 'digital_zero'));
    await t.clock.settle();
  };
  await renew();
  assert.deepEqual([t.world.safetyCalls, t.view().safety.safe], [2, true], 'the server’s own list may have lagged');
  await t.pass(10_000);
  await renew();
  assert.equal(t.world.safetyCalls, 2);
  await t.pass(11_000);
  t.world.safety = { safe: true, expiresAt: t.clock.now() + 25_000 };
  await renew();
  assert.deepEqual([t.world.safetyCalls, t.view().safety], [3, t.world.safety]);
  t.happens('p_bob', { isMuted: false }, 'participant-joined');
  assert.deepEqual([t.world.safetyCalls, t.view().safety], [3, null], 'one who is not silent makes the room unsafe');
});

test('an answer that a room is safe does not outlive somebody who has unmuted meanwhile', async () => {
  const t = await live();
  const answer = deferred();
  t.world.safety = { safe: true, expiresAt: t.clock.now() + 25_000 };
  const ask = t.api.roomSafety;
  t.api.roomSafety = async () => {
    await answer.promise;
    return ask();
  };
  t.happens(ME, { verdict: verdict(t, 'verified', 'digital_zero') }, 'verdict-changed');
  await t.clock.settle();
  t.happens('p_bob', { isMuted: false }, 'participant-joined');
  answer.resolve();
  await t.clock.settle();
  assert.equal(t.view().safety, null);
});

test('panels are read when they open and after another connection, and events do the rest', async () => {
  const t = await live();
  const asked = [];
  t.api.messages = async () => { asked.push('messages'); return { changed: true, body: { messages: [{ id: 'a' }], hasMore: false, nextBefore: null } }; };
  t.api.questions = async () => { asked.push('questions'); return { changed: true, body: { questions: [] } }; };
  t.say('new-chat-message', { message: { id: 'b', type: 'chat', participantId: 'p_bob' } });
  t.say('new-question', { question: { questionId: 'q', participantId: 'p_bob', votes: 0 } });
  assert.deepEqual([t.view().chat.unread, t.view().questions.unread, asked], [1, 1, []]);
  t.session.chat.open();
  t.session.questions.open();
  await t.pass(30_000);
  t.say('new-chat-message', { message: { id: 'c', type: 'chat', participantId: 'p_bob' } });
  assert.deepEqual([asked, t.view().chat.messages.at(-1).id, t.view().chat.unread], [['messages', 'questions'], 'c', 0]);
  asked.length = 0;
  t.drop();
  t.say('room-updated', { room: {} });
  await t.pass(30_000);
  assert.deepEqual([asked, t.reads()], [['messages', 'questions'], 2], 'a message may have been lost too');
  asked.length = 0;
  t.server.last().fail();
  await t.pass(10_000);
  assert.ok(asked.length >= 8, 'without a connection they are polled');
  t.server.last().accept();
  await t.pass(5000);
  asked.length = 0;
  await t.pass(30_000);
  assert.deepEqual(asked, []);
  t.session.chat.close();
  t.session.questions.close();
});

test('events that this page does not know, or that say nothing, change nothing', async () => {
  const t = await live();
  const before = JSON.stringify(t.view());
  for (const event of ['participant-joined', 'participant-left', 'user-state-changed', 'verdicts-renewed', 'room-updated', 'new-chat-message', 'new-question', 'question-removed', 'of a later version']) {
    for (const data of [undefined, null, {}, { user: null }, { user: 'ada' }, { room: null }, { verdicts: 7 }, { message: 1 }, { question: [] }]) t.say(event, data);
  }
  await t.pass(2000);
  assert.deepEqual([JSON.stringify({ ...t.view(), okAt: 0 }), t.reads()], [JSON.stringify({ ...JSON.parse(before), okAt: 0 }), 0]);
});

test('a created room without a socket, and a room that nobody created, poll as before', async () => {
  for (const options of [{ meeting: meeting() }, { isLive: true }]) {
    const t = await started(options);
    await t.clock.advance(15_000);
    assert.deepEqual([t.world.reads, t.view().isLive, t.server.sockets.length], [11, false, 0]);
  }
});
