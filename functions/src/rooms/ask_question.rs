//! `POST /api/rooms/{room}/questions`: a participant asks a question.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json, room, with_status};
use crate::limit::within;
use crate::live::about_question;
use crate::{ApiError, Context, Once, Reply, Request};
use domain::question::{QUESTION_CHARS_MAX, check_question};
use domain::{Limit, MessageText, QuestionId, UserId};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/questions")
    .callers(Callers::Member)
    .limited(&[Limit::Other])
    .once()
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:PutItem", "dynamodb:UpdateItem"], &[STATE])
            .keys(&["ROOM#*"])
            .sparing("passwordHash present settings title"),
    ])
    .costs(2, 2.0, 4.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/questions")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "question": "Will there be a recording?"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "A room has at most 200 open questions, and at most 300 with the answered ones. Questions that were removed do \
         not count.",
    )
    .takes::<AskQuestion>()
    .gives::<Asked>(201, "The question was asked.")
    .refuses(&[(409, "TooManyQuestions"), (410, "RoomEnded")]);

/// A question to ask.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskQuestion {
    /// The author. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    #[schemars(length(max = QUESTION_CHARS_MAX))]
    question: MessageText,
}

/// A question that was asked.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AskedQuestion", extend("examples" = [{"questionId": "q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH"}]))]
struct Asked {
    question_id: QuestionId,
}

/// # Errors
/// 400 malformed room or body; 401 no caller; 403 another person's token, somebody in the lobby, or a room without
/// questions; 404 no such room or participant; 409 it has too many questions; 410 it has ended; 422 the key was sent with
/// another body; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: AskQuestion = json(&request)?;
    check_question(&body.question).map_err(|rule| ApiError::invalid("question", rule.to_string()))?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    let once = Once::of(&context, &request, caller.subject().as_deref()).await?;
    if let Some(earlier) = once.earlier(&context).await? {
        return Ok(earlier);
    }
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);
    let author = context.rooms.member(&room_id, &participant, &cause).await?.admitted()?;
    let asked = Asked { question_id: QuestionId::created(cause.at, store::random()?) };
    let record = once.record(StatusCode::CREATED, &asked)?;

    match context.rooms.ask(&author, asked.question_id.clone(), body.question, record, cause.at).await {
        Ok(question) => {
            context.tell(&about_question("new-question", &room_id, cause.at, &question)).await;
            with_status(StatusCode::CREATED, &asked)
        }
        Err(error) => once.instead(&context, error.into()).await,
    }
}
