//! `POST /api/agents`: an agent proves that it knows the code a person was shown, and that it holds its key.

use crate::http::{json, signed, with_status};
use crate::{Reply, Request, State};
use domain::{AgentId, Challenge, Enrolment, MinEvidence, Policy, Purpose, UserId};
use lambda_http::http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Enrolled {
    agent_id: AgentId,
    user_id: UserId,
    /// The last accepted attestation: none yet.
    seq: u64,
    challenge: Challenge,
    at_ms: u64,
    policy: PolicyView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyView {
    interval_ms: u128,
    fresh_ms: u128,
    min_evidence: MinEvidence,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        Self {
            interval_ms: policy.interval.as_millis(),
            fresh_ms: policy.fresh.as_millis(),
            min_evidence: policy.min_evidence,
        }
    }
}

/// Needs no token: the code and the signature are the permission.
///
/// # Errors
/// 400 malformed body; 401 wrong signature or code; 409 the key has an agent already.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let enrolment: Enrolment = json(&request)?;
    signed(&request, Purpose::Enrolment, &enrolment.public_key)?;
    let at = (state.clock)();

    let challenge = state.agents.enroll(&enrolment, state::random::<16>()?.into(), at).await?;

    let policy = state.agents.policy().into();
    let agent_id = AgentId::of(&enrolment.public_key);
    with_status(
        StatusCode::CREATED,
        &Enrolled { agent_id, user_id: enrolment.user_id, seq: 0, challenge, at_ms: at.ms(), policy },
    )
}
