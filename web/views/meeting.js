// What a room that somebody created shows beside its people: who waits, what became of a request to mute, and the
// presenter's tools.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { outcomeNow } from '../session/meeting.js';
import { Dialog } from './dialog.js';
import { HandIcon, MicOffIcon } from './icons.js';
import { Suffix, useNames } from './person.js';
import { RoomDialog } from './room-dialog.js';

const disabledIf = (isSo) => (isSo ? 'true' : undefined);

/** A failure of the control of this name, beside it. */
export function Problem({ meeting, where }) {
  if (meeting.problem?.where !== where) return null;
  return html`<p class="alert" role="alert" data-testid="meeting-problem">${meeting.problem.text}</p>`;
}

/** People in the lobby. Only presenters get them. */
export function Waiting({ meeting, session }) {
  const nameOf = useNames();
  if (meeting.waiting.length === 0) return null;
  return html`<section class="card waiting" aria-labelledby="waiting-title" data-testid="waiting">
    <h2 id="waiting-title" class="card-title">Waiting to be let in (${meeting.waiting.length})</h2>
    <ul role="list">${meeting.waiting.map((person) => {
      const { name, suffix, full } = nameOf(person);
      return html`<li key=${person.userId} data-testid="waiting-person">
        <span class="waiting-name">${name}${' '}<${Suffix} suffix=${suffix} /></span>
        <span class="actions">
          <button type="button" class="button primary small" aria-disabled=${disabledIf(meeting.busy)} onClick=${() => session.meeting.admit(person)} data-testid="admit">Let in<span class="visually-hidden">: ${full}</span></button>
          <button type="button" class="button small" aria-disabled=${disabledIf(meeting.busy)} onClick=${() => session.meeting.remove(person, `${full} was turned away.`)} data-testid="turn-away">Turn away<span class="visually-hidden">: ${full}</span></button>
        </span>
        <${Problem} meeting=${meeting} where=${person.userId} />
      </li>`;
    })}</ul>
  </section>`;
}

const OUTCOMES = {
  requested: ['asked', 'Their page has not answered yet.'],
  claimed: ['says muted', 'A claim: their page says that it has muted.'],
  verified: ['muted, verified', 'An agent measured it.'],
  refused: ['stays unmuted', 'They do not follow the request.'],
  gone: ['left', 'They are not in the room any more.'],
};

/** What has become of the request to mute, person by person. `people` are those of the list, with their verdicts. */
function Round({ round, people, session }) {
  const nameOf = useNames();
  const rows = round.targets.map(({ participantId, outcome }) => {
    const person = people.find(({ state }) => state.userId === participantId);
    const now = outcomeNow(outcome, person ? { isMuted: person.state.isMuted, value: person.verdict.value } : null);
    return { participantId, now, ...nameOf(person?.state ?? { userId: participantId }) };
  });
  return html`<section class="card round" aria-labelledby="round-title" data-testid="round">
    <div class="round-head"><h2 id="round-title" class="card-title">Everybody was asked to mute</h2>
      <button type="button" class="button quiet small" onClick=${() => session.meeting.dismissRound()} data-testid="round-close">Close</button></div>
    ${rows.length === 0 ? html`<p class="hint">Nobody else is here.</p>` : html`<ul role="list">${rows.map(({ participantId, now, name, suffix }) => html`<li
      key=${participantId} data-testid="round-target" data-outcome=${now}><span class="waiting-name">${name}${' '}<${Suffix} suffix=${suffix} /></span><span class=${`outcome is-${now}`} title=${OUTCOMES[now][1]}>${OUTCOMES[now][0]}</span></li>`)}</ul>`}
  </section>`;
}

/** Closes what a `details` shows, and goes back to its button. */
function closeByKey(event) {
  if (event.key !== 'Escape' || !event.currentTarget.open) return;
  event.currentTarget.open = false;
  event.currentTarget.querySelector('summary').focus();
}

/** Closes what a `details` shows when the focus goes elsewhere. A press on no control moves it nowhere. */
function closeOutside({ currentTarget, relatedTarget }) {
  if (relatedTarget && !currentTarget.contains(relatedTarget)) currentTarget.open = false;
}

/** The number that a panel shows at most. */
const UNREAD_MAX = 99;

/** Says that something has come into a panel while it was closed. It is part of the name of the panel's button. */
export function Unread({ count }) {
  if (count === 0) return null;
  const text = count > UNREAD_MAX ? `more than ${UNREAD_MAX} new` : `${count} new`;
  return html`<span class="unread" title=${text} data-testid="unread" data-count=${count}><span class="visually-hidden">, ${text}</span></span>`;
}

