//! How fast a snapshot reads, by the read units that DynamoDB counts, so that requests find most of them.

use aws_sdk_dynamodb::types::ConsumedCapacity;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Of the read units that a table serves, a snapshot takes one in so many.
const ONE_IN: f64 = 3.0;
/// Items that a read unit reads at least: a consistent one reads 4 KB, and no item of ours has more than a KB.
const ITEMS_PER_UNIT: f64 = 4.0;
/// Items of one page at most. DynamoDB ends a page after 1 MB, whatever this is; the embedded engine reads as many items
/// as it is asked for before it looks at their size.
const PAGE_ITEMS: i32 = 1000;

/// Waits for so long.
pub type Pause = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes calls one after the other, and pauses after each for as long as its read units take at this pace.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Read units a second; none if nobody has to be spared.
    share: Option<f64>,
    pause: Pause,
    turn: Arc<Mutex<()>>,
}

impl Pace {
    /// For tables that serve so many read units a second, each; 0 if they have no limit.
    pub(crate) fn new(read_units: u32, pause: Pause) -> Self {
        let share = (read_units > 0).then(|| f64::from(read_units) / ONE_IN);
        Self { share, pause, turn: Arc::default() }
    }

    pub(crate) fn unpaced() -> Self {
        Self::new(0, sleep)
    }

    /// Items of a page: those that a second's share reads.
    pub(crate) fn page_items(&self) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and what is left is from 1 to 1000")]
        self.share.map_or(PAGE_ITEMS, |share| ((share * ITEMS_PER_UNIT) as i32).clamp(1, PAGE_ITEMS))
    }

    /// Makes a call. The pause is over when this returns.
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
            // What was not counted took a second's share.
            (self.pause)(Duration::from_secs_f64(units.unwrap_or(share).max(0.0) / share)).await;
        }
        outcome
    }
}

/// The pause of everybody but a test.
#[must_use]
pub fn sleep(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_costs_at_most_a_second() {
        for (read_units, items) in [(0, 1000), (1, 1), (3, 4), (500, 666), (750, 1000), (u32::MAX, 1000)] {
            assert_eq!(Pace::new(read_units, sleep).page_items(), items, "{read_units}");
        }
    }
}
