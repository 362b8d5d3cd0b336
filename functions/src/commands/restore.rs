//! Invoked by hand with `{"snapshot":"latest"}` or the name of one: restores it into the stage's tables, which must be
//! empty.

use crate::log::progress;
use crate::{Outcome, State};
use serde_json::Value;
use snapshot::SnapshotError;
use snapshot::objects::{Objects, connect_from_env};
use snapshot::restore::{Restore, Restored, Wanted};
use snapshot::tables::Tables;
use state::config;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

/// When to stop and leave the rest to the next invocation: a minute before Lambda ends this one.
const STOP_AFTER: Duration = Duration::from_mins(14);

/// Restores, or goes on with it. `"done":false` says that time was over: invoke it again with the same event.
#[must_use]
pub fn run(state: State, event: Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let wanted = wanted(&event)?;
        let settings = config::Snapshots::from_env()?;
        let objects = Objects::new(connect_from_env()?, &settings.bucket);
        let restored = perform(&state, &objects, &wanted).await;
        match &restored {
            Ok(restored) => tracing::info!(
                snapshot = %restored.snapshot, lines = restored.lines, of = restored.of, done = restored.done, "restored"
            ),
            Err(error) => tracing::error!(error = %state::Chain(error), "not restored"),
        }
        Ok(serde_json::to_value(restored?)?)
    })
}

/// Which snapshot an event asks for. It must say so: nobody restores by a slip.
fn wanted(event: &Value) -> Result<Wanted, String> {
    const EVENT: &str = r#"the event must be {"snapshot":"latest"} or {"snapshot":"YYYY-MM-DD-HH-MM-SS"}"#;
    event["snapshot"].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| EVENT.to_owned())
}

/// Restores from these objects into the tables of the stage.
///
/// # Errors
/// As [`Restore::run`].
pub async fn perform(state: &State, objects: &Objects, wanted: &Wanted) -> Result<Restored, SnapshotError> {
    let tables = Tables {
        client: state.database.clone(),
        state: state.config.state_table.clone(),
        ledger: state.config.ledger_table.clone(),
    };
    let until = Some(Instant::now() + STOP_AFTER);
    let restore = Restore { objects, tables: &tables, clock: state.clock, alone: false, until };
    restore.run(wanted, &mut progress()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_says_which_snapshot() {
        assert_eq!(wanted(&json!({"snapshot": "latest"})), Ok(Wanted::Latest));
        let id = "2026-11-21-03-00-00";
        assert_eq!(wanted(&json!({"snapshot": id})), Ok(Wanted::This(id.parse().unwrap())));
        for none in [json!({}), json!(null), json!({"snapshot": ""}), json!({"snapshot": "newest"})] {
            assert!(wanted(&none).is_err(), "{none}");
        }
    }
}
