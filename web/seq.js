// The counter of this person's changes, by which the server drops those that arrive out of order.

const KEY = 'greenroom:seq';
/** The server refuses a counter that is further ahead of its clock. */
const AHEAD_MS_MAX = 24 * 60 * 60 * 1000;

/**
 * Gives back a function that draws the next value. The counter starts from the server's clock, so that it survives lost
 * storage, and it does not go back when that clock does. A stored value of more than a day ahead comes from damaged
 * storage or from a clock that was wrong; it is ignored, because the server would refuse every change that carries it.
 * All tabs share the counter, so the latest press wins, whichever tab it came from.
 */
export function createSequence(storage, now) {
  let last = 0;
  return function next() {
    const time = Math.floor(now());
    const usable = (value) => (Number.isSafeInteger(value) && value > 0 && value < time + AHEAD_MS_MAX ? value : 0);
    last = Math.max(usable(last) + 1, usable(storage.read(KEY)) + 1, time);
    storage.write(KEY, last);
    return last;
  };
}
