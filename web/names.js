// Finds the names in a room that people could take for one another.

import { describeUser } from './identity.js';

/** How many last digits of an id are shown at least. */
const SUFFIX_LENGTH = 4;

/**
 * Letters of other scripts, and digits, that look like a Latin letter. A letter's two cases may look like different
 * letters: a Greek capital Nu is an N, and a small one is a v. It is a small table; Unicode's own has thousands of pairs.
 *
 * https://www.unicode.org/reports/tr39/
 */
const LOOKS_LIKE = new Map(Object.entries({
  // Cyrillic
  А: 'A', В: 'B', Е: 'E', Ѕ: 'S', І: 'I', Ј: 'J', К: 'K', М: 'M', Н: 'H', О: 'O', Р: 'P', С: 'C', Т: 'T', У: 'Y', Х: 'X', З: '3', Ԛ: 'Q', Ԝ: 'W', Һ: 'h', Ӏ: 'l', Ү: 'Y', Ѵ: 'V', Ѡ: 'W', Ԍ: 'G', Г: 'Γ', Л: 'Λ', П: 'Π', Ф: 'Φ',
  а: 'a', в: 'b', е: 'e', ѕ: 's', і: 'i', ј: 'j', к: 'k', м: 'm', н: 'h', о: 'o', р: 'p', с: 'c', т: 't', у: 'y', х: 'x', з: '3', ԛ: 'q', ԝ: 'w', һ: 'h', ӏ: 'l', г: 'r', п: 'n', ԁ: 'd', ь: 'b', ү: 'y', ѵ: 'v', ѡ: 'w',
  // Greek
  Α: 'A', Β: 'B', Ε: 'E', Ζ: 'Z', Η: 'H', Ι: 'I', Κ: 'K', Μ: 'M', Ν: 'N', Ο: 'O', Ρ: 'P', Τ: 'T', Υ: 'Y', Χ: 'X', Ϳ: 'J',
  α: 'a', β: 'b', ε: 'e', η: 'n', ι: 'i', κ: 'k', μ: 'u', ν: 'v', ο: 'o', ρ: 'p', σ: 'o', ς: 'c', τ: 't', υ: 'u', χ: 'x', γ: 'y', ω: 'w', ϳ: 'j',
  // Latin letters without an accent that Unicode takes apart
  ı: 'i', ł: 'l', Ł: 'L', ø: 'o', Ø: 'O', đ: 'd', Đ: 'D', ħ: 'h', ŧ: 't', ɑ: 'a', ɡ: 'g', ƒ: 'f',
}));
/** What looks alike within the Latin script: a capital I and a small L in most sans-serif fonts, and digits. */
const STROKES = new Map(Object.entries({ I: 'l', 1: 'l', '|': 'l', 0: 'O' }));

/** Accents, blanks, punctuation, signs, and characters that nobody sees. A bar looks like a letter. */
const BESIDE = /[\p{M}\s\p{P}\p{Cf}\p{Default_Ignorable_Code_Point}]|(?!\|)\p{S}/gu;

const replaced = (text, table) => Array.from(text, (character) => table.get(character) ?? character).join('');
// Through capitals, so that ß is ss and a Greek sigma at the end of a word is one elsewhere.
const folded = (text) => text.toUpperCase().toLowerCase().normalize('NFKD').replace(/ς/g, 'σ');

/**
 * What a name looks like: two names may be taken for one another if they have a look in common. One is without regard
 * to case; the other sees the letters as they are written, because `AIan` looks like `Alan` only with its capital I.
 */
export function looksOf(name) {
  const whole = String(name).normalize('NFKD');
  const bare = whole.replace(BESIDE, '') || whole;
  return new Set([replaced(folded(bare), LOOKS_LIKE), folded(replaced(replaced(bare, LOOKS_LIKE), STROKES))]);
}

const tailOf = (userId, length) => userId.slice(-length).toLowerCase();

/** The shortest end of each id that no other of these ids has. Ids that differ by case alone are shown as they are. */
function endsOf(userIds) {
  const ends = new Map();
  for (let length = SUFFIX_LENGTH; ends.size < userIds.length; length += 1) {
    const counts = new Map();
    for (const userId of userIds) counts.set(tailOf(userId, length), (counts.get(tailOf(userId, length)) ?? 0) + 1);
    for (const userId of userIds.filter((one) => !ends.has(one))) {
      const isOnly = counts.get(tailOf(userId, length)) === 1;
      if (isOnly || length >= userId.length) ends.set(userId, isOnly ? tailOf(userId, length) : userId);
    }
  }
  return ends;
}

/**
 * What is shown behind the names that people could take for one another, by id: the end of the id. An id whose names are
 * like nobody else's is not in the map. `people` are `{userId, name}`; a person may be in it several times.
 */
export function suffixesOf(people) {
  const byLook = new Map();
  for (const { userId, name } of people) {
    for (const look of looksOf(name)) byLook.set(look, (byLook.get(look) ?? new Set()).add(userId));
  }
  const alike = [...byLook.values()].filter((userIds) => userIds.size > 1);
  return endsOf([...new Set(alike.flatMap((userIds) => [...userIds]))]);
}

/**
 * Everybody whose name the page may show, as it shows it: `{userId, name}`, each once. Who has left counts as long as
 * there is a message or a question of theirs. `view` is the session's snapshot.
 */
export function everybodyOf({ userId, name, others, meeting, chat, questions }) {
  const authors = [...(chat?.messages ?? []).filter(({ type }) => type !== 'system'), ...(questions?.questions ?? [])];
  const listed = [{ userId, name }, ...others, ...(meeting?.waiting ?? [])];
  // Of somebody who has left since they were asked to mute, only the id is known.
  const gone = (meeting?.round?.targets ?? []).filter(({ participantId }) => listed.every((person) => person.userId !== participantId));
  const all = [...listed, ...[...authors, ...gone].map((one) => ({ userId: one.participantId, name: one.name ?? null }))];
  const shown = all.map((person) => ({ userId: person.userId, name: describeUser(person).name }));
  return [...new Map(shown.map((person) => [JSON.stringify([person.userId, person.name]), person])).values()];
}

/** The ids of the presenters who are listed. */
export const presentersOf = ({ userId, others, meeting }) => new Set([
  ...(meeting?.role === 'presenter' ? [userId] : []), ...others.filter(({ participant }) => participant?.role === 'presenter').map((state) => state.userId),
]);
