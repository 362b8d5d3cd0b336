//! What Greenroom says about a claim after comparing it with what was measured.
//!
//! One pure function, small enough that a client can recompute it. `docs/verdicts.md` is generated from it.

use crate::evidence::words;
use crate::{Binding, Condition, DeviceId, Evidence, Flag, MuteScope, Route, Signal, Timestamp};
use serde::Serialize;
use std::time::Duration;

words! {
    /// The outcome of comparing a claim with the evidence.
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
        /// The claim is newer than what was measured.
        ClaimNewer = "claim_newer",
        /// The claimed device is gone.
        DeviceMissing = "device_missing",
        /// The stream hears another device than the claimed one.
        DeviceMismatch = "device_mismatch",
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
/// Evidence may be this much older than the claim: clocks differ, and a claim takes a moment to arrive.
const CLAIM_GRACE: Duration = Duration::from_secs(2);

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
pub struct Claimed<'a> {
    /// Muted or open.
    pub is_muted: bool,
    /// How deep the mute goes.
    pub mute_scope: MuteScope,
    /// The device in use.
    pub device_id: Option<&'a DeviceId>,
    /// When it was claimed.
    pub at: Timestamp,
}

/// One verdict, with its reason and how long it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The outcome.
    pub value: Value,
    /// Why.
    pub reason: Reason,
    /// When the evidence was measured; absent without evidence.
    pub observed_at: Option<Timestamp>,
    /// When the verdict turns stale by itself; absent without evidence.
    pub expires_at: Option<Timestamp>,
    /// Who vouches for the evidence.
    pub assurance: Assurance,
}

/// The two verdicts of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Is the microphone as muted as claimed?
    pub mute: Verdict,
    /// Is the claimed device the one that is measured?
    pub device: Verdict,
}

impl Verdicts {
    /// Compares a claim with what an agent measured.
    #[must_use]
    pub fn of(claimed: Claimed<'_>, witness: Witness<'_>, binding: Binding, policy: Policy, now: Timestamp) -> Self {
        let evidence = match witness {
            Witness::Nobody => return Self::without_evidence(Reason::NoAgent),
            Witness::Revoked => return Self::without_evidence(Reason::AgentRevoked),
            Witness::Paired => return Self::without_evidence(Reason::NoData),
            Witness::Attested(evidence) => evidence,
        };
        let (mute, device) = match obstacle(claimed, evidence, binding, policy, now) {
            Some(same) => (same, same),
            None => (of_mute(claimed, evidence, policy), of_device(evidence)),
        };
        let verdict = |(value, reason)| Verdict {
            value,
            reason,
            observed_at: Some(evidence.observed_at),
            expires_at: Some(evidence.observed_at.plus(policy.fresh)),
            assurance: Assurance::SelfHosted,
        };
        Self { mute: verdict(mute), device: verdict(device) }
    }

    const fn without_evidence(reason: Reason) -> Self {
        let verdict = Verdict {
            value: Value::Unverified,
            reason,
            observed_at: None,
            expires_at: None,
            assurance: Assurance::SelfHosted,
        };
        Self { mute: verdict, device: verdict }
    }
}

/// What keeps the evidence from being about the claim at all; in this order, the first one that holds.
fn obstacle(
    claimed: Claimed<'_>,
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
    if evidence.observed_at.plus(CLAIM_GRACE) < claimed.at {
        return Some((Value::Stale, Reason::ClaimNewer));
    }
    if evidence.condition == Condition::DeviceMissing {
        // Who claims no device is not contradicted by one that is gone.
        return Some(match claimed.device_id {
            Some(_) => (Value::Contradicted, Reason::DeviceMissing),
            None => (Value::Unverified, Reason::DeviceUnbound),
        });
    }
    if binding == Binding::Other || evidence.route == Route::Moved {
        return Some((Value::Contradicted, Reason::DeviceMismatch));
    }
    match binding {
        Binding::Unbound => Some((Value::Unverified, Reason::DeviceUnbound)),
        Binding::Ambiguous => Some((Value::Unverified, Reason::DeviceAmbiguous)),
        Binding::Same | Binding::Other => None,
    }
}

/// The two matrices. They match without a wildcard, so that a new class of evidence has to be decided here.
fn of_mute(claimed: Claimed<'_>, evidence: &Evidence, policy: Policy) -> (Value, Reason) {
    use Value::{Contradicted, Unverified, Verified};
    let Evidence { flag, signal, .. } = *evidence;
    let accepts = |weakest| policy.min_evidence >= weakest;
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

pub(crate) mod table;
#[cfg(test)]
mod tests;
