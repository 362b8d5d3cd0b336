//! `POST /api/rooms/{room}/presence`: a page reports that its person is still in the room.

use crate::auth::{Act, Caller};
use crate::function::{Function, STATE, allow, route};
use crate::http::{json, momentary, ok, open_user, room_id};
use crate::{Context, Reply, Request};
use domain::{LeaseId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const FUNCTION: Function = route!(POST "/api/rooms/{room}/presence")
    .may(&[allow(&["dynamodb:UpdateItem"], &[STATE])
        .keys(&["USER#*"])
        .sparing("agent* attested bound* challenge device* heard* isMuted mute* name pairing*")])
    .costs(1, 0.0, 2.0)
    .body(r#"{"participantId": "demo-user", "lease": "page-load-1"}"#)
    .describes(
        "Presence ends 35 s after the last renewal. Of two page loads, the one that renewed last holds the lease. A \
         renewal also makes a person present again who has lapsed or left.",
    )
    .momentary()
    .takes::<RenewPresence>()
    .gives::<Renewed>(200, "The person is present until `leaseUntil`.")
    .refuses(&[(404, "UserNotFound")]);

/// A page load of a person in a room.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenewPresence {
    participant_id: UserId,
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
/// 400 malformed room or body; 401 no caller; 404 no such user in this room.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let room_id = room_id(&request)?;
    let caller = Caller::of(&context, &request)?;
    let body: RenewPresence = json(&request)?;
    let participant_id = open_user("participantId", body.participant_id)?;
    caller.must(Act::BePresent(&room_id, &participant_id))?;

    let lease_until = context.users.renew_presence(&participant_id, &room_id, body.lease, (context.clock)()).await?;

    Ok(momentary(ok(&Renewed { participant_id, lease_until })?))
}
