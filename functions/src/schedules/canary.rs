//! `rate(1 minute)`: checks that the deployment works. Each run asks for the health and reads the history of its room.
//! Every ten minutes, and after a run that failed, it also writes, reads and deletes a state, and waits until that
//! history contains the change. It also counts the people in rooms, because no other function looks at all rooms.

use crate::function::{Function, LEDGER, ROOM_INDEX, STATE, Trigger, allow, job};
use crate::log::publish;
use crate::{Context, Request, handlers};
use domain::ledger::Entry;
use domain::user::{Claim, MuteClaim, MuteScope, Version};
use domain::{Actor, RoomId, Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;
use std::pin::Pin;
use std::time::{Duration, Instant};
use store::StoreError;
use store::dynamodb::{Cause, Guard, USER_NOT_FOUND, Written};
use telemetry::Chain;
use telemetry::metrics::Metric;

pub(crate) const FUNCTION: Function =
    job(&[Trigger::Schedule { when: "rate(1 minute)", name: "canary", input: None, only_if: None }])
        .may(&[
            allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#greenroom-canary", "HEALTH"]),
            allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["USER#greenroom-canary"]),
            allow(&["dynamodb:UpdateItem"], &[STATE])
                .keys(&["USER#greenroom-canary"])
                .sparing("agent* attested bound* challenge heard* pairing* role"),
            allow(&["dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:greenroom-canary"]),
            allow(&["dynamodb:Scan"], &[ROOM_INDEX])
                .counting()
                .because("It may count the people in rooms, but read none of their states."),
        ])
        .costs(20, 12.0, 4.0)
        .properties(
            "# A failed run has reported its failure, and the next run starts within a minute.
EventInvokeConfig: {MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60}",
        );

/// The only user that it may touch: its permissions name no other.
pub const USER: &str = "greenroom-canary";
/// Its room, whose history it reads. Clients can use neither of the two ids.
pub const ROOM: &str = "greenroom-canary";
/// Time between two changes of its state. A history is kept for ever, and each weekly drill writes all of it again: a
/// change each minute would cost more than ten people in meetings. The alarm on the history has the same order of time.
pub const CHANGE_EVERY: Duration = Duration::from_mins(10);
/// The entry with which a complete run ends.
const LAST_ACTION: &str = "left";
/// Time for all steps. A failure must still be reported within the function's own limit of 10 s.
const TIMEOUT: Duration = Duration::from_secs(7);
/// Time for the count of users, which is not a step: a canary that cannot count has not failed.
const COUNT_TIMEOUT: Duration = Duration::from_millis(1500);
/// A read may lag behind the write before it. A lag of more than a second is a failure.
const READS_MAX: u32 = 10;
const BETWEEN_READS: Duration = Duration::from_millis(100);
/// A change is in the history after about 100 ms, and after a second if its consumer has to start first. A delay of
/// more than four seconds is a failure.
const LOOKS_MAX: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Entries that are read at once. A run makes two.
const ENTRIES_MAX: u16 = 50;

/// The outcome of one run, as a line of the log and as the answer to the invocation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    timestamp: Timestamp,
    /// `health`, `write`, `read`, `delete` or `ledger`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Milliseconds.
    duration: u64,
}

