//! `GET /api/rooms/{room}/events`: lists the changes in a room since an event, without gaps.

use crate::auth::Caller;
use crate::function::{Callers, Function, LEDGER, READS_ROOM, allow, route};
use crate::http::{LIMIT_MAX, ok, replay_query, room};
use crate::{Context, Reply, Request};
use domain::ledger::{ACTOR_PATTERN, SEQ_MAX, action_schema, data_schema};
use domain::{RoomId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use store::StoreError;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/events")
    .callers(Callers::Member)
    .may(&[READS_ROOM, allow(&["dynamodb:Query"], &[LEDGER]).keys(&["CHAIN#room:*"])])
    .costs(3, 17.0, 0.0)
    .describes(
        "Every change since an event, in order and without gaps. A room without changes has no events. The history \
         follows a change within moments.",
    )
    .parameters(&["Since", "EventLimit"])
    .gives::<RoomEvents>(200, "The events, ordered by number.");

/// Part of a room's history.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "roomId": "demo",
    "events": [{
        "seq": 1, "at": "2026-11-21T10:32:05.000Z", "actor": "open", "action": "mute_changed",
        "data": {"userId": "ada", "version": 2, "isMuted": true, "muteScope": "app"},
    }],
    "head": 1, "hasMore": false,
}]))]
struct RoomEvents {
    room_id: RoomId,
    #[schemars(length(max = LIMIT_MAX))]
    events: Vec<Event>,
    /// Number of the room's last event; 0 if there was none.
    head: u64,
    /// Whether there are events after these. Then ask again with `since` = the last `seq`.
    has_more: bool,
}

/// One change in a room.
#[derive(Serialize, JsonSchema)]
struct Event {
    /// Its place in the room's history, from 1, without gaps.
    #[schemars(range(min = 1, max = SEQ_MAX))]
    seq: u64,
    /// When the change happened.
    #[schemars(with = "Timestamp")]
    at: String,
    /// The maker of the change. `open`: a caller without a token, who may be anybody. `agent:<id>`: the agent that
    /// signed the request. `service`: Greenroom itself, which also removes expired states. `user:<id>`: unknown, as
    /// after every deletion; the id is that of the user whose state changed.
    #[schemars(regex(pattern = ACTOR_PATTERN))]
    actor: String,
    /// The kind of the change.
    #[schemars(schema_with = "action_schema")]
    action: String,
    /// The details of the change: ids, versions, claims, verdicts and digests; never a label. They always contain the
    /// `userId`.
    #[schemars(schema_with = "data_schema")]
    data: Map<String, Value>,
}

/// A room without changes has no events. The history follows a change within moments.
///
/// # Errors
/// 404 no such slug; 400 malformed room or query; 401 no caller; 500 if events are missing.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    Caller::reads(&context, &request, &room_id).await?;
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
    ok(&RoomEvents { room_id, events: events.collect(), head: part.head.seq, has_more: part.has_more })
}
