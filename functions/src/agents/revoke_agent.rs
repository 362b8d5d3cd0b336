//! `DELETE /api/agents/{agentId}`: a person ends an agent; it may never attest again.

use crate::auth::{Act, permit};
use crate::http::{ok, path};
use crate::{Reply, Request, State};
use domain::AgentId;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Revoked {
    success: bool,
    agent_id: AgentId,
}

/// Once more is harmless.
///
/// # Errors
/// 400 malformed id; 401 no caller; 404 no such agent.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let agent_id: AgentId = path(&request, "agentId")?;
    permit(&state, Act::ManageAgent(&agent_id))?;

    state.agents.revoke(&agent_id, (state.clock)()).await?;

    ok(&Revoked { success: true, agent_id })
}
