import { test } from 'node:test';
import assert from 'node:assert/strict';
import { backoffDelay, parseRetryAfter, retryDelay } from '../backoff.js';
import { createIdentityStore, claimUserId, describeUser, isAlone, isOwnId, makeLease, makeUserId, safeStorage } from '../identity.js';
import { levelOf, smoothLevel } from '../levels.js';
import { createSequence } from '../seq.js';
import { isMuteKey } from '../shortcut.js';
import { cleanLabel, cleanMessage, cleanName, cut, graphemes, ID_PATTERN, messageProblem, nameProblem, passwordProblem, readingsOf, roomFromLink, roomFromText, roomProblem, roomSlug, sameLabel, titleProblem } from '../text.js';
import { createServerClock, createTicker, createTimer, formatAge, formatFor, formatLeft, momentOf } from '../time.js';
import { fakeClock } from './fake-clock.js';

const memoryStorage = () => {
  const map = new Map();
  return safeStorage(() => ({ getItem: (k) => map.get(k) ?? null, setItem: (k, v) => map.set(k, v), removeItem: (k) => map.delete(k) }));
};

test('ages use the coarsest informative unit', () => {
  const cases = [[-5000, 'just now'], [0, 'just now'], [999, 'just now'], [1000, '1 s ago'], [12_345, '12 s ago'], [59_999, '59 s ago'],
    [60_000, '1 min ago'], [3_599_999, '59 min ago'], [3_600_000, '1 h ago'], [47 * 3_600_000, '47 h ago'], [48 * 3_600_000, '2 d ago'], [NaN, 'just now']];
  for (const [ms, text] of cases) assert.equal(formatAge(ms), text, String(ms));
});

test('a moment is read from ISO 8601 or milliseconds, and from nothing else', () => {
  assert.equal(momentOf('2026-11-21T10:00:00.000Z'), 1795255200000);
  assert.equal(momentOf(1795255200000), 1795255200000);
  for (const none of [null, undefined, '', 'soon', NaN, Infinity]) assert.equal(momentOf(none), null, String(none));
});

test('remaining time is rounded up, so that nothing seems over too early', () => {
  assert.deepEqual([21_000, 20_001, 1, 0, -900, 600_000].map(formatLeft), ['21 s', '21 s', '1 s', '0 s', '0 s', '10 min']);
});

test('a duration is shown in the coarsest informative unit', () => {
  const cases = [[-1, '0 s'], [59_999, '59 s'], [60_000, '1 min'], [240_000, '4 min'], [119 * 60_000, '119 min'], [120 * 60_000, '2 h']];
  for (const [ms, text] of cases) assert.equal(formatFor(ms), text);
});

/** A machine with two clocks: `wall`, which anybody can set, and `steady`, which stands still while it sleeps. */
function machine() {
  const start = 1_700_000_000_000;
  const time = { wall: start, steady: start };
  const clock = createServerClock({ wall: () => time.wall, steady: () => time.steady });
  const pass = (ms) => { time.wall += ms; time.steady += ms; };
  const answer = (serverMs, sent = clock.mark()) => { pass(20); clock.observe(new Date(serverMs).toUTCString(), sent); };
  return { start, time, clock, pass, answer };
}

test('the server clock follows a real difference and ignores the resolution of the header', () => {
  const { start, clock, answer, time } = machine();
  answer(start);
  assert.equal(clock.now(), time.steady);
  answer(start + 90_000);
  const offset = clock.now() - time.steady;
  assert.ok(Math.abs(offset - 90_490) < 40, String(offset));
  answer(start + 91_000);
  assert.equal(clock.now() - time.steady, offset);
  clock.observe(null, clock.mark());
  assert.equal(clock.now() - time.steady, offset);
});

test('setting the machine’s clock back does not set the time back', () => {
  const { start, time, clock, pass } = machine();
  pass(30_000);
  const before = clock.now();
  time.wall -= 3_600_000;
  assert.equal(clock.now(), before);
  pass(1000);
  assert.equal(clock.now(), start + 31_000);
});

