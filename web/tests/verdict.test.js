import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { beforeClaim, bindingQuestion, describeVerdict, inForce, REASON_CODES, roomSafety } from '../verdict.js';

const NOW = Date.parse('2026-11-21T10:32:00.000Z');
const at = (seconds) => new Date(NOW + seconds * 1000).toISOString();
const verdict = (value, reason, { observed = -4, expires = 21 } = {}) => ({
  value, reason, observedAt: observed === null ? null : at(observed), expiresAt: expires === null ? null : at(expires), assurance: 'self-hosted',
});
const state = (mute, more = {}) => ({ userId: 'ada-7f3k', isMuted: true, deviceId: 'd1', deviceLabel: 'Yeti', agent: null, verdict: { mute, device: mute }, ...more });

/** The values and reasons of the server, from docs/attestation.md and the domain's verdict function. */
const SAID = {
  verified: ['silent_and_flagged', 'digital_zero', 'floor_accepted', 'flag_only', 'signal_present', 'device_match'],
  contradicted: ['device_missing', 'device_mismatch', 'flag_lies', 'signal_present', 'os_unmuted', 'silent_device'],
  stale: ['attestation_expired', 'claim_newer'],
  unverified: ['no_agent', 'agent_revoked', 'permission_denied', 'host_unavailable', 'device_busy', 'no_data', 'device_unbound', 'device_ambiguous',
    'device_alias', 'stream_silenced', 'recent_signal', 'app_muted_device_hot', 'weak_evidence', 'quiet'],
};

test('every reason of the server has its own words, and no other reason has any', () => {
  assert.deepEqual(REASON_CODES.toSorted(), [...new Set(Object.values(SAID).flat())].toSorted());
  for (const [value, reasons] of Object.entries(SAID)) {
    const unknown = describeVerdict(state(verdict(value, 'from_the_future')), NOW);
    for (const reason of reasons) {
      const shown = describeVerdict(state(verdict(value, reason)), NOW);
      assert.deepEqual([shown.value, shown.reason], [value, reason]);
      assert.notEqual(shown.means, unknown.means, reason);
      assert.ok(shown.short && shown.means.endsWith('.'), reason);
    }
  }
});

test('the reason codes are those of the domain', () => {
  const source = readFileSync(new URL('../../shared/domain/src/verdict.rs', import.meta.url), 'utf8');
  for (const reason of REASON_CODES) assert.ok(source.includes(`"${reason}"`), `${reason} is not in verdict.rs`);
});

test('every contradiction comes with advice', () => {
  for (const reason of [...SAID.contradicted, 'from_the_future']) {
    assert.ok(describeVerdict(state(verdict('contradicted', reason)), NOW).todo, reason);
  }
});

test('an unknown reason gets the words of its value, and an unknown value counts as unverified', () => {
  const shown = describeVerdict(state(verdict('verified', 'toString')), NOW);
  assert.deepEqual([shown.headline, shown.short], ['Muted, verified', 'measured']);
  assert.equal(describeVerdict(state(verdict('certified', 'digital_zero')), NOW).value, 'unverified');
  for (const nothing of [undefined, null, {}]) {
    assert.deepEqual(inForce(nothing, NOW), { value: 'unverified', reason: 'no_agent', observedAt: null, expiresAt: null, since: null });
  }
  assert.equal(describeVerdict({ isMuted: true }, NOW).headline, 'Says muted · not verified');
});

test('only a verified verdict is called verified', () => {
  for (const [value, reasons] of Object.entries(SAID)) {
    for (const reason of reasons) {
      for (const isMuted of [true, false]) {
        const { headline, short, means, todo } = describeVerdict(state(verdict(value, reason), { isMuted }), NOW);
        assert.equal(headline === `${isMuted ? 'Muted' : 'Unmuted'}, verified`, value === 'verified', headline);
        const words = [headline.replace('not verified', ''), short, means, todo].join(' ');
        assert.equal(/verified/.test(words), value === 'verified', words);
        assert.doesNotMatch(words, /proven|undefined|null/);
      }
    }
  }
});

