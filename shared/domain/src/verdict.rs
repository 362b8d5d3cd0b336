//! Greenroom's verdict on a claim: the result of comparing it with a measurement.
//!
//! One pure function, small enough that a client can recompute it. `docs/verdicts.md` is generated from it.

use crate::evidence::words;
use crate::user::{MuteScope, Version};
use crate::{Binding, Condition, Evidence, Flag, Route, Signal, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

words! {
    /// The outcome of comparing a claim with the evidence.
    #[schemars(inline)]
    Value {
        /// Measured, and as claimed.
        Verified = "verified",
        /// Measured, and not as claimed.
        Contradicted = "contradicted",
        /// The measurement is older than the claim, or too old.
        Stale = "stale",
        /// There is no independent measurement, or not enough evidence.
        Unverified = "unverified",
    }
}

words! {
    /// The reason for a verdict.
    #[schemars(inline)]
    Reason {
        /// No agent is attached.
        NoAgent = "no_agent",
        /// The agent was revoked.
        AgentRevoked = "agent_revoked",
        /// The last attestation is too old.
        AttestationExpired = "attestation_expired",
        /// The agent may not listen.
        PermissionDenied = "permission_denied",
        /// The sound server does not answer.
        HostUnavailable = "host_unavailable",
        /// Another program uses the device exclusively.
        DeviceBusy = "device_busy",
        /// The agent has not attested yet, or the device delivers nothing.
        NoData = "no_data",
        /// The measurement was made before the claim, or under another version of it.
        ClaimNewer = "claim_newer",
        /// The claimed device is gone.
        DeviceMissing = "device_missing",
        /// The stream hears another device than the claimed one.
        DeviceMismatch = "device_mismatch",
        /// The agent's own stream is muted or turned down, so its silence proves nothing.
        StreamSilenced = "stream_silenced",
        /// The claim names an alias: the device that the system prefers, which may change at any time.
        DeviceAlias = "device_alias",
        /// Nothing binds the claimed device to the measured one.
        DeviceUnbound = "device_unbound",
        /// Two inputs have the claimed device's label.
        DeviceAmbiguous = "device_ambiguous",
        /// The system's flag says muted, but the device delivers a signal.
        FlagLies = "flag_lies",
        /// The device delivers a signal.
        SignalPresent = "signal_present",
        /// Muted in the app alone, so the device is still open. This is a state of its own and not a contradiction.
        AppMutedDeviceHot = "app_muted_device_hot",
        /// The system's flag says muted, and the device is silent.
        SilentAndFlagged = "silent_and_flagged",
        /// Exact zeros: nothing can leave the device while they last.
        DigitalZero = "digital_zero",
        /// A quiet floor, which the policy accepts.
        FloorAccepted = "floor_accepted",
        /// Silent for too short a time: it may be the pause between two sentences.
        RecentSignal = "recent_signal",
        /// The evidence is weaker than the policy requires.
        WeakEvidence = "weak_evidence",
        /// The system's mute flag alone, which the policy accepts.
        FlagOnly = "flag_only",
        /// The system's flag says that the device is not muted.
        OsUnmuted = "os_unmuted",
        /// Claimed open, but the device is silenced.
        SilentDevice = "silent_device",
        /// Claimed open, but nobody speaks, so there is no proof either way.
        Quiet = "quiet",
        /// The claimed device is the measured one.
        DeviceMatch = "device_match",
    }
}

words! {
    /// The weakest evidence that verifies a mute. Each value also accepts the evidence of all values before it.
    #[schemars(inline)]
    MinEvidence {
        /// Exact zeros, or silence together with the system's mute flag.
        DigitalZero = "digital_zero",
        /// Also the system's mute flag alone, without listening.
        Flag = "flag",
        /// Also a quiet floor, which a silent room gives too.
        Floor = "floor",
    }
}

/// Who vouches for the evidence. An agent runs on the participant's own machine, and every verdict says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Assurance {
    /// Measured, if at all, by software on the participant's machine.
    #[serde(rename = "self-hosted")]
    SelfHosted,
}

/// The evidence that counts, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often an agent attests while nothing changes.
    pub interval: Duration,
    /// How long an attestation holds.
    pub fresh: Duration,
    /// The weakest evidence that verifies a mute.
    pub min_evidence: MinEvidence,
}

/// An agent's usual interval; `Policy::fresh` tolerates the loss of one attestation.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long an attestation holds: two and a half intervals.
const FRESH: Duration = Duration::from_secs(25);
/// Tolerance for clocks that differ and for the time that a claim takes to arrive. Evidence of the claim's own version
/// may be this much older than the claim; evidence of another version contradicts only if it is this much newer.
const CLAIM_GRACE: Duration = Duration::from_secs(2);
/// How long silence must have lasted before it verifies a mute that the system's flag does not confirm: longer than the
/// pauses in which a noise gate gives exact zeros between two sentences.
pub const RECENT: Duration = Duration::from_secs(3);

