import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError, createApi } from '../api.js';
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
    startPairing: call('start', { code: '7K3M-Q2XD-9VTA-B4NC', expiresAt: new Date(NOW + TEN).toISOString() }),
    revokeAgent: call('revoke', { success: true }),
    bindAgent: call('bind', { userId: 'ada', version: 3 }),
  };
  const pairing = createPairing({ api, userId: 'ada-7f3k', announce: (text) => said.push(text) });
  return { pairing, calls, said, answers, stage: (who, at = NOW) => pairingStage(pairing.view(), who, at) };
}

test('a code is shown until it runs out, and goes by itself when the agent is there', async () => {
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

test('an agent of before does not end a new pairing', async () => {
  const t = setup();
  assert.equal(t.stage(agent('agt_1', true)), 'revoked');
  await t.pairing.start(agent('agt_1', true));
  t.pairing.see(agent('agt_1'));
  t.pairing.see(agent('agt_2', true));
  assert.equal(t.stage(agent('agt_1', true)), 'code');
  t.pairing.see(agent('agt_2'));
  assert.equal(t.stage(agent('agt_2')), 'paired');
});

test('stopping shows at once, and only for the agent that was stopped', async () => {
  const t = setup();
  await t.pairing.stop(agent('agt_1'));
  assert.deepEqual(t.calls, [['revoke', 'agt_1']]);
  assert.deepEqual([t.stage(agent('agt_1')), t.stage(agent('agt_2'))], ['revoked', 'paired']);
  const gone = setup({ revoke: new ApiError({ status: 404 }) });
  await gone.pairing.stop(agent('agt_1'));
  assert.deepEqual([gone.stage(agent('agt_1')), gone.pairing.view().problem], ['revoked', null]);
});

test('a failure is told, changes nothing, and can be tried again', async () => {
  const t = setup({ start: new ApiError({}), revoke: new ApiError({ status: 503, detail: 'Try later.' }) });
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

test('a second press while the first is under way asks nothing', async () => {
  const t = setup();
  await Promise.all([t.pairing.start(null), t.pairing.start(null)]);
  assert.equal(t.calls.length, 1);
});

test('a binding is said once, and its answer is passed on', async () => {
  const t = setup();
  const states = [];
  await t.pairing.bind({ agentId: 'agt_1', deviceId: 'd1', agentDeviceId: 'pulse:1', label: 'Yeti' }, (state) => states.push(state));
  assert.deepEqual(t.calls, [['bind', 'agt_1', { deviceId: 'd1', agentDeviceId: 'pulse:1' }]]);
  assert.deepEqual([states, t.pairing.view().bound], [[{ userId: 'ada', version: 3 }], 'd1 pulse:1']);
});

test('the command is one line, and the countdown never goes below nothing', () => {
  assert.equal(pairingCommand('https://room.example', 'ada-7f3k', '7K3M-Q2XD-9VTA-B4NC'),
    'greenroom-agent enroll --url https://room.example --user ada-7f3k --code 7K3M-Q2XD-9VTA-B4NC && greenroom-agent watch');
  assert.deepEqual([600_000, 599_001, 65_000, 1, 0, -5].map(formatCountdown), ['10:00', '10:00', '1:05', '0:01', '0:00', '0:00']);
});

test('the calls go where the protocol has them', async () => {
  const sent = [];
  const fetch = async (path, { method, body }) => {
    sent.push([method, path, body]);
    return new Response('{}', { headers: { 'content-type': 'application/json' } });
  };
  const api = createApi({ fetch });
  await api.startPairing('a@b');
  await api.revokeAgent('agt_1');
  await api.bindAgent('agt_1', { deviceId: 'd', agentDeviceId: 'p' });
  await api.roomSafety('r:1');
  assert.deepEqual(sent, [
    ['POST', '/api/users/a%40b/pairing', undefined],
    ['DELETE', '/api/agents/agt_1', undefined],
    ['PUT', '/api/agents/agt_1/binding', '{"deviceId":"d","agentDeviceId":"p"}'],
    ['GET', '/api/rooms/r%3A1/safe', undefined],
  ]);
});
