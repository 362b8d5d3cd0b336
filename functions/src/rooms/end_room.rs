//! `DELETE /api/rooms/{room}`: a presenter ends a room for everybody.

use crate::auth::{Acting, Caller};
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json_if_any, ok, room};
use crate::{Context, Reply, Request};
use domain::room::SessionStats;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(DELETE "/api/rooms/{room}")
    .callers(Callers::Presenter)
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:Query"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash present settings title"),
        allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["ACTIVE#rooms"]),
    ])
    .costs(4, 3.5, 4.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "Ends the room at once for everybody. Its people, their names, messages and questions are removed within moments, \
         and the room itself is forgotten after an hour. A second presenter who ends it at the same time gets the same \
         statistics.",
    )
    .takes_if_any::<Acting>()
    .gives::<Ended>(200, "The room has ended.")
    .refuses(&[(410, "RoomEnded")]);

/// A room that has ended.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EndedRoom", extend("examples" = [{"success": true, "sessionStats": {
    "maxConcurrentParticipants": 12, "totalParticipants": 14, "totalMessages": 31, "totalQuestions": 4,
    "sessionDurationMinutes": 42, "createdAt": "2026-11-21T12:26:18.027Z",
}}]))]
struct Ended {
    /// Always true.
    success: bool,
    session_stats: SessionStats,
}

/// # Errors
/// 400 malformed room or body; 401 no token; 403 no presenter of this room; 404 no such room; 410 it has ended before.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: Acting = json_if_any(&request)?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    let cause = cause(&context, &request, &caller);
    context.rooms.member(&room_id, &participant, &cause).await?.presenter()?;

    let session_stats = context.rooms.end(&room_id, &cause).await?;
    context.tell_end(&room_id).await;

    ok(&Ended { success: true, session_stats })
}
