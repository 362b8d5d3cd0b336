//! A user's audio state: what their client claims.

use crate::evidence::words;
use crate::room::Role;
use crate::verdict::Verdicts;
use crate::{
    Actor, AgentDeviceId, AgentId, DeviceId, Label, LeaseId, MuteRequestId, Name, Refused, RoomId, Timestamp, UserId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Number of changes of one state, from 1. Clients send it back as `If-Match: "<version>"`.
pub type Version = u64;

words! {
    /// How deep a mute goes.
    #[derive(Default)]
    MuteScope {
        /// The page disabled its track; the device may still be open. The default of a claim.
        #[default]
        App = "app",
        /// The operating system mutes the source.
        Os = "os",
        /// The hardware delivers silence.
        Device = "device",
    }
}

/// How the last writer was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Source {
    /// Written without a token (`AUTH_MODE=open`), so anybody could have written it.
    Open,
    /// Written with the participant's own token.
    Token,
}

/// A client's own counter. With it, changes that arrive out of order still end in the person's last choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64")]
#[schemars(extend("maximum" = SEQ_MAX))]
pub struct Seq(u64);

/// The largest integer up to which JavaScript counts exactly.
const SEQ_MAX: u64 = (1 << 53) - 1;

impl Seq {
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Seq {
    type Error = Refused;

    fn try_from(number: u64) -> Result<Self, Refused> {
        if number <= SEQ_MAX { Ok(Self(number)) } else { Err(Refused("be at most 9007199254740991")) }
    }
}

/// A person says their microphone is muted or open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuteClaim {
    /// The wanted end state, not a toggle, so a repeated claim is harmless.
    pub is_muted: bool,
    /// How deep the mute goes.
    pub mute_scope: MuteScope,
}

/// A person says which microphone they use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceClaim {
    /// The browser's name for the device; none if they use none.
    pub device_id: Option<DeviceId>,
    /// The label of the device.
    pub device_label: Option<Label>,
}

/// All claims of a client at once. A part that it leaves out is cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Muted or open.
    pub mute: MuteClaim,
    /// The browser's name for the device in use.
    pub device_id: Option<DeviceId>,
    /// The label of the device.
    pub device_label: Option<Label>,
    /// The room the person is in.
    pub room_id: Option<RoomId>,
    /// The name of the person.
    pub name: Option<Name>,
    /// The page load that keeps the person present; without one they are present until their state expires.
    pub lease: Option<LeaseId>,
}

/// How long a person counts as present after their page last renewed its lease.
pub const LEASE: Duration = Duration::from_secs(35);

/// The agent that is attached to a user, and the device that it attested last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairedAgent {
    /// Its id.
    pub agent_id: AgentId,
    /// Whether the agent was revoked; then it may not attest any more.
    pub revoked: bool,
    /// The agent's name for the device that it attested last.
    pub device_id: Option<AgentDeviceId>,
    /// The system's name for that device.
    pub device_label: Option<Label>,
}

/// A user's stored state: their claims, and Greenroom's verdicts on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UserState", extend("examples" = [{
    "userId": "ada", "name": null, "isMuted": true, "muteScope": "app", "deviceId": "usb-1", "deviceLabel": "USB microphone",
    "roomId": "demo", "version": 4, "lastUpdated": "2026-11-21T11:44:18.082Z", "createdAt": "2026-11-21T11:44:18.027Z",
    "source": "open",
    "agent": {"agentId": "agt_7YG4P15WXB9KKARQDPKB1N5Y86", "revoked": false, "deviceId": null, "deviceLabel": null},
    "verdict": {
        "mute": {
            "value": "unverified", "reason": "no_data", "observedAt": null, "expiresAt": null, "since": null,
            "assurance": "self-hosted",
        },
        "device": {
            "value": "unverified", "reason": "no_data", "observedAt": null, "expiresAt": null, "since": null,
            "assurance": "self-hosted",
        },
    },
}]))]
pub struct User {
    /// The user whose state this is.
    pub user_id: UserId,
    /// The name of the person: 1 to 100 characters, under the rules of a label. It is never in the history and never
    /// logged.
    pub name: Option<Name>,
    /// The claim: muted or open.
    pub is_muted: bool,
    /// The claim: how deep the mute goes.
    pub mute_scope: MuteScope,
    /// The claim: the device in use.
    pub device_id: Option<DeviceId>,
    /// The claim: the label of the device.
    pub device_label: Option<Label>,
    /// The room the person is in.
    pub room_id: Option<RoomId>,
    /// Number of changes so far. Clients send it back as `If-Match`.
    #[schemars(range(min = 1))]
    pub version: Version,
    /// Time of the last change; never goes back.
    pub last_updated: Timestamp,
    /// Time of the first write; never changes.
    pub created_at: Timestamp,
    /// How the last writer was identified.
    pub source: Source,
    /// The agent that is attached to the user; null if there is none.
    pub agent: Option<PairedAgent>,
    /// Greenroom's verdicts on the claim.
    pub verdict: Verdicts,
    /// What the person is in a room that somebody created; left out for anybody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Participant")]
    pub participant: Option<Participant>,
    /// When the person's presence ends unless it is renewed; none for a client without leases. Not part of an answer,
    /// because it changes every few seconds.
    #[serde(skip)]
    pub lease_until: Option<Timestamp>,
    /// When the state expires.
    #[serde(skip)]
    pub expires_at: Timestamp,
    /// The request that changed the state last, if it is known.
    #[serde(skip)]
    pub request_id: Option<String>,
    /// The request to mute that the person refused last.
    #[serde(skip)]
    pub refused_request: Option<MuteRequestId>,
    /// Who changed the state last; none if it was not recorded.
    #[serde(skip)]
    pub changed_by: Option<Actor>,
}

/// A person in a room that somebody created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Participant {
    /// What they may do.
    pub role: Role,
    /// When they joined.
    pub joined_at: Timestamp,
    /// Whether they say that their camera is on.
    pub is_video_on: bool,
    /// Whether they raise their hand.
    pub hand_raised: bool,
    /// Whether a presenter lets them unmute in a room that moderates that.
    pub may_unmute: bool,
}

impl User {
    /// Whether the person is present at `now`: their state has not expired, and their lease, if there is one, has not
    /// lapsed.
    #[must_use]
    pub fn is_present(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.lease_until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_scope_and_json_agree() {
        for scope in [MuteScope::App, MuteScope::Os, MuteScope::Device] {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
    }

    #[test]
    fn a_counter_stays_within_what_javascript_counts_exactly() {
        assert!(serde_json::from_str::<Seq>("9007199254740991").is_ok());
        for bad in ["9007199254740992", "-1", "1.5", "\"1\""] {
            assert!(serde_json::from_str::<Seq>(bad).is_err(), "{bad}");
        }
    }
}
