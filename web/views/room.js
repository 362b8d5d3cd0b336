// The room: who is in it, and everything that this person can do there.

import { html, useState } from '../vendor/htm-preact.js';
import { describeProblem } from '../join.js';
import { departureOf } from '../session/meeting.js';
import { steadyNow } from '../time.js';
import { beforeClaim, describeVerdict, isMoved, roomSafety } from '../verdict.js';
import { Age, useExpiry } from './age.js';
import { ChatPanel } from './chat.js';
import { MicrophoneCard, MuteButton, MuteState } from './controls.js';
import { useCopy } from './copy.js';
import { HelpDialog } from './help.js';
import { AlertIcon, Brand, HelpIcon, LeaveIcon, LinkIcon } from './icons.js';
import { HandButton, LeaveDialog, MuteRequest, PersonTools, Problem, SeatLost, Tools, Waiting } from './meeting.js';
import { PairingCard } from './pairing.js';
import { Participant } from './participant.js';
import { Named } from './person.js';
import { QuestionsPanel } from './questions.js';
import { RoomSafety } from './safety.js';

const WORDS = { online: 'Connected', connecting: 'Connecting', reconnecting: 'Reconnecting' };

const LIVE = ['Live', 'Changes in this room arrive as they happen.'];
const POLLED = ['Updated every 1.5 s', 'Changes are not arriving by themselves, so this page asks for them every 1.5 seconds.'];

/** How changes reach this page. It may alternate, so a screen reader finds it here and is told nothing. */
function Updates({ isLive }) {
  const [text, title] = isLive ? LIVE : POLLED;
  return html`<span class=${isLive ? 'updates' : 'updates roomy-only'} title=${title} data-testid="updates" data-live=${String(isLive)}>${text}</span>`;
}

/** `isLive` is null in a room that is always polled. */
export function ConnectionStatus({ connection, isLive }) {
  const isOnline = connection === 'online';
  const updates = isOnline && isLive !== null;
  return html`<span class="connection" data-testid="connection-status" data-state=${isOnline ? 'online' : 'reconnecting'}><span class="connection-dot" aria-hidden="true"></span><span
    class=${updates && isLive ? 'roomy-only' : undefined}>${WORDS[connection]}</span>${updates && html`<${Updates} isLive=${isLive} />`}</span>`;
}

function Banner({ view }) {
  if (view.connection !== 'reconnecting') return null;
  return html`<section class="banner" aria-label="Connection" data-testid="connection-banner">
    <span class="spinner" aria-hidden="true"></span>
    <p><strong>Reconnecting…</strong>${' '}
      ${view.okAt ? html`This page shows the room as it was <${Age} at=${view.okAt} now=${steadyNow} />.` : 'The server has not answered yet.'}
      ${view.error?.status ? html` <span class="banner-why">The server answered: ${view.error.detail}</span>` : ''}</p>
  </section>`;
}

const NOTICES = {
  moved: () => ['You were moved to another room from elsewhere, probably by another tab. You are no longer listed here.', 'Come back to this room'],
  'muted-elsewhere': () => ['You were muted from elsewhere, for instance by another tab. This page has muted too.', null],
  'says-unmuted': () => ['The server lists you as unmuted. Perhaps another tab has sent that claim. This page stays muted.', 'Say muted again'],
};

function Notice({ notice, session }) {
  if (!notice) return null;
  const [text, action] = NOTICES[notice.kind]();
  return html`<div class="notice" role="status" data-testid="notice"><p>${text}</p>
    <div class="notice-actions">
      ${action && html`<button type="button" class="button" onClick=${session.sayAgain}>${action}</button>`}
      <button type="button" class="button quiet" onClick=${session.dismissNotice}>Dismiss</button>
    </div></div>`;
}

function CopyLink() {
  const [copied, copy] = useCopy(() => location.href);
  if (!copy) return null;
  return html`<button type="button" class="button quiet" onClick=${copy} data-testid="copy-link"><${LinkIcon} /><span class="wide-only" aria-live="polite">${copied ? 'Link copied' : 'Copy link'}</span><span class="visually-hidden narrow-name">Copy link</span></button>`;
}

function summaryOf(view) {
  const muted = view.others.filter((o) => o.isMuted).length + (view.muted ? 1 : 0);
  const all = view.others.length + 1;
  const unmuted = all - muted;
  const parts = [];
  if (muted) parts.push(`${muted} ${muted === 1 ? 'says' : 'say'} muted`);
  if (unmuted) parts.push(`${unmuted} ${unmuted === 1 ? 'says' : 'say'} unmuted`);
  return { all, text: parts.join(', ') };
}

