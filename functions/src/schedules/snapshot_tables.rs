//! `cron(0 3 * * ? *)`: takes a snapshot of both tables and verifies it. Asked by `{"task":"age"}`, says every hour how old
//! the last one is.

use crate::log::{Aws, Metric, namespace, write};
use crate::{Outcome, State};
use domain::Timestamp;
use serde::Serialize;
use serde_json::Value;
use snapshot::SnapshotError;
use snapshot::format::{Compression, Manifest};
use snapshot::keep::{self, Removed};
use snapshot::objects::{Objects, connect_from_env};
use snapshot::tables::Tables;
use snapshot::take::{Performed, Settings, Snapshots};
use state::{Chain, config};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// For a whole run. Half a minute before Lambda ends it, so that a failure is still reported.
const TIMEOUT: Duration = Duration::from_secs(870);
/// What a run is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A snapshot, unless there is one that was begun at or after this moment: an event that is delivered again is for
    /// the same moment.
    Snapshot(Option<Timestamp>),
    /// How old the last snapshot is.
    Age,
}

impl Task {
    /// What an event asks for. An event of `EventBridge` says when it was due; whoever asks by hand wants a snapshot now.
    #[must_use]
    pub fn of(event: &Value) -> Self {
        if event["task"] == "age" {
            Self::Age
        } else {
            Self::Snapshot(event["time"].as_str().and_then(|time| time.parse().ok()))
        }
    }
}

/// One run, as a line of the log and as the answer to whoever invoked it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    timestamp: Timestamp,
    /// `snapshot` or `age`.
    task: &'static str,
    /// 0 or 1, for CloudWatch to add up. Absent if the run decided nothing: another one is at work.
    #[serde(rename = "snapshot_failed", skip_serializing_if = "Option::is_none")]
    failed: Option<u8>,
    /// Hours since the last good snapshot was begun; absent if there is none.
    #[serde(rename = "backup_age_hours", skip_serializing_if = "Option::is_none")]
    age: Option<f64>,
    /// There was a snapshot for this moment already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already_done: bool,
    /// What was read back and found to be what was written: its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Manifest>,
    /// Snapshots past the retention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
    /// Objects and uploads of interrupted runs.
    #[serde(skip_serializing_if = "is_zero")]
    removed_leftovers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Milliseconds.
    duration: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    run: &'a Run,
    #[serde(rename = "_aws", skip_serializing_if = "Option::is_none")]
    aws: Option<Aws<'a>>,
}

/// Runs once, and writes what came of it.
#[must_use]
pub fn run(state: State, event: Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let settings = config::Snapshots::from_env()?;
        let objects = Objects::new(connect_from_env()?, &settings.bucket);
        let objects = objects.with_storage_class(settings.storage_class.as_str().into());
        let (run, outcome) = perform(&state, &objects, &settings, Task::of(&event), false).await;
        let mut metrics = Vec::new();
        if run.failed.is_some() {
            metrics.push(Metric { name: "snapshot_failed", unit: "Count" });
        }
        if run.age.is_some() {
            metrics.push(Metric { name: "backup_age_hours", unit: "None" });
        }
        let namespace = namespace(&state.config.stage);
        let aws = (!metrics.is_empty()).then(|| Aws::new(&namespace, run.timestamp, metrics));
        write(&Line { run: &run, aws });
        outcome?;
        Ok(serde_json::to_value(&run)?)
    })
}

/// Does one task with these objects: what came of it, for the log, and whether it failed. `alone` says that no other run
/// can be at work.
///
/// # Errors
/// Why there is no snapshot, or no age.
pub async fn perform(
    state: &State,
    objects: &Objects,
    settings: &config::Snapshots,
    task: Task,
    alone: bool,
) -> (Run, Result<(), SnapshotError>) {
    let began = Instant::now();
    let mut run = Run {
        timestamp: (state.clock)(),
        task: if task == Task::Age { "age" } else { "snapshot" },
        failed: None,
        age: None,
        already_done: false,
        verified: None,
        removed: Vec::new(),
        removed_leftovers: 0,
        cause: None,
        duration: 0,
    };
    let outcome = match task {
        Task::Snapshot(slot) => snapshot(state, objects, settings, (slot, alone), &mut run).await,
        Task::Age => Ok(()),
    };
    let aged = match &outcome {
        Ok(()) => keep::age(objects, (state.clock)()).await,
        Err(_) => Ok(None),
    };
    run.age = aged.as_ref().ok().copied().flatten().map(hours);
    let outcome = outcome.and(aged.map(drop));
    run.cause = outcome.as_ref().err().map(|error| Chain(error).to_string());
    run.duration = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    (run, outcome)
}

async fn snapshot(
    state: &State,
    objects: &Objects,
    settings: &config::Snapshots,
    (slot, alone): (Option<Timestamp>, bool),
    run: &mut Run,
) -> Result<(), SnapshotError> {
    let tables = Tables {
        client: state.database.clone(),
        state: state.config.state_table.clone(),
        ledger: state.config.ledger_table.clone(),
    };
    let settings = Settings {
        stage: state.config.stage.clone(),
        compression: if settings.gzip { Compression::Gzip } else { Compression::None },
        retention: Duration::from_hours(24) * u32::from(settings.retention_days),
        segments: settings.segments,
    };
    let snapshots = Snapshots { tables: &tables, objects, settings: &settings, clock: state.clock, alone };
    let performed = match tokio::time::timeout(TIMEOUT, snapshots.perform(slot)).await {
        Ok(performed) => performed,
        Err(_) => Err(SnapshotError::Unreachable(format!("not done after {} s", TIMEOUT.as_secs()).into())),
    };
    // Whoever finds another one at work has not failed, and not succeeded either.
    run.failed = match &performed {
        Ok(_) => Some(0),
        Err(SnapshotError::Leased { .. }) => None,
        Err(_) => Some(1),
    };
    let Performed { taken, removed: Removed { snapshots, leftovers }, .. } = performed?;
    run.already_done = taken.is_none();
    run.verified = taken;
    run.removed = snapshots.into_iter().map(String::from).collect();
    run.removed_leftovers = leftovers;
    Ok(())
}

/// With two decimals: half a minute is enough of an alarm at 26 hours.
fn hours(age: Duration) -> f64 {
    (age.as_secs_f64() / 36.0).round() / 100.0
}

impl Run {
    /// What was verified; none if the snapshot was there already, or none was asked for or could be taken.
    #[must_use]
    pub fn verified(&self) -> Option<&Manifest> {
        self.verified.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_says_what_is_asked_for_and_when_it_was_due() {
        let due = Timestamp::from_ms(1_795_230_000_000);
        let scheduled = json!({"source": "aws.events", "time": "2026-11-21T03:00:00Z", "detail": {}});
        assert_eq!(Task::of(&scheduled), Task::Snapshot(Some(due)));
        for by_hand in [json!({}), json!(null), json!({"task": "snapshot"}), json!({"time": "soon"})] {
            assert_eq!(Task::of(&by_hand), Task::Snapshot(None), "{by_hand}");
        }
        assert_eq!(Task::of(&json!({"task": "age"})), Task::Age);
    }
}
