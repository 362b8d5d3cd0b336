//! `POST /api/agents/{agentId}/attestations`: an agent tells what it measured.

use crate::http::{json, ok, path, signed};
use crate::{ApiError, Reply, Request, State};
use domain::{AgentId, Attestation, Challenge, DeviceId, Label, MuteScope, Purpose, Timestamp, Verdicts, Version};
use serde::Serialize;
use state::StateError;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    verdict: Verdicts,
    /// What the person claims, so that the agent can follow their device.
    claim: Claim,
    seq: u64,
    next_challenge: Challenge,
    interval_ms: u128,
    at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    is_muted: bool,
    mute_scope: MuteScope,
    device_id: Option<DeviceId>,
    device_label: Option<Label>,
    version: Version,
}

/// Needs no token: the signature is the permission, and nothing of the body is read before it.
///
/// # Errors
/// 400 signed, but malformed; 401 wrong signature or clock; 404 no such user; 409 not the next one; 410 revoked.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let agent_id: AgentId = path(&request, "agentId")?;
    // A stranger does not learn which agents exist.
    let agent = state.agents.get(&agent_id).await.map_err(|error| match error {
        StateError::AgentNotFound => ApiError::Signature,
        other => other.into(),
    })?;
    signed(&request, Purpose::Attestation, &agent.public_key)?;
    if agent.revoked {
        return Err(StateError::AgentRevoked.into());
    }
    let attestation: Attestation = json(&request)?;
    attestation.check().map_err(|(field, rule)| ApiError::invalid(field, rule.to_string()))?;
    let at = (state.clock)();
    if attestation.is_skewed(at) {
        return Err(ApiError::ClockSkew { at });
    }

    let body: &[u8] = request.body().as_ref();
    let next = state::random::<16>()?.into();
    let attested = state.agents.attest(&agent, attestation, body, next, at).await.map_err(|error| match error {
        StateError::Sequence { expected, challenge } => ApiError::Sequence { expected, challenge, at },
        other => other.into(),
    })?;

    let user = attested.user;
    ok(&Accepted {
        verdict: user.verdict,
        claim: Claim {
            is_muted: user.is_muted,
            mute_scope: user.mute_scope,
            device_id: user.device_id,
            device_label: user.device_label,
            version: user.version,
        },
        seq: attested.seq,
        next_challenge: attested.next_challenge,
        interval_ms: state.agents.policy().interval.as_millis(),
        at,
    })
}
