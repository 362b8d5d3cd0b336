//! A lease in the state table: one run of a kind at a time, and nobody's for ever.

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

/// How long a lease lasts after it was last renewed. Longer than any one step of a run, retries included.
pub const PERIOD: Duration = Duration::from_mins(5);
/// How long a lease that was not given back stands in the table, and with it the progress of an interrupted run.
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
    /// Takes the lease `LEASE#<what>` in `table`, unless somebody holds it at `now`.
    ///
    /// # Errors
    /// [`SnapshotError::Leased`] if somebody does; [`SnapshotError::Unreachable`].
    pub async fn take(client: &Client, table: &str, what: &'static str, now: Timestamp) -> Result<Self, SnapshotError> {
        let mut lease = Self::new(client, table, what, now)?;
        // The answer to an earlier try may have been lost, so one's own name is as good as none.
        lease.hold("attribute_not_exists(pk) OR #until <= :now OR holder = :holder", now, None).await?;
        Ok(lease)
    }

    /// Takes the lease: whoever holds it, if this run is `alone` with the tables; else only from nobody.
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

    /// Takes the lease whoever holds it. Only for one who knows that its holder has died, having the tables alone.
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

    /// When it ends by itself.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// What was last noted about the work, by this run or by an interrupted one before it.
    #[must_use]
    pub fn progress(&self) -> Option<&Value> {
        self.progress.as_ref()
    }

    /// Renews it if half of its time is over. Call it between steps.
    ///
    /// # Errors
    /// [`SnapshotError::Leased`] if it has ended and another run took it: stop; [`SnapshotError::Unreachable`].
    pub async fn keep(&mut self, now: Timestamp) -> Result<(), SnapshotError> {
        if now.plus(PERIOD / 2) < self.until { Ok(()) } else { self.renew(now).await }
    }

    /// Renews it. Afterwards nobody else held it until now.
    ///
    /// # Errors
    /// As [`Lease::keep`].
    pub async fn renew(&mut self, now: Timestamp) -> Result<(), SnapshotError> {
        self.hold("holder = :holder", now, None).await
    }

    /// Renews it and notes what was done so far.
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

    /// What was last noted about the work under a lease, held or not.
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

    /// Gives it back, with all that was noted: the work is done. A lease that cannot be given back ends by itself.
    pub async fn give_back(self) {
        let request = self.client.delete_item().table_name(&self.table).set_key(Some(self.key()));
        let request = request
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", AttributeValue::S(self.holder.clone()));
        if let Err(error) = request.send().await {
            tracing::warn!(error = %Chain(&error), lease = self.what, "lease not given back");
        }
    }

    /// Ends it and keeps what was noted, for the run that goes on with the work.
    pub async fn pause(self) {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(self.key()));
        let request = request
            .update_expression("SET #until = :ended")
            .expression_attribute_names("#until", "until")
            .condition_expression("holder = :holder")
            .expression_attribute_values(":ended", AttributeValue::N("0".to_owned()))
            .expression_attribute_values(":holder", AttributeValue::S(self.holder.clone()));
        if let Err(error) = request.send().await {
            tracing::warn!(error = %Chain(&error), lease = self.what, "lease not ended");
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

/// A call to `DynamoDB` that failed.
pub(crate) fn unreachable<E>(error: &SdkError<E>) -> SnapshotError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    SnapshotError::Unreachable(Chain(error).to_string().into())
}
