//! `$default`: a client sends what no other route takes.

use crate::function::{Function, Trigger, socket};
use crate::socket_error::Refusal;
use crate::{SocketReply, SocketRequest, State};
use std::borrow::Cow;
use std::pin::Pin;

pub(crate) const FUNCTION: Function =
    socket(&[Trigger::Message { route: "$default", answers: true }], r#"{"event":"fly","id":"2"}"#);

/// The events that have a route.
pub const EVENTS: &[&str] = &["ping"];

const UNKNOWN_EVENT: Refusal = Refusal {
    status: 404,
    code: "unknown_event",
    detail: Cow::Borrowed("there is no such event; see events"),
    events: EVENTS,
};

/// The handler itself.
#[must_use]
pub fn run(state: State, request: SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>> {
    Box::pin(handle(state, request))
}

/// Answers with the events that there are.
///
/// # Errors
/// 404, always.
async fn handle(_state: State, _request: SocketRequest) -> SocketReply {
    Err(UNKNOWN_EVENT.into())
}
