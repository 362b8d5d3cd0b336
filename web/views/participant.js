// One person in the list.

import { html, useMemo } from '../vendor/htm-preact.js';
import { formatFor, formatLeft } from '../time.js';
import { Age } from './age.js';
import { AlertIcon, CheckIcon, ClockIcon, HandIcon, MicIcon, MicOffIcon } from './icons.js';
import { Suffix, useNames } from './person.js';

const SENDING = { sending: 'sending…', unsent: 'not sent yet', refused: 'refused by the server' };
/**
 * A mute in the app while the microphone is open in the system: not a contradiction, and not silence, so it looks
 * different.
 */
const HOT = 'app_muted_device_hot';

const left = (ms) => formatLeft(-ms);

/** How long silence has been measured without a break. It is shown because a pause between two words is silent too. */
function Silence({ verdict, clock }) {
  if (verdict.since === null) return null;
  return html`<span data-testid="participant-silence">silent for <${Age} at=${verdict.since} now=${clock.now} format=${formatFor} /></span>`;
}

function tintOf(userId) {
  let sum = 0;
  for (const c of userId) sum = (sum * 31 + c.codePointAt(0)) % 997;
  return sum % 5;
}

const MuteIcon = ({ isMuted }) => (isMuted ? html`<${MicOffIcon} />` : html`<${MicIcon} />`);

/** A claim without a measurement, in a broken outline. */
function ClaimChip({ isMuted, hot }) {
  const look = isMuted ? (hot ? 'chip chip-hot' : 'chip chip-muted') : 'chip chip-live';
  return html`<span class=${look}><${MuteIcon} isMuted=${isMuted} />Says ${isMuted ? 'muted' : 'unmuted'}</span>`;
}

function Verified({ isMuted, verdict, clock }) {
  return html`<span class="chip chip-verified" data-testid="participant-verdict"><${MuteIcon} isMuted=${isMuted} />${verdict.headline}<${CheckIcon} /></span>
    <span class="person-meta">${verdict.short}${verdict.since !== null && html` · <${Silence} verdict=${verdict} clock=${clock} />`} · <span class="age">lapses in <${Age} at=${verdict.expiresAt} now=${clock.now} format=${left} /></span></span>`;
}

function Contradicted({ verdict, self }) {
  return html`<span class="chip chip-contradicted" data-testid="participant-verdict"><${AlertIcon} />${verdict.headline}</span>
    <strong class="person-finding">${verdict.short}</strong>
    ${!self && html`<span class="person-meta">${verdict.means}</span>`}`;
}

function Unverified({ isMuted, verdict, lastUpdated, clock }) {
  const plain = verdict.reason === 'no_agent';
  const lapsed = verdict.reason === 'attestation_expired' && verdict.observedAt !== null;
  const why = lapsed
    ? html`not verified · last measured <${Age} at=${verdict.observedAt} now=${clock.now} />`
    : html`${plain ? 'claimed, not verified' : `not verified · ${verdict.short}`}`;
  return html`<${ClaimChip} isMuted=${isMuted} hot=${verdict.reason === HOT} />
    <span class=${verdict.reason === HOT ? 'person-meta is-hot' : 'person-meta'}>${verdict.value === 'stale' && html`<${ClockIcon} />`}<span data-testid="participant-verdict">${why}</span>${
      verdict.since !== null && html` · <${Silence} verdict=${verdict} clock=${clock} />`}${
      plain && lastUpdated && html` · <${Age} at=${lastUpdated} now=${clock.now} testid="participant-age" />`}</span>`;
}

/** What the person is in a room that somebody created. */
function Standing({ role, handRaised, mayUnmute }) {
  if (role !== 'presenter' && !handRaised && !mayUnmute) return null;
  return html`<p class="person-standing">
    ${role === 'presenter' && html`<span class="badge" data-testid="participant-role">Presenter</span>`}
    ${handRaised && html`<span class="badge is-hand" data-testid="participant-hand"><${HandIcon} />Hand raised</span>`}
    ${mayUnmute && html`<span class="badge" data-testid="participant-permission">May unmute</span>`}
  </p>`;
}

const LOOKS = { verified: Verified, contradicted: Contradicted };

/**
 * One person: their claim, and whether a measurement agrees. `verdict` comes from `describeVerdict`; `standing` is what
 * they are in a created room; `tools` is what a presenter can do about them.
 */
export function Participant({ userId, name = null, isMuted, deviceId, deviceLabel, lastUpdated, verdict, standing = {}, tools = null, self = false, sync = 'sent', clock }) {
  const who = useNames()({ userId, name });
  const Look = LOOKS[verdict.value] ?? Unverified;
  const { role, handRaised, mayUnmute } = standing;
  return useMemo(() => html`<li class=${`person is-${verdict.value}${self ? ' is-self' : ''}`} data-testid="participant" data-user-id=${userId}
      data-muted=${String(isMuted)} data-self=${String(self)} data-sync=${self ? sync : undefined} data-verdict=${verdict.value} data-reason=${verdict.reason}>
    <span class=${`avatar tint-${tintOf(userId)}`} aria-hidden="true">${who.initials}</span>
    <div class="person-text">
      <p class="person-name" title=${name ? `${who.name} (${userId})` : userId}><span class="clamp">${who.name}</span><${Suffix} suffix=${who.suffix} />${self && html`<span class="you">You</span>`}</p>
      <${Standing} role=${role} handRaised=${handRaised} mayUnmute=${mayUnmute} />
      <p class="person-device" data-testid="participant-device" title=${deviceLabel ?? undefined}><span class="clamp">${deviceLabel ?? (deviceId ? 'A microphone without a name' : 'No microphone named')}</span></p>
      <p class="person-claim" data-testid="participant-claim">
        ${sync === 'sent'
          ? html`<${Look} isMuted=${isMuted} verdict=${verdict} lastUpdated=${lastUpdated} self=${self} clock=${clock} />`
          : html`<${ClaimChip} isMuted=${isMuted} /><span class="person-meta pending">${SENDING[sync]}</span>`}
      </p>
      ${tools}
    </div>
  </li>`, [userId, role, handRaised, mayUnmute, tools, name, who.suffix, isMuted, deviceId, deviceLabel, lastUpdated, self, sync, verdict.value, verdict.reason, verdict.observedAt, verdict.expiresAt, verdict.since, verdict.short, verdict.means]);
}
