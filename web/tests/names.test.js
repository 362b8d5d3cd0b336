import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everybodyOf, looksOf, presentersOf, suffixesOf } from '../names.js';

const ID = ['p_01KBA8M3Q4V4W5X6Y7Z8A9BCDE', 'p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF', 'p_01KBA8M3Q4V4W5X6Y7Z8A9BCDG'];
const people = (...names) => names.map((name, at) => ({ userId: ID[at], name }));
const isAlike = (a, b) => suffixesOf(people(a, b)).size === 2;

const ALIKE = [
  ['the same', 'Ada', 'Ada'],
  ['case', 'Ada', 'ADA'],
  ['a blank', 'Ada Lovelace', 'AdaLovelace'],
  ['a wide blank', 'Ada Lovelace', 'Ada\u2003Lovelace'],
  ['an accent', 'Zoe', 'Zoë'],
  ['an accent of its own', 'Zoe', 'Zoe\u0308'],
  ['a stroke', 'Lukasz', 'Łukasz'],
  ['a sharp s', 'Strauss', 'Strauß'],
  ['full width', 'Ada', 'Ａｄａ'],
  ['mathematical letters', 'Ada', '𝐀𝐝𝐚'],
  ['a ligature', 'Sofia', 'Soﬁa'],
  ['a joiner', 'Ada', 'A\u200dda'],
  ['a variation selector', 'Ada', 'Ada\ufe0f'],
  ['an empty Braille pattern', 'Ada', 'Ada\u2800'],
  ['a full stop', 'Ada', 'Ada.'],
  ['an apostrophe', 'O’Brien', "O'Brien"],
  ['Cyrillic a', 'Ada', 'Аda'],
  ['Cyrillic throughout', 'ANNA', 'АННА'.replaceAll('Н', 'N')],
  ['Cyrillic capitals', 'BOHACT', 'ВОНАСТ'],
  ['Cyrillic ye, o, es', 'Oscar Coe', 'Оѕсаr Сое'],
  ['Cyrillic dotted i', 'Ian', 'Іan'],
  ['Cyrillic in small letters', 'Ада', 'ада'],
  ['Greek capitals', 'NIKO', 'ΝΙΚΟ'],
  ['Greek omicron', 'Bob', 'Bοb'],
  ['Greek, with regard to a last sigma', 'ΝΙΚΟΣ', 'νικος'],
  ['Greek accents', 'Νίκος', 'Νικος'],
  ['three scripts in one name', 'Papa', 'Рαра'],
  ['a capital I for an l', 'Alan', 'AIan'],
  ['a capital I at the beginning', 'Ian', 'lan'],
  ['a one for an l', 'Alan', 'A1an'],
  ['a zero for an o', 'Bob', 'B0b'],
  ['a dotless i', 'Mia', 'Mıa'],
  ['a bar', 'Alan', 'A|an'],
  ['a sign', 'Ada', 'Ada^'],
  ['a tick', 'Ada', 'Ada ✓'],
  ['rare Cyrillic letters', 'YVW Gwyv', 'ҮѴѠ Ԍѡүѵ'],
  ['a rare Greek letter', 'Joe', 'Ϳoe'],
  ['Greek and Cyrillic capitals', 'ΓΛΠΦ', 'ГЛПФ'],
];

const DIFFERENT = [
  ['Ada', 'Bob'], ['Ada', 'Adam'], ['Ada', 'Ida'], ['Anna', 'Hanna'], ['Иван', 'Ivan'], ['Νίκος', 'Nikos Papas'], ['李', '王'], ['ian', 'lan'],
  ['🙂', '🙃'], ['…', '!'], ['Ada', 'Ada 2'], ['Kai', 'Kal'], ['محمد', 'أحمد'],
];

test('names that look alike are found', () => {
  for (const [why, a, b] of ALIKE) {
    assert.ok(isAlike(a, b), `${why}: ${a}, ${b}`);
    assert.ok(isAlike(b, a), `${why}: ${b}, ${a}`);
  }
});

test('names that differ are left alone', () => {
  for (const [a, b] of DIFFERENT) assert.equal(suffixesOf(people(a, b)).size, 0, `${a}, ${b}`);
});

