//! `cron(0 3 * * ? *)`: takes a snapshot of both tables and verifies it. For the event `{"task":"age"}`, which comes
//! every hour, it reports the age of the newest snapshot and the time since the last restore drill instead.

use crate::function::{BUCKET, Function, LEDGER, SNAPSHOTS, STATE, Trigger, allow, job};
use crate::log::publish;
use crate::{Context, Outcome};
use domain::Timestamp;
use serde::Serialize;
use serde_json::Value;
use snapshot::SnapshotError;
use snapshot::format::Manifest;
use snapshot::keep::{self, Removed};
use snapshot::mark::Mark;
use snapshot::objects::{Objects, connect_from_env};
use snapshot::tables::Tables;
use snapshot::take::{Performed, Settings, Snapshots};
use std::pin::Pin;
use std::time::{Duration, Instant};
use telemetry::Chain;
use telemetry::metrics::Metric;

pub(crate) const FUNCTION: Function = job(&[
    Trigger::Schedule {
        when: "cron(0 3 * * ? *)",
        name: "snapshot-tables",
        input: None,
        only_if: Some("TakesSnapshots"),
    },
    Trigger::Schedule {
        when: "rate(1 hour)",
        name: "snapshot-age",
        input: Some(r#"{"task":"age"}"#),
        only_if: Some("TakesSnapshots"),
    },
])
.may(&[
    allow(&["dynamodb:DescribeTable", "dynamodb:Scan"], &[STATE]),
    allow(&["dynamodb:GetItem"], &[STATE])
        .keys(&["LEASE#restore"])
        .because("To see whether a restore is unfinished: half-restored tables must not become a snapshot."),
    allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["LEASE#snapshot", "LEASE#taken", "LEASE#drilled"])
        .because("Its lease, its mark and the mark of the last drill, and nothing else."),
    allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["LEASE#snapshot"]),
    allow(&["dynamodb:DescribeTable", "dynamodb:Scan"], &[LEDGER]),
    allow(&["dynamodb:GetItem", "dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:*"]),
    allow(&["s3:ListBucket", "s3:ListBucketMultipartUploads"], &[BUCKET]),
    allow(&["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"], &[SNAPSHOTS])
        .because("DeleteObject hides a version and DeleteObjectVersion would remove it: only the first is granted."),
])
.whole_tables()
.properties(
    r#"# The memory holds a page of each segment, a part that is being uploaded and a part that is being filled.
MemorySize: 512
Timeout: 900
Environment:
  Variables:
    SNAPSHOT_BUCKET: !Ref SnapshotBucket
    SNAPSHOT_RETENTION_DAYS: !Ref SnapshotRetentionDays
    SNAPSHOT_COMPRESSION: !Ref SnapshotCompression
    SNAPSHOT_STORAGE_CLASS: !Ref SnapshotStorageClass
    SNAPSHOT_SEGMENTS: "4"
    # A snapshot uses a third of them and leaves the rest to requests.
    SNAPSHOT_READ_UNITS: !Ref MaxReadUnits"#,
);

/// Time for a whole run: half a minute less than Lambda's limit, so that a failure is still reported.
const TIMEOUT: Duration = Duration::from_secs(870);

/// The task of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A snapshot, unless there is one that was begun at or after this moment: an event that is delivered again names
    /// the same moment.
    Snapshot(Option<Timestamp>),
    /// The age of the newest snapshot.
    Age,
}

impl Task {
    /// The task of an event. An event of `EventBridge` contains the time at which it was due; an operator who invokes
    /// the function by hand wants a snapshot now.
    #[must_use]
    pub fn of(event: &Value) -> Self {
        if event["task"] == "age" {
            Self::Age
        } else {
            Self::Snapshot(event["time"].as_str().and_then(|time| time.parse().ok()))
        }
    }
}

/// The outcome of one run, as a line of the log and as the answer to the invocation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    timestamp: Timestamp,
    /// `snapshot` or `age`.
    task: &'static str,
    /// None if the run decided nothing, because another run was active.
    #[serde(skip)]
    failed: Option<bool>,
    /// Hours since the newest good snapshot was begun; none if there is no such snapshot.
    #[serde(skip)]
    age: Option<f64>,
    /// Hours since the last successful drill; none if the task did not ask for it.
    #[serde(skip)]
    drill_age: Option<f64>,
    /// There was already a snapshot for this moment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already_done: bool,
    /// The manifest of the snapshot that was taken, read back and found identical.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Manifest>,
    /// The removed snapshots, which were older than the retention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
    /// Number of removed objects and uploads of interrupted runs.
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

/// Runs once and logs the outcome.
#[must_use]
pub fn run(context: Context, event: Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let settings = config::Snapshots::from_env()?;
        let objects = Objects::new(connect_from_env()?, &settings.bucket);
        let objects = objects.with_storage_class(settings.storage_class.as_str().into());
        let (run, outcome) = perform(&context, &objects, &settings, Task::of(&event), false).await;
        let answer = publish(&context, run.timestamp, &run, &run.measured());
        outcome?;
        Ok(answer)
    })
}

