// The first screen: the form by which a person joins a room, and the one by which they create one.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { cleanName, nameProblem, roomProblem } from '../text.js';
import { CreateForm } from './create.js';
import { Entrance, Field, useRefusal } from './entrance.js';

export function JoinForm({ room: initialRoom, name: initialName, problem, field, busy, slugOf, onJoin }) {
  const [room, setRoom] = useState(initialRoom);
  const [name, setName] = useState(initialName);
  const [tried, setTried] = useState(false);
  const roomField = useRef(null);
  const nameField = useRef(null);
  const slug = slugOf(room);
  const shown = cleanName(name);

  useEffect(() => {
    (room ? nameField : roomField).current.focus({ preventScroll: true });
  }, []);

  const { errorAt, change, rest } = useRefusal(problem, field, { room: roomField, name: nameField });
  const roomError = (tried ? roomProblem(slug) : null) ?? errorAt('room');
  const nameError = (tried ? nameProblem(name) : null) ?? errorAt('name');
  const typed = (set) => (event) => {
    change();
    set(event.target.value);
  };

  function submit(event) {
    event.preventDefault();
    setTried(true);
    if (roomProblem(slug)) return roomField.current.focus();
    if (nameProblem(name)) return nameField.current.focus();
    if (!busy) onJoin(name, room);
    return undefined;
  }

  return html`<form class="form" onSubmit=${submit} novalidate aria-label="Join a room">
    <${Field} id="join-room" label="Room" input=${roomField} value=${room} onInput=${typed(setRoom)} error=${roomError}
      hint=${slug && slug !== room.trim() ? html`The room will be <b>${slug}</b>` : 'The link that you were sent, or the name of the room.'}
      maxlength="2048" autocomplete="off" autocapitalize="none" placeholder="weekly-sync" />
    <${Field} id="join-name" label="Your name" input=${nameField} value=${name} onInput=${typed(setName)} error=${nameError}
      hint=${shown && shown !== name.trim() ? html`The others will see <b>${shown}</b>` : 'Visible to everyone in the room.'} autocomplete="nickname" />
    ${rest && html`<p class="alert" role="alert" data-testid="join-problem">${rest}</p>`}
    <button type="submit" class="button primary wide" data-testid="join-submit" aria-disabled=${busy ? 'true' : undefined}>${busy ? 'Joining…' : 'Join muted'}</button>
    <p class="hint">Your browser will ask for the microphone. You can join without one.</p>
  </form>`;
}

const TABS = [['join', 'Join a room'], ['create', 'Create a room']];

/** Two tabs, as the ARIA practices describe them: arrow keys move, and only the chosen one is a stop of the Tab key. */
function Tabs({ tab, onTab }) {
  const list = useRef(null);
  function move(event) {
    if (!['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(event.key)) return;
    event.preventDefault();
    const next = { Home: 'join', End: 'create' }[event.key] ?? (tab === 'join' ? 'create' : 'join');
    onTab(next);
    list.current.querySelector(`#tab-${next}`).focus();
  }
  return html`<div class="tabs" role="tablist" aria-label="What do you want to do?" ref=${list} onKeyDown=${move}>
    ${TABS.map(([id, text]) => html`<button type="button" role="tab" key=${id} id=${`tab-${id}`} class="tab" data-testid=${`tab-${id}`} aria-selected=${String(tab === id)}
      aria-controls="tab-panel" tabindex=${tab === id ? 0 : -1} onClick=${() => onTab(id)}>${text}</button>`)}
  </div>`;
}

export function HomeView({ tab, room, name, problem, field, busy, slugOf, onTab, onJoin, onCreate }) {
  return html`<${Entrance}>
    <div class="card join-form">
      <${Tabs} tab=${tab} onTab=${onTab} />
      <div id="tab-panel" role="tabpanel" aria-labelledby=${`tab-${tab}`}>
        ${tab === 'create'
          ? html`<${CreateForm} name=${name} problem=${problem} field=${field} busy=${busy} onCreate=${onCreate} />`
          : html`<${JoinForm} room=${room} name=${name} problem=${problem} field=${field} busy=${busy} slugOf=${slugOf} onJoin=${onJoin} />`}
      </div>
    </div>
  <//>`;
}
