import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createChat, merge } from '../session/chat.js';
import { createQuestions } from '../session/questions.js';
import { deferred, fakeClock } from './fake-clock.js';

const ids = (messages) => messages.map(({ id }) => id).join('');
const list = (text) => [...text].map((id) => ({ id }));

test('new messages follow those that are known, also one that arrives late', () => {
  assert.equal(ids(merge(list('abc'), list('bcd'), true)), 'abcd');
  assert.equal(ids(merge(list('abd'), list('bcd'), true)), 'abcd');
  assert.equal(ids(merge(list('abc'), list('xyz'), true)), 'xyz', 'a gap is not shown as silence');
  assert.equal(ids(merge(list('b'), list('abc'), false)), 'abc');
  assert.equal(ids(merge([], [], false)), '');
  assert.equal(ids(merge(list('abcz'), list('xyz'), true, new Set(['z']))), 'xyz', 'what this page has put in itself is no link');
  assert.equal(ids(merge(list('abcz'), list('cxyz'), true, new Set(['z']))), 'abcxyz');
});

/** A panel whose API gives the answers of `answers`, by the name of the call. */
function setup(create, answers) {
  const clock = fakeClock();
  const calls = [];
  const api = new Proxy({}, {
    get: (_, name) => async (...args) => {
      calls.push([name, ...args.slice(1)]);
      const answer = typeof answers[name] === 'function' ? answers[name](...args) : answers[name];
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  const said = [];
  /** Whether the room's events are heard: the connection is open, and nothing is in doubt. */
  const heard = { isOpen: false, isQuiet: false };
  const panel = create({
    api, roomId: 'r', userId: 'me', events: { isOpen: () => heard.isOpen, isQuiet: () => heard.isQuiet }, onChange: () => {}, announce: (text) => said.push(text), isHidden: () => false, now: clock.now, random: () => 1,
    timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
  });
  return { clock, calls, said, panel, heard, names: () => calls.map(([name]) => name) };
}

test('messages are read only while the panel is open', async () => {
  const t = setup(createChat, { messages: { changed: true, body: { messages: list('a'), hasMore: false, nextBefore: null } } });
  await t.clock.advance(60_000);
  assert.deepEqual([t.calls.length, t.panel.view().messages], [0, null]);
  t.panel.open();
  await t.clock.advance(6000);
  assert.deepEqual([t.calls.length, ids(t.panel.view().messages), t.panel.view().connection], [3, 'a', 'online']);
  t.panel.close();
  await t.clock.advance(60_000);
  assert.equal(t.calls.length, 3);
  t.panel.open();
  await t.clock.settle();
  assert.equal(t.calls.length, 4, 'a panel can be opened again');
});

test('what arrives just after the panel was closed is shown when it is opened again', async () => {
  const page = (text) => ({ messages: list(text), hasMore: false, nextBefore: null });
  const late = deferred();
  const answers = [{ changed: true, body: page('a') }, late.promise, { changed: false, body: page('ab') }];
  const t = setup(createChat, { messages: () => answers.shift() });
  t.panel.open();
  await t.clock.advance(2500);
  t.panel.close();
  late.resolve({ changed: true, body: page('ab') });
  await t.clock.settle();
  t.panel.open();
  await t.clock.settle();
  assert.equal(ids(t.panel.view().messages), 'ab');
});

test('a message that was sent is shown at once, and a failure keeps the text with its reason', async () => {
  const answers = { messages: { changed: false, body: { messages: [], hasMore: false, nextBefore: null } }, sendMessage: { message: { id: 'm' } } };
  const t = setup(createChat, answers);
  t.panel.open();
  await t.clock.settle();
  assert.equal(await t.panel.send(' Hi\u0000 \r\n there '), true);
  assert.deepEqual([t.calls.find(([name]) => name === 'sendMessage'), ids(t.panel.view().messages)], [['sendMessage', { message: 'Hi\n there', type: 'chat' }], 'm']);
  await t.panel.react('👏');
  assert.deepEqual(t.calls.filter(([name]) => name === 'sendMessage').at(-1)[1], { message: '👏', type: 'reaction' });
  answers.sendMessage = new ApiError({ status: 429, retryAfterMs: 5000 });
  assert.equal(await t.panel.send('again'), false);
  assert.match(t.panel.view().problem, /Wait 5 s/);
  const before = t.calls.length;
  assert.equal(await t.panel.send('  '), false);
  assert.deepEqual([t.calls.length, t.panel.view().problem], [before, 'Write something first.']);
});

test('older messages are fetched on demand, to the first one', async () => {
  const pages = { e: { messages: list('cd'), hasMore: true, nextBefore: 'c' }, c: { messages: list('ab'), hasMore: false, nextBefore: null } };
  const t = setup(createChat, {
    messages: () => ({ changed: true, body: { messages: list('ef'), hasMore: true, nextBefore: 'e' } }), earlierMessages: (_, before) => pages[before],
  });
  t.panel.open();
  await t.clock.settle();
  await t.panel.loadEarlier();
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore], ['cdef', true]);
  await t.clock.advance(3000);
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore], ['cdef', true], 'reading the newest page changes nothing before it');
  await t.panel.loadEarlier();
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore], ['abcdef', false]);
  await t.panel.loadEarlier();
  assert.equal(t.names().filter((name) => name === 'earlierMessages').length, 2);
});

