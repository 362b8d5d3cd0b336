//! `GET /api/users/{userId}`: reads one user's state.

use crate::auth::{Act, Caller};
use crate::function::{Callers, Function, STATE, allow, route};
use crate::http::{ok, user_id};
use crate::{Context, Reply, Request};
use domain::user::User;
use store::dynamodb::{TOKEN_INVALID, USER_NOT_FOUND};

pub(crate) const FUNCTION: Function = route!(GET "/api/users/{userId}")
    .callers(Callers::Oneself)
    .may(&[allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*"])])
    .costs(1, 0.5, 0.0)
    .describes("A read right after a write may still answer the state before it.")
    .gives::<User>(200, "The state.")
    .refuses(&[(404, "UserNotFound")]);

/// # Errors
/// 400 malformed id; 401 no caller, or one who has left; 404 no such user.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let user_id = user_id(&request)?;
    let caller = Caller::of(&context, &request)?.must(Act::ReadUser(&user_id))?;

    match context.users.get(&user_id, (context.clock)()).await {
        // A participant has a state for as long as their token is valid.
        Err(error) if error.is(USER_NOT_FOUND) && caller.epoch().is_some() => Err(TOKEN_INVALID.into()),
        outcome => ok(&outcome?),
    }
}
