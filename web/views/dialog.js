// A dialog that asks a question before something that cannot be undone.

import { html, useEffect, useRef } from '../vendor/htm-preact.js';

/**
 * The browser keeps the focus inside a modal dialog, and gives it back to what was focused before. The first button of
 * `children` should be the harmless one: it gets the focus.
 */
export function Dialog({ open, title, testid, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    const d = dialog.current;
    if (open && !d.open) d.showModal();
    if (!open && d.open) d.close();
  }, [open]);
  return html`<dialog ref=${dialog} class="help ask" aria-labelledby=${`${testid}-title`} data-testid=${testid} onClose=${onClose}>
    ${open && html`<div class="help-body"><h2 id=${`${testid}-title`}>${title}</h2>${children}</div>`}
  </dialog>`;
}