/// Performs one task with these objects. Returns the outcome for the log, and the error if the task failed. `alone`: no
/// other run can be active.
///
/// # Errors
/// The cause for which there is no snapshot or no age.
pub async fn perform(
    context: &Context,
    objects: &Objects,
    settings: &config::Snapshots,
    task: Task,
    alone: bool,
) -> (Run, Result<(), SnapshotError>) {
    let began = Instant::now();
    let mut run = Run {
        timestamp: (context.clock)(),
        task: if task == Task::Age { "age" } else { "snapshot" },
        failed: None,
        age: None,
        drill_age: None,
        already_done: false,
        verified: None,
        removed: Vec::new(),
        removed_leftovers: 0,
        cause: None,
        duration: 0,
    };
    let outcome = match task {
        Task::Snapshot(slot) => snapshot(context, objects, settings, (slot, alone), &mut run).await,
        Task::Age => Ok(()),
    };
    let aged = match &outcome {
        Ok(()) => age(context, objects).await,
        Err(_) => Ok(None),
    };
    run.age = aged.as_ref().ok().copied().flatten().map(hours);
    let drilled = match task {
        Task::Age => Mark::Drilled.last(&live(context), (context.clock)()).await.map(Some),
        Task::Snapshot(_) => Ok(None),
    };
    let since = |at: Timestamp| hours(Duration::from_millis((context.clock)().ms().saturating_sub(at.ms())));
    run.drill_age = drilled.as_ref().ok().copied().flatten().map(since);
    let outcome = outcome.and(aged.map(drop)).and(drilled.map(drop));
    run.cause = outcome.as_ref().err().map(|error| Chain(error).to_string());
    run.duration = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    for (metric, value) in run.measured() {
        context.window.note(metric, value, run.timestamp);
    }
    (run, outcome)
}

/// The age of the newest complete snapshot. The start of this snapshot is stored for functions that may not read the
/// bucket.
async fn age(context: &Context, objects: &Objects) -> Result<Option<Duration>, SnapshotError> {
    let now = (context.clock)();
    let age = keep::age(objects, now).await?;
    if let Some(age) = age {
        let begun = Timestamp::from_ms(now.ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
        Mark::Taken.note(&live(context), begun).await?;
    }
    Ok(age)
}

/// The tables in use.
pub(crate) fn live(context: &Context) -> Tables {
    Tables {
        client: context.database.clone(),
        state: context.config.state_table.clone(),
        ledger: context.config.ledger_table.clone(),
    }
}

async fn snapshot(
    context: &Context,
    objects: &Objects,
    settings: &config::Snapshots,
    (slot, alone): (Option<Timestamp>, bool),
    run: &mut Run,
) -> Result<(), SnapshotError> {
    let tables = live(context);
    let settings = Settings::new(&context.config.stage, settings);
    let snapshots = Snapshots { tables: &tables, objects, settings: &settings, clock: context.clock, alone };
    let performed = match tokio::time::timeout(TIMEOUT, snapshots.perform(slot)).await {
        Ok(performed) => performed,
        Err(_) => Err(SnapshotError::Unreachable(format!("the run did not end within {} s", TIMEOUT.as_secs()).into())),
    };
    // A run that finds another run active has neither failed nor succeeded.
    run.failed = match &performed {
        Ok(_) => Some(false),
        Err(SnapshotError::Leased { .. }) => None,
        Err(_) => Some(true),
    };
    let Performed { taken, removed: Removed { snapshots, leftovers }, .. } = performed?;
    run.already_done = taken.is_none();
    run.verified = taken;
    run.removed = snapshots.into_iter().map(String::from).collect();
    run.removed_leftovers = leftovers;
    Ok(())
}

/// Hours with two decimals: a precision of half a minute is enough for an alarm at 26 hours.
fn hours(age: Duration) -> f64 {
    (age.as_secs_f64() / 36.0).round() / 100.0
}

impl Run {
    fn measured(&self) -> Vec<(Metric, f64)> {
        let failed = self.failed.map(|failed| (Metric::SnapshotFailed, f64::from(u8::from(failed))));
        let age = self.age.map(|age| (Metric::BackupAgeHours, age));
        let drill_age = self.drill_age.map(|age| (Metric::RestoreDrillAgeHours, age));
        failed.into_iter().chain(age).chain(drill_age).collect()
    }

    /// The manifest of the verified snapshot; none if the snapshot existed already, was not asked for or could not be
    /// taken.
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
    fn an_event_gives_the_task_and_the_time_at_which_it_was_due() {
        let due = Timestamp::from_ms(1_795_230_000_000);
        let scheduled = json!({"source": "aws.events", "time": "2026-11-21T03:00:00Z", "detail": {}});
        assert_eq!(Task::of(&scheduled), Task::Snapshot(Some(due)));
        for by_hand in [json!({}), json!(null), json!({"task": "snapshot"}), json!({"time": "soon"})] {
            assert_eq!(Task::of(&by_hand), Task::Snapshot(None), "{by_hand}");
        }
        assert_eq!(Task::of(&json!({"task": "age"})), Task::Age);
    }
}
