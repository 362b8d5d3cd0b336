// The form by which a presenter changes a room: what its fields show, and what of it is sent.

import { cleanTitle, passwordProblem, sizeProblem, titleProblem } from './text.js';

/** What a person has typed into a field, and what the room had there at that moment. */
export const draftOf = (text, current) => ({ text, base: current });

/**
 * What a field shows: the typed text, unless somebody else has changed the room there since. Then it shows the room as
 * it is, and `isOvertaken` says so. `draft` is null before the person types.
 */
export function shownOf(draft, current) {
  const isOvertaken = draft !== null && draft.base !== current;
  return { text: draft === null || isOvertaken ? String(current) : draft.text, isOvertaken };
}

/** What is wrong in each field; null where nothing is. */
export const problemsOf = ({ title, size, password }) => ({ title: titleProblem(title), size: sizeProblem(size), password: passwordProblem(password) });

/** The change that the fields ask for: only what the room does not have already. A password that is empty stays. */
export function changeOf(room, { title, size, password, isOpened }) {
  const change = { title: cleanTitle(title), maxParticipants: Number(size) };
  for (const member of Object.keys(change)) if (change[member] === room[member]) delete change[member];
  if (isOpened) return { ...change, password: null };
  return password ? { ...change, password } : change;
}
