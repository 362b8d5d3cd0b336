import { nameSlug, ID_PATTERN } from './text.js';

// No vowels, so no words; no 0/1/l/i/o, so a suffix can be read aloud.
const LETTERS = 'bcdfghjkmnpqrstvwxz';
const DIGITS = '23456789';

function randomBytes(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** Four characters with a digit in them: the digit is what tells `ada-7f3k` from `mary-jane`. */
export function makeSuffix(bytes = randomBytes(5)) {
  const both = LETTERS + DIGITS;
  const chars = [0, 1, 2, 3].map((i) => both[bytes[i] % both.length]);
  chars[bytes[4] % 4] = DIGITS[bytes[bytes[4] % 4] % DIGITS.length];
  return chars.join('');
}

/** Two people called Ada must stay two people, so a name alone is never an id. */
export function makeUserId(name, suffix = makeSuffix()) {
  return `${nameSlug(name) || 'guest'}-${suffix}`;
}

/** Splits an id for display. Both parts stay visible, otherwise two Adas would look like one. */
export function describeUser(userId) {
  const match = /^(.+)-([a-z0-9]{4})$/.exec(userId);
  const suffixed = match && /\d/.test(match[2]);
  const base = suffixed ? match[1] : userId;
  const name = base.replace(/_+/g, ' ').trim() || base;
  return { name, tag: suffixed ? match[2] : null, initials: initialsOf(name) };
}

function initialsOf(name) {
  const words = name.split(/[\s._:@-]+/).filter(Boolean);
  const letters = words.length > 1 ? words[0][0] + words[words.length - 1][0] : (words[0] ?? '?').slice(0, 2);
  return letters.toUpperCase();
}

/** Storage that never throws: with cookies blocked the page still works, it only forgets. */
export function safeStorage(pick) {
  const memory = new Map();
  let real = null;
  try { real = pick(); real.getItem('greenroom'); } catch { real = null; }
  return {
    read(key) {
      try { return JSON.parse(real ? real.getItem(key) : memory.get(key) ?? 'null'); } catch { return null; }
    },
    write(key, value) {
      const text = JSON.stringify(value);
      try { if (real) real.setItem(key, text); else memory.set(key, text); } catch { memory.set(key, text); }
    },
    remove(key) {
      memory.delete(key);
      try { real?.removeItem(key); } catch { /* nothing left to forget */ }
    },
  };
}

const SESSION = 'greenroom:session';
const REMEMBERED = 'greenroom:me';

/**
 * The joined session belongs to the tab (a refresh resumes it, a second tab may be somebody else);
 * name, id and device choice belong to the browser.
 */
export function createIdentityStore({ tab, browser }) {
  return {
    session() {
      const s = tab.read(SESSION);
      return s && ID_PATTERN.test(s.userId ?? '') && ID_PATTERN.test(s.roomId ?? '') ? s : null;
    },
    saveSession: (session) => tab.write(SESSION, session),
    updateSession(change) {
      const s = tab.read(SESSION);
      if (s) tab.write(SESSION, { ...s, ...change });
    },
    endSession: () => tab.remove(SESSION),
    remembered: () => browser.read(REMEMBERED) ?? {},
    remember: (change) => browser.write(REMEMBERED, { ...(browser.read(REMEMBERED) ?? {}), ...change }),
  };
}

/**
 * Keeps one id per browser, so that a closed tab does not leave a ghost beside its successor, but
 * takes a new one while another live tab already speaks under it. The lock lives as long as the tab.
 */
export async function claimUserId(name, remembered, locks = globalThis.navigator?.locks) {
  const reusable = remembered.userId && nameSlug(remembered.name ?? '') === nameSlug(name) && ID_PATTERN.test(remembered.userId);
  if (reusable && locks && await holdIdentity(remembered.userId, locks)) return remembered.userId;
  const fresh = makeUserId(name);
  if (locks) await holdIdentity(fresh, locks);
  return fresh;
}

const held = new Set();

/** True when this tab now holds the id. */
export async function holdIdentity(userId, locks = globalThis.navigator?.locks) {
  if (!locks) return false;
  if (held.has(userId)) return true;
  return new Promise((resolve) => {
    locks.request(`greenroom:${userId}`, { ifAvailable: true }, (lock) => {
      resolve(Boolean(lock));
      if (!lock) return undefined;
      held.add(userId);
      return new Promise(() => {});
    }).catch(() => resolve(false));
  });
}
