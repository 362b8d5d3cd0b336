//! `GET /api/users`: lists all users' states, the last changed one first.

use crate::auth::{Act, Caller};
use crate::examples::listed_user;
use crate::function::{Class, Function, STATE, allow, route};
use crate::http::{LIMIT_MAX, ok, page_query};
use crate::{Context, Reply, Request};
use domain::user::User;
use schemars::JsonSchema;
use serde::Serialize;
use store::dynamodb::Cursor;

pub(crate) const FUNCTION: Function = route!(GET "/api/users")
    .throttled(Class::List)
    .may(&[allow(&["dynamodb:Scan"], &[STATE])])
    .costs(2, 4.0, 0.0)
    .query("limit=25")
    .properties(
        "ReservedConcurrentExecutions:
  !If [IsStopped, 0, !If [LimitsLists, !Ref ListConcurrency,
    !If [ReservesConcurrency, !Ref ReservedConcurrency, !Ref AWS::NoValue]]]",
    )
    .describes(
        "Reads the whole table for every page. A user who changes between two pages moves to the front and can be \
         missed by a client that only follows cursors.",
    )
    .parameters(&["Limit", "Cursor"])
    .gives::<UserPage>(200, "One page of the list.");

/// One page of all users.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"items": [listed_user()], "nextCursor": null}]))]
struct UserPage {
    #[schemars(length(max = LIMIT_MAX))]
    items: Vec<User>,
    /// Where the next page starts; null at the end.
    next_cursor: Option<Cursor>,
}

/// # Errors
/// 400 malformed query or cursor; 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    Caller::of(&context, &request)?.must(Act::ListAll)?;
    let query = page_query(&request)?;

    let page = context.users.list(query.limit(), query.cursor(), (context.clock)()).await?;

    ok(&UserPage { items: page.items, next_cursor: page.next_cursor })
}
