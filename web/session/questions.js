// The questions of a room: reads them while they are shown, asks, votes, and what presenters do about them.

import { describeProblem } from '../join.js';
import { ANSWER_MAX, QUESTION_MAX, cleanMessage, messageProblem } from '../text.js';
import { createFeed } from './feed.js';

export function createQuestions({ api, roomId, onChange, announce, isHidden, now, random, timers }) {
  let view = { questions: null, busy: null, problem: null };

  function set(change) {
    view = { ...view, ...change };
    onChange();
  }

  const feed = createFeed({
    read: () => api.questions(roomId), onBody: ({ questions }, changed) => { if (changed || view.questions === null) set({ questions }); },
    onChange, isHidden, now, random, timers,
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

  const replace = (id, change) => set({ questions: view.questions.map((question) => (question.questionId === id ? { ...question, ...change } : question)) });

  return {
    view: () => ({ ...view, connection: feed.connection() }),
    open: feed.open,
    close: feed.close,
    pause: feed.pause,
    resume: feed.resume,
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
