//! `POST /api/agents/{agentId}/attestations`: an agent reports a measurement.

use crate::auth::{Act, Caller, SIGNATURE_INVALID};
use crate::error::ClaimView;
use crate::function::{Callers, Class, Function, STATE, allow, route};
use crate::http::{cause, json, ok, path};
use crate::{ApiError, Context, Reply, Request};
use domain::verdict::Verdicts;
use domain::{AgentId, Attestation, Challenge, Purpose, SKEW_MAX, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use store::dynamodb::{AGENT_IDLE, AGENT_NOT_FOUND, AGENT_REVOKED, SEQUENCE_CONFLICT, WINDOW_NOT_NEWER};
use store::{Kind, Refusal, StoreError};

pub(crate) const FUNCTION: Function = route!(POST "/api/agents/{agentId}/attestations")
    .callers(Callers::SelfProving("signature_invalid"))
    .throttled(Class::Attest)
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*", "AGENT#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("bound* device* isMuted mute* name pairing* role roomId"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["AGENT#*", "WITNESS#*"]),
    ])
    .costs(2, 0.5, 2.0)
    .signed_body(
        concat!(
            r#"{"seq":1,"challenge":"k3J9Zc0wQ1uV5pXyT7bEaA","version":4,"fromMs":1773342229390,"toMs":1773342239390,"#,
            r#""silentSinceMs":1773342229390,"condition":"measured","flag":"muted","signal":"digital_zero","#,
            r#""route":"direct","device":{"id":"pulseaudio:alsa_input.usb-Blue_Yeti-00","label":"Blue Yeti","unique":true}}"#
        ),
        "nMUFxMsajYiw6L0YE0b9QmaI3-vdRfJY2z1CA9FCaacWYrmtwvdREAotTWt7_ckxFyjtRaVpqLOE-VSLmBcrDQ",
    )
    // The example was signed once for all, so no server can know the agent.
    .answers(401, 401)
    .describes(
        "Needs no token: the signature is the permission. An attestation is accepted by one conditional write if `seq` \
         and `challenge` are the expected ones and `toMs` has grown. The same bytes again get the stored answer. A \
         refused attestation changes nothing. An agent that does not know the next `seq` sends `seq` 0, which is never \
         accepted and is answered with 409.",
    )
    .takes::<Attestation>()
    .gives::<Accepted>(200, "Accepted, with the verdicts that follow.")
    .refuses(&[(409, "SequenceConflict"), (410, "AgentRevoked")]);

/// 401: the agent's clock or the server's is wrong. The answer shows the server's time.
const CLOCK_SKEW: Refusal = Refusal::new(Kind::Unauthenticated, "clock_skew", "toMs must be near the server's time");

/// The attestation is stored.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    verdict: Verdicts,
    claim: ClaimView,
    /// The `seq` of the attestation.
    #[schemars(range(min = 1))]
    seq: u64,
    next_challenge: Challenge,
    /// How often to attest while nothing changes, in milliseconds.
    #[schemars(range(min = 1))]
    interval_ms: u128,
    /// The server's time, in milliseconds since 1970.
    at_ms: u64,
}

/// Needs no token: the signature is the permission, and the body is parsed only after the signature has been checked.
///
/// # Errors
/// 400 signed, but malformed; 401 wrong signature or clock; 409 not the expected one, or attached to nobody; 410
/// revoked.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let agent_id: AgentId = path(&request, "agentId")?;
    // A stranger must not learn which agents exist.
    let agent = context.agents.get(&agent_id, (context.clock)()).await.map_err(|error| {
        // A tombstone has no key, so nobody can have signed for it.
        let is_unknown = error.is(AGENT_NOT_FOUND) || error.is(AGENT_REVOKED);
        if is_unknown { ApiError::from(SIGNATURE_INVALID).logged_as("agent_unknown") } else { error.into() }
    })?;
    let caller = Caller::signed(&request, Purpose::Attestation, &agent.public_key)?;
    let caller = caller.must(Act::BeAgent(&agent_id))?;
    if agent.revoked {
        return Err(AGENT_REVOKED.into());
    }
    let attestation: Attestation = json(&request)?;
    attestation.check().map_err(|(field, rule)| ApiError::invalid(field, rule.to_string()))?;
    let cause = cause(&context, &request, &caller);
    let at = cause.at;
    if attestation.is_skewed(at) {
        let detail = format!("toMs must be at most {} s from the server's time", SKEW_MAX.as_secs());
        return Err(ApiError::from(CLOCK_SKEW).with_detail(detail).at(at));
    }

    let body: &[u8] = request.body().as_ref();
    let next = store::random::<16>()?.into();
    let asks = attestation.seq == 0;
    let attested = context.agents.attest(&agent, attestation, body, next, &cause).await;
    let attested = attested.map_err(|error| refused(error, asks, at))?;

    ok(&Accepted {
        verdict: attested.user.verdict,
        claim: attested.user.into(),
        seq: attested.seq,
        next_challenge: attested.next_challenge,
        interval_ms: context.agents.policy().interval.as_millis(),
        at_ms: at.ms(),
    })
}

/// Completes a refusal for the agent, with the server's time.
fn refused(error: StoreError, asks: bool, at: Timestamp) -> ApiError {
    let told = ApiError::from(error);
    match told.refusal() {
        AGENT_IDLE => told.with_detail("no person has attached this agent; ask again later").at(at),
        // An agent that asks for the next `seq` makes no mistake.
        SEQUENCE_CONFLICT if asks => told.logged_as("agent_begins").at(at),
        SEQUENCE_CONFLICT | WINDOW_NOT_NEWER => told.at(at),
        _ => told,
    }
}
