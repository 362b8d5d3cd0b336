//! `$default`: refuses a message that no other route takes.

use crate::function::{Function, Trigger, socket};
use crate::{ApiError, Context, SocketReply, SocketRequest};
use std::pin::Pin;
use store::{Kind, Refusal};

pub(crate) const FUNCTION: Function =
    socket(&[Trigger::Message { route: "$default", answers: true }], r#"{"event":"fly","id":"2"}"#);

/// The events that have a route.
pub const EVENTS: &[&str] = &["ping"];

const UNKNOWN_EVENT: Refusal = Refusal::new(Kind::NotFound, "unknown_event", "there is no such event; see events");

/// Runs the handler.
#[must_use]
pub fn run(context: Context, request: SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>> {
    Box::pin(handle(context, request))
}

/// Answers with the list of known events.
///
/// # Errors
/// 404, always.
async fn handle(_context: Context, _request: SocketRequest) -> SocketReply {
    Err(ApiError::from(UNKNOWN_EVENT).with_events(EVENTS))
}
