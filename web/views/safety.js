import { html } from '../vendor/htm-preact.js';
import { describeUser } from '../identity.js';
import { formatClock } from '../time.js';
import { AlertIcon, QuestionIcon, ShieldIcon } from './icons.js';

const KINDS = { contradicted: ['contradicted', 'Contradicted'], unmuted: ['unmuted', 'Unmuted'], unverified: ['not verified', 'Not verified'] };
/** More names than this would be read by nobody; the cards below have them all. */
const NAMES = 4;

function namesOf(userIds, self) {
  const names = userIds.slice(0, NAMES).map((userId) => {
    if (userId === self) return 'you';
    const { name, tag } = describeUser(userId);
    return userIds.some((other) => other !== userId && describeUser(other).name === name) && tag ? `${name} ${tag}` : name;
  });
  const more = userIds.length - names.length;
  return names.join(', ') + (more ? ` and ${more} more` : '');
}

/** Whether the room can be taken to be silent, and if not, because of whom. */
export function RoomSafety({ safety, self, offline }) {
  if (safety.safe) {
    return html`<div class=${offline ? 'safety is-safe is-stale' : 'safety is-safe'} data-testid="room-safe" data-safe="true"><${ShieldIcon} />
      <p class="safety-line">Everyone muted, verified until <span class="age">${formatClock(safety.expiresAt)}</span></p></div>`;
  }
  const counts = safety.groups.map(({ kind, userIds }) => `${userIds.length} ${KINDS[kind][0]}`).join(', ');
  const contradicted = safety.groups[0]?.kind === 'contradicted';
  return html`<div class=${contradicted ? 'safety is-contradicted' : 'safety'} data-testid="room-safe" data-safe="false">${contradicted ? html`<${AlertIcon} />` : html`<${QuestionIcon} />`}
    <div>
      <p class="safety-line">Not safe to assume silence${counts && `: ${counts}`}</p>
      ${safety.groups.length > 0 && html`<dl class="safety-names">${safety.groups.map(({ kind, userIds }) => html`<div key=${kind}><dt>${KINDS[kind][1]}:</dt>${' '}<dd>${namesOf(userIds, self)}</dd></div>`)}</dl>`}
    </div></div>`;
}
