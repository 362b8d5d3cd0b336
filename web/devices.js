// Finds the microphone that a device id of the browser stands for. Chromium lists the system's default a second time,
// as an alias.

import { cleanLabel } from './text.js';

const ALIASES = ['default', 'communications'];

/** Whether this id is an alias: it stands for the device that the system prefers at the moment. */
export const isAlias = (deviceId) => ALIASES.includes(String(deviceId ?? '').toLowerCase());

/** Whether a label is a prefix in any language followed by this name, as in `Default - Headset`. */
function endsWithLabel(label, name) {
  return label.length > name.length && label.endsWith(name) && !/[\p{L}\p{M}\p{N}]$/u.test(label.slice(0, -name.length));
}

function longestNamed(label, named) {
  const behind = named.filter((device) => device.label && endsWithLabel(label, device.label));
  const longest = Math.max(...behind.map((device) => device.label.length));
  return behind.filter((device) => device.label.length === longest);
}

/**
 * The id of the listed device that an alias stands for now; null if it cannot be determined. The first of these sets
 * that has exactly one device decides: the devices with the longest label that ends the alias's label, those of them in
 * the alias's group, all devices in that group, all devices. `inputs` come from `enumerateDevices`, `label` is the
 * label of the alias.
 */
export function meantBy(alias, label, inputs) {
  const named = inputs.filter((device) => device.deviceId && !isAlias(device.deviceId));
  const entry = inputs.find((device) => device.deviceId === alias);
  const group = entry?.groupId;
  const ofGroup = (devices) => devices.filter((device) => group && device.groupId === group);
  const byLabel = longestNamed((entry?.label || label) ?? '', named);
  for (const candidates of [byLabel, ofGroup(byLabel), ofGroup(named), named]) {
    if (candidates.length === 1) return candidates[0].deviceId;
  }
  return null;
}

/**
 * Numbers microphones that have no name, for the list on this page. A device keeps its number: if another device took
 * it over, the number would name the wrong one.
 */
export function createNumbers() {
  const numbers = new Map();
  return (deviceId) => {
    if (!numbers.has(deviceId)) numbers.set(deviceId, numbers.size + 1);
    return numbers.get(deviceId);
  };
}

/** The microphones to choose from. An alias is listed only while the page captures it. */
export function choicesOf(inputs, captured, numberOf) {
  return inputs
    // Before permission is given, browsers list devices without ids. Those cannot be chosen.
    .filter((device) => device.deviceId && (!isAlias(device.deviceId) || device.deviceId === captured))
    .map((device) => {
      const label = cleanLabel(device.label);
      return { deviceId: device.deviceId, label, title: label ?? `Microphone ${numberOf(device.deviceId)}` };
    });
}
