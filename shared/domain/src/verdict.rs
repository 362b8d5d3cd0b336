//! What Greenroom says about a claim after comparing it with what was measured.
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
        /// What was measured is older than the claim, or too old.
        Stale = "stale",
        /// Nothing independent has been measured, or not enough to say.
        Unverified = "unverified",
    }
}

words! {
    /// Why a verdict is as it is.
    #[schemars(inline)]
    Reason {
        /// No agent was ever paired.
        NoAgent = "no_agent",
        /// The agent was revoked.
        AgentRevoked = "agent_revoked",
        /// The last attestation is too old.
        AttestationExpired = "attestation_expired",
        /// The agent may not listen.
        PermissionDenied = "permission_denied",
        /// The sound server is away.
        HostUnavailable = "host_unavailable",
        /// Another program holds the device for itself.
        DeviceBusy = "device_busy",
        /// The agent is paired and has not measured anything, or the device delivers nothing.
        NoData = "no_data",
        /// The claim is not the one under which was measured.
        ClaimNewer = "claim_newer",
        /// The claimed device is gone.
        DeviceMissing = "device_missing",
        /// The stream hears another device than the claimed one.
        DeviceMismatch = "device_mismatch",
        /// The agent's own stream is muted or turned down, so its silence says nothing.
        StreamSilenced = "stream_silenced",
        /// The claim names whichever device the system prefers, which may be another one at any time.
        DeviceAlias = "device_alias",
        /// Nothing binds the claimed device to the one that was measured.
        DeviceUnbound = "device_unbound",
        /// Two inputs have the claimed device's label.
        DeviceAmbiguous = "device_ambiguous",
        /// The system says muted, and there is signal.
        FlagLies = "flag_lies",
        /// There is signal.
        SignalPresent = "signal_present",
        /// Muted in the app alone: the device still hears. A state of its own, not a contradiction.
        AppMutedDeviceHot = "app_muted_device_hot",
        /// The system says muted, and nothing is heard.
        SilentAndFlagged = "silent_and_flagged",
        /// Exact zeros: nothing can leave the device while they last.
        DigitalZero = "digital_zero",
        /// A quiet floor, which the policy accepts.
        FloorAccepted = "floor_accepted",
        /// Silent for too short a time: it may be the pause between two sentences.
        RecentSignal = "recent_signal",
        /// Less than the policy asks for.
        WeakEvidence = "weak_evidence",
        /// The system's mute flag alone, which the policy accepts.
        FlagOnly = "flag_only",
        /// The system says that it does not mute.
        OsUnmuted = "os_unmuted",
        /// Claimed open, but the device is silenced.
        SilentDevice = "silent_device",
        /// Claimed open, but nobody speaks: nothing can be said.
        Quiet = "quiet",
        /// The claimed device is the one that was measured.
        DeviceMatch = "device_match",
    }
}

words! {
    /// The weakest evidence that verifies a mute. Each accepts all that stand before it.
    #[schemars(inline)]
    MinEvidence {
        /// Exact zeros, or silence under the system's flag.
        DigitalZero = "digital_zero",
        /// Also the system's flag alone, without having listened.
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

/// What counts as evidence, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often an agent attests while nothing changes.
    pub interval: Duration,
    /// How long an attestation holds.
    pub fresh: Duration,
    /// The weakest evidence that verifies a mute.
    pub min_evidence: MinEvidence,
}

/// An agent's usual interval; `Policy::fresh` lets one attestation be lost.
const INTERVAL: Duration = Duration::from_secs(10);
/// Two and a half intervals.
const FRESH: Duration = Duration::from_secs(25);
/// By how much clocks may differ, and how long a claim takes to arrive. Evidence of the claim's own version may be this much
/// older than the claim; evidence of another version contradicts only if it is this much newer.
const CLAIM_GRACE: Duration = Duration::from_secs(2);
/// How long silence must have lasted before it verifies a mute that the system's flag does not confirm: longer than the
/// pauses in which a noise gate gives exact zeros between two sentences.
pub const RECENT: Duration = Duration::from_secs(3);

impl Policy {
    /// The usual times with this weakest evidence.
    #[must_use]
    pub const fn new(min_evidence: MinEvidence) -> Self {
        Self { interval: INTERVAL, fresh: FRESH, min_evidence }
    }
}

/// What is known from an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness<'a> {
    /// No agent was ever paired.
    Nobody,
    /// There was one; it was revoked.
    Revoked,
    /// Paired, and has not attested yet.
    Paired,
    /// Its last attestation.
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
    /// Which version of the state that is.
    pub version: Version,
}

/// What a comparison of the claim with an agent's measurements says, at the moment of the answer. It expires by itself. An
/// agent runs on the participant's own machine: a signature says which key attested, not that it is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The outcome. Treat an unknown one as `unverified`.
    pub value: Value,
    /// Why, as a stable code; `docs/verdicts.md` has the table. Later versions may add codes.
    pub reason: Reason,
    /// When the evidence was measured; null without evidence.
    pub observed_at: Option<Timestamp>,
    /// When the verdict turns stale by itself; null without evidence.
    pub expires_at: Option<Timestamp>,
    /// Since when the claimed device has been silent without a break, as measured; null if no silence of it was measured, and
    /// for the device verdict.
    pub since: Option<Timestamp>,
    /// Who vouches for the evidence: software on the participant's own machine.
    pub assurance: Assurance,
}

/// The two verdicts of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdicts {
    /// Is the microphone as muted as claimed?
    pub mute: Verdict,
    /// Is the claimed device the one that is measured?
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
            // What was measured under another claim knows nothing of a device that is claimed since.
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

/// What keeps the evidence from being about the claim at all; in this order, the first one that holds.
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
    // From here on what the agent opened is what the person claims.
    if evidence.condition == Condition::DeviceMissing {
        return Some((Value::Contradicted, Reason::DeviceMissing));
    }
    match evidence.route {
        Route::Moved => Some((Value::Contradicted, Reason::DeviceMismatch)),
        Route::Silenced => Some((Value::Unverified, Reason::StreamSilenced)),
        Route::Direct => None,
    }
}

/// What evidence says that was measured under another claim. It never verifies, and it knows nothing of a device that is
/// claimed since. It contradicts a mute if it was measured well after the claim, on the device that is claimed now.
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

/// The two matrices. They match without a wildcard, so that a new class of evidence has to be decided here.
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
        // Nobody has listened, so which device would be heard is only configuration.
        Signal::NotOpened => (Value::Unverified, Reason::WeakEvidence),
        Signal::DigitalZero | Signal::Floor | Signal::Signal => (Value::Verified, Reason::DeviceMatch),
    }
}

#[cfg(test)]
mod tests;
