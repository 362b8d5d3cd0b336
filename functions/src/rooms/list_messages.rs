//! `GET /api/rooms/{room}/messages`: lists the messages of a room, a page at a time, back from the newest.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{LIMIT_MAX, cause, messages_query, ok, room};
use crate::{Context, Reply, Request};
use domain::MessageId;
use domain::message::{Message, message_example};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/messages")
    .callers(Callers::Member)
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:Query"], &[STATE]).keys(&["ROOM#*"]),
    ])
    .costs(2, 3.5, 0.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/messages")
    // Only a token proves who reads, and the example has none.
    .answers(401, 401)
    .describes(
        "A page holds the newest messages before `before`, the oldest of them first. `nextBefore` leads to the page \
         before it: no message is on two pages or on none, also if others write in between. A message of this moment may \
         be missing for a moment.",
    )
    .parameters(&["MessageLimit", "Before"])
    .gives::<MessageList>(200, "One page of the messages.")
    .refuses(&[(410, "RoomEnded")]);

/// One page of a room's messages.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"messages": [message_example()], "hasMore": false, "nextBefore": null}]))]
struct MessageList {
    /// The oldest first.
    #[schemars(length(max = LIMIT_MAX))]
    messages: Vec<Message>,
    /// Whether there are older ones.
    has_more: bool,
    /// The `before` of the page with older ones: the id of the oldest message of this page; null if there are none.
    next_before: Option<MessageId>,
}

/// # Errors
/// 400 malformed room or query; 401 no token; 403 a token of another room, or somebody in the lobby; 404 no such room;
/// 410 it has ended.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let (caller, participant) = Caller::of(&context, &request)?.acts_as(&room_id, None)?;
    let query = messages_query(&request)?;
    let cause = cause(&context, &request, &caller);
    context.rooms.polls(&room_id, &participant, &cause).await?;

    let page = context.rooms.messages(&room_id, query.limit(), query.before()).await?;

    let oldest = page.messages.first().filter(|_| page.has_more);
    let next_before = oldest.map(|message| message.id.clone());
    ok(&MessageList { messages: page.messages, has_more: page.has_more, next_before })
}
