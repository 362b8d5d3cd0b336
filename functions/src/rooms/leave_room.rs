//! `POST /api/rooms/{room}/leave`: a page reports that it closes, which ends its person's presence.

use crate::auth::{Act, Caller};
use crate::function::{Function, STATE, allow, route};
use crate::http::{cause, json, ok, open_user, room_id};
use crate::{Context, Reply, Request};
use domain::{LeaseId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/leave")
    .may(&[allow(&["dynamodb:UpdateItem"], &[STATE]).keys(&["USER#*"]).sparing("device* isMuted mute* name pairing*")])
    .costs(1, 0.0, 2.0)
    .body(r#"{"participantId": "demo-user", "lease": "page-load-1"}"#)
    .describes(
        "Ends the lease at once, and detaches the agent. The state stays, so a page that was only asleep makes its \
         person present again by renewing presence.",
    )
    .takes::<LeaveRoom>()
    .gives::<Left>(200, "The report was accepted; `left` says whether it ended the presence.");

/// A page load of a person in a room.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaveRoom {
    participant_id: UserId,
    /// The page load that closes.
    lease: LeaseId,
}

/// The answer to a page that closes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"participantId": "ada", "left": true}]))]
struct Left {
    participant_id: UserId,
    /// False if the person is still present through another page load, or was not present.
    left: bool,
}

/// Ends the lease at once, and detaches the agent. `left` is false if the person is still present through another page
/// load, which then holds the lease, or was not present. The state stays, so a page that was only asleep makes its person
/// present again by renewing presence.
///
/// # Errors
/// 400 malformed room or body; 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room_id(&request)?;
    let caller = Caller::of(&context, &request)?;
    let body: LeaveRoom = json(&request)?;
    let participant_id = open_user("participantId", body.participant_id)?;
    let caller = caller.must(Act::BePresent(&room_id, &participant_id))?;

    let left = context.users.leave(&participant_id, &room_id, body.lease, &cause(&context, &request, &caller)).await?;

    ok(&Left { participant_id, left })
}
