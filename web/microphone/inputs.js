// The list of audio inputs that the browser reports, kept up to date.

import { choicesOf, createNumbers, meantBy } from '../devices.js';
import { cleanLabel } from '../text.js';

export function createInputs(mediaDevices) {
  const numberOf = createNumbers();
  let inputs = [];
  let latest = null;
  const find = (deviceId) => inputs.find((device) => device.deviceId === deviceId);

  return {
    /** Reads the list and waits for the newest answer: an older answer never replaces a newer one. */
    async refresh() {
      latest = mediaDevices.enumerateDevices().catch(() => null);
      let asked = null;
      while (asked !== latest) {
        asked = latest;
        const all = await asked;
        if (all && asked === latest) inputs = all.filter((device) => device.kind === 'audioinput');
      }
    },
    includes: (deviceId) => find(deviceId) !== undefined,
    /** The cleaned label of a listed device; null if it has none or is not listed. */
    labelOf: (deviceId) => cleanLabel(find(deviceId)?.label),
    /** The id of the device that an alias stands for now; null if it cannot be determined. */
    meantBy: (alias, label) => meantBy(alias, label, inputs),
    /** The devices to choose from while the page captures `captured` (null: nothing). */
    choices: (captured) => choicesOf(inputs, captured, numberOf),
  };
}
