//! What Lambda does on AWS between a table's stream and the function that follows it: batches, order, once more after a
//! failure. The engine writes each change of the state table together with a record of it; a record is removed when the
//! consumer has worked it off, so those that are there are those still to be done, also after a crash.

use crate::engine::{Engine, UNLIMITED};
use crate::runner;
use functions::{Consumer, Observer, State};
use rusqlite::Connection;
use state::Config;
use state::dynamodb::{StreamEvent, stream_began};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Records per batch, as in the template.
const BATCH: u32 = 100;
/// With this many records to be worked off, writes wait for the history: some 15 MB of memory.
pub const BEHIND_MAX: usize = 10_000;
/// The same on disk, where records take no memory.
pub const BEHIND_ON_DISK_MAX: usize = 100_000;
/// A batch waits this long for more: on the same processor, requests come first.
const GATHER: Duration = Duration::from_millis(5);
/// While others use the engine, a batch is followed by a pause this many times as long as it took: requests come first, and
/// the history may lag, up to half of what it may at most.
const YIELD: u32 = 4;
/// Pause after the first failure of a batch; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Finds the highest number of a table's stream without reading all of it. The engine asks for it at every write, and has
/// no index of its own.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS greenroom_stream \
                     ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

/// Makes writes with a stream cost the same however many records there are.
///
/// # Errors
/// The database cannot be written.
pub fn prepare(stream: &Connection) -> rusqlite::Result<()> {
    // What it removes may come back after a power cut: the consumer knows what it has seen.
    stream.execute_batch("PRAGMA synchronous = NORMAL")?;
    stream.execute_batch(INDEX)
}

/// Records that belong together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Which ones, in order.
    pub ids: Vec<i64>,
    /// The event that Lambda would make of them, as JSON.
    pub event: String,
}

/// The stream of the state table and who follows it.
pub struct Pump {
    engine: Engine,
    table: String,
    state: State,
    consumer: Consumer,
    behind_max: usize,
}

impl Pump {
    /// Lets `consumer` follow the state table's stream on `engine`, at most `behind_max` records behind.
    #[must_use]
    pub fn new(
        engine: &Engine,
        config: &Config,
        observer: Arc<dyn Observer>,
        consumer: Consumer,
        behind_max: usize,
    ) -> Self {
        let table = config.state_table.clone();
        let state = runner::state(engine.ahead(), config.clone(), observer);
        Self { engine: engine.ahead(), table, state, consumer, behind_max }
    }

    /// Follows the stream. Told to stop, it works off what is there and ends, or ends at the first failure.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut failures = 0_u32;
        self.engine.admit(self.behind_max);
        loop {
            let stopping = *stop.borrow();
            match self.next().await {
                // The engine has stopped.
                None => return,
                Some(Ok(None)) => {
                    if stopping {
                        return;
                    }
                    tokio::select! {
                        () = self.engine.written() => {}
                        _ = stop.changed() => continue,
                    }
                    tokio::time::sleep(GATHER).await;
                    continue;
                }
                Some(Ok(Some(batch))) => {
                    let begun = Instant::now();
                    if let Some(behind) = self.work_off(batch).await {
                        failures = 0;
                        self.engine.admit(self.behind_max.saturating_sub(behind));
                        if behind < self.behind_max / 2 {
                            self.give_way(begun.elapsed(), &mut stop).await;
                        }
                        continue;
                    }
                }
                Some(Err(error)) => tracing::error!(%error, "the stream cannot be read"),
            }
            if stopping {
                return;
            }
            // A history that cannot be written keeps nobody from changing their state.
            self.engine.admit(UNLIMITED);
            let pause = (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(16))).min(PAUSE_MAX);
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Leaves the engine to others for a while, or until nobody else uses it.
    async fn give_way(&self, took: Duration, stop: &mut watch::Receiver<bool>) {
        for _ in 0..YIELD {
            let calls = self.engine.calls();
            if *stop.borrow() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(took) => {}
                _ = stop.changed() => return,
            }
            if self.engine.calls() == calls {
                return;
            }
        }
    }

    /// The oldest records; none inside if there are none, none outside if the engine has stopped.
    async fn next(&self) -> Option<rusqlite::Result<Option<Batch>>> {
        let table = self.table.clone();
        self.engine.work(move |_, stream| read(stream, &table, BATCH)).await
    }

    /// Gives a batch to the consumer and removes what it has worked off. How many records are left, if that was all of it.
    async fn work_off(&self, batch: Batch) -> Option<usize> {
        let event: StreamEvent = match serde_json::from_str(&batch.event) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "the stream holds what is no record");
                return None;
            }
        };
        let numbers: Vec<_> = event.records.iter().map(|record| record.sequence_number().to_owned()).collect();
        // A task of its own, so that a panic is a failure like any other.
        let outcome = tokio::spawn((self.consumer)(self.state.clone(), event)).await;
        let failed = match &outcome {
            Ok(outcome) => outcome.batch_item_failures.first().map(|failure| failure.item_identifier.as_str()),
            Err(_) => numbers.first().map(String::as_str),
        };
        let done = failed.map_or(numbers.len(), |failed| {
            // An identifier that is not of this batch means all of it, as on Lambda.
            numbers.iter().position(|number| number == failed).unwrap_or(0)
        });
        let last = *done.checked_sub(1).and_then(|last| batch.ids.get(last))?;
        let table = self.table.clone();
        match self.engine.work(move |_, stream| remove(stream, &table, last)).await? {
            Ok(left) => failed.is_none().then_some(left),
            Err(error) => {
                tracing::warn!(%error, "worked-off records stay, and will be worked off again");
                None
            }
        }
    }
}

