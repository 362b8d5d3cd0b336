//! `POST /api/rooms`: a person creates a room and becomes its presenter.

use crate::auth::Caller;
use crate::function::{Callers, Function, SIGNING, STATE, allow, route};
use crate::http::{json, momentary, with_status};
use crate::limit::within;
use crate::links::{join_url, socket_url};
use crate::{ApiError, Context, Once, Reply, Request, password};
use domain::room::{PARTICIPANTS, PARTICIPANTS_DEFAULT, Password, Role, Room, Settings, room_example};
use domain::{Actor, Limit, Name, RoomId, RoomToken, Slug, TOKEN_LIFE_MAX, Timestamp, Title, UserId};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::dynamodb::{Cause, NewParticipant, NewRoom};

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms")
    .callers(Callers::Anybody)
    .limited(&[Limit::CreateRoom])
    .once()
    .may(&[
        SIGNING,
        allow(&["dynamodb:PutItem"], &[STATE]).keys(&["ROOM#*", "SLUG#*", "ACTIVE#rooms", "USER#p_*"])
            .sparing("agent* attested bound* challenge device* heard* mute* pairing*"),
    ])
    .costs(2, 1.0, 9.0)
    .body(r#"{"title": "Weekly review", "presenterName": "Ada"}"#)
    .answers(201, 201)
    .describes(
        "Creates a room and its first participant, the presenter, who is in it at once. `presenterToken` is the only proof \
         of that: the presenter's page keeps it and sends it as a bearer token. A room lives for 12 hours at most.",
    )
    .momentary()
    .takes::<CreateRoom>()
    .gives::<Created>(201, "The room, and the presenter's token.")
    // Lambda gives a function processor in proportion to its memory, and a hash takes some 40 ms of a whole one.
    .properties("MemorySize: 1024");

/// A room to create.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRoom {
    title: Title,
    /// The name of the person who creates it.
    presenter_name: Name,
    /// Left out or null: the room needs no password.
    #[serde(default)]
    password: Option<Password>,
    /// How many people it may hold, presenters included.
    #[serde(default = "participants_default")]
    #[schemars(range(min = 2, max = 1000))]
    max_participants: u32,
    #[serde(default)]
    settings: Settings,
}

const fn participants_default() -> u32 {
    PARTICIPANTS_DEFAULT
}

/// A new room, for its presenter.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CreatedRoom", extend("examples" = [{
    "roomId": "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE", "slug": "weekly-review-4f7k2m9q3x8tn",
    "joinUrl": "https://meet.example/?room=weekly-review-4f7k2m9q3x8tn",
    "participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "presenterToken": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl",
    "wsUrl": "wss://meet.example/ws", "room": room_example(),
}]))]
struct Created {
    room_id: RoomId,
    slug: Slug,
    /// The link that people open to join.
    join_url: String,
    /// The presenter.
    participant_id: UserId,
    /// The presenter's token.
    presenter_token: String,
    /// The address of the WebSocket API.
    ws_url: String,
    room: Room,
}

/// # Errors
/// 400 malformed body; 422 the key was sent with another body; 429 too many new rooms; 503 nobody has made a key that signs tokens.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let body: CreateRoom = json(&request)?;
    let max_participants = max_participants(body.max_participants)?;
    let settings = checked(&context, body.settings)?;
    let once = Once::of(&context, &request, None).await?;
    if let Some(earlier) = once.earlier(&context).await? {
        return Ok(earlier);
    }
    within(&context, &request, &Caller::Anybody, Limit::CreateRoom).await?;
    let now = (context.clock)();
    let signer = context.signing.signer(&context.config.rooms.token_keys).await?;
    let password_hash = match body.password {
        Some(password) => Some(password::hash(password).await?),
        None => None,
    };
    // A token counts whole seconds.
    let ends_at = Timestamp::from_ms(now.plus(TOKEN_LIFE_MAX).ms() / 1000 * 1000);
    let new = NewRoom {
        id: RoomId::created(now, store::random()?),
        slug: Slug::of(&body.title, store::random()?),
        title: body.title,
        presenter_name: body.presenter_name.clone(),
        password_hash,
        max_participants,
        settings,
        ends_at,
    };
    let presenter = NewParticipant {
        id: UserId::participant(now, store::random()?),
        name: body.presenter_name,
        role: Role::Presenter,
    };
    let made_by = Cause { by: Actor::Person(presenter.id.clone()), ..crate::http::caused(&context, &request) };

    let token = RoomToken {
        room: new.id.clone(),
        participant: presenter.id.clone(),
        role: presenter.role,
        epoch: 1,
        issued_at: now,
        expires_at: ends_at,
    };
    let presenter_token = signer.sign(&token);
    let answer = |room: &Room| Created {
        room_id: new.id.clone(),
        join_url: join_url(&context, &request, &new.slug),
        slug: new.slug.clone(),
        participant_id: presenter.id.clone(),
        presenter_token: presenter_token.clone(),
        ws_url: socket_url(&context, &request),
        room: room.clone(),
    };

    let record = |room: &Room| once.record(StatusCode::CREATED, &answer(room));
    match context.rooms.create(&new, &presenter, record, &made_by).await {
        Ok(room) => Ok(momentary(with_status(StatusCode::CREATED, &answer(&room))?)),
        Err(error) => once.instead(&context, error).await,
    }
}

/// Checks how many people a room may hold.
///
/// # Errors
/// 400 if it is too few or too many.
pub(super) fn max_participants(number: u32) -> Result<u32, ApiError> {
    if PARTICIPANTS.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (PARTICIPANTS.start(), PARTICIPANTS.end());
    Err(ApiError::invalid("maxParticipants", format!("must be a whole number from {least} to {most}")))
}

/// Checks the settings of a room.
///
/// # Errors
/// 400 if they break a rule, or accept evidence that this service does not accept.
pub(super) fn checked(context: &Context, settings: Settings) -> Result<Settings, ApiError> {
    settings.check().map_err(|rule| ApiError::invalid("settings", rule.to_string()))?;
    if settings.min_evidence.is_some_and(|evidence| evidence > context.config.min_evidence) {
        let rule = format!("must not have a minEvidence weaker than {}", context.config.min_evidence);
        return Err(ApiError::invalid("settings", rule));
    }
    Ok(settings)
}
