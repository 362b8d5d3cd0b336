//! `DELETE /api/agents/{agentId}`: a person revokes an agent; it may never attest again.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{cause, ok, path};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::{AgentId, Limit};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(DELETE "/api/agents/{agentId}")
    .callers(Callers::Oneself)
    .limited(&[Limit::Other])
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["AGENT#*", "USER#p_*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("challenge device* isMuted lease* mute* name pairing* role roomId"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["AGENT#*"]),
    ])
    .costs(4, 1.5, 3.0)
    .answers(404, 404)
    .describes("The agent may never attest again. A repeated request is harmless.")
    .gives::<Revoked>(200, "The agent is revoked.")
    .refuses(&[(404, "AgentNotFound")]);

/// The agent may never attest again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"success": true, "agentId": "agt_7YG4P15WXB9KKARQDPKB1N5Y86"}]))]
struct Revoked {
    #[schemars(extend("const" = true))]
    success: bool,
    agent_id: AgentId,
}

/// Revokes the agent. A repeated request is harmless.
///
/// # Errors
/// 400 malformed id; 401 no caller; 404 no such agent; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let agent_id: AgentId = path(&request, "agentId")?;
    let caller = Caller::current(&context, &request).await?;
    within(&context, &request, &caller, Limit::Other).await?;
    let owner = context.agents.owner(&agent_id, (context.clock)()).await?;
    let caller = caller.must(Act::ManageAgent { agent: &agent_id, owner: owner.as_ref() })?;

    context.agents.revoke(&agent_id, &cause(&context, &request, &caller)).await?;

    ok(&Revoked { success: true, agent_id })
}
