//! `DELETE /api/users/{userId}/agent`: a person revokes the agent in their state; the agent may never attest again.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{cause, ok, user_id};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::{Limit, UserId};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(DELETE "/api/users/{userId}/agent")
    .callers(Callers::Oneself)
    .limited(&[Limit::Other])
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("challenge device* isMuted lease* mute* name pairing* role roomId"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["AGENT#*"]),
    ])
    .costs(3, 1.0, 3.0)
    .answers(404, 404)
    .describes(
        "Revokes the agent that the state shows, even if its pairing has expired. It may never attest again. A \
         repeated request is harmless.",
    )
    .gives::<EndedAgent>(200, "The agent is revoked.")
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

/// Revokes the agent that the state shows, even if nothing else is left of it. A repeated request is harmless.
///
/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user, or their state shows no agent; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;
    within(&context, &request, &caller, Limit::Other).await?;

    context.agents.revoke_of(&user_id, &cause(&context, &request, &caller)).await?;

    ok(&EndedAgent { success: true, user_id })
}
