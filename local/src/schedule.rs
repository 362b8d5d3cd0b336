//! Scheduled jobs of the runner, at the same times as on AWS: a snapshot daily at 03:00 UTC, a drill on Sundays at
//! 04:00 UTC.

use crate::log::Log;
use crate::objects::{BUCKET, Directory};
use domain::Timestamp;
use functions::Context;
use functions::schedules::restore_drill;
use functions::schedules::snapshot_tables::{Task, perform};
use serde_json::json;
use snapshot::objects::Objects;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Time of the snapshot within the day, in UTC.
const SLOT_MS: u64 = 3 * 60 * 60 * 1000;
const WEEK_MS: u64 = 7 * DAY_MS;
/// Time of the drill within the week. The weeks are counted from 1970-01-01, a Thursday.
const DRILL_MS: u64 = 3 * DAY_MS + 4 * 60 * 60 * 1000;
/// Interval between two checks of the clock. It is short, because the clock may be set and the machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Interval between checks of the newest snapshot's age; the same as the hourly rule in template.yaml.
const ASK_EVERY: Duration = Duration::from_hours(1);
/// How long a drill waits for a command that uses the snapshots.
const DRILL_PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failed run.
const RETRY_AFTER: Duration = Duration::from_mins(10);

/// The last time at or before `now` at which a snapshot was due.
#[must_use]
pub fn slot(now: Timestamp) -> Timestamp {
    // Before the first slot in 1970, that first slot is returned.
    let days = now.ms().saturating_sub(SLOT_MS) / DAY_MS;
    Timestamp::from_ms(days * DAY_MS + SLOT_MS)
}

/// The last time at or before `now` at which a drill was due.
#[must_use]
pub fn drill_slot(now: Timestamp) -> Timestamp {
    let weeks = now.ms().saturating_sub(DRILL_MS) / WEEK_MS;
    Timestamp::from_ms(weeks * WEEK_MS + DRILL_MS)
}

/// Takes a snapshot each night, and runs a restore drill each week.
#[derive(Clone)]
pub struct Nightly {
    /// The tables and the clock.
    pub context: Context,
    /// The directory of the snapshots.
    pub directory: PathBuf,
    /// The settings of the snapshots.
    pub settings: config::Snapshots,
    /// Each run is logged here.
    pub log: Log,
}

impl Nightly {
    /// Starts the jobs on a thread of their own, because compression and hashing would delay requests. They end when
    /// `stop` is set, even in the middle of a snapshot.
    #[must_use]
    pub fn start(self, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(self.until(stop));
                    runtime.shutdown_background();
                }
                Err(error) => tracing::error!(%error, "no snapshots will be taken"),
            }
        })
    }

    async fn until(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {}
            () = self.run() => {}
        }
    }

    async fn run(&self) {
        let mut done = slot((self.context.clock)());
        if self.directory.exists() {
            // If the machine was off at 03:00, the last snapshot is made up for.
            done = Timestamp::from_ms(done.ms() - DAY_MS);
        }
        let (mut drilled, mut asked) = (drill_slot((self.context.clock)()), None::<Instant>);
        loop {
            let (due, drill_due) = (slot((self.context.clock)()), drill_slot((self.context.clock)()));
            if drill_due > drilled && due <= done {
                drilled = drill_due;
                self.drill().await;
            } else if due > done {
                if self.run_task(Task::Snapshot(Some(due))).await {
                    done = due;
                } else {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            } else {
                // A command may have taken a snapshot in the meantime.
                if self.directory.exists() && asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
                    self.run_task(Task::Age).await;
                    asked = Some(Instant::now());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Runs one drill. A failed drill is logged and not repeated, because it would fail again.
    async fn drill(&self) {
        let directory = match Directory::open(&self.directory, DRILL_PATIENCE) {
            Ok(directory) => directory,
            Err(error) => return tracing::error!(%error, "failed to start the restore drill"),
        };
        let run = restore_drill::perform(&self.context, &Objects::new(directory.client(), BUCKET), true).await;
        if let Err(cause) = run.outcome() {
            tracing::error!(cause, "the restore drill failed");
        }
        self.log.event("restore_drill", json!(run));
    }

    /// Runs a task. Returns whether it succeeded.
    async fn run_task(&self, task: Task) -> bool {
        let directory = match Directory::open(&self.directory, Duration::ZERO) {
            Ok(directory) => directory,
            Err(error) => {
                tracing::error!(%error, ?task, "snapshot task failed");
                return false;
            }
        };
        let objects = Objects::new(directory.client(), BUCKET);
        // This process holds the lock of the directory, so the holder of an existing lease has died.
        let (run, outcome) = perform(&self.context, &objects, &self.settings, task, true).await;
        if let Some(cause) = outcome.as_ref().err() {
            tracing::error!(cause = %telemetry::Chain(cause), ?task, "snapshot task failed");
        } else if task != Task::Age {
            self.log.event("snapshot", json!(run));
        }
        outcome.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_at_three_in_the_morning() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (now, due) in [
            ("2026-11-21T03:00:00.000Z", "2026-11-21T03:00:00.000Z"),
            ("2026-11-21T02:59:59.999Z", "2026-11-20T03:00:00.000Z"),
            ("2026-11-21T23:59:59.999Z", "2026-11-21T03:00:00.000Z"),
            ("2027-01-01T00:00:00.000Z", "2026-12-31T03:00:00.000Z"),
            ("2028-03-01T02:00:00.000Z", "2028-02-29T03:00:00.000Z"),
        ] {
            assert_eq!(slot(at(now)), at(due), "{now}");
        }
    }

    #[test]
    fn a_drill_is_due_on_sunday_at_four() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (now, due) in [
            ("2026-11-22T04:00:00.000Z", "2026-11-22T04:00:00.000Z"),
            ("2026-11-22T03:59:59.999Z", "2026-11-15T04:00:00.000Z"),
            ("2026-11-21T23:00:00.000Z", "2026-11-15T04:00:00.000Z"),
        ] {
            assert_eq!(drill_slot(at(now)), at(due), "{now}");
        }
    }
}
