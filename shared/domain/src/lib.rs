//! Greenroom's rules and vocabulary. Nothing here knows AWS, HTTP, a clock or an executor, so every rule can be
//! tested with values alone.

mod actor;
pub mod analytics;
mod attestation;
mod connection;
mod evidence;
mod id;
pub mod ledger;
mod limit;
pub mod message;
pub mod mute;
pub mod question;
pub mod room;
mod safety;
mod schema;
mod text;
mod time;
mod token;
pub mod user;
pub mod verdict;

pub use actor::Actor;
pub use attestation::{
    Attestation, Challenge, Enrolment, Fingerprint, PairingCode, PublicKey, Purpose, SIGNATURE_HEADER, SKEW_MAX,
    WINDOW_MAX, WitnessToken,
};
pub use connection::{BEARER_SUBPROTOCOL, CONNECTION_LEASE, PING_EVERY, SUBPROTOCOL};
pub use ed25519_dalek::SigningKey;
pub use evidence::{AgentDevice, Binding, Condition, DeviceBinding, Evidence, Flag, Route, Signal, same_label};
pub use id::{AgentId, ConnectionId, MessageId, MuteRequestId, QuestionId, RESERVED_PREFIX, RoomId, UserId, ulid};
pub use limit::{Draw, Limit};
pub use safety::{Blocking, Counts, RoomSafety};
pub use schema::Nullable;
pub use text::{AgentDeviceId, DeviceId, Label, LeaseId, MessageText, Name, Slug, Title};
pub use time::Timestamp;
pub use token::{RoomToken, TOKEN_KEYS_MAX, TOKEN_LIFE_MAX, TokenKeys, TokenSigner};

/// The rule that a refused value breaks, phrased to complete "must …".
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
