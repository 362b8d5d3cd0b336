//! `$disconnect`: a client's WebSocket has closed. API Gateway may fail to send this event; then the lease lapses.

use crate::function::{Function, STATE, Trigger, allow, socket};
use crate::{Context, SocketReply, SocketRequest};
use serde_json::Value;
use std::pin::Pin;

pub(crate) const FUNCTION: Function = socket(&[Trigger::Message { route: "$disconnect", answers: false }], "")
    .may(&[allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["CONN#*"])])
    .costs(1, 0.0, 2.0);

/// Runs the handler.
#[must_use]
pub fn run(context: Context, request: SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>> {
    Box::pin(handle(context, request))
}

/// Deletes the connection, if the event is about this connection and not an older one with the same id. A late or
/// repeated event changes nothing.
async fn handle(context: Context, request: SocketRequest) -> SocketReply {
    context.connections.close(&request.connection, request.epoch).await?;
    Ok(Value::Null)
}
