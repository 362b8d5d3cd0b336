// What has arrived lately, to be applied once more to a reading that may be older than it.

/** A reading may lack what was written so shortly before it began: the server reads eventually consistently. */
export const LAG_MS = 1000;
/** Longer than a reading can take, with the question whether the room is safe. */
const KEPT_MS = 20_000;

export function createRecent({ now }) {
  let kept = [];
  return {
    add(item) {
      const oldest = now() - KEPT_MS;
      kept = [...kept.filter(({ at }) => at >= oldest), { at: now(), item }];
    },
    /** What a reading that began at this moment may lack, in the order of its arrival. */
    since: (began) => kept.filter(({ at }) => at >= began - LAG_MS).map(({ item }) => item),
  };
}
