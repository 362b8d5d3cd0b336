//! `PUT /api/users/{userId}/agent`: a person attaches the agent that is paired with their browser, which lets it
//! measure their microphone.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{cause, json, ok, user_id};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::user::User;
use domain::{Limit, WitnessToken};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) const FUNCTION: Function = route!(PUT "/api/users/{userId}/agent")
    .callers(Callers::Oneself)
    .limited(&[Limit::Other])
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*", "AGENT#*", "WITNESS#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("device* isMuted lease* mute* name pairing* role roomId"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["AGENT#*", "WITNESS#*"]),
    ])
    .costs(6, 5.0, 10.0)
    .body(r#"{"witness": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}"#)
    // No server knows this token, so both answers are 404.
    .answers(404, 404)
    .describes(
        "A person must do this each time: nothing else attaches an agent. The agent leaves the user to whom it was \
         attached before, and its pairing is renewed to 30 days. A repeated request is harmless.",
    )
    .takes::<AttachAgent>()
    .gives::<User>(200, "The state, with the agent.")
    .refuses(&[(404, "AgentOrUserNotFound"), (410, "AgentRevoked")]);

/// Proof that this browser asked for the agent's pairing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttachAgent {
    /// The token that the browser got with the pairing code. Any client that presents it decides whose microphone the
    /// agent measures.
    witness: WitnessToken,
}

/// Answers the state with the agent. The agent leaves the user to whom it was attached before. A repeated request is
/// harmless.
///
/// # Errors
/// 400 malformed id or body; 401 no caller; 404 no such user, or no agent has enrolled with this token; 410 the agent
/// is revoked or its pairing has expired; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;
    let body: AttachAgent = json(&request)?;
    within(&context, &request, &caller, Limit::Other).await?;
    let challenge = store::random::<16>()?.into();

    ok(&context.agents.attach(&user_id, &body.witness, challenge, &cause(&context, &request, &caller)).await?)
}
