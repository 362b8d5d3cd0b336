//! `ping`: a client reports that it is still there.

use crate::function::{Function, STATE, Trigger, allow, socket};
use crate::{Context, SocketReply, SocketRequest};
use domain::PING_EVERY;
use serde::Deserialize;
use serde_json::json;
use std::pin::Pin;
use store::{Kind, Refusal};

pub(crate) const FUNCTION: Function =
    socket(&[Trigger::Message { route: "ping", answers: true }], r#"{"event":"ping","id":"1"}"#)
        .may(&[allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["CONN#*"])])
        .costs(1, 0.0, 1.0);

const LAPSED: Refusal =
    Refusal::new(Kind::Gone, "connection_lapsed", "this connection has been silent for too long; open another one");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {}

/// Runs the handler.
#[must_use]
pub fn run(context: Context, request: SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>> {
    Box::pin(handle(context, request))
}

/// Renews the lease. Answers when the lease ends and how often to ping.
///
/// # Errors
/// 400 the data are not empty; 410 the lease has lapsed.
async fn handle(context: Context, request: SocketRequest) -> SocketReply {
    let Ping {} = request.data()?;
    let renewed = context.connections.renew(&request.connection, request.epoch, (context.clock)()).await?;
    let lease_until = renewed.ok_or(LAPSED)?;
    let ping_every_ms = u64::try_from(PING_EVERY.as_millis()).unwrap_or(u64::MAX);
    Ok(json!({"leaseUntil": lease_until, "pingEveryMs": ping_every_ms}))
}
