//! A lease in the state table: only one run of each kind holds it at a time, and it expires by itself.

use crate::SnapshotError;
use crate::format::Item;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::Timestamp;
use serde_json::Value;
use std::time::Duration;
use store::dynamodb::keys;
use telemetry::Chain;

/// How long a lease lasts after its last renewal: longer than any single step of a run, retries included.
pub const PERIOD: Duration = Duration::from_mins(5);
/// How long an expired lease stays in the table, together with the progress of an interrupted run.
const KEPT: Duration = Duration::from_hours(24 * 7);

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    table: String,
    what: &'static str,
    holder: String,
    until: Timestamp,
    progress: Option<Value>,
}

impl Lease {
    /// Takes the lease `LEASE#<what>` in `table`, unless another run holds it at `now`.
    ///
    /// # Errors
    /// [`SnapshotError::Leased`] if another run holds it; [`SnapshotError::Unreachable`].
    pub async fn take(client: &Client, table: &str, what: &'static str, now: Timestamp) -> Result<Self, SnapshotError> {
        let mut lease = Self::new(client, table, what, now)?;
        // If the answer to an earlier attempt was lost, this run already holds the lease.
        lease.hold("attribute_not_exists(pk) OR #until <= :now OR holder = :holder", now, None).await?;
        Ok(lease)
    }

    /// Takes the lease. If this run is `alone` with the tables, it also takes a lease that has not expired.
    ///
    /// # Errors
    /// As [`Lease::take`].
    pub async fn acquire(
        client: &Client,
        table: &str,
        what: &'static str,
        now: Timestamp,
        alone: bool,
    ) -> Result<Self, SnapshotError> {
        if alone { Self::inherit(client, table, what, now).await } else { Self::take(client, table, what, now).await }
    }

    fn new(client: &Client, table: &str, what: &'static str, now: Timestamp) -> Result<Self, SnapshotError> {
        let random = store::random::<16>().map_err(|error| SnapshotError::Internal(error.into()))?;
        Ok(Self {
            client: client.clone(),
            table: table.to_owned(),
            what,
            holder: crate::format::hex(&random),
            until: now,
            progress: None,
        })
    }

    /// Takes the lease even if it is held. The caller must know that the holder has died, because no other process can
    /// reach the tables.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn inherit(
        client: &Client,
        table: &str,
        what: &'static str,
        now: Timestamp,
    ) -> Result<Self, SnapshotError> {
        let mut lease = Self::new(client, table, what, now)?;
        lease.hold("attribute_not_exists(pk) OR attribute_exists(pk)", now, None).await?;
        Ok(lease)
    }

    /// When the lease expires.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The last stored progress, from this run or from an interrupted run before it.
    #[must_use]
    pub fn progress(&self) -> Option<&Value> {
        self.progress.as_ref()
    }

    /// Renews the lease if half of its time is over. Call this between steps.
    ///
    /// # Errors
    /// [`SnapshotError::Leased`] if it expired and another run took it (stop then); [`SnapshotError::Unreachable`].
    pub async fn keep(&mut self, now: Timestamp) -> Result<(), SnapshotError> {
        if now.plus(PERIOD / 2) < self.until { Ok(()) } else { self.renew(now).await }
    }

    /// Renews the lease. Success means that no other run has held it up to now.
    ///
    /// # Errors
    /// As [`Lease::keep`].
    pub async fn renew(&mut self, now: Timestamp) -> Result<(), SnapshotError> {
        self.hold("holder = :holder", now, None).await
    }

    /// Renews the lease and stores the progress.
    ///
    /// # Errors
    /// As [`Lease::keep`].
    pub async fn note(&mut self, now: Timestamp, progress: Value) -> Result<(), SnapshotError> {
        self.hold("holder = :holder", now, Some(progress)).await
    }

    async fn hold(&mut self, condition: &str, now: Timestamp, progress: Option<Value>) -> Result<(), SnapshotError> {
        let until = now.plus(PERIOD);
        let seconds = until.plus(KEPT).ms() / 1000;
        let mut update = "SET holder = :holder, #until = :until, expiresAt = :expires".to_owned();
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.key()))
            .condition_expression(condition)
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":holder", AttributeValue::S(self.holder.clone()))
            .expression_attribute_values(":until", AttributeValue::N(until.ms().to_string()))
            .expression_attribute_values(":expires", AttributeValue::N(seconds.to_string()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if condition.contains(":now") {
            request = request.expression_attribute_values(":now", AttributeValue::N(now.ms().to_string()));
        }
        if let Some(progress) = progress {
            update.push_str(", progress = :progress");
            request = request.expression_attribute_values(":progress", AttributeValue::S(progress.to_string()));
        }
        match request.update_expression(update).send().await {
            Ok(output) => {
                self.until = until;
                self.progress = noted(output.attributes);
                Ok(())
            }
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => {
                Err(SnapshotError::Leased { until: held_until(context.into_err()).unwrap_or(now) })
            }
            Err(error) => Err(unreachable(&error)),
        }
    }

    /// The stored progress of the work under a lease, whether the lease is held or not.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn progress_of(client: &Client, table: &str, what: &str) -> Result<Option<Value>, SnapshotError> {
        let request = client.get_item().table_name(table).set_key(Some(keys::lease(what).into())).consistent_read(true);
        request.send().await.map(|output| noted(output.item)).map_err(|error| unreachable(&error))
    }

    fn key(&self) -> Item {
        keys::lease(self.what).into()
    }

    /// Gives the lease back and deletes the stored progress, because the work is done. If that fails, the lease expires
    /// by itself.
    pub async fn give_back(self) {
        let request = self.client.delete_item().table_name(&self.table).set_key(Some(self.key()));
        let request = request
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", AttributeValue::S(self.holder.clone()));
        if let Err(error) = request.send().await {
            tracing::warn!(error = %Chain(&error), lease = self.what, "failed to give the lease back");
        }
    }

    /// Ends the lease and keeps the stored progress for the run that continues the work.
    pub async fn pause(self) {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(self.key()));
        let request = request
            .update_expression("SET #until = :ended")
            .expression_attribute_names("#until", "until")
            .condition_expression("holder = :holder")
            .expression_attribute_values(":ended", AttributeValue::N("0".to_owned()))
            .expression_attribute_values(":holder", AttributeValue::S(self.holder.clone()));
        if let Err(error) = request.send().await {
            tracing::warn!(error = %Chain(&error), lease = self.what, "failed to end the lease");
        }
    }
}

fn noted(item: Option<Item>) -> Option<Value> {
    match item?.remove("progress")? {
        AttributeValue::S(text) => serde_json::from_str(&text).ok(),
        _ => None,
    }
}

fn held_until(error: UpdateItemError) -> Option<Timestamp> {
    let UpdateItemError::ConditionalCheckFailedException(refusal) = error else { return None };
    match refusal.item?.remove("until")? {
        AttributeValue::N(ms) => ms.parse().ok().map(Timestamp::from_ms),
        _ => None,
    }
}

/// The error of a failed call to DynamoDB.
pub(crate) fn unreachable<E>(error: &SdkError<E>) -> SnapshotError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    SnapshotError::Unreachable(Chain(error).to_string().into())
}
