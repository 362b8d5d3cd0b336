//! `POST /api/rooms/{room}/questions/{questionId}/answer`: a presenter answers a question in writing.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json, ok, path, room};
use crate::limit::within;
use crate::live::about_question;
use crate::{ApiError, Context, Reply, Request};
use domain::question::{ANSWER_CHARS_MAX, check_answer};
use domain::{Limit, MessageText, QuestionId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::dynamodb::QuestionChange;

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/questions/{questionId}/answer")
    .callers(Callers::Presenter)
    .limited(&[Limit::Other])
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash present settings title"),
    ])
    .costs(4, 5.0, 4.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/questions/q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH/answer")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "answer": "No."}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes("Another answer replaces the one before.")
    .takes::<AnswerQuestion>()
    .gives::<AnsweredQuestion>(200, "The question is answered.")
    .refuses(&[(404, "QuestionNotFound"), (410, "RoomEnded")]);

/// An answer.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnswerQuestion {
    /// The presenter. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    #[schemars(length(max = ANSWER_CHARS_MAX))]
    answer: MessageText,
}

/// A question that is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("examples" = [{"success": true}]))]
struct AnsweredQuestion {
    /// Always true.
    success: bool,
}

/// # Errors
/// 400 malformed room, question or body; 401 no caller; 403 no presenter; 404 no such room, participant or question; 410
/// the room has ended; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let question: QuestionId = path(&request, "questionId")?;
    let caller = Caller::of(&context, &request)?;
    let body: AnswerQuestion = json(&request)?;
    check_answer(&body.answer).map_err(|rule| ApiError::invalid("answer", rule.to_string()))?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);
    context.rooms.member(&room_id, &participant, &cause).await?.presenter()?;

    let change = QuestionChange { is_answered: Some(true), answer: Some(body.answer), ..QuestionChange::default() };
    context.rooms.change_question(&room_id, &question, &change, cause.at).await?;
    let question = context.rooms.question(&room_id, &participant, &question).await?;
    context.tell(&about_question("question-answered", &room_id, cause.at, &question)).await;

    ok(&AnsweredQuestion { success: true })
}
