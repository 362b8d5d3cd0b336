//! `PATCH /api/users/{userId}/mute`: a person claims their own microphone is muted or open.

use crate::auth::{Act, permit};
use crate::http::{if_match, json, ok, path};
use crate::{Reply, Request, State};
use domain::{MuteClaim, MuteScope, Seq, UserId};
use serde::Deserialize;
use state::dynamodb::Guard;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetMute {
    is_muted: bool,
    #[serde(default)]
    mute_scope: Option<MuteScope>,
    #[serde(default)]
    seq: Option<Seq>,
}

/// Changes the mute claim and nothing else.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such user; 412 lost race.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let user_id: UserId = path(&request, "userId")?;
    permit(&state, Act::ChangeUser(&user_id))?;
    let body: SetMute = json(&request)?;
    let guard = Guard { if_match: if_match(&request)?, seq: body.seq };
    let claim = MuteClaim { is_muted: body.is_muted, mute_scope: body.mute_scope.unwrap_or_default() };

    ok(&state.users.set_mute(&user_id, claim, guard, (state.clock)()).await?)
}
