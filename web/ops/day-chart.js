// A bar chart with one bar for each day.

import { html, useState } from '../vendor/htm-preact.js';
import { EDGE, HEIGHT, useWidth } from './chart.js';
import { daysInWords, nameOfDay } from './rooms.js';
import { short, ticks } from './scale.js';

/** How many days have their name below the chart: more would overlap on a phone. */
const NAMES = 3;

/** `values` has one value for each of `days`; null is drawn as nothing. Pointer and arrow keys choose a day. */
export function DayChart({ title, unit = null, days, values }) {
  const [frame, width] = useWidth();
  const [picked, pick] = useState(null);
  const last = days.length - 1;
  const shown = picked ?? last;
  const steps = ticks(Math.max(0, ...values), true);
  const top = steps.at(-1);
  const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const slot = (width - EDGE.left - EDGE.right) / days.length;
  const x = (at) => EDGE.left + at * slot;
  const gap = Math.min(4, slot / 4);
  const within = (at) => Math.min(last, Math.max(0, at));

  function move(event) {
    const box = event.currentTarget.getBoundingClientRect();
    pick(within(Math.floor((event.clientX - box.left - EDGE.left) / slot)));
  }

  function step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === 'Escape') pick(null);
    if (!by) return;
    event.preventDefault();
    pick(within(shown + by));
  }

  const named = Array.from({ length: NAMES }, (_, at) => Math.round((last * at) / (NAMES - 1)));
  const anchors = { 0: 'start', [last]: 'end' };
  return html`<figure class="card chart" ref=${frame}>
    <figcaption>
      <h3>${title}</h3>
      <span class="when" aria-hidden="true">${shown === last ? 'today' : nameOfDay(days[shown].day)}</span>
      <p class="readout" aria-hidden="true"><span><b>${short(values[shown])}</b> ${unit}</span></p>
    </figcaption>
    ${width > 0 && html`<svg width=${width} height=${HEIGHT} role="img" tabindex="0" aria-label=${daysInWords(title, unit, days, values)}
        onPointerMove=${move} onPointerLeave=${() => pick(null)} onKeyDown=${step} onBlur=${() => pick(null)}>
      ${steps.map((value) => html`<g key=${value}><line class="grid" x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(value)} y2=${y(value)} />
        <text class="tick" x=${EDGE.left - 6} y=${y(value) + 4} text-anchor="end">${short(value)}</text></g>`)}
      ${named.map((at) => html`<text key=${at} class="tick" x=${at === 0 ? x(0) : at === last ? x(last + 1) : x(at) + slot / 2} y=${HEIGHT - 6} text-anchor=${anchors[at] ?? 'middle'}>${at === last ? 'today' : nameOfDay(days[at].day)}</text>`)}
      ${days.map(({ day }, at) => html`<rect key=${day} class=${at === picked ? 'bar is-picked' : 'bar'} data-day=${day} data-value=${values[at]}
        x=${x(at) + gap / 2} width=${slot - gap} y=${y(values[at] ?? 0)} height=${y(0) - y(values[at] ?? 0)} />`)}
    </svg>`}
  </figure>`;
}
