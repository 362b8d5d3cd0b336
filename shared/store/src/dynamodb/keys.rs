//! The keys of both tables: all prefixes, sort keys and indexes are defined here.
//!
//! | Item | Table | `pk` | `sk` |
//! |---|---|---|---|
//! | state of a user, with their agent's evidence | state | `USER#<userId>` | `STATE` |
//! | agent | state | `AGENT#<agentId>` | `META` |
//! | witness token: the agent that it attaches | state | `WITNESS#<fingerprint>` | `META` |
//! | WebSocket connection | state | `CONN#<connectionId>` | `META` |
//! | room that somebody created | state | `ROOM#<roomId>` | `META` |
//! | message in such a room | state | `ROOM#<roomId>` | `MSG#<messageId>` |
//! | question in such a room | state | `ROOM#<roomId>` | `Q#<questionId>` |
//! | vote of a participant for such a question | state | `ROOM#<roomId>` | `VOTE#<participantId>#<questionId>` |
//! | request to the people of such a room to mute | state | `ROOM#<roomId>` | `REQ#<requestId>` |
//! | slug of such a room | state | `SLUG#<slug>` | `META` |
//! | such a room in the list of active rooms | state | `ACTIVE#rooms` | `<roomId>` |
//! | counts of a day | state | `DAYS` | the day, such as `2026-11-21` |
//! | key that signs tokens | state | `SIGNING#tokens` | `META` |
//! | lease of an exclusive run, and the time of the last drill | state | `LEASE#<what>` | `LEASE` |
//! | bucket of a limit | state | `LIMIT#<limit>#<subject>` | `META` |
//! | secret of a day, by which addresses become subjects | state | `LIMIT#key#<day>` | `META` |
//! | answer that a request got, for when it is repeated | state | `ONCE#<hash of the request>` | `META` |
//! | block of entries of a history | ledger | `CHAIN#room:<roomId>` | number of its first entry in 12 digits |
//!
//! Older versions stored a history in another form. It is still read, and goes on with blocks:
//!
//! | Item | Table | `pk` | `sk` |
//! |---|---|---|---|
//! | entry | ledger | `CHAIN#room:<roomId>` | its number in 12 digits |
//! | last entry before the first block | ledger | `CHAIN#room:<roomId>` | `HEAD` |
//! | last change of a user before the first block | ledger | `CHAIN#room:<roomId>` | `USER#<userId>` |

use super::item::Item;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::ledger::SEQ_MAX;
use domain::{AgentId, ConnectionId, Fingerprint, Limit, MessageId, MuteRequestId, QuestionId, RoomId, Slug, UserId};

/// Name of the partition key.
pub const PK: &str = "pk";
/// Name of the sort key.
pub const SK: &str = "sk";

/// Prefix of the partition key of a user's items, and of the sort key of a user's marker in a history.
pub const USER: &str = "USER#";
/// Prefix of the partition key of an agent.
pub const AGENT: &str = "AGENT#";
/// Prefix of the partition key of a witness token.
pub const WITNESS: &str = "WITNESS#";
/// Prefix of the partition key of a WebSocket connection.
pub const CONNECTION: &str = "CONN#";
/// Prefix of the partition key of a lease.
pub const LEASE: &str = "LEASE#";
/// Prefix of the partition key of a room that somebody created.
pub const ROOM_ITEMS: &str = "ROOM#";
/// Prefix of the partition key of a slug.
pub const SLUG: &str = "SLUG#";
/// Prefix of the sort key of a message, in the partition of its room.
pub(super) const MESSAGE: &str = "MSG#";
/// Prefix of the sort key of a question, in the partition of its room.
pub(super) const QUESTION: &str = "Q#";
/// Prefix of the sort key of a vote, in the partition of its room. The voter comes first, so that one query finds what a
/// person has voted for, and no other votes.
const VOTE: &str = "VOTE#";
/// Prefix of the sort key of a request to mute, in the partition of its room.
const REQUEST: &str = "REQ#";
/// Partition key of the list of active rooms.
pub const ACTIVE: &str = "ACTIVE#rooms";
/// Partition key of the counts of all days.
pub const DAYS: &str = "DAYS";
/// Prefix of the partition key of the key that signs tokens. Only the functions that issue tokens may read it.
pub const SIGNING: &str = "SIGNING#";
/// Prefix of the partition key of a limit's bucket, and of a day's secret.
pub const LIMIT: &str = "LIMIT#";
/// Prefix of the partition key of an answer that a request got.
pub const ONCE: &str = "ONCE#";
/// Prefix of the partition key of a history.
pub const CHAIN: &str = "CHAIN#";
/// Prefix of the partition key of a room's history.
pub const ROOM_HISTORY: &str = "CHAIN#room:";
/// Prefix of the name of a room's history.
const ROOM: &str = "room:";