/** Explains a contradicted claim to the person it is about. The screen reader has heard it already. */
function OwnContradiction({ verdict }) {
  if (verdict.value !== 'contradicted') return null;
  return html`<section class="contradiction" aria-label="Your claim is contradicted" data-testid="own-contradiction"><${AlertIcon} />
    <div><p class="contradiction-title">Your claim is contradicted: ${verdict.short}</p><p>${verdict.means}</p>${verdict.todo && html`<p><strong>${verdict.todo}</strong></p>`}</div>
  </section>`;
}

function ClaimsNote({ verdicts }) {
  if (verdicts.some(({ value }) => value === 'verified')) {
    return html`<p class="claims-note">A check mark means: measured by an agent on that person’s own machine.</p>`;
  }
  if (verdicts.some(({ value }) => value === 'contradicted')) {
    return html`<p class="claims-note">The list shows what each browser says about itself, and where an agent has measured something else. <strong>Nothing here is verified.</strong></p>`;
  }
  return html`<p class="claims-note">The list shows what each browser says about itself. <strong>Nothing here is verified.</strong></p>`;
}

function TopBar({ connection, isLive, isLeaving, onHelp, onLeave }) {
  return html`<header class="topbar">
    <div class="topbar-inner">
      <${Brand} />
      <${ConnectionStatus} connection=${connection} isLive=${isLive} />
      <div class="topbar-actions">
        <${CopyLink} />
        <button type="button" class="button quiet" onClick=${onHelp} data-testid="help" aria-haspopup="dialog"><${HelpIcon} /><span class="wide-only">What does this mean?</span><span class="visually-hidden narrow-name">What does this mean?</span></button>
        <button type="button" class="button" aria-disabled=${isLeaving ? 'true' : undefined} onClick=${onLeave} data-testid="leave"><${LeaveIcon} />${isLeaving ? 'Leaving…' : 'Leave'}</button>
      </div>
    </div>
  </header>`;
}

/** The column about this person: mute, microphone and agent. */
function Side({ view, session, verdict, isSettled, clock }) {
  return html`<aside class="side" aria-label="You">
    <section class="dock" aria-label="Mute">
      <${MuteState} muted=${view.muted} status=${view.muteStatus} refusal=${view.refusal} blocked=${view.blocked} denied=${view.denied} />
      <div class="dock-row">
        <${MuteButton} muted=${view.muted} onToggle=${session.toggle} />
        ${view.meeting && html`<${HandButton} meeting=${view.meeting} session=${session} />`}
      </div>
      ${view.meeting && html`<${Problem} meeting=${view.meeting} where="hand" />`}
      <p class="shortcut">Press <kbd>M</kbd> to mute and unmute</p>
    </section>
    <${OwnContradiction} verdict=${verdict} />
    ${view.meeting && html`<${SeatLost} meeting=${view.meeting} />`}
    ${view.meeting && html`<${MuteRequest} meeting=${view.meeting} session=${session} />`}
    <${Notice} notice=${view.notice} session=${session} />
    <${MicrophoneCard} microphone=${view.microphone} mic=${session.mic} muted=${view.muted} deviceStatus=${view.deviceStatus} refusal=${view.deviceRefusal}
      moved=${view.own !== null && isMoved(view.own, verdict)} isStuck=${view.isStuck} onReopen=${session.reopenMicrophone}
      onChoose=${session.chooseDevice} onRetry=${session.startMicrophone} />
    <${PairingCard} view=${view} own=${view.own} verdict=${verdict} settled=${isSettled} session=${session} clock=${clock} />
  </aside>`;
}

/** `people` are the states that are shown, this person's first, each with its verdict. */
function People({ view, people, isStale, session, clock }) {
  const { meeting } = view;
  const isPresenter = meeting?.role === 'presenter';
  return html`<section class="people-section" aria-label="People">
    ${isPresenter && html`<${Waiting} meeting=${meeting} session=${session} />`}
    <ul class=${isStale ? 'people is-stale' : 'people'} data-testid="people" role="list">
      ${people.map(({ state, verdict }, i) => html`<${Participant} key=${state.userId} userId=${state.userId} name=${state.name} isMuted=${state.isMuted} deviceId=${state.deviceId} deviceLabel=${state.deviceLabel}
        lastUpdated=${state.lastUpdated} verdict=${verdict} standing=${state.participant}
        tools=${isPresenter && i > 0 && state.participant ? html`<${PersonTools} state=${state} meeting=${meeting} session=${session} />` : null} self=${i === 0} sync=${i === 0 ? view.muteStatus : 'sent'} clock=${clock} />`)}
    </ul>
    ${view.loaded && view.others.length === 0 && html`<div class="empty" data-testid="empty-room">
      <p class="empty-title">${isStale ? 'You were the only one here' : 'You are the only one here'}</p>
      <p>Send the link to this room to the people you are expecting. They appear here as soon as they join${meeting?.room.settings.lobby ? ' and you let them in' : ''}.</p>
    </div>`}
    ${!view.loaded && !isStale && html`<p class="hint">Loading the list of people…</p>`}
    ${view.truncated && html`<p class="hint">This room is larger than this page can list. Not everyone is shown.</p>`}
  </section>`;
}

