// Decides which of two states is newer, and arranges a room's listing for the view.

/** Whether `a` is a later state of the same person than `b`. A state that is created again starts at version 1. */
export function isNewer(a, b) {
  if (!b) return true;
  if (a.createdAt !== b.createdAt) return a.createdAt > b.createdAt;
  return a.version > b.version;
}

/**
 * Splits the listing into this person's state and those of the others. The own state is never older than the one that
 * the server has confirmed, because the listing may lag behind a write. Of two states with the same version the listed
 * one is taken: a measurement changes the verdict, but not the version of the claim.
 */
export function arrange(items, userId, confirmed) {
  const listed = items.find((item) => item.userId === userId) ?? null;
  const own = confirmed && (!listed || isNewer(confirmed, listed)) ? confirmed : listed;
  // The server sorts by bytes, which would put "ada" behind "Zoe".
  const folded = (item) => item.userId.toLowerCase();
  const others = items.filter((item) => item.userId !== userId)
    .sort((a, b) => (folded(a) < folded(b) ? -1 : Number(folded(a) > folded(b))));
  return { own, others };
}
