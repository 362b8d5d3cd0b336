//! `GET /api/rooms/{room}/users`: lists the states of everybody in a room, by user id.

use crate::auth::Caller;
use crate::examples::listed_user;
use crate::function::{Callers, Function, READS_ROOM, ROOM_INDEX, allow, route};
use crate::http::{LIMIT_MAX, ok, page_query, room};
use crate::{Context, Reply, Request};
use domain::RoomId;
use domain::user::User;
use schemars::JsonSchema;
use serde::Serialize;
use store::dynamodb::Cursor;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/users")
    .callers(Callers::Member)
    .may(&[READS_ROOM, allow(&["dynamodb:Query"], &[ROOM_INDEX])])
    .costs(2, 2.5, 0.0)
    .describes(
        "An empty room is an empty list, not a 404. On AWS the list may lag behind a write by moments. People whose \
         lease has lapsed are left out. A page may hold fewer than `limit` states, even none, and still have a \
         `nextCursor`.",
    )
    .parameters(&["Limit", "Cursor"])
    .gives::<RoomPage>(200, "One page of the list.");

/// One page of a room's users.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"roomId": "demo", "items": [listed_user()], "nextCursor": null}]))]
struct RoomPage {
    room_id: RoomId,
    #[schemars(length(max = LIMIT_MAX))]
    items: Vec<User>,
    /// Where the next page starts; null at the end. That page may be empty.
    next_cursor: Option<Cursor>,
}

/// An empty room is an empty list.
///
/// # Errors
/// 404 no such slug; 400 malformed room, query or cursor; 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    Caller::reads(&context, &request, &room_id).await?;
    let query = page_query(&request)?;

    let page = context.users.list_room(&room_id, query.limit(), query.cursor(), (context.clock)()).await?;

    ok(&RoomPage { room_id, items: page.items, next_cursor: page.next_cursor })
}
