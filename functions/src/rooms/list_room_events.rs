//! `GET /api/rooms/{room}/events`: what has happened in a room since an event, without gaps.

use crate::auth::{Act, Caller};
use crate::function::{Function, LEDGER, allow, route};
use crate::http::{ok, replay_query, room_id};
use crate::{Context, Reply, Request};
use domain::RoomId;
use serde::Serialize;
use serde_json::{Map, Value};
use store::StoreError;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/events")
    .may(&[allow(&["dynamodb:GetItem", "dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:*"])])
    .costs(2, 14.0, 0.0)
    .describes(
        "Every change since an event, in order and without gaps. A room in which nothing has happened has no events. \
         The history follows a change within moments.",
    )
    .parameters(&["Since", "EventLimit"])
    .gives(&[(200, "Events by number.", "RoomEvents")]);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replay {
    room_id: RoomId,
    events: Vec<Event>,
    /// Number of the room's last event; 0 if there was none.
    head: u64,
    has_more: bool,
}

#[derive(Serialize)]
struct Event {
    seq: u64,
    at: String,
    actor: String,
    action: String,
    data: Map<String, Value>,
}

/// A room in which nothing has happened has no events. The history follows a change within moments.
///
/// # Errors
/// 400 malformed room or query; 401 no caller; 500 if events are missing.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room_id(&request)?;
    Caller::of(&context, &request)?.must(Act::ReadRoom(&room_id))?;
    let query = replay_query(&request)?;

    let part = context.ledger.read(&room_id, query.since(), query.limit()).await?;
    let has_hole = part.entries.iter().zip(query.since() + 1..).any(|(entry, seq)| entry.seq != seq);
    let has_no_end = part.entries.is_empty() && part.head.seq > query.since();
    if has_hole || has_no_end {
        return Err(StoreError::Corrupt { attribute: "seq" }.into());
    }

    let events = part.entries.into_iter().map(|entry| Event {
        seq: entry.seq,
        at: entry.at,
        actor: entry.actor,
        action: entry.action,
        data: entry.data,
    });
    ok(&Replay { room_id, events: events.collect(), head: part.head.seq, has_more: part.has_more })
}
