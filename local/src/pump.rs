//! Feeds the stream's consumers, as Lambda does on AWS: in batches, in order, with retries after failures. The engine
//! writes each change of the state table together with a stream record, and a record is removed only after the consumer
//! has processed it. So every change is delivered at least once, even after a crash.

use crate::client;
use crate::engine::{Engine, UNLIMITED};
use crate::records::{Batch, read, remove};
use config::Config;
use functions::{Consumer, Context, Live, Observer};
use std::sync::Arc;
use std::time::Duration;
use store::dynamodb::StreamEvent;
use telemetry::lag::Lag;
use tokio::sync::watch;
use tokio::time::Instant;

/// Records per batch. The changes of a batch in one room cost one write together, so a longer batch costs less.
const BATCH: u32 = 200;
/// Longest backlog in memory, in records: about 15 MB. Beyond it, writes wait until the backlog shrinks.
pub const BEHIND_MAX: usize = 10_000;
/// Longest backlog on disk, where records use no memory.
pub const BEHIND_ON_DISK_MAX: usize = 100_000;
/// How long a batch waits for more records. Requests come first on the shared processor.
const GATHER: Duration = Duration::from_millis(5);
/// While others use the engine, each batch is followed by a pause of this many times its own duration. Requests come
/// first; the backlog may grow to half of its limit.
const YIELD: u32 = 4;
/// Pause after the first failure of a batch; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The consumers of the state table's stream.
pub struct Pump {
    engine: Engine,
    table: String,
    context: Context,
    consumers: Vec<Consumer>,
    behind_max: usize,
    lag: Arc<Lag>,
}

impl Pump {
    /// Feeds `consumers` from the state table's stream on `engine`, with a backlog of at most `behind_max` records.
    #[must_use]
    pub fn new(
        engine: &Engine,
        config: &Config,
        observer: Arc<dyn Observer>,
        consumers: Vec<Consumer>,
        behind_max: usize,
    ) -> Self {
        let table = config.state_table.clone();
        let context = client::context(engine.ahead(), config.clone(), observer);
        Self { engine: engine.ahead(), table, context, consumers, behind_max, lag: Arc::default() }
    }

    /// Lets the consumers send messages over WebSocket connections.
    #[must_use]
    pub fn with_live(mut self, live: Live) -> Self {
        self.context.live = Some(live);
        self
    }

    /// How far the consumer is behind, at every moment.
    #[must_use]
    pub fn lag(&self) -> Arc<Lag> {
        Arc::clone(&self.lag)
    }

    /// Follows the stream. When `stop` is set, it processes the backlog and ends, or ends at the first failure.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut failures = 0_u32;
        self.engine.admit(self.behind_max);
        loop {
            let stopping = *stop.borrow();
            match self.next().await {
                // The engine has stopped.
                None => return,
                Some(Ok(None)) => {
                    self.lag.note(None);
                    if stopping {
                        return;
                    }
                    // The backlog is empty, so all permits are restored. Refused writes have used permits without
                    // leaving a record.
                    self.engine.admit(self.behind_max);
                    tokio::select! {
                        () = self.engine.written() => {}
                        _ = stop.changed() => continue,
                    }
                    tokio::time::sleep(GATHER).await;
                    continue;
                }
                Some(Ok(Some(batch))) => {
                    self.lag.note(Some(batch.oldest));
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
                Some(Err(error)) => tracing::error!(%error, "failed to read the stream"),
            }
            if stopping {
                return;
            }
            // If the ledger cannot be written, people can still change their states.
            self.engine.admit(UNLIMITED);
            let pause = (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(16))).min(PAUSE_MAX);
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Leaves the engine to other handles for a while, or until no other handle uses it.
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

    /// The oldest batch. `Ok(None)`: no records. `None`: the engine has stopped.
    async fn next(&self) -> Option<rusqlite::Result<Option<Batch>>> {
        let table = self.table.clone();
        self.engine.work(move |database| read(database.connection(), &table, BATCH)).await
    }

    /// Passes a batch to the consumer and removes the processed records. Returns the length of the backlog, or `None`
    /// if not the whole batch was processed.
    async fn work_off(&self, batch: Batch) -> Option<usize> {
        let Batch { ids, event, .. } = batch;
        // Half a megabyte of JSON would delay the requests of this thread.
        let event = tokio::task::spawn_blocking(move || serde_json::from_str::<StreamEvent>(&event));
        let event = match event.await.ok()? {
            Ok(event) => Arc::new(event),
            Err(error) => {
                tracing::error!(%error, "the stream holds an invalid record");
                return None;
            }
        };
        let numbers: Vec<_> = event.records.iter().map(|record| record.sequence_number().to_owned()).collect();
        // Every consumer gets the whole batch again from the first record that one of them did not process.
        let mut done = numbers.len();
        for consumer in &self.consumers {
            // A consumer runs in a task of its own, so that a panic counts as a failure.
            let outcome = tokio::spawn(consumer(self.context.clone(), Arc::clone(&event))).await;
            let failed = match &outcome {
                Ok(outcome) => outcome.batch_item_failures.first().map(|failure| failure.item_identifier.as_str()),
                Err(_) => numbers.first().map(String::as_str),
            };
            if let Some(failed) = failed {
                // As on Lambda, an identifier from outside the batch means that the whole batch failed.
                done = done.min(numbers.iter().position(|number| number == failed).unwrap_or(0));
            }
        }
        let last = *done.checked_sub(1).and_then(|last| ids.get(last))?;
        let table = self.table.clone();
        match self.engine.work(move |database| remove(database.connection(), &table, last)).await? {
            Ok(left) => (done == numbers.len()).then_some(left),
            Err(error) => {
                tracing::warn!(%error, "failed to remove processed records; they will be delivered again");
                None
            }
        }
    }
}
