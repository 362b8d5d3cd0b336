//! `POST /api/users/{userId}/state`: a person claims everything about their microphone at once.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{Applied, cause, if_match, json, near, open_room, user_id, with_status};
use crate::{Context, Reply, Request};
use domain::user::{Claim, MuteClaim, MuteScope, Seq};
use domain::{DeviceId, Label, LeaseId, Name, RoomId};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use store::dynamodb::Guard;
use store::{Kind, Refusal};

pub(crate) const FUNCTION: Function = route!(POST "/api/users/{userId}/state")
    .callers(Callers::Oneself)
    .may(&[allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["USER#*"])
        .sparing("agent* attested bound* challenge heard* pairing* role")])
    .costs(1, 0.0, 2.0)
    .body(r#"{"isMuted":true,"deviceId":"default","deviceLabel":"Built-in Microphone","roomId":"demo-room"}"#)
    .answers(201, 200)
    .describes(
        "Replaces the whole claim of a user, and creates the state if there is none. Members that the body leaves out \
         are cleared, and so are the counters of `seq`. With `seq`, a counter that is not greater than a stored one of \
         this user's mute or device changes nothing and answers 200 with the stored state; this includes a repeated \
         request.",
    )
    .parameters(&["IfMatch"])
    .takes::<SetState>()
    .gives::<Applied<'_>>(200, "The state was replaced, or the `seq` was not newer and nothing changed.")
    .gives::<Applied<'_>>(201, "This was the user's first claim.")
    .refuses(&[(412, "VersionConflict")]);

/// 403: a state cannot name its way into a room that somebody created.
const JOIN_FIRST: Refusal = Refusal::new(Kind::Forbidden, "join_first", "join this room to be in it");

/// All claims of a client at once. Members that are left out or null are cleared.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetState {
    /// The claim: muted or open. Left out: open.
    // The first clients leave this member out.
    #[serde(default)]
    is_muted: bool,
    /// Left out or null: `app`.
    #[serde(default)]
    mute_scope: Option<MuteScope>,
    /// The browser's name for the device.
    #[serde(default)]
    device_id: Option<DeviceId>,
    /// The label of the device.
    #[serde(default)]
    device_label: Option<Label>,
    /// The room the person is in.
    #[serde(default)]
    room_id: Option<RoomId>,
    /// The name of the person.
    #[serde(default)]
    name: Option<Name>,
    /// The page load that sends the request. With it, the person is present for 35 s, and for as long as
    /// `renewPresence` is called. Without it, the person is present until the state expires.
    #[serde(default)]
    lease: Option<LeaseId>,
    /// The client's counter. Null or left out: the change is made in any case, and the stored counters are cleared. At
    /// most a day ahead of the time in milliseconds since 1970.
    #[serde(default)]
    seq: Option<Seq>,
}

/// Replaces the whole claim: members that the body leaves out are cleared. 201 if this was the user's first claim,
/// otherwise 200.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 412 the state has another version.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;
    let body: SetState = json(&request)?;
    if !user_id.is_participant() && body.room_id.as_ref().is_some_and(RoomId::is_created) {
        return Err(JOIN_FIRST.into());
    }
    let cause = cause(&context, &request, &caller);
    let guard = Guard { if_match: if_match(&request)?, seq: near(body.seq, cause.at)? };
    let claim = Claim {
        mute: MuteClaim { is_muted: body.is_muted, mute_scope: body.mute_scope.unwrap_or_default() },
        device_id: body.device_id,
        device_label: body.device_label,
        room_id: body.room_id.map(|room| open_room("roomId", room)).transpose()?,
        name: body.name,
        lease: body.lease,
    };

    let written = context.users.set_state(&user_id, claim, guard, &cause).await?;

    with_status(if written.created { StatusCode::CREATED } else { StatusCode::OK }, &Applied::from(&written))
}
