//! `ping`: a client reports that it is still there.

use crate::function::{Function, LEDGER, STATE, Trigger, allow, socket};
use crate::{Context, SocketReply, SocketRequest};
use domain::PING_EVERY;
use serde::Deserialize;
use serde_json::json;
use std::pin::Pin;
use store::dynamodb::Renewed;
use store::{Kind, Refusal};

pub(crate) const FUNCTION: Function =
    socket(&[Trigger::Message { route: "ping", answers: true }], r#"{"event":"ping","id":"1"}"#)
        .may(&[
            allow(&["dynamodb:UpdateItem", "dynamodb:DeleteItem"], &[STATE]).keys(&["CONN#*"]),
            allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#p_*"]),
            allow(&["dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:*"]),
        ])
        // The last block of the history has up to 10 KB.
        .costs(3, 2.0, 2.0);

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

/// Renews the lease. Answers when the lease ends, how often to ping, and to a participant the number of the last change
/// in the room: whoever does not know it has missed a message.
///
/// # Errors
/// 400 the data are not empty; 410 the lease has lapsed, or the participant is not in the room any more.
async fn handle(context: Context, request: SocketRequest) -> SocketReply {
    let Ping {} = request.data()?;
    let renewed = context.connections.renew(&request.connection, request.epoch, (context.clock)()).await?;
    let Renewed { until, room } = renewed.ok_or(LAPSED)?;
    let ping_every_ms = u64::try_from(PING_EVERY.as_millis()).unwrap_or(u64::MAX);
    let mut data = json!({"leaseUntil": until, "pingEveryMs": ping_every_ms});
    if let Some(room) = room {
        data["seq"] = context.ledger.last_number(&room).await?.into();
    }
    Ok(data)
}
