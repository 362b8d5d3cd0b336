import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpointsOf, extended, numberOf, objectivesOf, ratesOf, refusalsOf, sampleOf, snapshotsOf, verdictsOf } from '../ops/measure.js';
import { daysInWords, daysOf, featuresOf, minutesOf as meanOf, totalsOf } from '../ops/rooms.js';
import { ago, inWords, minutesOf, nearest, path, short, ticks } from '../ops/scale.js';
import { get, problemOf } from '../ops/server.js';

const metrics = {
  timestamp: '2026-11-21T12:00:02.000Z',
  api: {
    totalRequests: 30, totalErrors: 3, errorRate: '10.0%',
    responseTime: { p50: '0.4ms', p95: '45ms', p99: '250ms', min: '0.1ms', max: '300ms' },
    byEndpoint: {
      'GET /api/health': { count: 10, avgDuration: 0.5, errorRate: '0.0%', refused: {} },
      'PATCH /api/users/{userId}/mute': { count: 20, avgDuration: 1.25, errorRate: '15.0%', refused: { user_not_found: 2, validation_failed: 1 } },
      'GET /api/users/{userId}': { count: 1, avgDuration: 1, errorRate: '100.0%', refused: { user_not_found: 1 } },
    },
  },
  users: { current: 3, peak: 7, limit: 10, capacityUsed: '30.0%' },
  system: { memory: { heapUsed: '45 MB', heapTotal: '600 MB', rss: '70 MB', usagePercent: '11.70' }, cpu: null, uptime: 60 },
  slo: {
    responseTimeMet: true, errorRateMet: false,
    profiles: { basic: { responseTimeTarget: '1000ms', errorRateTarget: '5.0%', responseTimeMet: true, errorRateMet: false } },
  },
};

test('a figure with a unit is read as a number, and other text as null', () => {
  assert.deepEqual(['0.4ms', '45ms', '12.5%', '81 MB', '75.00'].map(numberOf), [0.4, 45, 12.5, 81, 75]);
  assert.deepEqual([null, undefined, '', 'ms', '–'].map(numberOf), [null, null, null, null, null]);
});

test('an answer of the server becomes one sample', () => {
  assert.deepEqual(sampleOf(metrics), { atMs: 1795262402000, uptimeS: 60, requests: 30, errors: 3, p50: 0.4, p95: 45, p99: 250, users: 3, rss: 70, heap: 45 });
  assert.equal(sampleOf({ ...metrics, system: { memory: null, uptime: 1 } }).rss, null);
});

test('rates are computed between two samples', () => {
  const now = sampleOf(metrics);
  const before = { ...now, atMs: now.atMs - 2000, uptimeS: 58, requests: 20, errors: 2 };
  assert.deepEqual(ratesOf(before, now), { perSecond: 5, errorPercent: 10 });
  assert.deepEqual(ratesOf({ ...before, requests: 30, errors: 3 }, now), { perSecond: 0, errorPercent: 0 });
});

test('a restart and a first sample have no rate', () => {
  const now = sampleOf(metrics);
  const none = { perSecond: null, errorPercent: null };
  assert.deepEqual(ratesOf(undefined, now), none);
  assert.deepEqual(ratesOf({ ...now, atMs: now.atMs - 2000, requests: 500 }, now), none);
  assert.deepEqual(ratesOf({ ...now, atMs: now.atMs - 2000, requests: 1, uptimeS: 99 }, now), none);
  assert.deepEqual(ratesOf(now, now), none, 'no time has passed');
});

test('the history drops old samples and ignores repeated ones', () => {
  const now = sampleOf(metrics);
  const at = (ms) => ({ ...now, atMs: now.atMs + ms });
  let history = [];
  for (const ms of [0, 2000, 2000, 1000, 4000, 6000]) history = extended(history, at(ms), 5000);
  assert.deepEqual(history.map(({ atMs }) => atMs - now.atMs), [2000, 4000, 6000]);
  for (const ms of [-60_000, -58_000]) history = extended(history, at(ms), 5000);
  assert.deepEqual(history.map(({ atMs }) => atMs - now.atMs), [-60_000, -58_000], 'the clock was set back');
});

test('verdicts are counted by value, separately for mute and device', () => {
  const user = (mute, device) => ({ verdict: { mute: { value: mute }, device: { value: device } } });
  const counts = verdictsOf([user('verified', 'verified'), user('contradicted', 'verified'), user('unverified', 'unverified')]);
  assert.deepEqual(counts, [
    { value: 'verified', mute: 1, device: 2 }, { value: 'contradicted', mute: 1, device: 0 },
    { value: 'stale', mute: 0, device: 0 }, { value: 'unverified', mute: 1, device: 1 },
  ]);
});

test('refusals are summed by code, and endpoints are sorted by their number of requests', () => {
  assert.deepEqual(refusalsOf(metrics.api.byEndpoint), [{ code: 'user_not_found', count: 3 }, { code: 'validation_failed', count: 1 }]);
  assert.deepEqual(endpointsOf(metrics.api.byEndpoint).map(({ count }) => count), [20, 10, 1]);
});

