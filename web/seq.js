const KEY = 'greenroom:seq';

/**
 * The client counter that lets the server drop what arrives out of order. It starts from the wall
 * clock so that it survives lost storage, and is never allowed to go back when that clock does.
 * It is shared by all tabs: the latest press wins, whichever tab it came from.
 */
export function createSequence(storage, now = Date.now) {
  let last = 0;
  return function next() {
    const stored = Number(storage.read(KEY)) || 0;
    last = Math.max(last + 1, stored + 1, now());
    storage.write(KEY, last);
    return last;
  };
}
