// The card for pairing the agent.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { formatCountdown, pairingCommand, pairingStage } from '../pairing.js';
import { bindingQuestion } from '../verdict.js';
import { formatClock, formatFor } from '../time.js';
import { Age, useSeconds } from './age.js';
import { useCopy } from './copy.js';
import { CheckIcon, CopyIcon } from './icons.js';

const STATUS = { none: 'no agent', expired: 'no agent', code: 'waiting', idle: 'not measuring', paired: 'agent paired', revoked: 'agent stopped' };

function CopyButton({ text }) {
  const [copied, copy] = useCopy(() => text);
  if (!copy) return null;
  return html`<button type="button" class="button" onClick=${copy} data-testid="pairing-copy">${copied ? html`<${CheckIcon} />` : html`<${CopyIcon} />`}<span aria-live="polite">${copied ? 'Copied' : 'Copy command'}</span></button>`;
}

function Countdown({ expiresAt, clock }) {
  useSeconds();
  return html`<span class="age" role="timer">${formatCountdown(expiresAt - clock.now())}</span>`;
}

function Code({ code, userId, clock, onCancel }) {
  const command = pairingCommand(location.origin, userId, code.text);
  return html`
    <p class="hint">Run this on the machine that your microphone is connected to:</p>
    <p class="pairing-command"><code data-testid="pairing-command">${command}</code></p>
    <p class="pairing-code"><span class="hint">Code</span><code data-testid="pairing-code">${code.text}</code></p>
    <p class="hint">It can be used once, within <${Countdown} expiresAt=${code.expiresAt} clock=${clock} />. Do not show it to anybody: with it, another person’s agent could measure in your place.</p>
    <div class="actions"><${CopyButton} text=${command} /><button type="button" class="button quiet" onClick=${onCancel} data-testid="pairing-cancel">Cancel</button></div>`;
}

function Offer({ question, busy, onAccept }) {
  return html`<div class="offer" data-testid="binding-offer">
    <p>The agent measures <strong>${question.label}</strong>. Is that the microphone you use here?</p>
    <button type="button" class="button primary" aria-disabled=${busy ? 'true' : undefined} onClick=${onAccept} data-testid="binding-accept">Yes, the same one</button>
    <p class="hint">If not, choose the right microphone above.</p>
  </div>`;
}

function Silence({ since, clock }) {
  return html`<dt>Silent</dt><dd data-testid="pairing-silence">for <${Age} at=${since} now=${clock.now} format=${formatFor} />, since ${formatClock(since)}</dd>`;
}

function Paired({ agent, verdict, question, busy, session, clock }) {
  const [asking, setAsking] = useState(false);
  const keep = useRef(null);
  useEffect(() => { if (asking) keep.current.focus(); }, [asking]);
  const unsettled = verdict.value === 'stale' || verdict.value === 'unverified';
  return html`
    <dl class="facts"><dt>Measures</dt><dd data-testid="pairing-device">${agent.deviceLabel ?? 'nothing yet'}</dd>
      ${verdict.since !== null && html`<${Silence} since=${verdict.since} clock=${clock} />`}</dl>
    ${question
      ? html`<${Offer} question=${question} busy=${busy} onAccept=${() => session.bind(question)} />`
      : unsettled && html`<p class="hint" data-testid="pairing-advice">${verdict.means} ${verdict.todo}</p>`}
    ${asking
      ? html`<div class="offer" role="group" aria-label="Stop the agent"><p>The agent stops, and nobody can see a measurement of your microphone any more. If you only leave the room, the agent waits until you join again.</p>
          <div class="actions"><button type="button" class="button danger" aria-disabled=${busy ? 'true' : undefined} onClick=${session.stopAgent} data-testid="pairing-stop-confirm">Stop the agent</button>
          <button type="button" class="button" ref=${keep} onClick=${() => setAsking(false)}>Keep</button></div></div>`
      : html`<div class="actions"><button type="button" class="button" onClick=${() => setAsking(true)} data-testid="pairing-stop">Stop the agent</button></div>`}`;
}

const INTRO = {
  none: 'A small program on your machine can measure whether your microphone is as you say, and tell the room. It sends “silent” or “sound”, never a level and never what is heard.',
  expired: 'The code has expired. No agent was paired.',
  revoked: 'The agent was stopped, so nobody measures your microphone now.',
};

function Start({ stage, busy, session }) {
  return html`<p class="hint">${INTRO[stage]}</p>
    <div class="actions"><button type="button" class="button" aria-disabled=${busy ? 'true' : undefined} onClick=${session.startPairing} data-testid="pairing-start">Verify with the agent</button></div>`;
}

/** The agent of this browser measures for nobody, or for another id of this person, for instance in another tab. */
function Idle({ busy, session }) {
  const disabled = busy ? 'true' : undefined;
  return html`<p class="hint" data-testid="pairing-idle">Your agent is paired with this browser, but it does not measure here. Perhaps it measures in another tab.</p>
    <div class="actions"><button type="button" class="button" aria-disabled=${disabled} onClick=${session.attachAgent} data-testid="pairing-attach">Measure here</button>
      <button type="button" class="button quiet" aria-disabled=${disabled} onClick=${session.startPairing} data-testid="pairing-start">Pair another agent</button>
      <button type="button" class="button quiet" onClick=${session.forgetAgent} data-testid="pairing-forget">Forget this agent</button></div>`;
}

/**
 * `own` is this person's state, `verdict` its verdict at this moment, `settled` whether the server has the page's
 * newest claim.
 */
export function PairingCard({ view, own, verdict, settled, session, clock }) {
  const card = useRef(null);
  const stage = pairingStage(view.pairing, view.agent, clock.now());
  const asked = settled && stage === 'paired' ? bindingQuestion(own, clock.now()) : null;
  const question = asked && view.pairing.bound !== `${asked.deviceId} ${asked.agentDeviceId}` ? asked : null;
  // On a narrow screen the people come after this card, so the card starts closed there.
  const [open, setOpen] = useState(() => !globalThis.matchMedia?.('(max-width: 760px)').matches);
  const urgent = stage === 'code' || question !== null;
  useEffect(() => { if (urgent) setOpen(true); }, [urgent]);

  // A change of stage removes the pressed button. The focus moves to the summary, so that the keyboard stays in this
  // card.
  const inside = card.current?.contains(document.activeElement) ?? false;
  useEffect(() => { if (inside && document.activeElement === document.body) card.current.querySelector('summary').focus(); });

  return html`<section class="card pairing" ref=${card} aria-labelledby="pairing-title" data-testid="pairing" data-stage=${stage}>
    <details open=${open} onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><h2 id="pairing-title" class="card-title">Verification</h2><span class="pairing-status">${STATUS[stage]}</span></summary>
      <div class="pairing-body">
        ${stage === 'code' && html`<${Code} code=${view.pairing.code} userId=${view.userId} clock=${clock} onCancel=${session.cancelPairing} />`}
        ${stage === 'paired' && html`<${Paired} key=${view.agent.agentId} agent=${view.agent} verdict=${verdict} question=${question} busy=${view.pairing.busy} session=${session} clock=${clock} />`}
        ${stage === 'idle' && html`<${Idle} busy=${view.pairing.busy} session=${session} />`}
        ${INTRO[stage] && html`<${Start} stage=${stage} busy=${view.pairing.busy} session=${session} />`}
        ${view.pairing.problem && html`<p class="alert" role="alert">${view.pairing.problem}</p>`}
      </div>
    </details>
  </section>`;
}
