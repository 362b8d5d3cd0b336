//! The history of a room: one entry per change, each with the hash of the entry before it. `docs/ledger.md` explains
//! how to check a history without this server.

use crate::evidence::words;
use crate::user::{MuteScope, User};
use crate::verdict::{Reason, Value, Verdicts};
use crate::{Actor, AgentId, DeviceId, Fingerprint, Refused, RoomId, Timestamp, UserId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The first bytes of every hashed text; the previous hash and the entry follow.
const TAG: &[u8] = b"greenroom-ledger-v1";

/// The highest number of an entry: its storage key holds 12 digits.
pub const SEQ_MAX: u64 = 999_999_999_999;

/// A SHA-256 digest; zeros stand for no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct Hash([u8; 32]);

impl Hash {
    /// The previous hash of a chain's first entry.
    pub const NONE: Self = Self([0; 32]);

    /// The bytes themselves.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        const RULE: Refused = Refused("be 64 lower-case hexadecimal digits");
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(RULE),
        };
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(RULE);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = 16 * digit(pair[0])? + digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// The secret key of a room's device digests. Without it, a `deviceId` cannot be guessed from its digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// The bytes themselves, to be stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of a device. It is only half of a hash, which cannot be extended, so a prefixed key is as good as an
    /// HMAC here.
    fn digest(&self, device: &DeviceId) -> Fingerprint {
        let device = String::from(device.clone());
        Fingerprint::of(&[b"greenroom-device-v1".as_slice(), &self.0, device.as_bytes()].concat())
    }
}

impl From<[u8; 32]> for DigestKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey")
    }
}

words! {
    /// The reason why a person is no longer in a room.
    Departure {
        /// They are in another room, or in none.
        Moved = "moved",
        /// Their state was deleted.
        Removed = "removed",
        /// Their state expired: it had not changed for too long.
        Expired = "expired",
    }
}

/// One verdict without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The outcome.
    pub value: Value,
    /// The reason.
    pub reason: Reason,
}

/// The two verdicts of a state, as they were when it last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgements {
    /// Whether the microphone is muted or open as claimed.
    pub mute: Judgement,
    /// Whether the claimed device is the measured one.
    pub device: Judgement,
}

impl Judgements {
    fn of(verdicts: &Verdicts) -> Self {
        let [mute, device] =
            [verdicts.mute, verdicts.device].map(|verdict| Judgement { value: verdict.value, reason: verdict.reason });
        Self { mute, device }
    }
}

/// The agent that is attached to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pairing {
    /// The id of the agent.
    pub agent_id: AgentId,
    /// Whether the agent was revoked; then it may not attest any more.
    pub revoked: bool,
}

/// The facts that a ledger holds about a person who is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// The claim: muted or open.
    pub is_muted: bool,
    /// The claim: how deep the mute goes.
    pub mute_scope: MuteScope,
    /// A digest of the device in use.
    pub device: Option<Fingerprint>,
    /// The agent that is attached to the person.
    pub agent: Option<Pairing>,
    /// The verdicts on the claim.
    pub verdict: Judgements,
}

impl Presence {
    /// The facts that a ledger with this key would hold about a user.
    #[must_use]
    pub fn of(user: &User, key: &DigestKey) -> Self {
        Self {
            is_muted: user.is_muted,
            mute_scope: user.mute_scope,
            device: user.device_id.as_ref().map(|device| key.digest(device)),
            agent: pairing(user),
            verdict: Judgements::of(&user.verdict),
        }
    }
}

fn pairing(user: &User) -> Option<Pairing> {
    user.agent.as_ref().map(|agent| Pairing { agent_id: agent.agent_id.clone(), revoked: agent.revoked })
}