/// Prefixes of the partition keys that snapshots leave out and a restore refuses: leases, which only our own runs write,
/// connections, of which none is still open after a restore, and limits, which are over by then, and given answers, which may
/// hold tokens. Rooms that somebody
/// created, and their texts, end within hours, and names and texts are never in a snapshot. The key that signs tokens
/// must not be in a backup.
pub const TRANSIENT: &[&str] = &[LEASE, CONNECTION, LIMIT, ONCE, ROOM_ITEMS, SLUG, ACTIVE, SIGNING];

/// Sort key of a lease.
pub const LEASE_SORT: &str = "LEASE";
/// Sort key of a user's state.
pub(super) const STATE: &str = "STATE";
/// Sort key of an item that is the only one in its partition.
pub const META: &str = "META";
/// Sort key of the head of a history in the older form.
pub const HEAD: &str = "HEAD";

/// The room index: partition `roomId`, sort `pk`, all attributes.
///
/// Neither key changes with a mute, so a flip costs one write unit in the table and one in the index.
pub(super) const ROOM_INDEX: &str = "room-index";
/// Partition key of the room index.
pub(super) const ROOM_ID: &str = "roomId";

/// The actor of the last change of a state or an agent, as the text of an [`Actor`](domain::Actor). Every change sets
/// it; a write that only prolongs a lease or a pairing does not.
pub const CHANGED_BY: &str = "changedBy";
/// The number that a participant's token must have. Leaving and removal raise it, which ends all tokens with a lower
/// one.
pub(super) const EPOCH: &str = "epoch";
/// What a participant may do in their room.
pub(super) const ROLE: &str = "role";
/// The participant who wrote a message or asked a question. A message of the server has none.
pub(super) const PARTICIPANT: &str = "participantId";
/// Exists while a participant has a seat, which the room counts.
pub(super) const SEATED: &str = "seated";
/// Exists while a participant waits in the lobby.
pub(super) const WAITING: &str = "waiting";
/// Exists for an attendee of a room that lets attendees unmute only with permission.
pub(super) const MODERATED: &str = "moderated";
/// Exists if a presenter gave that permission.
pub(super) const MAY_UNMUTE: &str = "mayUnmute";
/// The request to mute that the participant refused last. The name begins otherwise than those of the claim's attributes,
/// which a function that writes it must not touch.
pub(super) const REFUSED_REQUEST: &str = "refusedRequest";
/// Exists if the participant's own token came with their last claim.
pub(super) const BY_TOKEN: &str = "byToken";

/// The id of the request that made that change, if a request did.
pub const REQUEST_ID: &str = "requestId";

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pk: String,
    sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }
}

impl From<Key> for Item {
    fn from(key: Key) -> Self {
        Self::from([(PK.to_owned(), AttributeValue::S(key.pk)), (SK.to_owned(), AttributeValue::S(key.sk))])
    }
}

/// Whether snapshots leave out what has this partition key: one of [`TRANSIENT`], or a participant, who ends with the
/// room.
#[must_use]
pub fn is_transient(pk: &str) -> bool {
    TRANSIENT.iter().any(|prefix| pk.starts_with(prefix)) || user_id(pk).is_some_and(|id| id.is_participant())
}

/// A user's state.
pub(super) fn user(id: &UserId) -> Key {
    Key::new(format!("{USER}{id}"), STATE)
}

/// The user of a partition key.
pub(super) fn user_id(pk: &str) -> Option<UserId> {
    pk.strip_prefix(USER)?.parse().ok()
}

/// The item of a witness token, which names the agent that it attaches.
pub(super) fn witness(token: &Fingerprint) -> Key {
    Key::new(format!("{WITNESS}{}", BASE64_URL_SAFE_NO_PAD.encode(token.as_bytes())), META)
}

/// An agent.
pub(super) fn agent(id: &AgentId) -> Key {
    Key::new(format!("{AGENT}{id}"), META)
}

