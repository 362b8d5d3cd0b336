//! `DELETE /api/users/{userId}`: forget one user's state.

use crate::auth::{Act, permit};
use crate::http::{if_match, ok, path};
use crate::{Reply, Request, State};
use domain::UserId;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    success: bool,
    user_id: UserId,
}

/// # Errors
/// 400 malformed id; 401 no caller; 404 no such user; 412 lost race.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let user_id: UserId = path(&request, "userId")?;
    permit(&state, Act::ChangeUser(&user_id))?;

    state.users.delete(&user_id, if_match(&request)?).await?;

    ok(&Deleted { success: true, user_id })
}
