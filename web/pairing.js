// Pairing this person with the agent on their machine: the command, the stages, and the calls.

import { momentOf } from './time.js';

/**
 * The command that pairs the agent on this person's machine and starts it. Ids (`ID_PATTERN` in text.js) and codes
 * (Crockford's base32) hold no character that is special to a shell.
 */
export function pairingCommand(origin, userId, code) {
  return `greenroom-agent enroll --url ${origin} --user ${userId} --code ${code} && greenroom-agent watch`;
}

/** Milliseconds as minutes and seconds: `9:41`. */
export function formatCountdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/**
 * The stage of pairing: `none`, `code` (a valid code is shown), `expired` (the shown code has expired), `paired`,
 * `idle` (an agent is paired with this browser, but does not measure for this person) or `revoked`.
 */
export function pairingStage(pairing, agent, serverNow) {
  const paired = agent && !agent.revoked && agent.agentId !== pairing.stopped;
  if (pairing.code && serverNow < pairing.code.expiresAt) return 'code';
  if (paired) return 'paired';
  if (pairing.code) return 'expired';
  if (pairing.kept) return 'idle';
  return agent || pairing.stopped ? 'revoked' : 'none';
}

/** Asks for codes and ends pairings. Only the person's state says whether an agent has used a code. */
export function createPairing({ api, userId, witness, onChange = () => {}, announce = () => {} }) {
  let view = { code: null, busy: false, problem: null, stopped: null, bound: null };

  function set(change) {
    view = { ...view, ...change };
    onChange();
  }

  async function attempt(run) {
    if (view.busy) return;
    set({ busy: true, problem: null });
    try {
      await run();
    } catch (error) {
      set({ problem: error.status === 0 ? 'The server cannot be reached right now.' : `The server refused: ${error.detail ?? 'something went wrong.'}` });
    } finally {
      set({ busy: false });
    }
  }

  return {
    view: () => ({ ...view, kept: witness.isPaired() }),
    /** Asks for a code. A new one replaces the old one. */
    start: (agent) => attempt(async () => {
      const { code, witness: token, expiresAt } = await api.startPairing(userId);
      const until = momentOf(expiresAt) ?? 0;
      set({ code: { text: code, expiresAt: until, before: agent?.agentId ?? null } });
      witness.await(token, until);
      announce('A code for the agent is shown. It is good for ten minutes.');
    }),
    cancel() {
      witness.cancel();
      set({ code: null, problem: null });
    },
    stop: (agent) => attempt(async () => {
      await api.stopAgent(userId).catch((error) => { if (error.status !== 404) throw error; });
      witness.forget(agent.agentId);
      set({ stopped: agent.agentId, code: null });
      announce('The agent was stopped. Your claims are not measured any more.');
    }),
    /** Lets the agent that this browser is paired with measure here. */
    attach: () => attempt(async () => {
      if (await witness.present() === 'no') set({ problem: 'The server does not know this agent any more. Pair it again.' });
    }),
    /** Unpairs this browser from an agent that measures nothing here. */
    forget() {
      witness.forget();
      set({ problem: null });
    },
    /** Tells the server that the agent's device and the browser's are the same; `onState` gets the answer. */
    bind: (question, onState) => attempt(async () => {
      onState(await api.bindAgent(question.agentId, { deviceId: question.deviceId, agentDeviceId: question.agentDeviceId }));
      set({ bound: `${question.deviceId} ${question.agentDeviceId}` });
      announce('The microphones are bound.');
    }),
    /** This browser's token has attached an agent; `isNew`: with the code that is shown. */
    attached(isNew) {
      set(isNew ? { stopped: null, problem: null, code: null } : { stopped: null, problem: null });
      announce(isNew ? 'The agent is paired.' : 'Your agent measures here.');
    },
    /** The person's state has arrived: a code that an agent has used is no longer shown. */
    see(agent) {
      if (!view.code || !agent || agent.revoked || agent.agentId === view.code.before) return;
      set({ code: null, problem: null });
      announce('The agent is paired.');
    },
  };
}
