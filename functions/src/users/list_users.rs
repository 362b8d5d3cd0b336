//! `GET /api/users`: everybody's state, the one changed last first.

use crate::auth::{Act, permit};
use crate::http::{ok, page_query};
use crate::{Reply, Request, State};
use domain::User;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserPage {
    items: Vec<User>,
    next_cursor: Option<String>,
}

/// # Errors
/// 400 malformed query or cursor; 401 no caller.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    permit(&state, Act::ListAll)?;
    let query = page_query(&request)?;

    let page = state.users.list(query.limit(), query.cursor(), (state.clock)()).await?;

    ok(&UserPage { items: page.users, next_cursor: page.next_cursor })
}
