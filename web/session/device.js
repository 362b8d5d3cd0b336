// Keeps the microphone that this person wants and the one that the page claims. The claim follows the open microphone.

import { isAlias } from '../devices.js';

/**
 * `first` is the state that the server has confirmed when the page opens, or null; `wanted` is the remembered device.
 */
export function createDevice({ mic, outbox, store, mute, announce, first, wanted }) {
  let wantedId = wanted;
  let claimed = { deviceId: first?.deviceId ?? null, label: first?.deviceLabel ?? null };
  let lastStatus = 'off';

  function claim(deviceId, label) {
    if (claimed.deviceId === deviceId && claimed.label === label) return;
    claimed = { deviceId, label };
    outbox.wantDevice(deviceId, label);
  }

  function onLive(view) {
    mute.unblock();
    claim(view.deviceId, view.label);
    // An alias is not remembered: tomorrow it may stand for another device.
    const deviceId = isAlias(view.deviceId) ? null : view.deviceId;
    store.updateSession({ deviceId });
    store.remember({ deviceId });
  }

  function onGone(status) {
    // Without a microphone nothing leaves this page, so "unmuted" would promise sound that cannot come. And the page
    // must not be unmuted already when a device is plugged in later.
    if (!mute.isMuted()) mute.set(true);
    claim(null, null);
    if (status === 'unplugged' && lastStatus !== 'unplugged') announce('The microphone was disconnected. You are muted.');
  }

  return {
    claimed: () => claimed,
    /** Claims the same device once more: the claim gets a new version, because its microphone was opened anew. */
    claimAgain() { outbox.wantDevice(claimed.deviceId, claimed.label); },
    open: () => mic.start(wantedId),
    choose(deviceId) {
      wantedId = deviceId;
      return mic.choose(deviceId);
    },
    /** The microphone has changed: adapts the claim. */
    follow(view) {
      if (view.status === 'live') onLive(view);
      else if (!['off', 'asking'].includes(view.status)) onGone(view.status);
      lastStatus = view.status;
    },
  };
}
