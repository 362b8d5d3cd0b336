//! Requests to everybody in a room to mute. A request changes no claim and no microphone: each person's client does.

use crate::evidence::words;
use crate::user::User;
use crate::verdict::Value;
use crate::{MuteRequestId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

/// What everybody reads in the chat when there is a request.
pub const NOTICE: &str = "Everybody was asked to mute.";

words! {
    /// What has become of a request for one person, at the moment of the answer.
    #[schemars(inline)]
    Outcome {
        /// They claim to be open.
        Requested = "requested",
        /// They claim to be muted.
        Claimed = "claimed",
        /// They claim to be muted, and it was measured.
        Verified = "verified",
        /// They said that they stay open.
        Refused = "refused",
        /// They are not present any more.
        Gone = "gone",
    }
}

impl Outcome {
    /// The outcome for a person who is present. A mute counts, whenever it was claimed and whatever was said before: the
    /// question is whether the person is muted now.
    #[must_use]
    pub fn of(person: &User, request: &MuteRequestId) -> Self {
        if person.is_muted {
            if person.verdict.mute.value == Value::Verified { Self::Verified } else { Self::Claimed }
        } else if person.refused_request.as_ref() == Some(request) {
            Self::Refused
        } else {
            Self::Requested
        }
    }
}

/// A person who was asked to mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct MuteTarget {
    /// The person.
    pub participant_id: UserId,
    /// What has become of it.
    pub outcome: Outcome,
}

/// A request to everybody in a room to mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "requestId": "mr_01KBA8M3Q4V4W5X6Y7Z8A9BCDJ",
    "targets": [{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "outcome": "requested"}],
}]))]
pub struct MuteRequest {
    /// Its id.
    pub request_id: MuteRequestId,
    /// Everybody who was present when it was made, but presenters, in the order in which they joined.
    pub targets: Vec<MuteTarget>,
}

impl MuteRequest {
    /// The request as it stands, with these people present.
    #[must_use]
    pub fn of(request_id: MuteRequestId, targets: Vec<UserId>, present: &[User]) -> Self {
        let outcome = |id: &UserId| {
            let person = present.iter().find(|person| person.user_id == *id);
            person.map_or(Outcome::Gone, |person| Outcome::of(person, &request_id))
        };
        let targets = targets.into_iter().map(|id| MuteTarget { outcome: outcome(&id), participant_id: id });
        let targets = targets.collect();
        Self { request_id, targets }
    }
}

/// The last request of a room, for its people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct MuteNotice {
    /// Its id.
    pub request_id: MuteRequestId,
    /// When it was made.
    pub at: Timestamp,
}
