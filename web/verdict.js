// Verdicts in words. The server computes verdicts; the page only lets them expire.

import { isAlias } from './devices.js';
import { sameLabel } from './text.js';
import { momentOf } from './time.js';

const VALUES = ['verified', 'contradicted', 'stale', 'unverified'];
/** Reasons that do not rest on a measurement, and so do not expire. */
const LASTING = ['no_agent', 'agent_revoked'];

const BY_NAME = 'Choose your microphone by its name in the list above.';

/**
 * Whether the person can bind the claimed device to the agent's. The server binds no alias, and only a device that is
 * measured.
 */
const canBeBound = ({ agent, deviceId }) => Boolean(agent && !agent.revoked && agent.deviceId && deviceId && !isAlias(deviceId));

const named = (label, otherwise) => (label ? `“${label}”` : otherwise);

/**
 * The words for each reason: `short` ends a line on a card, `means` is for everybody, `todo` is advice for the person
 * whom the verdict is about. An entry may be a function of the state, because some texts name devices.
 */
const REASONS = {
  no_agent: {
    short: 'no agent',
    means: 'No agent measures this microphone. That is not held against anyone.',
    todo: 'Pair the agent, if you want your claim to be measured.',
  },
  agent_revoked: {
    short: 'the agent was stopped',
    means: 'An agent measured this microphone until it was stopped.',
    todo: 'Pair the agent again, if you want your claim to be measured.',
  },
  attestation_expired: {
    short: 'nothing was measured lately',
    means: 'The last measurement is too old to say anything about now.',
    todo: 'Check that the agent is still running on your machine, and that it reaches this server.',
  },
  claim_newer: {
    short: 'changed since it was measured',
    means: 'The claim is newer than the last measurement. The next measurement usually follows within seconds.',
    todo: null,
  },
  permission_denied: {
    short: 'the agent may not listen',
    means: 'The system does not let the agent use the microphone.',
    todo: 'Allow the agent to use the microphone in your system’s privacy settings.',
  },
  host_unavailable: {
    short: 'the agent cannot reach the sound system',
    means: 'The machine’s sound system does not answer the agent.',
    todo: 'Check that sound works on your machine.',
  },
  device_busy: {
    short: 'another program holds the microphone',
    means: 'Another program uses this microphone for itself alone, so the agent cannot measure it.',
    todo: 'Close the other program, or let it share the microphone.',
  },
  no_data: (state) => (state.verdict.mute.observedAt ? {
    short: 'the agent gets nothing from the microphone',
    means: 'The agent has opened the microphone, and it delivers nothing. That is not the same as silence.',
    todo: 'Connect the microphone again.',
  } : {
    short: 'the agent has not measured yet',
    means: 'An agent is paired. Its first measurement is still to come.',
    todo: 'Check that the agent is running on your machine.',
  }),
  device_missing: (state) => ({
    short: 'the microphone named here is gone',
    means: `The agent no longer finds ${named(state.deviceLabel, 'the microphone named here')}, so the claim is about a microphone that is not there.`,
    todo: 'Choose a microphone that is connected, or connect this one again.',
  }),
  device_mismatch: (state) => {
    // If the system has moved a stream, the agent still shows the label of the device that it opened: the claimed one.
    const other = sameLabel(state.agent?.deviceLabel, state.deviceLabel) ? null : state.agent?.deviceLabel;
    return {
      short: 'another device is capturing',
      means: `The agent finds that ${named(other, 'another device')} is capturing, not ${named(state.deviceLabel, 'the microphone named here')}. The sound of one device says nothing about the other.`,
      todo: other
        ? `Choose the microphone here that your system really uses: ${named(other)}.`
        : `Press “Open it again” below your microphone. If that does not help, set your browser’s recording to ${named(state.deviceLabel, 'this microphone')} in your system’s sound mixer.`,
    };
  },
  device_unbound: (state) => (!state.deviceId ? {
    short: 'no microphone named',
    means: `The agent measures ${named(state.agent?.deviceLabel, 'a microphone')}, and the claim names no microphone.`,
    todo: 'Choose a microphone here.',
  } : {
    short: 'not known to be the same microphone',
    means: `The agent measures ${named(state.agent?.deviceLabel, 'a microphone')}. It is not known whether that is the microphone named here.`,
    todo: canBeBound(state) ? 'Say which microphone the agent measures.' : BY_NAME,
  }),
  device_alias: (state) => ({
    short: 'the system’s default, whichever that is',
    means: `The claim is about ${named(state.deviceLabel, 'the system’s default')}, which may be another microphone a moment later. So no measurement can be matched to it.`,
    todo: BY_NAME,
  }),
  stream_silenced: {
    short: 'the agent’s own recording is muted',
    means: 'On that machine the recording of the agent itself is muted or turned down in the sound mixer, so its silence says nothing about the microphone.',
    todo: 'Open your system’s sound mixer, un-mute the recording stream of greenroom-agent and set it to 100 %, or restart the agent.',
  },
  recent_signal: {
    short: 'silent for too short a time',
    means: 'The microphone has delivered sound within the last seconds. A pause between two words looks the same as a mute.',
    todo: 'Wait some seconds: once the silence has lasted, it counts.',
  },
  device_ambiguous: (state) => ({
    short: 'two microphones share this name',
    means: 'More than one microphone has this name, so the agent cannot tell which is meant.',
    todo: canBeBound(state) ? 'Say which microphone the agent measures.' : BY_NAME,
  }),
  flag_lies: {
    short: 'muted in the system, and still heard',
    means: 'The system shows this microphone as muted, but the agent measures sound from it.',
    todo: 'Do not rely on the system’s mute: assume that you can be heard. Mute the microphone itself, or unplug it.',
  },
  signal_present: (state) => (state.isMuted ? {
    short: 'the microphone delivers sound',
    means: 'The claim is that the microphone itself is muted, but the agent measures sound from it.',
    todo: 'Assume that you can be heard. Mute the microphone itself, or unplug it.',
  } : {
    short: 'sound measured',
    means: 'The agent measures sound from this microphone.',
    todo: null,
  }),
  os_unmuted: {
    short: 'not muted in the system',
    means: 'The claim is that the system mutes this microphone, but the system says that it does not.',
    todo: 'Assume that you can be heard. Mute the microphone in your system’s settings.',
  },
  silent_device: {
    short: 'the microphone is silent',
    means: 'The claim is that the microphone is open, but it is muted in the system or on the device: nothing can be heard.',
    todo: 'Your headset or microphone is muted, so nobody can hear you. Unmute it on the device, or in your system’s settings.',
  },
  app_muted_device_hot: {
    short: 'muted in the app, microphone still hot',
    means: 'The page has muted itself; the microphone is still open in the system, and other programs may hear it. Muting in an app usually does that.',
    todo: 'If nobody should hear you at all, mute the microphone in your system or on the device too.',
  },
  silent_and_flagged: {
    short: 'silent, and muted in the system',
    means: 'The system mutes this microphone, and the agent measures silence.',
    todo: null,
  },
  digital_zero: {
    short: 'exact silence measured',
    means: 'Every sample was exactly zero. Nothing can leave the microphone while that lasts.',
    todo: null,
  },
  floor_accepted: {
    short: 'only the microphone’s own noise',
    means: 'Nothing above the microphone’s own noise was measured. A silent room gives that too; this server accepts it.',
    todo: null,
  },
  flag_only: {
    short: 'muted in the system, not listened to',
    means: 'The system mutes this microphone. The agent did not listen; this server accepts that.',
    todo: null,
  },
  weak_evidence: {
    short: 'too little was measured',
    means: 'The measurement neither supports nor contradicts the claim.',
    todo: null,
  },
  quiet: {
    short: 'too quiet to tell',
    means: 'The microphone is quiet. It may be open in a silent room, or closed; the agent cannot tell.',
    todo: null,
  },
  device_match: {
    short: 'the microphone named here',
    means: 'The microphone named here is the one that the agent measures.',
    todo: null,
  },
};

