//! Identifiers that come from outside.

use crate::{Refused, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest id in bytes (and characters: ids are ASCII). `DynamoDB` allows 2 048 for a key; ids are in every log line.
const ID_BYTES_MAX: usize = 128;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $check:path, $pattern:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Refused;

            fn from_str(text: &str) -> Result<Self, Refused> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// The id of a person, chosen by the client. It must not consist of dots alone. The prefix `greenroom-`, in any
    /// case, is reserved.
    // A stored id may also be a reserved id of Greenroom's own: `UserId::is_open` tells them apart.
    UserId, free, free_pattern()
}

id! {
    /// The id of a room, chosen by the client. It must not consist of dots alone. The prefix `greenroom-`, in any case,
    /// is reserved.
    RoomId, free, free_pattern()
}

/// The prefix, in any case, of the ids that Greenroom itself uses.
pub const RESERVED_PREFIX: &str = "greenroom-";

macro_rules! open {
    ($($name:ident),+) => {
        $(impl $name {
            /// Checks that a client may use this id. A path segment of dots would not survive a URL.
            ///
            /// # Errors
            /// The id consists of dots alone, or is reserved for Greenroom itself.
            pub fn is_open(&self) -> Result<(), Refused> {
                let text = self.as_str();
                if text.bytes().all(|byte| byte == b'.') {
                    return Err(Refused("not consist of dots alone"));
                }
                let start = text.get(..RESERVED_PREFIX.len()).unwrap_or_default();
                if start.eq_ignore_ascii_case(RESERVED_PREFIX) {
                    return Err(Refused("not begin with greenroom-, which is reserved"));
                }
                Ok(())
            }
        })+
    };
}

open!(UserId, RoomId);

/// The prefix of the ids of participants.
const PARTICIPANT_PREFIX: &str = "p_";
/// The prefix of the ids of rooms that somebody created.
const ROOM_PREFIX: &str = "rm_";

impl UserId {
    /// A new id of a participant. A person who joins later has an id that sorts later.
    #[must_use]
    pub fn participant(at: Timestamp, random: [u8; 10]) -> Self {
        Self(format!("{PARTICIPANT_PREFIX}{}", ulid(at, random)))
    }

    /// Whether Greenroom made the id for somebody who joined a room.
    #[must_use]
    pub fn is_participant(&self) -> bool {
        is_ulid(&self.0, PARTICIPANT_PREFIX)
    }
}

impl RoomId {
    /// A new id of a room that somebody creates.
    #[must_use]
    pub fn created(at: Timestamp, random: [u8; 10]) -> Self {
        Self(format!("{ROOM_PREFIX}{}", ulid(at, random)))
    }

    /// Whether Greenroom made the id for a room that somebody created. Any other room exists only while somebody's
    /// state names it.
    #[must_use]
    pub fn is_created(&self) -> bool {
        is_ulid(&self.0, ROOM_PREFIX)
    }
}

