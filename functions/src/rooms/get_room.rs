//! `GET /api/rooms/{room}`: a room with its people, or without a token what a stranger may know of it.

use super::join_room::Warning;
use crate::auth::{Act, Caller};
use crate::examples::listed_user;
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{cause, ok, room};
use crate::{Context, Reply, Request};
use config::AuthMode;
use domain::room::{Role, Room, room_example};
use domain::user::User;
use domain::{RoomId, Slug, Title};
use lambda_http::http::header;
use schemars::JsonSchema;
use serde::Serialize;
use store::dynamodb::{Member, People, StoredRoom};

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}")
    .callers(Callers::Visitor)
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
    ])
    .costs(2, 3.0, 0.0)
    .describes(
        "With a token of the room: the room and its people in the order in which they joined; a presenter also sees who \
         waits in the lobby. Without a token: only what a person needs to join. In open mode, a room that nobody created \
         is described as `implicit`, with the people whose states name it. A change may be seen some moments late.",
    )
    .gives::<RoomView>(200, "The room, its people, and whether it has not ended.")
    .refuses(&[(403, "Forbidden"), (410, "RoomEnded")]);

/// A room, as far as the caller may see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RoomState", extend("examples" = [{
    "room": room_example(), "participants": [listed_user()], "isActive": true,
}]))]
struct RoomView {
    room: Shown,
    /// Who is present. Left out without a token of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<User>")]
    participants: Option<Vec<User>>,
    /// Who waits in the lobby. Only presenters of a room that has one see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<User>")]
    waiting: Option<Vec<User>>,
    /// Whether the room has not ended.
    is_active: bool,
    /// Left out, unless the room holds more people than a star of direct connections may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Warning")]
    warning: Option<Warning>,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Shown {
    /// For its people.
    Whole(Box<Room>),
    /// For a stranger.
    Teaser(Teaser),
    /// A room that nobody created.
    Implicit(Implicit),
}

/// What a stranger may know of a room.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RoomTeaser")]
struct Teaser {
    slug: Slug,
    title: Title,
    /// Whether people need a password to join.
    has_password: bool,
    /// Whether it has not ended.
    is_active: bool,
    /// Whether people wait until a presenter admits them.
    lobby: bool,
}

/// A room that nobody created.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ImplicitRoom")]
struct Implicit {
    room_id: RoomId,
    /// Always true.
    implicit: bool,
}

/// # Errors
/// 400 malformed room; 401 a token that is not valid or has ended; 403 a token of another room; 404 no such room; 410
/// with a token, it has ended.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let now = (context.clock)();
    // In strict mode no state can name a room that nobody created, so a stranger gets 404 for it.
    let is_implicit = !room_id.is_created() && context.config.auth_mode == AuthMode::Open;
    let caller = if request.headers().contains_key(header::AUTHORIZATION) || is_implicit {
        Caller::of(&context, &request)?.must(Act::ReadRoom(&room_id))?
    } else {
        let Room { slug, title, has_password, is_active, settings, .. } = context.rooms.get(&room_id, now).await?.room;
        let teaser = Teaser { slug, title, has_password, is_active, lobby: settings.lobby };
        return ok(&RoomView {
            room: Shown::Teaser(teaser),
            participants: None,
            waiting: None,
            is_active,
            warning: None,
        });
    };
    let Caller::Participant(token) = &caller else {
        let People { present, .. } = context.rooms.people(&room_id, now).await?;
        let is_active = !present.is_empty();
        let implicit = Shown::Implicit(Implicit { room_id, implicit: true });
        return ok(&RoomView { room: implicit, participants: Some(present), waiting: None, is_active, warning: None });
    };
    let member = context.rooms.polls(&room_id, &token.participant, &cause(&context, &request, &caller)).await?;
    let role = member.role();
    let Member { stored: StoredRoom { room, .. }, user, .. } = member;
    let People { present, waiting } = context.rooms.people(&room_id, now).await?.with(user, now);
    let waiting = Some(waiting).filter(|_| role == Role::Presenter && room.settings.lobby);
    let warning = Warning::of(&room);

    ok(&RoomView {
        is_active: room.is_active,
        room: Shown::Whole(Box::new(room)),
        participants: Some(present),
        waiting,
        warning,
    })
}
