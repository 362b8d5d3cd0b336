//! `cron(0 4 ? * SUN *)`: restores the newest snapshot into scratch tables, compares every item, and removes them again.

use crate::log::{Aws, Metric, namespace, progress, write};
use crate::{Outcome, State};
use domain::Timestamp;
use serde::Serialize;
use serde_json::Value;
use snapshot::SnapshotError;
use snapshot::drill::{Drill, Drilled, scratch};
use snapshot::objects::{Objects, connect_from_env};
use snapshot::tables::Tables;
use state::{Chain, config};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// For a whole run. Half a minute before Lambda ends it, so that a failure is still reported.
const TIMEOUT: Duration = Duration::from_secs(870);

/// One run, as a line of the log and as the answer to whoever invoked it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    timestamp: Timestamp,
    /// 0 or 1, for CloudWatch to add up. Absent if the run decided nothing: another one is at work.
    #[serde(rename = "restore_drill_failed", skip_serializing_if = "Option::is_none")]
    failed: Option<u8>,
    /// What was restored and compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    drilled: Option<Drilled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Milliseconds.
    duration: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    run: &'a Run,
    #[serde(rename = "_aws", skip_serializing_if = "Option::is_none")]
    aws: Option<Aws<'a>>,
}

/// Runs once and writes what came of it. A failure is a result and no error: Lambda would repeat the run.
#[must_use]
pub fn run(state: State, _: Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let settings = config::Snapshots::from_env()?;
        let objects = Objects::new(connect_from_env()?, &settings.bucket);
        let run = perform(&state, &objects, false).await;
        let namespace = namespace(&state.config.stage);
        let metrics = vec![Metric { name: "restore_drill_failed", unit: "Count" }];
        let aws = run.failed.is_some().then(|| Aws::new(&namespace, run.timestamp, metrics));
        write(&Line { run: &run, aws });
        Ok(serde_json::to_value(&run)?)
    })
}

/// One drill with these objects. `alone` if no other can be at work.
pub async fn perform(state: &State, objects: &Objects, alone: bool) -> Run {
    let began = Instant::now();
    let live = Tables {
        client: state.database.clone(),
        state: state.config.state_table.clone(),
        ledger: state.config.ledger_table.clone(),
    };
    let scratch = scratch(state.database.clone(), &state.config.stage);
    let drill = Drill { objects, live: &live, scratch: &scratch, clock: state.clock, alone };
    let outcome = match tokio::time::timeout(TIMEOUT, drill.run(&mut progress())).await {
        Ok(outcome) => outcome,
        // What is left in the scratch tables is removed by the next run.
        Err(_) => Err(SnapshotError::Unreachable(format!("not done after {} s", TIMEOUT.as_secs()).into())),
    };
    Run {
        timestamp: (state.clock)(),
        failed: match &outcome {
            Ok(_) => Some(0),
            Err(SnapshotError::Leased { .. }) => None,
            Err(_) => Some(1),
        },
        cause: outcome.as_ref().err().map(|error| Chain(error).to_string()),
        drilled: outcome.ok(),
        duration: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

impl Run {
    /// What was restored and compared, or why it was not.
    ///
    /// # Errors
    /// What went wrong.
    pub fn outcome(&self) -> Result<&Drilled, &str> {
        self.drilled.as_ref().ok_or_else(|| self.cause.as_deref().unwrap_or_default())
    }
}