test('after a sleep the machine’s clock counts until the next answer', () => {
  const { start, time, clock, answer } = machine();
  answer(start);
  time.wall += 60_000;
  assert.ok(clock.now() >= start + 60_000, 'a verdict that expired during the sleep has expired');
  answer(start + 60_000);
  assert.ok(Math.abs(clock.now() - (start + 60_500)) < 100);
  assert.ok(clock.now() < start + 62_000, 'the sleep is not counted twice');
});

test('an answer that was under way during a sleep does not set the clock', () => {
  const { start, time, clock, answer } = machine();
  const sent = clock.mark();
  time.wall += 60_000;
  answer(start, sent);
  assert.ok(clock.now() >= start + 60_000);
});

test('after the machine’s clock was set forward, time is ahead only until the next answer', () => {
  const { start, time, clock, answer } = machine();
  answer(start);
  time.wall += 3_600_000;
  assert.ok(clock.now() > start + 3_500_000);
  answer(start + 1000);
  assert.ok(clock.now() < start + 3000);
});

test('the rounding of the header never sets the time back', () => {
  const { start, clock, answer, pass } = machine();
  answer(start + 10_000);
  let last = clock.now();
  for (const error of [-1500, 900, -1200, -2000, 400]) {
    pass(50);
    answer(clock.now() + error);
    assert.ok(clock.now() >= last);
    last = clock.now();
  }
});

test('the ticker runs only while somebody listens', () => {
  let running = 0;
  let fire = null;
  const ticker = createTicker({ setInterval: (f) => { running += 1; fire = f; return 7; }, clearInterval: () => { running -= 1; } });
  let ticks = 0;
  const stopA = ticker.subscribe(() => { ticks += 1; });
  const stopB = ticker.subscribe(() => { ticks += 1; });
  fire();
  assert.deepEqual([running, ticks], [1, 2]);
  stopA();
  assert.equal(running, 1);
  stopB();
  assert.equal(running, 0);
});

test('a timer that is set again runs once, at the later time; a cleared one never runs', async () => {
  const clock = fakeClock();
  const timer = createTimer(clock);
  const ran = [];
  timer.set(() => ran.push('first'), 100);
  timer.set(() => ran.push('second'), 200);
  await clock.advance(100);
  assert.deepEqual([ran, timer.isSet()], [[], true]);
  await clock.advance(100);
  assert.deepEqual([ran, timer.isSet()], [['second'], false]);
  timer.set(() => ran.push('third'), 100);
  timer.clear();
  await clock.advance(200);
  assert.deepEqual([ran, clock.waiting()], [['second'], 0]);
});

test('backoff grows, is capped and keeps its jitter in the upper half', () => {
  assert.equal(backoffDelay(0, { random: () => 0 }), 400);
  assert.equal(backoffDelay(0, { random: () => 1 }), 800);
  assert.equal(backoffDelay(2, { random: () => 0 }), 1600);
  assert.equal(backoffDelay(1000, { random: () => 1 }), 8000);
});

test('the wait after a failure follows Retry-After, but is never shorter than the backoff', () => {
  const random = () => 1;
  assert.equal(retryDelay({ retryAfterMs: null }, 0, { random }), 800);
  assert.equal(retryDelay({ retryAfterMs: 500 }, 0, { random }), 800);
  assert.equal(retryDelay({ retryAfterMs: 5000 }, 0, { random }), 5000);
});

test('Retry-After is read as seconds or as a date, and bounded', () => {
  const now = Date.parse('2026-11-21T10:00:00Z');
  assert.equal(parseRetryAfter('3', now), 3000);
  assert.equal(parseRetryAfter('Sat, 21 Nov 2026 10:00:05 GMT', now), 5000);
  assert.equal(parseRetryAfter('Sat, 21 Nov 2026 09:00:05 GMT', now), 0);
  assert.equal(parseRetryAfter('86400', now), 60_000);
  for (const none of [null, undefined, '', 'soon']) assert.equal(parseRetryAfter(none, now), null);
});

