// The keyboard shortcut: M mutes and unmutes.

/**
 * Whether an input method or a layout without Latin letters has taken the key, so that only its position identifies it.
 */
const isForeign = (key) => key === 'Process' || key === 'Unidentified' || /^(?!\p{Script=Latin})\p{L}\p{M}*$/u.test(key);

/**
 * Whether this is the key M. With a Latin layout that is the key that types the letter; with any other layout it is the
 * key at the position of M.
 */
export function isMuteKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.getModifierState?.('AltGraph')) return false;
  return event.key?.toLowerCase() === 'm' || (event.code === 'KeyM' && isForeign(event.key ?? ''));
}
