// Joining a room: sends the first claim, and says in words why it failed.

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

/** The field of the form that the server refuses: `name`, `room` or null. */
export function fieldOf(error) {
  const fields = fieldsOf(error);
  if (fields.includes('name')) return 'name';
  return fields.includes('roomId') ? 'room' : null;
}

export function describeProblem(error) {
  if (error.status === 0) return 'The server cannot be reached right now. Check your connection and try again.';
  if (error.status === 429 || error.status === 503) return 'The server is busy. Wait a moment and try again.';
  if (error.status) return `The server refused: ${error.detail}`;
  return 'Something went wrong in this page. Reload it and try again.';
}
