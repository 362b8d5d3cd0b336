//! `POST /api/users/{userId}/state`: a person claims everything about their microphone at once.

use crate::auth::{Act, permit};
use crate::http::{if_match, json, path, with_status};
use crate::{Reply, Request, State};
use domain::{Claim, DeviceId, Label, MuteClaim, MuteScope, RoomId, Seq, UserId};
use lambda_http::http::StatusCode;
use serde::Deserialize;
use state::dynamodb::Guard;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetState {
    is_muted: bool,
    #[serde(default)]
    mute_scope: Option<MuteScope>,
    #[serde(default)]
    device_id: Option<DeviceId>,
    #[serde(default)]
    device_label: Option<Label>,
    #[serde(default)]
    room_id: Option<RoomId>,
    #[serde(default)]
    seq: Option<Seq>,
}

/// Replaces the whole claim: what the body leaves out is cleared. 201 if this was the user's first, else 200.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 412 lost race.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let user_id: UserId = path(&request, "userId")?;
    permit(&state, Act::ChangeUser(&user_id))?;
    let body: SetState = json(&request)?;
    let guard = Guard { if_match: if_match(&request)?, seq: body.seq };
    let claim = Claim {
        mute: MuteClaim { is_muted: body.is_muted, mute_scope: body.mute_scope.unwrap_or_default() },
        device_id: body.device_id,
        device_label: body.device_label,
        room_id: body.room_id,
    };

    let written = state.users.set_state(&user_id, claim, guard, (state.clock)()).await?;

    with_status(if written.created { StatusCode::CREATED } else { StatusCode::OK }, &written.user)
}
