//! Greenroom's rules and vocabulary. Nothing here knows AWS, HTTP, a clock or an executor, so every rule can be
//! tested with values alone.

mod id;
mod text;
mod time;
mod user;
mod verdict;

pub use id::{RoomId, UserId};
pub use text::{DeviceId, Label};
pub use time::Timestamp;
pub use user::{Claim, DeviceClaim, MuteClaim, MuteScope, Seq, Source, User, Version};
pub use verdict::{Assurance, Value, Verdict, Verdicts};

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
