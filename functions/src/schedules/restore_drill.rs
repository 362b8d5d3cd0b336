//! `cron(0 4 ? * SUN *)`: restores the newest snapshot into scratch tables, compares every item, and removes the
//! tables.

use crate::function::{BUCKET, Function, LEDGER, SNAPSHOTS, STATE, Trigger, allow, job};
use crate::log::{progress, publish};
use crate::{Context, Outcome};
use domain::Timestamp;
use serde::Serialize;
use serde_json::Value;
use snapshot::SnapshotError;
use snapshot::drill::{Drill, Drilled, scratch};
use snapshot::mark::Mark;
use snapshot::objects::{Objects, connect_from_env};
use snapshot::tables::Tables;
use std::pin::Pin;
use std::time::{Duration, Instant};
use telemetry::Chain;
use telemetry::metrics::Metric;

pub(crate) const FUNCTION: Function = job(&[Trigger::Schedule {
    when: "cron(0 4 ? * SUN *)",
    name: "restore-drill",
    input: None,
    only_if: Some("TakesSnapshots"),
}])
.may(&[
    allow(
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:CreateTable",
            "dynamodb:DeleteTable",
            "dynamodb:DescribeTable",
            "dynamodb:Scan",
        ],
        &[
            "!Sub \"arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/greenroom-${Stage}-drill-state\"",
            "!Sub \"arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/greenroom-${Stage}-drill-ledger\"",
        ],
    ),
    allow(&["dynamodb:DescribeTable"], &[STATE, LEDGER]),
    allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["LEASE#drill", "LEASE#drilled"])
        .because("Its lease and its mark, and nothing else."),
    allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["LEASE#drill"]),
    allow(&["s3:ListBucket"], &[BUCKET]),
    allow(&["s3:GetObject"], &[SNAPSHOTS]),
])
.whole_tables()
.properties(
    "MemorySize: 512
Timeout: 900
# A failed run has reported its failure.
EventInvokeConfig: {MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 3600}
Environment:
  Variables:
    SNAPSHOT_BUCKET: !Ref SnapshotBucket",
);

/// Time for a whole run: half a minute less than Lambda's limit, so that a failure is still reported.
const TIMEOUT: Duration = Duration::from_secs(870);

/// The outcome of one run, as a line of the log and as the answer to the invocation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    timestamp: Timestamp,
    /// None if the run decided nothing, because another run was active.
    #[serde(skip)]
    failed: Option<bool>,
    /// The snapshot that was restored and compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    drilled: Option<Drilled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Milliseconds.
    duration: u64,
}

/// Runs once and logs the outcome. A failed drill is an outcome and not an error, because Lambda would repeat the run
/// after an error.
#[must_use]
pub fn run(context: Context, _: Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let settings = config::Snapshots::from_env()?;
        let objects = Objects::new(connect_from_env()?, &settings.bucket);
        let run = perform(&context, &objects, false).await;
        Ok(publish(&context, run.timestamp, &run, &run.measured()))
    })
}

/// Performs one drill with these objects. `alone`: no other run can be active.
pub async fn perform(context: &Context, objects: &Objects, alone: bool) -> Run {
    let began = Instant::now();
    let live = Tables {
        client: context.database.clone(),
        state: context.config.state_table.clone(),
        ledger: context.config.ledger_table.clone(),
    };
    let scratch = scratch(context.database.clone(), &context.config.stage);
    let drill = Drill { objects, live: &live, scratch: &scratch, clock: context.clock, alone };
    let outcome = match tokio::time::timeout(TIMEOUT, drill.run(&mut progress())).await {
        Ok(outcome) => outcome,
        // The next run removes the remains in the scratch tables.
        Err(_) => Err(SnapshotError::Unreachable(format!("the run did not end within {} s", TIMEOUT.as_secs()).into())),
    };
    // A success that cannot be stored counts as a failure, because the age of the last success would grow.
    let outcome = match outcome {
        Ok(drilled) => Mark::Drilled.note(&live, (context.clock)()).await.map(|()| drilled),
        failed => failed,
    };
    let run = Run {
        timestamp: (context.clock)(),
        failed: match &outcome {
            Ok(_) => Some(false),
            Err(SnapshotError::Leased { .. }) => None,
            Err(_) => Some(true),
        },
        cause: outcome.as_ref().err().map(|error| Chain(error).to_string()),
        drilled: outcome.ok(),
        duration: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    for (metric, value) in run.measured() {
        context.window.note(metric, value, run.timestamp);
    }
    run
}

impl Run {
    fn measured(&self) -> Vec<(Metric, f64)> {
        let failed = self.failed.map(|failed| (Metric::RestoreDrillFailed, f64::from(u8::from(failed))));
        failed.into_iter().collect()
    }

    /// The snapshot that was restored and compared, or the cause of the failure.
    ///
    /// # Errors
    /// The cause of the failure.
    pub fn outcome(&self) -> Result<&Drilled, &str> {
        self.drilled.as_ref().ok_or_else(|| self.cause.as_deref().unwrap_or_default())
    }
}