test('a room has the same id however its name is typed', () => {
  for (const typed of ['weekly-sync', 'Weekly Sync', '  weekly   sync!', 'WEEKLY–SYNC', 'weekly sync 🎉']) assert.equal(roomSlug(typed), 'weekly-sync', typed);
  assert.equal(roomSlug('Café Zürich'), 'cafe-zurich');
  for (const empty of ['', '..', '!!!', '...---', '🎤', null]) assert.equal(roomSlug(empty), '', String(empty));
  assert.match(roomSlug('x'.repeat(500)), ID_PATTERN);
  assert.equal(roomSlug('x'.repeat(500)).length, 128);
});

test('a label is the same with and without the suffixes that browsers add', () => {
  for (const label of ['Blue Yeti (046d:0ab7)', 'Blue Yeti (Built-in)', ' Blue Yeti (Built-in) (046D:0AB7) ']) assert.equal(sameLabel(label, 'Blue Yeti'), true, label);
  for (const label of ['Default - Blue Yeti', 'Blue Yeti (USB)', 'Blue Yeti (built-in)', 'Blue Yeti (46d:ab7)', '', null]) assert.equal(sameLabel(label, 'Blue Yeti'), false, label);
  assert.equal(sameLabel('', ''), false);
});

test('different names are different rooms in every script', () => {
  const names = ['Отдел кадров 1', 'Комната 1', '会議室 1', '授業 1', '会議', 'غرفة', '1', 'Room 1', 'й', 'и', 'कि', 'की', 'Đoàn', 'Oàn', `${'x'.repeat(128)}a`, `${'x'.repeat(128)}b`];
  const slugs = names.map(roomSlug);
  assert.equal(new Set(slugs).size, names.length, slugs.join());
  for (const [i, slug] of slugs.entries()) {
    assert.match(slug, ID_PATTERN);
    assert.equal(roomProblem(slug), null);
    assert.equal(roomSlug(names[i].toUpperCase()), slug, 'upper case gives the same room');
    assert.equal(roomSlug(`  ${names[i].normalize('NFD')} !`), slug);
  }
  assert.match(roomSlug('Team 会議'), /^team-[0-9a-v]{11}$/);
  assert.equal(roomFromLink(`?room=${encodeURIComponent('会議')}`), roomSlug('会議'));
});

test('a room name that cannot be used is explained', () => {
  assert.match(roomProblem(roomSlug('!!!')), /at least one letter or digit, in any script/);
  assert.match(roomProblem(roomSlug('Greenroom Canary')), /reserved/);
});

test('a valid room id in a link is used unchanged', () => {
  assert.equal(roomFromLink('?room=weekly-sync'), 'weekly-sync');
  assert.equal(roomFromLink('?room=rm_01HZX'), 'rm_01HZX');
  assert.equal(roomFromLink('?room=Weekly%20Sync'), 'weekly-sync');
  assert.equal(roomFromLink('?room=..'), '');
  assert.equal(roomFromLink('?room=../../x'), 'x');
  assert.equal(roomFromLink(''), '');
});

