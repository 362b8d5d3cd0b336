import { html, useEffect, useRef } from '../vendor/htm-preact.js';
import { CloseIcon } from './icons.js';

export function HelpDialog({ open, onClose }) {
  const dialog = useRef(null);
  useEffect(() => {
    const d = dialog.current;
    if (open && !d.open) d.showModal();
    if (!open && d.open) d.close();
  }, [open]);
  // A click on the dialog element itself, not on its contents, is a click beside it.
  const beside = (event) => { if (event.target === dialog.current) onClose(); };
  return html`<dialog ref=${dialog} class="help" aria-labelledby="help-title" data-testid="help-dialog" onClose=${onClose} onClick=${beside}>
    <div class="help-body">
      <div class="help-head">
        <h2 id="help-title">What does this mean?</h2>
        <button type="button" class="button quiet icon-only" aria-label="Close" onClick=${onClose} data-testid="help-close"><${CloseIcon} /></button>
      </div>
      <p class="lead">What you see here is what each person’s browser says about itself. <strong>Nothing here is verified.</strong></p>
      <dl>
        <dt><span class="chip chip-muted">Says muted</span></dt>
        <dd>Their page reports that it has switched its microphone track off. It is a claim, not a measurement: the page may be out of date, mistaken or altered.</dd>
        <dt><span class="chip chip-live">Says unmuted</span></dt>
        <dd>Their page reports that its microphone track is on. It does not mean that anything can be heard.</dd>
        <dt>The broken outline</dt>
        <dd>Marks a claim. Nobody independent has checked it, and no sign on this page means that somebody has.</dd>
        <dt>“12 s ago”</dt>
        <dd>How long ago the server last took down a change of that claim. A recent claim is not a better one.</dd>
        <dt>Muted in this app</dt>
        <dd>Muting here silences this page only. Your microphone may still be open in the system, and other programs may hear it.</dd>
        <dt>Names</dt>
        <dd>Nobody’s name is checked. The letters behind a name tell two people of the same name apart.</dd>
        <dt>Your sound</dt>
        <dd>Greenroom carries no sound. The level meter is drawn in your browser, and the level is not sent anywhere.</dd>
      </dl>
    </div>
  </dialog>`;
}
