//! `GET /api/rooms/{room}/safe`: tells whether everybody in the room is verified to be muted.

use crate::auth::Caller;
use crate::function::{Callers, Function, READS_ROOM, ROOM_INDEX, STATE, allow, route};
use crate::http::{momentary, ok, room};
use crate::{Context, Reply, Request};
use domain::RoomSafety;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/safe")
    .callers(Callers::Member)
    .may(&[
        READS_ROOM,
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
        allow(&["dynamodb:BatchGetItem"], &[STATE])
            .keys(&["USER#*"])
            .because("The states of the people: the index may lag behind them."),
    ])
    .costs(3, 27.5, 0.0)
    .describes(
        "Combines the mute verdicts of everybody present. Each state is read as it is now. The index that lists the \
         people follows a write within moments, so a person who has just come may be missing. Changes of listed people \
         are never missing.",
    )
    .momentary()
    .gives::<RoomSafety>(200, "The result at this moment, without an `ETag`.");

/// Reads the present state of everybody, however many calls this takes: a person whose state was not read could not
/// count as silent.
///
/// # Errors
/// 404 no such slug; 400 malformed room; 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    Caller::reads(&context, &request, &room_id).await?;
    let as_of = (context.clock)();

    let mut safety = RoomSafety::new(room_id.clone(), as_of);
    context.users.present(&room_id, as_of).await?.into_iter().for_each(|user| safety.add(user));

    Ok(momentary(ok(&safety)?))
}
