//! Items of the `state` table, read. Anything missing or malformed is an error: a list must never be silently shorter.

use super::keys::{self, PK, ROOM_ID};
use crate::StateError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ledger::moment;
use domain::{
    AgentDevice, AgentId, Binding, Claimed, Condition, DeviceBinding, Evidence, PairedAgent, Policy, Route, Source,
    Timestamp, User, Verdicts, Witness,
};
use std::collections::HashMap;

pub(super) type Item = HashMap<String, AttributeValue>;

/// An item as a state, with the verdicts that hold at `now`.
pub(super) fn user(mut item: Item, policy: Policy, now: Timestamp) -> Result<User, StateError> {
    let is_muted = match item.get("isMuted") {
        Some(AttributeValue::Bool(is_muted)) => *is_muted,
        _ => return Err(StateError::Corrupt { attribute: "isMuted" }),
    };
    let user_id = match item.get(PK) {
        Some(AttributeValue::S(key)) => keys::user_id(key),
        _ => None,
    };
    let user_id = user_id.ok_or(StateError::Corrupt { attribute: PK })?;
    let version = integer(&item, "version")?;
    let last_updated = Timestamp::from_ms(integer(&item, "lastUpdated")?);
    let created_at = Timestamp::from_ms(integer(&item, "createdAt")?);
    let mute_scope = parsed(&mut item, "muteScope")?.unwrap_or_default();
    let device_id = checked(&mut item, "deviceId")?;
    let device_label = checked(&mut item, "deviceLabel")?;
    let room_id = checked(&mut item, ROOM_ID)?;
    let agent_id: Option<AgentId> = checked(&mut item, "agentId")?;
    let (mut revoked, mut heard, mut word) = (false, None, None);
    if agent_id.is_some() {
        revoked = item.contains_key("agentRevoked");
        heard = if revoked { None } else { evidence(&mut item)? };
        word = binding(&mut item)?;
    }
    let witness = match (&agent_id, &heard) {
        (None, _) => Witness::Nobody,
        (Some(_), _) if revoked => Witness::Revoked,
        (Some(_), None) => Witness::Paired,
        (Some(_), Some(evidence)) => Witness::Attested(evidence),
    };
    let opened = heard.as_ref().and_then(|evidence| evidence.device.as_ref());
    let bound = Binding::of(device_id.as_ref(), device_label.as_ref(), word.as_ref(), opened);
    let claimed = Claimed { is_muted, mute_scope, device_id: device_id.as_ref(), at: last_updated };
    let verdict = Verdicts::of(claimed, witness, bound, policy, now);
    let (agent_device_id, agent_device_label) =
        heard.and_then(|evidence| evidence.device).map(|device| (device.id, device.label)).unzip();
    Ok(User {
        user_id,
        is_muted,
        mute_scope,
        device_id,
        device_label,
        room_id,
        version,
        last_updated,
        created_at,
        source: Source::Open,
        agent: agent_id.map(|agent_id| PairedAgent {
            agent_id,
            revoked,
            device_id: agent_device_id,
            device_label: agent_device_label,
        }),
        verdict,
    })
}

/// An item as a state, with the verdicts that held when it took this form.
pub(super) fn recorded(item: Item, policy: Policy) -> Result<User, StateError> {
    let claimed_at = Timestamp::from_ms(integer(&item, "lastUpdated")?);
    let observed_at = match item.get("heardAt") {
        Some(_) => Some(Timestamp::from_ms(integer(&item, "heardAt")?)),
        None => None,
    };
    user(item, policy, moment(claimed_at, observed_at))
}

/// What the agent attested last; none before its first time.
fn evidence(item: &mut Item) -> Result<Option<Evidence>, StateError> {
    if !item.contains_key("heardAt") {
        return Ok(None);
    }
    let device = match checked(item, "heardId")? {
        None => None,
        Some(id) => Some(AgentDevice {
            id,
            label: checked(item, "heardLabel")?.ok_or(StateError::Corrupt { attribute: "heardLabel" })?,
            unique: !item.contains_key("heardTwin"),
        }),
    };
    Ok(Some(Evidence {
        observed_at: Timestamp::from_ms(integer(item, "heardAt")?),
        condition: parsed(item, "heardCondition")?.unwrap_or(Condition::Measured),
        flag: parsed(item, "heardFlag")?.ok_or(StateError::Corrupt { attribute: "heardFlag" })?,
        signal: parsed(item, "heardSignal")?.ok_or(StateError::Corrupt { attribute: "heardSignal" })?,
        route: parsed(item, "heardRoute")?.unwrap_or(Route::Direct),
        device,
    }))
}

fn binding(item: &mut Item) -> Result<Option<DeviceBinding>, StateError> {
    Ok(match (checked(item, "boundDeviceId")?, checked(item, "boundAgentDeviceId")?) {
        (Some(device_id), Some(agent_device_id)) => Some(DeviceBinding { device_id, agent_device_id }),
        _ => None,
    })
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn binary(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Exactly `N` bytes.
pub(super) fn bytes<const N: usize>(item: &Item, attribute: &'static str) -> Result<[u8; N], StateError> {
    match item.get(attribute) {
        Some(AttributeValue::B(blob)) => blob.as_ref().try_into().map_err(|_| StateError::Corrupt { attribute }),
        _ => Err(StateError::Corrupt { attribute }),
    }
}

pub(super) fn integer(item: &Item, attribute: &'static str) -> Result<u64, StateError> {
    match item.get(attribute) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| StateError::Corrupt { attribute }),
        _ => Err(StateError::Corrupt { attribute }),
    }
}

fn text(item: &mut Item, attribute: &'static str) -> Result<Option<String>, StateError> {
    match item.remove(attribute) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(StateError::Corrupt { attribute }),
    }
}

pub(super) fn checked<T: TryFrom<String>>(item: &mut Item, attribute: &'static str) -> Result<Option<T>, StateError> {
    text(item, attribute)?.map(T::try_from).transpose().map_err(|_| StateError::Corrupt { attribute })
}

pub(super) fn parsed<T: std::str::FromStr>(item: &mut Item, attribute: &'static str) -> Result<Option<T>, StateError> {
    text(item, attribute)?.map(|text| text.parse()).transpose().map_err(|_| StateError::Corrupt { attribute })
}
