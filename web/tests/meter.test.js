import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createMeter } from '../microphone/meter.js';

/** An audio graph that delivers a constant sample value, and counts what is connected to it. */
function audio({ state = 'running', value = 1 } = {}) {
  const world = { value, connected: 0, closed: 0, resumed: 0, contexts: [] };
  class AudioContext {
    constructor() {
      this.state = state;
      world.contexts.push(this);
    }

    createAnalyser() { return { getFloatTimeDomainData: (samples) => samples.fill(world.value) }; }

    createMediaStreamSource() {
      if (world.refuses) throw new DOMException('no', 'NotSupportedError');
      return { connect: () => { world.connected += 1; }, disconnect: () => { world.connected -= 1; } };
    }

    async resume() { world.resumed += 1; }

    async close() { world.closed += 1; }
  }
  return { AudioContext, world };
}

function setup(t, options) {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { AudioContext, world } = audio(options);
  const person = { isMuted: false };
  const levels = [];
  const paused = [];
  const meter = createMeter({ AudioContext, levelMs: 100, isMuted: () => person.isMuted, onPaused: (is) => paused.push(is) });
  const unsubscribe = meter.onLevel((level) => levels.push(level));
  return { meter, world, person, paused, unsubscribe, tick: () => t.mock.timers.tick(100), take: () => levels.splice(0) };
}

test('a listener gets the level at once and then at every reading', (t) => {
  const { meter, world, unsubscribe, tick, take } = setup(t);
  meter.start({});
  assert.deepEqual(take(), [0, 0]);
  tick();
  world.value = 0;
  tick();
  assert.deepEqual(take(), [100, 60], 'a level falls slowly');
  unsubscribe();
  tick();
  assert.deepEqual(take(), []);
});

test('a muted person’s level is 0, from the moment of the mute', (t) => {
  const { meter, person, tick, take } = setup(t);
  meter.start({});
  tick();
  take();
  person.isMuted = true;
  meter.drop();
  tick();
  assert.deepEqual(take(), [0, 0]);
});

test('a second stream replaces the first, and stopping reads nothing more', (t) => {
  const { meter, world, tick, take } = setup(t);
  meter.start({});
  meter.start({});
  assert.deepEqual([world.connected, world.contexts.length], [1, 1]);
  meter.stop();
  take();
  tick();
  assert.deepEqual([world.connected, take()], [0, []]);
});

test('closing gives the audio context back, and a later stream gets a new one', (t) => {
  const { meter, world } = setup(t);
  meter.start({});
  meter.close();
  meter.start({});
  assert.deepEqual([world.closed, world.contexts.length], [1, 2]);
  meter.close();
});

test('suspended audio is reported and resumed; a closed context reports nothing', (t) => {
  const { meter, world, paused } = setup(t, { state: 'suspended' });
  meter.start({});
  assert.deepEqual([meter.isPaused(), world.resumed], [true, 1]);
  const [context] = world.contexts;
  context.state = 'running';
  context.onstatechange();
  assert.deepEqual([paused, meter.isPaused()], [[false], false]);
  meter.close();
  context.onstatechange();
  assert.deepEqual(paused, [false]);
});

test('without an audio context, or with one that refuses the stream, the level stays 0', (t) => {
  const { meter, world, tick, take } = setup(t);
  world.refuses = true;
  meter.start({});
  tick();
  assert.deepEqual([...new Set(take())], [0]);
  const none = createMeter({ AudioContext: null, levelMs: 100, isMuted: () => false, onPaused: () => {} });
  none.start({});
  assert.equal(none.isPaused(), false);
});
