//! Beside consumer.rs the only file that knows the Lambda runtime.

use crate::log::LambdaLog;
use crate::{Entry, Error, Job, Request, Response, State, answer, diagnostics};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::RequestContext;
use lambda_http::{IntoResponse, RequestExt as _, service_fn};
use serde_json::Value;
use state::dynamodb::connect_from_env;
use state::metrics::Source;
use state::{Config, process};
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

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
    lambda_http::run(service_fn(|request: Request| {
        let state = &state;
        async move { Ok::<_, Infallible>(Complete(answer(&route(&request), entry, state, request).await)) }
    }))
    .await
}

/// Runs what a schedule starts on Lambda until the environment is taken away.
///
/// # Errors
/// As [`serve`].
#[inline(never)]
pub fn serve_schedule(job: Job) -> Result<(), Error> {
    start(async |state| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| job(state.clone(), event.payload))).await
    })
}

/// Reads the settings, opens the connection, and hands both to what serves.
pub(crate) fn start(run: impl AsyncFnOnce(State) -> Result<(), lambda_http::Error>) -> Result<(), Error> {
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

/// A response to be sent as it is. `lambda_http` would parse the media type of a bare one again, and link every character
/// encoding of the web to transcode its text.
struct Complete(Response);

impl IntoResponse for Complete {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(ready(self.0))
    }
}

/// The route that API Gateway matched, such as `PATCH /api/users/{userId}/mute`.
fn route(request: &Request) -> String {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.clone().unwrap_or_default(),
        _ => String::new(),
    }
}
