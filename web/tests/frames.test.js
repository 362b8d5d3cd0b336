import { test } from 'node:test';
import assert from 'node:assert/strict';
import { apply, applyToQuestions, applyToRoom, createOrder, isStrange } from '../session/frames.js';
import { createRecent } from '../session/recent.js';

const CREATED = '2026-11-21T10:00:00.000Z';
const verdict = (value, reason = 'r', expiresAt = 't1') => ({ mute: { value, reason, expiresAt }, device: { value: 'verified', reason: 'device_match', expiresAt } });
const person = (userId, version = 1, more = {}) => ({ userId, version, createdAt: CREATED, isMuted: true, verdict: verdict('unverified'), ...more });
const frame = (event, data) => ({ event, data });
const updated = (user) => frame('user-state-changed', { user });
const left = (userId) => frame('participant-left', { userId, reason: 'left' });
const sorted = (items) => [...items].sort((a, b) => (a.userId < b.userId ? -1 : 1));

/** Numbers that look random, the same at each run. */
function randomFrom(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A history of one room: each event, and the people after it. */
function historyOf(seed, length = 60) {
  const random = randomFrom(seed);
  let items = [];
  const history = [];
  for (let i = 0; i < length; i += 1) {
    const userId = `p${random(5)}`;
    const known = items.find((item) => item.userId === userId);
    const choice = random(10);
    let event;
    if (!known) {
      // Whoever comes back is the same item, a change later, or was created again.
      const last = history.map((step) => step.frame.data.user).filter((user) => user?.userId === userId).at(-1);
      const isAgain = last && random(4) === 0;
      event = frame('participant-joined', { user: isAgain || !last ? person(userId, 1, { createdAt: `${CREATED}${String(i).padStart(3, '0')}` }) : { ...last, version: last.version + 1 } });
    } else if (choice < 2) event = left(userId);
    else if (choice < 5) event = frame('verdict-changed', { user: { ...known, verdict: verdict(['verified', 'contradicted', 'stale'][random(3)], `r${i}`) } });
    else event = updated({ ...known, version: known.version + 1, isMuted: random(2) === 0, note: i });
    // The server's own list, made in another way than the page's.
    items = items.filter((item) => item.userId !== userId);
    if (event.event !== 'participant-left') items.push(event.data.user);
    history.push({ frame: event, items: sorted(items) });
  }
  return history;
}
const SEEDS = Array.from({ length: 200 }, (_, i) => i + 1);

test('a page that hears everything knows what the server knows', () => {
  for (const seed of SEEDS) {
    let items = [];
    for (const step of historyOf(seed)) {
      items = apply(items, step.frame);
      assert.deepEqual(sorted(items), step.items, `seed ${seed}`);
    }
  }
});

test('events that a reading has already seen, applied to it once more, end in what the server knows', () => {
  for (const seed of SEEDS) {
    const history = historyOf(seed);
    const random = randomFrom(seed + 1000);
    const read = random(history.length);
    const first = random(read + 1);
    const items = history.slice(first).reduce((known, step) => apply(known, step.frame), history[read].items);
    assert.deepEqual(sorted(items), history.at(-1).items, `seed ${seed}: reading ${read}, events from ${first}`);
  }
});

test('an event that is repeated changes nothing', () => {
  for (const seed of SEEDS) {
    let items = [];
    for (const step of historyOf(seed)) {
      items = apply(items, step.frame);
      assert.deepEqual(sorted(apply(items, step.frame)), sorted(items), `seed ${seed}`);
    }
  }
});

test('states of people end with the newest, in whatever order they arrive', () => {
  for (const seed of SEEDS) {
    const random = randomFrom(seed);
    const states = Array.from({ length: 12 }, (_, i) => person(`p${i % 3}`, 1 + Math.floor(i / 3)));
    const shuffled = states.map((state) => [random(1000), state]).sort((a, b) => a[0] - b[0]).map(([, state]) => state);
    const joined = ['p0', 'p1', 'p2'].map((userId) => person(userId, 0));
    const items = shuffled.reduce((known, user) => apply(known, updated(user)), joined);
    assert.deepEqual(sorted(items), [person('p0', 4), person('p1', 4), person('p2', 4)], `seed ${seed}`);
  }
});

test('one person’s event leaves all others as they are, and none of the lists is changed in place', () => {
  const items = Object.freeze([Object.freeze(person('a')), Object.freeze(person('b'))]);
  const next = apply(items, updated(person('b', 2)));
  assert.equal(next[0], items[0]);
  assert.deepEqual([next[1].version, items[1].version], [2, 1]);
  for (const nothing of [updated(person('b', 0)), left('c'), updated(undefined), frame('verdicts-renewed', {}), frame('verdicts-renewed', null), frame('participant-left'), frame('of another version', { user: person('a', 9) })]) {
    assert.equal(apply(items, nothing), items, JSON.stringify(nothing));
  }
});

test('a verdict of the same version is replaced, because a measurement changes no version', () => {
  const items = apply([person('a', 3)], frame('verdict-changed', { user: person('a', 3, { verdict: verdict('verified') }) }));
  assert.equal(items[0].verdict.mute.value, 'verified');
});

test('renewed verdicts hold longer, for those whom they name', () => {
  const items = [person('a', 1, { verdict: verdict('verified') }), person('b'), person('constructor')];
  const renewed = frame('verdicts-renewed', { verdicts: { a: verdict('verified', 'r', 't2'), gone: verdict('verified') }, versions: { a: 1, gone: 1 } });
  const next = apply(items, renewed);
  assert.deepEqual(next, [person('a', 1, { verdict: verdict('verified', 'r', 't2') }), items[1], items[2]]);
  assert.equal(isStrange(items, renewed), false);
});

test('a renewed verdict that says something else does not become that of a newer claim: the page is in doubt', () => {
  const items = [person('a', 2, { isMuted: false, verdict: verdict('stale', 'claim_newer') }), person('b', 1, { verdict: verdict('verified') })];
  const late = frame('verdicts-renewed', { verdicts: { a: verdict('verified', 'r', 't2'), b: verdict('verified', 'r', 't2') }, versions: { a: 1, b: 1 } });
  const next = apply(items, late);
  assert.deepEqual([next[0], next[1].verdict.mute.expiresAt, isStrange(items, late)], [items[0], 't2', true]);
  assert.equal(isStrange(items, frame('verdicts-renewed', { verdicts: { a: null } })), true);
  const ofAnother = frame('verdicts-renewed', { verdicts: { b: verdict('verified', 'r', 't2') }, versions: { b: 2 } });
  assert.deepEqual([apply(items, ofAnother), isStrange(items, ofAnother)], [items, true], 'the claim may be another one');
});

test('only who joins is put in: a change of somebody unknown, and a presence that goes on, mean that the room is read', () => {
  const items = [person('a')];
  for (const event of ['user-state-changed', 'verdict-changed', 'participant-updated']) {
    const silent = frame(event, { user: person('b', 2) });
    assert.deepEqual([apply(items, silent), isStrange(items, silent)], [items, true], event);
  }
  assert.equal(isStrange(items, frame('participant-joined', { user: person('b') })), false);
  const now = Date.parse('2026-11-21T10:00:00.000Z');
  const renewed = (userId, until) => frame('verdicts-renewed', { leases: { [userId]: until } });
  assert.equal(isStrange(items, renewed('b', '2026-11-21T10:00:30.000Z'), now), true);
  assert.equal(isStrange(items, renewed('b', '2026-11-21T09:59:59.000Z'), now), false);
  assert.equal(isStrange(items, renewed('a', '2026-11-21T10:00:30.000Z'), now), false);
});

const known = () => ({ room: { title: 'Weekly', settings: { chat: true }, version: 2, muteRequest: null }, items: [person('a')], waiting: [person('w'), person('x')], warning: null });

test('an update of the room brings what has changed, and an older one undoes nothing', () => {
  const newer = applyToRoom(known(), frame('room-updated', { room: { title: 'Part two', version: 3 } }));
  assert.deepEqual(newer.room, { title: 'Part two', settings: { chat: true }, version: 3, muteRequest: null });
  const older = applyToRoom(newer, frame('room-updated', { room: { title: 'Weekly', version: 2, muteRequest: { requestId: 'mr_1' } } }));
  assert.deepEqual([older.room.title, older.room.version, older.room.muteRequest.requestId], ['Part two', 3, 'mr_1']);
  assert.deepEqual(applyToRoom(known(), frame('room-updated', {})), known());
});

test('who has been let in does not wait any more', () => {
  const { items, waiting } = applyToRoom(known(), frame('participant-joined', { user: person('w') }));
  assert.deepEqual([items.map((item) => item.userId), waiting.map((item) => item.userId)], [['a', 'w'], ['x']]);
  const state = known();
  assert.equal(applyToRoom(state, left('nobody')), state);
});

const question = (questionId, more = {}) => ({ questionId, question: 'Q', votes: 0, isPinned: false, isAnswered: false, answer: null, ...more });

test('questions are in the server’s order, and the own vote is what this page knows', () => {
  let questions = [question('q1', { hasVoted: true, votes: 1 }), question('q2', { hasVoted: false })];
  questions = applyToQuestions(questions, frame('new-question', { question: question('q3') }));
  questions = applyToQuestions(questions, frame('question-updated', { question: question('q1', { votes: 2 }) }));
  questions = applyToQuestions(questions, frame('question-answered', { question: question('q2', { isAnswered: true, answer: 'Yes', isPinned: true }) }));
  assert.deepEqual(questions.map(({ questionId, votes, hasVoted }) => [questionId, votes, hasVoted]), [['q2', 0, false], ['q1', 2, true], ['q3', 0, false]]);
  questions = applyToQuestions(questions, frame('question-removed', { questionId: 'q1' }));
  assert.deepEqual(questions.map(({ questionId }) => questionId), ['q2', 'q3']);
  assert.equal(applyToQuestions(questions, frame('question-updated', null)), questions);
});

test('a number that is missing is noticed once, and one that was there already is known', () => {
  const order = createOrder();
  assert.deepEqual([7, 8, undefined, 8, 10, 9, 11, null].map((seq) => order.see(seq)), ['next', 'next', 'next', 'old', 'gap', 'old', 'next', 'next']);
  order.restart();
  assert.deepEqual([3, 4].map((seq) => order.see(seq)), ['next', 'next']);
});

test('a number that the server names and that has not arrived by the next time is missing', () => {
  const order = createOrder();
  assert.equal(order.check(undefined), false, 'who is in no room hears of no number');
  assert.equal(order.check(7), false, 'the next reading shows what was before');
  assert.equal(order.see(7), 'old');
  assert.equal(order.see(8), 'next');
  assert.equal(order.check(9), false, 'it may be on its way');
  assert.equal(order.see(9), 'next');
  assert.equal(order.check(10), false);
  assert.deepEqual([order.check(10), order.check(10)], [true, false], 'it is missed once');
  assert.equal(order.see(11), 'next');
});

test('every loss in a history is noticed with the next number', () => {
  for (const seed of SEEDS) {
    const random = randomFrom(seed);
    const order = createOrder();
    let isMissing = false;
    for (let seq = 1; seq <= 100; seq += 1) {
      if (seq > 1 && random(5) === 0) isMissing = true;
      else {
        assert.equal(order.see(seq), isMissing ? 'gap' : 'next');
        isMissing = false;
      }
    }
  }
});

test('what has arrived shortly before a reading began is kept for it, and forgotten later', () => {
  let time = 0;
  const recent = createRecent({ now: () => time });
  for (time = 0; time <= 4000; time += 500) recent.add(time);
  assert.deepEqual(recent.since(3000), [2000, 2500, 3000, 3500, 4000]);
  time = 60_000;
  recent.add(time);
  assert.deepEqual(recent.since(0), [60_000]);
});
