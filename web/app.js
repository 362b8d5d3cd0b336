// The page: creates what all screens share, shows the screen that is due, and passes the browser's events on.

import { html, render, useEffect, useState } from './vendor/htm-preact.js';
import { createApi } from './api.js';
import { createLobby, createOnce, createRoom, joinRoom, lookUp, whyOver } from './entrance.js';
import { claimUserId, createIdentityStore, isAlone, makeLease, safeStorage } from './identity.js';
import { describeProblem, fieldOf, putClaim } from './join.js';
import { createMicrophone } from './microphone.js';
import { createSequence } from './seq.js';
import { createSession } from './session.js';
import { isMuteKey } from './shortcut.js';
import { socketUrl } from './socket.js';
import { createTicketStore } from './tickets.js';
import { createServerClock } from './time.js';
import { cleanName, readingsOf, roomFromLink, roomFromText } from './text.js';
import { GateView, LobbyView, LookingView, OverView } from './views/gate.js';
import { HomeView } from './views/join.js';
import { RoomView } from './views/room.js';
import { createWitnessStore } from './witness-store.js';

const tabStorage = safeStorage(() => window.sessionStorage);
const browserStorage = safeStorage(() => window.localStorage);
const store = createIdentityStore({ tab: tabStorage, browser: browserStorage });
const tickets = createTicketStore(tabStorage);
const witnessStore = createWitnessStore(browserStorage);
const clock = createServerClock();
const nextSeq = createSequence(browserStorage, clock.now);
const api = createApi({ clock });
const lease = makeLease();
const once = createOnce();
const isHidden = () => document.hidden;

/** The room of the address. */
let link = roomFromLink(location.search);
let session = null;
let lobby = null;
/** The end of the last stay. A new stay of the same person must not begin before it: its state would be removed. */
let departure = Promise.resolve();
let state = {
  screen: 'home', tab: 'join', room: link, name: store.remembered().name ?? '', problem: null, field: null, busy: false, snapshot: null,
  teaser: null, connection: 'connecting', over: null, isOpen: false,
};
let redraw = () => {};
let announce = () => {};

function set(change) {
  state = { ...state, ...change };
  redraw();
}

/** Shows a screen from its top, without what the last one complained about. */
function show(screen, change = {}) {
  if (screen !== state.screen) scrollTo(0, 0);
  set({ screen, problem: null, field: null, busy: false, ...change });
}

const fail = (error) => set({ busy: false, problem: describeProblem(error), field: fieldOf(error) });

/** The address is the invitation to this room, and a refresh comes back to it. */
function setLink(room) {
  link = room;
  history.replaceState(null, '', room ? `/?room=${encodeURIComponent(room)}` : '/');
}

const slugOf = (text) => (text === link ? link : roomFromText(text));

function begin(options) {
  session = createSession({
    witnessStore, nextSeq, createMicrophone, lease, isHidden, serverNow: clock.now,
    onChange: (snapshot) => set({ snapshot }),
    announce: (text) => announce(text),
    ...options,
  });
  show('room', { room: link, snapshot: session.snapshot() });
  session.start();
}

// Rooms that nobody created.

function enter({ userId, name, roomId, deviceId, confirmed }) {
  setLink(roomId);
  begin({ api, store, userId, name, roomId, deviceId, confirmed });
}

async function joinImplicit(name, roomId) {
  await departure.catch(() => {});
  const userId = await claimUserId(name, store.remembered());
  // Always muted: nobody should be heard because they opened a page.
  const confirmed = await putClaim({ api, nextSeq }, userId, { isMuted: true, muteScope: 'app', deviceId: null, deviceLabel: null, roomId, name, lease });
  store.remember({ name, userId });
  store.saveSession({ name, userId, roomId });
  enter({ userId, name, roomId, deviceId: store.remembered().deviceId ?? null, confirmed });
  announce(`You joined ${roomId}, muted.`);
}

// Rooms that somebody created.

const participantApi = (ticket) => createApi({ clock, token: ticket.token });

async function showOver(ticket, error) {
  tickets.drop(ticket.roomId);
  // From here on no key and no press reaches the microphone.
  lobby = null;
  session = null;
  show('looking', { snapshot: null });
  const kind = await whyOver(api, ticket.roomId, error);
  show('over', { over: { kind: kind === 'removed' && ticket.isWaiting ? 'turned-away' : kind, title: ticket.room.title, link: ticket.slug } });
}

