//! `POST /api/rooms/{room}/leave`: a person leaves, or a page reports that it closes.

use crate::auth::Caller;
use crate::function::{Callers, FINDS_ROOM, Function, STATE, allow, route};
use crate::http::{cause, json, ok, room};
use crate::limit::within;
use crate::{Context, Reply, Request};
use domain::{LeaseId, Limit, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::dynamodb::USER_NOT_FOUND;

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/leave")
    .callers(Callers::Oneself)
    .limited(&[Limit::Presence])
    .live()
    .may(&[
        FINDS_ROOM,
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["USER#*"]),
        // The role is a condition of the write: the room counts its presenters.
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["USER#*"]).sparing("isMuted mute*"),
        allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["ROOM#*"]).sparing("passwordHash settings title"),
    ])
    // Somebody leaves for good.
    .costs(2, 1.0, 5.0)
    .body(r#"{"participantId": "demo-user", "lease": "page-load-1"}"#)
    .describes(
        "With `lease`, a page reports that it closes: its lease ends at once, and the agent is detached. The state \
         stays, so a page that was only asleep makes its person present again by renewing presence. Without `lease`, a \
         participant leaves for good: the token ends, the seat is free, the agent is detached and stays paired with the \
         browser, and the name is forgotten.",
    )
    .takes::<LeaveRoom>()
    .gives::<Left>(200, "The report was accepted; `left` says whether it ended the presence.")
    .refuses(&[(404, "UserNotFound")]);

/// A person who leaves a room.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaveRoom {
    /// The person. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    participant_id: Option<UserId>,
    /// The page load that closes. Left out: the participant leaves for good.
    #[serde(default)]
    lease: Option<LeaseId>,
}

/// The answer to a person who leaves.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"participantId": "ada", "left": true}]))]
struct Left {
    participant_id: UserId,
    /// False if the person is still present through another page load, or was not present.
    left: bool,
}

/// With a lease, only that page load ends: `left` is false if the person is still present through another one, which
/// then holds the lease, or was not present. Without a lease, a participant leaves for good.
///
/// # Errors
/// 400 malformed room or body; 401 no caller, or a token that has ended; 403 another person's token; 404 nobody to leave
/// for good; 429 too many such calls.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room(&context, &request).await?;
    let caller = Caller::of(&context, &request)?;
    let body: LeaveRoom = json(&request)?;
    let (caller, participant_id) = caller.acts_as(&room_id, body.participant_id)?;
    within(&context, &request, &caller, Limit::Presence).await?;
    let cause = cause(&context, &request, &caller);

    let left = match body.lease {
        Some(lease) => context.users.leave(&participant_id, &room_id, lease, &cause).await?,
        None if participant_id.is_participant() => {
            context.rooms.take_out(&room_id, &participant_id, &cause).await?;
            context.dismiss_person(&room_id, &participant_id, "left").await;
            true
        }
        // Only joining gives a person something to leave for good.
        None => return Err(USER_NOT_FOUND.into()),
    };

    ok(&Left { participant_id, left })
}
