import { html, render, useEffect, useState } from './vendor/htm-preact.js';
import { createApi } from './api.js';
import { claimUserId, createIdentityStore, holdIdentity, safeStorage } from './identity.js';
import { createMicrophone } from './microphone.js';
import { createSequence } from './seq.js';
import { createSession } from './session.js';
import { createServerClock } from './time.js';
import { roomFromLink, roomSlug } from './text.js';
import { JoinView } from './views/join.js';
import { RoomView } from './views/room.js';

const tabStorage = safeStorage(() => window.sessionStorage);
const browserStorage = safeStorage(() => window.localStorage);
const store = createIdentityStore({ tab: tabStorage, browser: browserStorage });
const nextSeq = createSequence(browserStorage);
const clock = createServerClock();
const api = createApi({ clock });
const linkRoom = roomFromLink(location.search);

let session = null;
let state = { screen: 'join', room: linkRoom, name: store.remembered().name ?? '', problem: null, joining: false, snapshot: null };
let redraw = () => {};
let announce = () => {};

function set(change) {
  state = { ...state, ...change };
  redraw();
}

function enter({ userId, roomId, muted, deviceId, confirmed }) {
  session = createSession({
    api, store, nextSeq, createMicrophone, userId, roomId, muted, deviceId, confirmed,
    onChange: (snapshot) => set({ snapshot }),
    announce: (text) => announce(text),
    isHidden: () => document.hidden, serverNow: clock.now,
  });
  // The address is the invitation, and what a refresh comes back to.
  history.replaceState(null, '', `/?room=${encodeURIComponent(roomId)}`);
  set({ screen: 'room', room: roomId, snapshot: session.snapshot(), problem: null, joining: false });
  session.start();
}

async function join(name, roomText) {
  const roomId = roomText === linkRoom ? linkRoom : roomSlug(roomText);
  set({ joining: true, problem: null });
  try {
    const userId = await claimUserId(name, store.remembered());
    // Muted, always: nobody should be heard because they opened a page.
    const confirmed = await api.putState(userId, { isMuted: true, muteScope: 'app', deviceId: null, deviceLabel: null, roomId, seq: nextSeq() });
    store.remember({ name, userId });
    store.saveSession({ name, userId, roomId, muted: true });
    set({ name });
    enter({ userId, roomId, muted: true, deviceId: store.remembered().deviceId ?? null, confirmed });
    announce(`You joined ${roomId}, muted.`);
  } catch (error) {
    set({ joining: false, problem: describeProblem(error) });
  }
}

function describeProblem(error) {
  if (error.status === 0) return 'The server cannot be reached right now. Check your connection and try again.';
  if (error.status === 429 || error.status === 503) return 'The server is busy. Wait a moment and try again.';
  if (error.status) return `The server refused: ${error.detail}`;
  return 'Something went wrong in this page. Reload it and try again.';
}

async function leave() {
  const leaving = session;
  session = null;
  set({ screen: 'join', snapshot: null, problem: null });
  try {
    await leaving.leave();
    announce('You left the room.');
  } catch {
    set({ problem: 'You left, but the server could not be told. Your last state may stay listed for a while.' });
  }
}

function resume() {
  const saved = store.session();
  // A link to another room is a wish to go there, not to come back here.
  if (!saved || (linkRoom && linkRoom !== saved.roomId)) return;
  holdIdentity(saved.userId);
  state.name = saved.name ?? state.name;
  enter({ userId: saved.userId, roomId: saved.roomId, muted: saved.muted !== false, deviceId: saved.deviceId ?? store.remembered().deviceId ?? null, confirmed: null });
}

// Not a select: who has just chosen another microphone has the focus there, and M must mute all the same.
function isTyping(target) {
  return target instanceof Element && target.closest('input, textarea, [contenteditable]') !== null;
}

window.addEventListener('keydown', (event) => {
  if (!session || event.key.toLowerCase() !== 'm' || event.repeat) return;
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  session.toggle();
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) session?.nudge(); });
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
      : html`<${JoinView} room=${state.room} name=${state.name} problem=${state.problem} joining=${state.joining}
          slugOf=${(text) => (text === linkRoom ? linkRoom : roomSlug(text))} onJoin=${join} />`}
    <div class="visually-hidden" role="status" aria-live="polite" data-testid="announcer">${said}</div>`;
}

resume();
render(html`<${App} />`, document.getElementById('app'));
