// The frame of all screens outside a room, and the fields of their forms.

import { html, useEffect, useState } from '../vendor/htm-preact.js';
import { AlertIcon, Brand, CheckIcon, HelpIcon, MicOffIcon } from './icons.js';
import { HelpDialog } from './help.js';

function Copy() {
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

/** The errors of a form: its own, once it was tried, or the server's until the person changes a field. */
export function useRefusal(problem, field, inputs) {
  const [isChanged, setChanged] = useState(false);
  useEffect(() => {
    setChanged(false);
    if (field) inputs[field]?.current?.focus();
  }, [problem, field]);
  const refused = problem && !isChanged ? field : null;
  return { errorAt: (name) => (refused === name ? problem : null), change: () => setChanged(true), rest: problem && !(field in inputs) ? problem : null };
}

/** An input with its label and a line below it: the error if there is one, else the hint. */
export function Field({ id, label, input, error, hint, value, onInput, ...attributes }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} ref=${input} data-testid=${id} value=${value} onInput=${onInput} spellcheck=${false} aria-describedby=${`${id}-hint`}
      aria-invalid=${error ? 'true' : undefined} ...${attributes} />
    <p id=${`${id}-hint`} class=${error ? 'hint error' : 'hint'} aria-live="polite" data-testid=${`${id}-hint`}>${error ?? hint}</p>
  </div>`;
}

/** A check box with its label and a line that says what it does. */
export function Check({ id, label, hint, checked, onChange }) {
  return html`<div class="check">
    <input type="checkbox" id=${id} data-testid=${id} checked=${checked} onChange=${(event) => onChange(event.target.checked)} aria-describedby=${`${id}-hint`} />
    <label for=${id}>${label}</label>
    <p id=${`${id}-hint`} class="hint">${hint}</p>
  </div>`;
}

/** What the page is about, and beside it the form or message of the screen. */
export function Entrance({ children }) {
  const [help, setHelp] = useState(false);
  return html`<div class="join">
    <header class="join-top"><${Brand} />
      <button type="button" class="button quiet" onClick=${() => setHelp(true)} data-testid="help" aria-haspopup="dialog"><${HelpIcon} />What does this mean?</button>
    </header>
    <main class="join-main">
      <${Copy} />
      ${children}
    </main>
    <${HelpDialog} open=${help} onClose=${() => setHelp(false)} />
  </div>`;
}
