//! Rooms that somebody created: their settings, their people's roles, and how they end.

use crate::evidence::words;
use crate::mute::MuteNotice;
use crate::user::Version;
use crate::verdict::MinEvidence;
use crate::{Name, Refused, RoomId, Slug, Timestamp, Title};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule of `maxParticipants`: how many people a room may hold, its presenters included.
pub const PARTICIPANTS: std::ops::RangeInclusive<u32> = 2..=1000;
/// `maxParticipants` of a room that states none.
pub const PARTICIPANTS_DEFAULT: u32 = 50;
/// Above this many people, answers carry a warning: a presenter who sends to each of them directly needs much upload.
const WARN_ABOVE: u32 = 25;
/// Longest password, in bytes. Hashing a longer text would cost more time.
const PASSWORD_BYTES_MAX: usize = 128;

words! {
    /// What a participant may do in a room.
    Role {
        /// Leads the room: may change and end it, and moderate its people.
        Presenter = "presenter",
        /// Takes part.
        Attendee = "attendee",
    }
}

words! {
    /// Which paths media may take between two people, as in `RTCConfiguration`.
    #[schemars(inline)]
    IceTransportPolicy {
        /// Any path.
        All = "all",
        /// Only over a TURN relay, which hides people's addresses from each other.
        Relay = "relay",
    }
}

words! {
    /// A video codec that a room prefers.
    #[schemars(inline)]
    VideoCodec {
        /// VP9
        Vp9 = "VP9",
        /// VP8
        Vp8 = "VP8",
        /// H.264
        H264 = "H264",
        /// AV1
        Av1 = "AV1",
    }
}

words! {
    /// An audio codec that a room prefers.
    #[schemars(inline)]
    AudioCodec {
        /// Opus
        Opus = "opus",
        /// G.722
        G722 = "G722",
        /// PCMU
        Pcmu = "PCMU",
        /// PCMA
        Pcma = "PCMA",
    }
}

/// How the people of a room exchange media. Greenroom hands it to the clients and does nothing with it itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Media {
    /// Preferred video codecs, the best first.
    #[schemars(length(max = 4))]
    pub video_codecs: Vec<VideoCodec>,
    /// Preferred audio codecs, the best first.
    #[schemars(length(max = 4))]
    pub audio_codecs: Vec<AudioCodec>,
    /// Which paths media may take.
    pub ice_transport_policy: IceTransportPolicy,
    /// Whether clients should send no video.
    pub audio_only: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            video_codecs: vec![VideoCodec::Vp9, VideoCodec::Vp8],
            audio_codecs: vec![AudioCodec::Opus],
            ice_transport_policy: IceTransportPolicy::All,
            audio_only: false,
        }
    }
}

/// The settings of a room. Members that are left out have their default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Settings {
    /// Whether people's claims start as muted.
    pub mute_on_join: bool,
    /// Whether an attendee may claim an open microphone only with a presenter's permission (`mayUnmute`).
    pub moderated_unmute: bool,
    /// Whether people wait until a presenter admits them.
    pub lobby: bool,
    /// Whether people may write messages.
    pub chat: bool,
    /// Whether people may ask questions.
    pub questions: bool,
    /// The weakest evidence that verifies a mute in this room, if it is stricter than the service's. It is fixed when
    /// the room is created.
    pub min_evidence: Option<MinEvidence>,
    /// How people exchange media.
    pub media: Media,
    /// Above this many people, answers carry the warning `star_size`.
    #[schemars(range(max = 1000))]
    pub warn_above: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mute_on_join: false,
            moderated_unmute: false,
            lobby: false,
            chat: true,
            questions: true,
            min_evidence: None,
            media: Media::default(),
            warn_above: WARN_ABOVE,
        }
    }
}

impl Settings {
    /// Checks the rules that their types do not express.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn check(&self) -> Result<(), Refused> {
        if self.media.video_codecs.len() > 4 || self.media.audio_codecs.len() > 4 {
            return Err(Refused("name at most 4 codecs of each kind"));
        }
        if self.warn_above > *PARTICIPANTS.end() {
            return Err(Refused("have a warnAbove of at most 1000"));
        }
        Ok(())
    }
}

/// A room's password, as a person typed it. It is neither stored nor shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, extend("minLength" = 1, "maxLength" = PASSWORD_BYTES_MAX))]
pub struct Password(String);

impl Password {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl TryFrom<String> for Password {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        if (1..=PASSWORD_BYTES_MAX).contains(&text.len()) { Ok(Self(text)) } else { Err(Refused("be 1 to 128 bytes")) }
    }
}

/// A room, as its people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [room_example()]))]
pub struct Room {
    /// Its id.
    pub room_id: RoomId,
    /// Its name in links.
    pub slug: Slug,
    /// Its title.
    pub title: Title,
    /// The name of the person who created it.
    pub presenter_name: Name,
    /// Whether people need a password to join.
    pub has_password: bool,
    /// How many people it may hold, presenters included.
    #[schemars(range(min = 2, max = 1000))]
    pub max_participants: u32,
    /// How many people have a seat in it now. A person whose page has gone silent keeps the seat until others need it.
    pub present: u32,
    /// Whether it has not ended.
    pub is_active: bool,
    /// Its settings.
    pub settings: Settings,
    /// Number of changes of its title, password, size and settings. Clients send it back as `If-Match`.
    #[schemars(range(min = 1))]
    pub version: Version,
    /// The last request to everybody to mute; null if there was none.
    pub mute_request: Option<MuteNotice>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended, or will end at the latest.
    #[serde(skip)]
    pub expires_at: Timestamp,
    /// When it ended; null while it is active.
    pub ended_at: Option<Timestamp>,
}

impl Room {
    /// Whether so many people are in it that a star of direct connections may not carry them.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.present > self.settings.warn_above
    }
}

/// An example for the API's description.
#[must_use]
pub fn room_example() -> serde_json::Value {
    serde_json::json!({
        "roomId": "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE", "slug": "weekly-review-4f7k2m9q3x8tn", "title": "Weekly review",
        "presenterName": "Ada", "hasPassword": false, "maxParticipants": 50, "present": 1, "isActive": true,
        "settings": Settings::default(), "version": 1, "muteRequest": null, "createdAt": "2026-11-21T11:44:18.027Z", "endedAt": null,
    })
}

/// What happened in a room, counted when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct SessionStats {
    /// The most people who had a seat at the same time.
    pub max_concurrent_participants: u32,
    /// How many times somebody joined, the presenter included.
    pub total_participants: u32,
    /// Messages and reactions.
    pub total_messages: u32,
    /// Questions.
    pub total_questions: u32,
    /// From creation to end, in whole minutes, rounded.
    pub session_duration_minutes: u32,
    /// When the room ended.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_leave_out_everything_are_the_default() {
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
        assert!(serde_json::from_str::<Settings>(r#"{"chatt":true}"#).is_err());
        assert!(Settings { warn_above: 1001, ..Settings::default() }.check().is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let password = Password::try_from("open sesame".to_owned()).unwrap();
        assert_eq!(format!("{password:?}"), "***");
        assert!(Password::try_from(String::new()).is_err() && Password::try_from("x".repeat(129)).is_err());
    }
}