/** This person's state as the page claims it. Until the server has that claim, its verdict is about an earlier one. */
function selfOf(view, isSettled) {
  return {
    ...view.own, userId: view.userId, name: view.name ?? view.own?.name ?? null, isMuted: view.muted,
    deviceId: view.device.deviceId, deviceLabel: view.device.label,
    verdict: isSettled ? view.own.verdict : { mute: beforeClaim(view.own?.verdict?.mute) },
  };
}

/** Says it if the server does not check who acts for whom. Rooms that nobody created exist only there. */
function OpenNote({ meeting, isOpen }) {
  if (meeting && !isOpen) return null;
  return html`<p class="claims-note" data-testid="open-note">${meeting
    ? 'This server runs in open mode: whoever learns a person’s id may act for them.'
    : 'Nobody is checked in this room: anybody may join it, and act for anybody.'}</p>`;
}

/** `isOpen`: the server is known to run in open mode. */
export function RoomView({ view, session, clock, isOpen, onLeave, onEnd }) {
  const [help, setHelp] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const [panel, setPanel] = useState(null);
  const { meeting } = view;
  const { mustAsk, isLast, isRefused } = departureOf(view);
  // A presenter may switch chat or questions off while they are shown.
  const shown = meeting?.room.settings[panel] ? panel : null;
  const close = () => {
    setPanel(null);
    document.querySelector(`[data-testid=${panel}-toggle]`)?.focus();
  };
  const stay = () => {
    setLeaving(false);
    if (isRefused) session.meeting.dismissProblem();
  };
  const end = () => onEnd().then(() => null, describeProblem);
  const now = clock.now();
  const isSettled = view.muteStatus === 'sent' && view.deviceStatus === 'sent' && view.own?.isMuted === view.muted;
  const isStale = view.connection === 'reconnecting';
  const people = [selfOf(view, isSettled), ...view.others].map((state) => ({ state, verdict: describeVerdict(state, now) }));
  const verdicts = people.map((person) => person.verdict);
  const safety = roomSafety(view.safety, people.map(({ state, verdict }) => ({ userId: state.userId, isMuted: state.isMuted, value: verdict.value })), now);
  useExpiry([...verdicts.map((verdict) => verdict.expiresAt), safety.expiresAt, view.pairing.code?.expiresAt].filter(Number.isFinite), now, clock.now);
  const summary = summaryOf(view);
  return html`<${Named} view=${view}><div class="room">
    <${TopBar} connection=${view.connection} isLive=${meeting && view.isLive} isLeaving=${view.isLeaving} onHelp=${() => setHelp(true)} onLeave=${mustAsk ? () => setLeaving(true) : onLeave} />
    <${Banner} view=${view} />
    <main class=${shown ? 'layout has-panel' : 'layout'}>
      <div class="heading">
        <h1 data-testid="room-title" title=${view.roomId}>${meeting?.room.title ?? view.roomId}</h1>
        <p class="summary"><strong>${summary.all} ${summary.all === 1 ? 'person' : 'people'}</strong>${' · '}${summary.text}</p>
        ${view.loaded && html`<${RoomSafety} safety=${safety} self=${view.userId} people=${people.map(({ state }) => state)} offline=${isStale} />`}
        <${ClaimsNote} verdicts=${verdicts} />
        <${OpenNote} meeting=${meeting} isOpen=${isOpen} />
        ${meeting && html`<${Tools} view=${view} session=${session} people=${people} panel=${shown} onPanel=${setPanel} onEnd=${end} />`}
      </div>
      ${shown === 'chat' && html`<${ChatPanel} view=${view} session=${session} onClose=${close} />`}
      ${shown === 'questions' && html`<${QuestionsPanel} view=${view} session=${session} onClose=${close} />`}
      <${Side} view=${view} session=${session} verdict=${verdicts[0]} isSettled=${isSettled} clock=${clock} />
      <${People} view=${view} people=${people} isStale=${isStale} session=${session} clock=${clock} />
    </main>
    ${meeting && html`<${LeaveDialog} open=${leaving || isRefused} isLast=${isLast} isRefused=${isRefused} isLeaving=${view.isLeaving} meeting=${meeting} onClose=${stay} onLeave=${onLeave} onEnd=${end} />`}
    <${HelpDialog} open=${help} onClose=${() => setHelp(false)} />
  </div><//>`;
}
