// The section about rooms: how many there were, with how many people, for how long, and with what.

import { html, useEffect, useState } from '../vendor/htm-preact.js';
import { AlertIcon } from '../views/icons.js';
import { DayChart } from './day-chart.js';
import { DAYS, daysOf, featuresOf, minutesOf, totalsOf, withUnit } from './rooms.js';
import { short } from './scale.js';
import { get, problemOf } from './server.js';
import { Table } from './table.js';

/** The counts change when a room is created or ends. */
const EVERY_MS = 60_000;
/** The wait after a failure: an answer is missing then, and not only old. */
const RETRY_MS = 10_000;

function useRooms() {
  const [state, setState] = useState({ days: null, problem: null });
  useEffect(() => {
    let timer = null;
    let stopped = false;
    async function read() {
      let wait = EVERY_MS;
      try {
        const { body, atMs } = await get(`/api/analytics?days=${DAYS}`);
        if (!stopped) setState({ days: daysOf(body.days, atMs), problem: null });
      } catch (error) {
        wait = RETRY_MS;
        if (!stopped) setState(({ days }) => ({ days, problem: problemOf(error, 'how its rooms are used', days ? 'These are the last figures.' : '') }));
      }
      if (!stopped) timer = setTimeout(read, wait);
    }
    read();
    return () => { stopped = true; clearTimeout(timer); };
  }, []);
  return state;
}

const TOTALS = [
  ['created', 'Rooms created'], ['ended', 'Ended by a presenter'], ['people', 'People who joined'], ['peak', 'Most people at once'],
  ['minutes', 'Mean duration', 'min'], ['messages', 'Messages'], ['questions', 'Questions'],
];
const HEAD = ['day', 'created', 'ended', 'people', 'most at once', 'mean, min', 'messages', 'questions'];
const rowOf = (day) => [
  day.day, ...[day.roomsCreated, day.roomsEnded, day.participants, day.peakParticipants, minutesOf(day), day.messages, day.questions].map(short),
];

function Figures({ days }) {
  const totals = totalsOf(days);
  return html`
    <dl class="totals">${TOTALS.map(([key, label, unit]) => html`<div key=${key} class="card"><dt>${label}</dt><dd data-testid=${`rooms-${key}`}>${withUnit(short(totals[key]), totals[key] === null ? null : unit)}</dd></div>`)}</dl>
    <div class="charts">
      <${DayChart} title="Rooms per day" days=${days} values=${days.map((day) => day.roomsCreated)} />
      <${DayChart} title="People who joined" days=${days} values=${days.map((day) => day.participants)} />
      <${DayChart} title="Mean duration" unit="min" days=${days} values=${days.map(minutesOf)} />
    </div>
    <div class="tables">
      <${Table} title="Features used" id="features" heading="h3" head=${['', 'rooms', 'of those that ended']} empty="No room has ended yet."
        rows=${totals.ended ? featuresOf(days).map(({ name, rooms, percent }) => [name, short(rooms), `${percent} %`]) : []} />
      <${Table} title="Day by day" id="days" heading="h3" head=${HEAD} rows=${[...days].reverse().map(rowOf)} />
    </div>
    <p class="hint">A room counts for the day on which it was created, in UTC. People, durations, messages, questions and features are those of
      rooms that a presenter ended, and count for that day. A room that nobody ends counts as created alone.</p>`;
}

export function Rooms() {
  const { days, problem } = useRooms();
  const isEmpty = days?.every((day) => day.roomsCreated === 0 && day.roomsEnded === 0);
  return html`<section class="rooms" aria-labelledby="rooms" data-testid="rooms">
    <h2 id="rooms">Rooms <span class="when">the last ${DAYS} days</span></h2>
    <div role="status">${problem && html`<p class="alert" data-testid="rooms-problem"><${AlertIcon} />${problem}</p>`}</div>
    ${!days && !problem && html`<p class="hint">Asking the server…</p>`}
    ${isEmpty && html`<p class="hint" data-testid="rooms-empty">Nobody has created a room in these days. Rooms that nobody creates do not count.</p>`}
    ${days && !isEmpty && html`<${Figures} days=${days} />`}
  </section>`;
}