/// The content of an entry: ids, versions, claims, verdicts and digests; never a label or another text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", content = "data", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A person has come into the room.
    Joined {
        /// The person.
        user_id: UserId,
        /// The version of their state.
        version: u64,
        /// Their state.
        #[serde(flatten)]
        presence: Presence,
    },
    /// A person is no longer in the room.
    Left {
        /// The person.
        user_id: UserId,
        /// The version of their state, or its last version if the state is gone.
        version: u64,
        /// The reason.
        cause: Departure,
    },
    /// A person changed their mute claim.
    MuteChanged {
        /// The person.
        user_id: UserId,
        /// The version of their state.
        version: u64,
        /// Muted or open.
        is_muted: bool,
        /// How deep the mute goes.
        mute_scope: MuteScope,
    },
    /// A person changed their device claim.
    DeviceChanged {
        /// The person.
        user_id: UserId,
        /// The version of their state.
        version: u64,
        /// A digest of the device; none if they claim none.
        device: Option<Fingerprint>,
    },
    /// A person has an agent, or another one than before.
    AgentPaired {
        /// The person.
        user_id: UserId,
        /// Their agent.
        agent_id: AgentId,
    },
    /// The agent of a person was revoked.
    AgentRevoked {
        /// The person.
        user_id: UserId,
        /// The agent; none if it is unknown.
        agent_id: Option<AgentId>,
    },
    /// The agent of a person was detached. It may serve another person.
    AgentDetached {
        /// The person.
        user_id: UserId,
        /// The agent.
        agent_id: AgentId,
    },
    /// The verdicts on a claim changed, or new evidence confirms them after they had expired.
    VerdictChanged {
        /// The person.
        user_id: UserId,
        /// The version of their state.
        version: u64,
        /// The verdicts now.
        verdict: Judgements,
        /// When the evidence was measured; none without evidence.
        observed_at: Option<String>,
    },
}

/// A state before and after one change, each with the verdicts of its own [`moment`].
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Before; none if there was no state.
    pub old: Option<&'a User>,
    /// After; none if there is no state.
    pub new: Option<&'a User>,
    /// Whether the state was removed because it had expired.
    pub expired: bool,
    /// When the store recorded the change.
    pub noted_at: Timestamp,
}

/// When a state got its present form: the time of its last claim, or the end of the last measured window if that is
/// later.
#[must_use]
pub fn moment(last_updated: Timestamp, observed_at: Option<Timestamp>) -> Timestamp {
    observed_at.map_or(last_updated, |observed_at| observed_at.max(last_updated))
}

impl Change<'_> {
    /// The rooms whose history the change may belong to; first the room that the person left.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomId> {
        let mut rooms: Vec<_> =
            [self.old, self.new].into_iter().flatten().filter_map(|user| user.room_id.clone()).collect();
        rooms.dedup();
        rooms
    }

    /// Whether the change adds an entry to the ledger of a room.
    #[must_use]
    pub fn concerns(&self, room: &RoomId) -> bool {
        !self.facts(room, &DigestKey([0; 32])).is_empty()
    }

    /// The facts that the change adds to the ledger of a room.
    #[must_use]
    pub fn facts(&self, room: &RoomId, key: &DigestKey) -> Vec<Fact> {
        let within = |user: &&User| user.room_id.as_ref() == Some(room);
        match (self.old.filter(within), self.new.filter(within)) {
            (None, None) => Vec::new(),
            (None, Some(new)) => vec![Fact::Joined {
                user_id: new.user_id.clone(),
                version: new.version,
                presence: Presence::of(new, key),
            }],
            (Some(old), None) => vec![Fact::Left {
                user_id: old.user_id.clone(),
                version: self.new.unwrap_or(old).version,
                cause: match (self.new, self.expired) {
                    (Some(_), _) => Departure::Moved,
                    (None, true) => Departure::Expired,
                    (None, false) => Departure::Removed,
                },
            }],
            (Some(old), Some(new)) => differences(old, new, key),
        }
    }

    /// When the change happened: the time of the new claim or measurement, otherwise the time at which the store
    /// recorded it.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        let Some(new) = self.new else { return self.noted_at };
        let claimed = self.old.is_none_or(|old| old.last_updated != new.last_updated).then_some(new.last_updated);
        let (before, observed) = (self.old.and_then(observed_at), observed_at(new));
        claimed.max(observed.filter(|_| before != observed)).unwrap_or(self.noted_at)
    }

    /// The request that made the change, if it is known. Every write stores it in the state, but a removal leaves no
    /// state.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.new?.request_id.as_deref()
    }

    /// The maker of the change: the [`Actor`] that the new state names, or the service if the state expired. A deletion
    /// leaves no state, and an older version of Greenroom stored no actor. The result is then `agent:<id>` for a new
    /// measurement, and `user:<id>` for anything else.
    #[must_use]
    pub fn actor(&self) -> String {
        let Some(user) = self.new.or(self.old).filter(|_| self.new.is_some() || !self.expired) else {
            return Actor::Service.to_string();
        };
        // The old state names the maker of the previous change, so it does not count here.
        if let Some(actor) = self.new.and_then(|new| new.changed_by.as_ref()) {
            return actor.to_string();
        }
        let measured = self.old.is_some() && self.old.and_then(observed_at) != observed_at(user);
        match &user.agent {
            Some(agent) if measured && observed_at(user).is_some() => Actor::Agent(agent.agent_id.clone()).to_string(),
            _ => format!("user:{}", user.user_id),
        }
    }
}

