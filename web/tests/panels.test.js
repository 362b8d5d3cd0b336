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
  const panel = create({
    api, roomId: 'r', onChange: () => {}, announce: (text) => said.push(text), isHidden: () => false, now: clock.now, random: () => 1,
    timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
  });
  return { clock, calls, said, panel, names: () => calls.map(([name]) => name) };
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
