//! Many items at once, until every one of them is through.

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
/// Tries in a row that get no item through, each of which the client has repeated by itself. With their pauses some
/// 20 s: a table on demand has doubled its capacity by then, or something is wrong.
const TRIES_MAX: u32 = 9;
/// Pause after the first of them; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often something was tried without getting anything through.
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// Waits before the next try, unless there were too many or no repetition helps.
    async fn after(&mut self, failure: Option<StoreError>) -> Result<(), SnapshotError> {
        self.0 += 1;
        match failure {
            Some(StoreError::Unavailable(_)) | None if self.0 < TRIES_MAX => {
                let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.0 - 1)).min(PAUSE_MAX);
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                Ok(())
            }
            Some(error) => Err(SnapshotError::Unreachable(error.into())),
            None => Err(SnapshotError::Unreachable("the table takes no more items".into())),
        }
    }

    /// Sorts what a call came to; none if it has to be made again.
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

/// Puts at most [`PUT_MAX`] items with different keys. An item that is there already is overwritten, so this can be
/// repeated.
///
/// # Errors
/// [`SnapshotError::Unreachable`] if the table refuses, or takes nothing for too long; some may have been put then.
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

/// The items with these keys, at most [`GET_MAX`], as they are now; in any order, without those that are not there.
///
/// # Errors
/// [`SnapshotError::Unreachable`] if the table refuses, or gives nothing for too long.
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
