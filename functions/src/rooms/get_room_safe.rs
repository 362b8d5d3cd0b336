//! `GET /api/rooms/{room}/safe`: is everybody in the room muted, and verified to be?

use crate::auth::{Act, Caller};
use crate::function::{Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{momentary, ok, room_id};
use crate::{Context, Reply, Request};
use domain::RoomSafety;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/safe")
    .may(&[
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
        allow(&["dynamodb:BatchGetItem"], &[STATE])
            .keys(&["USER#*"])
            .because("The people themselves: the index may lag behind them."),
    ])
    .costs(2, 27.0, 0.0)
    .describes(
        "Folds the mute verdicts of everybody present, each read as it is now. The index that names them follows a \
         write within moments, so a person who came just now may be missing; nobody's change is.",
    )
    .momentary()
    .gives::<RoomSafety>(200, "What can be said now. It is about this moment: no `ETag`.");

/// Reads everybody as they are now, however many calls that takes: who was not read could not be counted as silent.
///
/// # Errors
/// 400 malformed room; 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room_id(&request)?;
    Caller::of(&context, &request)?.must(Act::ReadRoom(&room_id))?;
    let as_of = (context.clock)();

    let mut safety = RoomSafety::new(room_id.clone(), as_of);
    context.users.present(&room_id, as_of).await?.into_iter().for_each(|user| safety.add(user));

    Ok(momentary(ok(&safety)?))
}
