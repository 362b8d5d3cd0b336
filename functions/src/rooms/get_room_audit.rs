//! `GET /api/rooms/{room}/audit`: reads a room's history with its hashes, so that others can check it.

use crate::auth::Caller;
use crate::function::{Callers, Function, LEDGER, READS_ROOM, allow, route};
use crate::http::{LIMIT_MAX, ok, replay_query, room};
use crate::{Context, Reply, Request};
use domain::RoomId;
use domain::ledger::{Entry, Head};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/audit")
    .callers(Callers::Member)
    .may(&[READS_ROOM, allow(&["dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:*"])])
    .costs(3, 17.0, 0.0)
    .describes("Answers the entries as they are stored. `greenroom verify-ledger` checks them offline.")
    .parameters(&["Since", "EventLimit"])
    .gives::<RoomAudit>(200, "The entries, ordered by number.");

/// Part of a room's history, with its hashes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "roomId": "demo",
    "entries": [{
        "chain": "room:demo", "seq": 1, "at": "2026-11-21T10:32:05.000Z", "actor": "open", "action": "mute_changed",
        "data": {"userId": "ada", "version": 2, "isMuted": true, "muteScope": "app"},
        "prev": "0000000000000000000000000000000000000000000000000000000000000000",
        "hash": "a0dd9596b9873fd89e8f9be5ae9db92f62466521b92d555da47e04fe54790b6e",
    }],
    "head": {"seq": 1, "hash": "a0dd9596b9873fd89e8f9be5ae9db92f62466521b92d555da47e04fe54790b6e"},
    "hasMore": false,
}]))]
struct RoomAudit {
    room_id: RoomId,
    #[schemars(length(max = LIMIT_MAX))]
    entries: Vec<Entry>,
    /// The last entry of the chain; number 0 if there is none.
    head: Head,
    /// Whether there are entries after these.
    has_more: bool,
}

/// Answers the entries as they are stored, even if they are out of order: a check of the history must be able to find
/// this.
///
/// # Errors
/// 404 no such slug; 400 malformed room or query; 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    Caller::reads(&context, &request, &room_id).await?;
    let query = replay_query(&request)?;

    let part = context.ledger.read(&room_id, query.since(), query.limit()).await?;

    ok(&RoomAudit { room_id, entries: part.entries, head: part.head, has_more: part.has_more })
}