fn observed_at(user: &User) -> Option<Timestamp> {
    user.verdict.mute.observed_at
}

fn differences(old: &User, new: &User, key: &DigestKey) -> Vec<Fact> {
    let (user_id, version) = (&new.user_id, new.version);
    let mut facts = Vec::new();
    if (old.is_muted, old.mute_scope) != (new.is_muted, new.mute_scope) {
        let (is_muted, mute_scope) = (new.is_muted, new.mute_scope);
        facts.push(Fact::MuteChanged { user_id: user_id.clone(), version, is_muted, mute_scope });
    }
    if old.device_id != new.device_id {
        let device = new.device_id.as_ref().map(|device| key.digest(device));
        facts.push(Fact::DeviceChanged { user_id: user_id.clone(), version, device });
    }
    match (pairing(old), pairing(new)) {
        (before, after) if before == after => {}
        (_, Some(Pairing { agent_id, revoked: false })) => {
            facts.push(Fact::AgentPaired { user_id: user_id.clone(), agent_id });
        }
        (_, Some(Pairing { agent_id, revoked: true })) => {
            facts.push(Fact::AgentRevoked { user_id: user_id.clone(), agent_id: Some(agent_id) });
        }
        (Some(Pairing { agent_id, .. }), None) => {
            facts.push(Fact::AgentDetached { user_id: user_id.clone(), agent_id });
        }
        (None, None) => {}
    }
    // No write marks the end of a verdict. So new evidence after a gap is a fact, even if the verdict is the same as
    // before.
    let lapsed = match (old.verdict.mute.expires_at, observed_at(new)) {
        (Some(end), Some(observed_at)) => end < observed_at,
        _ => false,
    };
    if Judgements::of(&old.verdict) != Judgements::of(&new.verdict) || lapsed {
        facts.push(Fact::VerdictChanged {
            user_id: user_id.clone(),
            version,
            verdict: Judgements::of(&new.verdict),
            observed_at: observed_at(new).map(|at| at.to_string()),
        });
    }
    facts
}

/// The last entry of the chain; number 0 if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Head {
    /// Its number; 0 if there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// The head of a chain without entries.
    pub const NONE: Self = Self { seq: 0, hash: Hash::NONE };
}

/// An event with its place in the hash chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LedgerEntry")]
pub struct Entry {
    /// The room whose history this is: `room:<id>`.
    #[schemars(regex(pattern = "^room:.+$"))]
    pub chain: String,
    /// Its place in the room's history, from 1, without gaps.
    #[schemars(range(min = 1, max = SEQ_MAX))]
    pub seq: u64,
    /// When the change happened.
    #[schemars(with = "Timestamp")]
    pub at: String,
    /// The maker of the change. `open`: a caller without a token, who may be anybody. `agent:<id>`: the agent that
    /// signed the request. `service`: Greenroom itself, which also removes expired states. `user:<id>`: unknown, as
    /// after every deletion; the id is that of the user whose state changed.
    #[schemars(regex(pattern = ACTOR_PATTERN))]
    pub actor: String,
    /// The kind of the change.
    #[schemars(schema_with = "action_schema")]
    pub action: String,
    /// The details of the change: ids, versions, claims, verdicts and digests; never a label. They always contain the
    /// `userId`.
    #[schemars(schema_with = "data_schema")]
    pub data: Map<String, Json>,
    /// The hash of the entry before; zeros for the first.
    pub prev: Hash,
    /// The hash of this one.
    pub hash: Hash,
}

