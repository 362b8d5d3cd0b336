//! `GET /api/rooms`: lists the active rooms, the newest first.

use crate::auth::{Act, Caller};
use crate::function::{Function, STATE, allow, route};
use crate::http::{LIMIT_MAX, ok, page_query};
use crate::{Context, Reply, Request};
use domain::room::{Room, room_example};
use schemars::JsonSchema;
use serde::Serialize;
use store::dynamodb::Cursor;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms")
    .may(&[
        allow(&["dynamodb:Query"], &[STATE]).keys(&["ACTIVE#rooms"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*"]),
    ])
    .costs(2, 26.0, 0.0)
    .query("limit=25")
    .describes(
        "Rooms that only a state names are not in the list. A page may hold fewer than `limit` rooms and still have a \
         `nextCursor`.",
    )
    .parameters(&["Limit", "Cursor"])
    .gives::<RoomsPage>(200, "One page of the list.");

/// One page of the active rooms.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"items": [room_example()], "nextCursor": null}]))]
struct RoomsPage {
    #[schemars(length(max = LIMIT_MAX))]
    items: Vec<Room>,
    /// Where the next page starts; null at the end.
    next_cursor: Option<Cursor>,
}

/// # Errors
/// 400 malformed query or cursor; 401 no caller; 403 a participant's token.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    Caller::of(&context, &request)?.must(Act::ListRooms)?;
    let query = page_query(&request)?;

    let page = context.rooms.list(query.limit(), query.cursor(), (context.clock)()).await?;

    ok(&RoomsPage { items: page.items, next_cursor: page.next_cursor })
}