impl Policy {
    /// The usual times with this `min_evidence`.
    #[must_use]
    pub const fn new(min_evidence: MinEvidence) -> Self {
        Self { interval: INTERVAL, fresh: FRESH, min_evidence }
    }
}

/// The state of a person's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness<'a> {
    /// No agent is attached.
    Nobody,
    /// The agent was revoked.
    Revoked,
    /// The agent is attached and has not attested yet.
    Paired,
    /// The agent's last attestation.
    Attested(&'a Evidence),
}

/// The part of a claim that a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Muted or open.
    pub is_muted: bool,
    /// How deep the mute goes.
    pub mute_scope: MuteScope,
    /// When it was claimed.
    pub at: Timestamp,
    /// The version of the state with this claim.
    pub version: Version,
}

/// The result of comparing the claim with an agent's measurements, at the moment of the answer. It expires by itself.
/// An agent runs on the participant's own machine: a signature proves which key attested, not that the content is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The outcome. Treat an unknown value as `unverified`.
    pub value: Value,
    /// The reason, as a stable code; `docs/verdicts.md` has the table. Later versions may add codes.
    pub reason: Reason,
    /// When the evidence was measured; null without evidence.
    pub observed_at: Option<Timestamp>,
    /// When the verdict turns stale by itself; null without evidence.
    pub expires_at: Option<Timestamp>,
    /// When the unbroken silence of the claimed device began, as measured. Null if no silence was measured, and in the
    /// device verdict.
    pub since: Option<Timestamp>,
    /// Who vouches for the evidence: software on the participant's own machine.
    pub assurance: Assurance,
}

/// The two verdicts of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdicts {
    /// Whether the microphone is muted or open as claimed.
    pub mute: Verdict,
    /// Whether the claimed device is the measured one.
    pub device: Verdict,
}

impl Verdicts {
    /// Compares a claim with what an agent measured.
    #[must_use]
    pub fn of(claimed: Claimed, witness: Witness<'_>, binding: Binding, policy: Policy, now: Timestamp) -> Self {
        let evidence = match witness {
            Witness::Nobody => return Self::without_evidence(Reason::NoAgent),
            Witness::Revoked => return Self::without_evidence(Reason::AgentRevoked),
            Witness::Paired => return Self::without_evidence(Reason::NoData),
            Witness::Attested(evidence) => evidence,
        };
        let (mute, device, since) = match obstacle(claimed, evidence, binding, policy, now) {
            // A measurement under another claim says nothing about a device that was claimed later.
            Some((Value::Contradicted, reason)) if evidence.version != claimed.version => {
                ((Value::Contradicted, reason), (Value::Stale, Reason::ClaimNewer), None)
            }
            Some(same) => (same, same, None),
            None => (of_mute(claimed, evidence, policy), of_device(evidence), evidence.silent_since),
        };
        let verdict = |(value, reason), since| Verdict {
            value,
            reason,
            observed_at: Some(evidence.observed_at),
            expires_at: Some(evidence.observed_at.plus(policy.fresh)),
            since,
            assurance: Assurance::SelfHosted,
        };
        Self { mute: verdict(mute, since), device: verdict(device, None) }
    }

    const fn without_evidence(reason: Reason) -> Self {
        let verdict = Verdict {
            value: Value::Unverified,
            reason,
            observed_at: None,
            expires_at: None,
            since: None,
            assurance: Assurance::SelfHosted,
        };
        Self { mute: verdict, device: verdict }
    }
}

/// The first obstacle, in this order, that keeps the evidence from applying to the claim.
fn obstacle(
    claimed: Claimed,
    evidence: &Evidence,
    binding: Binding,
    policy: Policy,
    now: Timestamp,
) -> Option<(Value, Reason)> {
    if now > evidence.observed_at.plus(policy.fresh) {
        return Some((Value::Stale, Reason::AttestationExpired));
    }
    match evidence.condition {
        Condition::PermissionDenied => return Some((Value::Unverified, Reason::PermissionDenied)),
        Condition::HostUnavailable => return Some((Value::Unverified, Reason::HostUnavailable)),
        Condition::DeviceBusy => return Some((Value::Unverified, Reason::DeviceBusy)),
        Condition::NoData => return Some((Value::Unverified, Reason::NoData)),
        Condition::Measured | Condition::DeviceMissing => {}
    }
    if evidence.version != claimed.version {
        return Some(of_another_claim(claimed, evidence, binding, policy));
    }
    if evidence.observed_at.plus(CLAIM_GRACE) < claimed.at {
        return Some((Value::Stale, Reason::ClaimNewer));
    }
    match binding {
        Binding::Alias => return Some((Value::Unverified, Reason::DeviceAlias)),
        Binding::Unbound => return Some((Value::Unverified, Reason::DeviceUnbound)),
        Binding::Ambiguous => return Some((Value::Unverified, Reason::DeviceAmbiguous)),
        Binding::Other => return Some((Value::Contradicted, Reason::DeviceMismatch)),
        Binding::Same => {}
    }
    // From here on, the claim and the evidence are about the same device.
    if evidence.condition == Condition::DeviceMissing {
        return Some((Value::Contradicted, Reason::DeviceMissing));
    }
    match evidence.route {
        Route::Moved => Some((Value::Contradicted, Reason::DeviceMismatch)),
        Route::Silenced => Some((Value::Unverified, Reason::StreamSilenced)),
        Route::Direct => None,
    }
}