/** The line of buttons below the title: the panels for everybody, and the tools of a presenter. */
export function Tools({ view, session, people, panel, onPanel, onEnd }) {
  const { meeting } = view;
  const { settings } = meeting.room;
  const isPresenter = meeting.role === 'presenter';
  const [asking, setAsking] = useState(false);
  const [changing, setChanging] = useState(false);
  const settingsButton = useRef(null);
  const change = () => {
    session.meeting.dismissProblem();
    settingsButton.current.parentElement.open = false;
    setChanging(true);
  };
  // The button that opened the dialog is hidden: the settings have closed behind it.
  const changed = () => {
    setChanging(false);
    settingsButton.current?.focus();
  };
  // The box shows what the server has: until it answers, the box stays as it was.
  const option = (key) => (event) => {
    const wanted = event.target.checked;
    event.target.checked = settings[key];
    session.meeting.changeSettings({ [key]: wanted });
  };
  const toggle = (name, text, testid) => html`<button type="button" class=${panel === name ? 'button is-on' : 'button'} aria-expanded=${String(panel === name)} aria-controls="panel"
    onClick=${() => onPanel(panel === name ? null : name)} data-testid=${testid}>${text}<${Unread} count=${view[name].unread} /></button>`;
  return html`<div class="tools" role="group" aria-label="Room">
      ${settings.chat && toggle('chat', 'Chat', 'chat-toggle')}
      ${settings.questions && toggle('questions', 'Questions', 'questions-toggle')}
      ${isPresenter && html`<button type="button" class="button" aria-disabled=${disabledIf(meeting.busy)} onClick=${() => session.meeting.muteAll()} data-testid="mute-all"><${MicOffIcon} />Mute all</button>`}
      ${isPresenter && html`<details class="settings" data-testid="settings" onKeyDown=${closeByKey} onFocusOut=${closeOutside}><summary class="button" ref=${settingsButton}>Settings</summary><div class="settings-body card">
        ${[['lobby', 'Lobby'], ['moderatedUnmute', 'Unmute only with permission'], ['chat', 'Chat'], ['questions', 'Questions']].map(([key, text]) => html`<label key=${key} class="setting"><input
          type="checkbox" checked=${settings[key]} onChange=${option(key)} data-testid=${`setting-${key}`} />${text}</label>`)}
        <button type="button" class="button small" onClick=${change} data-testid="room-change" aria-haspopup="dialog">Title, size and password…</button>
        <${Problem} meeting=${meeting} where="settings" /></div></details>`}
      ${isPresenter && html`<button type="button" class="button end" onClick=${() => setAsking(true)} data-testid="end" aria-haspopup="dialog">End for everybody</button>`}
    </div>
    <${Problem} meeting=${meeting} where="mute-all" />
    ${!changing && html`<${Problem} meeting=${meeting} where="room" />`}
    ${meeting.round && html`<${Round} round=${meeting.round} people=${people} session=${session} />`}
    ${meeting.warning === 'star_size' && isPresenter && html`<p class="claims-note" data-testid="star-size">This room is large. Direct connections to everybody may not hold.</p>`}
    ${isPresenter && html`<${RoomDialog} open=${changing} meeting=${meeting} session=${session} onClose=${changed} />`}
    <${EndDialog} open=${asking} onClose=${() => setAsking(false)} onEnd=${onEnd} />`;
}

const REMOVED = 'Messages, questions and names are removed. Nobody can come back.';

/** The button that ends the room, beside the button `children` that does not; and why the room could not be ended. */
function EndActions({ onEnd, testid, children }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const actions = useRef(null);
  // The button that was pressed may have gone, with the focus, because the room has refused.
  useEffect(() => actions.current.querySelector('button').focus(), []);
  async function end() {
    if (busy) return;
    setBusy(true);
    setProblem(await onEnd());
    setBusy(false);
  }
  return html`${problem && html`<p class="alert" role="alert">${problem}</p>`}
    <div class="actions" ref=${actions}>
      ${children}
      <button type="button" class="button danger" aria-disabled=${disabledIf(busy)} onClick=${end} data-testid=${testid}>End the room</button>
    </div>`;
}

function EndDialog({ open, onClose, onEnd }) {
  return html`<${Dialog} open=${open} title="End the room for everybody?" testid="end-dialog" onClose=${onClose}>
    <p>Everybody leaves at once. ${REMOVED}</p>
    <${EndActions} onEnd=${onEnd} testid="end-confirm"><button type="button" class="button" onClick=${onClose} data-testid="end-cancel">Go on</button><//>
  <//>`;
}

/**
 * The dialog of a presenter who leaves. The server does not let the last one go: `isLast` as far as the page knows, and
 * `isRefused` if the server has said so.
 */