test('a verdict expires by itself, in the server’s time', () => {
  for (const value of ['verified', 'contradicted']) {
    const v = verdict(value, 'signal_present');
    const end = NOW + 21_000;
    assert.equal(inForce(v, end).value, value);
    assert.deepEqual(inForce(v, end + 1), { value: 'stale', reason: 'attestation_expired', observedAt: NOW - 4000, expiresAt: end, since: null });
    assert.equal(describeVerdict(state(v), end + 1).headline, 'Says muted · not verified');
    assert.equal(inForce(verdict(value, 'signal_present', { expires: null }), NOW).value, 'stale', 'a verdict without an expiry has expired');
    assert.equal(inForce({ ...v, expiresAt: 'soon' }, NOW).value, 'stale');
  }
  assert.equal(inForce(verdict('unverified', 'app_muted_device_hot'), NOW + 60_000).reason, 'attestation_expired');
  for (const reason of ['no_agent', 'agent_revoked']) {
    assert.equal(inForce(verdict('unverified', reason, { expires: -60 }), NOW).reason, reason);
  }
});

test('a mute in the app with an open microphone is not a contradiction', () => {
  const shown = describeVerdict(state(verdict('unverified', 'app_muted_device_hot')), NOW);
  assert.deepEqual([shown.value, shown.short], ['unverified', 'muted in the app, microphone still hot']);
});

test('texts name the devices if they are known', () => {
  const agent = { agentId: 'agt_1', revoked: false, deviceId: 'x', deviceLabel: 'Webcam' };
  const mismatch = describeVerdict(state(verdict('contradicted', 'device_mismatch'), { agent }), NOW);
  assert.match(mismatch.means, /“Webcam” is capturing, not “Yeti”/);
  assert.match(mismatch.todo, /“Webcam”/);
  assert.match(describeVerdict(state(verdict('contradicted', 'device_mismatch'), { deviceLabel: null }), NOW).means, /another device is capturing/);
  const moved = describeVerdict(state(verdict('contradicted', 'device_mismatch'), { agent: { ...agent, deviceLabel: 'Yeti' } }), NOW);
  assert.match(moved.means, /another device is capturing, not “Yeti”/, 'the claimed device is never called another device');
  assert.match(moved.todo, /“Open it again”.*“Yeti” in your system’s sound mixer/);
  const suffixed = describeVerdict(state(verdict('contradicted', 'device_mismatch'), { agent: { ...agent, deviceLabel: 'Yeti' }, deviceLabel: 'Yeti (046d:0ab7)' }), NOW);
  assert.match(suffixed.means, /another device is capturing, not “Yeti \(046d:0ab7\)”/, 'a suffix does not make it another device');
  const first = describeVerdict(state(verdict('unverified', 'no_data', { observed: null, expires: null })), NOW);
  assert.equal(first.short, 'the agent has not measured yet');
  assert.notEqual(describeVerdict(state(verdict('unverified', 'no_data')), NOW).short, first.short);
  assert.equal(describeVerdict(state(verdict('unverified', 'device_unbound'), { deviceId: null }), NOW).short, 'no microphone named');
});

test('a verdict does not count for a claim that the server does not have yet', () => {
  assert.equal(inForce(beforeClaim(verdict('verified', 'digital_zero')), NOW).reason, 'claim_newer');
  assert.equal(inForce(beforeClaim(verdict('unverified', 'no_agent')), NOW).reason, 'no_agent');
  assert.equal(beforeClaim(undefined), undefined);
});

test('the person is asked about a device only if their answer could bind it', () => {
  const agent = { agentId: 'agt_1', revoked: false, deviceId: 'pulse:yeti', deviceLabel: 'Blue Yeti' };
  const asked = { agentId: 'agt_1', agentDeviceId: 'pulse:yeti', deviceId: 'd1', label: 'Blue Yeti' };
  for (const reason of ['device_unbound', 'device_ambiguous']) {
    const open = state(verdict('unverified', reason), { agent });
    assert.deepEqual(bindingQuestion(open, NOW), asked);
    assert.equal(bindingQuestion({ ...open, deviceId: null }, NOW), null);
    assert.equal(bindingQuestion({ ...open, deviceId: 'default' }, NOW), null, 'the default may be another device tomorrow');
    assert.equal(bindingQuestion({ ...open, agent: { ...agent, revoked: true } }, NOW), null);
    assert.equal(bindingQuestion({ ...open, agent: { ...agent, deviceId: null } }, NOW), null);
    assert.equal(bindingQuestion(open, NOW + 60_000), null, 'an expired measurement is no reason to ask');
  }
  assert.equal(bindingQuestion(state(verdict('verified', 'digital_zero'), { agent }), NOW), null);
  assert.equal(bindingQuestion(null, NOW), null);
});

