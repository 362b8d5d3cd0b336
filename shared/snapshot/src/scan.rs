//! All items of a table, read by several at once in memory that does not grow with the table.

use crate::SnapshotError;
use crate::batch::Patience;
use crate::format::{Item, Table};
use crate::lines::{Summing, is_transient};
use crate::pace::Pace;
use crate::tables::Tables;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use domain::ledger::Head;
use std::time::Duration;
use store::dynamodb::{LedgerItem, keys};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often the head of a chain is read again until it is as new as its entries: they are written in one transaction,
/// which a scan may see half of.
const HEAD_TRIES: u32 = 20;
const HEAD_PAUSE: Duration = Duration::from_millis(50);

/// A table's pages as they come, from all segments.
pub(crate) struct Pages {
    pages: mpsc::Receiver<Result<Vec<Item>, SnapshotError>>,
    /// Ends the readers when nobody wants more.
    _readers: JoinSet<()>,
}

impl Pages {
    /// Reads a table in so many segments. The items of a partition are all in one segment, in the order of their sort key.
    pub(crate) fn read(tables: &Tables, table: Table, segments: u16, pace: &Pace) -> Self {
        // Each reader holds a page; one more waits here.
        let (sender, pages) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        let segments = i32::from(segments.max(1));
        for segment in 0..segments {
            let (sender, tables, pace) = (sender.clone(), tables.clone(), pace.clone());
            readers.spawn(async move { read_segment(&tables, &pace, table, (segment, segments), &sender).await });
        }
        Self { pages, _readers: readers }
    }

    /// The next page, without leases; None when all segments have been read to their end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Item>>, SnapshotError> {
        self.pages.recv().await.transpose()
    }
}

async fn read_segment(
    tables: &Tables,
    pace: &Pace,
    table: Table,
    segment: (i32, i32),
    pages: &mpsc::Sender<Result<Vec<Item>, SnapshotError>>,
) {
    let mut after = None;
    loop {
        let page = page(tables, pace, table, segment, after.take()).await;
        let ended = match page {
            Ok((items, next)) => {
                after = next;
                pages.send(Ok(items)).await.is_err() || after.is_none()
            }
            Err(error) => {
                let _ = pages.send(Err(error)).await;
                true
            }
        };
        if ended {
            return;
        }
    }
}

async fn page(
    tables: &Tables,
    pace: &Pace,
    table: Table,
    (segment, segments): (i32, i32),
    after: Option<Item>,
) -> Result<(Vec<Item>, Option<Item>), SnapshotError> {
    let mut patience = Patience::default();
    loop {
        // Consistent: what was acknowledged before the scan began must be in it.
        let request =
            tables.client.scan().table_name(tables.name(table)).limit(pace.page_items()).consistent_read(true);
        let request = request.segment(segment).total_segments(segments).set_exclusive_start_key(after.clone());
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let read = pace.call(Box::pin(request.send()), ScanOutput::consumed_capacity).await;
        let Some(output) = patience.outcome(read).await? else { continue };
        let mut items = output.items.unwrap_or_default();
        items.retain(|item| !is_transient(item));
        return Ok((items, output.last_evaluated_key.filter(|key| !key.is_empty())));
    }
}

/// Makes each chain whole on its way into the snapshot: a chain that grows while it is read gets the entries up to its
/// head, and the head that its entries need.
pub(crate) struct Whole<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) pace: &'a Pace,
}

impl Whole<'_> {
    /// The items that have to be written for this one, itself included. `so_far` is what was written.
    pub(crate) async fn with(&self, item: Item, so_far: &Summing) -> Result<Vec<Item>, SnapshotError> {
        let read = LedgerItem::read(&item).map_err(|error| self.damaged(error.to_string()))?;
        match read {
            LedgerItem::Entry(entry) => {
                let last = so_far.last(&entry.chain);
                let mut items = Vec::new();
                if entry.seq > last.seq + 1 {
                    items = self.entries(&entry.chain, last.seq, entry.seq - 1).await?;
                }
                items.push(item);
                Ok(items)
            }
            LedgerItem::Head { chain, head } => self.up_to_head(&chain, so_far.last(&chain), Some((item, head))).await,
            LedgerItem::Other => Ok(vec![item]),
        }
    }

    /// The end of a chain whose head the scan has not met.
    pub(crate) async fn rest(&self, chain: &str, so_far: &Summing) -> Result<Vec<Item>, SnapshotError> {
        self.up_to_head(chain, so_far.last(chain), None).await
    }

    async fn up_to_head(
        &self,
        chain: &str,
        last: Head,
        mut found: Option<(Item, Head)>,
    ) -> Result<Vec<Item>, SnapshotError> {
        for tries in 1..=HEAD_TRIES {
            if let Some((item, head)) = found.take_if(|(_, head)| head.seq >= last.seq) {
                let mut items = Vec::new();
                if head.seq > last.seq {
                    items = self.entries(chain, last.seq, head.seq).await?;
                }
                items.push(item);
                return Ok(items);
            }
            if tries > 1 {
                tokio::time::sleep(HEAD_PAUSE).await;
            }
            found = self.head(chain).await?;
        }
        Err(self.damaged(format!("{chain}: there is an entry {} and no head of it", last.seq)))
    }

    async fn head(&self, chain: &str) -> Result<Option<(Item, Head)>, SnapshotError> {
        let mut patience = Patience::default();
        loop {
            let request = self.tables.client.get_item().table_name(&self.tables.ledger).consistent_read(true);
            let request = request.set_key(Some(keys::head(chain).into()));
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let read = self.pace.call(Box::pin(request.send()), GetItemOutput::consumed_capacity).await;
            let Some(output) = patience.outcome(read).await? else { continue };
            let Some(item) = output.item else { return Ok(None) };
            return match LedgerItem::read(&item).map_err(|error| self.damaged(error.to_string()))? {
                LedgerItem::Head { head, .. } => Ok(Some((item, head))),
                _ => Ok(None),
            };
        }
    }

    /// The entries of a chain after one number and up to another.
    async fn entries(&self, chain: &str, after: u64, until: u64) -> Result<Vec<Item>, SnapshotError> {
        let (mut items, mut start) = (Vec::new(), None);
        let mut patience = Patience::default();
        loop {
            let request = self.tables.client.query().table_name(&self.tables.ledger).consistent_read(true);
            let request = request
                .key_condition_expression("pk = :chain AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":chain", AttributeValue::S(keys::partition(chain)))
                .expression_attribute_values(":from", AttributeValue::S(keys::place(after + 1)))
                .expression_attribute_values(":to", AttributeValue::S(keys::place(until)))
                .limit(self.pace.page_items())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(start.clone());
            let read = self.pace.call(Box::pin(request.send()), QueryOutput::consumed_capacity).await;
            let Some(output) = patience.outcome(read).await? else { continue };
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(items);
            }
            patience = Patience::default();
        }
    }

    pub(crate) fn damaged(&self, problem: String) -> SnapshotError {
        SnapshotError::Damaged { object: format!("table {}", self.tables.ledger), problem }
    }
}
