//! What Lambda does on AWS between a table's stream and the function that follows it: batches, order, once more after a
//! failure. The engine writes each change of the state table together with a record of it; a record is removed when the
//! consumer has worked it off, so those that are there are those still to be done, also after a crash.

use crate::client;
use crate::engine::{Engine, UNLIMITED};
use crate::records::{Batch, read, remove};
use config::Config;
use functions::{Consumer, Context, Observer};
use std::sync::Arc;
use std::time::Duration;
use store::dynamodb::StreamEvent;
use telemetry::lag::Lag;
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

/// The stream of the state table and who follows it.
pub struct Pump {
    engine: Engine,
    table: String,
    context: Context,
    consumer: Consumer,
    behind_max: usize,
    lag: Arc<Lag>,
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
        let context = client::context(engine.ahead(), config.clone(), observer);
        Self { engine: engine.ahead(), table, context, consumer, behind_max, lag: Arc::default() }
    }

    /// How far the consumer is behind, at every moment.
    #[must_use]
    pub fn lag(&self) -> Arc<Lag> {
        Arc::clone(&self.lag)
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
                    self.lag.note(None);
                    if stopping {
                        return;
                    }
                    // Writes that were refused were admitted too, and have left no record by which to count them back.
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
        let outcome = tokio::spawn((self.consumer)(self.context.clone(), event)).await;
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