/// The pattern of the maker of a change: an [`Actor`], or the user whose state changed.
pub const ACTOR_PATTERN: &str = "^(open|person:.+|user:.+|agent:.+|service)$";

/// The schema of an entry's `action`: the names of all facts.
#[must_use]
pub fn action_schema(_: &mut SchemaGenerator) -> Schema {
    let facts = Fact::json_schema(&mut SchemaGenerator::default());
    let names = facts.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    let names: Vec<_> = names.filter_map(|fact| fact.pointer("/properties/action/const")).collect();
    json_schema!({"type": "string", "enum": names})
}

/// The schema of an entry's `data`: what all facts have in common.
#[must_use]
pub fn data_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["userId"],
        "additionalProperties": true,
        "properties": {
            "userId": generator.subschema_for::<UserId>(),
            "requestId": {"type": "string", "description": "The request that made the change, if one did."},
        },
    })
}

impl Entry {
    /// The entry that comes after `head`. `request_id` names the request that made the change, if one did; it stands in
    /// `data`.
    #[must_use]
    pub fn after(head: &Head, chain: &str, at: Timestamp, actor: &str, request_id: Option<&str>, fact: &Fact) -> Self {
        let mut members = match serde_json::to_value(fact) {
            Ok(Json::Object(members)) => members,
            // A fact is an object of plain members: this cannot fail.
            _ => Map::new(),
        };
        let data =
            members.remove("data").and_then(|data| if let Json::Object(data) = data { Some(data) } else { None });
        let mut data = data.unwrap_or_default();
        if let Some(request_id) = request_id {
            data.insert("requestId".to_owned(), request_id.into());
        }
        let action = members.remove("action").and_then(|action| action.as_str().map(str::to_owned));
        let mut entry = Self {
            chain: chain.to_owned(),
            seq: head.seq + 1,
            at: at.to_string(),
            actor: actor.to_owned(),
            action: action.unwrap_or_default(),
            data,
            prev: head.hash,
            hash: Hash::NONE,
        };
        entry.hash = entry.digest();
        entry
    }

    /// The hash that this entry must have: SHA-256 of the tag, the hash before and the canonical JSON of the rest.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let Self { chain, seq, at, actor, action, data, prev, .. } = self;
        let rest = serde_json::json!({
            "chain": chain, "seq": seq, "at": at, "actor": actor, "action": action, "data": data,
        });
        let mut digest = Sha256::new();
        digest.update(TAG);
        digest.update(prev.0);
        digest.update(canonical(&rest));
        Hash(digest.finalize().into())
    }

    /// This entry as the head of its chain.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// The content as a fact; none if this version of Greenroom does not know the action.
    #[must_use]
    pub fn fact(&self) -> Option<Fact> {
        serde_json::from_value(serde_json::json!({"action": self.action, "data": self.data})).ok()
    }
}

