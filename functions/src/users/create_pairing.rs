//! `POST /api/users/{userId}/pairing`: a person asks for a code that pairs an agent with their browser.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{cause, no_form, user_id, with_status};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::{Limit, PairingCode, Timestamp, UserId, WitnessToken};
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

pub(crate) const FUNCTION: Function = route!(POST "/api/users/{userId}/pairing")
    .callers(Callers::Oneself)
    .limited(&[Limit::Other])
    .may(&[allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["USER#*"])
        .sparing("agent* attested bound* challenge device* heard* isMuted lease* mute* name role roomId")])
    .costs(1, 0.0, 2.0)
    .answers(201, 201)
    .describes(
        "The page shows the code. `greenroom-agent enroll` uses it, once and within ten minutes. A new code makes the \
         previous one useless. The browser keeps `witness`: with it, the page attaches the agent that enrolled with \
         the code. Takes no body.",
    )
    .gives::<Pairing>(201, "The code.")
    .refuses(&[(404, "UserNotFound"), (415, "MediaTypeNotSupported")]);

/// Long enough to copy the code into another window, and short enough that a code found later is useless.
const CODE_LIFE: Duration = Duration::from_mins(10);

/// A code that pairs one agent with a user, once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "userId": "ada", "code": "7K3M-Q2XD-9VTA-B4NC", "witness": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
    "expiresAt": "2026-11-21T11:54:18.082Z",
}]))]
struct Pairing {
    user_id: UserId,
    /// 80 random bits, shown once; the server stores only their fingerprint.
    code: PairingCode,
    /// Attaches the agent that enrols with the code. The browser keeps it; the server stores only its fingerprint.
    witness: WitnessToken,
    /// When the code expires: after ten minutes.
    expires_at: Timestamp,
}

/// Creates a code. It makes the previous one useless.
///
/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user; 415 a content type other than JSON; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ChangeUser(&user_id))?;
    no_form(&request)?;
    within(&context, &request, &caller, Limit::Other).await?;
    let (code, witness) = (PairingCode::from_random(store::random()?), store::random::<32>()?.into());
    let cause = cause(&context, &request, &caller);
    let expires_at = cause.at.plus(CODE_LIFE);

    context.agents.start_pairing(&user_id, &code, &witness, expires_at, &cause).await?;

    with_status(StatusCode::CREATED, &Pairing { user_id, code, witness, expires_at })
}
