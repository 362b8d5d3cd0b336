// The mute button and the microphone card.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { isAlias } from '../devices.js';
import { MicIcon, MicOffIcon } from './icons.js';

const SYNC = {
  sent: 'The server has your claim.',
  sending: 'sending…',
  unsent: 'not sent yet',
  refused: 'refused by the server',
};

export function MuteButton({ muted, onToggle }) {
  return html`<button type="button" class=${muted ? 'mute is-muted' : 'mute is-live'} data-testid="mute-toggle" aria-pressed=${String(muted)}
      aria-keyshortcuts="M" aria-describedby="mute-state" onClick=${onToggle}>
    <span class="mute-icon">${muted ? html`<${MicOffIcon} />` : html`<${MicIcon} />`}</span>
    <span class="mute-word">Mute</span>
    <span class="switch" aria-hidden="true"><span class="switch-word">${muted ? 'On' : 'Off'}</span><span class="switch-track"><span class="switch-knob"></span></span></span>
  </button>`;
}

function syncLine(status, refusal, blocked, denied) {
  if (denied) return 'Cannot unmute: a presenter must allow it first. Raise your hand.';
  if (blocked) return 'Cannot unmute: no microphone is open.';
  if (status === 'refused' && refusal) return `Refused by the server: ${refusal.message}`;
  return SYNC[status];
}

export function MuteState({ muted, status, refusal, blocked, denied }) {
  return html`<p class="mute-state" id="mute-state" data-sync=${status} data-testid="mute-state">
    <span class="mute-headline">${muted ? 'You say you are muted' : 'You say you are unmuted'}</span>
    <span class=${status === 'sent' && !blocked && !denied ? 'mute-sync' : 'mute-sync pending'}>${syncLine(status, refusal, blocked, denied)}</span>
  </p>`;
}

/** Writes to the element without the renderer: ten levels a second should not cause ten renderings. */
export function LevelMeter({ mic, active }) {
  const meter = useRef(null);
  const fill = useRef(null);
  useEffect(() => {
    let spoken = 0;
    return mic.onLevel((level) => {
      meter.current.dataset.level = String(level);
      fill.current.style.transform = `scaleX(${level / 100})`;
      const now = performance.now();
      if (now - spoken > 1000) {
        spoken = now;
        meter.current.setAttribute('aria-valuenow', String(level));
      }
    });
  }, [mic]);
  return html`<div ref=${meter} class=${active ? 'meter' : 'meter is-idle'} role="meter" aria-label="Microphone level" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"
      data-testid="level-meter" data-level="0"><div class="meter-track"><div ref=${fill} class="meter-fill"></div></div></div>`;
}

const TROUBLE = {
  asking: ['Waiting for your permission', 'Your browser is asking whether this page may use the microphone.', null],
  denied: ['Microphone blocked', 'Your browser or system does not let this page use the microphone. You can stay in the room, muted. To unmute, allow it in the site settings.', 'Try again'],
  missing: ['No microphone found', 'You can stay in the room, muted. Connect a microphone to unmute.', 'Try again'],
  busy: ['Microphone not available', 'Another program may be holding it. You can stay in the room, muted.', 'Try again'],
  insecure: ['Microphone not available here', 'Browsers open the microphone only on secure (https) pages. You can stay in the room, muted.', null],
  failed: ['Microphone could not be opened', 'You can stay in the room, muted.', 'Try again'],
  off: ['Microphone not open', 'You can stay in the room, muted.', 'Open microphone'],
};

function troubleOf(microphone) {
  if (microphone.status !== 'unplugged') return TROUBLE[microphone.status] ?? null;
  return ['Microphone disconnected', `${microphone.lost ?? 'Your microphone'} is gone, so you are muted. Choose another one, or connect it again.`, 'Try again'];
}

function captionOf(microphone, muted) {
  if (microphone.status !== 'live') return null;
  if (muted) return 'Muted in this app; your microphone may still be open in the system.';
  if (microphone.silenced) return 'Your browser reports that the system is delivering no sound from this microphone.';
  if (microphone.meterPaused) return 'Click anywhere or press a key to start the level meter.';
  return 'Live in this page. The level stays in your browser.';
}

/** The system has moved this page's stream. The page reopens the microphone by itself, and the person can do so too. */
function Moved({ label, isStuck, onReopen }) {
  const text = isStuck
    ? `${label ?? 'This microphone'} was opened again several times, and the system still records from another one. In the system’s sound mixer, set your browser’s recording to ${label ?? 'this microphone'}.`
    : 'The system records from another microphone. This page opens yours again.';
  return html`<div class="trouble" role="status" data-testid="mic-moved" data-stuck=${String(isStuck)}><p>${text}</p>
    <button type="button" class="button" onClick=${onReopen} data-testid="mic-reopen">Open it again</button></div>`;
}

export function MicrophoneCard({ microphone, mic, muted, moved, isStuck, deviceStatus, refusal, onChoose, onReopen, onRetry }) {
  const trouble = troubleOf(microphone);
  const caption = captionOf(microphone, muted);
  const { devices } = microphone;
  const [wanted, setWanted] = useState(null);
  useEffect(() => setWanted(null), [microphone.deviceId, microphone.problem, microphone.status]);
  const selected = wanted ?? microphone.deviceId ?? '';
  const choose = (event) => {
    const deviceId = event.target.value;
    if (!deviceId) return;
    setWanted(deviceId);
    onChoose(deviceId);
  };
  return html`<section class="card mic-card" aria-labelledby="mic-title" data-testid="microphone" data-status=${microphone.status}>
    <h2 id="mic-title" class="card-title">Your microphone</h2>
    <div class="field">
      <label class="visually-hidden" for="device-select">Microphone</label>
      <select id="device-select" data-testid="device-select" value=${selected} onChange=${choose} onFocus=${mic.look} disabled=${devices.length === 0}>
        ${!devices.some((d) => d.deviceId === selected) && html`<option value="" selected>${devices.length ? 'Choose a microphone' : 'No microphone'}</option>`}
        ${devices.map((d) => html`<option key=${d.deviceId} value=${d.deviceId} selected=${d.deviceId === selected}>${d.title}</option>`)}
      </select>
    </div>
    <${LevelMeter} mic=${mic} active=${microphone.status === 'live' && !muted} />
    ${caption && html`<p class="hint" data-testid="mic-caption">${caption}${deviceStatus === 'unsent' ? ' The choice of microphone is not sent yet.' : ''}</p>`}
    ${microphone.status === 'live' && isAlias(microphone.deviceId) && html`<p class="hint" data-testid="mic-alias">Your browser only says that this is the system’s default. Choose your microphone by its name, so that an agent can measure it.</p>`}
    ${microphone.status === 'live' && moved && html`<${Moved} label=${microphone.label} isStuck=${isStuck} onReopen=${onReopen} />`}
    ${refusal && html`<p class="alert" role="alert" data-testid="mic-refused">The server did not accept this microphone’s name: ${refusal.message}</p>`}
    ${microphone.problem && html`<p class="alert" role="alert">That microphone could not be opened. The previous one stays in use.</p>`}
    ${trouble && html`<div class="trouble" role="status" data-testid="mic-trouble">
      <p class="trouble-title">${trouble[0]}</p><p>${trouble[1]}</p>
      ${trouble[2] && html`<button type="button" class="button" onClick=${onRetry}>${trouble[2]}</button>`}
    </div>`}
  </section>`;
}
