//! Text that people or their browsers choose.

use crate::Refused;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// Longest label, in characters.
const LABEL_CHARS_MAX: usize = 256;
/// Longest `deviceId`, in bytes; Chromium's are 64 hexadecimal digits.
const DEVICE_ID_BYTES_MAX: usize = 256;

/// A device's human-readable name: 1 to 256 characters, NFC, without control or bidirectional-control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// An agent's stable name for a device, `host:name`: like a label 1 to 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentDeviceId(String);

macro_rules! readable {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                readable(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

readable!(Label);
readable!(AgentDeviceId);

fn readable(text: String) -> Result<String, Refused> {
    // Composing is the one change made: it alters how a text is stored, never how it looks or reads.
    let text = if is_nfc(&text) { text } else { text.nfc().collect() };
    if text.is_empty() || text.chars().count() > LABEL_CHARS_MAX {
        return Err(Refused("be 1 to 256 characters"));
    }
    if text.chars().any(is_deceptive) {
        return Err(Refused("not contain control or bidirectional-control characters"));
    }
    Ok(text)
}

/// The browser's opaque name for a device: 1 to 256 bytes of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

impl TryFrom<String> for DeviceId {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        if (1..=DEVICE_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(Refused("be 1 to 256 visible ASCII characters"))
        }
    }
}

impl DeviceId {
    /// Whether a browser means by this whatever device the system prefers at the moment: another one tomorrow.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        matches!(self.0.as_str(), "default" | "communications")
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

/// Characters that can make a text look like another one, or break a line of a log.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separators; bidirectional marks, embeddings, overrides and isolates (UAX #9).
            '\u{2028}' | '\u{2029}' | '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            // Invisible: zero-width space, byte order mark, tag characters; and what Unicode will never assign.
            | '\u{200B}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}' | '\u{FDD0}'..='\u{FDEF}')
        || (c as u32) & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(text: &str) -> Result<String, Refused> {
        Label::try_from(text.to_owned()).map(String::from)
    }

    #[test]
    fn a_decomposed_label_is_composed() {
        assert_eq!(label("Cafe\u{301} Mikrofon").unwrap(), "Café Mikrofon");
    }

    #[test]
    fn joined_emoji_and_joining_scripts_are_kept() {
        for text in ["👩‍🎤 studio", "میکروفون‌ها", "माइक्रोफ़ोन", "麦克风", "Built-in (00:00:de:ad)"]
        {
            assert_eq!(label(text).unwrap(), text.nfc().collect::<String>());
        }
    }

    #[test]
    fn characters_that_deceive_are_refused() {
        for bad in ["a\nb", "a\0", "\u{202E}cim", "a\u{2066}b", "x\u{200B}y", "x\u{85}", "x\u{FFFE}", "\u{7f}"] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_label_is_refused_or_kept_in_its_composed_form(text in any::<String>()) {
            if let Ok(kept) = label(&text) {
                prop_assert_eq!(&kept, &text.nfc().collect::<String>());
                prop_assert_eq!(label(&kept), Ok(kept.clone()));
            }
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(label(&"é".repeat(256)).is_ok());
        assert!(label(&"é".repeat(257)).is_err());
        assert!(label("").is_err());
        assert!(DeviceId::try_from("a b".to_owned()).is_err());
        assert!(DeviceId::try_from("x".repeat(257)).is_err());
    }
}
