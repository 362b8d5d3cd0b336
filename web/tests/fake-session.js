// A session with a server in memory, for the tests of what a page does.

import { ApiError } from '../http.js';
import { createSession } from '../session.js';
import { createWitnessStore } from '../witness-store.js';
import { fakeBeat, fakeClock, fakeStorage } from './fake-clock.js';
import { fakeSockets } from './fake-socket.js';

export const ME = 'u_01JD0Q2K3V4W5X6Y7Z8A9BCDEF';
export const TOKEN = 't'.repeat(43);

/**
 * A session with a server in memory that has one room, and a microphone that the test controls. With `isLive`, the server
 * has a socket for it.
 */
export function setup({ muted = true, joined = true, mic: opens = true, storage = fakeStorage(), meeting = null, isLive = false } = {}) {
  const clock = fakeClock();
  const calls = [];
  const said = [];
  const world = { states: new Map(), down: false, hideFromRoom: false, changed: true, safety: { safe: false, expiresAt: null }, safetyCalls: 0 };
  let version = 0;
  const write = (userId, change) => {
    version += 1;
    const state = { createdAt: '2026-11-21T10:00:00.000Z', ...world.states.get(userId), ...change, userId, version, lastUpdated: `t${version}` };
    delete state.seq;
    world.states.set(userId, state);
    return { ...state };
  };
  const call = (name, run) => async (...args) => {
    calls.push([name, ...args]);
    if (world.down) throw new ApiError({});
    return run(...args);
  };
  const known = (userId) => { if (!world.states.has(userId)) throw new ApiError({ status: 404 }); };
  const api = {
    putState: call('post', (userId, body) => write(userId, body)),
    patchMute: call('mute', (userId, body) => {
      known(userId);
      if (world.refusal && !body.isMuted) throw world.refusal;
      if (world.unapplied) return { ...world.states.get(userId), applied: false };
      return { ...write(userId, { isMuted: body.isMuted }), applied: true };
    }),
    patchDevice: call('device', (userId, body) => { known(userId); return write(userId, { deviceId: body.deviceId, deviceLabel: body.deviceLabel }); }),
    getUser: call('get', (userId) => { known(userId); return { ...world.states.get(userId) }; }),
    removeUser: call('delete', (userId) => { known(userId); world.states.delete(userId); }),
    roomUsers: async () => {
      world.reads += 1;
      // A test that holds a reading back may also say whom it lists.
      const listed = world.reading ? await world.reading : null;
      if (world.down) throw new ApiError({});
      if (world.over) throw world.over;
      return { room: meeting && { ...meeting.room, muteRequest: world.muteRequest ?? null }, waiting: world.waiting ?? [], warning: null, changed: world.changed, truncated: false, items: listed ?? (world.hideFromRoom ? [] : [...world.states.values()].map((s) => ({ ...s }))) };
    },
  };
  api.roomSafety = async () => {
    world.safetyCalls += 1;
    if (world.safety instanceof Error) throw world.safety;
    return world.safety;
  };
  api.startPairing = call('pair', () => ({ code: 'C', witness: TOKEN, expiresAt: clock.now() + 600_000 }));
  api.stopAgent = call('stop', () => ({ success: true }));
  // Kept apart from the calls, because they are sent by timers and change no claim.
  world.reads = 0;
  world.presences = [];
  world.leaves = [];
  world.offers = [];
  api.renewPresence = async (roomId, body) => {
    if (world.down) throw new ApiError({});
    world.presences.push([roomId, body]);
    if (world.states.get(body.participantId)?.roomId !== roomId) throw new ApiError({ status: 404 });
  };
  api.quitRoom = call('quit', async () => {
    if (world.quitting) await world.quitting;
    return { left: true };
  });
  api.endRoom = call('end', async () => {
    if (world.ending) await world.ending;
    return { success: true, sessionStats: { totalParticipants: 2 } };
  });
  api.changeParticipant = call('change', async () => {
    if (world.changing) await world.changing;
  });
  api.leaveRoom = (roomId, body) => { world.leaves.push([roomId, body]); };
  api.attachAgent = async (userId, token) => {
    world.offers.push(token);
    if (!world.enrolled) throw new ApiError({ status: 404, code: 'agent_not_found' });
    known(userId);
    world.states.set(userId, { ...world.states.get(userId), agent: { agentId: 'agt_1', revoked: false, deviceId: 'x', deviceLabel: 'Mic' } });
    return { ...world.states.get(userId) };
  };
  api.bindAgent = call('bind', () => write(ME, {}));
  const track = { muted, status: 'off', renewed: 0, looks: 0 };
  let changed = () => {};
  const view = () => ({ status: track.status, deviceId: track.status === 'live' ? 'd1' : null, label: track.status === 'live' ? 'Mic' : null, devices: [], lost: null });
  const createMicrophone = ({ onChange }) => {
    changed = () => onChange(view());
    return {
      view,
      setMuted: (m) => { track.muted = m; },
      start: async () => { track.status = opens ? 'live' : 'denied'; changed(); return opens; },
      choose: async () => true,
      renew: async () => { track.renewed += 1; changed(); return track.status === 'live' && !track.refuses; },
      look: async () => { track.looks += 1; },
      stop: () => { track.status = 'off'; },
    };
  };
  const saved = {};
  const store = { updateSession: (c) => Object.assign(saved, c), remember: () => {}, endSession: () => { saved.ended = true; } };
  const confirmed = joined ? write(ME, { isMuted: muted, deviceId: null, deviceLabel: null, roomId: 'r' }) : null;
  let snapshot = null;
  let seq = 0;
  const beat = fakeBeat();
  const server = fakeSockets();
  const session = createSession({
    api, store, createMicrophone, userId: ME, name: 'Ada', lease: 'lease-of-this-load', roomId: 'r', confirmed, random: () => 1, beat,
    witnessStore: createWitnessStore(storage),
    nextSeq: () => { seq += 1; return seq; }, now: clock.now,
    timers: { setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout }, onChange: (s) => { snapshot = s; },
    announce: (text) => said.push(text), meeting, socket: isLive ? { url: 'ws://h/ws', token: 'T', open: server.open } : null, onOver: (error) => { world.told = error; },
  });
  return {
    api, server, clock, calls, said, world, track, session, saved, write, beat, storage,
    view: () => snapshot, me: () => world.states.get(ME),
    lose: () => { track.status = 'unplugged'; changed(); },
    names: () => calls.map((c) => c[0]),
  };
}

/** The same, after the page has opened its microphone and read the room. */
export async function started(options) {
  const t = setup(options);
  t.session.start();
  await t.clock.settle();
  return t;
}
