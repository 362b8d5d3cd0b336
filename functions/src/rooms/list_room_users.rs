//! `GET /api/rooms/{room}/users`: the states of everybody in a room, by user id.

use crate::auth::{Act, permit};
use crate::http::{ok, page_query, path};
use crate::{Reply, Request, State};
use domain::{RoomId, User};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomPage {
    room_id: RoomId,
    items: Vec<User>,
    next_cursor: Option<String>,
}

/// A room that nobody is in is an empty list.
///
/// # Errors
/// 400 malformed room, query or cursor; 401 no caller.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let room_id: RoomId = path(&request, "room")?;
    permit(&state, Act::ReadRoom)?;
    let query = page_query(&request)?;

    let page = state.users.list_room(&room_id, query.limit(), query.cursor(), (state.clock)()).await?;

    ok(&RoomPage { room_id, items: page.users, next_cursor: page.next_cursor })
}
