// The line that says whether the room is safe.

import { html } from '../vendor/htm-preact.js';
import { formatClock } from '../time.js';
import { AlertIcon, QuestionIcon, ShieldIcon } from './icons.js';
import { useNames } from './person.js';

const KINDS = { contradicted: ['contradicted', 'Contradicted'], unmuted: ['unmuted', 'Unmuted'], unverified: ['not verified', 'Not verified'] };
/** How many names are listed. The cards below show everybody. */
const NAMES = 4;

function namesOf(userIds, self, people, nameOf) {
  const fullName = (userId) => nameOf(people.find((person) => person.userId === userId) ?? { userId }).full;
  const names = userIds.slice(0, NAMES).map((userId) => (userId === self ? 'you' : fullName(userId)));
  const more = userIds.length - names.length;
  return names.join(', ') + (more ? ` and ${more} more` : '');
}

/** Says whether the room is safe and, if it is not, because of whom. `people` are the states that this page shows. */
export function RoomSafety({ safety, self, people, offline }) {
  const nameOf = useNames();
  if (safety.safe) {
    return html`<div class=${offline ? 'safety is-safe is-stale' : 'safety is-safe'} data-testid="room-safe" data-safe="true"><${ShieldIcon} />
      <p class="safety-line">Everyone muted, verified until <span class="age">${formatClock(safety.expiresAt)}</span></p></div>`;
  }
  const counts = safety.groups.map(({ kind, userIds }) => `${userIds.length} ${KINDS[kind][0]}`).join(', ');
  const contradicted = safety.groups[0]?.kind === 'contradicted';
  return html`<div class=${contradicted ? 'safety is-contradicted' : 'safety'} data-testid="room-safe" data-safe="false">${contradicted ? html`<${AlertIcon} />` : html`<${QuestionIcon} />`}
    <div>
      <p class="safety-line">Not safe to assume silence${counts && `: ${counts}`}</p>
      ${safety.groups.length > 0 && html`<dl class="safety-names">${safety.groups.map(({ kind, userIds }) => html`<div key=${kind}><dt>${KINDS[kind][1]}:</dt>${' '}<dd>${namesOf(userIds, self, people, nameOf)}</dd></div>`)}</dl>`}
    </div></div>`;
}
