//! `PATCH /api/users/{userId}/mute`: a person claims their own microphone is muted or open.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{Applied, cause, if_match, json, near, ok, user_id};
use crate::{Context, Reply, Request};
use domain::user::{MuteClaim, MuteScope, Seq};
use schemars::JsonSchema;
use serde::Deserialize;
use store::dynamodb::Guard;

pub(crate) const FUNCTION: Function = route!(PATCH "/api/users/{userId}/mute")
    .callers(Callers::Oneself)
    .may(&[allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["USER#*"])
        .sparing("agent* attested bound* challenge device* heard* lease* name pairing* role roomId")])
    .costs(1, 0.0, 2.0)
    .body(r#"{"isMuted":false}"#)
    .describes(
        "Changes the mute claim and nothing else. `isMuted` is the wanted end state, not a toggle, so a repeated \
         request is harmless. With `seq`, a counter that is not greater than the one of the last mute changes nothing \
         and answers the stored state. So a fast mute, unmute, mute that arrives out of order still ends in the \
         person's last choice.",
    )
    .parameters(&["IfMatch"])
    .takes::<SetMute>()
    .gives::<Applied<'_>>(200, "The stored state.")
    .refuses(&[(404, "UserNotFound"), (412, "VersionConflict")]);

/// A person claims their own microphone is muted or open.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetMute {
    /// The wanted end state.
    is_muted: bool,
    /// Left out or null: `app`.
    #[serde(default)]
    mute_scope: Option<MuteScope>,
    /// The client's counter. Null or left out: the change is made in any case, and the stored counter stays. At most a
    /// day ahead of the time in milliseconds since 1970.
    #[serde(default)]
    seq: Option<Seq>,
}

/// Changes the mute claim and nothing else.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such user; 412 the state has another version.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;
    let body: SetMute = json(&request)?;
    let cause = cause(&context, &request, &caller);
    let guard = Guard { if_match: if_match(&request)?, seq: near(body.seq, cause.at)? };
    let claim = MuteClaim { is_muted: body.is_muted, mute_scope: body.mute_scope.unwrap_or_default() };

    ok(&Applied::from(&context.users.set_mute(&user_id, claim, guard, &cause).await?))
}