test('a unique name gets nothing, whoever else is there', () => {
  const names = [...new Set(ALIKE.flatMap(([, a, b]) => [a, b]))];
  for (const name of names) {
    const others = names.filter((other) => ![...looksOf(other)].some((look) => looksOf(name).has(look)));
    const crowd = [name, ...others, ...others].map((one, at) => ({ userId: `p_${at}`.padEnd(28, String(at % 10)), name: one }));
    assert.equal(suffixesOf(crowd).has(crowd[0].userId), false, name);
    assert.deepEqual(suffixesOf([crowd[0]]), new Map(), `${name}, alone`);
  }
});

test('a suffix is the end of the id, and those of two people who look alike differ', () => {
  assert.deepEqual(suffixesOf(people('Ada', 'Аda', 'Bob')), new Map([[ID[0], 'bcde'], [ID[1], 'bcdf']]));
  const ids = ['u_AB1234', 'u_CB1234', 'u_B1234', 'x', 'X'];
  const found = suffixesOf(ids.map((userId) => ({ userId, name: 'Ada' })));
  assert.equal(found.size, ids.length);
  assert.equal(new Set(found.values()).size, ids.length, [...found.values()].join(' '));
  for (const [userId, suffix] of found) assert.ok(userId.toLowerCase().endsWith(suffix.toLowerCase()));
});

test('a person is not like themselves, and counts with each name that they have written under', () => {
  assert.equal(suffixesOf([{ userId: ID[0], name: 'Ada' }, { userId: ID[0], name: 'ada' }]).size, 0);
  assert.equal(suffixesOf([{ userId: ID[0], name: 'Ada' }, { userId: ID[0], name: 'Bob' }, { userId: ID[1], name: 'bob' }]).size, 2);
});

test('likeness does not depend on the order of the people', () => {
  const three = people('Alan', 'AIan', 'aian');
  assert.deepEqual(suffixesOf(three), suffixesOf([...three].reverse()));
  assert.equal(suffixesOf(three).size, 3);
});

const view = {
  userId: ID[0], name: 'Ada', others: [{ userId: ID[1], name: 'Bob', participant: { role: 'presenter' } }, { userId: 'dan-7f3k', name: null }],
  meeting: { role: 'attendee', waiting: [{ userId: ID[2], name: ' Cleo\u200b' }] },
  chat: { messages: [
    { type: 'chat', participantId: ID[1], name: 'Bob' }, { type: 'reaction', participantId: 'p_gone', name: 'ADA' }, { type: 'system', participantId: ID[1], name: 'Nobody' },
  ] },
  questions: { questions: [{ participantId: 'p_asked', name: 'Eve' }] },
};

test('everybody counts whose name is shown: who is here, who waits, and who has written and left', () => {
  assert.deepEqual(everybodyOf(view).map(({ userId, name }) => [userId, name]), [
    [ID[0], 'Ada'], [ID[1], 'Bob'], ['dan-7f3k', 'dan'], [ID[2], 'Cleo'], ['p_gone', 'ADA'], ['p_asked', 'Eve'],
  ]);
  assert.deepEqual([...suffixesOf(everybodyOf(view)).keys()], [ID[0], 'p_gone'], 'somebody has left whose name was like Ada’s');
  assert.deepEqual(everybodyOf({ userId: 'u_1', name: null, others: [], meeting: null, chat: null, questions: null }).length, 1, 'a room that nobody created');
  assert.equal(everybodyOf({ ...view, chat: { messages: null }, questions: { questions: null } }).length, 4, 'panels that were never opened');
});

test('people who have left since they were asked to mute are told apart, and who is here keeps the one name', () => {
  const targets = [ID[1], ID[0].replace('KBA8', 'KBA9'), ID[1].replace('KBA8', 'KBA9')].map((participantId) => ({ participantId, outcome: 'requested' }));
  const asked = { ...view, chat: null, questions: null, meeting: { ...view.meeting, round: { targets } } };
  assert.deepEqual([...suffixesOf(everybodyOf(asked)).values()], ['bcde', 'bcdf']);
});

test('a presenter is who the list says, and oneself by the own role', () => {
  assert.deepEqual([...presentersOf(view)], [ID[1]]);
  assert.deepEqual([...presentersOf({ ...view, meeting: { role: 'presenter', waiting: [] } })], [ID[0], ID[1]]);
});
