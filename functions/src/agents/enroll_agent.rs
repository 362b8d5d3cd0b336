//! `POST /api/agents`: an agent proves that it knows the code that a person was shown, and that it holds its key.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{cause, json, with_status};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::verdict::{MinEvidence, Policy, RECENT};
use domain::{AgentId, Enrolment, Limit, Purpose, UserId};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(POST "/api/agents")
    .limited(&[Limit::Other])
    .callers(Callers::SelfProving("code_invalid"))
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*", "AGENT#*"]),
        allow(&["dynamodb:PutItem"], &[STATE]).keys(&["AGENT#*", "WITNESS#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("agent* attested bound* challenge device* heard* isMuted lease* mute* name role roomId"),
    ])
    .costs(2, 1.0, 7.0)
    .signed_body(
        r#"{"userId":"ada","code":"7K3M-Q2XD-9VTA-B4NC","publicKey":"6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"}"#,
        "BSWdakzKExkVUYldSJg2V4y0ck0QjZ2HiMAG10WPrsSVsybewqthZ8eiSBQf4Q2BWwqo0L9qQPYRDyoqUKC8DQ",
    )
    // The example was signed once for all, so no server can know the code.
    .answers(401, 401)
    .describes(
        "Needs no token: the code and the signature are the permission. The code is used up; the same enrolment again \
         gets the same answer until the code would have expired. An enrolled agent is attached to nobody until \
         `attachAgent` attaches it.",
    )
    .takes::<Enrolment>()
    .gives::<Enrolled>(201, "Paired with the browser that was shown the code.")
    .refuses(&[(409, "KeyBound"), (410, "AgentRevoked")]);

/// The agent is paired.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "agentId": "agt_7YG4P15WXB9KKARQDPKB1N5Y86", "userId": "ada", "atMs": 1_795_261_458_082_u64,
    "policy": {"intervalMs": 10000, "freshMs": 25000, "recentMs": 3000, "minEvidence": "digital_zero"},
}]))]
struct Enrolled {
    agent_id: AgentId,
    user_id: UserId,
    /// The server's time, in milliseconds since 1970.
    at_ms: u64,
    policy: PolicyView,
}

/// The evidence that counts here, and for how long.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct PolicyView {
    /// How often to attest while nothing changes, in milliseconds.
    #[schemars(range(min = 1))]
    interval_ms: u128,
    /// How long an attestation holds, in milliseconds.
    #[schemars(range(min = 1))]
    fresh_ms: u128,
    /// How long silence must have lasted before it verifies a mute that the system's flag does not confirm.
    recent_ms: u128,
    /// The weakest evidence that verifies a mute.
    min_evidence: MinEvidence,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        Self {
            interval_ms: policy.interval.as_millis(),
            fresh_ms: policy.fresh.as_millis(),
            recent_ms: RECENT.as_millis(),
            min_evidence: policy.min_evidence,
        }
    }
}

/// Needs no token: the code and the signature are the permission. The agent is not attached to anybody yet.
///
/// # Errors
/// 400 malformed body; 401 wrong signature or code; 409 the key already has an agent; 410 that agent was revoked; 429
/// too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let enrolment: Enrolment = json(&request)?;
    let agent_id = AgentId::of(&enrolment.public_key);
    let caller = Caller::signed(&request, Purpose::Enrolment, &enrolment.public_key)?;
    let caller = caller.must(Act::BeAgent(&agent_id))?;
    within(&context, &request, &caller, Limit::Other).await?;
    let cause = cause(&context, &request, &caller);

    context.agents.enroll(&enrolment, &cause).await?;

    let policy = context.agents.policy().into();
    with_status(StatusCode::CREATED, &Enrolled { agent_id, user_id: enrolment.user_id, at_ms: cause.at.ms(), policy })
}
