// Decides which of two states is newer, of a person or of a room, and arranges a room's listing for the view.

/** Whether `a` is a later state of the same person than `b`. A state that is created again starts at version 1. */
export function isNewer(a, b) {
  if (!b) return true;
  if (a.createdAt !== b.createdAt) return a.createdAt > b.createdAt;
  return a.version > b.version;
}

/**
 * What is known of a room after a reading. The room is read eventually consistently: an older reading may follow the
 * answer to a change, and would show what was before it. `present` and the request to mute have no part in the version.
 */
export function newerRoom(known, read) {
  if (!(read.version < known.version)) return read;
  const { title, hasPassword, maxParticipants, settings, version } = known;
  return { ...read, title, hasPassword, maxParticipants, settings, version };
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
