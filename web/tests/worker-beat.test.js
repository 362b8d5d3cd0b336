import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createSharedBeat } from '../worker-beat.js';

test('several listeners share one beat, which runs while there is one', () => {
  const begun = [];
  const beat = createSharedBeat((run) => {
    begun.push({ run, isOver: false });
    const own = begun.at(-1);
    return () => { own.isOver = true; };
  });
  const heard = [];
  const ends = ['a', 'b'].map((name) => beat(() => heard.push(name)));
  begun[0].run();
  ends[0]();
  ends[0]();
  begun[0].run();
  assert.deepEqual([begun.length, begun[0].isOver, heard.join('')], [1, false, 'abb']);
  ends[1]();
  assert.equal(begun[0].isOver, true);
  const again = beat(() => heard.push('c'));
  begun[1].run();
  again();
  assert.deepEqual([begun[1].isOver, heard.join('')], [true, 'abbc']);
});

test('who stops listening during a beat is not called in it', () => {
  let run = null;
  const beat = createSharedBeat((r) => { run = r; return () => {}; });
  const heard = [];
  beat(() => { heard.push('a'); end(); });
  const end = beat(() => heard.push('b'));
  run();
  assert.deepEqual(heard, ['a']);
});
