//! `DELETE /api/users/{userId}/agent`: a person ends the agent that their state shows; it may never attest again.

use crate::auth::{Act, Caller};
use crate::function::{Function, STATE, allow, route};
use crate::http::{cause, ok, user_id};
use crate::{Context, Reply, Request};
use domain::UserId;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(DELETE "/api/users/{userId}/agent")
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("challenge device* isMuted lease* mute* name pairing* roomId"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["AGENT#*"]),
    ])
    .costs(3, 1.0, 3.0)
    .answers(404, 404)
    .describes(
        "It may never attest again. Works for every agent that is shown, also if its pairing has expired. Once more \
         is harmless.",
    )
    .gives::<EndedAgent>(200, "Done.")
    .refuses(&[(404, "AgentOrUserNotFound")]);

/// The agent may never attest again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"success": true, "userId": "ada"}]))]
struct EndedAgent {
    #[schemars(extend("const" = true))]
    success: bool,
    user_id: UserId,
}

/// Works for every agent that is shown, also if nothing else is left of it. Once more is harmless.
///
/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user, or their state shows no agent.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;

    context.agents.revoke_of(&user_id, &cause(&context, &request, &caller)).await?;

    ok(&EndedAgent { success: true, user_id })
}
