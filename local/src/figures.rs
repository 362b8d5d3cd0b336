//! The figures of the runner: what its process has counted, and how many people are there.

use domain::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use store::dynamodb::Users;
use telemetry::Chain;
use telemetry::metrics::{Figures, Reading, Source, Window};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// A count is good for this long, however many ask: it reads every state that stands in a room.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// A count that takes longer is given up, as the canary's is on AWS.
const COUNT_TIMEOUT: Duration = Duration::from_millis(1500);
/// People are counted this often if nobody asks, as on AWS: the most at once is shown too.
const COUNT_EVERY: Duration = Duration::from_mins(1);

/// Counts the people in rooms, by the same rule as the lists.
pub struct People {
    users: Users,
    clock: fn() -> Timestamp,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    at: Option<Instant>,
    now: Option<u64>,
    peak: Option<u64>,
}

impl People {
    /// Counts those in `users`.
    #[must_use]
    pub fn new(users: Users, clock: fn() -> Timestamp) -> Self {
        Self { users, clock, counted: Mutex::default() }
    }

    /// Counts each minute, for the peak, until it is aborted.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(COUNT_EVERY).await;
            self.count((self.clock)()).await;
        }
    }

    /// Those present now, at most a second ago, and the most there were at once. None if they could not be counted.
    async fn count(&self, now: Timestamp) -> (Option<u64>, Option<u64>) {
        let mut counted = self.counted.lock().await;
        if counted.at.is_none_or(|at| at.elapsed() >= FRESH_FOR) {
            counted.now = match timeout(COUNT_TIMEOUT, self.users.count_in_rooms(u32::MAX, now)).await {
                Ok(Ok(people)) => Some(people.into()),
                Ok(Err(error)) => {
                    tracing::warn!(error = %Chain(&error), "users not counted");
                    None
                }
                Err(_) => {
                    tracing::warn!("users not counted in time");
                    None
                }
            };
            counted.at = Some(Instant::now());
            counted.peak = counted.peak.max(counted.now);
        }
        (counted.now, counted.peak)
    }
}

impl Source for People {
    fn read<'a>(&'a self, window: &'a Window, now: Timestamp) -> Reading<'a> {
        Box::pin(async move {
            let (users, users_peak) = self.count(now).await;
            Figures { users, users_peak, ..window.figures(now) }
        })
    }
}
