import { arrange, createRoomPoller, isNewer } from './room.js';
import { createOutbox } from './outbox.js';
import { createPairing } from './pairing.js';
import { momentOf } from './time.js';
import { describeVerdict, isSilent } from './verdict.js';

/** How long a room listing may miss us before we ask whether we are still known at all. */
const MISSING_MS = 4000;

/**
 * One person in one room: ties the microphone, the claim and the room listing together and offers
 * the view a single snapshot. Rule above all others: nothing that comes from outside opens the
 * microphone; only this person's own press does.
 */
export function createSession({
  api, store, nextSeq, createMicrophone, userId, roomId, muted: startMuted = true, deviceId: wantedDevice = null,
  confirmed: firstState = null, onChange, announce = () => {}, now = Date.now, serverNow = now, timers = {}, isHidden, random,
}) {
  let muted = startMuted;
  let confirmed = firstState;
  let notice = null;
  let elsewhere = false;
  let checking = false;
  let missingSince = null;
  let ended = false;
  let lastStatus = 'off';
  let blocked = false;
  let safety = null;
  let contradiction = null;
  let saidDevice = { deviceId: firstState?.deviceId ?? null, label: firstState?.deviceLabel ?? null };

  const mic = createMicrophone({ muted, onChange: onMicrophone });

  const outbox = createOutbox({
    api, userId, nextSeq, now, random, ...timers,
    whole: () => ({
      isMuted: muted, muteScope: 'app', deviceId: saidDevice.deviceId, deviceLabel: saidDevice.label, roomId,
    }),
    onAck: (state) => { confirm(state); emit(); },
    onChange: () => emit(),
  });

  const pairing = createPairing({ api, userId, announce, onChange: () => emit() });

  const poller = createRoomPoller({
    fetchRoom, isHidden, now, random, ...timers,
    onUpdate(view, { changed, recovered }) {
      if (view.connection === 'online') {
        if (recovered) { outbox.wake(); announce('Connected again.'); }
        watchSelf(view);
        watchVerdict();
      } else if (view.failures === 1) {
        announce('Connection lost. Reconnecting.');
      }
      if (changed) emit();
    },
  });

  async function fetchRoom() {
    const room = await api.roomUsers(roomId);
    // Whoever is listed as anything but silent for sure has already said no for the room.
    const now = serverNow();
    const silent = room.items.every((item) => isSilent(item, now));
    const expiresAt = momentOf(safety?.expiresAt);
    if (silent && !room.changed && safety && (expiresAt === null || now <= expiresAt)) return room;
    // Without this answer the room is not known to be silent, which is what the page then shows; the list goes on.
    const answer = silent ? await api.roomSafety(roomId).catch(() => null) : null;
    const changed = room.changed || answer !== safety;
    safety = answer;
    return { ...room, changed };
  }

  function emit() {
    if (!ended) onChange(snapshot());
  }

  function snapshot() {
    const room = poller.view();
    const { own, others } = arrange(room.items ?? [], userId, confirmed);
    return {
      userId, roomId, muted, own, others, notice, blocked, safety,
      agent: own?.agent ?? null, pairing: pairing.view(),
      muteStatus: outbox.muteStatus(), deviceStatus: outbox.deviceStatus(), refusal: outbox.refusal(),
      device: saidDevice,
      microphone: mic.view(),
      connection: room.connection, okAt: room.okAt, error: room.error,
      loaded: room.items !== null, truncated: room.truncated,
    };
  }

  function confirm(state) {
    if (!confirmed || isNewer(state, confirmed)) confirmed = state;
    reconcile(state);
  }

  // Another tab, or anyone in open mode, may have written under this id.
  function reconcile(state) {
    if (outbox.busy()) return;
    if (state.roomId !== roomId) {
      notice = { kind: 'moved', roomId: state.roomId };
    } else if (notice?.kind === 'moved') {
      notice = null;
    }
    if (state.isMuted === muted) {
      if (elsewhere && notice?.kind === 'says-unmuted') notice = null;
      elsewhere = false;
    } else if (state.isMuted) {
      setTrack(true);
      notice = { kind: 'muted-elsewhere' };
      announce('You were muted from elsewhere. This page has muted too.');
    } else if (!elsewhere) {
      // Following would open a microphone by remote control; contradicting at once could fight
      // another tab of the same person. So it is said, and the person decides.
      elsewhere = true;
      notice = { kind: 'says-unmuted' };
      announce('The server lists you as unmuted. This page stays muted.');
    }
  }

  function watchSelf(view) {
    const listed = view.items.find((item) => item.userId === userId);
    if (listed) {
      missingSince = null;
      if (!confirmed || isNewer(listed, confirmed)) confirm(listed);
      return;
    }
    if (outbox.busy()) { missingSince = null; return; }
    missingSince ??= now();
    if (checking || now() - missingSince < MISSING_MS) return;
    checking = true;
    api.getUser(userId)
      .then((state) => { confirm(state); emit(); })
      .catch((error) => {
        if (error.status === 404 && !ended) { confirmed = null; outbox.repost(); }
      })
      .finally(() => { checking = false; missingSince = null; });
  }

  // Said, and only said: a verdict never changes the claim, and once is enough for the same contradiction.
  function watchVerdict() {
    const { own } = arrange(poller.view().items ?? [], userId, confirmed);
    if (!own) return;
    pairing.see(own.agent);
    if (outbox.busy()) return;
    const verdict = describeVerdict(own, serverNow());
    if (verdict.value === 'contradicted') {
      if (contradiction !== verdict.reason) announce(`Your claim is contradicted: ${verdict.short}. ${verdict.means} ${verdict.todo ?? ''}`);
      contradiction = verdict.reason;
    } else if (verdict.reason !== 'attestation_expired') {
      contradiction = null;
    }
  }

  // The track first: what the person pressed takes effect whether or not anybody can be told.
  function setTrack(next) {
    muted = next;
    mic.setMuted(next);
    store.updateSession({ muted: next });
  }

  function setMuted(next) {
    setTrack(next);
    blocked = false;
    elsewhere = false;
    if (notice && notice.kind !== 'moved') notice = null;
    outbox.wantMute(next);
    announce(next ? 'Muted in this app.' : 'Unmuted.');
  }

  function onMicrophone(view) {
    if (ended) return;
    if (view.status === 'live') {
      blocked = false;
      sayDevice(view.deviceId, view.label);
      store.updateSession({ deviceId: view.deviceId });
      store.remember({ deviceId: view.deviceId });
    } else if (!['off', 'asking'].includes(view.status)) {
      // Without a microphone nothing leaves this page, so "unmuted" would promise sound that cannot
      // come; and a device plugged in later must not find the page already open.
      if (!muted) setMuted(true);
      sayDevice(null, null);
      if (view.status === 'unplugged' && lastStatus !== 'unplugged') announce('The microphone was disconnected. You are muted.');
    }
    lastStatus = view.status;
    emit();
  }

  function sayDevice(deviceId, label) {
    if (saidDevice.deviceId === deviceId && saidDevice.label === label) return;
    saidDevice = { deviceId, label };
    outbox.wantDevice(deviceId, label);
  }

  async function toggle() {
    if (!muted) return setMuted(true);
    if (mic.view().status !== 'live') {
      announce('Waiting for the microphone.');
      if (!await mic.start(wantedDevice) || ended) {
        if (!ended) {
          blocked = true;
          announce('Still muted: there is no microphone to open.');
          emit();
        }
        return undefined;
      }
    }
    return setMuted(false);
  }

  return {
    snapshot, toggle,
    mic,
    start() {
      poller.start();
      // Saying the same again is harmless (same state, newer seq) and finds out whether we still exist.
      if (!confirmed) outbox.wantMute(muted);
      mic.start(wantedDevice);
    },
    startMicrophone: () => mic.start(wantedDevice),
    chooseDevice(deviceId) {
      wantedDevice = deviceId;
      return mic.choose(deviceId);
    },
    sayAgain() {
      notice = null;
      elsewhere = false;
      outbox.repost();
      emit();
    },
    dismissNotice() { notice = null; emit(); },
    nudge() { poller.nudge(); outbox.wake(); },
    startPairing: () => pairing.start(snapshot().agent),
    cancelPairing: pairing.cancel,
    async stopAgent() {
      const { agent } = snapshot();
      if (!agent) return;
      await pairing.stop(agent);
      poller.nudge();
    },
    async bind(question) {
      await pairing.bind(question, confirm);
      poller.nudge();
    },
    async leave() {
      ended = true;
      poller.stop();
      mic.stop();
      store.endSession();
      // A write still under way could arrive after the DELETE and bring us back.
      await outbox.close();
      await api.removeUser(userId).catch((error) => { if (error.status !== 404) throw error; });
    },
  };
}