test('a message of one’s own does not hide the gap before it, and is a link once the server has listed it', async () => {
  let page = { messages: list('abc'), hasMore: false, nextBefore: null };
  const pages = { x: { messages: list('uvw'), hasMore: true, nextBefore: 'u' } };
  const t = setup(createChat, { messages: () => ({ changed: true, body: page }), earlierMessages: (_, before) => pages[before], sendMessage: { message: { id: 'z' } } });
  t.panel.open();
  await t.clock.settle();
  page = { messages: list('xyz'), hasMore: true, nextBefore: 'x' };
  await t.panel.send('z');
  await t.clock.settle();
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore], ['xyz', true]);
  await t.panel.loadEarlier();
  page = { messages: list('z{|'), hasMore: true, nextBefore: 'z' };
  await t.clock.advance(3000);
  assert.equal(ids(t.panel.view().messages), 'uvwxyz{|');
});

test('a panel that is opened while the page asks nothing of the room reads once it goes on', async () => {
  const t = setup(createChat, { messages: { changed: true, body: { messages: list('a'), hasMore: false, nextBefore: null } } });
  t.panel.pause();
  t.panel.open();
  await t.clock.advance(60_000);
  assert.equal(t.calls.length, 0);
  t.panel.resume();
  await t.clock.advance(0);
  assert.deepEqual([t.calls.length, ids(t.panel.view().messages)], [1, 'a']);
});

test('a message of one’s own that a poll has brought before its answer is a link', async () => {
  const answer = deferred();
  let page = { messages: list('xyz'), hasMore: true, nextBefore: 'x' };
  const t = setup(createChat, { messages: () => ({ changed: true, body: page }), sendMessage: answer.promise });
  const sending = t.panel.send('z');
  t.panel.open();
  await t.clock.settle();
  page = { messages: list('z{|'), hasMore: true, nextBefore: 'z' };
  answer.resolve({ message: { id: 'z' } });
  await sending;
  await t.clock.advance(3000);
  assert.equal(ids(t.panel.view().messages), 'xyz{|');
});

test('older messages that arrive after their place was dropped are ignored', async () => {
  const answer = deferred();
  let page = { messages: list('ef'), hasMore: true, nextBefore: 'e' };
  const pages = { e: answer.promise, x: { messages: list('vw'), hasMore: true, nextBefore: 'v' } };
  const t = setup(createChat, { messages: () => ({ changed: true, body: page }), earlierMessages: (_, before) => pages[before] });
  t.panel.open();
  await t.clock.settle();
  const loading = t.panel.loadEarlier();
  page = { messages: list('xy'), hasMore: true, nextBefore: 'x' };
  await t.clock.advance(3000);
  answer.resolve({ messages: list('cd'), hasMore: false, nextBefore: null });
  await loading;
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore, t.panel.view().isLoading], ['xy', true, false]);
  await t.panel.loadEarlier();
  assert.equal(ids(t.panel.view().messages), 'vwxy', 'the next press asks for what is before the messages shown');
});