/// The oldest records of a table's stream, at most `limit`; none if there are none.
///
/// # Errors
/// The database cannot be read.
pub fn read(stream: &Connection, table: &str, limit: u32) -> rusqlite::Result<Option<Batch>> {
    let mut query = stream.prepare_cached(
        "SELECT id, event_name, keys_json, new_image, old_image, created_at, user_identity, \
         (SELECT stream_label FROM _tables WHERE table_name = ?1) \
         FROM _stream_records WHERE table_name = ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut batch = Batch { ids: Vec::new(), event: String::new() };
    let mut rows = query.query((table, limit))?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        batch.ids.push(id);
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let image = |column| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
        let begin = if batch.event.is_empty() { "{\"Records\":[" } else { "," };
        // The row's own number: unlike the engine's it never goes back with the clock.
        let number = 100_000_000_000_000_000_000_i128 + i128::from(id);
        // What the engine has stored as JSON goes in as it is: reading it here would keep requests waiting.
        let _ = write!(
            batch.event,
            r#"{begin}{{"eventID":"{id}","eventName":"{}","eventVersion":"1.1","eventSource":"aws:dynamodb","#,
            text(1)?
        );
        let _ = write!(
            batch.event,
            r#""awsRegion":"local","eventSourceARN":"arn:aws:dynamodb:local:000000000000:table/{table}/stream/{}","#,
            stream_began(text(7)?)
        );
        if image(6)?.is_some() {
            batch.event.push_str(r#""userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"#);
        }
        let _ = write!(
            batch.event,
            r#""dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{},"SequenceNumber":"{number:021}""#,
            row.get::<_, i64>(5)?,
            text(2)?
        );
        for (name, column) in [("NewImage", 3), ("OldImage", 4)] {
            if let Some(image) = image(column)? {
                let _ = write!(batch.event, r#","{name}":{image}"#);
            }
        }
        batch.event.push_str(r#","StreamViewType":"NEW_AND_OLD_IMAGES"}}"#);
    }
    if batch.ids.is_empty() {
        return Ok(None);
    }
    batch.event.push_str("]}");
    Ok(Some(batch))
}

/// Removes the records of a table's stream up to one of them. Gives how many are left, at most.
///
/// # Errors
/// The database cannot be written.
pub fn remove(stream: &Connection, table: &str, last: i64) -> rusqlite::Result<usize> {
    let mut statement = stream.prepare_cached("DELETE FROM _stream_records WHERE table_name = ?1 AND id <= ?2")?;
    statement.execute((table, last))?;
    // Numbers without gaps: counting the records would read all of them.
    let mut newest = stream.prepare_cached("SELECT COALESCE(MAX(id), ?1) - ?1 FROM _stream_records")?;
    newest.query_row((last,), |row| row.get::<_, i64>(0)).map(|left| usize::try_from(left).unwrap_or(0))
}