/// Runs once and logs the outcome. A failed check is an outcome and not an error, because Lambda would repeat the run
/// after an error.
#[must_use]
pub fn run(context: Context, _: Value) -> Pin<Box<dyn Future<Output = crate::Outcome> + Send>> {
    Box::pin(async move {
        // The count comes first, while the canary's own room is empty.
        let users = users(&context).await;
        let began = Instant::now();
        let mut step = "health";
        let run = tokio::time::timeout(TIMEOUT, round_trip(&context, &mut step)).await;
        let failure = match run {
            Ok(Ok(())) => None,
            Ok(Err(cause)) => Some(cause),
            Err(_) => Some(format!("the run did not end within {} s", TIMEOUT.as_secs())),
        };
        let mut measured = vec![(Metric::CanaryFailed, if failure.is_some() { 1.0 } else { 0.0 })];
        let outcome = Outcome {
            timestamp: (context.clock)(),
            failed_step: failure.is_some().then_some(step),
            cause: failure,
            duration: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if let Some(users) = users {
            measured.push((Metric::ConcurrentUsers, users.into()));
        }
        Ok(publish(&context, outcome.timestamp, &outcome, &measured))
    })
}

/// The number of people in rooms, at most one more than the limit. More need not be counted to know that the limit is
/// exceeded, and this bounds the cost of the count.
async fn users(context: &Context) -> Option<u32> {
    let count = context.users.count_in_rooms(context.config.concurrent_user_limit + 1, (context.clock)());
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

async fn round_trip(context: &Context, step: &mut &'static str) -> Result<(), String> {
    let health = handlers::get_health(context.clone(), Request::default()).await;
    let status = health.unwrap_or_else(|error| error.response("")).status().as_u16();
    if status != 200 {
        return Err(format!("the health check answered {status}"));
    }
    let reserved = |_| "the canary's own ids are malformed".to_owned();
    let user: UserId = USER.parse().map_err(reserved)?;
    let room: RoomId = ROOM.parse().map_err(reserved)?;
    *step = "ledger";
    let last = last_entry(context).await.map_err(|error| text(&error))?;
    if last.as_ref().is_some_and(|last| is_complete_and_young(last, (context.clock)())) {
        return Ok(());
    }
    let before = last.map_or(0, |last| last.seq);
    *step = "write";
    let request_id = format!("canary-{:032x}", fastrand::u128(..));
    let mut written = write(context, &user, &room, &request_id).await?;
    if !written.created {
        // A previous run has left the state behind. Writing the same state again would be no change, and the history
        // would not contain it.
        context.users.delete(&user, None, (context.clock)()).await.map_err(|error| text(&error))?;
        written = write(context, &user, &room, &request_id).await?;
    }
    *step = "read";
    read(context, &user, written.user.version).await?;
    *step = "delete";
    context.users.delete(&user, None, (context.clock)()).await.map_err(|error| text(&error))?;
    *step = "ledger";
    find(context, &room, before, &request_id).await
}

/// The last entry in the history of the canary's room.
pub(crate) async fn last_entry(context: &Context) -> Result<Option<Entry>, StoreError> {
    let Ok(room) = ROOM.parse::<RoomId>() else { return Ok(None) };
    let head = context.ledger.read(&room, u64::MAX, 1).await?.head;
    let Some(before) = head.seq.checked_sub(1) else { return Ok(None) };
    Ok(context.ledger.read(&room, before, 1).await?.entries.pop())
}

/// Whether the run that made this last entry was complete, and the next one is not due. The history itself remembers it:
/// a run that cannot write, delete or find its change leaves another last entry, or an old one, and is repeated each
/// minute.
fn is_complete_and_young(last: &Entry, now: Timestamp) -> bool {
    let at: Option<Timestamp> = last.at.parse().ok();
    last.action == LAST_ACTION && at.is_some_and(|at| now < at.plus(CHANGE_EVERY))
}

async fn write(context: &Context, user: &UserId, room: &RoomId, request_id: &str) -> Result<Written, String> {
    let claim = Claim {
        mute: MuteClaim { is_muted: true, mute_scope: MuteScope::App },
        device_id: None,
        device_label: None,
        room_id: Some(room.clone()),
        name: None,
        lease: None,
    };
    let cause =
        Cause { at: (context.clock)(), request_id: Some(request_id.to_owned()), by: Actor::Service, epoch: None };
    context.users.set_state(user, claim, Guard::default(), &cause).await.map_err(|error| text(&error))
}

/// Reads the history after the entry `before` until it contains the change that this request made.
async fn find(context: &Context, room: &RoomId, before: u64, request_id: &str) -> Result<(), String> {
    for _ in 0..LOOKS_MAX {
        let part = context.ledger.read(room, before, ENTRIES_MAX).await.map_err(|error| text(&error))?;
        if part.entries.iter().any(|entry| entry.data.get("requestId").and_then(Value::as_str) == Some(request_id)) {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err("the change did not appear in the history".to_owned())
}

/// Reads the state until the written version appears.
async fn read(context: &Context, user: &UserId, version: Version) -> Result<(), String> {
    for _ in 0..READS_MAX {
        match context.users.get(user, (context.clock)()).await {
            Ok(read) if read.version >= version => return Ok(()),
            Err(error) if !error.is(USER_NOT_FOUND) => return Err(text(&error)),
            Ok(_) | Err(_) => tokio::time::sleep(BETWEEN_READS).await,
        }
    }
    Err("the written state did not appear".to_owned())
}

fn text(error: &StoreError) -> String {
    Chain(error).to_string()
}
