//! Limits how fast a snapshot reads, measured in DynamoDB's read units, so that most of the capacity is left to
//! requests.

use crate::format::Table;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A snapshot takes one third of a table's read units.
const ONE_IN: f64 = 3.0;
/// Items of a table per read unit, which covers 4 KB: a state has less than 1 KB, and a block of a history is seldom
/// longer than 10 KB.
const fn items_per_unit(table: Table) -> f64 {
    match table {
        Table::State => 4.0,
        Table::Ledger => 0.4,
    }
}

/// Items per page, at most. DynamoDB ends a page after 1 MB in any case; the embedded engine reads this many items
/// before it checks their size.
const fn page_items_max(table: Table) -> i32 {
    match table {
        Table::State => 1000,
        Table::Ledger => 100,
    }
}

/// A function that waits for the given time.
pub type Pause = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes one call at a time, and pauses after each for as long as its read units take at this pace.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Read units per second. `None`: no limit.
    share: Option<f64>,
    pause: Pause,
    turn: Arc<Mutex<()>>,
}

impl Pace {
    /// A pace for tables with this many read units per second each; 0 means no limit.
    pub(crate) fn new(read_units: u32, pause: Pause) -> Self {
        let share = (read_units > 0).then(|| f64::from(read_units) / ONE_IN);
        Self { share, pause, turn: Arc::default() }
    }

    pub(crate) fn unpaced() -> Self {
        Self::new(0, sleep)
    }

    /// Items per page of a table: about the number that one second's share can read.
    pub(crate) fn page_items(&self, table: Table) -> i32 {
        let most = page_items_max(table);
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and what is left is from 1 to 1000")]
        self.share.map_or(most, |share| ((share * items_per_unit(table)) as i32).clamp(1, most))
    }

    /// Makes a call and waits out its pause before it returns.
    pub(crate) async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        consumed: fn(&T) -> Option<&ConsumedCapacity>,
    ) -> Result<T, E> {
        let Some(share) = self.share else { return call.await };
        let _turn = self.turn.lock().await;
        let outcome = call.await;
        if let Ok(output) = &outcome {
            let units = consumed(output).and_then(|consumed| consumed.capacity_units);
            // A call without a reported consumption counts as one second's share.
            (self.pause)(Duration::from_secs_f64(units.unwrap_or(share).max(0.0) / share)).await;
        }
        outcome
    }
}

/// The real pause; tests use another one.
#[must_use]
pub fn sleep(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_costs_at_most_a_second() {
        for (read_units, states, blocks) in
            [(0, 1000, 100), (1, 1, 1), (3, 4, 1), (500, 666, 66), (750, 1000, 100), (u32::MAX, 1000, 100)]
        {
            let pace = Pace::new(read_units, sleep);
            assert_eq!(
                [Table::State, Table::Ledger].map(|table| pace.page_items(table)),
                [states, blocks],
                "{read_units}"
            );
        }
    }
}
