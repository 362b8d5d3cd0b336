import { useEffect, useState } from '../vendor/htm-preact.js';

/** Whether something was copied a moment ago, and what copies it; null where the browser does not let a page copy. */
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
