//! `POST /api/rooms/{room}/messages`: a participant writes a message or a reaction.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json, room, with_status};
use crate::limit::within;
use crate::live::Frame;
use crate::{ApiError, Context, Once, Reply, Request};
use domain::message::{Message, PostedType, message_example};
use domain::{Limit, MessageId, MessageText, UserId};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::dynamodb::NewMessage;

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/messages")
    .callers(Callers::Member)
    .limited(&[Limit::Message])
    .once()
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:PutItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash present settings title"),
    ])
    .costs(2, 2.0, 1.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/messages")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "message": "Can everybody hear me?"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "Everybody in the room reads it until the room ends. A message may have several lines. A reaction is an emoji or \
         a few: at most 16 characters on one line.",
    )
    .takes::<PostMessage>()
    .gives::<Posted>(201, "The message.")
    .refuses(&[(410, "RoomEnded")]);

/// A message to write.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostMessage {
    /// The author. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    message: MessageText,
    /// Its kind.
    #[serde(default, rename = "type")]
    kind: PostedType,
}

/// A message that was written.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PostedMessage", extend("examples" = [{"message": message_example()}]))]
struct Posted {
    message: Message,
}

/// # Errors
/// 400 malformed room or body; 401 no caller; 403 another person's token, somebody in the lobby, or a room without
/// messages; 404 no such room or participant; 410 it has ended; 422 the
/// key was sent with another body; 429 too many messages.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: PostMessage = json(&request)?;
    body.kind.check(&body.message).map_err(|rule| ApiError::invalid("message", rule.to_string()))?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    let once = Once::of(&context, &request, caller.subject().as_deref()).await?;
    if let Some(earlier) = once.earlier(&context).await? {
        return Ok(earlier);
    }
    within(&context, &request, &caller, Limit::Message).await?;
    let cause = cause(&context, &request, &caller);
    let author = context.rooms.member(&room_id, &participant, &cause).await?.admitted()?;
    let id = MessageId::created(cause.at, store::random()?);

    let new = NewMessage { id, kind: body.kind.into(), text: body.message };
    let answer = |message: &Message| Posted { message: message.clone() };

    let record = |message: &Message| once.record(StatusCode::CREATED, &answer(message));
    match context.rooms.post(author, new, record, cause.at).await {
        Ok(message) => {
            let data = json!({"message": message});
            context.tell(&Frame::new("new-chat-message", &room_id, message.created_at, data)).await;
            with_status(StatusCode::CREATED, &answer(&message))
        }
        Err(error) => once.instead(&context, error).await,
    }
}
