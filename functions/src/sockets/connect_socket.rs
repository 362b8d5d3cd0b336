//! `$connect`: a client opens a WebSocket.

use crate::function::{Function, STATE, Trigger, allow, socket};
use crate::{Context, SocketReply, SocketRequest};
use config::CorsOrigins;
use domain::{Actor, BEARER_SUBPROTOCOL, SUBPROTOCOL};
use serde_json::Value;
use std::pin::Pin;
use store::dynamodb::{Cause, Member, TOKEN_INVALID};
use store::{Kind, Refusal};

pub(crate) const FUNCTION: Function = socket(&[Trigger::Message { route: "$connect", answers: false }], "")
    .live()
    .may(&[
        allow(&["dynamodb:PutItem"], &[STATE]).keys(&["CONN#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
    ])
    // The connection of a participant is in the index of their room too.
    .costs(2, 2.0, 2.0)
    // The other API serves the page, so that API's origin is also allowed to connect.
    .properties(
        "Environment:
  Variables:
    CORS_ORIGIN: !Sub \"${CorsOrigin},https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}\"",
    );

const FOREIGN_ORIGIN: Refusal = Refusal::new(
    Kind::Forbidden,
    "origin_forbidden",
    "pages of this origin may not connect; add it to CORS_ORIGIN to let them",
);
const NO_SUBPROTOCOL: Refusal =
    Refusal::new(Kind::Invalid, "subprotocol_required", "offer greenroom.v1 in Sec-WebSocket-Protocol");

/// Runs the handler.
#[must_use]
pub fn run(context: Context, request: SocketRequest) -> Pin<Box<dyn Future<Output = SocketReply> + Send>> {
    Box::pin(handle(context, request))
}

/// Stores the connection with its first lease. With a token it is that of a participant, and hears what happens in the
/// room. Without one it is anonymous, even in strict mode: it may only ping.
///
/// # Errors
/// 403 a page of a foreign origin, or somebody in the lobby; 401 a token that is not valid or has ended; 409 the seat was
/// given away; 410 the room has ended; 400 no known subprotocol.
async fn handle(context: Context, request: SocketRequest) -> SocketReply {
    let host = request.header("host").next();
    if !request.header("origin").all(|origin| may_connect(&context.config.cors_origins, origin, host)) {
        return Err(FOREIGN_ORIGIN.into());
    }
    let offered: Vec<_> =
        request.header("sec-websocket-protocol").flat_map(|line| line.split(',')).map(str::trim).collect();
    let now = (context.clock)();
    let mut sent = offered.iter().filter_map(|protocol| protocol.strip_prefix(BEARER_SUBPROTOCOL));
    let token = match (sent.next(), sent.next()) {
        (None, _) => None,
        (Some(text), None) => Some(context.config.rooms.token_keys.verify(text, now).ok_or(TOKEN_INVALID)?),
        (Some(_), Some(_)) => return Err(TOKEN_INVALID.into()),
    };
    if !offered.contains(&SUBPROTOCOL) {
        return Err(NO_SUBPROTOCOL.into());
    }
    context.connections.open(&request.connection, request.epoch, token.as_ref(), now).await?;
    if let Some(token) = &token {
        let by = Actor::Person(token.participant.clone());
        let cause = Cause { at: now, request_id: None, by, epoch: Some(token.epoch) };
        // The member is read after the connection was stored, so that a later removal finds the connection.
        let member = context.rooms.member(&token.room, &token.participant, &cause).await;
        if let Err(refusal) = member.and_then(Member::admitted) {
            context.connections.close(&request.connection, request.epoch).await?;
            return Err(refusal.into());
        }
        context.replace_connections(&token.room, &token.participant).await;
    }
    Ok(Value::Null)
}

/// Whether a page of this origin may connect. CORS does not protect a WebSocket, so this check does. Browsers always
/// name the origin. A program that names none cannot misuse the browser of a visitor.
fn may_connect(listed: &CorsOrigins, origin: &str, host: Option<&str>) -> bool {
    match listed {
        CorsOrigins::Any => true,
        CorsOrigins::Listed(listed) => {
            let own = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
            own || listed.iter().any(|known| known == origin)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_connects_from_its_own_and_from_listed_origins() {
        let listed = CorsOrigins::Listed(vec!["https://page.example".to_owned()]);
        for (origin, may) in [
            ("https://page.example", true),
            ("http://127.0.0.1:3001", true),
            ("https://page.example:444", false),
            ("https://page.example.evil.example", false),
            ("http://127.0.0.1", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(may_connect(&listed, origin, Some("127.0.0.1:3001")), may, "{origin:?}");
            assert!(may_connect(&CorsOrigins::Any, origin, None));
        }
        assert!(!may_connect(&listed, "null", None));
    }
}
