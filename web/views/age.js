import { html, useEffect, useState } from '../vendor/htm-preact.js';
import { createTicker, formatAge } from '../time.js';

const ticker = createTicker();

/** Re-renders itself only, so that ages run on while the rest of the page stands still. */
export function Age({ at, now, testid, prefix = '' }) {
  const [, tick] = useState(0);
  useEffect(() => ticker.subscribe(() => tick((n) => n + 1)), []);
  const moment = typeof at === 'number' ? at : Date.parse(at);
  const iso = new Date(moment).toISOString();
  return html`<time class="age" datetime=${iso} title=${new Date(moment).toLocaleString()} data-testid=${testid}>${prefix}${formatAge(now() - moment)}</time>`;
}
