//! `$disconnect`: a client's WebSocket is closed. API Gateway tries to say so and may fail: then the lease lapses.

use crate::function::{Function, STATE, Trigger, allow, socket};
use crate::{Context, SocketReply, SocketRequest};
use serde_json::Value;
use std::pin::Pin;

pub(crate) const FUNCTION: Function = socket(&[Trigger::Message { route: "$disconnect", answers: false }], "")
    .may(&[allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["CONN#*"])])
    .costs(1, 0.0, 1.0);

/// The handler itself.
#[must_use]
pub fn run(context: Context, request: SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>> {
    Box::pin(handle(context, request))
}

/// Forgets the connection, if it is the one that the event is about. Late or repeated, it changes nothing.
async fn handle(context: Context, request: SocketRequest) -> SocketReply {
    context.connections.close(&request.connection, request.epoch).await?;
    Ok(Value::Null)
}