/// A WebSocket connection.
pub(super) fn connection(id: &ConnectionId) -> Key {
    Key::new(format!("{CONNECTION}{id}"), META)
}

/// A room that somebody created.
pub(super) fn room(id: &RoomId) -> Key {
    Key::new(in_room(id), META)
}

/// The partition key of a room and of everything that its people write.
pub(super) fn in_room(id: &RoomId) -> String {
    format!("{ROOM_ITEMS}{id}")
}

/// A message in a room.
pub(super) fn message(room: &RoomId, id: &MessageId) -> Key {
    Key::new(in_room(room), format!("{MESSAGE}{id}"))
}

/// A question in a room.
pub(super) fn question(room: &RoomId, id: &QuestionId) -> Key {
    Key::new(in_room(room), format!("{QUESTION}{id}"))
}

/// The vote of a participant for a question.
pub(super) fn vote(room: &RoomId, person: &UserId, id: &QuestionId) -> Key {
    Key::new(in_room(room), format!("{}{id}", votes_of(person)))
}

/// The prefix of the sort keys of a participant's votes.
pub(super) fn votes_of(person: &UserId) -> String {
    format!("{VOTE}{person}#")
}

/// A request to the people of a room to mute.
pub(super) fn mute_request(room: &RoomId, id: &MuteRequestId) -> Key {
    Key::new(in_room(room), format!("{REQUEST}{id}"))
}

/// The item of a slug, which names its room.
pub(super) fn slug(slug: &Slug) -> Key {
    Key::new(format!("{SLUG}{slug}"), META)
}

/// A room's place in the list of active rooms.
pub(super) fn active(id: &RoomId) -> Key {
    Key::new(ACTIVE.to_owned(), id.as_str())
}

/// The counts of a day, such as `2026-11-21`.
pub(super) fn day(date: &str) -> Key {
    Key::new(DAYS.to_owned(), date)
}

/// The key that signs tokens.
pub(super) fn signing() -> Key {
    Key::new(format!("{SIGNING}tokens"), META)
}

/// The bucket of a subject.
pub(super) fn bucket(limit: Limit, subject: &str) -> Key {
    Key::new(format!("{LIMIT}{limit}#{subject}"), META)
}

/// The secret of a day, counted since 1970. No limit has the name `key`.
pub(super) fn secret(day: u64) -> Key {
    Key::new(format!("{LIMIT}key#{day}"), META)
}

/// The answer that the request with this hash got.
pub(super) fn once(request: &[u8; 32]) -> Key {
    Key::new(format!("{ONCE}{}", BASE64_URL_SAFE_NO_PAD.encode(request)), META)
}

/// The key of an item that never exists, for health checks.
pub(super) fn nothing() -> Key {
    Key::new("HEALTH".to_owned(), "HEALTH")
}

/// The key of a lease, or of another item that is stored with the leases.
#[must_use]
pub fn lease(what: &str) -> Key {
    Key::new(format!("{LEASE}{what}"), LEASE_SORT)
}

/// The name of a room's history.
pub(super) fn chain(room: &RoomId) -> String {
    format!("{ROOM}{room}")
}

/// The partition key of the history with this name.
#[must_use]
pub fn partition(chain: &str) -> String {
    format!("{CHAIN}{chain}")
}

/// The head of a history in the older form.
#[must_use]
pub fn head(chain: &str) -> Key {
    Key::new(partition(chain), HEAD)
}

/// The block of a history that begins with this number.
pub(super) fn block(chain: &str, seq: u64) -> Key {
    Key::new(partition(chain), place(seq))
}

/// The sort key of a block or an entry: text in the order of the numbers.
#[must_use]
pub fn place(seq: u64) -> String {
    format!("{:012}", seq.min(SEQ_MAX))
}

/// The marker of a user's last change in a history of the older form.
pub(super) fn member(chain: &str, id: &UserId) -> Key {
    Key::new(partition(chain), format!("{USER}{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_rooms_history_is_that_of_its_keys() {
        let chain = chain(&"demo".parse().unwrap());
        assert_eq!(partition(&chain), format!("{ROOM_HISTORY}demo"));
    }

    #[test]
    fn entries_sort_as_their_numbers_do() {
        assert!(place(9) < place(10) && place(10) < place(SEQ_MAX) && place(SEQ_MAX).as_str() < HEAD);
        assert_eq!(place(u64::MAX), place(SEQ_MAX));
    }
}
