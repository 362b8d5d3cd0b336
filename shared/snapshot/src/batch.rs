//! Batch reads and writes that are repeated until DynamoDB has processed every item.

use crate::SnapshotError;
use crate::format::Item;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{KeysAndAttributes, PutRequest, WriteRequest};
use std::time::Duration;
use store::StoreError;
use store::dynamodb::failed;

/// Items that one `BatchWriteItem` takes.
pub const PUT_MAX: usize = 25;
/// Items that one `BatchGetItem` takes.
pub const GET_MAX: usize = 100;
/// Calls in a row that get no item through; the client has retried each of them already. With the pauses they take some
/// 20 s: an on-demand table has doubled its capacity by then, or something is wrong.
const TRIES_MAX: u32 = 9;
/// Pause after the first such call; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Counts the calls in a row that got nothing through.
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// Waits before the next call. Fails if there were [`TRIES_MAX`] calls, or if a retry cannot help.
    async fn after(&mut self, failure: Option<StoreError>) -> Result<(), SnapshotError> {
        self.0 += 1;
        match failure {
            Some(StoreError::Unavailable(_)) | None if self.0 < TRIES_MAX => {
                let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.0 - 1)).min(PAUSE_MAX);
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                Ok(())
            }
            Some(error) => Err(SnapshotError::Unreachable(error.into())),
            None => Err(SnapshotError::Unreachable("the table is throttled and accepts no items".into())),
        }
    }

    /// The output of a call. `None`: the call has to be repeated.
    pub(crate) async fn outcome<T, E>(&mut self, outcome: Result<T, SdkError<E>>) -> Result<Option<T>, SnapshotError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match outcome {
            Ok(output) => Ok(Some(output)),
            Err(error) => self.after(Some(failed(error))).await.map(|()| None),
        }
    }
}

/// Puts at most [`PUT_MAX`] items with different keys. Existing items are overwritten, so the call is idempotent.
///
/// # Errors
/// [`SnapshotError::Unreachable`] if the table refuses, or accepts nothing for too long; some items may be written
/// then.
pub async fn put(client: &Client, table: &str, items: Vec<Item>) -> Result<(), SnapshotError> {
    let request = |item| -> Result<_, SnapshotError> {
        let put = PutRequest::builder().set_item(Some(item)).build();
        let put = put.map_err(|error| SnapshotError::Internal(error.into()))?;
        Ok(WriteRequest::builder().put_request(put).build())
    };
    let mut left: Vec<_> = items.into_iter().map(request).collect::<Result<_, _>>()?;
    let mut patience = Patience::default();
    while !left.is_empty() {
        let sent = client.batch_write_item().request_items(table, left.clone()).send().await;
        let Some(output) = patience.outcome(sent).await? else { continue };
        let before = left.len();
        left = output.unprocessed_items.unwrap_or_default().remove(table).unwrap_or_default();
        if left.len() < before {
            patience = Patience::default();
        }
        if !left.is_empty() {
            patience.after(None).await?;
        }
    }
    Ok(())
}

/// Reads the items with these keys (at most [`GET_MAX`]) consistently, in any order. Missing items are left out.
///
/// # Errors
/// [`SnapshotError::Unreachable`] if the table refuses, or returns nothing for too long.
pub async fn get(client: &Client, table: &str, keys: Vec<Item>) -> Result<Vec<Item>, SnapshotError> {
    let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
    let mut left = Some(wanted.map_err(|error| SnapshotError::Internal(error.into()))?);
    let mut found = Vec::new();
    let mut patience = Patience::default();
    while let Some(wanted) = left.take() {
        let asked = client.batch_get_item().request_items(table, wanted.clone()).send().await;
        let Some(mut output) = patience.outcome(asked).await? else {
            left = Some(wanted);
            continue;
        };
        let items = output.responses.as_mut().and_then(|tables| tables.remove(table)).unwrap_or_default();
        if !items.is_empty() {
            patience = Patience::default();
        }
        found.extend(items);
        left = output.unprocessed_keys.unwrap_or_default().remove(table).filter(|wanted| !wanted.keys().is_empty());
        if left.is_some() {
            patience.after(None).await?;
        }
    }
    Ok(found)
}