/// The mute verdict by evidence that was measured under another version of the claim. Such evidence never verifies. It
/// contradicts a mute if it was measured well after the claim, on the device that is claimed now.
fn of_another_claim(claimed: Claimed, evidence: &Evidence, binding: Binding, policy: Policy) -> (Value, Reason) {
    let about_this_device = claimed.is_muted
        && binding == Binding::Same
        && evidence.condition == Condition::Measured
        && evidence.route == Route::Direct
        && evidence.observed_at >= claimed.at.plus(CLAIM_GRACE);
    match of_mute(claimed, evidence, policy) {
        contradicted @ (Value::Contradicted, _) if about_this_device => contradicted,
        _ => (Value::Stale, Reason::ClaimNewer),
    }
}

/// The two matrices of the mute verdict. They match without a wildcard arm, so a new class of evidence must be decided
/// here.
fn of_mute(claimed: Claimed, evidence: &Evidence, policy: Policy) -> (Value, Reason) {
    use Value::{Contradicted, Unverified, Verified};
    let Evidence { flag, signal, .. } = *evidence;
    let accepts = |weakest| policy.min_evidence >= weakest;
    let is_recent = evidence.silent_since.is_none_or(|since| since.plus(RECENT) > evidence.observed_at);
    if claimed.is_muted {
        match (signal, claimed.mute_scope, flag) {
            (Signal::Signal, MuteScope::App, _) | (Signal::NotOpened, MuteScope::App, Flag::Unmuted) => {
                (Unverified, Reason::AppMutedDeviceHot)
            }
            (Signal::Signal, MuteScope::Os | MuteScope::Device, Flag::Muted) => (Contradicted, Reason::FlagLies),
            (Signal::Signal, MuteScope::Os | MuteScope::Device, Flag::Unmuted | Flag::Unknown) => {
                (Contradicted, Reason::SignalPresent)
            }
            (Signal::DigitalZero | Signal::Floor, _, Flag::Muted) => (Verified, Reason::SilentAndFlagged),
            (Signal::DigitalZero, _, Flag::Unmuted | Flag::Unknown) if is_recent => (Unverified, Reason::RecentSignal),
            (Signal::Floor, _, Flag::Unmuted | Flag::Unknown) if accepts(MinEvidence::Floor) && is_recent => {
                (Unverified, Reason::RecentSignal)
            }
            (Signal::DigitalZero, _, Flag::Unmuted | Flag::Unknown) => (Verified, Reason::DigitalZero),
            (Signal::Floor, _, Flag::Unmuted | Flag::Unknown) if accepts(MinEvidence::Floor) => {
                (Verified, Reason::FloorAccepted)
            }
            (Signal::NotOpened, _, Flag::Muted) if accepts(MinEvidence::Flag) => (Verified, Reason::FlagOnly),
            (Signal::NotOpened, MuteScope::Os, Flag::Unmuted) => (Contradicted, Reason::OsUnmuted),
            (Signal::Floor, _, Flag::Unmuted | Flag::Unknown)
            | (Signal::NotOpened, _, Flag::Muted | Flag::Unknown)
            | (Signal::NotOpened, MuteScope::Device, Flag::Unmuted) => (Unverified, Reason::WeakEvidence),
        }
    } else {
        match (signal, flag) {
            (Signal::Signal, _) => (Verified, Reason::SignalPresent),
            (Signal::DigitalZero, Flag::Unmuted | Flag::Unknown) if is_recent => (Unverified, Reason::RecentSignal),
            (Signal::DigitalZero, _) | (Signal::Floor | Signal::NotOpened, Flag::Muted) => {
                (Contradicted, Reason::SilentDevice)
            }
            (Signal::Floor, Flag::Unmuted | Flag::Unknown) => (Unverified, Reason::Quiet),
            (Signal::NotOpened, Flag::Unmuted | Flag::Unknown) => (Unverified, Reason::WeakEvidence),
        }
    }
}

fn of_device(evidence: &Evidence) -> (Value, Reason) {
    match evidence.signal {
        // The agent has not listened, so the device is known from the configuration alone.
        Signal::NotOpened => (Value::Unverified, Reason::WeakEvidence),
        Signal::DigitalZero | Signal::Floor | Signal::Signal => (Value::Verified, Reason::DeviceMatch),
    }
}

#[cfg(test)]
mod tests;