/// The canonical JSON text of a value: members sorted by name, no blanks between them, numbers and strings as in RFC
/// 8785. An entry holds no fractions, whose form is the hard part of that standard.
#[must_use]
pub fn canonical(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<_> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Json::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

/// The first fault of an exported chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The hash of the entry does not match its content.
    Altered {
        /// Its number.
        seq: u64,
    },
    /// The entry matches its own hash, but its previous hash is not that of the entry before it: one of the two was
    /// replaced.
    Unlinked {
        /// Its number.
        seq: u64,
    },
    /// The entry is missing.
    Missing {
        /// Its number.
        seq: u64,
    },
    /// An entry stands where another one belongs: the entries are out of order, or one of them is repeated.
    Reordered {
        /// The number of the entry that stands there.
        seq: u64,
        /// The number that belongs there.
        expected: u64,
    },
    /// The entry belongs to another chain.
    Foreign {
        /// Its number.
        seq: u64,
    },
    /// All entries are in order, but the head does not match the last one.
    OtherHead {
        /// The number that the head names.
        seq: u64,
    },
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Altered { seq } => write!(f, "entry {seq} was altered: its hash does not match its content"),
            Self::Unlinked { seq } => {
                write!(f, "entry {seq} does not follow entry {}: one of the two was replaced", seq.saturating_sub(1))
            }
            Self::Missing { seq } => write!(f, "entry {seq} is missing"),
            Self::Reordered { seq, expected } => write!(f, "entry {seq} stands where entry {expected} belongs"),
            Self::Foreign { seq } => write!(f, "entry {seq} belongs to another chain"),
            Self::OtherHead { seq } => {
                write!(f, "the head does not match the last entry: it names another entry {seq}")
            }
        }
    }
}

/// Checks a whole chain, from its first entry to `head` if that is known. Returns the head of the checked entries.
///
/// # Errors
/// The first fault.
pub fn verify(entries: &[Entry], head: Option<&Head>) -> Result<Head, Broken> {
    let mut last = Head::NONE;
    for (place, entry) in entries.iter().enumerate() {
        let expected = last.seq + 1;
        if entry.seq != expected {
            let later: BTreeSet<_> = entries[place..].iter().map(|entry| entry.seq).collect();
            return Err(if entry.seq > expected && !later.contains(&expected) {
                Broken::Missing { seq: expected }
            } else {
                Broken::Reordered { seq: entry.seq, expected }
            });
        }
        if entry.hash != entry.digest() {
            return Err(Broken::Altered { seq: entry.seq });
        }
        if entry.chain != entries[0].chain {
            return Err(Broken::Foreign { seq: entry.seq });
        }
        if entry.prev != last.hash {
            return Err(Broken::Unlinked { seq: entry.seq });
        }
        last = entry.head();
    }
    match head {
        Some(head) if head.seq > last.seq => Err(Broken::Missing { seq: last.seq + 1 }),
        Some(head) if head != &last => Err(Broken::OtherHead { seq: head.seq }),
        _ => Ok(last),
    }
}

/// The people in a room and their states, computed from its history alone.
pub fn fold(facts: impl IntoIterator<Item = Fact>) -> BTreeMap<String, Presence> {
    let mut present = BTreeMap::<String, Presence>::new();
    for fact in facts {
        match fact {
            Fact::Joined { user_id, presence, .. } => {
                present.insert(user_id.into(), presence);
            }
            Fact::Left { user_id, .. } => {
                present.remove(user_id.as_str());
            }
            Fact::MuteChanged { user_id, is_muted, mute_scope, .. } => {
                if let Some(person) = present.get_mut(user_id.as_str()) {
                    (person.is_muted, person.mute_scope) = (is_muted, mute_scope);
                }
            }
            Fact::DeviceChanged { user_id, device, .. } => {
                if let Some(person) = present.get_mut(user_id.as_str()) {
                    person.device = device;
                }
            }
            Fact::AgentPaired { user_id, agent_id } => {
                if let Some(person) = present.get_mut(user_id.as_str()) {
                    person.agent = Some(Pairing { agent_id, revoked: false });
                }
            }
            Fact::AgentRevoked { user_id, agent_id } => {
                if let Some(person) = present.get_mut(user_id.as_str()) {
                    person.agent = agent_id.map(|agent_id| Pairing { agent_id, revoked: true });
                }
            }
            Fact::AgentDetached { user_id, .. } => {
                if let Some(person) = present.get_mut(user_id.as_str()) {
                    person.agent = None;
                }
            }
            Fact::VerdictChanged { user_id, verdict, .. } => {
                if let Some(person) = present.get_mut(user_id.as_str()) {
                    person.verdict = verdict;
                }
            }
        }
    }
    present
}

#[cfg(test)]
mod tests;
