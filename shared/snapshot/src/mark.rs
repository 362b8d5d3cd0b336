//! When something last went well: marks that stand with the leases in the live state table, so that no snapshot holds them.

use crate::SnapshotError;
use crate::lease::unreachable;
use crate::tables::Tables;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::Timestamp;
use std::collections::HashMap;
use store::dynamodb::keys;

/// What a mark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A snapshot was restored for practice.
    Drilled,
    /// The newest whole snapshot was begun.
    Taken,
}

impl Mark {
    /// What it is called among the leases.
    const fn name(self) -> &'static str {
        match self {
            Self::Drilled => "drilled",
            Self::Taken => "taken",
        }
    }

    /// Notes that it was so at `at`.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn note(self, tables: &Tables, at: Timestamp) -> Result<(), SnapshotError> {
        self.update(tables, "SET #at = :at", at).await.map(drop)
    }

    /// When it was last so. Before the first time it is when this was first asked, which is noted: the age grows from there, so
    /// that what never happens is noticed as well.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn last(self, tables: &Tables, now: Timestamp) -> Result<Timestamp, SnapshotError> {
        self.update(tables, "SET #at = if_not_exists(#at, :at)", now).await
    }

    /// The same without noting anything; none before the first time. Eventually consistent.
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
        .ok_or_else(|| SnapshotError::Internal(format!("the mark {} holds no time", self.name()).into()))
    }
}
