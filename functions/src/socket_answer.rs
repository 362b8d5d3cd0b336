//! The work around every handler of a WebSocket event: request id, errors, panics, log line, metrics.

use crate::answer::{Answered, REQUEST_TIME, is_presentable, new_request_id};
use crate::function::socket_route;
use crate::socket_event::{Incoming, SocketAnswer, SocketRequest, read};
use crate::{ApiError, Context};
use aws::deadline;
use futures_util::FutureExt as _;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use store::StoreError;
use tokio::time::Instant;

/// The path of the runner's WebSocket API; in a log line it distinguishes an event from a request.
pub const SOCKET_PATH: &str = "/ws";

/// The result of a handler of a WebSocket event: the data of the `ack` that answers a message.
pub type SocketReply = Result<Value, ApiError>;
/// A handler of a WebSocket event. A plain function pointer, like [`Handler`](crate::Handler).
pub type SocketHandler = fn(Context, SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>>;

/// Reads an event, runs its handler, and writes the outcome in the form that API Gateway accepts. It never fails: a
/// panic is an error like any other, and a handler that takes too long is stopped.
pub async fn answer_socket(handler: SocketHandler, context: &Context, event: &str) -> SocketAnswer {
    let started = Instant::now();
    let Incoming { kind, route, request_id, message_id, outcome } = read(event);
    let request_id = request_id.filter(|id| is_presentable(id)).unwrap_or_else(new_request_id);
    let reply = match outcome {
        Ok(request) => {
            let work = AssertUnwindSafe(async { handler(context.clone(), request).await }).catch_unwind();
            match deadline::until(started + REQUEST_TIME, work).await {
                Some(reply) => reply.unwrap_or(Err(ApiError::panicked())),
                None => Err(StoreError::Unavailable("the time for the event is over".into()).into()),
            }
        }
        Err(error) => Err(error),
    };
    let error = reply.as_ref().err();
    let answered = Answered {
        started,
        request_id: &request_id,
        method: kind.as_str(),
        path: SOCKET_PATH,
        route: &socket_route(&route),
        status: error.map_or(200, |error| error.status().as_u16()),
        code: error.map(|error| error.refusal().code),
        user_id: None,
        // A connection does not prove yet who its client is.
        caller: None,
    };
    answered.report(context);
    SocketAnswer::new(kind, message_id.as_deref(), &request_id, &reply)
}
