//! How rooms are used: counts of a day, without anybody's name.

use schemars::JsonSchema;
use serde::Serialize;

/// What happened in the rooms of one day. A room counts for the day on which it was created, and once more for the day
/// on which it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{
    "day": "2026-11-21", "roomsCreated": 4, "roomsEnded": 3, "meanDurationMinutes": 42, "peakParticipants": 12,
    "participants": 31, "messages": 80, "questions": 9,
    "features": {"chat": 3, "questions": 2, "lobby": 1, "password": 2, "moderatedUnmute": 1},
}]))]
pub struct Day {
    /// The day in UTC.
    #[schemars(extend("format" = "date"))]
    pub day: String,
    /// Rooms that were created.
    pub rooms_created: u64,
    /// Rooms that a presenter ended. The counts below are theirs.
    pub rooms_ended: u64,
    /// How long a room lasted on average, in whole minutes.
    pub mean_duration_minutes: u64,
    /// The most people who were in one room at the same time.
    pub peak_participants: u64,
    /// How many times somebody joined.
    pub participants: u64,
    /// Messages and reactions.
    pub messages: u64,
    /// Questions.
    pub questions: u64,
    /// How many rooms used a feature.
    pub features: Features,
}

/// How many rooms used a feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Features {
    /// Somebody wrote a message.
    pub chat: u64,
    /// Somebody asked a question.
    pub questions: u64,
    /// The room had a lobby.
    pub lobby: u64,
    /// The room had a password.
    pub password: u64,
    /// The room moderated who may unmute.
    pub moderated_unmute: u64,
}
