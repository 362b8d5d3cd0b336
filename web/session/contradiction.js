// Announces a contradicted claim to the person it is about. It only announces: a verdict never changes the claim.

/** The function that is given every new verdict of this person. The same contradiction is announced once. */
export function createContradictionAnnouncer(announce) {
  let announced = null;
  return (verdict) => {
    if (verdict.value === 'contradicted') {
      if (announced !== verdict.reason) announce(`Your claim is contradicted: ${verdict.short}. ${verdict.means} ${verdict.todo ?? ''}`);
      announced = verdict.reason;
    } else if (verdict.reason !== 'attestation_expired') {
      // A late measurement does not end a contradiction, so the same one is not announced again after it.
      announced = null;
    }
  };
}