const person = (userId, value, isMuted = true) => ({ userId, isMuted, value });

test('a room is safe only if the server and this page both find everybody muted and verified', () => {
  const all = [person('ada', 'verified'), person('bob', 'verified')];
  const answer = { safe: true, expiresAt: at(5), blocking: [] };
  assert.deepEqual(roomSafety(answer, all, NOW), { safe: true, expiresAt: NOW + 5000, groups: [] });
  assert.equal(roomSafety(answer, all, NOW + 5001).safe, false, 'it expires by itself');
  assert.equal(roomSafety({ ...answer, expiresAt: null }, all, NOW).safe, false);
  assert.equal(roomSafety(null, all, NOW).safe, false);
  for (const value of ['contradicted', 'stale', 'unverified']) {
    assert.equal(roomSafety(answer, [...all, person('eve', value)], NOW).safe, false, value);
  }
  assert.equal(roomSafety(answer, [...all, person('eve', 'verified', false)], NOW).safe, false);
});

test('the people who make a room unsafe are named, contradictions first', () => {
  const people = [person('ada', 'unverified'), person('bob', 'verified'), person('cleo', 'contradicted', false), person('dora', 'verified', false), person('emil', 'stale')];
  assert.deepEqual(roomSafety({ safe: false, expiresAt: null, blocking: [] }, people, NOW).groups, [
    { kind: 'contradicted', userIds: ['cleo'] }, { kind: 'unmuted', userIds: ['dora'] }, { kind: 'unverified', userIds: ['ada', 'emil'] },
  ]);
  // This page does not list zoe.
  const blocking = [{ userId: 'zoe', isMuted: true, verdict: verdict('contradicted', 'flag_lies') }];
  assert.deepEqual(roomSafety({ safe: false, expiresAt: at(5), blocking }, [person('bob', 'verified')], NOW).groups, [{ kind: 'contradicted', userIds: ['zoe'] }]);
});

test('advice can be followed: nobody is asked to bind an alias, or a device that is not measured', () => {
  const agent = { agentId: 'agt_1', revoked: false, deviceId: 'pulse:yeti', deviceLabel: 'Yeti' };
  const todo = (reason, more) => describeVerdict(state(verdict('unverified', reason), { agent, ...more }), NOW).todo;
  for (const reason of ['device_unbound', 'device_ambiguous', 'device_alias']) {
    for (const deviceId of ['default', 'Default', 'COMMUNICATIONS']) {
      assert.equal(todo(reason, { deviceId, deviceLabel: 'Default' }), 'Choose your microphone by its name in the list above.', reason);
      assert.equal(bindingQuestion(state(verdict('unverified', reason), { agent, deviceId }), NOW), null);
    }
  }
  assert.equal(todo('device_unbound', { agent: { ...agent, deviceId: null } }), 'Choose your microphone by its name in the list above.');
  assert.equal(todo('device_unbound', {}), 'Say which microphone the agent measures.');
  assert.match(todo('stream_silenced'), /mixer, un-mute .*greenroom-agent.* 100 %, or restart the agent/);
  assert.match(todo('recent_signal'), /Wait/);
});

test('the beginning of silence is shown only while the verdict is valid', () => {
  const since = NOW - 240_000;
  const silent = { ...verdict('verified', 'digital_zero'), since: new Date(since).toISOString() };
  assert.equal(inForce(silent, NOW).since, since);
  assert.equal(inForce(silent, NOW + 60_000).since, null);
  assert.equal(inForce(beforeClaim(silent), NOW).since, null);
  assert.equal(inForce({ ...silent, since: null }, NOW).since, null);
});
