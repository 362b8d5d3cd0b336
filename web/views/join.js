// The form by which a person joins a room.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { cleanName, nameProblem, roomProblem } from '../text.js';
import { AlertIcon, Brand, CheckIcon, HelpIcon, MicOffIcon } from './icons.js';
import { HelpDialog } from './help.js';

function JoinCopy() {
  return html`<section class="join-copy">
    <h1>See who says they are muted, and who measurably is.</h1>
    <p>A live room that keeps a claim and a measurement apart, and never shows one as the other. You join muted, and only you can open your microphone.</p>
    <ul class="join-points">
      <li><span class="chip chip-muted"><${MicOffIcon} />Says muted</span> is a claim. It is drawn as one.</li>
      <li><span class="chip chip-verified"><${MicOffIcon} />Muted, verified<${CheckIcon} /></span> was measured, and lapses within seconds.</li>
      <li><span class="chip chip-contradicted"><${AlertIcon} />Contradicted</span> was measured, and is not as claimed.</li>
    </ul>
    <p class="join-honesty" data-testid="join-honesty">Measuring is done by an agent that a participant runs on their own machine. Nobody has to: without one, a claim stays a claim. A contradiction is strong; a verification is bounded and expires. While exact digital zero lasts, nothing can leave the device; all else is weaker. A signature shows who said it, not that it is true. Levels and sound never leave the machine.</p>
  </section>`;
}

/** An input with its label and a line below it: the error if there is one, else the hint. */
function Field({ id, label, input, error, hint, value, onInput, ...attributes }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} ref=${input} data-testid=${id} value=${value} onInput=${onInput} spellcheck=${false} aria-describedby=${`${id}-hint`}
      aria-invalid=${error ? 'true' : undefined} ...${attributes} />
    <p id=${`${id}-hint`} class=${error ? 'hint error' : 'hint'} aria-live="polite" data-testid=${`${id}-hint`}>${error ?? hint}</p>
  </div>`;
}

export function JoinView({ room: initialRoom, name: initialName, problem, field, joining, slugOf, onJoin }) {
  const [room, setRoom] = useState(initialRoom);
  const [name, setName] = useState(initialName);
  const [tried, setTried] = useState(false);
  const [help, setHelp] = useState(false);
  const roomField = useRef(null);
  const nameField = useRef(null);
  const slug = slugOf(room);
  const shown = cleanName(name);

  useEffect(() => {
    (room ? nameField : roomField).current.focus({ preventScroll: true });
  }, []);

  // A refusal of the server is shown at its field until the person changes the field.
  const [changed, setChanged] = useState(false);
  useEffect(() => {
    setChanged(false);
    if (field) (field === 'name' ? nameField : roomField).current.focus();
  }, [problem, field]);
  const refused = problem && !changed ? field : null;
  const roomError = (tried ? roomProblem(slug) : null) ?? (refused === 'room' ? problem : null);
  const nameError = (tried ? nameProblem(name) : null) ?? (refused === 'name' ? problem : null);
  const typed = (set) => (event) => {
    setChanged(true);
    set(event.target.value);
  };

  function submit(event) {
    event.preventDefault();
    setTried(true);
    if (roomProblem(slug)) return roomField.current.focus();
    if (nameProblem(name)) return nameField.current.focus();
    if (!joining) onJoin(name, room);
    return undefined;
  }

  return html`<div class="join">
    <header class="join-top"><${Brand} />
      <button type="button" class="button quiet" onClick=${() => setHelp(true)} data-testid="help"><${HelpIcon} />What does this mean?</button>
    </header>
    <main class="join-main">
      <${JoinCopy} />
      <form class="card join-form" onSubmit=${submit} novalidate>
        <h2>Join a room</h2>
        <${Field} id="join-room" label="Room" input=${roomField} value=${room} onInput=${typed(setRoom)} error=${roomError}
          hint=${slug && slug !== room.trim() ? html`The room will be <b>${slug}</b>` : 'Anyone with this name or its link can join.'}
          maxlength="128" autocomplete="off" autocapitalize="none" placeholder="weekly-sync" />
        <${Field} id="join-name" label="Your name" input=${nameField} value=${name} onInput=${typed(setName)} error=${nameError}
          hint=${shown && shown !== name.trim() ? html`The others will see <b>${shown}</b>` : 'Visible to everyone in the room.'} autocomplete="nickname" />
        ${problem && !field && html`<p class="alert" role="alert" data-testid="join-problem">${problem}</p>`}
        <button type="submit" class="button primary wide" data-testid="join-submit" aria-disabled=${joining ? 'true' : undefined}>${joining ? 'Joining…' : 'Join muted'}</button>
        <p class="hint">Your browser will ask for the microphone. You can join without one.</p>
      </form>
    </main>
    <${HelpDialog} open=${help} onClose=${() => setHelp(false)} />
  </div>`;
}
