// What a person sees at a room that somebody created, before and after being in it: the form to join, the lobby, and
// how the stay ended.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { cleanName, nameProblem } from '../text.js';
import { Entrance, Field, useRefusal } from './entrance.js';

export function LookingView() {
  return html`<${Entrance}><div class="card join-form"><p class="hint" role="status" data-testid="looking">Looking for the room…</p></div><//>`;
}

/** `room` is the room as a stranger may see it. */
export function GateView({ room, name: initialName, problem, field, busy, onJoin, onElsewhere }) {
  const [name, setName] = useState(initialName);
  const [password, setPassword] = useState('');
  const [tried, setTried] = useState(false);
  const inputs = { name: useRef(null), password: useRef(null) };

  useEffect(() => {
    (room.hasPassword && initialName ? inputs.password : inputs.name).current.focus({ preventScroll: true });
  }, []);

  const { errorAt, change, rest } = useRefusal(problem, field, room.hasPassword ? inputs : { name: inputs.name });
  const missing = room.hasPassword && !password ? 'Enter the password of this room.' : null;
  const nameError = (tried ? nameProblem(name) : null) ?? errorAt('name');
  const passwordError = (tried ? missing : null) ?? errorAt('password');
  const typed = (set) => (event) => {
    change();
    set(event.target.value);
  };

  function submit(event) {
    event.preventDefault();
    setTried(true);
    if (nameProblem(name)) return inputs.name.current.focus();
    if (missing) return inputs.password.current.focus();
    if (!busy) onJoin({ name: cleanName(name), password });
    return undefined;
  }

  return html`<${Entrance}>
    <form class="card join-form form" onSubmit=${submit} novalidate data-testid="gate">
      <h2><span class="over-line">Join the room</span>${' '}<span data-testid="gate-title">${room.title}</span></h2>
      <${Field} id="join-name" label="Your name" input=${inputs.name} value=${name} onInput=${typed(setName)} error=${nameError}
        hint="Visible to everyone in the room." autocomplete="nickname" />
      ${room.hasPassword && html`<${Field} id="join-password" label="Password" type="password" input=${inputs.password} value=${password} onInput=${typed(setPassword)} error=${passwordError}
        hint="The person who sent you the link knows it." autocomplete="off" />`}
      ${rest && html`<p class="alert" role="alert" data-testid="join-problem">${rest}</p>`}
      <button type="submit" class="button primary wide" data-testid="join-submit" aria-disabled=${busy ? 'true' : undefined}>${busy ? 'Joining…' : room.lobby ? 'Ask to be let in' : 'Join muted'}</button>
      <p class="hint">${room.lobby ? 'This room has a lobby: a presenter lets people in.' : 'Your browser will ask for the microphone. You can join without one.'}</p>
      <button type="button" class="button quiet" onClick=${onElsewhere} data-testid="elsewhere">Another room</button>
    </form>
  <//>`;
}

export function LobbyView({ title, connection, busy, onLeave }) {
  const heading = useRef(null);
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  return html`<${Entrance}>
    <section class="card join-form" data-testid="lobby" aria-labelledby="lobby-title">
      <h2 id="lobby-title" tabindex="-1" ref=${heading}><span class="over-line">Waiting to be let in</span>${' '}<span>${title}</span></h2>
      <p class="waiting-line" role="status"><span class="spinner" aria-hidden="true"></span>${connection === 'reconnecting' ? 'The server cannot be reached. Reconnecting…' : 'The presenters see your name. Nobody hears or sees anything of you yet.'}</p>
      <p class="hint">Keep this page open. It goes on by itself.</p>
      <button type="button" class="button" aria-disabled=${busy ? 'true' : undefined} onClick=${onLeave} data-testid="lobby-leave">Do not wait</button>
    </section>
  <//>`;
}

const OVER = {
  ended: ['The room has ended', 'Everybody has left. Messages, questions and names are removed.'],
  removed: ['You are not in this room any more', 'A presenter has removed you, or your place in the room has lapsed.'],
  'turned-away': ['You were not let in', 'A presenter has turned you away, or waited too long for your page.'],
  left: ['You left the room', 'You can come back with the same link.'],
};

const COUNTS = [
  ['sessionDurationMinutes', 'Duration', (minutes) => `${minutes} min`],
  ['totalParticipants', 'People who joined', String],
  ['maxConcurrentParticipants', 'Most people at once', String],
  ['totalMessages', 'Messages', String],
  ['totalQuestions', 'Questions', String],
];

/** `stats` is what happened in the room, for the presenter who has ended it. */
export function OverView({ kind, title, stats, problem, onAgain, onElsewhere }) {
  const heading = useRef(null);
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  const [headline, text] = OVER[kind];
  return html`<${Entrance}>
    <section class="card join-form" data-testid="over" data-kind=${kind} aria-labelledby="over-title">
      <h2 id="over-title" tabindex="-1" ref=${heading}><span class="over-line">${title}</span>${' '}<span>${headline}</span></h2>
      <p>${text}</p>
      ${stats && html`<dl class="facts" data-testid="stats">${COUNTS.map(([key, label, show]) => html`<dt key=${key}>${label}</dt><dd data-testid=${`stats-${key}`}>${show(stats[key])}</dd>`)}</dl>`}
      ${problem && html`<p class="alert" role="alert">${problem}</p>`}
      <div class="actions">
        ${kind !== 'ended' && html`<button type="button" class="button primary" onClick=${onAgain} data-testid="join-again">Join again</button>`}
        <button type="button" class="button" onClick=${onElsewhere} data-testid="elsewhere">${kind === 'ended' ? 'To the first page' : 'Another room'}</button>
      </div>
    </section>
  <//>`;
}
