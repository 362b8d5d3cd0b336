import { test } from 'node:test';
import assert from 'node:assert/strict';
import { backoffDelay, parseRetryAfter } from '../backoff.js';
import { createIdentityStore, claimUserId, describeUser, makeSuffix, makeUserId, safeStorage } from '../identity.js';
import { levelOf, smoothLevel } from '../levels.js';
import { createSequence } from '../seq.js';
import { cleanLabel, ID_PATTERN, nameSlug, roomFromLink, roomSlug } from '../text.js';
import { createServerClock, createTicker, formatAge, formatLeft, momentOf } from '../time.js';

const memoryStorage = () => {
  const map = new Map();
  return safeStorage(() => ({ getItem: (k) => map.get(k) ?? null, setItem: (k, v) => map.set(k, v), removeItem: (k) => map.delete(k) }));
};

test('ages use the coarsest informative unit', () => {
  const cases = [[-5000, 'just now'], [0, 'just now'], [999, 'just now'], [1000, '1 s ago'], [12_345, '12 s ago'], [59_999, '59 s ago'],
    [60_000, '1 min ago'], [3_599_999, '59 min ago'], [3_600_000, '1 h ago'], [47 * 3_600_000, '47 h ago'], [48 * 3_600_000, '2 d ago'], [NaN, 'just now']];
  for (const [ms, text] of cases) assert.equal(formatAge(ms), text, String(ms));
});

test('a moment is read from both forms that the protocol has, and from nothing else', () => {
  assert.equal(momentOf('2026-11-21T10:00:00.000Z'), 1795255200000);
  assert.equal(momentOf(1795255200000), 1795255200000);
  for (const none of [null, undefined, '', 'soon', NaN, Infinity]) assert.equal(momentOf(none), null, String(none));
});

test('what is left is rounded up, so that nothing is called over before it is', () => {
  assert.deepEqual([21_000, 20_001, 1, 0, -900, 600_000].map(formatLeft), ['21 s', '21 s', '1 s', '0 s', '0 s', '10 min']);
});

