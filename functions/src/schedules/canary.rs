//! `rate(1 minute)`: does the deployment still do its work? Asks for its health, then writes, reads and deletes a state.
//! And counts who is in a room, because nobody else looks at all rooms.

use crate::log::publish;
use crate::{Request, State, entries};
use domain::{Claim, MuteClaim, MuteScope, Timestamp, UserId, Version};
use serde::Serialize;
use serde_json::Value;
use state::dynamodb::Guard;
use state::metrics::Metric;
use state::{Chain, StateError};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// The one user it may touch: its permissions name no other.
pub const USER: &str = "greenroom-canary";
/// For all four steps. Half of a function's own limit, so that a failure is still reported.
const TIMEOUT: Duration = Duration::from_secs(5);
/// For the count of users, which is not a step: a canary that cannot count has not failed.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);
/// A read may lag behind the write before it. One that still does after a second is a failure.
const READS_MAX: u32 = 10;
const BETWEEN_READS: Duration = Duration::from_millis(100);

/// One run, as a line of the log and as the answer to whoever invoked it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    timestamp: Timestamp,
    /// `health`, `write`, `read` or `delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Milliseconds.
    duration: u64,
}

/// Runs once and writes what came of it. A failure is a result and no error: Lambda would repeat the run.
#[must_use]
pub fn run(state: State, _: Value) -> Pin<Box<dyn Future<Output = crate::Outcome> + Send>> {
    Box::pin(async move {
        let began = Instant::now();
        let mut step = "health";
        let run = tokio::time::timeout(TIMEOUT, round_trip(&state, &mut step)).await;
        let failure = match run {
            Ok(Ok(())) => None,
            Ok(Err(cause)) => Some(cause),
            Err(_) => Some(format!("not done after {} s", TIMEOUT.as_secs())),
        };
        let mut measured = vec![(Metric::CanaryFailed, if failure.is_some() { 1.0 } else { 0.0 })];
        let outcome = Outcome {
            timestamp: (state.clock)(),
            failed_step: failure.is_some().then_some(step),
            cause: failure,
            duration: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if let Some(users) = users(&state).await {
            measured.push((Metric::ConcurrentUsers, users.into()));
        }
        Ok(publish(&state, outcome.timestamp, &outcome, &measured))
    })
}

/// People in rooms, at most one more than count as full: that there are too many is what is to be known, and what a look
/// costs has an end.
async fn users(state: &State) -> Option<u32> {
    let count = state.users.count_in_rooms(state.config.concurrent_user_limit + 1);
    match tokio::time::timeout(COUNT_TIMEOUT, count).await {
        Ok(Ok(users)) => Some(users),
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "users not counted");
            None
        }
        Err(_) => {
            tracing::warn!("users not counted in time");
            None
        }
    }
}

async fn round_trip(state: &State, step: &mut &'static str) -> Result<(), String> {
    let health = entries::get_health(state.clone(), Request::default()).await;
    let status = health.unwrap_or_else(|error| error.response("")).status().as_u16();
    if status != 200 {
        return Err(format!("answers {status}"));
    }
    let user: UserId = USER.parse().map_err(|_| "its own id is not one".to_owned())?;
    *step = "write";
    let claim = Claim {
        mute: MuteClaim { is_muted: true, mute_scope: MuteScope::App },
        device_id: None,
        device_label: None,
        // In no room: nobody's page shows it, and it costs one write unit instead of two.
        room_id: None,
    };
    let written =
        state.users.set_state(&user, claim, Guard::default(), (state.clock)()).await.map_err(|error| text(&error))?;
    *step = "read";
    read(state, &user, written.user.version).await?;
    *step = "delete";
    state.users.delete(&user, None).await.map_err(|error| text(&error))
}

/// Reads until what was written is seen.
async fn read(state: &State, user: &UserId, version: Version) -> Result<(), String> {
    for _ in 0..READS_MAX {
        match state.users.get(user, (state.clock)()).await {
            Ok(read) if read.version >= version => return Ok(()),
            Ok(_) | Err(StateError::UserNotFound) => tokio::time::sleep(BETWEEN_READS).await,
            Err(error) => return Err(text(&error)),
        }
    }
    Err("the state that was written did not appear".to_owned())
}

fn text(error: &StateError) -> String {
    Chain(error).to_string()
}
