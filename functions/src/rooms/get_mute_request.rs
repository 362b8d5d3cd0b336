//! `GET /api/rooms/{room}/mute-all/{muteRequestId}`: tells a presenter what has become of a request to mute.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{cause, ok, path, room};
use crate::{Context, Reply, Request};
use domain::MuteRequestId;
use domain::mute::MuteRequest;

pub(crate) const FUNCTION: Function = route!(GET "/api/rooms/{room}/mute-all/{muteRequestId}")
    .callers(Callers::Presenter)
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
    ])
    .costs(3, 5.0, 0.0)
    .at("/api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE/mute-all/mr_01KBA8M3Q4V4W5X6Y7Z8A9BCDJ")
    // Only a token proves who reads, and the example has none.
    .answers(401, 401)
    .describes(
        "The outcome for each person at this moment: `requested` until they claim to be muted, then `claimed`, and \
         `verified` while an agent's measurement says so too; `refused` if they said so; `gone` if they are not present. \
         The states of the people may lag behind by a moment.",
    )
    .gives::<MuteRequest>(200, "The request, and how it stands.")
    .refuses(&[(404, "MuteRequestNotFound"), (410, "RoomEnded")]);

/// # Errors
/// 400 malformed room or request id; 401 no token; 403 no presenter of this room; 404 no such room or request; 410 it has
/// ended.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let request_id: MuteRequestId = path(&request, "muteRequestId")?;
    let (caller, participant) = Caller::of(&context, &request)?.acts_as(&room_id, None)?;
    let cause = cause(&context, &request, &caller);
    context.rooms.member(&room_id, &participant, &cause).await?.presenter()?;

    let targets = context.rooms.mute_targets(&room_id, &request_id).await?;
    let people = context.rooms.people(&room_id, cause.at).await?.present;

    ok(&MuteRequest::of(request_id, targets, &people))
}
