import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { createTicker, formatAge, momentOf } from '../time.js';

const ticker = createTicker();

/** Renders once a second while it is shown. */
export function useSeconds() {
  const [, tick] = useState(0);
  useEffect(() => ticker.subscribe(() => tick((n) => n + 1)), []);
}

/**
 * Renders when one of these moments has passed since `renderedAt`. It asks the clock each second instead of waiting on a
 * timer: a timer stands still while the machine sleeps, and what had expired would be shown as valid after waking.
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

/** Re-renders itself only, so that ages run on while the rest of the page stands still. */
export function Age({ at, now, testid, format = formatAge }) {
  useSeconds();
  const moment = momentOf(at);
  return html`<time class="age" datetime=${new Date(moment).toISOString()} title=${new Date(moment).toLocaleString()} data-testid=${testid}>${format(now() - moment)}</time>`;
}
