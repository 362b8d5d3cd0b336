//! Names of the attributes and keys in the `state` table.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{AgentId, UserId};

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// Sort key of a user's state.
pub(super) const STATE: &str = "STATE";
/// Sort key of what an agent is.
pub(super) const META: &str = "META";
/// The room index: partition `roomId`, sort `pk`, all attributes.
///
/// Neither key changes with a mute, so a flip costs one write unit in the table and one in the index.
pub(super) const ROOM_INDEX: &str = "room-index";
pub(super) const ROOM_ID: &str = "roomId";

const USER_PREFIX: &str = "USER#";

/// `USER#<userId>`: partition key of a user's items, and their place in a room.
pub(super) fn user(id: &UserId) -> AttributeValue {
    AttributeValue::S(format!("{USER_PREFIX}{id}"))
}

/// The user of a partition key.
pub(super) fn user_id(key: &str) -> Option<UserId> {
    key.strip_prefix(USER_PREFIX)?.parse().ok()
}

/// `AGENT#<agentId>`: partition key of an agent.
pub(super) fn agent(id: &AgentId) -> AttributeValue {
    AttributeValue::S(format!("AGENT#{id}"))
}
