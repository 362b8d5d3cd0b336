// The witness tokens that this browser keeps. Pairing gives out a token, and a person who presents it attaches the
// agent to themselves. So a token is as secret as a password, and is never shown.

const KEY = 'greenroom:witness';
const TOKEN = /^[A-Za-z0-9_-]{43}$/;
/** How many tokens of unused codes are kept. */
const OPEN_MAX = 8;

/**
 * `current` is the token that has attached an agent, `open` are the tokens of codes that no agent has used yet. The
 * storage is read again for each change, because other tabs change it too.
 */
export function createWitnessStore(storage) {
  function read() {
    const stored = storage.read(KEY);
    const current = TOKEN.test(stored?.current?.token ?? '') ? stored.current : null;
    const open = Array.isArray(stored?.open) ? stored.open.filter((entry) => TOKEN.test(entry?.token ?? '')) : [];
    return { current, open };
  }
  const write = (kept) => storage.write(KEY, kept);
  const without = (kept, token) => ({
    current: kept.current?.token === token ? null : kept.current,
    open: kept.open.filter((entry) => entry.token !== token),
  });

  return {
    read,
    /** This person has asked for a code. Its token attaches an agent once an agent has used the code. */
    open(token, userId, until) {
      const kept = without(read(), token);
      write({ ...kept, open: [{ token, userId, until }, ...kept.open].slice(0, OPEN_MAX) });
    },
    /** The token has attached an agent. */
    settle(token, agentId) {
      write({ ...without(read(), token), current: { token, agentId } });
    },
    forget: (token) => write(without(read(), token)),
  };
}