test('the server clock follows a real difference and ignores the resolution of the header', () => {
  const local = 1_700_000_000_000;
  const clock = createServerClock({ now: () => local });
  clock.observe(new Date(local).toUTCString(), local, local + 20);
  assert.equal(clock.offset, 0);
  clock.observe(new Date(local + 90_000).toUTCString(), local, local + 20);
  assert.ok(Math.abs(clock.offset - 90_490) < 1, String(clock.offset));
  const settled = clock.offset;
  clock.observe(new Date(local + 91_000).toUTCString(), local, local + 20);
  assert.equal(clock.offset, settled);
  clock.observe(null, local, local);
  assert.equal(clock.now(), local + settled);
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

test('backoff grows, is capped and keeps its jitter in the upper half', () => {
  assert.equal(backoffDelay(0, { random: () => 0 }), 400);
  assert.equal(backoffDelay(0, { random: () => 1 }), 800);
  assert.equal(backoffDelay(2, { random: () => 0 }), 1600);
  assert.equal(backoffDelay(1000, { random: () => 1 }), 8000);
});

test('Retry-After is read as seconds or as a date, and bounded', () => {
  const now = Date.parse('2026-11-21T10:00:00Z');
  assert.equal(parseRetryAfter('3', now), 3000);
  assert.equal(parseRetryAfter('Sat, 21 Nov 2026 10:00:05 GMT', now), 5000);
  assert.equal(parseRetryAfter('Sat, 21 Nov 2026 09:00:05 GMT', now), 0);
  assert.equal(parseRetryAfter('86400', now), 60_000);
  for (const none of [null, undefined, '', 'soon']) assert.equal(parseRetryAfter(none, now), null);
});

test('rooms become the same slug however they are typed', () => {
  for (const typed of ['weekly-sync', 'Weekly Sync', '  weekly   sync!', 'WEEKLY–SYNC']) assert.equal(roomSlug(typed), 'weekly-sync', typed);
  assert.equal(roomSlug('Café Zürich'), 'cafe-zurich');
  for (const empty of ['', '..', '!!!', '...---', 'комната', null]) assert.equal(roomSlug(empty), '', String(empty));
  assert.match(roomSlug('x'.repeat(500)), ID_PATTERN);
  assert.equal(roomSlug('x'.repeat(500)).length, 128);
});

test('a valid room in a link is taken as it stands', () => {
  assert.equal(roomFromLink('?room=weekly-sync'), 'weekly-sync');
  assert.equal(roomFromLink('?room=rm_01HZX'), 'rm_01HZX');
  assert.equal(roomFromLink('?room=Weekly%20Sync'), 'weekly-sync');
  assert.equal(roomFromLink('?room=..'), '');
  assert.equal(roomFromLink('?room=../../x'), 'x');
  assert.equal(roomFromLink(''), '');
});

test('user ids are valid for any name, and tell namesakes apart', () => {
  assert.equal(makeUserId('ada', '7f3k'), 'ada-7f3k');
  assert.equal(makeUserId('Ada Lovelace', '7f3k'), 'Ada_Lovelace-7f3k');
  assert.equal(makeUserId('Дмитрий', '7f3k'), 'guest-7f3k');
  assert.equal(nameSlug(' Zoë  Müller '), 'Zoe_Muller');
  for (const name of ['', '../..', '\u202eada', 'x'.repeat(400), '😀', '-', 'a b']) assert.match(makeUserId(name), ID_PATTERN, name);
  assert.notEqual(makeUserId('ada'), makeUserId('ada', '0000'));
});

test('suffixes always hold a digit, so that they are recognised again', () => {
  for (let i = 0; i < 500; i += 1) assert.match(makeSuffix(), /^(?=.*\d)[a-z0-9]{4}$/);
  assert.deepEqual(describeUser('Ada_Lovelace-7f3k'), { name: 'Ada Lovelace', tag: '7f3k', initials: 'AL' });
  assert.deepEqual(describeUser('mary-jane'), { name: 'mary-jane', tag: null, initials: 'MJ' });
  assert.equal(describeUser('___').name, '___');
  assert.equal(describeUser('alice@example.com').name, 'alice@example.com');
});

test('labels are made fit for the server', () => {
  assert.equal(cleanLabel('  Built-in\u0000 \u202eMic '), 'Built-in Mic');
  assert.equal(cleanLabel('e\u0301'), 'é');
  assert.equal([...cleanLabel('😀'.repeat(300))].length, 256);
  for (const nothing of [null, undefined, '', ' \u200f ']) assert.equal(cleanLabel(nothing), null);
});

test('the counter rises over repeats, reloads, other tabs and a clock set back', () => {
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

test('storage that is forbidden is replaced by memory', () => {
  const storage = safeStorage(() => { throw new Error('blocked'); });
  storage.write('a', { b: 1 });
  assert.deepEqual(storage.read('a'), { b: 1 });
  storage.remove('a');
  assert.equal(storage.read('a'), null);
});

test('a session is resumed only when what was stored is usable', () => {
  const tab = memoryStorage();
  const store = createIdentityStore({ tab, browser: memoryStorage() });
  assert.equal(store.session(), null);
  store.saveSession({ userId: 'ada-7f3k', roomId: 'r', muted: true });
  store.updateSession({ muted: false, deviceId: 'd' });
  assert.deepEqual(store.session(), { userId: 'ada-7f3k', roomId: 'r', muted: false, deviceId: 'd' });
  tab.write('greenroom:session', { userId: 'not valid!', roomId: 'r' });
  assert.equal(store.session(), null);
  store.endSession();
  store.updateSession({ muted: true });
  assert.equal(store.session(), null);
});

test('an id is reused for the same name unless another tab speaks under it', async () => {
  const taken = new Set();
  const locks = { request: async (name, _options, grant) => { const free = !taken.has(name); taken.add(name); return void grant(free ? {} : null); } };
  const remembered = { name: 'ada', userId: 'ada-7f3k' };
  assert.equal(await claimUserId('ada', remembered, locks), 'ada-7f3k');
  assert.match(await claimUserId('bob', remembered, locks), /^bob-/);
  taken.add('greenroom:eve-2345');
  assert.notEqual(await claimUserId('eve', { name: 'eve', userId: 'eve-2345' }, locks), 'eve-2345');
  assert.notEqual(await claimUserId('eve', { name: 'eve', userId: 'eve-2345' }, null), 'eve-2345');
});

test('the level is 0 for silence, 100 for full scale and monotone between', () => {
  const tone = (a) => Float32Array.from({ length: 512 }, (_, i) => a * Math.sign(Math.sin(i)));
  assert.equal(levelOf(new Float32Array(512)), 0);
  assert.equal(levelOf([]), 0);
  assert.equal(levelOf(tone(1)), 100);
  assert.equal(levelOf(tone(0.0005)), 0);
  const rising = [0.002, 0.01, 0.1, 0.5].map((a) => levelOf(tone(a)));
  assert.deepEqual(rising, [...rising].sort((a, b) => a - b));
  assert.equal(smoothLevel(10, 80), 80);
  assert.equal(smoothLevel(80, 10), 48);
  assert.equal(smoothLevel(1, 0), 0, 'silence is reached');
});
