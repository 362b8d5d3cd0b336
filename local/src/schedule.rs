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
        let mut agenda = Agenda::new((self.context.clock)(), self.directory.exists());
        loop {
            match agenda.next((self.context.clock)(), Instant::now()) {
                Job::Snapshot(due) => {
                    let succeeded = self.run_task(Task::Snapshot(Some(due))).await;
                    agenda.ran_snapshot(due, succeeded, Instant::now());
                }
                Job::Drill(due) => {
                    agenda.drilled = due;
                    self.drill().await;
                }
                // Without a directory, no snapshot was ever taken.
                Job::Age if self.directory.exists() => {
                    agenda.asked = Some(Instant::now());
                    self.run_task(Task::Age).await;
                }
                Job::Age | Job::Wait => tokio::time::sleep(LOOK_EVERY).await,
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

/// The next job.
#[derive(Debug, PartialEq, Eq)]
enum Job {
    Snapshot(Timestamp),
    Drill(Timestamp),
    /// A check of the newest snapshot's age. A command may have taken a snapshot in the meantime.
    Age,
    Wait,
}

/// Which jobs have been done. A snapshot that fails delays no other job.
struct Agenda {
    /// The last slot whose snapshot was taken.
    taken: Timestamp,
    failed: Option<Instant>,
    /// The last slot whose drill was run.
    drilled: Timestamp,
    asked: Option<Instant>,
}

impl Agenda {
    /// The agenda at the start. If the machine was off at 03:00 and there are snapshots, the last one is made up for.
    fn new(now: Timestamp, has_snapshots: bool) -> Self {
        let last = slot(now);
        let taken = if has_snapshots { Timestamp::from_ms(last.ms().saturating_sub(DAY_MS)) } else { last };
        Self { taken, failed: None, drilled: drill_slot(now), asked: None }
    }

    fn next(&self, now: Timestamp, steady: Instant) -> Job {
        let over = |since: Option<Instant>, pause| since.is_none_or(|at| steady.saturating_duration_since(at) >= pause);
        let (due, drill_due) = (slot(now), drill_slot(now));
        // Not only a later slot: if the clock was ahead, the next slot is earlier than the last one.
        if due != self.taken && over(self.failed, RETRY_AFTER) {
            Job::Snapshot(due)
        } else if drill_due != self.drilled {
            Job::Drill(drill_due)
        } else if over(self.asked, ASK_EVERY) {
            Job::Age
        } else {
            Job::Wait
        }
    }

    fn ran_snapshot(&mut self, due: Timestamp, succeeded: bool, steady: Instant) {
        if succeeded {
            (self.taken, self.failed) = (due, None);
        } else {
            self.failed = Some(steady);
        }
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

    #[test]
    fn a_missed_snapshot_is_made_up_for_if_there_are_snapshots() {
        let (now, steady) = ("2026-11-22T05:00:00.000Z".parse().unwrap(), Instant::now());
        assert_eq!(Agenda::new(now, true).next(now, steady), Job::Snapshot(slot(now)));
        assert_eq!(Agenda::new(now, false).next(now, steady), Job::Age);
    }

    #[test]
    fn a_snapshot_that_fails_is_tried_again_and_delays_no_drill_and_no_check_of_the_age() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (saturday, sunday) = (at("2026-11-21T05:00:00.000Z"), at("2026-11-22T04:00:00.000Z"));
        let mut agenda = Agenda::new(saturday, true);
        let mut steady = Instant::now();
        agenda.taken = slot(saturday);
        assert_eq!(agenda.next(sunday, steady), Job::Snapshot(slot(sunday)));
        agenda.ran_snapshot(slot(sunday), false, steady);
        assert_eq!(agenda.next(sunday, steady), Job::Drill(sunday));
        agenda.drilled = sunday;
        assert_eq!(agenda.next(sunday, steady), Job::Age);
        agenda.asked = Some(steady);
        assert_eq!(agenda.next(sunday, steady), Job::Wait);
        steady += RETRY_AFTER;
        assert_eq!(agenda.next(sunday, steady), Job::Snapshot(slot(sunday)));
        agenda.ran_snapshot(slot(sunday), true, steady);
        assert_eq!(agenda.next(sunday, steady), Job::Wait);
        assert_eq!(agenda.next(sunday, steady + ASK_EVERY), Job::Age);
    }

    #[test]
    fn after_a_clock_that_was_ahead_the_jobs_go_on() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (ahead, now) = (at("2030-01-01T05:00:00.000Z"), at("2026-11-22T05:00:00.000Z"));
        let (mut agenda, steady) = (Agenda::new(ahead, true), Instant::now());
        agenda.ran_snapshot(slot(ahead), true, steady);
        assert_eq!(agenda.next(now, steady), Job::Snapshot(slot(now)));
        agenda.ran_snapshot(slot(now), true, steady);
        assert_eq!(agenda.next(now, steady), Job::Drill(drill_slot(now)));
        let _ = Agenda::new(Timestamp::from_ms(0), true);
    }
}
