//! Reads, writes and queries one table.

use super::cause::Cause;
use super::expression::{Change, Condition, Scope};
use super::failed;
use super::item::{Item, Stored};
use super::keys::{CHANGED_BY, EPOCH, Key, REQUEST_ID};
use crate::StoreError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, DeleteRequest, KeysAndAttributes, Put, ReturnValue,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
};
use std::collections::HashMap;
use std::time::Duration;

/// Items that one call reads, at most.
const BATCH: usize = 100;
/// Items that one call writes, at most.
const WRITTEN: usize = 25;
/// Attempts for the items that a call left out, and the first pause between them; each further one doubles it.
const BATCH_TRIES_MAX: u32 = 6;
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// Attempts of a transaction that collides with others, and the longest pause between two.
const COLLISIONS_MAX: u32 = 12;
const COLLISION_PAUSE_MAX: Duration = Duration::from_millis(320);
/// The reason of a cancelled transaction if a condition failed.
const CONDITION: &str = "ConditionalCheckFailed";

/// A table of the database.
#[derive(Debug, Clone)]
pub(super) struct Table {
    client: Client,
    name: String,
}

/// The write of one item, alone or in a transaction.
#[derive(Debug, Clone)]
#[must_use = "a write changes nothing until a table makes it"]
pub(super) struct Write {
    key: Key,
    kind: WriteKind,
    change: Change,
    condition: Option<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteKind {
    Put,
    Update,
    Delete,
    /// Changes nothing: its condition alone counts, in a transaction.
    Check,
}

impl Write {
    fn new(key: Key, kind: WriteKind) -> Self {
        Self { key, kind, change: Change::default(), condition: None }
    }

    /// Writes a whole item with the attributes that are set.
    pub(super) fn put(key: Key) -> Self {
        Self::new(key, WriteKind::Put)
    }

    /// Changes the named attributes, and creates the item if it does not exist.
    pub(super) fn update(key: Key) -> Self {
        Self::new(key, WriteKind::Update)
    }

    /// Lets a transaction fail unless the conditions on this item hold.
    pub(super) fn check(key: Key) -> Self {
        Self::new(key, WriteKind::Check)
    }

    /// Removes the item.
    pub(super) fn delete(key: Key) -> Self {
        Self::new(key, WriteKind::Delete)
    }

    /// Sets an attribute.
    pub(super) fn set(mut self, attribute: &'static str, value: impl Stored) -> Self {
        self.change.set(attribute, value.stored());
        self
    }

    /// Sets an attribute if it does not exist.
    pub(super) fn set_once(mut self, attribute: &'static str, value: impl Stored) -> Self {
        self.change.set_once(attribute, value.stored());
        self
    }

    /// Sets an attribute, or removes it if there is no value.
    pub(super) fn set_or_remove(self, attribute: &'static str, value: Option<impl Stored>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(&[attribute]),
        }
    }

    /// Sets an attribute to the value of another one.
    pub(super) fn copy(mut self, attribute: &'static str, from: &'static str) -> Self {
        self.change.copy(attribute, from);
        self
    }

    /// Adds one to a counter.
    pub(super) fn count(self, attribute: &'static str) -> Self {
        self.add(attribute, 1)
    }

    /// Adds a number, which may be negative, to an attribute.
    pub(super) fn add(mut self, attribute: &'static str, number: i64) -> Self {
        self.change.add(attribute, AttributeValue::N(number.to_string()));
        self
    }