test('an objective has its target, the measured value, and whether it is met', () => {
  assert.deepEqual(objectivesOf(metrics), [
    { profile: 'basic', name: 'p95', wanted: 'under 1000ms', is: '45ms', met: true },
    { profile: 'basic', name: 'errors', wanted: 'under 5.0%', is: '10.0%', met: false },
  ]);
});

test('snapshots and drills show their last result, and an unknown result is not a success', () => {
  const say = (snapshots) => snapshotsOf({ ...metrics, snapshots: { ageHours: null, lastOk: null, lastAt: null, drillOk: null, drillAt: null, ...snapshots } });
  const none = { met: null, is: 'none yet', text: 'the result appears after the first run' };
  assert.deepEqual(say({}), [{ name: 'snapshot', ...none }, { name: 'restore drill', ...none }]);
  const [snapshot, drill] = say({ ageHours: 9.4, lastOk: true, lastAt: '2026-11-21T03:00:00.000Z', drillOk: true, drillAt: '2026-11-18T12:00:00.000Z' });
  assert.deepEqual(snapshot, { name: 'snapshot', met: true, is: 'recent', text: 'the newest is 9 h old, wanted within 26 h' });
  assert.deepEqual(drill, { name: 'restore drill', met: true, is: 'passed', text: '3 days ago' });
  const [old] = say({ ageHours: 26.1, lastOk: true, lastAt: metrics.timestamp });
  assert.deepEqual([old.met, old.is], [false, 'too old']);
  const [failed] = say({ ageHours: 3, lastOk: false, lastAt: '2026-11-21T11:48:02.000Z' });
  assert.deepEqual(failed, { name: 'snapshot', met: false, is: 'failed', text: 'the newest is 3 h old, wanted within 26 h; the last one failed 12 min ago' });
  assert.deepEqual(say({ lastOk: false, lastAt: '2026-11-21T03:00:00.000Z' })[0].text, 'there is none, wanted within 26 h; the last one failed 9 h ago');
  assert.deepEqual(say({ drillOk: true, drillAt: '2026-11-12T12:00:00.000Z' })[1], { name: 'restore drill', met: false, is: 'too old', text: '9 days ago' });
  assert.deepEqual(say({ drillOk: false, drillAt: '2026-11-21T11:00:00.000Z' })[1], { name: 'restore drill', met: false, is: 'failed', text: '1 h ago' });
});

test('an endpoint without counted refusals adds none', () => {
  assert.deepEqual(refusalsOf({ 'GET /x': { refused: null } }), []);
});

test('an axis begins at zero, has round steps and holds the largest value', () => {
  assert.deepEqual(ticks(0), [0, 1]);
  assert.deepEqual(ticks(4), [0, 1, 2, 3, 4]);
  for (const max of [0.003, 0.7, 1, 9.99, 10, 37, 1234, 99_999]) {
    const steps = ticks(max);
    assert.equal(steps[0], 0);
    assert.ok(steps.at(-1) >= max && steps.at(-1) < max * 2, `${max}: ${steps}`);
    assert.ok(steps.length >= 3 && steps.length <= 6, `${max}: ${steps}`);
  }
});

test('an axis of whole numbers has whole steps', () => {
  assert.deepEqual([1, 3, 6, 10].map((max) => ticks(max, true)), [[0, 1], [0, 1, 2, 3], [0, 2, 4, 6], [0, 5, 10]]);
});

test('a chart shows the shortest window that holds all samples', () => {
  assert.deepEqual([[], [0], [0, 150_000], [0, 150_001], [0, 400_000], [0, 900_000]].map(minutesOf), [2.5, 2.5, 2.5, 5, 10, 10]);
});

test('a number is rounded according to its size', () => {
  assert.deepEqual([null, 0, 0.421, 4.2, 4, 42.25, 1234.5, 12345].map(short), ['–', '0', '0.42', '4.2', '4', '42.3', '1 235', '12 345']);
});

test('a line has a gap where a value is missing', () => {
  const same = (value) => value;
  assert.equal(path([[0, 1], [1, 2], [2, null], [3, 4], [4, 5]], same, same), 'M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0');
  assert.equal(path([[0, null]], same, same), '');
});

test('the nearest moment is found', () => {
  assert.deepEqual([-5, 0, 14, 16, 99].map((at) => nearest([0, 10, 20], at)), [0, 0, 1, 2, 2]);
  assert.equal(nearest([], 1), -1);
});

test('ages and charts are described in words', () => {
  assert.deepEqual([0, 2000, 89_000, 180_000].map(ago), ['now', '2 s ago', '89 s ago', '3 min ago']);
  const lines = [{ label: 'p50', values: [null, 1, 3, 2] }, { label: 'p99', values: [null] }];
  assert.equal(inWords('Response time', 'ms', lines, 10), 'Response time, the last 10 minutes. p50: now 2 ms, from 1 to 3. p99: no values yet.');
});