macro_rules! made {
    ($(#[$doc:meta])* $name:ident, $check:ident, $prefix:literal) => {
        id! { $(#[$doc])* $name, $check, format!("^{}[0-7]{BASE32_CLASS}{{25}}$", $prefix) }

        impl $name {
            /// A new id. One that is made later sorts later.
            #[must_use]
            pub fn created(at: Timestamp, random: [u8; 10]) -> Self {
                Self(format!("{}{}", $prefix, ulid(at, random)))
            }
        }

        fn $check(text: &str) -> Result<(), Refused> {
            if is_ulid(text, $prefix) { Ok(()) } else { Err(Refused(concat!("be ", $prefix, " and a ULID"))) }
        }
    };
}

made! {
    /// The id of a message: `m_` and a ULID.
    MessageId, message, "m_"
}

made! {
    /// The id of a question: `q_` and a ULID.
    QuestionId, question, "q_"
}

made! {
    /// The id of a request to mute: `mr_` and a ULID.
    MuteRequestId, mute_request, "mr_"
}

impl MessageId {
    /// The place before all messages of this millisecond.
    #[must_use]
    pub fn first(at: Timestamp) -> Self {
        Self::created(at, [0; 10])
    }
}

/// Whether a text is this prefix and a ULID.
fn is_ulid(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default().as_bytes();
    // 26 digits hold 130 bits: the first one is at most 7.
    digits.len() == 26 && digits[0] <= b'7' && digits.iter().all(|digit| BASE32.contains(digit))
}

/// A ULID (<https://github.com/ulid/spec>): ids that are made later sort later, to the millisecond.
#[must_use]
pub fn ulid(at: Timestamp, random: [u8; 10]) -> String {
    let mut bits = [0; 16];
    bits[..6].copy_from_slice(&at.ms().to_be_bytes()[2..]);
    bits[6..].copy_from_slice(&random);
    base32(u128::from_be_bytes(bits))
}

/// Digits of Crockford's base32, as a ULID is written (<https://www.crockford.com/base32.html>).
pub(crate) const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The same digits in a pattern.
pub(crate) const BASE32_CLASS: &str = "[0-9A-HJKMNP-TV-Z]";

/// Writes 128 bits as 26 digits.
pub(crate) fn base32(bits: u128) -> String {
    (0..26).rev().map(|place| char::from(BASE32[(bits >> (5 * place)) as usize % 32])).collect()
}

const AGENT_PREFIX: &str = "agt_";

id! {
    /// The id of an agent: `agt_` and 26 digits of Crockford's base32, derived from its key.
    AgentId, agent, format!("^{AGENT_PREFIX}[0-7]{BASE32_CLASS}{{25}}$")
}

impl AgentId {
    pub(crate) fn from_bits(bits: u128) -> Self {
        Self(format!("{AGENT_PREFIX}{}", base32(bits)))
    }
}

fn agent(text: &str) -> Result<(), Refused> {
    if is_ulid(text, AGENT_PREFIX) { Ok(()) } else { Err(Refused("be agt_ and 26 digits of Crockford's base32")) }
}

id! {
    /// The id that API Gateway gives to a WebSocket connection: 1 to 128 characters of base64, such as
    /// `L0SM9cOFvHcCIhw=`.
    ConnectionId, connection, format!("^[A-Za-z0-9+/=_-]{{1,{ID_BYTES_MAX}}}$")
}

fn connection(text: &str) -> Result<(), Refused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
    if (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Refused("be 1 to 128 characters of base64"))
    }
}

fn free_pattern() -> String {
    format!("^[A-Za-z0-9_.:@-]{{1,{ID_BYTES_MAX}}}$")
}

fn free(text: &str) -> Result<(), Refused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte);
    if (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Refused("be 1 to 128 characters out of A-Z a-z 0-9 _ . : @ -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_of_the_pattern_is_kept_as_written(text in "[A-Za-z0-9_.:@-]{1,128}") {
            prop_assert_eq!(String::from(text.parse::<UserId>().unwrap()), text);
        }

        #[test]
        fn a_character_outside_the_pattern_is_refused(text in "[A-Za-z0-9]{0,9}[^A-Za-z0-9_.:@-][A-Za-z0-9]{0,9}") {
            prop_assert!(text.parse::<RoomId>().is_err());
        }
    }

    proptest! {
        #[test]
        fn every_agent_id_is_read_back(bits in any::<u128>()) {
            let id = AgentId::from_bits(bits);
            prop_assert_eq!(id.as_str().parse::<AgentId>(), Ok(id.clone()));
        }
    }

    proptest! {
        #[test]
        fn later_ids_sort_later(ms in 0..253_402_300_799_998_u64, a in any::<[u8; 10]>(), b in any::<[u8; 10]>()) {
            let at = Timestamp::from_ms(ms);
            let (first, second) = (UserId::participant(at, a), UserId::participant(Timestamp::from_ms(ms + 1), b));
            prop_assert!(first < second && first.is_participant() && second.is_participant());
            prop_assert!(RoomId::created(at, a).is_created());
        }
    }

    #[test]
    fn the_first_place_of_a_millisecond_is_before_its_messages_and_after_all_earlier_ones() {
        let at = Timestamp::from_ms(1_795_257_125_007);
        let before = MessageId::created(Timestamp::from_ms(at.ms() - 1), [255; 10]);
        assert!(before < MessageId::first(at) && MessageId::first(at) < MessageId::created(at, [1; 10]));
    }

    #[test]
    fn the_id_of_a_message_is_its_prefix_and_a_ulid() {
        let id = MessageId::created(Timestamp::from_ms(7), [7; 10]);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for bad in
            ["", "m_", "q_01KBA8M3Q4V4W5X6Y7Z8A9BCDG", "m_81KBA8M3Q4V4W5X6Y7Z8A9BCDG", "m_01kba8m3q4v4w5x6y7z8a9bcdg"]
        {
            assert!(bad.parse::<MessageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_that_a_client_chose_is_no_participants() {
        for free in ["p_", "p_ada", "p_81KBA8M3Q4V4W5X6Y7Z8A9BCDE", "p_01kba8m3q4v4w5x6y7z8a9bcde", "ada"] {
            assert!(!free.parse::<UserId>().unwrap().is_participant(), "{free}");
        }
    }

    #[test]
    fn a_malformed_agent_id_is_refused() {
        for bad in [
            "",
            "agt_",
            "agt_00000000000000000000000000x",
            "agt_80000000000000000000000000",
            "usr_01JD0Q2K3V4W5X6Y7Z8A9BCDEF",
            "agt_01JD0Q2K3V4W5X6Y7Z8A9BCDEU",
        ] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_connection_has_an_id_of_base64() {
        for good in ["L0SM9cOFvHcCIhw=", "a-_+/", &"x".repeat(128)] {
            assert_eq!(good.parse::<ConnectionId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a#b", "é", &"x".repeat(129)] {
            assert!(bad.parse::<ConnectionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_may_not_use_an_id_of_dots_or_a_reserved_one() {
        for bad in [".", "..", "....", "greenroom-canary", "Greenroom-x", "greenroom-"] {
            assert!(bad.parse::<UserId>().unwrap().is_open().is_err(), "{bad}");
            assert!(bad.parse::<RoomId>().unwrap().is_open().is_err(), "{bad}");
        }
        for good in ["ada", "a..", "greenroom", "my-greenroom-1"] {
            assert_eq!(good.parse::<UserId>().unwrap().is_open(), Ok(()), "{good}");
        }
    }

    #[test]
    fn the_empty_and_the_overlong_id_are_refused() {
        assert!("".parse::<UserId>().is_err());
        assert!("a".repeat(129).parse::<UserId>().is_err());
        assert!("a".repeat(128).parse::<UserId>().is_ok());
    }
}
