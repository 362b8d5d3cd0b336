import { test } from 'node:test';
import assert from 'node:assert/strict';
import { departureOf } from '../session/meeting.js';
import { LeaveDialog } from '../views/meeting.js';
import { partsOf } from './view-parts.js';

const person = (role) => ({ participant: { role } });
const viewOf = (role, others, { loaded = true, problem = null } = {}) => ({ meeting: role && { role, problem }, others: others.map(person), loaded });

test('a presenter is asked before they leave, also alone, and nobody else is', () => {
  assert.deepEqual(departureOf(viewOf('presenter', [])), { mustAsk: true, isLast: true, isRefused: false });
  assert.deepEqual(departureOf(viewOf('presenter', ['attendee'])), { mustAsk: true, isLast: true, isRefused: false });
  assert.deepEqual(departureOf(viewOf('presenter', ['attendee', 'presenter'])), { mustAsk: true, isLast: false, isRefused: false });
  assert.equal(departureOf(viewOf('attendee', ['presenter'])).mustAsk, false);
  assert.equal(departureOf(viewOf(null, [])).mustAsk, false);
});

test('before the room was read, nobody is taken to be its last presenter', () => {
  assert.deepEqual(departureOf(viewOf('presenter', [], { loaded: false })), { mustAsk: true, isLast: false, isRefused: false });
});

test('a leave that the server has refused is known until its problem is dismissed', () => {
  assert.equal(departureOf(viewOf('attendee', [], { problem: { where: 'leave', text: 't' } })).isRefused, true);
  assert.equal(departureOf(viewOf('attendee', [], { problem: { where: 'hand', text: 't' } })).isRefused, false);
});

const dialog = (props) => partsOf(LeaveDialog({ open: true, isLast: false, isRefused: false, isLeaving: false, meeting: { problem: null }, ...props }));

test('the last presenter is offered to end the room and not to leave it', () => {
  const { ids, text } = dialog({ isLast: true });
  assert.deepEqual(ids, ['leave-dialog', 'leave-end', 'leave-cancel']);
  assert.match(text, /You are the only presenter here\..*make somebody else a presenter/i);
});

test('a presenter beside others may leave', () => {
  const { ids, text } = dialog({});
  assert.deepEqual(ids, ['leave-dialog', 'leave-cancel', 'leave-confirm']);
  assert.match(text, /The room goes on\./);
});

test('after a refusal the room can be ended, whatever the page knows of the other presenters', () => {
  const { ids, text } = dialog({ isRefused: true });
  assert.deepEqual(ids, ['leave-dialog', 'leave-end', 'leave-cancel']);
  assert.doesNotMatch(text, /The room goes on|only presenter/);
});
