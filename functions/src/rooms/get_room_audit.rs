//! `GET /api/rooms/{room}/audit`: a room's history with its hashes, to be checked elsewhere.

use crate::auth::{Act, Caller};
use crate::function::{Function, LEDGER, allow, route};
use crate::http::{ok, replay_query, room_id};
use crate::{Context, Reply, Request};
use domain::RoomId;
use domain::ledger::{Entry, Head};
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/audit")
    .may(&[allow(&["dynamodb:GetItem", "dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:*"])])
    .costs(2, 14.0, 0.0)
    .describes("What is stored, to be checked elsewhere: `greenroom verify-ledger` does it offline.")
    .parameters(&["Since", "EventLimit"])
    .gives(&[(200, "Entries by number.", "RoomAudit")]);

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
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room_id(&request)?;
    Caller::of(&context, &request)?.must(Act::ReadRoom(&room_id))?;
    let query = replay_query(&request)?;

    let part = context.ledger.read(&room_id, query.since(), query.limit()).await?;

    ok(&Audit { room_id, entries: part.entries, head: part.head, has_more: part.has_more })
}