function enterMeeting(ticket) {
  setLink(ticket.slug);
  learnMode();
  const { roomId, participantId, name, role, room, token, wsUrl } = ticket;
  begin({
    api: participantApi(ticket), userId: participantId, name, roomId, meeting: { room, role },
    socket: 'WebSocket' in window ? { url: socketUrl(wsUrl, location), token } : null,
    deviceId: ticket.deviceId ?? store.remembered().deviceId ?? null,
    store: { ...store, updateSession: (change) => tickets.update(roomId, change), endSession: () => tickets.drop(roomId) },
    // The room may have another title by now.
    onOver: (error) => showOver({ ...ticket, isWaiting: false, room: session.snapshot().meeting.room }, error),
  });
}

function waitOutside(ticket) {
  setLink(ticket.slug);
  lobby = createLobby({
    api: participantApi(ticket), roomId: ticket.roomId, participantId: ticket.participantId, lease, isHidden,
    onAdmitted: () => {
      lobby = null;
      const admitted = { ...ticket, isWaiting: false };
      tickets.save(admitted);
      enterMeeting(admitted);
      announce(`You were let in to ${ticket.room.title}, muted.`);
    },
    onOver: (error) => showOver(ticket, error),
    onChange: (connection) => set({ connection }),
  });
  show('lobby', { connection: 'connecting', over: { title: ticket.room.title, link: ticket.slug } });
  lobby.start();
}

/** Asks once whether this server checks who acts for whom. */
function learnMode() {
  if (state.isOpen) return;
  api.authMode().then((mode) => set({ isOpen: mode === 'open' }), () => {});
}

/** Takes the ticket of a room that was created or joined a moment ago. */
async function use({ ticket: bare, room }) {
  const ticket = { ...bare, room };
  store.remember({ name: ticket.name });
  tickets.save(ticket);
  // A duplicated tab finds this lock taken, and joins as another person.
  await isAlone(ticket.participantId);
  set({ name: ticket.name });
  if (ticket.isWaiting) waitOutside(ticket);
  else enterMeeting(ticket);
}

async function create(wanted) {
  set({ busy: true, problem: null, field: null });
  try {
    const created = await createRoom(api, once, wanted);
    await use(created);
    announce(`The room ${created.room.title} is open. You are its presenter, muted.`);
  } catch (error) {
    fail(error);
  }
}

async function joinCreated({ name, password }) {
  set({ busy: true, problem: null, field: null });
  try {
    const joined = await joinRoom(api, once, link, { name, password });
    await use(joined);
    announce(joined.ticket.isWaiting ? 'You wait to be let in.' : `You joined ${joined.room.title}, muted.`);
  } catch (error) {
    fail(error);
  }
}

function showGate(found) {
  setLink(found.link);
  if (found.room.isActive) show('gate', { teaser: found.room });
  else show('over', { over: { kind: 'ended', title: found.room.title, link: found.link } });
}

const NO_ROOM = 'There is no such room. Check the link, or create a room.';
const STRICT = 'There is no such room. This server has only rooms that somebody created: paste the link that you were sent.';

/** The first screen, with a room that was not found. */
function showNone({ isStrict }) {
  show('home', { tab: 'join', problem: isStrict ? STRICT : NO_ROOM, field: 'room' });
}

/** The person has filled in the form of the first screen. */
async function join(typedName, roomText) {
  const name = cleanName(typedName);
  set({ busy: true, problem: null, field: null, name, room: roomText });
  try {
    const found = await lookUp(api, readingsOf(slugOf(roomText)));
    if (found.kind === 'none') showNone(found);
    else if (found.kind === 'implicit') await joinImplicit(name, found.link);
    else showGate(found);
    if (state.screen === 'gate' && !found.room.hasPassword) await joinCreated({ name, password: '' });
  } catch (error) {
    fail(error);
  }
}

/** The page was opened by a link. */
async function openLink() {
  show('looking', { over: null });
  try {
    const found = await lookUp(api, readingsOf(link));
    if (found.kind === 'created') showGate(found);
    else if (found.kind === 'implicit') show('home', { tab: 'join', room: found.link });
    else showNone(found);
  } catch (error) {
    show('home', { tab: 'join' });
    fail(error);
  }
}

function goElsewhere() {
  setLink('');
  show('home', { tab: 'join', room: '', over: null });
}

const UNTOLD = 'You left, but the server could not be told. Your last state may stay listed for a while.';

/** A created room is asked first, because it does not let its last presenter go. The session shows that by itself. */
async function leaveCreated(leaving, title) {
  let problem = null;
  try {
    if (!await leaving.leave()) return;
  } catch {
    problem = UNTOLD;
  }
  // The room has ended meanwhile.
  if (session !== leaving) return;
  session = null;
  show('over', { snapshot: null, over: { kind: 'left', title, link }, problem });
  if (!problem) announce('You left the room.');
}

