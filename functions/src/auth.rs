//! Who is the caller, may they? The only place that asks.

use crate::{ApiError, State};
use domain::{AgentId, UserId};
use state::config::AuthMode;

/// What a caller wants to do.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "the ids are what a token's subject is compared with; no token exists yet")]
pub(crate) enum Act<'a> {
    /// Read a user's state.
    ReadUser(&'a UserId),
    /// Change or remove a user's state.
    ChangeUser(&'a UserId),
    /// Bind or revoke the agent of a user.
    ManageAgent(&'a AgentId),
    /// See who is in a room.
    ReadRoom,
    /// See all users of all rooms.
    ListAll,
    /// See how the service is doing in detail.
    ReadMetrics,
}

/// Lets the caller go on, or not.
///
/// In strict mode nobody passes yet: no issuer of tokens exists, and a door without a key stays shut.
///
/// # Errors
/// 401 without a valid token.
pub(crate) fn permit(state: &State, act: Act<'_>) -> Result<(), ApiError> {
    match state.config.auth_mode {
        AuthMode::Open => Ok(()),
        AuthMode::Strict => {
            tracing::debug!(?act, "refused: no token");
            Err(ApiError::Unauthenticated)
        }
    }
}