test('a page that keeps no more messages offers no older ones, because those between them are dropped', async () => {
  const numbered = (from, to) => Array.from({ length: to - from }, (_, i) => ({ id: String(from + i).padStart(5, '0') }));
  let end = 50;
  const t = setup(createChat, { messages: () => ({ changed: true, body: { messages: numbered(end - 50, end), hasMore: true, nextBefore: 'before' } }) });
  t.panel.open();
  await t.clock.settle();
  for (let i = 0; i < 21; i += 1) {
    end += 49;
    await t.clock.advance(3000);
  }
  assert.deepEqual([t.panel.view().messages.length, t.panel.view().hasMore], [1000, false]);
  await t.panel.loadEarlier();
  assert.ok(!t.names().includes('earlierMessages'));
});

const question = { questionId: 'q1', question: 'When?', votes: 0, hasVoted: false };

test('a vote is shown as the server counts it', async () => {
  const t = setup(createQuestions, { questions: { changed: true, body: { questions: [question] } }, vote: { votes: 3 } });
  t.panel.open();
  await t.clock.settle();
  const voting = t.panel.vote(question, true);
  assert.equal(await t.panel.pin(question, true), false, 'one change at a time');
  assert.equal(await voting, true);
  assert.deepEqual(t.calls.filter(([name]) => name !== 'questions'), [['vote', 'q1', true]]);
});

test('each act on a question is one request, and its failure is shown there', async () => {
  const answers = { questions: { changed: true, body: { questions: [question] } } };
  const t = setup(createQuestions, answers);
  await t.panel.ask(' Why? ');
  await t.panel.answer(question, 'Friday');
  await t.panel.pin(question, true);
  await t.panel.markAnswered(question, false);
  await t.panel.remove(question);
  assert.deepEqual(t.calls, [['ask', 'Why?'], ['answer', 'q1', 'Friday'], ['changeQuestion', 'q1', { isPinned: true }], ['changeQuestion', 'q1', { isAnswered: false }], ['changeQuestion', 'q1', { removed: true }]]);
  assert.deepEqual(t.said, ['Your question was sent.', 'The answer was sent.', 'The question was removed.']);
  answers.changeQuestion = new ApiError({ status: 404, code: 'question_not_found' });
  await t.panel.pin(question, true);
  assert.deepEqual(t.panel.view().problem, { where: 'q1', text: 'This question has been removed.' });
  await t.panel.ask('');
  assert.equal(t.panel.view().problem.where, 'ask');
});

const page = (text, more = {}) => ({ messages: list(text), hasMore: false, nextBefore: null, ...more });
const says = (id, more = {}) => ({ event: 'new-chat-message', data: { message: { id, type: 'chat', participantId: 'bob', ...more } } });
const live = (t) => Object.assign(t.heard, { isOpen: true, isQuiet: true });

test('while events are heard, the messages are read once when the panel opens', async () => {
  const t = setup(createChat, { messages: { changed: true, body: page('ab') }, sendMessage: { message: { id: 'd' } } });
  live(t);
  t.panel.open();
  await t.clock.advance(60_000);
  t.panel.hear(says('c'));
  await t.panel.send('d');
  t.panel.hear(says('d', { participantId: 'me' }));
  await t.clock.advance(60_000);
  assert.deepEqual([t.names(), ids(t.panel.view().messages), t.clock.waiting()], [['messages', 'sendMessage'], 'abcd', 0]);
  t.panel.reread();
  await t.clock.advance(60_000);
  assert.equal(t.calls.length, 3, 'after another connection it is read once more');
  Object.assign(t.heard, { isOpen: false, isQuiet: false });
  t.panel.reread();
  await t.clock.advance(5000);
  assert.equal(t.calls.length, 6, 'and again and again when none are heard');
});

test('what is said while the panel is closed is counted, and shown as soon as it opens', async () => {
  const answer = deferred();
  const t = setup(createChat, { messages: answer.promise });
  live(t);
  for (const event of [says('a'), says('b'), says('b'), says('c', { participantId: 'me' }), says('d', { type: 'system', participantId: null })]) t.panel.hear(event);
  assert.deepEqual([t.panel.view().unread, t.calls], [2, []]);
  t.panel.open();
  assert.deepEqual([t.panel.view().unread, ids(t.panel.view().messages)], [0, 'abcd']);
  answer.resolve({ changed: true, body: page('XYabcd', { hasMore: true, nextBefore: 'X' }) });
  await t.clock.settle();
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore], ['XYabcd', true]);
  t.panel.hear(says('e'));
  assert.deepEqual([t.panel.view().unread, ids(t.panel.view().messages)], [0, 'XYabcde'], 'what is shown is not new');
});

