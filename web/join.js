// Joining a room that nobody created: sends the first claim, and says in words why a call failed.

import { formatLeft } from './time.js';

const fieldsOf = (error) => (error.errors ?? []).map(({ field }) => field);

/**
 * Sends the complete claim and gives back the server's state. Joining must take effect even if the counter is wrong. So
 * the claim is then sent again without `seq`, and the server treats it as the newest one.
 */
export async function putClaim({ api, nextSeq }, userId, claim) {
  try {
    const { applied, ...state } = await api.putState(userId, { ...claim, seq: nextSeq() });
    if (applied !== false) return state;
  } catch (error) {
    if (!fieldsOf(error).includes('seq')) throw error;
  }
  const { applied, ...state } = await api.putState(userId, claim);
  return state;
}

/** The fields of the forms by their names in the API. */
const FIELDS = { name: 'name', presenterName: 'name', roomId: 'room', title: 'title', password: 'password', maxParticipants: 'size' };
/** Codes of refusals that are about one field. */
const CODES = { password_required: 'password', password_wrong: 'password', room_not_found: 'room' };

/** The field of the form that the server refuses: `name`, `title`, `password`, `size`, `room` or null. */
export function fieldOf(error) {
  const named = fieldsOf(error).map((field) => FIELDS[field]).filter(Boolean);
  return ['name', 'title', 'password', 'size', 'room'].find((field) => named.includes(field)) ?? CODES[error.code] ?? null;
}

/** What people can do about refusals, by code. */
const WORDS = {
  chat_off: 'The chat of this room is switched off.',
  forbidden: 'You may not do this here.',
  last_presenter: 'A room needs a presenter. Make somebody else a presenter first, or end the room.',
  mute_request_not_found: 'This request is over.',
  not_admitted: 'Wait until a presenter lets you in.',
  not_seated: 'This person is not in the room. Let them in first.',
  not_the_author: 'Only its author or a presenter can remove a question.',
  participant_not_found: 'This person is not in the room any more.',
  password_required: 'This room needs a password.',
  password_wrong: 'This is not the room’s password.',
  presenter_only: 'Only a presenter can do this.',
  question_not_found: 'This question has been removed.',
  questions_off: 'Questions are switched off in this room.',
  room_ended: 'This room has ended.',
  room_full: 'This room is full. Wait until somebody leaves, and try again.',
  room_not_found: 'There is no such room. Check the link.',
  token_invalid: 'You are not in this room any more. Join again.',
  too_many_questions: 'This room has as many questions as it can hold. A presenter can remove some.',
  unmute_not_allowed: 'A presenter must allow you to unmute first.',
  version_conflict: 'Somebody else has changed the room meanwhile. This is how it is now: look at it, and save again.',
};

/** The longest wait that `Retry-After` is followed for (`backoff.js`): the real one may be longer. */
const WAIT_MS_MAX = 60_000;

function waitWords(ms) {
  if (!ms) return 'Wait a moment and try again.';
  return ms >= WAIT_MS_MAX ? 'Wait some minutes and try again.' : `Wait ${formatLeft(ms)} and try again.`;
}

export function describeProblem(error) {
  if (error.status === 0) return 'The server cannot be reached right now. Check your connection and try again.';
  if (error.status === 429) return `That was too often in a short time. ${waitWords(error.retryAfterMs)}`;
  if (error.status === 503) return `The server is busy. ${waitWords(error.retryAfterMs)}`;
  if (error.status && Object.hasOwn(WORDS, error.code)) return WORDS[error.code];
  if (error.status) return `The server refused: ${error.detail}`;
  return 'Something went wrong in this page. Reload it and try again.';
}
