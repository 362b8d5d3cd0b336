// Who this person is: ids, how a person is shown, and the identity that the browser keeps.

import { cleanName, cut, graphemes, ID_PATTERN } from './text.js';

/** Crockford's base32, as in the server's own ids: without I, L, O and U, so that no digit is misread. */
const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const OWN_ID = /^u_[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
/** An id that the server has given to somebody who joined a created room. Only joining makes a state with such an id. */
const PARTICIPANT_ID = /^p_[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
/** An id that another client has made from a name: `ada-7f3k`. The suffix has a digit, so `mary-jane` is none. */
const NAMED_ID = /^(.+)-(?=[a-z]*[0-9])([a-z0-9]{4})$/;

function randomBytes(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}

/**
 * `u_` and 128 random bits in 26 digits, for a room that nobody created. Ids are logged and stored, so they say nothing
 * about the person.
 */
export function makeUserId(bytes = randomBytes(16)) {
  let bits = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  let digits = '';
  for (let place = 0; place < 26; place += 1) {
    digits = BASE32[Number(bits % 32n)] + digits;
    bits /= 32n;
  }
  return `u_${digits}`;
}

/**
 * Whether this page could have made this id. Earlier versions made ids from the person's name, or such as the
 * server now gives to participants; those are not reused.
 */
export const isOwnId = (userId) => OWN_ID.test(userId ?? '');

/** Whether the server gives such ids to participants. */
export const isParticipantId = (userId) => PARTICIPANT_ID.test(userId ?? '');

/** An id for this load of the page, so that the end of another load never ends this one's presence. */
export const makeLease = () => makeUserId().slice(2);

/** How a person is shown: by their name, or by their id if they have none. `names.js` tells those of like names apart. */
export function describeUser({ userId, name = null }) {
  const given = cleanName(name);
  if (given) return { name: given, initials: initialsOf(given) };
  if (isOwnId(userId) || isParticipantId(userId)) return { name: 'Somebody', initials: '?' };
  const [, base] = NAMED_ID.exec(userId) ?? [];
  const text = (base ?? userId).replace(/_+/g, ' ').trim() || userId;
  return { name: text, initials: initialsOf(text) };
}

function initialsOf(name) {
  const words = name.split(/[\s._:@-]+/).map(graphemes).filter((word) => word.length > 0);
  const letters = words.length > 1 ? [words[0][0], words.at(-1)[0]] : (words[0] ?? ['?']).slice(0, 2);
  // Some characters are made of many code points; an avatar has room for few.
  return letters.map((letter) => cut(letter, 8) || '?').join('').toUpperCase();
}

/** Storage that never throws. If the browser blocks storage, the page works and forgets everything when it closes. */
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
 * Keeps the joined session for the tab, so that a refresh resumes it and a second tab may be another person. Keeps the
 * name, the id and the chosen device for the browser.
 */
export function createIdentityStore({ tab, browser }) {
  return {
    session() {
      const s = tab.read(SESSION);
      return s && isOwnId(s.userId) && ID_PATTERN.test(s.roomId ?? '') ? s : null;
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
 * Reuses the browser's id, so that a person who closes the tab and joins again is not listed twice. Makes a new id
 * while another open tab uses that one. The lock lasts as long as the tab.
 */
export async function claimUserId(name, remembered, locks = globalThis.navigator?.locks) {
  // Another name means another person at the same browser.
  const reusable = isOwnId(remembered.userId) && cleanName(remembered.name) === cleanName(name);
  if (reusable && locks && await holdIdentity(remembered.userId, locks)) return remembered.userId;
  const fresh = makeUserId();
  if (locks) await holdIdentity(fresh, locks);
  return fresh;
}

const held = new Set();

/** Takes the lock on this id. Resolves to whether this tab holds it. */
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

const RELOAD_TRIES = 5;
const RELOAD_WAIT_MS = 200;
const pause = () => new Promise((resolve) => { setTimeout(resolve, RELOAD_WAIT_MS); });

/**
 * Whether this tab holds the id; true also if the browser has no locks. After a reload the previous page may hold the
 * id a moment longer, so this tries for a second.
 */
export async function isAlone(userId, { locks = globalThis.navigator?.locks, wait = pause } = {}) {
  if (!locks) return true;
  for (let tries = 0; tries < RELOAD_TRIES; tries += 1) {
    if (await holdIdentity(userId, locks)) return true;
    await wait();
  }
  return false;
}
