// What has arrived lately, to be applied once more to a reading that may be older than it.

/** A reading may lack what was written so shortly before it began: the server reads eventually consistently. */
export const LAG_MS = 1000;
/** Longer than a reading can take, with the question whether the room is safe. */
const KEPT_MS = 20_000;
const KEPT_MAX = 1000;

export function createRecent({ now }) {
  let kept = [];
  return {
    add(item) {
      kept.push({ at: now(), item });
      // The list is copied rarely, however many items arrive.
      if (kept.length >= 2 * KEPT_MAX || kept[0].at < now() - 2 * KEPT_MS) {
        kept = kept.slice(-KEPT_MAX).filter(({ at }) => at >= now() - KEPT_MS);
      }
    },
    /** What a reading that began at this moment may lack, in the order of its arrival. */
    since: (began) => kept.filter(({ at }) => at >= began - LAG_MS).map(({ item }) => item),
  };
}
