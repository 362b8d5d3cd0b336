// What the server accepts as an id and as free text, applied before anything is sent.

export const ID_PATTERN = /^[A-Za-z0-9_.:@-]{1,128}$/;
export const LABEL_MAX = 256;

// Control characters, and the bidi controls that could make a label read as something else.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\u{e0000}-\u{e007f}]|[\ufffe\uffff]|(?![\u0000-\uffff])\p{Noncharacter_Code_Point}/gu;

/** Labels come from drivers, so they may hold anything; null stands for "nothing to say". */
export function cleanLabel(label, max = LABEL_MAX) {
  if (label == null) return null;
  const text = String(label).normalize('NFC').replace(UNSAFE, ' ').replace(/ {2,}/g, ' ').trim();
  return [...text].slice(0, max).join('').trim() || null;
}

const latin = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').replace(/ß/g, 'ss').replace(/[øØ]/g, 'o').replace(/[æÆ]/g, 'ae').replace(/[łŁ]/g, 'l');

/**
 * Lower case, because "Weekly Sync" and "weekly sync" typed on two phones must be one room.
 * Leading and trailing dots go as well: a path segment of dots would not survive a URL.
 */
export function roomSlug(text) {
  return latin(String(text ?? '')).toLowerCase()
    .replace(/[^a-z0-9_.:@-]+/g, '-').replace(/-{2,}/g, '-')
    .slice(0, 128).replace(/^[-_.:@]+|[-_.:@]+$/g, '');
}

/** A room id taken from a link is used as it stands, or not at all: it may have been made elsewhere. */
export function roomFromLink(search) {
  const raw = new URLSearchParams(search).get('room')?.trim() ?? '';
  if (ID_PATTERN.test(raw) && !/^\.+$/.test(raw)) return raw;
  return roomSlug(raw);
}

/** The part of a user id that carries the name: case is kept, blanks become `_` so they can come back. */
export function nameSlug(text, max = 123) {
  return latin(String(text ?? '')).trim()
    .replace(/\s+/g, '_').replace(/[^A-Za-z0-9_.:@-]+/g, '')
    .slice(0, max).replace(/^[-_.:@]+|[-_.:@]+$/g, '');
}
