//! `PATCH /api/rooms/{room}/questions/{questionId}`: a presenter pins, closes or opens a question, or its author removes
//! it.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json, ok, path, room};
use crate::limit::within;
use crate::live::{Frame, about_question};
use crate::{ApiError, Context, Reply, Request};
use domain::question::{Question, question_example};
use domain::{Limit, QuestionId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::dynamodb::QuestionChange;

pub(crate) const FUNCTION: Function = route!(PATCH "/api/rooms/{room}/questions/{questionId}")
    .callers(Callers::Member)
    .limited(&[Limit::Other])
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash present settings title"),
        allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["ROOM#*"]),
    ])
    .costs(4, 5.0, 4.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/questions/q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "removed": true}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "A presenter may change `isPinned` and `isAnswered`; a question that is open again loses its answer. Its author and \
         presenters may remove it (`removed: true`).",
    )
    .takes::<UpdateQuestion>()
    .gives::<Updated>(200, "The question as it is now.")
    .refuses(&[(404, "QuestionNotFound"), (409, "TooManyQuestions"), (410, "RoomEnded")]);

/// A change of a question.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateQuestion {
    /// Who makes the change. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    /// Whether it is kept at the top.
    #[serde(default)]
    is_pinned: Option<bool>,
    /// Whether it is answered, in writing or otherwise.
    #[serde(default)]
    is_answered: Option<bool>,
    /// True removes it. It must be the only change.
    #[serde(default)]
    removed: Option<bool>,
}

/// A changed question.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UpdatedQuestion", extend("examples" = [
    {"questionId": "q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH", "removed": false, "question": question_example()},
]))]
struct Updated {
    question_id: QuestionId,
    /// Whether the question was removed.
    removed: bool,
    /// The question; left out if it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Question")]
    question: Option<Question>,
}

/// # Errors
/// 400 malformed room, question or body; 401 no caller; 403 a change that the caller may not make; 404 no such room,
/// participant or question; 409 too many questions would be open; 410 the room has ended; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let question_id: QuestionId = path(&request, "questionId")?;
    let caller = Caller::of(&context, &request)?;
    let UpdateQuestion { participant_id, is_pinned, is_answered, removed } = json(&request)?;
    let moderates = is_pinned.is_some() || is_answered.is_some();
    if removed == Some(false) || (removed.is_some() && moderates) {
        return Err(ApiError::invalid("removed", "must be true and the only change, or left out"));
    }
    let (caller, participant) = caller.acts_as(&room_id, participant_id)?;
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);
    let member = context.rooms.member(&room_id, &participant, &cause).await?;
    let member = if moderates { member.presenter()? } else { member.admitted()? };

    if removed.is_some() {
        context.rooms.remove_question(&member, &question_id).await?;
        let data = json!({"questionId": question_id});
        context.tell(&Frame::new("question-removed", &room_id, cause.at, data)).await;
        return ok(&Updated { question_id, removed: true, question: None });
    }
    let change = QuestionChange { is_pinned, is_answered, answer: None };
    context.rooms.change_question(&room_id, &question_id, &change, cause.at).await?;
    let question = context.rooms.question(&room_id, &participant, &question_id).await?;
    context.tell(&about_question("question-updated", &room_id, cause.at, &question)).await;

    ok(&Updated { question_id, removed: false, question: Some(question) })
}
