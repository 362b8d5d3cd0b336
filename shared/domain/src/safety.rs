//! Whether everybody in a room is verified to be muted: the combined verdicts of the people present.

use crate::user::User;
use crate::verdict::{Value, Verdict};
use crate::{RoomId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

/// Most people that an answer names; the counts include everybody.
const BLOCKING_MAX: usize = 100;

/// Whether everybody in a room is verified to be muted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "roomId": "demo", "safe": true, "asOf": "2026-11-21T11:44:18.082Z", "expiresAt": "2026-11-21T11:44:36.020Z",
    "counts": {"total": 2, "muted": 2, "verified": 2, "contradicted": 0, "stale": 0, "unverified": 0}, "blocking": [],
}]))]
pub struct RoomSafety {
    /// The room.
    pub room_id: RoomId,
    /// True if everybody present claims to be muted and every mute verdict is `verified`. An unknown state is never
    /// safe, and neither is an empty room.
    pub safe: bool,
    /// The moment that this answer describes.
    pub as_of: Timestamp,
    /// When the first verdict expires, and this answer with it; null if the room is not safe.
    pub expires_at: Option<Timestamp>,
    /// Number of people by mute verdict; `muted` counts their claims.
    pub counts: Counts,
    /// The people who keep the room from being safe; at most 100 are named, and all are counted.
    #[schemars(length(max = BLOCKING_MAX))]
    pub blocking: Vec<Blocking>,
}

/// People present, by their claim and by their mute verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Counts {
    /// Everybody present.
    pub total: u64,
    /// People who claim to be muted.
    pub muted: u64,
    /// People whose mute verdict is `verified`: the microphone is as claimed, muted or open.
    pub verified: u64,
    /// People whose mute verdict is `contradicted`.
    pub contradicted: u64,
    /// People whose mute verdict is `stale`.
    pub stale: u64,
    /// People whose mute verdict is `unverified`.
    pub unverified: u64,
}

/// A person who keeps the room from being safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Blocking {
    /// The person.
    pub user_id: UserId,
    /// Their claim: muted or open.
    pub is_muted: bool,
    /// The mute verdict.
    pub verdict: Verdict,
}

impl RoomSafety {
    /// An empty room.
    #[must_use]
    pub fn new(room_id: RoomId, as_of: Timestamp) -> Self {
        Self { room_id, safe: false, as_of, expires_at: None, counts: Counts::default(), blocking: Vec::new() }
    }

    /// Counts a person who is present. The verdicts of `user` must be those at `as_of`.
    pub fn add(&mut self, user: User) {
        let verdict = user.verdict.mute;
        let Counts { total, muted, verified, contradicted, stale, unverified } = &mut self.counts;
        *total += 1;
        *muted += u64::from(user.is_muted);
        *match verdict.value {
            Value::Verified => verified,
            Value::Contradicted => contradicted,
            Value::Stale => stale,
            Value::Unverified => unverified,
        } += 1;
        let silent = user.is_muted && verdict.value == Value::Verified;
        if silent {
            self.expires_at = [self.expires_at, verdict.expires_at].into_iter().flatten().min();
        } else if self.blocking.len() < BLOCKING_MAX {
            self.blocking.push(Blocking { user_id: user.user_id, is_muted: user.is_muted, verdict });
        }
        self.safe = self.blocking.is_empty();
        if !self.safe {
            self.expires_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{MuteScope, Source};
    use crate::verdict::{Assurance, Reason, Verdicts};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_257_125_000);

    fn user(is_muted: bool, value: Value, lives_ms: u64) -> User {
        let verdict = Verdict {
            value,
            reason: Reason::DigitalZero,
            observed_at: Some(NOW),
            expires_at: Some(Timestamp::from_ms(NOW.ms() + lives_ms)),
            since: None,
            assurance: Assurance::SelfHosted,
        };
        User {
            user_id: "ada".parse().unwrap(),
            name: None,
            is_muted,
            mute_scope: MuteScope::App,
            device_id: None,
            device_label: None,
            room_id: None,
            version: 1,
            last_updated: NOW,
            created_at: NOW,
            source: Source::Open,
            agent: None,
            verdict: Verdicts { mute: verdict, device: verdict },
            participant: None,
            refused_request: None,
            lease_until: None,
            expires_at: Timestamp::from_ms(NOW.ms() + 1_000_000),
            request_id: None,
            changed_by: None,
        }
    }

    fn room() -> RoomSafety {
        RoomSafety::new("demo".parse().unwrap(), NOW)
    }

    #[test]
    fn an_empty_room_is_not_safe() {
        assert!(!room().safe && room().expires_at.is_none());
    }

    #[test]
    fn an_answer_names_a_hundred_and_counts_all() {
        let mut room = room();
        for _ in 0..250 {
            room.add(user(true, Value::Stale, 0));
        }
        assert_eq!((room.blocking.len(), room.counts.stale, room.counts.total), (100, 250, 250));
    }

    proptest! {
        #[test]
        fn a_room_is_safe_if_everybody_is_muted_and_verified(
            people in proptest::collection::vec((any::<bool>(), 0..4_usize, 0..25_000_u64), 1..12),
        ) {
            let mut room = room();
            for &(is_muted, value, lives_ms) in &people {
                room.add(user(is_muted, Value::ALL[value], lives_ms));
            }
            let silent = |&&(is_muted, value, _): &&(bool, usize, u64)| is_muted && Value::ALL[value] == Value::Verified;
            let all = people.iter().filter(silent).count() == people.len();
            prop_assert_eq!(room.safe, all);
            let first_end = people.iter().map(|&(_, _, lives_ms)| Timestamp::from_ms(NOW.ms() + lives_ms)).min();
            prop_assert_eq!(room.expires_at, first_end.filter(|_| all));
            let Counts { total, verified, contradicted, stale, unverified, .. } = room.counts;
            prop_assert_eq!(total, verified + contradicted + stale + unverified);
            prop_assert_eq!(room.blocking.len(), people.len() - people.iter().filter(silent).count());
        }
    }
}
