// The questions of a room: asking, voting, and what presenters do about them.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { UpIcon } from './icons.js';
import { Composer, Panel } from './panel.js';
import { Author } from './person.js';

const disabledIf = (isSo) => (isSo ? 'true' : undefined);

function AnswerForm({ question, view, session, onDone }) {
  const [text, setText] = useState(question.answer ?? '');
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  async function send() {
    if (await session.questions.answer(question, text)) onDone();
  }
  return html`<${Composer} id=${`answer-${question.questionId}`} label="Answer" button="Answer" input=${field} text=${text} onText=${setText} busy=${view.busy} onSend=${send} />`;
}

function Question({ question, view, session, userId, isPresenter }) {
  const [isAnswering, setAnswering] = useState(false);
  const { questionId, votes, hasVoted, isPinned, isAnswered, answer } = question;
  const isOwn = question.participantId === userId;
  const of = html`<span class="visually-hidden">: ${question.question}</span>`;
  const act = (run) => () => { run(); };
  const small = (text, testid, run) => html`<button type="button" class="button small quiet" aria-disabled=${disabledIf(view.busy)} onClick=${act(run)} data-testid=${testid}>${text}${of}</button>`;
  return html`<li class=${`question${isPinned ? ' is-pinned' : ''}${isAnswered ? ' is-answered' : ''}`} data-testid="question" data-question-id=${questionId} data-votes=${votes} data-pinned=${String(isPinned)} data-answered=${String(isAnswered)}>
    <button type="button" class=${hasVoted ? 'vote is-on' : 'vote'} aria-pressed=${String(hasVoted)} aria-disabled=${disabledIf(view.busy)}
      onClick=${act(() => session.questions.vote(question, !hasVoted))} data-testid="vote"><${UpIcon} /><span>${votes}</span><span class="visually-hidden">${votes === 1 ? 'vote' : 'votes'}${of}</span></button>
    <div class="question-body">
      <p class="question-head">${isPinned && html`<span class="badge" data-testid="pinned">Pinned</span>`}${isAnswered && html`<span class="badge" data-testid="answered">Answered</span>`}
        <span class="question-from"><${Author} userId=${question.participantId} name=${question.name} isOwn=${isOwn} /></span></p>
      <p class="message-text">${question.question}</p>
      ${answer && html`<div class="question-answer" data-testid="answer"><p class="over-line">Answer</p><p class="message-text">${answer}</p></div>`}
      ${(isPresenter || isOwn) && html`<div class="person-tools">
        ${isPresenter && small(isPinned ? 'Unpin' : 'Pin', 'pin', () => session.questions.pin(question, !isPinned))}
        ${isPresenter && !isAnswering && small(answer ? 'Change answer' : 'Answer', 'answer-open', () => setAnswering(true))}
        ${isPresenter && small(isAnswered ? 'Not answered' : 'Mark answered', 'mark-answered', () => session.questions.markAnswered(question, !isAnswered))}
        ${small('Remove', 'question-remove', () => session.questions.remove(question))}
      </div>`}
      ${isAnswering && html`<${AnswerForm} question=${question} view=${view} session=${session} onDone=${() => setAnswering(false)} />`}
      ${view.problem?.where === questionId && html`<p class="alert" role="alert" data-testid="question-problem">${view.problem.text}</p>`}
    </div>
  </li>`;
}

export function QuestionsPanel({ view, session, onClose }) {
  const { questions: panel, userId, meeting } = view;
  const [text, setText] = useState('');
  const field = useRef(null);
  async function ask() {
    if (await session.questions.ask(text)) setText('');
  }
  const { questions } = panel;
  return html`<${Panel} title="Questions" testid="questions" feed=${session.questions} connection=${panel.connection} first=${field} onClose=${onClose}>
    <${Composer} id="question-text" label="Your question" button="Ask" input=${field} text=${text} onText=${setText}
      problem=${panel.problem?.where === 'ask' ? panel.problem.text : null} busy=${panel.busy} onSend=${ask} />
    ${questions === null && html`<p class="hint">Loading the questions…</p>`}
    ${questions?.length === 0 && html`<p class="hint" data-testid="questions-empty">No questions yet. Everybody can ask, and vote for the questions that matter to them.</p>`}
    <ul class="questions" role="list" aria-live="polite" aria-relevant="additions">${questions?.map((question) => html`<${Question} key=${question.questionId} question=${question} view=${panel} session=${session}
      userId=${userId} isPresenter=${meeting.role === 'presenter'} />`)}</ul>
  <//>`;
}
