//! When a snapshot was last restored for practice: a mark that stands with the leases, so that no snapshot holds it.

use crate::SnapshotError;
use crate::lease::unreachable;
use crate::tables::Tables;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::Timestamp;
use store::dynamodb::keys;

/// What the mark is called, which stands with the leases in the live state table.
const MARK: &str = "drilled";

/// Notes that a drill has succeeded at `now`.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub async fn note(tables: &Tables, now: Timestamp) -> Result<(), SnapshotError> {
    update(tables, "SET #at = :now", now).await.map(drop)
}

/// When a drill last succeeded. Before the first one it is when this was first asked, which is noted: the age grows from
/// there, so a drill that never runs is noticed as well.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub async fn last(tables: &Tables, now: Timestamp) -> Result<Timestamp, SnapshotError> {
    update(tables, "SET #at = if_not_exists(#at, :now)", now).await
}

async fn update(tables: &Tables, expression: &str, now: Timestamp) -> Result<Timestamp, SnapshotError> {
    let request = tables
        .client
        .update_item()
        .table_name(&tables.state)
        .set_key(Some(keys::lease(MARK).into()))
        .update_expression(expression)
        .expression_attribute_names("#at", "at")
        .expression_attribute_values(":now", AttributeValue::N(now.ms().to_string()))
        .return_values(ReturnValue::AllNew);
    let output = request.send().await.map_err(|error| unreachable(&error))?;
    match output.attributes.and_then(|mut item| item.remove("at")) {
        Some(AttributeValue::N(ms)) => ms.parse().ok().map(Timestamp::from_ms),
        _ => None,
    }
    .ok_or_else(|| SnapshotError::Internal("the mark of the last drill holds no time".into()))
}
