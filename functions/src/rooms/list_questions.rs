//! `GET /api/rooms/{room}/questions`: lists the questions of a room.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, ok, room};
use crate::{Context, Reply, Request};
use domain::question::{QUESTIONS_MAX, Question, question_example};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/questions")
    .callers(Callers::Member)
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:Query"], &[STATE]).keys(&["ROOM#*"]),
    ])
    .costs(3, 3.0, 0.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/questions")
    // Only a token proves who reads, and the example has none.
    .answers(401, 401)
    .describes(
        "All questions that were not removed, answered ones included: pinned ones first, then those with more votes, then \
         the older ones. A change of this moment may be missing for a moment.",
    )
    .gives::<Questions>(200, "The questions.")
    .refuses(&[(410, "RoomEnded")]);

/// The questions of a room.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QuestionList", extend("examples" = [{"questions": [question_example()]}]))]
struct Questions {
    #[schemars(length(max = QUESTIONS_MAX))]
    questions: Vec<Question>,
}

/// # Errors
/// 400 malformed room; 401 no token; 403 a token of another room, or somebody in the lobby; 404 no such room; 410 it has
/// ended.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let (caller, participant) = Caller::of(&context, &request)?.acts_as(&room_id, None)?;
    let cause = cause(&context, &request, &caller);
    context.rooms.polls(&room_id, &participant, &cause).await?;

    let questions = context.rooms.questions(&room_id, &participant).await?;

    ok(&Questions { questions })
}
