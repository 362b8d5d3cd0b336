//! Invoked by hand with `{"snapshot":"latest"}` or the name of a snapshot: restores that snapshot into the stage's
//! tables, which must be empty. It revokes every agent, unless the event also contains `"keepAgents":true`.

use crate::function::{BUCKET, Function, LEDGER, SNAPSHOTS, STATE, allow, job};
use crate::log::progress;
use crate::{Context, Outcome};
use serde_json::Value;
use snapshot::SnapshotError;
use snapshot::objects::{Objects, connect_from_env};
use snapshot::restore::{Restore, Restored, Wanted};
use snapshot::tables::Tables;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const FUNCTION: Function = job(&[])
    .may(&[
        allow(&["dynamodb:DescribeTable", "dynamodb:Scan"], &[STATE, LEDGER]),
        allow(&["dynamodb:BatchWriteItem"], &[STATE]).keys(&["USER#*", "AGENT#*", "WITNESS#*"]),
        allow(&["dynamodb:BatchWriteItem"], &[LEDGER]).keys(&["CHAIN#room:*"]),
        allow(&["dynamodb:DeleteItem", "dynamodb:UpdateItem"], &[STATE])
            .keys(&["LEASE#restore"])
            .because("Its lease, and nothing else."),
        allow(&["s3:ListBucket"], &[BUCKET]),
        allow(&["s3:GetObject"], &[SNAPSHOTS]),
    ])
    .whole_tables()
    .event(r#"{"snapshot": "latest"}"#)
    .properties(
        "MemorySize: 512
Timeout: 900
# Not limited by ReservedConcurrency, so restore works while all other functions are stopped. It reserves nothing:
# an account that must keep all its concurrency unreserved could not be stopped otherwise.
ReservedConcurrentExecutions: !Ref AWS::NoValue
# The operator who started an interrupted run continues it.
EventInvokeConfig: {MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60}
Environment:
  Variables:
    SNAPSHOT_BUCKET: !Ref SnapshotBucket",
    );

/// Time after which a run stops and leaves the rest to the next invocation: a minute less than Lambda's limit.
const STOP_AFTER: Duration = Duration::from_mins(14);

/// Starts or continues a restore. `"done":false` in the answer means that the time was over: invoke it again with the
/// same event.
#[must_use]
pub fn run(context: Context, event: Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let asked = asked(&event)?;
        let settings = config::Snapshots::from_env()?;
        let objects = Objects::new(connect_from_env()?, &settings.bucket);
        let restored = perform(&context, &objects, &asked).await;
        match &restored {
            Ok(restored) => tracing::info!(
                snapshot = %restored.snapshot, lines = restored.lines, of = restored.of, done = restored.done, "restored"
            ),
            Err(error) => tracing::error!(error = %telemetry::Chain(error), "not restored"),
        }
        Ok(serde_json::to_value(restored?)?)
    })
}

/// The content of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The snapshot to restore. An event must name it, so that nobody restores by mistake.
    pub snapshot: Wanted,
    /// Whether agents stay valid; otherwise they are revoked.
    pub keep_agents: bool,
}

fn asked(event: &Value) -> Result<Asked, String> {
    const EVENT: &str = r#"the event must be {"snapshot":"latest"} or {"snapshot":"YYYY-MM-DD-HH-MM-SS"}, and may have "keepAgents":true"#;
    let snapshot = event["snapshot"].as_str().and_then(|text| text.parse().ok());
    let known = |name: &String| ["snapshot", "keepAgents"].contains(&name.as_str());
    let only_known = event.as_object().is_some_and(|members| members.keys().all(known));
    match (snapshot, event.get("keepAgents").map_or(Some(false), Value::as_bool)) {
        (Some(snapshot), Some(keep_agents)) if only_known => Ok(Asked { snapshot, keep_agents }),
        _ => Err(EVENT.to_owned()),
    }
}

/// Restores a snapshot from these objects into the tables of the stage.
///
/// # Errors
/// As [`Restore::run`].
pub async fn perform(context: &Context, objects: &Objects, asked: &Asked) -> Result<Restored, SnapshotError> {
    let tables = Tables {
        client: context.database.clone(),
        state: context.config.state_table.clone(),
        ledger: context.config.ledger_table.clone(),
    };
    let until = Some(Instant::now() + STOP_AFTER);
    let keep_agents = asked.keep_agents;
    let restore = Restore { objects, tables: &tables, clock: context.clock, keep_agents, alone: false, until };
    restore.run(&asked.snapshot, &mut progress()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_names_the_snapshot_and_may_keep_the_agents() {
        let revoking = |snapshot| Ok(Asked { snapshot, keep_agents: false });
        assert_eq!(asked(&json!({"snapshot": "latest"})), revoking(Wanted::Latest));
        let id = "2026-11-21-03-00-00";
        assert_eq!(asked(&json!({"snapshot": id})), revoking(Wanted::This(id.parse().unwrap())));
        assert_eq!(asked(&json!({"snapshot": id, "keepAgents": false})), revoking(Wanted::This(id.parse().unwrap())));
        let keeping = Ok(Asked { snapshot: Wanted::Latest, keep_agents: true });
        assert_eq!(asked(&json!({"snapshot": "latest", "keepAgents": true})), keeping);
        for none in [json!({}), json!(null), json!({"snapshot": ""}), json!({"snapshot": "newest"})] {
            assert!(asked(&none).is_err(), "{none}");
        }
        for slip in [json!({"snapshot": id, "keepAgents": "true"}), json!({"snapshot": id, "keep_agents": true})] {
            assert!(asked(&slip).is_err(), "{slip}");
        }
    }
}