test('a message that arrives during a reading, or just before it, is not lost by it', async () => {
  const answer = deferred();
  const t = setup(createChat, { messages: answer.promise });
  live(t);
  t.panel.hear(says('c'));
  await t.clock.advance(500);
  t.panel.open();
  t.panel.hear(says('d'));
  answer.resolve({ changed: true, body: page('ab') });
  await t.clock.settle();
  assert.equal(ids(t.panel.view().messages), 'abcd');
});

test('messages that followed without a gap lead to older ones; those after a gap do not hide it', async () => {
  let body = page('ab');
  const t = setup(createChat, { messages: () => ({ changed: true, body }) });
  live(t);
  t.panel.open();
  await t.clock.settle();
  t.panel.close();
  for (const id of 'cdef') t.panel.hear(says(id));
  await t.clock.advance(10_000);
  body = page('ef', { hasMore: true, nextBefore: 'e' });
  t.panel.open();
  await t.clock.settle();
  assert.equal(ids(t.panel.view().messages), 'abcdef', 'nothing was missed');
  t.panel.close();
  t.panel.miss();
  for (const id of 'ijkl') t.panel.hear(says(id));
  await t.clock.advance(10_000);
  body = page('kl', { hasMore: true, nextBefore: 'k' });
  t.panel.open();
  await t.clock.settle();
  assert.deepEqual([ids(t.panel.view().messages), t.panel.view().hasMore], ['kl', true], 'g and h are not known');
});

test('a page that hears many messages keeps as many as one that reads them', () => {
  const t = setup(createChat, {});
  live(t);
  for (let i = 0; i < 1100; i += 1) t.panel.hear(says(String(i).padStart(5, '0')));
  const { messages, hasMore } = t.panel.view();
  assert.deepEqual([messages.length, messages[0].id, hasMore], [1000, '00100', false]);
});

test('questions follow the events while they are heard, and keep the own vote', async () => {
  const t = setup(createQuestions, { questions: { changed: true, body: { questions: [question] } }, vote: { votes: 1 } });
  live(t);
  t.panel.open();
  await t.clock.settle();
  await t.panel.vote(question, true);
  t.panel.hear({ event: 'question-updated', data: { question: { questionId: 'q1', question: 'When?', votes: 2 } } });
  t.panel.hear({ event: 'new-question', data: { question: { questionId: 'q2', question: 'Why?', votes: 0 } } });
  await t.clock.advance(60_000);
  assert.deepEqual(t.panel.view().questions.map(({ questionId, votes, hasVoted }) => [questionId, votes, hasVoted]), [['q1', 2, true], ['q2', 0, false]]);
  assert.deepEqual([t.names(), t.panel.view().unread], [['questions', 'vote'], 0]);
});

test('questions that come while the panel is closed are counted until it opens, unless they are removed', async () => {
  const t = setup(createQuestions, { questions: { changed: false, body: { questions: [question] } } });
  live(t);
  const asked = (questionId, participantId = 'bob') => t.panel.hear({ event: 'new-question', data: { question: { questionId, participantId, votes: 0 } } });
  for (const id of ['q2', 'q2', 'q3']) asked(id);
  asked('q4', 'me');
  t.panel.hear({ event: 'question-updated', data: { question: { questionId: 'q5', votes: 1 } } });
  assert.equal(t.panel.view().unread, 2);
  t.panel.hear({ event: 'question-removed', data: { questionId: 'q3' } });
  assert.deepEqual([t.panel.view().unread, t.panel.view().questions, t.calls.length], [1, null, 0]);
  await t.clock.advance(10_000);
  t.panel.open();
  await t.clock.settle();
  assert.deepEqual([t.panel.view().unread, t.panel.view().questions.length], [0, 1]);
});

test('a list that events have changed is replaced by an answer that has not changed since it was read', async () => {
  const t = setup(createQuestions, { questions: { changed: false, body: { questions: [question] } } });
  live(t);
  t.panel.open();
  await t.clock.settle();
  t.panel.hear({ event: 'question-updated', data: { question: { ...question, votes: 7 } } });
  assert.equal(t.panel.view().questions[0].votes, 7);
  await t.clock.advance(10_000);
  t.panel.reread();
  await t.clock.settle();
  assert.equal(t.panel.view().questions[0].votes, 0, 'the vote was withdrawn, and the page did not hear of it');
});