    /// Removes attributes.
    pub(super) fn remove(mut self, attributes: &[&'static str]) -> Self {
        for attribute in attributes {
            self.change.remove(attribute);
        }
        self
    }

    /// Sets a client's counter, on condition that the new number is higher than the stored one.
    pub(super) fn newer(self, counter: &'static str, number: u64) -> Self {
        let newer = super::expression::absent(counter).or(super::expression::below(counter, number));
        self.set(counter, number).when(newer)
    }

    /// Records the actor and the request of the change, in place of those of the previous change.
    pub(super) fn by(self, cause: &Cause) -> Self {
        self.set(CHANGED_BY, cause.by.to_string()).set_or_remove(REQUEST_ID, cause.request_id.as_deref())
    }

    /// Records the change as [`Write::by`] does, on the condition of [`Write::current`].
    pub(super) fn own(self, cause: &Cause) -> Self {
        self.by(cause).current(cause)
    }

    /// If a participant's token came with the request, the item must be that participant's, with the token's epoch.
    pub(super) fn current(self, cause: &Cause) -> Self {
        match cause.epoch {
            Some(epoch) => self.when(super::expression::is(EPOCH, epoch)),
            None => self,
        }
    }

    /// Adds a condition to the write.
    pub(super) fn when(mut self, condition: Condition) -> Self {
        self.condition = Some(match self.condition {
            Some(before) => Condition::All(vec![before, condition]),
            None => condition,
        });
        self
    }

    /// The item that a put stores.
    #[cfg(test)]
    pub(super) fn into_item(self) -> Item {
        self.into_parts().item
    }

    fn into_parts(self) -> Parts {
        let mut scope = Scope::default();
        let condition = self.condition.map(|condition| condition.write(&mut scope));
        let (mut item, mut update) = (Item::from(self.key), None);
        match self.kind {
            WriteKind::Put => item.extend(self.change.into_item()),
            WriteKind::Update => update = Some(self.change.write(&mut scope)),
            WriteKind::Delete | WriteKind::Check => {}
        }
        Parts { item, update, condition, names: scope.names(), values: scope.into_values() }
    }
}

/// A write in the parts of a request.
struct Parts {
    /// The key, or the whole item.
    item: Item,
    update: Option<String>,
    condition: Option<String>,
    names: Option<HashMap<String, String>>,
    values: Option<HashMap<String, AttributeValue>>,
}

impl Table {
    pub(super) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Reads an item; eventually consistent.
    pub(super) async fn get(&self, key: Key) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key.into()));
        Ok(request.send().await.map_err(failed)?.item)
    }

    /// Reads an item consistently, at twice the price.
    pub(super) async fn get_now(&self, key: Key) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        Ok(request.send().await.map_err(failed)?.item)
    }

    /// Reads these items in any order; eventually consistent. Missing items are left out.
    pub(super) async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, StoreError> {
        self.read_all(keys, false).await
    }

    /// The same, consistently and at twice the price.
    pub(super) async fn get_all_now(&self, keys: Vec<Key>) -> Result<Vec<Item>, StoreError> {
        self.read_all(keys, true).await
    }

    async fn read_all(&self, keys: Vec<Key>, consistent: bool) -> Result<Vec<Item>, StoreError> {
        let mut read = Vec::with_capacity(keys.len());
        let keys: Vec<Item> = keys.into_iter().map(Item::from).collect();
        for batch in keys.chunks(BATCH) {
            let mut pause = BATCH_PAUSE;
            let mut wanted = Some(batch.to_vec());
            for _ in 0..BATCH_TRIES_MAX {
                let Some(keys) = wanted.take() else { break };
                let keys = KeysAndAttributes::builder().consistent_read(consistent).set_keys(Some(keys)).build();
                let request = self.client.batch_get_item().request_items(&self.name, keys.map_err(unbuilt)?);
                let output = request.send().await.map_err(failed)?;
                read.extend(output.responses.and_then(|mut tables| tables.remove(&self.name)).unwrap_or_default());
                let left = output.unprocessed_keys.and_then(|mut tables| tables.remove(&self.name));
                wanted = left.map(|left| left.keys).filter(|keys| !keys.is_empty());
                if wanted.is_some() {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
            if wanted.is_some() {
                return Err(StoreError::Unavailable("items were left unread".into()));
            }
        }
        Ok(read)
    }

    /// Makes a write. If its condition fails, nothing changes, and the current item is returned (empty if there is
    /// none), so that the cause is known without a second call.
    pub(super) async fn write(&self, write: Write) -> Result<Result<(), Item>, StoreError> {
        self.send(write, None).await.map(|outcome| outcome.map(drop))
    }

    /// Makes a put or an update and returns the new item; otherwise as [`Table::write`].
    pub(super) async fn change(&self, write: Write) -> Result<Result<Item, Item>, StoreError> {
        self.send(write, Some(ReturnValue::AllNew)).await
    }

    async fn send(&self, write: Write, returned: Option<ReturnValue>) -> Result<Result<Item, Item>, StoreError> {
        let kind = write.kind;
        let Parts { item, update, condition, names, values } = write.into_parts();
        let shown = ReturnValuesOnConditionCheckFailure::AllOld;
        let outcome = match kind {
            WriteKind::Put => {
                let request = self.client.put_item().table_name(&self.name).set_item(Some(item.clone()));
                let request = request.set_condition_expression(condition).set_expression_attribute_names(names);
                let request = request.set_expression_attribute_values(values);
                let sent = request.return_values_on_condition_check_failure(shown).send().await;
                sent.map(|_| item).map_err(|error| match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(refusal)) => Ok(refusal.item.clone()),
                    _ => Err(failed(error)),
                })
            }
            WriteKind::Update => {
                let request = self.client.update_item().table_name(&self.name).set_key(Some(item));
                let request = request.set_update_expression(update).set_condition_expression(condition);
                let request = request.set_expression_attribute_names(names).set_expression_attribute_values(values);
                let request = request.set_return_values(returned).return_values_on_condition_check_failure(shown);
                let sent = request.send().await.map(|output| output.attributes.unwrap_or_default());
                sent.map_err(|error| match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => Ok(refusal.item.clone()),
                    _ => Err(failed(error)),
                })
            }
            WriteKind::Check => {
                return Err(StoreError::Internal("a check stands only in a transaction".into()));
            }
            WriteKind::Delete => {
                let request = self.client.delete_item().table_name(&self.name).set_key(Some(item));
                let request = request.set_condition_expression(condition).set_expression_attribute_names(names);
                let request = request.set_expression_attribute_values(values);
                let sent = request.return_values_on_condition_check_failure(shown).send().await;
                sent.map(|_| Item::new()).map_err(|error| match error.as_service_error() {
                    Some(DeleteItemError::ConditionalCheckFailedException(refusal)) => Ok(refusal.item.clone()),
                    _ => Err(failed(error)),
                })
            }
        };
        match outcome {
            Ok(item) => Ok(Ok(item)),
            Err(Ok(old)) => Ok(Err(old.unwrap_or_default())),
            Err(Err(failure)) => Err(failure),
        }
    }

    /// Removes the items with these keys.
    pub(super) async fn delete_all(&self, keys: Vec<Item>) -> Result<(), StoreError> {
        for batch in keys.chunks(WRITTEN) {
            let removal = |key: &Item| {
                let removal = DeleteRequest::builder().set_key(Some(key.clone())).build().map_err(unbuilt)?;
                Ok(WriteRequest::builder().delete_request(removal).build())
            };
            let mut wanted = Some(batch.iter().map(removal).collect::<Result<Vec<_>, StoreError>>()?);
            let mut pause = BATCH_PAUSE;
            for _ in 0..BATCH_TRIES_MAX {
                let Some(left) = wanted.take() else { break };
                let request = self.client.batch_write_item().request_items(&self.name, left);
                let output = request.send().await.map_err(failed)?;
                let left = output.unprocessed_items.and_then(|mut tables| tables.remove(&self.name));
                wanted = left.filter(|left| !left.is_empty());
                if wanted.is_some() {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
            if wanted.is_some() {
                return Err(StoreError::Unavailable("items were left unwritten".into()));
            }
        }
        Ok(())
    }

    /// Makes all of these writes, or none of them if a condition fails. Returns whether they were made.
    pub(super) async fn transact(&self, writes: Vec<Write>) -> Result<bool, StoreError> {
        let writes = writes.into_iter().map(|write| self.part(write)).collect::<Result<_, _>>().map_err(unbuilt)?;
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(context)) if context.err().is_transaction_canceled_exception() => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes all of these writes, or none of them. If conditions fail, the current item of each refused write is returned
    /// in its place (empty if there is none), and `None` for the others. Transactions that collide with others are
    /// repeated.
    pub(super) async fn try_transact(&self, writes: Vec<Write>) -> Result<Result<(), Vec<Option<Item>>>, StoreError> {
        let writes =
            writes.into_iter().map(|write| self.part(write)).collect::<Result<Vec<_>, _>>().map_err(unbuilt)?;
        let mut pause = BATCH_PAUSE;
        for _ in 0..COLLISIONS_MAX {
            let request = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = request.send().await else { return Ok(Ok(())) };
            let Some(TransactWriteItemsError::TransactionCanceledException(refusal)) = error.as_service_error() else {
                return Err(failed(error));
            };
            let reasons = refusal.cancellation_reasons();
            let is = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
            if is(CONDITION) {
                let old = reasons.iter().map(|reason| {
                    (reason.code() == Some(CONDITION)).then(|| reason.item().cloned().unwrap_or_default())
                });
                return Ok(Err(old.collect()));
            }
            if !is("TransactionConflict") {
                // Throttling has a reason of its own; everything else is our fault.
                let is_throttled = is("ThrottlingError") || is("ProvisionedThroughputExceeded");
                return Err(if is_throttled {
                    StoreError::Unavailable(error.into())
                } else {
                    StoreError::Internal(error.into())
                });
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fraction())).await;
            pause = (2 * pause).min(COLLISION_PAUSE_MAX);
        }
        Err(StoreError::Unavailable("other transactions kept colliding with this one".into()))
    }

    fn part(&self, write: Write) -> Result<TransactWriteItem, BuildError> {
        let kind = write.kind;
        let Parts { item, update, condition, names, values } = write.into_parts();
        let part = TransactWriteItem::builder();
        let shown = ReturnValuesOnConditionCheckFailure::AllOld;
        let part = match kind {
            WriteKind::Put => {
                let put =
                    Put::builder().table_name(&self.name).set_item(Some(item)).set_condition_expression(condition);
                let put = put.return_values_on_condition_check_failure(shown.clone());
                let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
                part.put(put.build()?)
            }
            WriteKind::Update => {
                let update = Update::builder().table_name(&self.name).set_key(Some(item)).set_update_expression(update);
                let update = update.return_values_on_condition_check_failure(shown.clone());
                let update = update.set_condition_expression(condition).set_expression_attribute_names(names);
                let update = update.set_expression_attribute_values(values);
                part.update(update.build()?)
            }
            WriteKind::Delete => {
                let delete = Delete::builder().table_name(&self.name).set_key(Some(item));
                let delete = delete.return_values_on_condition_check_failure(shown);
                let delete = delete.set_condition_expression(condition).set_expression_attribute_names(names);
                let delete = delete.set_expression_attribute_values(values);
                part.delete(delete.build()?)
            }
            WriteKind::Check => {
                let check = ConditionCheck::builder().table_name(&self.name).set_key(Some(item));
                let check = check.return_values_on_condition_check_failure(shown).set_condition_expression(condition);
                let check = check.set_expression_attribute_names(names).set_expression_attribute_values(values);
                part.condition_check(check.build()?)
            }
        };
        Ok(part.build())
    }

    /// A query for items whose keys fit, of which the filter keeps some.
    pub(super) fn query(&self, keys: Condition, filter: Option<Condition>) -> QueryFluentBuilder {
        let mut scope = Scope::default();
        let keys = keys.write(&mut scope);
        let filter = filter.map(|filter| filter.write(&mut scope));
        let request = self.client.query().table_name(&self.name).key_condition_expression(keys);
        let request = request.set_filter_expression(filter).set_expression_attribute_names(scope.names());
        request.set_expression_attribute_values(scope.into_values())
    }

    /// A scan of the items that pass the filter.
    pub(super) fn scan(&self, filter: Condition) -> ScanFluentBuilder {
        let mut scope = Scope::default();
        let filter = filter.write(&mut scope);
        let request = self.client.scan().table_name(&self.name).filter_expression(filter);
        let request = request.set_expression_attribute_names(scope.names());
        request.set_expression_attribute_values(scope.into_values())
    }
}

/// A number from 0 to 1, so that callers who collided do not collide again.
fn fraction() -> f64 {
    crate::random::<1>().map_or(0.5, |[byte]| f64::from(byte) / 255.0)
}

fn unbuilt(error: BuildError) -> StoreError {
    StoreError::Internal(error.into())
}
