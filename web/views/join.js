import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { nameSlug } from '../text.js';
import { describeUser } from '../identity.js';
import { AlertIcon, Brand, CheckIcon, HelpIcon, MicOffIcon } from './icons.js';
import { HelpDialog } from './help.js';

export function JoinView({ room: initialRoom, name: initialName, problem, joining, slugOf, onJoin }) {
  const [room, setRoom] = useState(initialRoom);
  const [name, setName] = useState(initialName);
  const [tried, setTried] = useState(false);
  const [help, setHelp] = useState(false);
  const roomField = useRef(null);
  const nameField = useRef(null);
  const slug = slugOf(room);
  const shown = describeUser(nameSlug(name) || 'guest').name;

  useEffect(() => {
    (room ? nameField : roomField).current.focus({ preventScroll: true });
  }, []);

  const roomError = tried && !slug ? 'Enter a room name with at least one letter or digit.' : null;
  const nameError = tried && !name.trim() ? 'Enter the name the others should see.' : null;

  function submit(event) {
    event.preventDefault();
    setTried(true);
    if (!slug) return roomField.current.focus();
    if (!name.trim()) return nameField.current.focus();
    if (!joining) onJoin(name.trim(), room);
    return undefined;
  }

  return html`<div class="join">
    <header class="join-top"><${Brand} />
      <button type="button" class="button quiet" onClick=${() => setHelp(true)} data-testid="help"><${HelpIcon} />What does this mean?</button>
    </header>
    <main class="join-main">
      <section class="join-copy">
        <h1>See who says they are muted, and who measurably is.</h1>
        <p>A live room that keeps a claim and a measurement apart, and never dresses up one as the other. You join muted, and only you can open your microphone.</p>
        <ul class="join-points">
          <li><span class="chip chip-muted"><${MicOffIcon} />Says muted</span> is a claim. It is drawn as one.</li>
          <li><span class="chip chip-verified"><${MicOffIcon} />Muted, verified<${CheckIcon} /></span> was measured, and lapses within seconds.</li>
          <li><span class="chip chip-contradicted"><${AlertIcon} />Contradicted</span> was measured, and is not as claimed.</li>
        </ul>
        <p class="join-honesty" data-testid="join-honesty">Measuring is done by an agent that a participant runs on their own machine. Nobody has to: without one, a claim stays a claim. A contradiction is strong; a verification is bounded and expires. While exact digital zero lasts, nothing can leave the device; all else is weaker. A signature shows who said it, not that it is true. Levels and sound never leave the machine.</p>
      </section>
      <form class="card join-form" onSubmit=${submit} novalidate>
        <h2>Join a room</h2>
        <div class="field">
          <label for="join-room">Room</label>
          <input id="join-room" ref=${roomField} data-testid="join-room" value=${room} onInput=${(e) => setRoom(e.target.value)}
            maxlength="128" autocomplete="off" autocapitalize="none" spellcheck=${false} placeholder="weekly-sync"
            aria-describedby="join-room-hint" aria-invalid=${roomError ? 'true' : undefined} />
          <p id="join-room-hint" class=${roomError ? 'hint error' : 'hint'}>${roomError
            ?? (slug && slug !== room.trim() ? html`The room will be <b>${slug}</b>` : 'Anyone with this name or its link can join.')}</p>
        </div>
        <div class="field">
          <label for="join-name">Your name</label>
          <input id="join-name" ref=${nameField} data-testid="join-name" value=${name} onInput=${(e) => setName(e.target.value)}
            maxlength="100" autocomplete="nickname" spellcheck=${false} aria-describedby="join-name-hint" aria-invalid=${nameError ? 'true' : undefined} />
          <p id="join-name-hint" class=${nameError ? 'hint error' : 'hint'}>${nameError
            ?? (name.trim() && shown !== name.trim() ? html`The others will see <b>${shown}</b>` : 'Visible to everyone in the room.')}</p>
        </div>
        ${problem && html`<p class="alert" role="alert" data-testid="join-problem">${problem}</p>`}
        <button type="submit" class="button primary wide" data-testid="join-submit" aria-disabled=${joining ? 'true' : undefined}>${joining ? 'Joining…' : 'Join muted'}</button>
        <p class="hint">Your browser will ask for the microphone. You can join without one.</p>
      </form>
    </main>
    <${HelpDialog} open=${help} onClose=${() => setHelp(false)} />
  </div>`;
}
