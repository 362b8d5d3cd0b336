import { momentOf } from './time.js';

/**
 * The command that pairs the agent on this person's machine and lets it watch. Ids and codes hold nothing that a shell
 * would read (`ID_PATTERN` in text.js, Crockford's base32).
 */
export function pairingCommand(origin, userId, code) {
  return `greenroom-agent enroll --url ${origin} --user ${userId} --code ${code} && greenroom-agent watch`;
}

/** `9:41`, from milliseconds. */
export function formatCountdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/**
 * Where a person stands with the agent: `none`, `code` (shown, and still good), `expired` (shown too long), `paired`
 * or `revoked`.
 */
export function pairingStage(pairing, agent, serverNow) {
  const paired = agent && !agent.revoked && agent.agentId !== pairing.stopped;
  if (pairing.code && serverNow < pairing.code.expiresAt) return 'code';
  if (paired) return 'paired';
  if (pairing.code) return 'expired';
  return agent ? 'revoked' : 'none';
}

/** Asks for codes, and ends a pairing. What the agent has done is known from the person's state alone. */
export function createPairing({ api, userId, onChange = () => {}, announce = () => {} }) {
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
    view: () => view,
    /** Asks for a code. A new one replaces the old one. */
    start: (agent) => attempt(async () => {
      const { code, expiresAt } = await api.startPairing(userId);
      set({ code: { text: code, expiresAt: momentOf(expiresAt) ?? 0, before: agent?.agentId ?? null } });
      announce('A code for the agent is shown. It is good for ten minutes.');
    }),
    cancel() { set({ code: null, problem: null }); },
    stop: (agent) => attempt(async () => {
      await api.revokeAgent(agent.agentId).catch((error) => { if (error.status !== 404) throw error; });
      set({ stopped: agent.agentId, code: null });
      announce('The agent was stopped. Your claims are not measured any more.');
    }),
    /** Says that the agent's device and the browser's are one; gives the answer on to `onState`. */
    bind: (question, onState) => attempt(async () => {
      onState(await api.bindAgent(question.agentId, { deviceId: question.deviceId, agentDeviceId: question.agentDeviceId }));
      set({ bound: `${question.deviceId} ${question.agentDeviceId}` });
      announce('The microphones are bound.');
    }),
    /** The person's state has come: a code that has served its purpose goes. */
    see(agent) {
      if (!view.code || !agent || agent.revoked || agent.agentId === view.code.before) return;
      set({ code: null, problem: null });
      announce('The agent is paired.');
    },
  };
}
