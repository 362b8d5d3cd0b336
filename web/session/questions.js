// The questions of a room: reads them while they are shown, takes what arrives by itself, asks, votes, and what
// presenters do about them.

import { describeProblem } from '../join.js';
import { ANSWER_MAX, QUESTION_MAX, cleanMessage, messageProblem } from '../text.js';
import { createFeed } from './feed.js';
import { applyToQuestions } from './frames.js';

/** `events` says whether the room's events are heard; see `session/feed.js`. */
export function createQuestions({ api, roomId, userId, onChange, announce, isHidden, now, random, timers, events }) {
  let view = { questions: null, busy: null, problem: null, unread: 0 };
  /** The questions that have come since the panel was closed. */
  const news = new Set();
  /** Whether the list is not as the last reading brought it. An answer that has not changed since is new then. */
  let isTouched = false;

  function set(change) {
    view = { ...view, ...change };
    onChange();
  }

  const feed = createFeed({
    read: () => api.questions(roomId),
    onBody({ questions }, changed, late) {
      if (changed || isTouched || view.questions === null) set({ questions: late.reduce(applyToQuestions, questions) });
      isTouched = late.length > 0;
    },
    onChange, isHidden, now, random, timers, events,
  });

  /** Makes one change. `where` is `ask` or a question's id: a failure is shown there. Resolves to whether it was made. */
  async function act(where, run, done = null) {
    if (view.busy) return false;
    set({ busy: where, problem: null });
    try {
      await run();
      set({ busy: null });
      if (done) announce(done);
      feed.nudge();
      return true;
    } catch (error) {
      set({ busy: null, problem: { where, text: describeProblem(error) } });
      return false;
    }
  }

  async function write(where, text, max, send, done) {
    const problem = messageProblem(text, max);
    if (!problem) return act(where, () => send(cleanMessage(text)), done);
    set({ problem: { where, text: problem } });
    return false;
  }

  function notice({ event, data }) {
    if (event === 'question-removed') news.delete(data?.questionId);
    const question = data?.question;
    if (event === 'new-question' && question && question.participantId !== userId && !feed.isOpen()) news.add(question.questionId);
    if (news.size !== view.unread) set({ unread: news.size });
  }

  const replace = (id, change) => set({ questions: view.questions.map((question) => (question.questionId === id ? { ...question, ...change } : question)) });

  return {
    view: () => ({ ...view, connection: feed.connection() }),
    open() {
      news.clear();
      if (view.unread > 0) set({ unread: 0 });
      feed.open();
    },
    close: feed.close,
    pause: feed.pause,
    resume: feed.resume,
    reread: feed.reread,
    /** Takes an event, also while the panel is closed. */
    hear(frame) {
      feed.hear(frame);
      notice(frame);
      if (view.questions === null) return;
      isTouched = true;
      set({ questions: applyToQuestions(view.questions, frame) });
    },
    ask: (text) => write('ask', text, QUESTION_MAX, (question) => api.ask(roomId, question), 'Your question was sent.'),
    vote: (question, isFor) => act(question.questionId, async () => {
      const { votes } = await api.vote(roomId, question.questionId, isFor);
      replace(question.questionId, { votes, hasVoted: isFor });
    }),
    answer: (question, text) => write(question.questionId, text, ANSWER_MAX, (answer) => api.answer(roomId, question.questionId, answer), 'The answer was sent.'),
    pin: (question, isPinned) => act(question.questionId, () => api.changeQuestion(roomId, question.questionId, { isPinned })),
    markAnswered: (question, isAnswered) => act(question.questionId, () => api.changeQuestion(roomId, question.questionId, { isAnswered })),
    remove: (question) => act(question.questionId, () => api.changeQuestion(roomId, question.questionId, { removed: true }), 'The question was removed.'),
  };
}
