// How rooms were used: figures from an answer of /api/analytics. It uses no DOM.

/** How many days the page shows. */
export const DAYS = 30;
const DAY_MS = 86_400_000;

const FEATURES = [
  ['chat', 'chat'], ['questions', 'questions'], ['lobby', 'lobby'], ['password', 'password'], ['moderatedUnmute', 'moderated unmute'],
];
const NOTHING = {
  roomsCreated: 0, roomsEnded: 0, meanDurationMinutes: 0, peakParticipants: 0, participants: 0, messages: 0, questions: 0,
  features: Object.fromEntries(FEATURES.map(([key]) => [key, 0])),
};

const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);

/**
 * The days up to the one of `atMs`, in UTC, the oldest first. The API leaves out a day without rooms; here it has zeros.
 * `listed` are the days of the API.
 */
export function daysOf(listed, atMs, count = DAYS) {
  const known = new Map(listed.map((day) => [day.day, day]));
  return Array.from({ length: count }, (_, at) => {
    const day = dayOf(atMs - (count - 1 - at) * DAY_MS);
    return known.get(day) ?? { day, ...NOTHING };
  });
}

const sumOf = (days, pick) => days.reduce((sum, day) => sum + pick(day), 0);

/** How long the rooms of a day lasted on average, in minutes; null if none ended, because a mean of nothing is no zero. */
export const minutesOf = (day) => (day.roomsEnded === 0 ? null : day.meanDurationMinutes);

/** All days together. `minutes` is null if no room ended. */
export function totalsOf(days) {
  const ended = sumOf(days, (day) => day.roomsEnded);
  return {
    created: sumOf(days, (day) => day.roomsCreated),
    ended,
    people: sumOf(days, (day) => day.participants),
    peak: Math.max(0, ...days.map((day) => day.peakParticipants)),
    minutes: ended === 0 ? null : Math.round(sumOf(days, (day) => day.meanDurationMinutes * day.roomsEnded) / ended),
    messages: sumOf(days, (day) => day.messages),
    questions: sumOf(days, (day) => day.questions),
  };
}

/** How many of the rooms that ended used each feature, and that share in percent. Null shares: no room ended. */
export function featuresOf(days) {
  const ended = sumOf(days, (day) => day.roomsEnded);
  return FEATURES.map(([key, name]) => {
    const rooms = sumOf(days, (day) => day.features[key]);
    return { name, rooms, percent: ended === 0 ? null : Math.round((rooms * 100) / ended) };
  });
}

/** A day as people write it: `21 Nov`. */
export function nameOfDay(day, language = undefined) {
  return new Date(day).toLocaleDateString(language, { day: 'numeric', month: 'short', timeZone: 'UTC' });
}

/** A value with its unit. A count has none: the title of its chart says what is counted. */
export const withUnit = (text, unit) => (unit ? `${text} ${unit}` : text);

/** A chart of days in words, for people who cannot see it. `values` has one value for each of `days`. */
export function daysInWords(title, unit, days, values, language = undefined) {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return `${title}, the last ${days.length} days. No values yet.`;
  const most = Math.max(...known);
  const of = (value) => (value === null ? 'no value' : withUnit(value, unit));
  return `${title}, the last ${days.length} days. Most: ${of(most)}, on ${nameOfDay(days[values.indexOf(most)].day, language)}. Today: ${of(values.at(-1))}.`;
}
