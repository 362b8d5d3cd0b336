//! `GET /api/rooms/{room}/safe`: is everybody in the room muted, and verified to be?

use crate::auth::{Act, permit};
use crate::http::{momentary, ok, path};
use crate::{Reply, Request, State};
use domain::{RoomId, RoomSafety};

/// States read per call: a megabyte, the most that a call gives, holds fewer.
const PAGE: u16 = 5000;

/// Reads everybody, however many calls that takes: who was not read could not be counted as silent.
///
/// # Errors
/// 400 malformed room; 401 no caller.
pub(crate) async fn handle(state: State, request: Request) -> Reply {
    let room_id: RoomId = path(&request, "room")?;
    permit(&state, Act::ReadRoom)?;
    let as_of = (state.clock)();

    let mut safety = RoomSafety::new(room_id.clone(), as_of);
    let mut cursor = None;
    loop {
        let page = state.users.list_room(&room_id, PAGE, cursor.as_deref(), as_of).await?;
        page.users.into_iter().for_each(|user| safety.add(user));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }

    Ok(momentary(ok(&safety)?))
}