async function leave() {
  const leaving = session;
  const { meeting } = leaving.snapshot();
  if (meeting) {
    await leaveCreated(leaving, meeting.room.title);
    return;
  }
  session = null;
  show('home', { tab: 'join', snapshot: null });
  try {
    departure = leaving.leave();
    await departure;
    announce('You left the room.');
  } catch {
    set({ problem: UNTOLD });
  }
}

/** The presenter ends the room. Rejects if the server refuses. */
async function end() {
  const { meeting, userId, roomId } = session.snapshot();
  const { room } = meeting;
  const stats = await session.end();
  session = null;
  // A refresh shows what happened once more.
  tickets.save({ roomId, slug: room.slug, participantId: userId, stats, room });
  show('over', { snapshot: null, over: { kind: 'ended', title: room.title, link: room.slug, stats } });
  announce('The room has ended.');
}

async function stopWaiting() {
  const waiting = lobby;
  if (!waiting) return;
  lobby = null;
  tickets.drop(tickets.find(link)?.roomId);
  show('over', { over: { ...state.over, kind: 'left' } });
  await waiting.leave().catch(() => {});
}

async function resumeTicket(ticket) {
  if (ticket.stats) {
    show('over', { over: { kind: 'ended', title: ticket.room.title, link: ticket.slug, stats: ticket.stats } });
    return true;
  }
  if (!await isAlone(ticket.participantId)) {
    tickets.drop(ticket.roomId);
    return false;
  }
  state.name = cleanName(ticket.name) || state.name;
  if (ticket.isWaiting) waitOutside(ticket);
  else enterMeeting(ticket);
  return true;
}

/** Comes back to the room that this tab was in. Resolves to whether there is one. */
async function resume() {
  const ticket = link ? tickets.find(link) : null;
  if (ticket) return resumeTicket(ticket);
  const saved = store.session();
  // A link to another room means that the person wants to go there, not back.
  if (!saved || (link && link !== saved.roomId)) return false;
  // A duplicated tab has a copy of the first tab's session. It must join as another person.
  if (!await isAlone(saved.userId)) { store.endSession(); return false; }
  state.name = cleanName(saved.name) || state.name;
  enter({ userId: saved.userId, name: state.name || null, roomId: saved.roomId, deviceId: saved.deviceId ?? store.remembered().deviceId ?? null, confirmed: null });
  return true;
}

// A select or a check box does not count: a select keeps the focus after a person has chosen a microphone, and M must still mute then.
function isTyping(target) {
  return target instanceof Element && target.closest('input:not([type=checkbox]), textarea, [contenteditable]') !== null;
}

window.addEventListener('keydown', (event) => {
  if (!session || event.repeat || !isMuteKey(event)) return;
  if (isTyping(event.target) || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  session.toggle();
});
const stay = () => session ?? lobby;
document.addEventListener('visibilitychange', () => { if (!document.hidden) stay()?.nudge(); });
window.addEventListener('pagehide', () => stay()?.away());
window.addEventListener('pageshow', (event) => { if (event.persisted) stay()?.back(); });
window.addEventListener('online', () => stay()?.nudge());
window.addEventListener('offline', () => session?.offline());

const SCREENS = {
  home: () => html`<${HomeView} tab=${state.tab} room=${state.room} name=${state.name} problem=${state.problem} field=${state.field} busy=${state.busy} slugOf=${slugOf}
    onTab=${(tab) => show('home', { tab })} onJoin=${join} onCreate=${create} />`,
  looking: () => html`<${LookingView} />`,
  gate: () => html`<${GateView} key=${link} room=${state.teaser} name=${state.name} problem=${state.problem} field=${state.field} busy=${state.busy}
    onJoin=${joinCreated} onElsewhere=${goElsewhere} />`,
  lobby: () => html`<${LobbyView} title=${state.over.title} connection=${state.connection} busy=${state.busy} onLeave=${stopWaiting} />`,
  over: () => html`<${OverView} ...${state.over} problem=${state.problem} onAgain=${() => { setLink(state.over.link); openLink(); }} onElsewhere=${goElsewhere} />`,
  room: () => session && state.snapshot && html`<${RoomView} view=${state.snapshot} session=${session} clock=${clock} isOpen=${state.isOpen} onLeave=${leave} onEnd=${end} />`,
};

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
    const name = snapshot && (snapshot.meeting?.room.title ?? snapshot.roomId);
    document.title = snapshot ? `${snapshot.muted ? '' : '● '}${name} · Greenroom` : 'Greenroom';
  });
  return html`
    ${SCREENS[state.screen]()}
    <div class="visually-hidden" role="status" aria-live="polite" data-testid="announcer">${said}</div>`;
}

const isBack = await resume();
if (!isBack && link) openLink();
render(html`<${App} />`, document.getElementById('app'));
