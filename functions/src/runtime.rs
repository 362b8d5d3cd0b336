//! The only file that knows the Lambda runtime.

use crate::event::{self, Incoming, Outgoing};
use crate::log::LambdaLog;
use crate::{Consumer, Context, Error, Handler, Job, Live, SocketHandler, answer, answer_socket, diagnostics, refuse};
use aws::{deadline, throttled};
use config::Config;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::service_fn;
use serde_json::Value;
use serde_json::value::RawValue;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::dynamodb::{StreamEvent, connect_from_env};
use telemetry::metrics::Source;
use telemetry::process;
use tokio::time::Instant;

/// Runs one endpoint on Lambda until Lambda ends the execution environment.
///
/// # Errors
/// A setting that cannot be used, or a runtime API that cannot be reached: Lambda reports the start as failed.
// Not generic and never inlined, so that each binary holds little more than a call of this function.
#[inline(never)]
pub fn serve(handler: Handler) -> Result<(), Error> {
    start(async |context| listen(handler, context).await)
}

/// Runs one endpoint on Lambda. Its figures come from `source`, and not from the counts of its own process.
///
/// # Errors
/// As [`serve`], and the errors of `source`.
pub fn serve_with<S, E>(handler: Handler, source: impl FnOnce(&str) -> Result<S, E>) -> Result<(), Error>
where
    S: Source + 'static,
    E: Into<lambda_http::Error>,
{
    start(async |context| {
        let figures = Arc::new(source(&context.config.stage).map_err(Into::into)?);
        listen(handler, Context { figures: Some(figures), ..context }).await
    })
}

/// Runs one endpoint on Lambda that sends messages over WebSocket connections.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_live(handler: Handler) -> Result<(), Error> {
    start(async |context| listen(handler, with_connections(context)?).await)
}

/// Runs one consumer on Lambda that sends messages over WebSocket connections.
///
/// # Errors
/// As [`consume`].
#[inline(never)]
pub fn consume_live(consumer: Consumer) -> Result<(), Error> {
    start(async |context| follow(consumer, with_connections(context)?).await)
}

/// A context that reaches the connections of the WebSocket API, if `SOCKET_URL` names one.
fn with_connections(context: Context) -> Result<Context, lambda_http::Error> {
    let gateway = context.config.rooms.socket_url.as_deref().map(push::Gateway::from_env).transpose()?;
    Ok(Context { live: gateway.map(Live::new), ..context })
}

async fn listen(handler: Handler, context: Context) -> Result<(), lambda_http::Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let context = &context;
        let work = async move { Ok::<_, Infallible>(respond(handler, context, event.payload.get()).await) };
        invocation(&event.context, work)
    }))
    .await
}

/// Answers an event, whatever it holds.
async fn respond(handler: Handler, context: &Context, event: &str) -> Outgoing {
    let Incoming { route, request, outcome } = event::read(event);
    let response = match outcome {
        Ok(()) => answer(&route, handler, context, request).await,
        Err(error) => refuse(&route, context, &request, error),
    };
    response.into()
}

/// Runs the handler of a WebSocket event on Lambda until Lambda ends the execution environment.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_socket(handler: SocketHandler) -> Result<(), Error> {
    start(async |context| converse(handler, context).await)
}

/// Runs the handler of a WebSocket event on Lambda that sends messages over other connections.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_socket_live(handler: SocketHandler) -> Result<(), Error> {
    start(async |context| converse(handler, with_connections(context)?).await)
}

async fn converse(handler: SocketHandler, context: Context) -> Result<(), lambda_http::Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let context = &context;
        let work = async move { Ok::<_, Infallible>(answer_socket(handler, context, event.payload.get()).await) };
        invocation(&event.context, work)
    }))
    .await
}

/// Runs a job on Lambda until Lambda ends the execution environment.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_schedule(job: Job) -> Result<(), Error> {
    start(async |context| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
            invocation(&event.context, job(context.clone(), event.payload))
        }))
        .await
    })
}

/// Runs one consumer on Lambda until Lambda ends the execution environment.
///
/// # Errors
/// A setting that cannot be used, or a runtime API that cannot be reached: Lambda reports the start as failed.
#[inline(never)]
pub fn consume(consumer: Consumer) -> Result<(), Error> {
    start(async |context| follow(consumer, context).await)
}

async fn follow(consumer: Consumer, context: Context) -> Result<(), lambda_http::Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<StreamEvent>| {
        let work = consumer(context.clone(), Arc::new(event.payload));
        let work = async move { Ok::<_, Infallible>(work.await) };
        invocation(&event.context, work)
    }))
    .await
}

/// Part of an invocation's time that is reserved for sending the answer.
const RESERVE: Duration = Duration::from_millis(500);
/// Longer than any function may run.
const LONGEST: Duration = Duration::from_hours(1);

/// Runs the work of one invocation under its deadline, and counts the calls of the tables that were throttled in it.
fn invocation<F: Future>(context: &lambda_runtime::Context, work: F) -> impl Future<Output = F::Output> + use<F> {
    throttled::counted(deadline::under(deadline_of(context), work))
}

/// The time at which the work of an invocation must end, shortly before Lambda ends it. A deadline that has passed
/// before the invocation begins does not count: a substitute for Lambda on a developer's machine may send a constant.
fn deadline_of(context: &lambda_runtime::Context) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).checked_sub(now).unwrap_or(LONGEST);
    Instant::now() + left.saturating_sub(RESERVE).min(LONGEST)
}

/// Reads the settings, connects to the database, and passes both to `run`.
fn start(run: impl AsyncFnOnce(Context) -> Result<(), lambda_http::Error>) -> Result<(), Error> {
    process::started();
    let config = Config::from_env()?;
    diagnostics(config.log_level, std::io::stdout);
    // One request at a time: more threads would only cost init time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect_from_env().await?;
        let log = Arc::new(LambdaLog::new(&config));
        run(Context::new(client, config, log)).await?;
        Ok(())
    })
}
