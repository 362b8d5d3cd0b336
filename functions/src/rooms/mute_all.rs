//! `POST /api/rooms/{room}/mute-all`: a presenter asks everybody to mute.

use crate::auth::{Acting, Caller};
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{cause, json_if_any, room, with_status};
use crate::limit::within;
use crate::live::Frame;
use crate::{Context, Once, Reply, Request};
use domain::mute::{MuteNotice, MuteRequest};
use domain::room::Role;
use domain::user::User;
use domain::{Limit, MessageId, MuteRequestId};
use lambda_http::http::StatusCode;
use serde_json::json;
use store::dynamodb::NewMuteRequest;

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/mute-all")
    .callers(Callers::Presenter)
    .limited(&[Limit::Other])
    .once()
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
        allow(&["dynamodb:PutItem", "dynamodb:UpdateItem"], &[STATE])
            .keys(&["ROOM#*"])
            .sparing("passwordHash present settings title"),
    ])
    .costs(3, 4.0, 6.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/mute-all")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "Asks everybody who is present, but presenters. The request is in `room.muteRequest` for their pages, and a notice \
         is in the chat. It changes no claim and switches no microphone: each person's own client does that, or the person \
         refuses (`PATCH` of their participant with `refusedRequest`). The body may be left out with a token.",
    )
    .takes_if_any::<Acting>()
    .gives::<MuteRequest>(202, "The request, and how it stands.")
    .refuses(&[(410, "RoomEnded")]);

/// Somebody who has just joined may be missing among the targets, because the index of the room's people follows a write
/// within moments. Their page sees the request nevertheless.
///
/// # Errors
/// 400 malformed room or body; 401 no caller; 403 no presenter; 404 no such room or participant; 410 it has ended; 422 the
/// key was sent with another body; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: Acting = json_if_any(&request)?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    let once = Once::of(&context, &request, caller.subject().as_deref()).await?;
    if let Some(earlier) = once.earlier(&context).await? {
        return Ok(earlier);
    }
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);
    let presenter = context.rooms.member(&room_id, &participant, &cause).await?.presenter()?;
    let people = context.rooms.people(&room_id, cause.at).await?.present;
    let presents = |person: &User| person.participant.is_some_and(|own| own.role == Role::Presenter);
    let targets: Vec<_> =
        people.iter().filter(|person| !presents(person)).map(|person| person.user_id.clone()).collect();
    let new = NewMuteRequest {
        id: MuteRequestId::created(cause.at, store::random()?),
        notice: MessageId::created(cause.at, store::random()?),
        targets: targets.clone(),
    };
    let answer = MuteRequest::of(new.id.clone(), targets, &people);
    let record = once.record(StatusCode::ACCEPTED, &answer)?;

    match context.rooms.request_mute(&presenter, new, record, cause.at).await {
        Ok(notice) => {
            let asked = MuteNotice { request_id: answer.request_id.clone(), at: cause.at };
            let data = json!({"room": {"muteRequest": asked}});
            context.tell(&Frame::new("room-updated", &room_id, cause.at, data)).await;
            context.tell(&Frame::new("new-chat-message", &room_id, cause.at, json!({"message": notice}))).await;
            with_status(StatusCode::ACCEPTED, &answer)
        }
        Err(error) => once.instead(&context, error.into()).await,
    }
}
