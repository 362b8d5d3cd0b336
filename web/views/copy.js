// Copying a text to the clipboard.

import { useEffect, useState } from '../vendor/htm-preact.js';

/**
 * Whether the text was copied in the last two seconds, and the function that copies it (null if the browser allows
 * none).
 */
export function useCopy(textOf) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const t = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(t);
  }, [copied]);
  const copy = navigator.clipboard ? () => navigator.clipboard.writeText(textOf()).then(() => setCopied(true), () => {}) : null;
  return [copied, copy];
}
