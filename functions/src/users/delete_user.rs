//! `DELETE /api/users/{userId}`: deletes one user's state.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{if_match, ok, user_id};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::{Limit, UserId};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(DELETE "/api/users/{userId}")
    .callers(Callers::Oneself)
    .limited(&[Limit::Other])
    .may(&[
        allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["USER#*"]),
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#p_*"]),
    ])
    // The look at a participant, who is then refused, costs the read.
    .costs(1, 1.0, 2.0)
    .answers(200, 404)
    .describes(
        "Removes the state at once. Without a request, a state is removed some time after its last change is \
         `STATE_TTL_DAYS` (30) days old.",
    )
    .parameters(&["IfMatch"])
    .gives::<Deleted>(200, "The state is gone; the next read answers 404.")
    .refuses(&[(404, "UserNotFound"), (409, "LeaveInstead"), (412, "VersionConflict")]);

/// The state has been removed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"success": true, "userId": "ada"}]))]
struct Deleted {
    #[schemars(extend("const" = true))]
    success: bool,
    user_id: UserId,
}

/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user; 409 a participant; 412 the state has another version; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::current(&context, &request).await?.must(Act::ChangeUser(&user_id))?;
    let version = if_match(&request)?;
    within(&context, &request, &caller, Limit::Other).await?;

    context.users.delete(&user_id, version, (context.clock)()).await?;

    ok(&Deleted { success: true, user_id })
}
