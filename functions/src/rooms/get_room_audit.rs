//! `GET /api/rooms/{room}/audit`: a room's history with its hashes, to be checked elsewhere.

use crate::auth::{Act, permit};
use crate::http::{ok, path, replay_query};
use crate::{Reply, Request, State};
use domain::RoomId;
use domain::ledger::{Entry, Head};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Audit {
    room_id: RoomId,
    entries: Vec<Entry>,
    head: Head,
    has_more: bool,
}

/// Gives what is stored, in order or not: to find out is what it is for.
///
/// # Errors
/// 400 malformed room or query; 401 no caller.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let room_id: RoomId = path(&request, "room")?;
    permit(&state, Act::ReadRoom)?;
    let query = replay_query(&request)?;

    let part = state.ledger.read(&room_id, query.since(), query.limit()).await?;

    ok(&Audit { room_id, entries: part.entries, head: part.head, has_more: part.has_more })
}
