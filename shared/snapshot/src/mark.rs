//! Times of the last successful jobs. They are stored beside the leases in the live state table, so that no snapshot
//! contains them.

use crate::SnapshotError;
use crate::lease::unreachable;
use crate::tables::Tables;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::Timestamp;
use std::collections::HashMap;
use store::dynamodb::keys;

/// A job whose last success is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A drill restored a snapshot.
    Drilled,
    /// A snapshot was completed; its time is when it began.
    Taken,
}

impl Mark {
    /// The name of its item; it has the key prefix of the leases.
    const fn name(self) -> &'static str {
        match self {
            Self::Drilled => "drilled",
            Self::Taken => "taken",
        }
    }

    /// Stores the time of a success.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn note(self, tables: &Tables, at: Timestamp) -> Result<(), SnapshotError> {
        self.update(tables, "SET #at = :at", at).await.map(drop)
    }

    /// The time of the last success. If there was none, the first call stores `now` and returns it: the age grows from
    /// there, so that an alarm also notices a job that never runs.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn last(self, tables: &Tables, now: Timestamp) -> Result<Timestamp, SnapshotError> {
        self.update(tables, "SET #at = if_not_exists(#at, :at)", now).await
    }

    /// The time of the last success, and `None` before the first one. Stores nothing. Eventually consistent.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn read(self, tables: &Tables) -> Result<Option<Timestamp>, SnapshotError> {
        let key = keys::lease(self.name()).into();
        let request = tables.client.get_item().table_name(&tables.state).set_key(Some(key));
        let output = request.send().await.map_err(|error| unreachable(&error))?;
        output.item.map(|item| self.time(Some(item))).transpose()
    }

    async fn update(self, tables: &Tables, expression: &str, at: Timestamp) -> Result<Timestamp, SnapshotError> {
        let request = tables
            .client
            .update_item()
            .table_name(&tables.state)
            .set_key(Some(keys::lease(self.name()).into()))
            .update_expression(expression)
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":at", AttributeValue::N(at.ms().to_string()))
            .return_values(ReturnValue::AllNew);
        let output = request.send().await.map_err(|error| unreachable(&error))?;
        self.time(output.attributes)
    }

    fn time(self, item: Option<HashMap<String, AttributeValue>>) -> Result<Timestamp, SnapshotError> {
        match item.and_then(|mut item| item.remove("at")) {
            Some(AttributeValue::N(ms)) => ms.parse().ok().map(Timestamp::from_ms),
            _ => None,
        }
        .ok_or_else(|| SnapshotError::Internal(format!("the item {} holds no time", self.name()).into()))
    }
}
