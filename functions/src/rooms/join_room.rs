//! `POST /api/rooms/{room}/join`: a person joins a room, or its lobby.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, SIGNING, STATE, allow, route};
use crate::http::{caused, json, momentary, room, with_status};
use crate::limit::{guess, within};
use crate::links::socket_url;
use crate::password::{self, PASSWORD_REQUIRED};
use crate::{Context, Once, Reply, Request};
use domain::room::{Password, Role, Room, room_example};
use domain::{Actor, Limit, Name, RoomToken, UserId};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::dynamodb::{Cause, NewParticipant};

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/join")
    .callers(Callers::Anybody)
    .limited(&[Limit::Join, Limit::WrongPassword])
    .once()
    .may(&[
        FINDS_ROOM,
        SIGNING,
        allow(&["dynamodb:ConditionCheckItem", "dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:PutItem"], &[STATE])
            .keys(&["USER#p_*"])
            .sparing("agent* attested bound* challenge device* heard* mute* pairing*"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash settings title"),
        // A full room gives away the seats of people who have gone silent.
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#p_*"])
            .sparing("agent* attested bound* challenge device* heard* isMuted mute* name pairing*"),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
    ])
    .costs(3, 2.0, 5.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/join")
    .body(r#"{"name": "Grace"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "Everybody who joins is a new participant. 202 means that the room has a lobby: `state` is `waiting`, and the \
         token serves only to renew presence, to read the own state and to leave until a presenter admits the person.",
    )
    .momentary()
    .takes::<JoinRoom>()
    .gives::<Joined>(200, "The person is in the room.")
    .gives::<Joined>(202, "The person waits in the lobby.")
    .refuses(&[(401, "PasswordNeeded"), (409, "RoomFull"), (410, "RoomEnded")])
    // Lambda gives a function processor in proportion to its memory, and a hash takes some 40 ms of a whole one.
    .properties("MemorySize: 1024");

/// A person who joins.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinRoom {
    name: Name,
    /// The room's password, if it has one.
    #[serde(default)]
    password: Option<Password>,
    /// What the person's browser can do.
    #[serde(default)]
    #[expect(dead_code, reason = "the members are checked; clients of the WebSocket API will read them")]
    capabilities: Option<Capabilities>,
}

/// What a browser can do.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
#[expect(dead_code, reason = "the members are only checked")]
struct Capabilities {
    /// Whether it has `RTCPeerConnection`.
    #[serde(default)]
    webrtc: bool,
    /// Whether it has `getUserMedia`.
    #[serde(default)]
    capture: bool,
}

/// A participant's way into a room.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JoinedRoom", extend("examples" = [{
    "participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "state": "joined", "roomDetails": room_example(),
    "token": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl", "wsUrl": "wss://meet.example/ws",
    "iceServers": [{"urls": "stun:stun.example:3478"}],
}]))]
struct Joined {
    participant_id: UserId,
    state: Place,
    room_details: Room,
    /// The participant's token.
    token: String,
    /// The address of the WebSocket API.
    ws_url: String,
    /// STUN and TURN servers, as `RTCConfiguration` takes them.
    ice_servers: Vec<IceServer>,
    /// Left out, unless the room holds more people than a star of direct connections may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Warning")]
    warning: Option<Warning>,
}

/// Where the person is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Place {
    /// In the room.
    Joined,
    /// In the lobby.
    Waiting,
}

/// A server that helps browsers to connect.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct IceServer {
    urls: String,
}

/// A state of a room that its people should know.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Warning {
    /// So many people are in the room that direct connections to each of them may fail.
    StarSize,
}

impl Warning {
    /// What people of this room should know.
    pub(super) fn of(room: &Room) -> Option<Self> {
        room.warns().then_some(Self::StarSize)
    }
}

/// # Errors
/// 400 malformed room or body; 401 no password, or a wrong one; 404 no such room; 409 it is full; 410 it has ended; 422 the
/// key was sent with another body; 429 too many joins or wrong passwords; 503 nobody has made a key that signs tokens.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let body: JoinRoom = json(&request)?;
    let once = Once::of(&context, &request, None).await?;
    if let Some(earlier) = once.earlier(&context).await? {
        return Ok(earlier);
    }
    within(&context, &request, &Caller::Anybody, Limit::Join).await?;
    let now = (context.clock)();
    let signer = context.signing.signer(&context.config.rooms.token_keys).await?;
    let stored = context.rooms.get_now(&room_id, now).await?.active()?;
    if let Some(hash) = &stored.password_hash {
        let password = body.password.ok_or(PASSWORD_REQUIRED)?;
        // The guess is counted first, so that no more guesses are hashed than the limit allows.
        let guess = guess(&context, &request, &room_id).await?;
        password::verify(password, hash.clone()).await?;
        guess.was_right(&context).await;
    }
    let person =
        NewParticipant { id: UserId::participant(now, store::random()?), name: body.name, role: Role::Attendee };
    let made_by = Cause { by: Actor::Person(person.id.clone()), ..caused(&context, &request) };

    let token = RoomToken {
        room: room_id,
        participant: person.id.clone(),
        role: person.role,
        epoch: 1,
        issued_at: now,
        expires_at: stored.room.expires_at,
    };
    let token = signer.sign(&token);
    let servers = &context.config.rooms.ice_servers;
    // A setting that changes in between counts as it was when the person took the seat.
    let answer = |room: &Room| Joined {
        participant_id: person.id.clone(),
        state: if room.settings.lobby { Place::Waiting } else { Place::Joined },
        warning: Warning::of(room),
        room_details: room.clone(),
        token: token.clone(),
        ws_url: socket_url(&context, &request),
        ice_servers: servers.iter().map(|urls| IceServer { urls: urls.clone() }).collect(),
    };
    let status = |room: &Room| if room.settings.lobby { StatusCode::ACCEPTED } else { StatusCode::OK };

    let record = |room: &Room| once.record(status(room), &answer(room));
    match context.rooms.join(stored, &person, record, &made_by).await {
        Ok(room) => Ok(momentary(with_status(status(&room), &answer(&room))?)),
        Err(error) => once.instead(&context, error).await,
    }
}
