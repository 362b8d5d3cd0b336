//! Reads items of the `state` table. A missing or malformed attribute is an error, so that a list is never silently
//! shorter.

use super::keys::{self, BY_TOKEN, CHANGED_BY, MAY_UNMUTE, PK, REFUSED_REQUEST, REQUEST_ID, ROLE, ROOM_ID, WAITING};
use crate::StoreError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ledger::{DigestKey, Hash, moment};
use domain::user::{PairedAgent, Participant, Source, User};
use domain::verdict::{Claimed, Policy, Verdicts, Witness};
use domain::{
    AgentDevice, AgentId, Binding, Challenge, Condition, DeviceBinding, Evidence, Fingerprint, MessageText,
    MuteRequestId, Name, PublicKey, RoomId, Route, Timestamp, UserId,
};
use std::collections::HashMap;

/// The attributes of an item.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Reads an item as a state, with the verdicts that hold at `now`.
pub(super) fn user(mut item: Item, policy: Policy, now: Timestamp) -> Result<User, StoreError> {
    let is_muted = match item.get("isMuted") {
        Some(AttributeValue::Bool(is_muted)) => *is_muted,
        _ => return Err(StoreError::Corrupt { attribute: "isMuted" }),
    };
    let user_id = user_id_of(&item)?;
    let version = integer(&item, "version")?;
    let last_updated = Timestamp::from_ms(integer(&item, "lastUpdated")?);
    let created_at = Timestamp::from_ms(integer(&item, "createdAt")?);
    let mute_scope = parsed(&mut item, "muteScope")?.unwrap_or_default();
    let device_id = checked(&mut item, "deviceId")?;
    let device_label = checked(&mut item, "deviceLabel")?;
    // Somebody who waits in the lobby is in the room's index, but not in the room.
    let room_id = checked(&mut item, ROOM_ID)?.filter(|_| !item.contains_key(WAITING));
    let name = checked(&mut item, "name")?;
    let expires_at = Timestamp::from_ms(integer(&item, "expiresAt")?.saturating_mul(1000));
    let lease_until = moment_at(&item, "leaseUntil")?;
    let request_id = text(&mut item, REQUEST_ID)?;
    let changed_by = parsed(&mut item, CHANGED_BY)?;
    let refused_request = checked(&mut item, REFUSED_REQUEST)?;
    let agent_id: Option<AgentId> = checked(&mut item, "agentId")?;
    let (mut revoked, mut heard, mut word) = (false, None, None);
    if agent_id.is_some() {
        revoked = item.contains_key("agentRevoked");
        heard = if revoked { None } else { evidence(&mut item)? };
        word = binding(&mut item)?;
    }
    // A room may ask for more than the service does.
    let policy = match parsed(&mut item, "minEvidence")? {
        Some(strict) => Policy { min_evidence: policy.min_evidence.min(strict), ..policy },
        None => policy,
    };
    let witness = match (&agent_id, &heard) {
        (None, _) => Witness::Nobody,
        (Some(_), _) if revoked => Witness::Revoked,
        (Some(_), None) => Witness::Paired,
        (Some(_), Some(evidence)) => Witness::Attested(evidence),
    };
    let opened = heard.as_ref().and_then(|evidence| evidence.device.as_ref());
    let bound = Binding::of(device_id.as_ref(), device_label.as_ref(), word.as_ref(), opened);
    let claimed = Claimed { is_muted, mute_scope, at: last_updated, version };
    let verdict = Verdicts::of(claimed, witness, bound, policy, now);
    let participant = participant(&mut item, created_at)?;
    let (agent_device_id, agent_device_label) =
        heard.and_then(|evidence| evidence.device).map(|device| (device.id, device.label)).unzip();
    Ok(User {
        user_id,
        name,
        is_muted,
        mute_scope,
        device_id,
        device_label,
        room_id,
        version,
        last_updated,
        created_at,
        source: if item.contains_key(BY_TOKEN) { Source::Token } else { Source::Open },
        agent: agent_id.map(|agent_id| PairedAgent {
            agent_id,
            revoked,
            device_id: agent_device_id,
            device_label: agent_device_label,
        }),
        verdict,
        participant,
        lease_until,
        expires_at,
        request_id,
        refused_request,
        changed_by,
    })
}

/// What a person is in a room that somebody created. `None`: they did not join one.
fn participant(item: &mut Item, joined_at: Timestamp) -> Result<Option<Participant>, StoreError> {
    let Some(role) = parsed(item, ROLE)? else { return Ok(None) };
    Ok(Some(Participant {
        role,
        joined_at,
        is_video_on: item.contains_key("isVideoOn"),
        hand_raised: item.contains_key("handRaised"),
        may_unmute: item.contains_key(MAY_UNMUTE),
    }))
}

/// The user of an item, or of a key alone.
pub(super) fn user_id_of(item: &Item) -> Result<UserId, StoreError> {
    match item.get(PK) {
        Some(AttributeValue::S(key)) => keys::user_id(key),
        _ => None,
    }
    .ok_or(StoreError::Corrupt { attribute: PK })
}

/// A time in milliseconds, if the attribute exists.
pub(super) fn moment_at(item: &Item, attribute: &'static str) -> Result<Option<Timestamp>, StoreError> {
    item.contains_key(attribute).then(|| integer(item, attribute).map(Timestamp::from_ms)).transpose()
}

/// Reads an item as a state, with the verdicts that held when the item was written.
pub(super) fn recorded(item: Item, policy: Policy) -> Result<User, StoreError> {
    let claimed_at = Timestamp::from_ms(integer(&item, "lastUpdated")?);
    let observed_at = moment_at(&item, "heardAt")?;
    user(item, policy, moment(claimed_at, observed_at))
}

