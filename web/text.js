// The server's rules for ids and free text, applied before anything is sent.

export const ID_PATTERN = /^[A-Za-z0-9_.:@-]{1,128}$/;
export const LABEL_MAX = 256;
export const NAME_MAX = 100;
export const TITLE_MAX = 200;
export const MESSAGE_MAX = 4000;
export const QUESTION_MAX = 1000;
export const ANSWER_MAX = 3000;
/** Longest password, in bytes of UTF-8. */
export const PASSWORD_MAX = 128;
/** How many people a room may hold. */
export const SIZE_MIN = 2;
export const SIZE_MAX = 1000;
const MESSAGE_BYTES_MAX = 8192;

// Characters that the server refuses: control characters, bidi controls, which could make a text read differently, and
// invisible characters (Default_Ignorable_Code_Point without the joiners and variation selectors).
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufff8\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}]|[\ufffe\uffff]|(?![\u0000-\uffff])\p{Noncharacter_Code_Point}/gu;
/** Blanks, joiners and variation selectors. A text of these alone is invisible. */
const UNSEEN = /[\s\u200c\u200d\u2800\u180b-\u180d\u180f\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;
const LONE_SURROGATE = /[\ud800-\udfff]/gu;

const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null;

/** The characters as a person counts them: a family emoji is one, and so is a letter with its accents. */
export function graphemes(text) {
  return segmenter ? Array.from(segmenter.segment(text), (part) => part.segment) : [...text];
}

/** The longest beginning of whole characters that has at most `max` code points, which is how the server counts. */
export function cut(text, max) {
  if ([...text].length <= max) return text;
  let room = max;
  let kept = '';
  for (const character of graphemes(text)) {
    room -= [...character].length;
    if (room < 0) break;
    kept += character;
  }
  return kept;
}

function readable(text) {
  const clean = String(text).normalize('NFC').replace(LONE_SURROGATE, ' ').replace(UNSAFE, ' ').replace(/\s{2,}/g, ' ').trim();
  return clean.replace(UNSEEN, '') === '' ? '' : clean;
}

/**
 * A device's label as it is sent and shown; null if nothing readable is left. Labels come from drivers and may hold
 * anything.
 */
export function cleanLabel(label, max = LABEL_MAX) {
  if (label == null) return null;
  return cut(readable(label), max).trim() || null;
}

/** A label without the suffixes that browsers add: a USB id, or `(Built-in)`. */
function bare(label) {
  let text = String(label ?? '').trim();
  for (let before = null; before !== text;) {
    before = text;
    text = text.replace(/\((?:[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}|Built-in)\)$/, '').trim();
  }
  return text;
}

/** Whether a browser's label and a system's name one device, as the server compares them. */
export const sameLabel = (a, b) => bare(a) !== '' && bare(a) === bare(b);

/** A person's name as it is sent and shown. */
export const cleanName = (text) => readable(text ?? '');

/** Why a name cannot be used; null if it can. */
export function nameProblem(text) {
  const name = cleanName(text);
  if (!name) return 'Enter the name the others should see.';
  return [...name].length > NAME_MAX ? `Enter at most ${NAME_MAX} characters.` : null;
}

/** Why a room cannot have this title; null if it can. */
export function titleProblem(text) {
  const title = readable(text ?? '');
  if (!title) return 'Enter a title for the room.';
  return [...title].length > TITLE_MAX ? `Enter at most ${TITLE_MAX} characters.` : null;
}

/** The title of a room as it is sent and shown. */
export const cleanTitle = (text) => readable(text ?? '');

/** Why a room cannot have this password; null if it can. It is sent as it was typed. */
export function passwordProblem(text) {
  return new TextEncoder().encode(text).length > PASSWORD_MAX ? 'This password is too long.' : null;
}

/** Why a room cannot hold this number of people, as it was typed; null if it can. */
export function sizeProblem(text) {
  const size = /^\d{1,9}$/.test(text.trim()) ? Number(text) : NaN;
  return size >= SIZE_MIN && size <= SIZE_MAX ? null : `Enter a whole number from ${SIZE_MIN} to ${SIZE_MAX}.`;
}

/** A message as it is sent: line by line under the rules of a label; empty if nothing readable is left. */
export function cleanMessage(text) {
  const lines = String(text ?? '').normalize('NFC').replace(LONE_SURROGATE, ' ').split(/\r\n?|\n/).map((line) => line.replace(UNSAFE, ' ').trimEnd());
  const clean = lines.join('\n').trim();
  return clean.replace(UNSEEN, '') === '' ? '' : clean;
}

/** Why this text cannot be sent; null if it can. */
export function messageProblem(text, max = MESSAGE_MAX) {
  const clean = cleanMessage(text);
  if (!clean) return 'Write something first.';
  const isLong = [...clean].length > max || new TextEncoder().encode(clean).length > MESSAGE_BYTES_MAX;
  return isLong ? `Too long: at most ${max} characters.` : null;
}

const latin = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').replace(/ß/g, 'ss').replace(/[øØ]/g, 'o').replace(/[æÆ]/g, 'ae').replace(/[łŁ]/g, 'l');
const EDGES = /^[-_.:@]+|[-_.:@]+$/g;

/** FNV-1a of 64 bits, as 11 digits. It keeps thousands of room names apart; it is not meant to hide them. */
function digest(text) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return (hash >> 9n).toString(32).padStart(11, '0');
}

