import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf, draftOf, shownOf, problemsOf } from '../room-change.js';

const room = { title: 'Weekly review', maxParticipants: 50, hasPassword: true };
const asIs = { title: 'Weekly review', size: '50', password: '', isOpened: false };

test('only what differs from the room is sent', () => {
  assert.deepEqual(changeOf(room, asIs), {});
  assert.deepEqual(changeOf(room, { ...asIs, title: '  Weekly   review ', size: ' 50' }), {}, 'the same, as the server would store it');
  assert.deepEqual(changeOf(room, { ...asIs, title: 'Part two' }), { title: 'Part two' });
  assert.deepEqual(changeOf(room, { ...asIs, size: '12' }), { maxParticipants: 12 });
});

test('a password is kept, set, changed or removed', () => {
  assert.deepEqual(changeOf(room, { ...asIs, password: ' sesame ' }), { password: ' sesame ' }, 'it is sent as it was typed');
  assert.deepEqual(changeOf(room, { ...asIs, isOpened: true }), { password: null });
  assert.equal('password' in changeOf(room, asIs), false);
});

test('a field shows the room until a person types, and again once somebody else has changed the room there', () => {
  assert.deepEqual(shownOf(null, 50), { text: '50', isOvertaken: false });
  const draft = draftOf('12', 50);
  assert.deepEqual(shownOf(draft, 50), { text: '12', isOvertaken: false });
  assert.deepEqual(shownOf(draft, 30), { text: '30', isOvertaken: true });
  assert.deepEqual(shownOf(draftOf('12', 30), 30), { text: '12', isOvertaken: false }, 'the person types again');
  assert.deepEqual(shownOf(draftOf('', 50), 50), { text: '', isOvertaken: false }, 'an empty field is one that was emptied');
});

test('each field has its own problem', () => {
  assert.deepEqual(problemsOf(asIs), { title: null, size: null, password: null });
  const { title, size, password } = problemsOf({ title: ' ', size: '1', password: 'é'.repeat(65) });
  assert.deepEqual([title, size, password], ['Enter a title for the room.', 'Enter a whole number from 2 to 1000.', 'This password is too long.']);
  for (const wrong of ['', ' ', '1', '1001', '2.5', '1e2', '-5', '0x10', 'many', '99999999999']) assert.notEqual(problemsOf({ ...asIs, size: wrong }).size, null, wrong);
  for (const right of ['2', '1000', ' 50 ', '007']) assert.equal(problemsOf({ ...asIs, size: right }).size, null, right);
});
