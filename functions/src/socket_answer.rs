//! What happens around every handler of a WebSocket event: request id, errors, panics, log line, metrics.

use crate::State;
use crate::answer::{Answered, REQUEST_TIME, is_presentable, new_request_id};
use crate::function::socket_route;
use crate::socket_error::SocketError;
use crate::socket_event::{Incoming, SocketAnswer, SocketRequest, read};
use futures_util::FutureExt as _;
use serde_json::Value;
use state::{StateError, deadline};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use tokio::time::Instant;

/// The path of the runner's WebSocket API; in a log line it tells an event from a request.
pub const SOCKET_PATH: &str = "/ws";

/// What a handler of a WebSocket event gives back: the data of the `ack` that answers a message.
pub type SocketReply = Result<Value, SocketError>;
/// A handler of a WebSocket event. A plain function pointer, as an [`Entry`](crate::Entry) is.
pub type SocketEntry = fn(State, SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>>;

/// Runs a handler for an event, whatever the event holds, and makes the outcome what API Gateway takes. Never fails: a panic
/// is an error like any other, and a handler that takes too long is given up.
pub async fn answer_socket(entry: SocketEntry, state: &State, event: &str) -> SocketAnswer {
    let started = Instant::now();
    let Incoming { kind, route, request_id, message_id, outcome } = read(event);
    let request_id = request_id.filter(|id| is_presentable(id)).unwrap_or_else(new_request_id);
    let reply = match outcome {
        Ok(request) => {
            let work = AssertUnwindSafe(async { entry(state.clone(), request).await }).catch_unwind();
            match deadline::until(started + REQUEST_TIME, work).await {
                Some(reply) => reply.unwrap_or(Err(SocketError::Panic)),
                None => Err(StateError::Unavailable("the event's time is over".into()).into()),
            }
        }
        Err(error) => Err(error),
    };
    let reply = reply.map_err(|error| error.refusal(&request_id));
    let refusal = reply.as_ref().err();
    let answered = Answered {
        started,
        request_id: &request_id,
        method: kind.as_str(),
        path: SOCKET_PATH,
        route: &socket_route(&route),
        status: refusal.map_or(200, |refusal| refusal.status),
        code: refusal.map(|refusal| refusal.code),
        user_id: None,
        // Nothing on a connection proves yet who is at its other end.
        caller: None,
    };
    answered.report(state);
    SocketAnswer::new(kind, message_id.as_deref(), &reply)
}
