//! `POST /api/rooms/{room}/presence`: a page reports that its person is still in the room.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, ROOM_INDEX, STATE, allow, route};
use crate::http::{cause, json, momentary, ok, room};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::{LeaseId, Limit, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::dynamodb::NO_SEAT;

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/presence")
    .callers(Callers::Oneself)
    .limited(&[Limit::Presence])
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["USER#*"])
            .sparing("agent* attested bound* challenge device* heard* isMuted mute* name pairing*"),
        // A participant who was silent may have lost the seat, and takes one again.
        allow(&["dynamodb:BatchGetItem"], &[STATE]).keys(&["ROOM#*", "USER#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash settings title"),
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
    ])
    // Somebody who takes a seat again costs three calls, two read and five write units more.
    .costs(1, 0.0, 2.0)
    .body(r#"{"participantId": "demo-user", "lease": "page-load-1"}"#)
    .describes(
        "Presence ends 35 s after the last renewal. Of two page loads, the one that renewed last holds the lease. A \
         renewal also makes a person present again who has lapsed or left, if the room still has a seat for them.",
    )
    .momentary()
    .takes::<RenewPresence>()
    .gives::<Renewed>(200, "The person is present until `leaseUntil`.")
    .refuses(&[(404, "UserNotFound"), (409, "RoomFull"), (410, "RoomEnded")]);

/// A page load of a person in a room.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenewPresence {
    /// The person. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    /// The page load that sends the request.
    lease: LeaseId,
}

/// The person is present.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"participantId": "ada", "leaseUntil": "2026-11-21T11:44:53.082Z"}]))]
struct Renewed {
    participant_id: UserId,
    lease_until: Timestamp,
}

/// Presence ends 35 s after the last renewal. A renewal also makes a person present again who has lapsed or left.
///
/// # Errors
/// 400 malformed room or body; 401 no caller; 403 another person's token; 404 no such user in this room; 409 the room
/// is full; 410 it has ended; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: RenewPresence = json(&request)?;
    let (caller, participant_id) = caller.acts_as(&room_id, body.participant_id)?;
    within(&context, &request, &caller, Limit::Presence).await?;
    let cause = cause(&context, &request, &caller);

    let renewed = context.users.renew_presence(&participant_id, &room_id, body.lease.clone(), &cause).await;
    let lease_until = match renewed {
        Err(error) if error.is(NO_SEAT) => {
            context.rooms.come_back(&room_id, &participant_id, body.lease, &cause).await?
        }
        renewed => renewed?,
    };

    Ok(momentary(ok(&Renewed { participant_id, lease_until })?))
}
