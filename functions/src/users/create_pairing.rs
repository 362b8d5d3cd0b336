//! `POST /api/users/{userId}/pairing`: a person asks for a code that pairs an agent with them.

use crate::auth::{Act, permit};
use crate::http::{path, with_status};
use crate::{Reply, Request, State};
use domain::{PairingCode, Timestamp, UserId};
use lambda_http::http::StatusCode;
use serde::Serialize;
use std::time::Duration;

/// Long enough to reach another window, short enough to be of no use tomorrow.
const CODE_LIFE: Duration = Duration::from_mins(10);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pairing {
    user_id: UserId,
    /// Shown once; only its fingerprint is stored.
    code: PairingCode,
    expires_at: Timestamp,
}

/// A new code makes the one before useless.
///
/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let user_id: UserId = path(&request, "userId")?;
    permit(&state, Act::ChangeUser(&user_id))?;
    let code = PairingCode::from_random(state::random()?);
    let expires_at = (state.clock)().plus(CODE_LIFE);

    state.agents.start_pairing(&user_id, code.fingerprint(), expires_at).await?;

    with_status(StatusCode::CREATED, &Pairing { user_id, code, expires_at })
}