/**
 * The id of the room with this name; empty if the name has neither a letter nor a digit.
 *
 * It is in lower case, because "Weekly Sync" and "weekly sync" typed on two phones must lead to the same room. An id
 * has Latin letters only, so the id of a name with other letters ends in a hash of the whole name; otherwise different
 * names would lead to the same room. Leading and trailing dots are removed: a path segment of dots would not survive a
 * URL.
 */
export function roomSlug(text) {
  const name = String(text ?? '').replace(LONE_SURROGATE, '');
  const folded = latin(name).toLowerCase();
  const slug = folded.replace(/[^a-z0-9_.:@-]+/g, '-').replace(/-{2,}/g, '-').replace(EDGES, '');
  if (!/(?![a-z])[\p{L}\p{Nd}\p{Nl}]/u.test(folded.replace(/[0-9]/g, '')) && slug.length <= 128) return slug;
  const whole = name.normalize('NFKC').toLowerCase().normalize('NFKC').replace(/\p{Cf}/gu, '').replace(/[^\p{L}\p{M}\p{N}]+/gu, ' ').trim();
  const hash = digest(whole);
  const readablePart = slug.slice(0, 127 - hash.length).replace(EDGES, '');
  return readablePart ? `${readablePart}-${hash}` : hash;
}

/** Why a room cannot have this id; null if it can. */
export function roomProblem(slug) {
  if (!slug) return 'Enter a room name with at least one letter or digit, in any script.';
  return /^greenroom-/i.test(slug) ? 'Choose another name: those that begin with “greenroom-” are reserved.' : null;
}

/** The id of a room that somebody created. */
const CREATED_ID = /^rm_[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
/** A created room's name in links: letters of any script, and 13 random digits. */
const SLUG = /^(?:[\p{L}\p{N}-]{0,36}-)?[a-z0-9]{13}$/u;

/**
 * Whether this may be the name of a room that somebody created, in letters that an id cannot have. Only the server
 * knows whether it is one.
 */
const isForeignSlug = (text) => SLUG.test(text) && !ID_PATTERN.test(text);

/**
 * The room of a link. A valid id is used unchanged, because another client may have made it, and so is the name of a
 * created room; other texts become an id.
 */
export function roomFromLink(search) {
  const raw = new URLSearchParams(search).get('room')?.trim().normalize('NFC') ?? '';
  if ((ID_PATTERN.test(raw) && !/^\.+$/.test(raw)) || isForeignSlug(raw)) return raw;
  return roomSlug(raw);
}

/** The room that a person means who types or pastes this: a link, the id of a created room, or a room's name. */
export function roomFromText(text) {
  const typed = String(text ?? '').trim().normalize('NFC');
  const query = /^(?:https?:\/\/|[^\s/?]*\/?\?)[^\s]*$/i.test(typed) ? typed.slice(typed.indexOf('?') + 1) : '';
  const linked = query && new URLSearchParams(query.split('#')[0]).has('room') ? roomFromLink(query.split('#')[0]) : '';
  if (linked) return linked;
  if (CREATED_ID.test(typed)) return typed;
  return isForeignSlug(typed) && typed === typed.toLowerCase() ? typed : roomSlug(typed);
}

/** What to look up for a room, the likelier first: a name in other letters may be a created room's, or anybody's. */
export const readingsOf = (room) => (isForeignSlug(room) ? [room, roomSlug(room)] : [room]);
