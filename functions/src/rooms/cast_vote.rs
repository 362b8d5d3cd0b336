//! `PUT /api/rooms/{room}/questions/{questionId}/vote`: a participant votes for a question.

use crate::auth::{Acting, Caller};
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json_if_any, ok, path, room};
use crate::limit::within;
use crate::live::about_question;
use crate::{Context, Reply, Request};
use domain::{Limit, QuestionId};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(PUT "/api/rooms/{room}/questions/{questionId}/vote")
    .callers(Callers::Member)
    .limited(&[Limit::Other])
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:PutItem", "dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"])
            .sparing("passwordHash present settings title"),
    ])
    .costs(3, 3.0, 4.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/questions/q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH/vote")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes("The vote is the person's, whatever they send: voting again changes nothing and answers the number. The body may be \
         left out with a token.")
    .takes_if_any::<Acting>()
    .gives::<Votes>(200, "The number of votes for the question.")
    .refuses(&[(404, "QuestionNotFound"), (410, "RoomEnded")]);

/// The votes for a question.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("examples" = [{"votes": 3}]))]
pub(super) struct Votes {
    /// How many people have voted for it.
    pub(super) votes: u32,
}

/// # Errors
/// 400 malformed room, question or body; 401 no caller; 403 another person's token, or somebody in the lobby; 404 no such
/// room, participant or question; 410 the room has ended; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let question: QuestionId = path(&request, "questionId")?;
    let caller = Caller::of(&context, &request)?;
    let body: Acting = json_if_any(&request)?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);
    let voter = context.rooms.member(&room_id, &participant, &cause).await?.admitted()?;

    let question = context.rooms.vote(&voter, &question, cause.at).await?;
    context.tell(&about_question("question-updated", &room_id, cause.at, &question)).await;

    ok(&Votes { votes: question.votes })
}
