//! `PATCH /api/users/{userId}/device`: a person claims which microphone they use.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{Applied, cause, if_match, json, near, ok, user_id};
use crate::{Context, Reply, Request};
use domain::user::{DeviceClaim, Seq};
use domain::{DeviceId, Label, Nullable};
use schemars::JsonSchema;
use serde::Deserialize;
use store::dynamodb::Guard;

pub(crate) const FUNCTION: Function = route!(PATCH "/api/users/{userId}/device")
    .callers(Callers::Oneself)
    .may(&[allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["USER#*"])
        .sparing("agent* attested bound* challenge heard* isMuted lease* mute* name pairing* role roomId")])
    .costs(1, 0.0, 2.0)
    .body(r#"{"deviceId":"usb-podcast","deviceLabel":"USB Podcast Microphone"}"#)
    .describes(
        "Changes the device claim and never `isMuted`. A label belongs to its device: leaving it out clears it. `seq` \
         works as for a mute, with a counter of its own, so an old device change never blocks a mute.",
    )
    .parameters(&["IfMatch"])
    .takes::<SetDevice>()
    .gives::<Applied<'_>>(200, "The stored state.")
    .refuses(&[(404, "UserNotFound"), (412, "VersionConflict")]);

/// A person claims which microphone they use.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetDevice {
    /// The browser's name for the device. Null: the person uses none. A body without this member is refused.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Nullable<DeviceId>")]
    device_id: Option<DeviceId>,
    /// The label of the device. Left out or null: cleared.
    #[serde(default)]
    device_label: Option<Label>,
    /// The client's counter. Null or left out: the change is made in any case, and the stored counter stays. At most a
    /// day ahead of the time in milliseconds since 1970.
    #[serde(default)]
    seq: Option<Seq>,
}

/// Changes the device claim and nothing else; a label belongs to its device, so leaving it out clears it.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such user; 412 the state has another version.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;
    let body: SetDevice = json(&request)?;
    let cause = cause(&context, &request, &caller);
    let guard = Guard { if_match: if_match(&request)?, seq: near(body.seq, cause.at)? };
    let claim = DeviceClaim { device_id: body.device_id, device_label: body.device_label };

    ok(&Applied::from(&context.users.set_device(&user_id, claim, guard, &cause).await?))
}
