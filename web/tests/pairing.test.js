import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createPairing, formatCountdown, pairingCommand, pairingStage } from '../pairing.js';

const NOW = Date.parse('2026-11-21T10:00:00.000Z');
const TEN = 600_000;
const agent = (agentId, revoked = false) => ({ agentId, revoked, deviceId: 'pulse:1', deviceLabel: 'Yeti' });

function setup(answers = {}) {
  const calls = [];
  const said = [];
  const call = (name, otherwise) => async (...args) => {
    calls.push([name, ...args]);
    const answer = answers[name] ?? otherwise;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const api = {
    startPairing: call('start', { code: '7K3M-Q2XD-9VTA-B4NC', witness: 'w', expiresAt: new Date(NOW + TEN).toISOString() }),
    stopAgent: call('stop', { success: true }),
    bindAgent: call('bind', { userId: 'ada', version: 3 }),
  };
  const kept = { paired: false, present: 'attached', calls: [] };
  const note = (name, answer) => (...args) => { kept.calls.push([name, ...args]); return answer?.(); };
  const witness = {
    isPaired: () => kept.paired, await: note('await'), cancel: note('cancel'), forget: note('forget', () => { kept.paired = false; }),
    present: async () => kept.present,
  };
  const pairing = createPairing({ api, userId: 'ada-7f3k', witness, announce: (text) => said.push(text) });
  return { pairing, calls, said, answers, kept, stage: (who, at = NOW) => pairingStage(pairing.view(), who, at) };
}

test('a code is shown until it expires or an agent has used it', async () => {
  const t = setup();
  assert.equal(t.stage(null), 'none');
  await t.pairing.start(null);
  assert.deepEqual([t.stage(null), t.stage(null, NOW + TEN - 1), t.stage(null, NOW + TEN)], ['code', 'code', 'expired']);
  t.pairing.see(null);
  assert.equal(t.stage(null), 'code');
  t.pairing.see(agent('agt_1'));
  assert.equal(t.stage(agent('agt_1')), 'paired');
  t.pairing.see(agent('agt_1'));
  assert.equal(t.said.filter((text) => text === 'The agent is paired.').length, 1);
});

test('an agent from before does not end a new pairing', async () => {
  const t = setup();
  assert.equal(t.stage(agent('agt_1', true)), 'revoked');
  await t.pairing.start(agent('agt_1', true));
  t.pairing.see(agent('agt_1'));
  t.pairing.see(agent('agt_2', true));
  assert.equal(t.stage(agent('agt_1', true)), 'code');
  t.pairing.see(agent('agt_2'));
  assert.equal(t.stage(agent('agt_2')), 'paired');
});

test('a stopped agent is shown as stopped at once, and no other agent is', async () => {
  const t = setup();
  await t.pairing.stop(agent('agt_1'));
  assert.deepEqual([t.calls, t.kept.calls], [[['stop', 'ada-7f3k']], [['forget', 'agt_1']]]);
  assert.deepEqual([t.stage(agent('agt_1')), t.stage(agent('agt_2'))], ['revoked', 'paired']);
  const gone = setup({ stop: new ApiError({ status: 404 }) });
  await gone.pairing.stop(agent('agt_1'));
  assert.deepEqual([gone.stage(agent('agt_1')), gone.pairing.view().problem], ['revoked', null]);
});

test('a failed call is reported, changes nothing, and can be repeated', async () => {
  const t = setup({ start: new ApiError({}), stop: new ApiError({ status: 503, detail: 'Try later.' }) });
  await t.pairing.start(null);
  assert.deepEqual([t.stage(null), t.pairing.view().busy], ['none', false]);
  assert.match(t.pairing.view().problem, /cannot be reached/);
  await t.pairing.stop(agent('agt_1'));
  assert.equal(t.stage(agent('agt_1')), 'paired');
  assert.match(t.pairing.view().problem, /Try later/);
  delete t.answers.start;
  await t.pairing.start(null);
  assert.deepEqual([t.stage(null), t.pairing.view().problem], ['code', null]);
});

test('a second press during a call sends nothing', async () => {
  const t = setup();
  await Promise.all([t.pairing.start(null), t.pairing.start(null)]);
  assert.equal(t.calls.length, 1);
});

test('a binding is sent once, and its answer is passed on', async () => {
  const t = setup();
  const states = [];
  await t.pairing.bind({ agentId: 'agt_1', deviceId: 'd1', agentDeviceId: 'pulse:1', label: 'Yeti' }, (state) => states.push(state));
  assert.deepEqual(t.calls, [['bind', 'agt_1', { deviceId: 'd1', agentDeviceId: 'pulse:1' }]]);
  assert.deepEqual([states, t.pairing.view().bound], [[{ userId: 'ada', version: 3 }], 'd1 pulse:1']);
});

test('the command is one line, and the countdown stops at zero', () => {
  assert.equal(pairingCommand('https://room.example', 'ada-7f3k', '7K3M-Q2XD-9VTA-B4NC'),
    'greenroom-agent enroll --url https://room.example --user ada-7f3k --code 7K3M-Q2XD-9VTA-B4NC && greenroom-agent watch');
  assert.deepEqual([600_000, 599_001, 65_000, 1, 0, -5].map(formatCountdown), ['10:00', '10:00', '1:05', '0:01', '0:00', '0:00']);
});

test('the agent that this browser is paired with can be attached, and forgotten', async () => {
  const t = setup();
  t.kept.paired = true;
  assert.equal(t.stage(null), 'idle');
  t.kept.present = 'no';
  await t.pairing.attach();
  assert.match(t.pairing.view().problem, /does not know this agent/);
  t.pairing.attached(false);
  assert.deepEqual([t.pairing.view().problem, t.stage(agent('agt_1'))], [null, 'paired']);
  t.pairing.forget();
  assert.equal(t.stage(null), 'none');
});

test('a used code is shown no longer, even if the agent is the same as before', async () => {
  const t = setup();
  await t.pairing.stop(agent('agt_1'));
  await t.pairing.start(agent('agt_1', true));
  assert.equal(t.kept.calls.at(-1)[0], 'await');
  t.pairing.attached(true);
  assert.equal(t.stage(agent('agt_1')), 'paired');
  await t.pairing.start(agent('agt_1'));
  t.pairing.cancel();
  assert.equal(t.kept.calls.at(-1)[0], 'cancel');
});
