import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createSingleRun } from '../single-run.js';
import { deferred } from './fake-clock.js';

test('calls during a run become one more run, and the first call gets its result', async () => {
  const runs = [];
  const single = createSingleRun(() => {
    runs.push(deferred());
    return runs.at(-1).promise;
  });
  const first = single.start();
  assert.equal(single.isRunning(), true);
  assert.deepEqual(await Promise.all([single.start(), single.start()]), [null, null]);
  runs[0].resolve('one');
  while (runs.length < 2) await Promise.resolve();
  runs[1].resolve('two');
  assert.deepEqual([await first, runs.length, single.isRunning()], ['two', 2, false]);
});

test('a run that fails does not hold up the next one', async () => {
  let works = false;
  const single = createSingleRun(async () => {
    if (!works) throw new Error('no');
    return 'yes';
  });
  await assert.rejects(single.start(), /no/);
  works = true;
  assert.equal(await single.start(), 'yes');
});
