import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { createWitness } from '../witness.js';
import { createWitnessStore } from '../witness-store.js';
import { fakeClock, fakeStorage } from './fake-clock.js';

const ADA = 'p_ada';
const token = (letter) => letter.repeat(43);
const unused = () => new ApiError({ status: 404, code: 'agent_not_found' });
const nobody = () => new ApiError({ status: 404, code: 'user_not_found' });
const revoked = () => new ApiError({ status: 410, code: 'agent_revoked' });

/** One tab of a browser; tabs share the storage. `answers` has the server's answer for each token. */
function tab(storage = fakeStorage(), userId = ADA) {
  const clock = fakeClock();
  const offered = [];
  const attached = [];
  const answers = {};
  const api = {
    attachAgent: async (whom, what) => {
      assert.equal(whom, userId);
      offered.push(what[0]);
      const answer = answers[what[0]] ?? unused();
      if (answer instanceof Error) throw answer;
      return { userId, agent: { agentId: answer } };
    },
  };
  const store = createWitnessStore(storage);
  const witness = createWitness({ api, userId, store, serverNow: clock.now, ...clock, random: () => 1, onAttached: (state, isNew) => attached.push([state.agent.agentId, isNew]) });
  return { clock, witness, store, storage, answers, offered: () => offered.splice(0), attached };
}

test('while a code is shown, its token is presented until an agent has used the code', async () => {
  const t = tab();
  t.witness.await(token('a'), t.clock.now() + 600_000);
  await t.clock.advance(9000);
  assert.deepEqual(t.offered(), ['a', 'a', 'a', 'a']);
  assert.equal(t.witness.isPaired(), false);
  t.answers.a = 'agt_1';
  await t.clock.advance(60_000);
  assert.deepEqual([t.offered(), t.attached, t.witness.isPaired(), t.clock.waiting()], [['a'], [['agt_1', true]], true, 0]);
});

test('one pairing works for many meetings, ids and tabs', async () => {
  const first = tab();
  first.store.settle(token('a'), 'agt_1');
  for (const userId of [ADA, 'p_other']) {
    const later = tab(first.storage, userId);
    later.answers.a = 'agt_1';
    assert.equal(await later.witness.present(), 'attached');
    assert.deepEqual([later.offered(), later.attached], [['a'], [['agt_1', false]]]);
  }
  assert.equal(await tab().witness.present(), 'no', 'without a token nothing is sent');
});

test('a person who comes back while a code is being offered attaches the agent from before', async () => {
  const t = tab();
  t.store.settle(token('a'), 'agt_1');
  t.answers.a = 'agt_1';
  t.witness.await(token('b'), t.clock.now() + 600_000);
  t.witness.present();
  await t.clock.settle();
  assert.deepEqual([t.offered(), t.attached], [['b', 'b', 'a'], [['agt_1', false]]]);
});

test('an unused code does not detach the agent from before', async () => {
  const t = tab();
  t.store.settle(token('a'), 'agt_1');
  t.witness.await(token('b'), t.clock.now() + 5000);
  await t.clock.advance(60_000);
  t.offered();
  t.answers.a = 'agt_1';
  await t.witness.present();
  assert.deepEqual([t.offered(), t.attached], [['b', 'a'], [['agt_1', false]]]);
  await t.witness.present();
  assert.deepEqual(t.offered(), ['a'], 'an unused token is forgotten once its code has expired');
});

test('a token is kept after a failed call, and presented again', async () => {
  const t = tab();
  t.store.settle(token('a'), 'agt_1');
  for (const error of [new ApiError({}), new ApiError({ status: 503 }), nobody()]) {
    t.answers.a = error;
    assert.equal(await t.witness.present(), 'later');
    t.answers.a = 'agt_1';
    await t.clock.advance(10_000);
    assert.deepEqual(t.offered(), ['a', 'a'], String(error.status));
  }
  t.answers.a = unused();
  assert.equal(await t.witness.present(), 'no');
  assert.equal(t.witness.isPaired(), true, 'only a revocation ends it');
});

test('a revoked agent’s token is forgotten', async () => {
  const t = tab();
  t.store.settle(token('a'), 'agt_1');
  t.answers.a = revoked();
  await t.witness.present();
  assert.deepEqual([t.witness.isPaired(), t.clock.waiting()], [false, 0]);
});

test('open codes of two tabs do not interfere', async () => {
  const first = tab();
  first.witness.await(token('a'), first.clock.now() + 600_000);
  const second = tab(first.storage, 'p_other');
  second.witness.await(token('b'), second.clock.now() + 600_000);
  await second.clock.settle();
  assert.deepEqual(second.offered(), ['b']);
  second.answers.b = 'agt_2';
  await second.clock.advance(3000);
  first.answers.a = 'agt_1';
  await first.clock.advance(3000);
  assert.deepEqual([first.attached, second.attached], [[['agt_1', true]], [['agt_2', true]]]);
});

test('a code survives a reload of the page, but not its cancellation', async () => {
  const before = tab();
  before.witness.await(token('a'), before.clock.now() + 600_000);
  before.witness.stop();
  const after = tab(before.storage);
  after.answers.a = 'agt_1';
  await after.witness.present();
  assert.deepEqual(after.attached, [['agt_1', true]]);
  after.witness.await(token('b'), after.clock.now() + 600_000);
  after.witness.cancel();
  after.offered();
  await after.clock.advance(60_000);
  assert.deepEqual([after.offered(), after.witness.isPaired(), after.clock.waiting()], [[], true, 0]);
});

test('stopping an agent forgets only that agent’s token', () => {
  const t = tab();
  t.store.settle(token('a'), 'agt_1');
  t.witness.forget('agt_2');
  assert.equal(t.witness.isPaired(), true);
  t.witness.forget('agt_1');
  assert.equal(t.witness.isPaired(), false);
});

test('a damaged token in storage is ignored', () => {
  for (const damaged of ['x', 7, { current: { token: 'short' }, open: 'no' }, { current: 'x'.repeat(43), open: [{ token: '/'.repeat(43) }] }]) {
    const storage = fakeStorage();
    storage.write('greenroom:witness', damaged);
    assert.deepEqual(createWitnessStore(storage).read(), { current: null, open: [] });
  }
});
