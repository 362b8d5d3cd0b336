// Ages and expiry: the parts of the page that change as time passes.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { createTicker, formatAge, momentOf } from '../time.js';

const ticker = createTicker();

/** Renders the component once a second while it is shown. */
export function useSeconds() {
  const [, tick] = useState(0);
  useEffect(() => ticker.subscribe(() => tick((n) => n + 1)), []);
}

/**
 * Renders the component when one of these moments has passed since `renderedAt`. It asks the clock each second instead
 * of setting a timer: a timer stands still while the machine sleeps, and after waking an expired verdict would look
 * valid.
 */
export function useExpiry(moments, renderedAt, now) {
  const [, tick] = useState(0);
  const latest = useRef(null);
  latest.current = { moments, renderedAt };
  useEffect(() => ticker.subscribe(() => {
    const passedAt = (time) => latest.current.moments.filter((moment) => moment < time).length;
    if (passedAt(now()) !== passedAt(latest.current.renderedAt)) tick((n) => n + 1);
  }), []);
}

/** An age. It renders only itself each second, not the rest of the page. */
export function Age({ at, now, testid, format = formatAge }) {
  useSeconds();
  const moment = momentOf(at);
  return html`<time class="age" datetime=${new Date(moment).toISOString()} title=${new Date(moment).toLocaleString()} data-testid=${testid}>${format(now() - moment)}</time>`;
}
