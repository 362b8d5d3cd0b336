// Presents this browser's witness tokens to the server, so that the paired agent measures for the person who is here.

import { backoffDelay } from './backoff.js';
import { createSingleRun } from './single-run.js';
import { createTimer } from './time.js';

/** How often a token is presented while its code is shown. */
const PRESENT_MS = 3000;

/** Offers tokens to the server until one is accepted. `onAttached` gets the state, and whether a new code was used. */
function createOffers({ api, userId, store, serverNow, onAttached }) {
  let isWanted = false;

  const ownOpen = () => store.read().open.filter((entry) => entry.userId === userId && serverNow() < entry.until);

  /**
   * The tokens to offer. The token of an expired code is either used or worthless, so any tab may offer it. The token
   * of an open code is offered only for the person who has asked for the code.
   */
  function candidates() {
    const { current, open } = store.read();
    const over = open.filter((entry) => serverNow() >= entry.until);
    return [...ownOpen(), ...(isWanted ? [...over, current].filter(Boolean) : [])];
  }

  /** The outcome for one token: `attached`, `no`, or `later` if the server may accept it another time. */
  async function offer({ token, until }) {
    try {
      const state = await api.attachAgent(userId, token);
      store.settle(token, state.agent?.agentId ?? null);
      onAttached(state, until !== undefined);
      return 'attached';
    } catch (error) {
      const isUnused = error.status === 404 && error.code === 'agent_not_found';
      if (error.status === 410 || (isUnused && until !== undefined && serverNow() >= until)) store.forget(token);
      return error.retryable || (error.status === 404 && !isUnused) ? 'later' : 'no';
    }
  }

  return {
    ownOpen,
    /** From the next round on, the current token and those of expired codes are offered too, until one is accepted. */
    want() { isWanted = true; },
    async round() {
      const offered = candidates();
      // A call of `want` during this round counts for the next round.
      const wasWanted = isWanted;
      isWanted = false;
      for (const candidate of offered) {
        const outcome = await offer(candidate);
        if (outcome === 'later') isWanted ||= wasWanted;
        if (outcome !== 'no') return outcome;
      }
      return 'no';
    },
  };
}

/** `onAttached` gets the state that shows the agent, and whether it was attached by a code that was not used before. */
export function createWitness({
  api, userId, store, serverNow, onAttached = () => {}, onChange = () => {}, setTimeout, clearTimeout, random = Math.random,
}) {
  const timer = createTimer({ setTimeout, clearTimeout });
  let failures = 0;
  let isStopped = false;
  const offers = createOffers({
    api, userId, store, serverNow, onAttached: (state, isNew) => { if (!isStopped) onAttached(state, isNew); },
  });

  const rounds = createSingleRun(async () => {
    if (isStopped) return 'no';
    timer.clear();
    const outcome = await offers.round();
    failures = outcome === 'later' ? failures + 1 : 0;
    onChange();
    if (isStopped) return outcome;
    if (outcome === 'later') timer.set(rounds.start, Math.max(PRESENT_MS, backoffDelay(failures, { random })));
    else if (offers.ownOpen().length > 0) timer.set(rounds.start, PRESENT_MS);
    return outcome;
  });

  return {
    /**
     * The person has joined or come back, or asks for it: presents this browser's tokens. Resolves to the outcome.
     */
    present() {
      offers.want();
      return rounds.start();
    },
    /** A code is shown: presents its token until an agent has used the code. */
    await(token, until) {
      store.open(token, userId, until);
      rounds.start();
    },
    /** The person takes back the codes that no agent has used. */
    cancel() { for (const entry of offers.ownOpen()) store.forget(entry.token); },
    /** This agent was stopped. Without an id: the person unpairs this browser from its current agent. */
    forget(agentId = null) {
      const { current } = store.read();
      if (current && (agentId === null || current.agentId === agentId)) store.forget(current.token);
      onChange();
    },
    /** Whether this browser is paired with an agent. */
    isPaired: () => store.read().current !== null,
    stop() {
      isStopped = true;
      timer.clear();
    },
  };
}
