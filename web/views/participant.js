import { html, useMemo } from '../vendor/htm-preact.js';
import { describeUser } from '../identity.js';
import { Age } from './age.js';
import { MicIcon, MicOffIcon } from './icons.js';

const SENDING = { sending: 'sending…', unsent: 'not sent yet', refused: 'refused by the server' };

function tintOf(userId) {
  let sum = 0;
  for (const c of userId) sum = (sum * 31 + c.codePointAt(0)) % 997;
  return sum % 5;
}

/** A claim and nothing more: the verdict of this release is always "unverified", so it says so. */
export function Participant({ userId, isMuted, deviceLabel, lastUpdated, self = false, sync = 'sent', clock }) {
  const who = describeUser(userId);
  return useMemo(() => html`<li class=${self ? 'person is-self' : 'person'} data-testid="participant" data-user-id=${userId}
      data-muted=${String(isMuted)} data-self=${String(self)} data-sync=${self ? sync : undefined}>
    <span class=${`avatar tint-${tintOf(userId)}`} aria-hidden="true">${who.initials}</span>
    <div class="person-text">
      <p class="person-name" title=${userId}><span class="clamp">${who.name}</span>${who.tag && html`<span class="tag">${who.tag}</span>`}${self && html`<span class="you">You</span>`}</p>
      <p class="person-device" data-testid="participant-device" title=${deviceLabel ?? undefined}><span class="clamp">${deviceLabel ?? 'No microphone named'}</span></p>
      <p class="person-claim" data-testid="participant-claim">
        <span class=${isMuted ? 'chip chip-muted' : 'chip chip-live'}>${isMuted ? html`<${MicOffIcon} />Says muted` : html`<${MicIcon} />Says unmuted`}</span>
        ${sync === 'sent'
          ? html`<span class="person-meta">claimed, not verified${lastUpdated && html` · <${Age} at=${lastUpdated} now=${clock.now} testid="participant-age" />`}</span>`
          : html`<span class="person-meta pending">${SENDING[sync]}</span>`}
      </p>
    </div>
  </li>`, [userId, isMuted, deviceLabel, lastUpdated, self, sync]);
}
