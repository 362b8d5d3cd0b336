//! `GET /api/users/{userId}`: one user's state.

use crate::auth::{Act, permit};
use crate::http::{ok, path};
use crate::{Reply, Request, State};
use domain::UserId;

/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let user_id: UserId = path(&request, "userId")?;
    permit(&state, Act::ReadUser(&user_id))?;

    ok(&state.users.get(&user_id, (state.clock)()).await?)
}
