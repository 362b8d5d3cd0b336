// The page: creates what all screens share, shows the join form or the room, and passes the browser's events on.

import { html, render, useEffect, useState } from './vendor/htm-preact.js';
import { createApi } from './api.js';
import { claimUserId, createIdentityStore, isAlone, makeLease, safeStorage } from './identity.js';
import { describeProblem, fieldOf, putClaim } from './join.js';
import { createMicrophone } from './microphone.js';
import { createSequence } from './seq.js';
import { createSession } from './session.js';
import { isMuteKey } from './shortcut.js';
import { createServerClock } from './time.js';
import { cleanName, roomFromLink, roomSlug } from './text.js';
import { JoinView } from './views/join.js';
import { RoomView } from './views/room.js';
import { createWitnessStore } from './witness-store.js';

const tabStorage = safeStorage(() => window.sessionStorage);
const browserStorage = safeStorage(() => window.localStorage);
const store = createIdentityStore({ tab: tabStorage, browser: browserStorage });
const witnessStore = createWitnessStore(browserStorage);
const clock = createServerClock();
const nextSeq = createSequence(browserStorage, clock.now);
const api = createApi({ clock });
const lease = makeLease();
const linkRoom = roomFromLink(location.search);

let session = null;
/** The end of the last stay. A new stay of the same person must not begin before it: its state would be removed. */
let departure = Promise.resolve();
let state = { screen: 'join', room: linkRoom, name: store.remembered().name ?? '', problem: null, field: null, joining: false, snapshot: null };
let redraw = () => {};
let announce = () => {};

function set(change) {
  state = { ...state, ...change };
  redraw();
}

function enter({ userId, name, roomId, deviceId, confirmed }) {
  session = createSession({
    api, store, witnessStore, nextSeq, createMicrophone, userId, name, lease, roomId, deviceId, confirmed,
    onChange: (snapshot) => set({ snapshot }),
    announce: (text) => announce(text),
    isHidden: () => document.hidden, serverNow: clock.now,
  });
  // The address is the invitation to this room, and a refresh comes back to it.
  history.replaceState(null, '', `/?room=${encodeURIComponent(roomId)}`);
  set({ screen: 'room', room: roomId, snapshot: session.snapshot(), problem: null, field: null, joining: false });
  session.start();
}

async function join(typedName, roomText) {
  const roomId = roomText === linkRoom ? linkRoom : roomSlug(roomText);
  const name = cleanName(typedName);
  set({ joining: true, problem: null, field: null });
  try {
    await departure.catch(() => {});
    const userId = await claimUserId(name, store.remembered());
    // Always muted: nobody should be heard because they opened a page.
    const confirmed = await putClaim({ api, nextSeq }, userId, { isMuted: true, muteScope: 'app', deviceId: null, deviceLabel: null, roomId, name, lease });
    store.remember({ name, userId });
    store.saveSession({ name, userId, roomId });
    set({ name });
    enter({ userId, name, roomId, deviceId: store.remembered().deviceId ?? null, confirmed });
    announce(`You joined ${roomId}, muted.`);
  } catch (error) {
    set({ joining: false, problem: describeProblem(error), field: fieldOf(error) });
  }
}

async function leave() {
  const leaving = session;
  session = null;
  set({ screen: 'join', snapshot: null, problem: null });
  try {
    departure = leaving.leave();
    await departure;
    announce('You left the room.');
  } catch {
    set({ problem: 'You left, but the server could not be told. Your last state may stay listed for a while.' });
  }
}

async function resume() {
  const saved = store.session();
  // A link to another room means that the person wants to go there, not back.
  if (!saved || (linkRoom && linkRoom !== saved.roomId)) return;
  // A duplicated tab has a copy of the first tab's session. It must join as another person.
  if (!await isAlone(saved.userId)) { store.endSession(); return; }
  state.name = cleanName(saved.name) || state.name;
  enter({ userId: saved.userId, name: state.name || null, roomId: saved.roomId, deviceId: saved.deviceId ?? store.remembered().deviceId ?? null, confirmed: null });
}

// A select does not count: it keeps the focus after a person has chosen a microphone, and M must still mute then.
function isTyping(target) {
  return target instanceof Element && target.closest('input, textarea, [contenteditable]') !== null;
}

window.addEventListener('keydown', (event) => {
  if (!session || event.repeat || !isMuteKey(event)) return;
  if (isTyping(event.target) || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  session.toggle();
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) session?.nudge(); });
window.addEventListener('pagehide', () => session?.away());
window.addEventListener('pageshow', (event) => { if (event.persisted) session?.back(); });
window.addEventListener('online', () => session?.nudge());

function App() {
  const [, force] = useState(0);
  const [said, say] = useState('');
  useEffect(() => {
    redraw = () => force((n) => n + 1);
    announce = say;
    redraw();
  }, []);
  useEffect(() => {
    const { snapshot } = state;
    document.title = snapshot ? `${snapshot.muted ? '' : '● '}${snapshot.roomId} · Greenroom` : 'Greenroom';
  });
  return html`
    ${state.screen === 'room' && state.snapshot && session
      ? html`<${RoomView} view=${state.snapshot} session=${session} clock=${clock} onLeave=${leave} />`
      : html`<${JoinView} room=${state.room} name=${state.name} problem=${state.problem} field=${state.field} joining=${state.joining}
          slugOf=${(text) => (text === linkRoom ? linkRoom : roomSlug(text))} onJoin=${join} />`}
    <div class="visually-hidden" role="status" aria-live="polite" data-testid="announcer">${said}</div>`;
}

await resume();
render(html`<${App} />`, document.getElementById('app'));
