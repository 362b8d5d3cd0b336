// A line chart.

import { html, useLayoutEffect, useRef, useState } from '../vendor/htm-preact.js';
import { ago, inWords, minutesOf, nearest, path, short, ticks } from './scale.js';

export const HEIGHT = 190;
export const EDGE = { top: 10, right: 12, bottom: 26, left: 46 };

/** A reference for an element, and the width of that element in whole pixels; 0 until it is known. */
export function useWidth() {
  const frame = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  return [frame, width];
}

/**
 * Draws one or more lines over the same minutes, in real pixels, so that its text has a readable size on a phone too.
 * The pointer and the arrow keys choose a moment; otherwise the readout above the chart shows the newest values.
 */
export function Chart({ title, unit, lines, times, limit = null, whole = false }) {
  const [frame, width] = useWidth();
  const [picked, pick] = useState(null);

  const minutes = minutesOf(times);
  const end = times.at(-1) ?? 0;
  const begin = end - minutes * 60_000;
  const most = Math.max(0, ...lines.flatMap(({ values }) => values.filter((value) => value !== null)));
  const steps = ticks(most, whole);
  const top = steps.at(-1);
  const x = (at) => EDGE.left + ((at - begin) / (end - begin || 1)) * (width - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const shown = picked === null ? times.length - 1 : nearest(times, picked);

  function move(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (event.clientX - box.left - EDGE.left) / (width - EDGE.left - EDGE.right);
    pick(begin + share * (end - begin));
  }

  function step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === 'Escape') pick(null);
    if (!by || times.length === 0) return;
    event.preventDefault();
    pick(times[Math.min(times.length - 1, Math.max(0, shown + by))]);
  }

  const minuteTicks = Array.from({ length: 6 }, (_, at) => (minutes / 5) * at);
  return html`<figure class="card chart" ref=${frame}>
    <figcaption>
      <h2>${title}</h2>
      <span class="when" aria-hidden="true">${times.length ? ago(end - times[shown]) : ''}</span>
      <p class="readout" aria-hidden="true">
        ${lines.map(({ label, values, className }) => html`<span key=${label}><i class=${`key ${className}`}></i>${label} <b>${short(values[shown] ?? null)}</b> ${unit}</span>`)}
      </p>
    </figcaption>
    ${width > 0 && html`<svg width=${width} height=${HEIGHT} role="img" tabindex="0" aria-label=${inWords(title, unit, lines, minutes)}
        onPointerMove=${move} onPointerLeave=${() => pick(null)} onKeyDown=${step} onBlur=${() => pick(null)}>
      ${steps.map((value) => html`<g key=${value}><line class="grid" x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(value)} y2=${y(value)} />
        <text class="tick" x=${EDGE.left - 6} y=${y(value) + 4} text-anchor="end">${short(value)}</text></g>`)}
      ${minuteTicks.map((minute) => html`<text key=${minute} class="tick" x=${x(end - minute * 60_000)} y=${HEIGHT - 6} text-anchor=${minute === 0 ? 'end' : 'middle'}>${minute === 0 ? 'now' : `−${minute}`}</text>`)}
      <text class="tick" x=${EDGE.left - 18} y=${HEIGHT - 6} text-anchor="end">min</text>
      ${limit !== null && limit.value <= top && html`<line class="limit" x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(limit.value)} y2=${y(limit.value)} />
        <text class="tick" x=${width - EDGE.right} y=${y(limit.value) - 4} text-anchor="end">${limit.label}</text>`}
      ${lines.map(({ label, values, className }) => html`<path key=${label} class=${`line ${className}`} d=${path(times.map((at, index) => [at, values[index]]), x, y)} />`)}
      ${picked !== null && shown >= 0 && html`<line class="cursor" x1=${x(times[shown])} x2=${x(times[shown])} y1=${EDGE.top} y2=${HEIGHT - EDGE.bottom} />
        ${lines.map(({ label, values, className }) => values[shown] !== null && html`<circle key=${label} class=${`dot ${className}`} r="3.5" cx=${x(times[shown])} cy=${y(values[shown])} />`)}`}
    </svg>`}
  </figure>`;
}
