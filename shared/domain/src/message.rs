//! The messages of a room.

use crate::evidence::words;
use crate::{MessageId, MessageText, Name, Refused, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

/// Longest reaction, in characters: a few emoji, of which a family of four has seven.
const REACTION_CHARS_MAX: usize = 16;

words! {
    /// The kind of a message.
    #[schemars(inline)]
    MessageType {
        /// A text for everybody.
        Chat = "chat",
        /// An emoji, or a few.
        Reaction = "reaction",
        /// A notice of the server. It has no author.
        System = "system",
    }
}

words! {
    /// The kind of a message that a person writes.
    #[derive(Default)]
    #[schemars(inline)]
    PostedType {
        /// A text for everybody.
        #[default]
        Chat = "chat",
        /// An emoji, or a few.
        Reaction = "reaction",
    }
}

impl PostedType {
    /// Checks that a text has the length and the form of a message of this kind.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(self, text: &MessageText) -> Result<(), Refused> {
        match self {
            Self::Reaction if text.as_str().chars().count() > REACTION_CHARS_MAX => {
                Err(Refused("be at most 16 characters in a reaction"))
            }
            // It stands beside other reactions, on one line.
            Self::Reaction if text.as_str().contains('\n') => Err(Refused("be on one line in a reaction")),
            Self::Chat | Self::Reaction => Ok(()),
        }
    }
}

impl From<PostedType> for MessageType {
    fn from(posted: PostedType) -> Self {
        match posted {
            PostedType::Chat => Self::Chat,
            PostedType::Reaction => Self::Reaction,
        }
    }
}

/// A message in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [message_example()]))]
pub struct Message {
    /// Its id. The id of a later message sorts later, to the millisecond.
    pub id: MessageId,
    /// Who wrote it; null if the server did.
    pub participant_id: Option<UserId>,
    /// The name that the author had then; null if the server wrote it.
    pub name: Option<Name>,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// Its text.
    pub message: MessageText,
    /// When it was written.
    pub created_at: Timestamp,
}

/// An example for the API's description.
#[must_use]
pub fn message_example() -> serde_json::Value {
    serde_json::json!({
        "id": "m_01KBA8M3Q4V4W5X6Y7Z8A9BCDG", "participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "name": "Grace",
        "type": "chat", "message": "Can everybody hear me?", "createdAt": "2026-11-21T11:45:02.316Z",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_is_on_one_line() {
        let text = MessageText::try_from("\u{1F44D}\r\n\u{1F44D}".to_owned()).unwrap();
        assert!(PostedType::Reaction.check(&text).is_err());
        assert_eq!(PostedType::Chat.check(&text), Ok(()));
        // Blanks at both ends are removed before.
        let text = MessageText::try_from("\u{1F44D}\n".to_owned()).unwrap();
        assert_eq!(PostedType::Reaction.check(&text), Ok(()));
    }

    #[test]
    fn a_reaction_is_short_and_a_chat_message_may_be_long() {
        let text = |text: &str| MessageText::try_from(text.to_owned()).unwrap();
        let family = text(&"\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}\u{200D}\u{1F466}".repeat(2));
        assert_eq!(PostedType::Reaction.check(&family), Ok(()));
        assert!(PostedType::Reaction.check(&text(&"\u{1F44D}".repeat(17))).is_err());
        assert_eq!(PostedType::Chat.check(&text(&"\u{1F44D}".repeat(17))), Ok(()));
    }
}