/// The last attested evidence. `None`: the agent has not attested yet.
fn evidence(item: &mut Item) -> Result<Option<Evidence>, StoreError> {
    let Some(observed_at) = moment_at(item, "heardAt")? else { return Ok(None) };
    // Protocol 1 attested no version. Version 0 matches no claim.
    let version = if item.contains_key("heardVersion") { integer(item, "heardVersion")? } else { 0 };
    let device = match checked(item, "heardId")? {
        None => None,
        Some(id) => Some(AgentDevice {
            id,
            label: checked(item, "heardLabel")?.ok_or(StoreError::Corrupt { attribute: "heardLabel" })?,
            unique: !item.contains_key("heardTwin"),
        }),
    };
    Ok(Some(Evidence {
        version,
        observed_at,
        condition: parsed(item, "heardCondition")?.unwrap_or(Condition::Measured),
        flag: parsed(item, "heardFlag")?.ok_or(StoreError::Corrupt { attribute: "heardFlag" })?,
        signal: parsed(item, "heardSignal")?.ok_or(StoreError::Corrupt { attribute: "heardSignal" })?,
        route: parsed(item, "heardRoute")?.unwrap_or(Route::Direct),
        device,
        silent_since: moment_at(item, "heardSilentSince")?,
    }))
}

/// A person's device binding, if there is one.
pub(super) fn binding(item: &mut Item) -> Result<Option<DeviceBinding>, StoreError> {
    Ok(match (checked(item, "boundDeviceId")?, checked(item, "boundAgentDeviceId")?) {
        (Some(device_id), Some(agent_device_id)) => Some(DeviceBinding { device_id, agent_device_id }),
        _ => None,
    })
}

pub(super) fn binary(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// A value that an attribute can hold.
pub(super) trait Stored {
    /// The attribute's value.
    fn stored(self) -> AttributeValue;
}

impl Stored for AttributeValue {
    fn stored(self) -> AttributeValue {
        self
    }
}

impl Stored for u64 {
    fn stored(self) -> AttributeValue {
        AttributeValue::N(self.to_string())
    }
}

impl Stored for bool {
    fn stored(self) -> AttributeValue {
        AttributeValue::Bool(self)
    }
}

impl Stored for String {
    fn stored(self) -> AttributeValue {
        AttributeValue::S(self)
    }
}

impl Stored for &str {
    fn stored(self) -> AttributeValue {
        AttributeValue::S(self.to_owned())
    }
}

impl Stored for &String {
    fn stored(self) -> AttributeValue {
        AttributeValue::S(self.clone())
    }
}

/// In milliseconds.
impl Stored for Timestamp {
    fn stored(self) -> AttributeValue {
        self.ms().stored()
    }
}

macro_rules! stored {
    ($form:ident: $($type:ty),+) => {
        $(impl Stored for $type {
            fn stored(self) -> AttributeValue {
                stored!(@$form self)
            }
        })+
    };
    (@text $value:ident) => { $value.as_str().stored() };
    (@bytes $value:ident) => { binary($value.as_bytes()) };
}

stored!(text: &AgentId, &MessageText, &MuteRequestId, &Name, &RoomId, &UserId);
stored!(bytes: Challenge, DigestKey, Fingerprint, Hash, PublicKey);

/// Reads exactly `N` bytes.
pub(super) fn bytes<const N: usize>(item: &Item, attribute: &'static str) -> Result<[u8; N], StoreError> {
    match item.get(attribute) {
        Some(AttributeValue::B(blob)) => blob.as_ref().try_into().map_err(|_| StoreError::Corrupt { attribute }),
        _ => Err(StoreError::Corrupt { attribute }),
    }
}

pub(super) fn integer(item: &Item, attribute: &'static str) -> Result<u64, StoreError> {
    match item.get(attribute) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| StoreError::Corrupt { attribute }),
        _ => Err(StoreError::Corrupt { attribute }),
    }
}

/// A time in whole seconds, as `expiresAt` holds it.
pub(super) fn seconds(at: Timestamp) -> u64 {
    at.ms() / 1000
}

/// Whether an item has expired. The table removes it only within days; until then nobody may see it.
pub(super) fn is_expired(item: &Item, now: Timestamp) -> Result<bool, StoreError> {
    Ok(integer(item, "expiresAt")?.saturating_mul(1000) <= now.ms())
}

/// Whether an attribute is this text.
pub(super) fn holds(item: &Item, attribute: &str, text: &str) -> bool {
    matches!(item.get(attribute), Some(AttributeValue::S(stored)) if stored == text)
}

/// Whether a user's item names this agent.
pub(super) fn names(item: &Item, agent: &AgentId) -> bool {
    holds(item, "agentId", agent.as_str())
}

pub(super) fn text(item: &mut Item, attribute: &'static str) -> Result<Option<String>, StoreError> {
    match item.remove(attribute) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(StoreError::Corrupt { attribute }),
    }
}

pub(super) fn checked<T: TryFrom<String>>(item: &mut Item, attribute: &'static str) -> Result<Option<T>, StoreError> {
    text(item, attribute)?.map(T::try_from).transpose().map_err(|_| StoreError::Corrupt { attribute })
}

pub(super) fn parsed<T: std::str::FromStr>(item: &mut Item, attribute: &'static str) -> Result<Option<T>, StoreError> {
    text(item, attribute)?.map(|text| text.parse()).transpose().map_err(|_| StoreError::Corrupt { attribute })
}
