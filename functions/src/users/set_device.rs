//! `PATCH /api/users/{userId}/device`: a person claims which microphone they use.

use crate::auth::{Act, permit};
use crate::http::{if_match, json, ok, path};
use crate::{Reply, Request, State};
use domain::{DeviceClaim, DeviceId, Label, Seq, UserId};
use serde::Deserialize;
use state::dynamodb::Guard;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetDevice {
    device_id: DeviceId,
    #[serde(default)]
    device_label: Option<Label>,
    #[serde(default)]
    seq: Option<Seq>,
}

/// Changes the device claim and nothing else; a label belongs to its device, so leaving it out clears it.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such user; 412 lost race.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let user_id: UserId = path(&request, "userId")?;
    permit(&state, Act::ChangeUser(&user_id))?;
    let body: SetDevice = json(&request)?;
    let guard = Guard { if_match: if_match(&request)?, seq: body.seq };
    let claim = DeviceClaim { device_id: body.device_id, device_label: body.device_label };

    ok(&state.users.set_device(&user_id, claim, guard, (state.clock)()).await?)
}