/** The words for a reason that this page does not know, by the verdict's value. */
const VALUE_WORDS = {
  verified: { short: 'measured', means: 'The agent’s measurement agrees with the claim.', todo: null },
  contradicted: {
    short: 'the measurement disagrees',
    means: 'The agent’s measurement contradicts the claim.',
    todo: 'Check your microphone in this page, in your system and on the device.',
  },
  stale: { short: 'nothing was measured lately', means: 'The last measurement says nothing about now.', todo: null },
  unverified: { short: 'not measured', means: 'No measurement supports this claim.', todo: null },
};

export const REASON_CODES = Object.keys(REASONS);

/**
 * The verdict at this moment of the server's time. A verdict that rests on a measurement becomes stale when it expires,
 * even if the server cannot be reached; without a readable `expiresAt` it counts as expired. `since` is the moment
 * since which silence has been measured without a break, or null.
 */
export function inForce(verdict, serverNow) {
  const value = VALUES.includes(verdict?.value) ? verdict.value : 'unverified';
  const reason = typeof verdict?.reason === 'string' ? verdict.reason : 'no_agent';
  const observedAt = momentOf(verdict?.observedAt);
  const expiresAt = momentOf(verdict?.expiresAt);
  const since = momentOf(verdict?.since);
  const bounded = value === 'verified' || value === 'contradicted';
  const over = expiresAt === null ? bounded : serverNow > expiresAt;
  if (over && !LASTING.includes(reason)) return { value: 'stale', reason: 'attestation_expired', observedAt, expiresAt, since: null };
  return { value, reason, observedAt, expiresAt, since: value === 'stale' ? null : since };
}

