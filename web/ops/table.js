// A table of figures.

import { html } from '../vendor/htm-preact.js';

/** Allows line breaks in a route at its slashes only. */
const breakable = (text) => text.split(/(?=\/)/).map((part) => html`<wbr />${part}`);

/** A table with its title. The first cell of a row is its heading; the other cells are numbers. */
export function Table({ title, id, head, rows, empty, heading = 'h2' }) {
  return html`<section class="card table" aria-labelledby=${id}>
    <${heading} id=${id}>${title}<//>
    ${rows.length === 0 ? html`<p class="hint">${empty}</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label=${`${title}, table`}><table>
      <thead><tr>${head.map((cell, at) => (cell ? html`<th key=${cell} scope="col" class=${at ? 'number' : ''}>${cell}</th>` : html`<td key="corner"></td>`))}</tr></thead>
      <tbody>${rows.map(([first, ...rest]) => html`<tr key=${first}><th scope="row">${breakable(first)}</th>${rest.map((cell, at) => html`<td key=${at} class="number">${cell}</td>`)}</tr>`)}</tbody>
    </table></div>`}
  </section>`;
}
