// The operations page: asks for the metrics, and shows them.

import { html, render, useEffect, useState } from '../vendor/htm-preact.js';
import { AlertIcon, Brand, CheckIcon } from '../views/icons.js';
import { Chart } from './chart.js';
import { endpointsOf, extended, objectivesOf, refusalsOf, sampleOf, snapshotsOf, verdictsOf } from './measure.js';
import { Rooms } from './rooms-view.js';
import { MINUTES_MAX, short } from './scale.js';
import { get, problemOf } from './server.js';
import { Table } from './table.js';

const EVERY_MS = 2000;
/** Listing people reads the whole table, so it is asked for less often. */
const USERS_EVERY = 5;
const USERS_MAX = 100;

function useServer() {
  const [state, setState] = useState({ metrics: null, history: [], people: null, problem: null });
  useEffect(() => {
    let timer = null;
    let round = 0;
    let stopped = false;
    async function ask() {
      const began = performance.now();
      try {
        const { body: metrics } = await get('/api/metrics');
        const people = round % USERS_EVERY === 0 ? (await get(`/api/users?limit=${USERS_MAX}`)).body : null;
        round += 1;
        if (stopped) return;
        setState((before) => ({
          metrics, problem: null, people: people ?? before.people,
          history: extended(before.history, sampleOf(metrics), MINUTES_MAX * 60_000),
        }));
      } catch (error) {
        if (!stopped) setState((before) => ({ ...before, problem: problemOf(error, 'its metrics', 'This page shows the last figures.') }));
      }
      timer = setTimeout(ask, Math.max(0, EVERY_MS - (performance.now() - began)));
    }
    ask();
    return () => { stopped = true; clearTimeout(timer); };
  }, []);
  return state;
}

/** An objective: met, missed, or not known yet. */
function Light({ met, title, text, id }) {
  const known = met !== null;
  return html`<li class=${known ? (met ? 'light' : 'light is-missed') : 'light is-unknown'} data-testid=${id} data-met=${String(met)}>
    ${known ? (met ? html`<${CheckIcon} />` : html`<${AlertIcon} />`) : html`<span class="icon none" aria-hidden="true">–</span>`}
    <span><b>${title}</b><br />${text}</span></li>`;
}

function Objectives({ metrics }) {
  return html`<section class="card objectives" aria-labelledby="slo">
    <h2 id="slo">Objectives</h2>
    <ul>${objectivesOf(metrics).map(({ profile, name, wanted, is, met }) => html`<${Light} key=${profile + name} id="objective" met=${met}
        title=${`${profile}: ${name} ${met ? 'met' : 'missed'}`} text=${`${is}, wanted ${wanted}`} />`)}
      ${snapshotsOf(metrics).map(({ name, met, is, text }) => html`<${Light} key=${name} id="job" met=${met} title=${`${name}: ${is}`} text=${text} />`)}</ul>
  </section>`;
}

function Figures({ metrics, history, people }) {
  const times = history.map(({ atMs }) => atMs);
  const line = (label, member, className) => ({ label, className, values: history.map((point) => point[member]) });
  const { users, system } = metrics;
  const listed = people?.items ?? [];
  return html`
    <${Objectives} metrics=${metrics} />
    <div class="charts">
      <${Chart} times=${times} title="Response time" unit="ms" limit=${{ value: 1000, label: 'basic: 1 s' }}
        lines=${[line('p50', 'p50', 'line-1'), line('p95', 'p95', 'line-2'), line('p99', 'p99', 'line-3')]} />
      <${Chart} times=${times} title="Requests" unit="per s" lines=${[line('requests', 'perSecond', 'line-1')]} />
      <${Chart} times=${times} title="Errors among the requests" unit="%" limit=${{ value: 5, label: 'basic: 5 %' }} lines=${[line('errors', 'errorPercent', 'line-4')]} />
      <${Chart} times=${times} title="People in rooms" unit="people" whole lines=${[line('users', 'users', 'line-1')]} />
      <${Chart} times=${times} title="Memory of the process" unit="MB" lines=${[line('resident', 'rss', 'line-1'), line('heap', 'heap', 'line-2')]} />
      <${Table} title="Verdicts" id="verdicts" head=${['', 'mute', 'device']} rows=${listed.length ? verdictsOf(listed).map(({ value, mute, device }) => [value, mute, device]) : []}
        empty="Nobody is here." />
    </div>
    <div class="tables">
      <${Table} title="Refusals by code" id="refusals" head=${['code', 'count']} rows=${refusalsOf(metrics.api.byEndpoint).map(({ code, count }) => [code, short(count)])} empty="Nothing was refused." />
      <${Table} title="Endpoints" id="endpoints" head=${['route', 'requests', 'mean, ms', 'errors']}
      rows=${endpointsOf(metrics.api.byEndpoint).map(({ route, count, avgDuration, errorRate }) => [route, short(count), short(avgDuration), errorRate])} empty="No requests yet." />
    </div>
    <p class="hint">${people?.nextCursor ? `The table of verdicts counts the ${USERS_MAX} people who changed last. ` : ''}At most ${short(users.peak)} users were here at once; ${short(users.limit)} count as full. The process started ${short(Math.floor(system.uptime / 60))} min ago, and every count begins there.
      The response times are from the last 1 000 requests. This page asks every 2 s and counts as a client. An error is a status of 400 or above.</p>`;
}

function App() {
  const { metrics, history, people, problem } = useServer();
  return html`<header class="topbar"><div class="topbar-inner"><a class="home" href="/"><${Brand} /></a><h1>Operations</h1>
      <span class="connection" data-testid="connection" data-state=${problem ? 'reconnecting' : 'online'}><span class="connection-dot"></span>${problem ? 'not current' : metrics ? 'live' : 'asking'}</span></div></header>
    <main class="ops">
      <div role="status">${problem && html`<p class="alert" data-testid="problem"><${AlertIcon} />${problem}</p>`}</div>
      ${metrics && html`<${Figures} metrics=${metrics} history=${history} people=${people} />`}
      <${Rooms} />
    </main>`;
}

render(html`<${App} />`, document.getElementById('app'));