/** A verdict as it is shown while the server does not have the page's newest claim: it was about an earlier claim. */
export function beforeClaim(verdict) {
  if (!verdict || LASTING.includes(verdict.reason)) return verdict;
  return { ...verdict, value: 'stale', reason: 'claim_newer' };
}

function headlineOf(value, isMuted) {
  const word = isMuted ? 'muted' : 'unmuted';
  if (value === 'verified') return `${isMuted ? 'Muted' : 'Unmuted'}, verified`;
  if (value === 'contradicted') return `Says ${word}: contradicted`;
  return `Says ${word} · not verified`;
}

/** Whether a verdict of this state says that the system has moved a recording away from the claimed device. */
export const isMoved = ({ agent, deviceLabel }, { value, reason }) => (
  value === 'contradicted' && reason === 'device_mismatch' && (!agent?.deviceLabel || !deviceLabel || sameLabel(agent.deviceLabel, deviceLabel))
);

/** The mute verdict of a state in words, at this moment of the server's time. */
export function describeVerdict(state, serverNow) {
  const verdict = inForce(state.verdict?.mute, serverNow);
  const entry = Object.hasOwn(REASONS, verdict.reason) ? REASONS[verdict.reason] : VALUE_WORDS[verdict.value];
  const words = typeof entry === 'function' ? entry({ ...state, verdict: { mute: verdict } }) : entry;
  return { ...verdict, headline: headlineOf(verdict.value, state.isMuted), ...words };
}

/**
 * The question whether the device that the agent measures is the one that is used here. Null if it need not be asked.
 */
export function bindingQuestion(state, serverNow) {
  if (!state || !canBeBound(state)) return null;
  const { agent, deviceId } = state;
  const open = [state.verdict?.mute, state.verdict?.device].map((verdict) => inForce(verdict, serverNow).reason);
  if (!open.some((reason) => reason === 'device_unbound' || reason === 'device_ambiguous')) return null;
  return { agentId: agent.agentId, agentDeviceId: agent.deviceId, deviceId, label: agent.deviceLabel ?? agent.deviceId };
}

/** Why the room is not known to be silent because of this person; null if they are muted and verified. */
function obstacleOf(person) {
  if (person.value === 'contradicted') return 'contradicted';
  if (!person.isMuted) return 'unmuted';
  return person.value === 'verified' ? null : 'unverified';
}

/** Whether a listed state claims a mute and a valid measurement agrees. */
export const isSilent = (state, serverNow) => obstacleOf({ isMuted: state.isMuted, value: inForce(state.verdict?.mute, serverNow).value }) === null;

/**
 * Whether everybody is muted and verified. `people` are those on this page, `{userId, isMuted, value}` with the value
 * at this moment; `answer` is the server's, or null. The room is safe only if the page and the server agree that it is.
 */
export function roomSafety(answer, people, serverNow) {
  const expiresAt = momentOf(answer?.expiresAt);
  const current = answer && (expiresAt === null ? !answer.safe : serverNow <= expiresAt);
  let blocking = people.filter(obstacleOf);
  if (blocking.length === 0 && current) {
    if (answer.safe) return { safe: true, expiresAt, groups: [] };
    blocking = (answer.blocking ?? []).map((b) => ({ userId: b.userId, isMuted: b.isMuted, value: inForce(b.verdict, serverNow).value })).filter(obstacleOf);
  }
  const groups = ['contradicted', 'unmuted', 'unverified']
    .map((kind) => ({ kind, userIds: blocking.filter((person) => obstacleOf(person) === kind).map((person) => person.userId) }))
    .filter((group) => group.userIds.length > 0);
  return { safe: false, expiresAt, groups };
}
