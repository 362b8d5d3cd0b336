import { levelOf, smoothLevel } from './levels.js';
import { cleanLabel } from './text.js';

const FAILURES = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'missing',
  NotReadableError: 'busy',
  AbortError: 'busy',
};

const ALIASES = ['default', 'communications'];
/** Whether a browser means by this whatever device the system prefers at the moment. */
export const isAlias = (deviceId) => ALIASES.includes(deviceId);

/**
 * The microphone as this page sees it. Nothing is sent or recorded: the track feeds the level meter
 * only, and its `enabled` flag is what "muted in this app" means.
 *
 * status: off | asking | live | denied | missing | busy | insecure | unplugged | failed
 */
export function createMicrophone({
  mediaDevices = globalThis.navigator?.mediaDevices,
  AudioContext = globalThis.AudioContext,
  permissions = globalThis.navigator?.permissions,
  onChange = () => {},
  levelMs = 100,
  muted: initiallyMuted = true,
} = {}) {
  let muted = initiallyMuted;
  let stream = null;
  let track = null;
  let opening = null;
  let generation = 0;
  let context = null;
  let source = null;
  let analyser = null;
  let samples = null;
  let meter = null;
  let level = 0;
  let listening = false;
  const levelListeners = new Set();
  let view = { status: 'off', devices: [], deviceId: null, label: null, silenced: false, meterPaused: false, lost: null, problem: null };

  function publish(change) {
    view = { ...view, ...change };
    onChange(view);
  }

  function listen() {
    if (listening) return;
    listening = true;
    mediaDevices.addEventListener?.('devicechange', onDeviceChange);
    // Somebody who allows the microphone in the browser's settings should not have to find a button too.
    permissions?.query?.({ name: 'microphone' }).then((permission) => {
      permission.addEventListener('change', () => {
        if (permission.state === 'granted' && view.status === 'denied') open(view.deviceId);
      });
    }).catch(() => {});
  }
  async function refreshDevices() {
    try {
      const all = await mediaDevices.enumerateDevices();
      // Before permission is given browsers list devices without ids; those cannot be chosen.
      return all
        .filter((d) => d.kind === 'audioinput' && d.deviceId && (!isAlias(d.deviceId) || isAlias(track?.getSettings?.().deviceId)))
        .map((d, i) => ({ deviceId: d.deviceId, label: cleanLabel(d.label) ?? `Microphone ${i + 1}` }));
    } catch {
      return view.devices;
    }
  }

  async function onDeviceChange() {
    const devices = await refreshDevices();
    publish({ devices });
    // Not every browser ends the track when its device goes, so the list is checked as well.
    if (track && view.deviceId && !devices.some((d) => d.deviceId === view.deviceId)) lose(track);
  }

  function lose(which) {
    if (which !== track) return;
    const lost = view.label;
    release();
    publish({ status: 'unplugged', lost, deviceId: null, label: null, silenced: false });
    refreshDevices().then((devices) => publish({ devices }));
  }

  function release() {
    for (const t of stream?.getTracks() ?? []) t.stop();
    stream = null;
    track = null;
    source?.disconnect();
    source = null;
    clearInterval(meter);
    meter = null;
    emitLevel(0);
  }

  function emitLevel(value) {
    level = value;
    for (const l of levelListeners) l(level);
  }

  function adopt(next) {
    const nextTrack = next.getAudioTracks()[0];
    // Before anything can listen to it: a switch while muted must not let a single sample through.
    nextTrack.enabled = !muted;
    release();
    stream = next;
    track = nextTrack;
    track.addEventListener('ended', () => lose(nextTrack));
    const heard = () => { if (track === nextTrack) publish({ silenced: nextTrack.muted }); };
    track.addEventListener('mute', heard);
    track.addEventListener('unmute', heard);
    startMeter();
  }

  function startMeter() {
    if (!AudioContext) return;
    try {
      context ??= new AudioContext();
      analyser ??= Object.assign(context.createAnalyser(), { fftSize: 1024 });
      samples ??= new Float32Array(analyser.fftSize);
      source = context.createMediaStreamSource(stream);
      // Deliberately not connected to the speakers.
      source.connect(analyser);
    } catch {
      return;
    }
    const current = context;
    current.onstatechange = () => { if (current === context) publish({ meterPaused: current.state === 'suspended' }); };
    resumeMeter();
    meter = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      emitLevel(muted ? 0 : smoothLevel(level, levelOf(samples)));
    }, levelMs);
  }

  // After a reload browsers keep audio suspended until the person touches the page.
  function resumeMeter() {
    if (context?.state !== 'suspended') return;
    context.resume().catch(() => {});
    const again = () => context?.resume().catch(() => {});
    for (const type of ['pointerdown', 'keydown']) globalThis.addEventListener?.(type, again, { once: true });
  }

  async function capture(deviceId) {
    const audio = deviceId ? { deviceId: { exact: deviceId } } : true;
    try {
      return await mediaDevices.getUserMedia({ audio });
    } catch (error) {
      if (deviceId && (error.name === 'OverconstrainedError' || error.name === 'NotFoundError')) {
        return mediaDevices.getUserMedia({ audio: true });
      }
      throw error;
    }
  }

  /** The device that an alias stands for now, if that can be told. */
  async function meantBy(alias) {
    const inputs = (await mediaDevices.enumerateDevices().catch(() => [])).filter((d) => d.kind === 'audioinput');
    const named = inputs.filter((d) => d.deviceId && !isAlias(d.deviceId));
    const group = inputs.find((d) => d.deviceId === alias)?.groupId;
    const twins = named.filter((d) => group && d.groupId === group);
    const meant = twins.length ? twins : named;
    return meant.length === 1 ? meant[0].deviceId : null;
  }

  /**
   * A claim is about one device, so what is captured is one by its own name: an alias may mean another device tomorrow,
   * and what was measured of the first says nothing about that one.
   */
  async function captureByName(deviceId) {
    const first = await capture(deviceId);
    const alias = first.getAudioTracks()[0].getSettings?.().deviceId;
    const named = isAlias(alias) ? await meantBy(alias) : null;
    if (!named) return first;
    try {
      return await mediaDevices.getUserMedia({ audio: { deviceId: { exact: named } } }).finally(() => first.getTracks().forEach((t) => t.stop()));
    } catch {
      return capture(deviceId);
    }
  }

  async function open(deviceId) {
    if (!mediaDevices?.getUserMedia) {
      publish({ status: 'insecure' });
      return false;
    }
    listen();
    generation += 1;
    const mine = generation;
    const before = track ? view.status : null;
    publish({ status: before ?? 'asking', problem: null });
    let next;
    try {
      next = await captureByName(deviceId);
    } catch (error) {
      if (mine !== generation) return false;
      const failure = FAILURES[error.name] ?? 'failed';
      const devices = await refreshDevices();
      if (mine !== generation) return false;
      // A failed switch leaves the microphone that works in place.
      if (track) publish({ devices, problem: failure });
      else publish({ devices, status: failure, deviceId: null, label: null });
      return false;
    }
    if (mine !== generation) {
      for (const t of next.getTracks()) t.stop();
      return false;
    }
    adopt(next);
    const devices = await refreshDevices();
    if (track !== next.getAudioTracks()[0]) return false;
    const actual = track.getSettings?.().deviceId || null;
    publish({
      status: 'live', devices, lost: null, problem: null,
      deviceId: actual,
      label: cleanLabel(track.label) ?? devices.find((d) => d.deviceId === actual)?.label ?? null,
      silenced: track.muted,
      meterPaused: context?.state === 'suspended',
    });
    return true;
  }

  return {
    view: () => view,
    /** Asks once, however often it is called while the browser's prompt is open. */
    start(deviceId = null) {
      opening ??= open(deviceId).finally(() => { opening = null; });
      return opening;
    },
    choose: (deviceId) => open(deviceId),
    setMuted(next) {
      muted = next;
      if (track) track.enabled = !muted;
      if (muted) emitLevel(0);
    },
    onLevel(listener) {
      levelListeners.add(listener);
      listener(level);
      return () => levelListeners.delete(listener);
    },
    stop() {
      generation += 1;
      release();
      mediaDevices?.removeEventListener?.('devicechange', onDeviceChange);
      context?.close().catch(() => {});
      context = null;
      analyser = null;
      view = { ...view, status: 'off' };
    },
  };
}
