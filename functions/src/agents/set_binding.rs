//! `PUT /api/agents/{agentId}/binding`: a person states which of the agent's devices is a device of their browser.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{cause, json, ok, path};
use crate::limit::within;
use crate::{ApiError, Context, Reply, Request};
use domain::user::User;
use domain::{AgentDeviceId, AgentId, DeviceBinding, DeviceId, Limit};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) const FUNCTION: Function = route!(PUT "/api/agents/{agentId}/binding")
    .callers(Callers::Oneself)
    .limited(&[Limit::Other])
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*", "AGENT#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("attested challenge device* heard* isMuted lease* mute* name pairing* role roomId"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["AGENT#*"]),
    ])
    .costs(4, 2.5, 5.0)
    .body(r#"{"deviceId":"usb-1","agentDeviceId":"pulseaudio:alsa_input.usb-Blue_Yeti-00"}"#)
    .answers(404, 404)
    .describes("Needed where the labels do not show it. One binding is kept: that of the last request.")
    .takes::<SetBinding>()
    .gives::<User>(200, "The state, with the verdicts that follow.")
    .refuses(&[(404, "AgentNotFound"), (409, "AgentIdle"), (410, "AgentRevoked")]);

/// A person's statement that two names are of the same device.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetBinding {
    /// The browser's name for the device; an alias such as `default` is refused.
    #[schemars(extend("not" = {"pattern": DeviceId::alias_pattern()}))]
    device_id: DeviceId,
    /// The agent's name for it.
    agent_device_id: AgentDeviceId,
}

/// Answers the state with the verdicts that follow. One binding is kept: that of the last request.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such agent; 409 attached to nobody; 410 revoked; 429 too many such
/// calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let agent_id: AgentId = path(&request, "agentId")?;
    let caller = Caller::current(&context, &request).await?;
    let body: SetBinding = json(&request)?;
    if body.device_id.is_alias() {
        return Err(ApiError::invalid("deviceId", "must name one device, not an alias such as default"));
    }
    let word = DeviceBinding { device_id: body.device_id, agent_device_id: body.agent_device_id };
    within(&context, &request, &caller, Limit::Other).await?;
    let agent = context.agents.get(&agent_id, (context.clock)()).await?;
    let caller = caller.must(Act::ManageAgent { agent: &agent.id, owner: agent.user_id.as_ref() })?;

    ok(&context.agents.bind(&agent, word, &cause(&context, &request, &caller)).await?)
}