export function LeaveDialog({ open, isLast, isRefused, isLeaving, meeting, onClose, onLeave, onEnd }) {
  const stay = html`<button type="button" class="button" onClick=${onClose} data-testid="leave-cancel">Stay</button>`;
  if (isLast || isRefused) {
    return html`<${Dialog} open=${open} title="The room needs a presenter" testid="leave-dialog" onClose=${onClose}>
      ${isRefused ? html`<${Problem} meeting=${meeting} where="leave" />` : html`<p>You are the only presenter here. Make somebody else a presenter first, or end the room.</p>`}
      <p>When you end the room, everybody leaves at once. ${REMOVED}</p>
      <${EndActions} onEnd=${onEnd} testid="leave-end">${stay}<//>
    <//>`;
  }
  return html`<${Dialog} open=${open} title="Leave without ending the room?" testid="leave-dialog" onClose=${onClose}>
    <p>The room goes on. If you join again, you are no presenter.</p>
    <div class="actions">
      ${stay}
      <button type="button" class="button danger" aria-disabled=${disabledIf(isLeaving)} onClick=${onLeave} data-testid="leave-confirm">${isLeaving ? 'Leaving…' : 'Leave'}</button>
    </div>
  <//>`;
}

/** Raises and lowers this person's hand. */
export function HandButton({ meeting, session }) {
  const isUp = meeting.isHandUp;
  return html`<button type="button" class=${isUp ? 'hand is-up' : 'hand'} aria-pressed=${String(isUp)} aria-disabled=${disabledIf(meeting.busy === 'hand')}
    onClick=${() => session.meeting.raiseHand(!isUp)} data-testid="hand"><${HandIcon} /><span class="hand-word">Raise hand</span></button>`;
}

/** The seat was given away while this page was silent. */
export function SeatLost({ meeting }) {
  if (meeting.isSeated) return null;
  return html`<div class="notice" role="status" data-testid="seat-lost"><p>Your page was silent for a while, so your place was given away, and the room is full. The others do not see you. This page tries to bring you back.</p></div>`;
}

/** The presenter's request to mute. The page has muted already. */
export function MuteRequest({ meeting, session }) {
  if (!meeting.request && meeting.problem?.where !== 'request') return null;
  return html`<div class="notice" role="status" data-testid="mute-request"><p>A presenter asked everybody to mute, so this page has muted you.</p>
    <${Problem} meeting=${meeting} where="request" />
    <div class="notice-actions">
      ${meeting.request?.wasOpen && session.meeting.mayOpen() && html`<button type="button" class="button" onClick=${session.stayUnmuted} data-testid="stay-unmuted">Stay unmuted</button>`}
      <button type="button" class="button quiet" onClick=${() => session.meeting.dismissRequest()} data-testid="mute-request-close">Dismiss</button>
    </div></div>`;
}

/** What a presenter can do about one person. */
export function PersonTools({ state, meeting, session }) {
  const { full: name } = useNames()(state);
  const { role, handRaised, mayUnmute } = state.participant;
  const [asking, setAsking] = useState(false);
  const disabled = disabledIf(meeting.busy);
  const isModerated = meeting.room.settings.moderatedUnmute && role === 'attendee';
  return html`<div class="person-tools" data-testid="person-tools">
    ${isModerated && html`<button type="button" class=${handRaised && !mayUnmute ? 'button small primary' : 'button small'} aria-disabled=${disabled} onClick=${() => session.meeting.allow(state, !mayUnmute)} data-testid="allow">${mayUnmute ? 'Take back permission' : 'Allow to unmute'}<span class="visually-hidden">: ${name}</span></button>`}
    ${handRaised && html`<button type="button" class="button small" aria-disabled=${disabled} onClick=${() => session.meeting.lowerHand(state)} data-testid="lower-hand">Lower hand<span class="visually-hidden">: ${name}</span></button>`}
    ${role === 'attendee' && html`<button type="button" class="button small quiet" aria-disabled=${disabled} onClick=${() => session.meeting.makePresenter(state)} data-testid="make-presenter">Make presenter<span class="visually-hidden">: ${name}</span></button>`}
    <button type="button" class="button small quiet" onClick=${() => setAsking(true)} data-testid="remove" aria-haspopup="dialog">Remove<span class="visually-hidden">: ${name}</span></button>
    <${Problem} meeting=${meeting} where=${state.userId} />
    <${Dialog} open=${asking} title=${`Remove ${name}?`} testid=${`remove-dialog-${state.userId}`} onClose=${() => setAsking(false)}>
      <p>${name} leaves the room at once. With the link, they can join again.</p>
      <div class="actions">
        <button type="button" class="button" onClick=${() => setAsking(false)}>Keep</button>
        <button type="button" class="button danger" onClick=${() => { setAsking(false); session.meeting.remove(state, `${name} was removed.`); }} data-testid="remove-confirm">Remove</button>
      </div>
    <//>
  </div>`;
}
