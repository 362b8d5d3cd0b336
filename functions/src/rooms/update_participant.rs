//! `PATCH /api/rooms/{room}/participants/{participantId}`: a participant changes what others see of them, or a presenter
//! moderates a participant.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{cause, json, ok, open_user, path, room};
use crate::limit::within;
use crate::{ApiError, Context, Reply, Request};
use domain::room::Role;
use domain::user::User;
use domain::{Limit, MuteRequestId, Name, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::dynamodb::{MUTE_REQUEST_NOT_FOUND, NOT_IN_ROOM, PersonChange};

pub(crate) const FUNCTION: Function = route!(PATCH "/api/rooms/{room}/participants/{participantId}")
    .callers(Callers::Member)
    .limited(&[Limit::Other])
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#p_*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["USER#p_*"]).sparing("isMuted mute*"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash settings title"),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
    ])
    // Somebody is let in from the lobby.
    .costs(5, 4.0, 7.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/participants/p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF")
    .body(r#"{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "handRaised": false}"#)
    // No table holds this room.
    .answers(404, 404)
    .describes(
        "A participant may change their own `handRaised`, `isVideoOn` and `name`, and refuse the room's request to mute. A presenter may change the `mayUnmute` \
         and the `role` of everybody, admit somebody who waits in the lobby (`admitted: true`), and remove somebody \
         (`removed: true`), whose token ends at once. A presenter may also lower a hand.",
    )
    .takes::<UpdateParticipant>()
    .gives::<Updated>(200, "The participant as they are now.")
    .refuses(&[(404, "ParticipantNotFound"), (409, "RoomFullOrLastPresenter"), (410, "RoomEnded")]);

/// A change of a participant.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateParticipant {
    /// Who makes the change. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    /// Whether they raise their hand.
    #[serde(default)]
    hand_raised: Option<bool>,
    /// Whether they say that their camera is on.
    #[serde(default)]
    is_video_on: Option<bool>,
    /// Their name.
    #[serde(default)]
    name: Option<Name>,
    /// Whether they may unmute in a room that moderates that.
    #[serde(default)]
    may_unmute: Option<bool>,
    /// What they may do.
    #[serde(default)]
    role: Option<Role>,
    /// The room's last request to mute, in spite of which they stay open.
    #[serde(default)]
    refused_request: Option<MuteRequestId>,
    /// True lets somebody in who waits in the lobby.
    #[serde(default)]
    #[schemars(extend("enum" = [true, null]))]
    admitted: Option<bool>,
    /// True takes somebody out of the room or the lobby.
    #[serde(default)]
    #[schemars(extend("enum" = [true, null]))]
    removed: Option<bool>,
}

/// A changed participant.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UpdatedParticipant", extend("examples" = [{"participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "removed": true}]))]
struct Updated {
    participant_id: UserId,
    /// Whether the participant is not in the room any more.
    removed: bool,
    /// The participant; left out if they were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "User")]
    participant: Option<User>,
}

/// # Errors
/// 400 malformed id or body; 401 no caller; 403 a change that the caller may not make; 404 no such participant, or
/// another request to mute than the last one; 409 the room is full, or would have no presenter; 410 it has ended.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let target = open_user("participantId", path(&request, "participantId")?)?;
    let caller = Caller::of(&context, &request)?;
    let body: UpdateParticipant = json(&request)?;
    let (caller, participant) = caller.acts_as(&room_id, body.participant_id)?;
    // A presenter can always remove somebody, however many people were let in before.
    if body.removed.is_none() {
        within(&context, &request, &caller, Limit::Other).await?;
    }
    let cause = cause(&context, &request, &caller);
    for (name, value) in [("admitted", body.admitted), ("removed", body.removed)] {
        if value == Some(false) {
            return Err(ApiError::invalid(name, "must be true or left out"));
        }
    }
    if !target.is_participant() {
        return Err(NOT_IN_ROOM.into());
    }
    let is_own = target == participant;
    let moderates =
        body.may_unmute.is_some() || body.role.is_some() || body.admitted.is_some() || body.removed.is_some();
    let member = context.rooms.member(&room_id, &participant, &cause).await?;
    // Who waits in the lobby may only wait or leave.
    let member = if moderates || !is_own { member.presenter()? } else { member.admitted()? };
    if !is_own
        && (body.name.is_some()
            || body.is_video_on.is_some()
            || body.hand_raised == Some(true)
            || body.refused_request.is_some())
    {
        return Err(crate::auth::FORBIDDEN.into());
    }
    let last_request = member.stored.room.mute_request.map(|request| request.request_id);
    if body.refused_request.is_some() && body.refused_request != last_request {
        return Err(MUTE_REQUEST_NOT_FOUND.into());
    }
    if body.removed.is_some() {
        context.rooms.take_out(&room_id, &target, &cause).await?;
        context.dismiss_person(&room_id, &target, "removed").await;
        return ok(&Updated { participant_id: target, removed: true, participant: None });
    }
    if body.admitted.is_some() {
        context.rooms.admit(&room_id, &target, &cause).await?;
    }
    let change = PersonChange {
        name: body.name,
        is_video_on: body.is_video_on,
        hand_raised: body.hand_raised,
        may_unmute: body.may_unmute,
        role: body.role,
        refused_request: body.refused_request,
        is_moderated: member.stored.room.settings.moderated_unmute,
    };
    let user = context.rooms.change_person(&room_id, &target, &change, &cause).await?;

    ok(&Updated { participant_id: target, removed: false, participant: Some(user) })
}
