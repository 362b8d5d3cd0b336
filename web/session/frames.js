// What an event of the server changes in what the page knows: the people, the room, its questions. Nothing here asks or
// remembers anything.

import { isNewer, newerRoom } from '../room.js';
import { momentOf } from '../time.js';

/** Events of people that bring the whole person, as a reading lists them. */
const PERSON = new Set(['participant-joined', 'participant-updated', 'user-state-changed', 'verdict-changed']);
const ASPECTS = ['mute', 'device'];

/**
 * Replaces a person, unless a newer state of them is there. One of the same version is replaced: its verdict may differ.
 * Only somebody who joins is added. Somebody who is silent may change too, and is not in the room.
 */
function put(items, user, isJoining) {
  if (typeof user?.userId !== 'string') return items;
  const known = items.find((item) => item.userId === user.userId);
  if (!known) return isJoining ? [...items, user] : items;
  return isNewer(known, user) ? items : items.map((item) => (item === known ? user : item));
}

/** Whether a renewed verdict says what the known one says, only later. */
const isSame = (known, renewed) => ASPECTS.every((aspect) => known?.[aspect]?.value === renewed?.[aspect]?.value && known?.[aspect]?.reason === renewed?.[aspect]?.reason);

function renew(items, data) {
  if (!items.some((item) => isRenewed(item, data))) return items;
  return items.map((item) => (isRenewed(item, data) ? { ...item, verdict: data.verdicts[item.userId] } : item));
}

const has = (verdicts, item) => Object.hasOwn(verdicts ?? {}, item.userId);
const isRenewed = (item, data) => has(data?.verdicts, item) && isSame(item.verdict, data.verdicts[item.userId])
  && data.versions?.[item.userId] === item.version;

/** The people after an event: the same list if it changes nothing. Events may be repeated, and may come late. */
export function apply(items, { event, data }) {
  if (PERSON.has(event)) return put(items, data?.user, event === 'participant-joined');
  if (event === 'verdicts-renewed') return renew(items, data);
  if (event !== 'participant-left' || !items.some((item) => item.userId === data?.userId)) return items;
  return items.filter((item) => item.userId !== data.userId);
}

/**
 * Whether an event does not fit to what is known: it is about somebody who is not listed, or renews another verdict than
 * the known one, which might be about another claim. The room is read then. `now` is the server's clock.
 */
export function isStrange(items, { event, data }, now) {
  const isUnknown = (userId) => items.every((item) => item.userId !== userId);
  if (event === 'verdicts-renewed') {
    return items.some((item) => has(data?.verdicts, item) && !isRenewed(item, data))
      || Object.entries(data?.leases ?? {}).some(([userId, until]) => momentOf(until) > now && isUnknown(userId));
  }
  return PERSON.has(event) && event !== 'participant-joined' && typeof data?.user?.userId === 'string' && isUnknown(data.user.userId);
}

/** The same for `{room, items, waiting}`, as a reading gives it. */
export function applyToRoom(known, frame) {
  if (frame.event === 'room-updated') {
    if (typeof frame.data?.room !== 'object') return known;
    return { ...known, room: newerRoom(known.room, { ...known.room, ...frame.data.room }) };
  }
  const items = apply(known.items, frame);
  if (items === known.items) return known;
  // Whoever is in the room does not wait any more.
  const waiting = frame.event === 'participant-joined' ? known.waiting.filter((item) => item.userId !== frame.data.user.userId) : known.waiting;
  return { ...known, items, waiting };
}

const byPlace = (a, b) => Number(b.isPinned) - Number(a.isPinned) || b.votes - a.votes || (a.questionId < b.questionId ? -1 : 1);

/** The questions after an event, in the server's order. It does not say whether this person has voted. */
export function applyToQuestions(questions, { event, data }) {
  if (event === 'question-removed') return questions.filter((question) => question.questionId !== data?.questionId);
  const heard = data?.question;
  if (typeof heard?.questionId !== 'string') return questions;
  const known = questions.find((question) => question.questionId === heard.questionId);
  const { hasVoted = known?.hasVoted ?? false } = heard;
  return [...questions.filter((question) => question !== known), { ...heard, hasVoted }].sort(byPlace);
}

/**
 * Follows the numbers of a room's history on one connection. `see` says what a number means: `next`; `old`, it was there
 * already; or `gap`, something is missing before it. An event without a number is `next`.
 */
export function createOrder() {
  let last = null;
  /** What the server has named as its last number. The event may still be on its way. */
  let due = null;
  return {
    /** Another connection: its first number follows nothing. */
    restart() {
      last = null;
      due = null;
    },
    /**
     * The server names its last number, from time to time. Gives back whether the one that it named the time before is
     * missing still. The first one of a connection is in the next reading.
     */
    check(seq) {
      if (!Number.isFinite(seq)) return false;
      const isMissing = due !== null && last < due;
      last = Math.max(last ?? seq, isMissing ? due : 0);
      due = seq;
      return isMissing;
    },
    see(seq) {
      if (!Number.isFinite(seq)) return 'next';
      if (last !== null && seq <= last) return 'old';
      const isGap = last !== null && seq > last + 1;
      last = seq;
      return isGap ? 'gap' : 'next';
    },
  };
}
