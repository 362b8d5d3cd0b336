// The arithmetic of a line chart. It uses no DOM.

const STEPS = 4;
const WINDOWS = [2.5, 5, 10];
/** The longest time that a chart shows. */
export const MINUTES_MAX = WINDOWS.at(-1);

/**
 * About four round steps from zero to at least `max`; the last one is the top of the axis. `whole`: without fractions.
 */
export function ticks(max, whole = false) {
  if (!(max > 0)) return [0, 1];
  const rough = whole ? Math.max(1, max / STEPS) : max / STEPS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * (1 - 1e-9) && !(whole && candidate % 1));
  const count = Math.ceil(max / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}

/**
 * How many minutes a chart shows: the shortest window that holds all samples, so that a new page is not mostly empty.
 */
export function minutesOf(times) {
  const span = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 60_000;
  return WINDOWS.find((minutes) => span <= minutes) ?? WINDOWS.at(-1);
}

/** A number, rounded to the precision that matters at its size: `0.42`, `4.2`, `42`, `4 200`. */
export function short(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2;
  const text = value.toFixed(digits);
  return (digits ? text.replace(/\.?0+$/, '') : text).replace(/\B(?=(\d{3})+$)/g, ' ');
}

/** An SVG path through the points, with a gap where a value is missing. */
export function path(points, x, y) {
  let drawing = false;
  return points.map(([at, value]) => {
    if (value === null) { drawing = false; return ''; }
    const step = `${drawing ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    drawing = true;
    return step;
  }).filter(Boolean).join('');
}

/** The index of the moment nearest to `at` in `times`, which ascend; -1 if `times` is empty. */
export function nearest(times, at) {
  let best = -1;
  times.forEach((time, index) => { if (best < 0 || Math.abs(time - at) < Math.abs(times[best] - at)) best = index; });
  return best;
}

/** An age: `now`, `42 s ago`, `3 min ago`. */
export function ago(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 1) return 'now';
  return seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}

/** A chart in words, for people who cannot see it. */
export function inWords(title, unit, lines, minutes) {
  const parts = lines.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${label}: no values yet`;
    const [least, most] = [Math.min(...known), Math.max(...known)];
    return `${label}: now ${short(known.at(-1))} ${unit}, from ${short(least)} to ${short(most)}`;
  });
  return `${title}, the last ${minutes} minutes. ${parts.join('. ')}.`;
}
