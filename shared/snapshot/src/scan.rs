//! Reads all items of a table in parallel segments, in memory that does not grow with the table.

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
use domain::ledger::{Entry, Head};
use std::time::Duration;
use store::dynamodb::{LedgerItem, keys};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often a chain's head is read again until it is as new as its entries. One transaction writes both, but a scan
/// may see only half of a transaction.
const HEAD_TRIES: u32 = 20;
const HEAD_PAUSE: Duration = Duration::from_millis(50);

/// The pages of a table, from all segments, as they arrive.
pub(crate) struct Pages {
    pages: mpsc::Receiver<Result<Vec<Item>, SnapshotError>>,
    /// Dropping this ends the readers.
    _readers: JoinSet<()>,
}

impl Pages {
    /// Reads a table in this many segments. All items of a partition are in one segment, ordered by their sort key. The
    /// ledger is read in one: only then do the items of each chain arrive one after the other.
    pub(crate) fn read(tables: &Tables, table: Table, segments: u16, pace: &Pace) -> Self {
        // Each reader holds one page, and one more waits in the channel.
        let (sender, pages) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        let segments = if table == Table::Ledger { 1 } else { i32::from(segments.max(1)) };
        for segment in 0..segments {
            let (sender, tables, pace) = (sender.clone(), tables.clone(), pace.clone());
            readers.spawn(async move { read_segment(&tables, &pace, table, (segment, segments), &sender).await });
        }
        Self { pages, _readers: readers }
    }

    /// The next page, without the items that snapshots leave out. `None`: all segments were read to their end.
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
        // A consistent read: the snapshot must hold every change that was acknowledged before the scan began.
        let request =
            tables.client.scan().table_name(tables.name(table)).limit(pace.page_items(table)).consistent_read(true);
        // Without segments the embedded engine need not sort the table for each page.
        let (segment, segments) = if segments == 1 { (None, None) } else { (Some(segment), Some(segments)) };
        let request = request.set_segment(segment).set_total_segments(segments).set_exclusive_start_key(after.clone());
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let read = pace.call(Box::pin(request.send()), ScanOutput::consumed_capacity).await;
        let Some(output) = patience.outcome(read).await? else { continue };
        let mut items = output.items.unwrap_or_default();
        items.retain(|item| !is_transient(item));
        return Ok((items, output.last_evaluated_key.filter(|key| !key.is_empty())));
    }
}

/// Completes each chain on its way into the snapshot. If a chain grows during the scan, the scan can pass by an item and
/// return a later one; the missing items are read then. For a chain of the older form they are read up to its head, or
/// the head that belongs to its entries is.
pub(crate) struct Whole<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) pace: &'a Pace,
}

impl Whole<'_> {
    /// The items to write for this one, including itself. `so_far` sums up the items written before.
    pub(crate) async fn with(&self, item: Item, so_far: &Summing) -> Result<Vec<Item>, SnapshotError> {
        let read = LedgerItem::read(&item).map_err(|error| self.damaged(error.to_string()))?;
        match read {
            LedgerItem::Entry(first) => self.from(&first, item, so_far).await,
            LedgerItem::Block(entries) => match entries.first() {
                Some(first) => self.from(first, item, so_far).await,
                None => Ok(vec![item]),
            },
            // The head of the older form stays as it was when the first block followed it.
            LedgerItem::Head { chain, .. } if so_far.is_of_blocks(&chain) => Ok(vec![item]),
            LedgerItem::Head { chain, head } => self.up_to_head(&chain, so_far.last(&chain), Some((item, head))).await,
            LedgerItem::Other => Ok(vec![item]),
        }
    }

    /// An item that begins with the entry `first`, and before it those that the scan has passed by.
    async fn from(&self, first: &Entry, item: Item, so_far: &Summing) -> Result<Vec<Item>, SnapshotError> {
        let last = so_far.last(&first.chain);
        let mut items = Vec::new();
        if first.seq > last.seq + 1 {
            items = self.entries(&first.chain, last.seq, first.seq - 1).await?;
        }
        items.push(item);
        Ok(items)
    }

    /// The rest of a chain whose head the scan has not returned.
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
        Err(self.damaged(format!("{chain}: entry {} exists, but no head names it", last.seq)))
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

    /// The items of a chain with numbers above `after` and up to `until`.
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
                .limit(self.pace.page_items(Table::Ledger))
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
