// The frame of the panels beside the people: chat and questions.

import { html, useEffect, useRef } from '../vendor/htm-preact.js';
import { CloseIcon } from './icons.js';

/** `feed` is read while the panel is shown. The focus goes to `first` when it opens. */
export function Panel({ title, testid, feed, connection, first, onClose, children }) {
  useEffect(() => {
    feed.open();
    first.current?.focus();
    return () => feed.close();
  }, [feed]);
  return html`<section class="card panel" id="panel" aria-labelledby="panel-title" data-testid=${testid}>
    <div class="panel-head"><h2 id="panel-title" class="card-title">${title}</h2>
      <button type="button" class="button quiet icon-only" aria-label=${`Close ${title.toLowerCase()}`} onClick=${onClose} data-testid=${`${testid}-close`}><${CloseIcon} /></button></div>
    ${connection === 'reconnecting' && html`<p class="hint pending" role="status">Not up to date: the server cannot be reached.</p>`}
    ${children}
  </section>`;
}

/** A text of several lines with its label and a button. Enter sends, Shift and Enter begin a line. */
export function Composer({ id, label, button, input, text, onText, problem, busy, onSend }) {
  const own = useRef(null);
  const field = input ?? own;
  function submit(event) {
    event.preventDefault();
    onSend();
    field.current.focus();
  }
  // An input method takes Enter to finish a word.
  const keyed = (event) => { if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) submit(event); };
  return html`<form class="composer" onSubmit=${submit} novalidate>
    <label class="visually-hidden" for=${id}>${label}</label>
    <textarea id=${id} ref=${field} rows="2" placeholder=${label} value=${text} onInput=${(event) => onText(event.target.value)} onKeyDown=${keyed}
      aria-invalid=${problem ? 'true' : undefined} aria-describedby=${problem ? `${id}-problem` : undefined} data-testid=${id}></textarea>
    <button type="submit" class="button primary" aria-disabled=${busy ? 'true' : undefined} data-testid=${`${id}-send`}>${button}</button>
    ${problem && html`<p id=${`${id}-problem`} class="alert" role="alert" data-testid=${`${id}-problem`}>${problem}</p>`}
  </form>`;
}
