//! `PUT /api/agents/{agentId}/binding`: a person says which device of the agent's is the one of their browser.

use crate::auth::{Act, permit};
use crate::http::{json, ok, path};
use crate::{ApiError, Reply, Request, State};
use domain::{AgentDeviceId, AgentId, DeviceBinding, DeviceId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetBinding {
    /// The browser's name.
    device_id: DeviceId,
    /// The agent's name.
    agent_device_id: AgentDeviceId,
}

/// Answers the state with the verdicts that follow. One binding is kept: that of the device said last.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such agent or user; 410 revoked.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let agent_id: AgentId = path(&request, "agentId")?;
    permit(&state, Act::ManageAgent(&agent_id))?;
    let body: SetBinding = json(&request)?;
    if body.device_id.is_alias() {
        return Err(ApiError::invalid("deviceId", "must name one device, not whichever the system prefers"));
    }
    let word = DeviceBinding { device_id: body.device_id, agent_device_id: body.agent_device_id };

    ok(&state.agents.bind(&agent_id, word, (state.clock)()).await?)
}