const dayWith = (day, more) => ({
  day, roomsCreated: 0, roomsEnded: 0, meanDurationMinutes: 0, peakParticipants: 0, participants: 0, messages: 0, questions: 0,
  features: { chat: 0, questions: 0, lobby: 0, password: 0, moderatedUnmute: 0 }, ...more,
});
const NOON = Date.parse('2026-03-02T12:00:00.000Z');
/** As the API lists them: the newest first, and without days that had no rooms. */
const LISTED = [
  dayWith('2026-03-02', { roomsCreated: 1, features: { chat: 0, questions: 0, lobby: 0, password: 0, moderatedUnmute: 0 } }),
  dayWith('2026-02-28', {
    roomsCreated: 2, roomsEnded: 3, meanDurationMinutes: 40, peakParticipants: 12, participants: 31, messages: 80, questions: 9,
    features: { chat: 3, questions: 2, lobby: 1, password: 2, moderatedUnmute: 0 },
  }),
  dayWith('2026-02-27', { roomsCreated: 4, roomsEnded: 1, meanDurationMinutes: 80, peakParticipants: 3, participants: 4, features: { chat: 0, questions: 0, lobby: 1, password: 0, moderatedUnmute: 0 } }),
];

test('a day without rooms is a zero and not a gap, also across the end of a month', () => {
  const days = daysOf(LISTED, NOON, 5);
  assert.deepEqual(days.map(({ day, roomsCreated }) => [day, roomsCreated]), [
    ['2026-02-26', 0], ['2026-02-27', 4], ['2026-02-28', 2], ['2026-03-01', 0], ['2026-03-02', 1],
  ]);
  assert.deepEqual(days[0], dayWith('2026-02-26'), 'it has every member of a listed day');
  assert.deepEqual([daysOf([], NOON).length, daysOf([], NOON).every(({ roomsCreated }) => roomsCreated === 0)], [30, true]);
});

test('days are those of UTC, whatever the browser’s time zone', () => {
  for (const [time, day] of [['2026-03-02T00:00:00.000Z', '2026-03-02'], ['2026-03-01T23:59:59.999Z', '2026-03-01']]) {
    assert.equal(daysOf([], Date.parse(time), 1)[0].day, day);
  }
});

test('the days together count a mean by the rooms behind it', () => {
  assert.deepEqual(totalsOf(daysOf(LISTED, NOON, 5)), { created: 7, ended: 4, people: 35, peak: 12, minutes: 50, messages: 80, questions: 9 });
  assert.deepEqual(totalsOf(daysOf([], NOON, 5)), { created: 0, ended: 0, people: 0, peak: 0, minutes: null, messages: 0, questions: 0 });
});

test('no duration is known of a day on which no room ended', () => {
  assert.deepEqual(daysOf(LISTED, NOON, 5).map(meanOf), [null, 80, 40, null, null]);
});

test('a feature is counted in rooms, and as a share of those that ended', () => {
  assert.deepEqual(featuresOf(daysOf(LISTED, NOON, 5)).map(({ name, rooms, percent }) => [name, rooms, percent]), [
    ['chat', 3, 75], ['questions', 2, 50], ['lobby', 2, 50], ['password', 2, 50], ['moderated unmute', 0, 0],
  ]);
  assert.ok(featuresOf(daysOf([], NOON, 5)).every(({ percent }) => percent === null));
});

test('a chart of days is described in words', () => {
  const days = daysOf(LISTED, NOON, 5);
  assert.equal(daysInWords('Rooms per day', null, days, days.map(({ roomsCreated }) => roomsCreated), 'en-GB'),
    'Rooms per day, the last 5 days. Most: 4, on 27 Feb. Today: 1.');
  assert.equal(daysInWords('Mean duration', 'min', days, days.map(meanOf), 'en-GB'), 'Mean duration, the last 5 days. Most: 80 min, on 27 Feb. Today: no value.');
  assert.equal(daysInWords('Mean duration', 'min', days, days.map(() => null)), 'Mean duration, the last 5 days. No values yet.');
});

test('an answer comes with the server’s time, or with the browser’s if the server names none', async () => {
  const answering = (headers, status = 200, body = { days: [] }) => async () => new Response(JSON.stringify(body), { status, headers });
  assert.deepEqual(await get('/x', { fetch: answering({ date: 'Mon, 02 Mar 2026 12:00:00 GMT' }) }), { body: { days: [] }, atMs: NOON });
  assert.equal((await get('/x', { fetch: answering({}), now: () => 7 })).atMs, 7);
  await assert.rejects(get('/x', { fetch: answering({}, 503, { title: 'Unavailable', detail: 'try again' }) }), { status: 503, message: 'try again' });
});

test('a refusal, an error and silence are told apart', () => {
  for (const status of [401, 403]) assert.match(problemOf({ status }, 'its metrics'), /strict\..*nobody may read its metrics/);
  assert.equal(problemOf({ status: 503, message: 'busy' }, 'its metrics'), 'The server answers 503: busy');
  assert.equal(problemOf(new TypeError('fetch failed'), 'its metrics'), 'The server does not answer.');
  assert.equal(problemOf(new TypeError('fetch failed'), 'its metrics', 'These are old.'), 'The server does not answer. These are old.');
});