test('an id is random and holds nothing of a name', () => {
  const ids = Array.from({ length: 200 }, () => makeUserId());
  for (const id of ids) {
    assert.match(id, /^u_[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
    assert.ok(isOwnId(id) && ID_PATTERN.test(id));
  }
  assert.equal(new Set(ids).size, 200);
  assert.equal(makeUserId(new Uint8Array(16).fill(255)), `u_7${'Z'.repeat(25)}`);
  assert.equal(makeUserId(new Uint8Array(16)), `u_${'0'.repeat(26)}`);
  assert.match(makeLease(), /^[A-Za-z0-9_-]{8,64}$/);
  for (const other of ['ada-7f3k', 'u_ada', 'p_01JD0Q2K3V4W5X6Y7Z8A9BCDEF', null, undefined]) assert.equal(isOwnId(other), false, 'the server makes participants’ ids, and only joining makes their states');
});

test('people are shown by their names', () => {
  const one = 'p_01JD0Q2K3V4W5X6Y7Z8A9BCDEF';
  assert.deepEqual(describeUser({ userId: one, name: 'Ada Lovelace' }), { name: 'Ada Lovelace', initials: 'AL' });
  assert.equal(describeUser({ userId: one, name: 'Дмитрий' }).initials, 'ДМ');
  assert.equal(describeUser({ userId: one, name: '\u202e\u200b' }).name, 'Somebody');
  assert.deepEqual(describeUser({ userId: one, name: null }), { name: 'Somebody', initials: '?' });
});

test('a state without a name is shown by its id', () => {
  assert.deepEqual(describeUser({ userId: 'Ada_Lovelace-7f3k' }), { name: 'Ada Lovelace', initials: 'AL' });
  assert.deepEqual(describeUser({ userId: 'mary-jane' }), { name: 'mary-jane', initials: 'MJ' });
  assert.equal(describeUser({ userId: '___' }).name, '___');
  assert.equal(describeUser({ userId: 'alice@example.com' }).name, 'alice@example.com');
});

test('a character of several code points is never cut', () => {
  const family = '👩‍👩‍👧';
  const of = (name) => describeUser({ userId: 'ada', name }).initials;
  assert.deepEqual([of('😀'), of('😀 🎤'), of(`${family} Meier`), of('e\u0301a'), of('g\u0308x')], ['😀', '😀🎤', `${family}M`, 'ÉA', 'G\u0308X']);
  assert.equal(of(`g${'\u0308'.repeat(50)}`), '?', 'a character that is too large is replaced');
  assert.deepEqual(graphemes(`a${family}e\u0308`), ['a', family, 'e\u0308']);
  assert.equal(cut(`aaaa${family}`, 6), 'aaaa');
  assert.equal(cut(`aaaa${family}`, 9), `aaaa${family}`);
  assert.equal(cleanLabel(`${'a'.repeat(254)}${family}`), 'a'.repeat(254));
  assert.equal(cleanLabel('\ud83d mic'), 'mic');
});

test('a name is kept as it is typed, or refused with a reason', () => {
  assert.equal(cleanName(' Zoë \u202e Müller '), 'Zoë Müller');
  assert.equal(nameProblem('Дмитрий'), null);
  assert.equal(nameProblem('😀'.repeat(100)), null);
  assert.match(nameProblem('😀'.repeat(101)), /at most 100/);
  for (const none of ['', '  ', '\u200b', '\u200d\ufe0f', null]) assert.match(nameProblem(none), /Enter the name/);
});

test('the mute key is the letter M, or its position if the layout has no Latin letters', () => {
  const pressed = (key, code, more = {}) => isMuteKey({ key, code, ...more });
  for (const key of ['ь', 'Ь', 'μ', 'מ', 'ㅡ', 'ى', 'म', 'Process']) assert.equal(pressed(key, 'KeyM'), true, key);
  assert.equal(pressed('m', 'Semicolon'), true, 'AZERTY: the letter');
  assert.equal(pressed(',', 'KeyM'), false, 'AZERTY: the key at the position of M types a comma');
  assert.equal(pressed('M', 'KeyM'), true);
  assert.equal(pressed('h', 'KeyM'), false, 'a Latin layout with another letter at the position of M');
  assert.equal(pressed('ь', 'KeyB'), false);
  assert.equal(pressed('ç', 'KeyM'), false);
  assert.equal(pressed('Enter', 'KeyM'), false);
  for (const modifier of ['ctrlKey', 'metaKey', 'altKey']) assert.equal(pressed('m', 'KeyM', { [modifier]: true }), false);
  assert.equal(pressed('µ', 'KeyM', { getModifierState: (name) => name === 'AltGraph' }), false);
  assert.equal(isMuteKey({}), false, 'autofill sends events without a key');
});

test('labels are cleaned by the server’s rules', () => {
  assert.equal(cleanLabel('  Built-in\u0000 \u202eMic '), 'Built-in Mic');
  assert.equal(cleanLabel('e\u0301'), 'é');
  assert.equal([...cleanLabel('😀'.repeat(300))].length, 256);
  for (const nothing of [null, undefined, '', ' \u200f ']) assert.equal(cleanLabel(nothing), null);
});

test('the counter rises across calls, reloads, tabs, and a clock that is set back', () => {
  const storage = memoryStorage();
  let time = 5000;
  const next = createSequence(storage, () => time);
  assert.equal(next(), 5000);
  assert.equal(next(), 5001);
  time = 1000;
  assert.equal(next(), 5002);
  const otherTab = createSequence(storage, () => time);
  assert.equal(otherTab(), 5003);
  assert.equal(next(), 5004);
  time = 9000;
  assert.equal(next(), 9000);
});

test('a stored counter of more than a day ahead is ignored', () => {
  const storage = memoryStorage();
  const day = 86_400_000;
  let time = 10 * day;
  const next = createSequence(storage, () => time + 0.5);
  for (const damaged of [Number.MAX_SAFE_INTEGER, 1e300, time + day + 1, -4, 'x', { a: 1 }, null, 1.5]) {
    storage.write('greenroom:seq', damaged);
    const seq = next();
    assert.ok(Number.isSafeInteger(seq) && seq <= time + day, `${damaged}: ${seq}`);
  }
  const before = next();
  time -= 3 * day;
  assert.equal(next(), time, 'a clock that was set back does not freeze the mute');
  assert.ok(before > time);
});

test('the name of a created room is used as it is, whether it is typed, pasted or followed', () => {
  const id = 'rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE';
  const slugs = ['weekly-review-4f7k2m9q3x8tn', 'комната-4f7k2m9q3x8tn', '4f7k2m9q3x8tn'];
  for (const room of [id, ...slugs]) {
    assert.equal(roomFromText(` ${room} `), room);
    assert.equal(roomFromText(`https://meet.example/?room=${encodeURIComponent(room)}`), room);
    assert.equal(roomFromText(`meet.example/?a=1&room=${encodeURIComponent(room)}#x`), room);
    assert.equal(roomFromLink(`?room=${encodeURIComponent(room)}`), room);
  }
  assert.equal(roomFromText('Weekly Sync'), 'weekly-sync');
  assert.equal(roomFromText('What now?'), 'what-now', 'a question is no link');
  assert.equal(roomFromText(''), '');
});

test('a room in other letters may be a created one or one that somebody names', () => {
  assert.deepEqual(readingsOf('weekly-sync'), ['weekly-sync']);
  const name = 'комната-conversations';
  assert.deepEqual(readingsOf(name), [name, roomSlug(name)]);
});

test('titles, passwords and messages are checked by the server’s rules', () => {
  assert.equal(titleProblem('Ретроспектива'), null);
  assert.match(titleProblem(' \u200b'), /Enter a title/);
  assert.match(titleProblem('x'.repeat(201)), /at most 200/);
  assert.deepEqual([passwordProblem('x'.repeat(128)), passwordProblem('')], [null, null]);
  assert.match(passwordProblem('я'.repeat(65)), /too long/);
  assert.equal(cleanMessage(' a \r\n\r\n  b\u202e\u0000 '), 'a\n\n  b');
  assert.equal(messageProblem('👩‍👩‍👧'), null);
  assert.match(messageProblem(' \n \u200b'), /Write something/);
  assert.match(messageProblem('x'.repeat(4001)), /at most 4000/);
  assert.match(messageProblem('x'.repeat(11), 10), /at most 10 /);
  assert.match(messageProblem('字'.repeat(3000)), /at most/, 'the server counts bytes too');
});

test('blocked storage is replaced by memory', () => {
  const storage = safeStorage(() => { throw new Error('blocked'); });
  storage.write('a', { b: 1 });
  assert.deepEqual(storage.read('a'), { b: 1 });
  storage.remove('a');
  assert.equal(storage.read('a'), null);
});

const ADA = 'u_01JD0Q2K3V4W5X6Y7Z8A9BCDEF';

test('a session is resumed only if the stored one is valid', () => {
  const tab = memoryStorage();
  const store = createIdentityStore({ tab, browser: memoryStorage() });
  assert.equal(store.session(), null);
  store.saveSession({ userId: ADA, roomId: 'r' });
  store.updateSession({ deviceId: 'd' });
  assert.deepEqual(store.session(), { userId: ADA, roomId: 'r', deviceId: 'd' });
  for (const unusable of [{ userId: 'not valid!', roomId: 'r' }, { userId: 'Ada-24t5', roomId: 'kb', muted: false }, { userId: ADA, roomId: '' }]) {
    tab.write('greenroom:session', unusable);
    assert.equal(store.session(), null, 'ids of earlier versions held names');
  }
  store.endSession();
  store.updateSession({ deviceId: 'e' });
  assert.equal(store.session(), null);
});

test('an id is reused for the same name unless another tab uses it', async () => {
  const taken = new Set();
  const locks = { request: async (name, _options, grant) => { const free = !taken.has(name); taken.add(name); return void grant(free ? {} : null); } };
  const remembered = { name: 'ada', userId: ADA };
  assert.equal(await claimUserId('ada', remembered, locks), ADA);
  assert.notEqual(await claimUserId('bob', remembered, locks), ADA);
  const eve = makeUserId();
  taken.add(`greenroom:${eve}`);
  assert.notEqual(await claimUserId('eve', { name: 'eve', userId: eve }, locks), eve);
  assert.notEqual(await claimUserId('eve', { name: 'eve', userId: makeUserId() }, null), eve);
  assert.ok(isOwnId(await claimUserId('ada', { name: 'ada', userId: 'ada-7f3k' }, locks)), 'an id of an earlier version held the name');
});

test('after a reload this tab waits for the id, and gives up if another tab keeps it', async () => {
  const locksThatGrantAfter = (refusals) => ({ request: async (_name, _options, grant) => { refusals -= 1; return void grant(refusals < 0 ? {} : null); } });
  let waits = 0;
  const wait = async () => { waits += 1; };
  assert.equal(await isAlone(makeUserId(), { locks: locksThatGrantAfter(2), wait }), true);
  assert.equal(waits, 2);
  assert.equal(await isAlone(makeUserId(), { locks: locksThatGrantAfter(99), wait }), false);
  assert.equal(waits, 7);
  assert.equal(await isAlone(makeUserId(), { locks: null }), true, 'without locks the tab counts as alone');
});

test('the level is 0 for silence, 100 for full scale, and monotone in between', () => {
  const tone = (a) => Float32Array.from({ length: 512 }, (_, i) => a * Math.sign(Math.sin(i)));
  assert.equal(levelOf(new Float32Array(512)), 0);
  assert.equal(levelOf([]), 0);
  assert.equal(levelOf(tone(1)), 100);
  assert.equal(levelOf(tone(0.0005)), 0);
  const rising = [0.002, 0.01, 0.1, 0.5].map((a) => levelOf(tone(a)));
  assert.deepEqual(rising, [...rising].sort((a, b) => a - b));
  assert.equal(smoothLevel(10, 80), 80);
  assert.equal(smoothLevel(80, 10), 48);
  assert.equal(smoothLevel(1, 0), 0, 'a level reaches silence');
});
