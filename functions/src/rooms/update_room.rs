//! `PATCH /api/rooms/{room}`: a presenter changes a room.

use super::create_room::{checked, max_participants};
use super::join_room::Warning;
use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{cause, if_match, json, ok, room};
use crate::limit::within;
use crate::live::Frame;
use crate::{ApiError, Context, Reply, Request, password};
use domain::room::{Password, Room, Settings, room_example};
use domain::{Limit, Title, UserId};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use store::dynamodb::{NewPassword, RoomChange};

pub(crate) const FUNCTION: Function = route!(PATCH "/api/rooms/{room}")
    .callers(Callers::Presenter)
    .limited(&[Limit::Other])
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("present"),
        // Whether a room moderates unmuting is stored with each of its people.
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["USER#p_*"]).sparing("agent* attested bound* challenge device* heard* isMuted lease* mute* name pairing*"),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
    ])
    // Whether a room moderates unmuting costs a query and, for each of its people, two write units more.
    .costs(2, 2.0, 1.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "title": "Weekly review, part two"}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "Members that are left out stay as they are. `settings` is merged (RFC 7396): null gives a setting its default. \
         `minEvidence` is fixed when the room is created. A lower `maxParticipants` throws nobody out.",
    )
    .parameters(&["IfMatch"])
    .takes::<UpdateRoom>()
    .gives::<Updated>(200, "The room as it is now.")
    .refuses(&[(410, "RoomEnded"), (412, "VersionConflict")])
    // Lambda gives a function processor in proportion to its memory, and a hash takes some 40 ms of a whole one.
    .properties("MemorySize: 1024");

/// A change of a room.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateRoom {
    /// The presenter. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    #[serde(default)]
    title: Option<Title>,
    /// Null removes the password.
    #[serde(default, deserialize_with = "wish")]
    #[schemars(with = "Option<Password>")]
    password: PasswordWish,
    /// How many people it may hold, presenters included.
    #[serde(default)]
    #[schemars(range(min = 2, max = 1000))]
    max_participants: Option<u32>,
    /// The settings that change.
    #[serde(default)]
    #[schemars(with = "Option<Settings>", transform = as_patch)]
    settings: Option<Map<String, Value>>,
}

/// The schema of settings as that of their merge patch: each may also be null, and one that is left out has no default.
fn as_patch(settings: &mut Schema) {
    let members = settings.get_mut("properties").and_then(Value::as_object_mut);
    for member in members.into_iter().flat_map(Map::values_mut) {
        let Ok(schema) = <&mut Schema>::try_from(&mut *member) else { continue };
        as_patch(schema);
        schema.remove("default");
        if let Some(kind @ Value::String(_)) = schema.get("type") {
            let kinds = json!([kind, "null"]);
            schema.insert("type".to_owned(), kinds);
        } else if schema.get("anyOf").is_none() {
            *member = json!({"anyOf": [member, {"type": "null"}]});
        }
    }
}

/// What is to happen to the password.
#[derive(Default)]
enum PasswordWish {
    /// The member was left out.
    #[default]
    Keep,
    /// It was null.
    Remove,
    /// It was a password.
    Set(Password),
}

/// Called only if the member is there.
fn wish<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PasswordWish, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(PasswordWish::Remove, PasswordWish::Set))
}

/// A changed room.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UpdatedRoom", extend("examples" = [{"room": room_example()}]))]
struct Updated {
    room: Room,
    /// Left out, unless the room holds more people than a star of direct connections may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Warning")]
    warning: Option<Warning>,
}

/// # Errors
/// 400 malformed room or body; 401 no caller; 403 no presenter of this room; 404 no such room; 410 it has ended; 412 it
/// has another version.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: UpdateRoom = json(&request)?;
    let if_match = if_match(&request)?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);
    let max_participants = body.max_participants.map(max_participants).transpose()?;
    let presenter = context.rooms.member(&room_id, &participant, &cause).await?.presenter()?;
    let password = match body.password {
        PasswordWish::Set(password) => NewPassword::Hash(password::hash(password).await?),
        PasswordWish::Remove => NewPassword::None,
        PasswordWish::Keep => NewPassword::Same,
    };

    let stored = context
        .rooms
        .change(presenter.stored, if_match, cause.at, |stored| {
            let settings = body.settings.clone().map(|patch| merged(&context, &stored.room.settings, patch));
            Ok::<_, ApiError>(RoomChange {
                title: body.title.clone(),
                password: password.clone(),
                max_participants,
                settings: settings.transpose()?,
            })
        })
        .await?;
    // Also if the room is so already: an earlier call may have been interrupted here.
    if body.settings.is_some_and(|settings| settings.contains_key("moderatedUnmute")) {
        context.rooms.moderate(&room_id, stored.room.settings.moderated_unmute, &cause).await?;
    }

    context.tell(&Frame::new("room-updated", &room_id, cause.at, json!({"room": stored.room}))).await;

    ok(&Updated { warning: Warning::of(&stored.room), room: stored.room })
}

/// The settings with this merge patch.
fn merged(context: &Context, settings: &Settings, patch: Map<String, Value>) -> Result<Settings, ApiError> {
    let mut whole = serde_json::to_value(settings).unwrap_or_default();
    merge(&mut whole, Value::Object(patch));
    let merged: Settings =
        serde_json::from_value(whole).map_err(|error| ApiError::invalid("settings", format!("must fit: {error}")))?;
    if merged.min_evidence != settings.min_evidence {
        return Err(ApiError::invalid("settings", "must leave minEvidence as it is"));
    }
    checked(context, merged)
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}
