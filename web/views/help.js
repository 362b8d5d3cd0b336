// The dialog that explains the words of the page.

import { html, useEffect, useRef } from '../vendor/htm-preact.js';
import { AlertIcon, CheckIcon, CloseIcon } from './icons.js';

export function HelpDialog({ open, onClose }) {
  const dialog = useRef(null);
  useEffect(() => {
    const d = dialog.current;
    if (open && !d.open) d.showModal();
    if (!open && d.open) d.close();
  }, [open]);
  // The target is the dialog element itself only for a click outside its contents.
  const beside = (event) => { if (event.target === dialog.current) onClose(); };
  return html`<dialog ref=${dialog} class="help" aria-labelledby="help-title" data-testid="help-dialog" onClose=${onClose} onClick=${beside}>
    <div class="help-body">
      <div class="help-head">
        <h2 id="help-title">What does this mean?</h2>
        <button type="button" class="button quiet icon-only" aria-label="Close" onClick=${onClose} data-testid="help-close"><${CloseIcon} /></button>
      </div>
      <p class="lead">Everyone’s browser <strong>claims</strong> something about their microphone. Where a person runs an agent, the agent <strong>measures</strong>, and a verdict says whether the two agree. Without an agent nothing is verified.</p>
      <dl>
        <dt><span class="chip chip-muted">Says muted</span></dt>
        <dd>A claim. Their page reports that it has switched its microphone track off. The page may be out of date, mistaken or altered, so a claim has a broken outline and no check mark.</dd>
        <dt><span class="chip chip-live">Says unmuted</span></dt>
        <dd>Their page reports that its microphone track is on. It does not mean that anything can be heard.</dd>
        <dt><span class="chip chip-verified">Muted, verified<${CheckIcon} /></span></dt>
        <dd>An agent measured the microphone, and the measurement agrees with the claim. The verdict holds for the seconds shown, and lapses by itself unless the agent measures again.</dd>
        <dt><span class="chip chip-contradicted"><${AlertIcon} />Contradicted</span></dt>
        <dd>The measurement contradicts the claim: another device is capturing, or a microphone that should be silent is not, or one that should be open is silent.</dd>
        <dt>Not verified</dt>
        <dd>There is no agent, or it measured too little, or too long ago. That is never held against anyone; it only means that nobody knows.</dd>
        <dt>Muted in the app, microphone still hot</dt>
        <dd>The usual state of a muted app. The page is silent, but the microphone is open in the system, and other programs may hear it. It is not a contradiction, and not silence.</dd>
      </dl>
      <h3>What a verdict is worth</h3>
      <p data-testid="help-honesty">A contradiction is strong. A verification is bounded, and expires. Exact digital zero means that nothing can leave the device while it lasts; a quiet room is weaker evidence. Each measurement is signed, and a signature shows who said it, not that it is true: the agent runs on the participant’s own machine (“self-hosted”). Levels and sound never leave that machine.</p>
      <dl>
        <dt>The room</dt>
        <dd>It is safe to assume silence only if everybody says muted and every one of them is verified. If nothing is known about a person, the room is not safe.</dd>
        <dt>“12 s ago”</dt>
        <dd>How long ago the server recorded the last change of the claim, or how long ago the microphone was last measured. A recent claim is no more reliable than an old one.</dd>
        <dt>Names</dt>
        <dd>Names are not checked. Where two names look alike, the end of the person’s id stands behind each of them, in a frame. “Presenter” is said by the server, and is no part of a name.</dd>
        <dt>“Silent for 4 min”</dt>
        <dd>How long silence has been measured without a break. A noise gate is silent between two words too, so a short silence says less than a long one.</dd>
        <dt>Your sound</dt>
        <dd>Greenroom carries no sound. The level meter is drawn in your browser, and the level is not sent anywhere.</dd>
      </dl>
    </div>
  </dialog>`;
}
