// Computes figures from one answer of /api/metrics, or from two in a row. It uses no DOM.

/** The number at the start of a text such as `45ms`, `12.5%` or `81 MB`; null if there is none. */
export function numberOf(text) {
  const found = /^\s*(-?\d+(?:\.\d+)?)/.exec(String(text ?? ''));
  return found ? Number(found[1]) : null;
}

/** An answer as numbers: milliseconds, megabytes, counts. */
export function sampleOf(metrics) {
  const { api, users, system } = metrics;
  return {
    atMs: Date.parse(metrics.timestamp),
    uptimeS: system.uptime,
    requests: api.totalRequests,
    errors: api.totalErrors,
    p50: numberOf(api.responseTime.p50),
    p95: numberOf(api.responseTime.p95),
    p99: numberOf(api.responseTime.p99),
    users: users.current,
    rss: numberOf(system.memory?.rss),
    heap: numberOf(system.memory?.heapUsed),
  };
}

/**
 * Requests per second and errors in percent since the sample before. Null if no earlier sample can be compared: at
 * first, and after a restart, because the counts start again.
 */
export function ratesOf(before, sample) {
  const none = { perSecond: null, errorPercent: null };
  if (!before || sample.uptimeS < before.uptimeS || sample.requests < before.requests) return none;
  const seconds = (sample.atMs - before.atMs) / 1000;
  if (!(seconds > 0)) return none;
  const requests = sample.requests - before.requests;
  const errors = sample.errors - before.errors;
  return { perSecond: requests / seconds, errorPercent: requests === 0 ? 0 : (errors * 100) / requests };
}

/** A sample that is older than the last one by more than this means that the server's clock was set back. */
const SET_BACK_MS = 10_000;

/**
 * The history with one more sample, without samples that are older than `keepMs`. It begins anew when the server's clock
 * was set back.
 */
export function extended(history, sample, keepMs) {
  const last = history.at(-1);
  if (last && sample.atMs < last.atMs - SET_BACK_MS) return extended([], sample, keepMs);
  if (last && sample.atMs <= last.atMs) return history;
  const point = { ...sample, ...ratesOf(last, sample) };
  return [...history, point].filter(({ atMs }) => atMs > sample.atMs - keepMs);
}

const VALUES = ['verified', 'contradicted', 'stale', 'unverified'];

/** How many people have each verdict, about the mute and about the device. */
export function verdictsOf(users) {
  return VALUES.map((value) => ({
    value,
    mute: users.filter(({ verdict }) => verdict.mute.value === value).length,
    device: users.filter(({ verdict }) => verdict.device.value === value).length,
  }));
}

/** Refusals of all endpoints by code, the most frequent first. */
export function refusalsOf(byEndpoint) {
  const counts = new Map();
  for (const { refused } of Object.values(byEndpoint)) {
    for (const [code, count] of Object.entries(refused ?? {})) counts.set(code, (counts.get(code) ?? 0) + count);
  }
  return [...counts].map(([code, count]) => ({ code, count })).sort((a, b) => b.count - a.count || a.code.localeCompare(b.code));
}

/** The endpoints, the busiest first. */
export function endpointsOf(byEndpoint) {
  return Object.entries(byEndpoint)
    .map(([route, { count, avgDuration, errorRate }]) => ({ route, count, avgDuration, errorRate }))
    .sort((a, b) => b.count - a.count || a.route.localeCompare(b.route));
}

/** Each objective of each profile: the target, the measured value, and whether the target is met. */
export function objectivesOf(metrics) {
  return Object.entries(metrics.slo.profiles).flatMap(([profile, slo]) => [
    { profile, name: 'p95', wanted: `under ${slo.responseTimeTarget}`, is: metrics.api.responseTime.p95, met: slo.responseTimeMet },
    { profile, name: 'errors', wanted: `under ${slo.errorRateTarget}`, is: metrics.api.errorRate, met: slo.errorRateMet },
  ]);
}

/** Highest allowed age of the newest snapshot. One is taken each night; two hours are allowed for delays. */
const SNAPSHOT_HOURS_MAX = 26;
/** Highest allowed age of the last drill: a drill runs weekly. The alarm has the same limit. */
const DRILL_HOURS_MAX = 192;

/**
 * The state of the jobs that make the data restorable, from the age of the newest snapshot and the results of the last
 * runs. `met` is null for a job that has not run yet.
 */
export function snapshotsOf({ timestamp, snapshots: { ageHours, lastOk, lastAt, drillOk, drillAt } }) {
  const nowMs = Date.parse(timestamp);
  const missing = ageHours === null;
  const age = missing ? 'there is none' : `the newest is ${inHours(ageHours)} old`;
  const none = { met: null, is: 'none yet', text: 'the result appears after the first run' };
  const failed = lastOk === false ? `; the last one failed ${since(lastAt, nowMs)}` : '';
  const recent = !missing && ageHours <= SNAPSHOT_HOURS_MAX;
  const drilled = nowMs - Date.parse(drillAt) <= DRILL_HOURS_MAX * 3_600_000;
  const is = failed ? 'failed' : recent ? 'recent' : 'too old';
  return [
    missing && lastOk === null ? { name: 'snapshot', ...none }
      : { name: 'snapshot', met: recent && !failed, is, text: `${age}, wanted within ${SNAPSHOT_HOURS_MAX} h${failed}` },
    drillOk === null ? { name: 'restore drill', ...none }
      : { name: 'restore drill', met: drillOk && drilled, is: !drillOk ? 'failed' : drilled ? 'passed' : 'too old', text: since(drillAt, nowMs) },
  ];
}

function inHours(hours) {
  if (hours < 1) return `${Math.round(hours * 60)} min`;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} days`;
}

const since = (at, nowMs) => `${inHours((nowMs - Date.parse(at)) / 3_600_000)} ago`;
