//! Greenroom's rules and vocabulary. Nothing here knows AWS, HTTP, a clock or an executor, so every rule can be
//! tested with values alone.

mod attestation;
mod evidence;
mod id;
pub mod ledger;
mod room;
mod text;
mod time;
mod user;
mod verdict;

pub use attestation::{
    Attestation, Challenge, Enrolment, Fingerprint, PairingCode, PublicKey, Purpose, SIGNATURE_HEADER, SKEW_MAX,
    WINDOW_MAX,
};
pub use ed25519_dalek::SigningKey;
pub use evidence::{AgentDevice, Binding, Condition, DeviceBinding, Evidence, Flag, Route, Signal, same_label};
pub use id::{AgentId, RoomId, UserId};
pub use room::{Blocking, Counts, RoomSafety};
pub use text::{AgentDeviceId, DeviceId, Label};
pub use time::Timestamp;
pub use user::{Claim, DeviceClaim, MuteClaim, MuteScope, PairedAgent, Seq, Source, User, Version};
pub use verdict::table::markdown as verdicts_markdown;
pub use verdict::{Assurance, Claimed, MinEvidence, Policy, Reason, Value, Verdict, Verdicts, Witness};

/// Why a value was refused: a rule, phrased to complete "must …".
///
/// The caller knows which field it was reading and adds its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub &'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "must {}", self.0)
    }
}

impl std::error::Error for Refused {}
