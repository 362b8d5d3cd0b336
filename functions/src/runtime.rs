//! The only file that knows the Lambda runtime.

use crate::event::{self, Incoming, Outgoing};
use crate::log::LambdaLog;
use crate::{Consumer, Entry, Error, Job, SocketEntry, State, answer, answer_socket, diagnostics, refuse};
use lambda_http::lambda_runtime::{self, Context, LambdaEvent};
use lambda_http::service_fn;
use serde_json::Value;
use serde_json::value::RawValue;
use state::dynamodb::{StreamEvent, connect_from_env};
use state::metrics::Source;
use state::{Config, deadline, process};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Runs one endpoint on Lambda until the environment is taken away.
///
/// # Errors
/// A setting that cannot be used, or a runtime API that cannot be reached: Lambda reports the start as failed.
// Not generic and never inlined, so that a binary of its own holds little more than a call of it.
#[inline(never)]
pub fn serve(entry: Entry) -> Result<(), Error> {
    start(async |state| listen(entry, state).await)
}

/// Runs one endpoint on Lambda, with figures that are read elsewhere than from the counts of its own process.
///
/// # Errors
/// As [`serve`], and what `source` fails with.
pub fn serve_with<S, E>(entry: Entry, source: impl FnOnce(&str) -> Result<S, E>) -> Result<(), Error>
where
    S: Source + 'static,
    E: Into<lambda_http::Error>,
{
    start(async |state| {
        let figures = Arc::new(source(&state.config.stage).map_err(Into::into)?);
        listen(entry, State { figures: Some(figures), ..state }).await
    })
}

async fn listen(entry: Entry, state: State) -> Result<(), lambda_http::Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let state = &state;
        let work = async move { Ok::<_, Infallible>(respond(entry, state, event.payload.get()).await) };
        deadline::under(deadline_of(&event.context), work)
    }))
    .await
}

/// Answers an event, whatever it holds.
async fn respond(entry: Entry, state: &State, event: &str) -> Outgoing {
    let Incoming { route, request, outcome } = event::read(event);
    let response = match outcome {
        Ok(()) => answer(&route, entry, state, request).await,
        Err(error) => refuse(&route, state, &request, error),
    };
    response.into()
}

/// Runs the handler of a WebSocket event on Lambda until the environment is taken away.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_socket(entry: SocketEntry) -> Result<(), Error> {
    start(async |state| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| {
            let state = &state;
            let work = async move { Ok::<_, Infallible>(answer_socket(entry, state, event.payload.get()).await) };
            deadline::under(deadline_of(&event.context), work)
        }))
        .await
    })
}

/// Runs what a schedule starts on Lambda until the environment is taken away.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_schedule(job: Job) -> Result<(), Error> {
    start(async |state| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
            deadline::under(deadline_of(&event.context), job(state.clone(), event.payload))
        }))
        .await
    })
}

/// Runs one consumer on Lambda until the environment is taken away.
///
/// # Errors
/// A setting that cannot be used, or a runtime API that cannot be reached: Lambda reports the start as failed.
#[inline(never)]
pub fn consume(consumer: Consumer) -> Result<(), Error> {
    start(async |state| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<StreamEvent>| {
            let work = consumer(state.clone(), event.payload);
            let work = async move { Ok::<_, Infallible>(work.await) };
            deadline::under(deadline_of(&event.context), work)
        }))
        .await
    })
}

/// What is kept back of an invocation's time for the answer and its way.
const RESERVE: Duration = Duration::from_millis(500);
/// Longer than any function may run.
const LONGEST: Duration = Duration::from_hours(1);

/// When the work of an invocation must be done: a moment before Lambda ends it. A deadline that is over when the invocation
/// begins is none: what stands in for Lambda on a developer's machine may send a constant.
fn deadline_of(context: &Context) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).checked_sub(now).unwrap_or(LONGEST);
    Instant::now() + left.saturating_sub(RESERVE).min(LONGEST)
}

/// Reads the settings, opens the connection, and hands both to what serves.
fn start(run: impl AsyncFnOnce(State) -> Result<(), lambda_http::Error>) -> Result<(), Error> {
    process::started();
    let config = Config::from_env()?;
    diagnostics(config.log_level, std::io::stdout);
    // One request at a time: more threads would only cost init time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect_from_env().await?;
        let log = Arc::new(LambdaLog::new(&config));
        run(State::new(client, config, log)).await?;
        Ok(())
    })
}
