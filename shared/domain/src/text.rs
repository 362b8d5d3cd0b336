//! Text that people or their browsers choose.

use crate::Refused;
use crate::id::base32;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// Longest label, in characters.
const LABEL_CHARS_MAX: usize = 256;
/// Longest name of a person, in characters.
const NAME_CHARS_MAX: usize = 100;
/// Longest title of a room, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// Longest message, in characters and in bytes.
const MESSAGE_CHARS_MAX: usize = 4000;
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Length of a slug: characters of the title, random digits, and both with the hyphen.
const SLUG_TITLE_CHARS_MAX: usize = 36;
const SLUG_DIGITS: usize = 13;
const SLUG_CHARS_MAX: usize = SLUG_TITLE_CHARS_MAX + 1 + SLUG_DIGITS;
/// Length of a lease's id, in bytes. A client chooses one id per page load.
const LEASE_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Longest `deviceId`, in bytes; Chromium's are 64 hexadecimal digits.
const DEVICE_ID_BYTES_MAX: usize = 256;

/// The label of a device: 1 to 256 characters, at least one of them visible, without control, bidirectional-control or
/// invisible characters. It is stored and counted in Unicode form NFC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = readable_pattern(), "minLength" = 1, "maxLength" = LABEL_CHARS_MAX))]
pub struct Label(String);

/// The agent's stable name for a device, `host:name`: 1 to 256 characters, under the rules of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = readable_pattern(), "minLength" = 1, "maxLength" = LABEL_CHARS_MAX))]
pub struct AgentDeviceId(String);

/// The name of a person: 1 to 100 characters, under the rules of a label. Blanks at both ends are removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = readable_pattern(), "minLength" = 1, "maxLength" = NAME_CHARS_MAX))]
pub struct Name(String);

macro_rules! readable {
    ($name:ident, $chars_max:expr, $length:literal) => {
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
                readable(text, $chars_max, Refused($length)).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

readable!(Label, LABEL_CHARS_MAX, "be 1 to 256 characters");
readable!(AgentDeviceId, LABEL_CHARS_MAX, "be 1 to 256 characters");

impl Name {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        readable(text.trim().to_owned(), NAME_CHARS_MAX, Refused("be 1 to 100 characters")).map(Self)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// The title of a room: 1 to 200 characters, under the rules of a label. Blanks at both ends are removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = readable_pattern(), "minLength" = 1, "maxLength" = TITLE_CHARS_MAX))]
pub struct Title(String);

/// A message, a question or an answer: 1 to 4 000 characters and at most 8 KiB, under the rules of a label, with line
/// breaks. Blanks at both ends are removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = 1, "maxLength" = MESSAGE_CHARS_MAX))]
pub struct MessageText(String);

impl Title {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Title {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        readable(text.trim().to_owned(), TITLE_CHARS_MAX, Refused("be 1 to 200 characters")).map(Self)
    }
}

impl From<Title> for String {
    fn from(title: Title) -> Self {
        title.0
    }
}

impl MessageText {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MessageText {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        const LENGTH: Refused = Refused("be 1 to 4000 characters and at most 8192 bytes");
        // Browsers end lines in different ways.
        let lines = text.trim().replace("\r\n", "\n");
        let lines: Vec<String> = lines
            .split('\n')
            .map(|line| if line.is_empty() { Ok(String::new()) } else { plain(line.to_owned()) })
            .collect::<Result<_, _>>()?;
        let text = lines.join("\n");
        if text.is_empty() || text.len() > MESSAGE_BYTES_MAX || text.chars().count() > MESSAGE_CHARS_MAX {
            return Err(LENGTH);
        }
        if !text.chars().any(is_visible) {
            return Err(INVISIBLE);
        }
        Ok(Self(text))
    }
}

impl From<MessageText> for String {
    fn from(text: MessageText) -> Self {
        text.0
    }
}

/// A room's name in links: up to 36 characters of its title, `-`, and 13 digits of Crockford's base32 in lower case,
/// which hold 65 random bits, so that nobody finds a room by guessing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = SLUG_DIGITS, "maxLength" = SLUG_CHARS_MAX))]
pub struct Slug(String);

impl Slug {
    /// How many digits it ends with.
    pub const DIGITS: usize = SLUG_DIGITS;

    /// The slug of a title. Letters and digits of any script are kept, in lower case; everything else becomes hyphens.
    #[must_use]
    pub fn of(title: &Title, random: [u8; 16]) -> Self {
        let mut words = String::new();
        for c in title.0.chars().flat_map(char::to_lowercase).filter(|c| !is_mark(*c)) {
            if c.is_alphanumeric() {
                words.push(c);
            } else if !words.is_empty() && !words.ends_with('-') {
                words.push('-');
            }
        }
        let words: String = words.chars().take(SLUG_TITLE_CHARS_MAX).collect();
        let words = words.trim_end_matches('-');
        let digits = base32(u128::from_be_bytes(random)).to_ascii_lowercase();
        let digits = &digits[digits.len() - SLUG_DIGITS..];
        Self(if words.is_empty() { digits.to_owned() } else { format!("{words}-{digits}") })
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Slug {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        const RULE: Refused = Refused("be a room's slug");
        let text: String = text.nfc().collect();
        let (words, digits) = text.rsplit_once('-').unwrap_or(("", &text));
        let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_word = |c: char| c == '-' || c.is_alphanumeric();
        if digits.len() == SLUG_DIGITS
            && digits.bytes().all(is_digit)
            && text.chars().count() <= SLUG_CHARS_MAX
            && words.chars().all(is_word)
        {
            Ok(Self(text))
        } else {
            Err(RULE)
        }
    }
}

impl std::str::FromStr for Slug {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        Self::try_from(text.to_owned())
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character only changes the one before it. `char::is_alphanumeric` counts some of them as letters.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// The id of one page load of a person, so that the end of one page load never ends the presence of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = format!("^[A-Za-z0-9_-]{{{},{}}}$", LEASE_BYTES.start(), LEASE_BYTES.end())))]
pub struct LeaseId(String);

impl TryFrom<String> for LeaseId {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if LEASE_BYTES.contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(Refused("be 8 to 64 characters out of A-Z a-z 0-9 _ -"))
        }
    }
}

impl From<LeaseId> for String {
    fn from(lease: LeaseId) -> Self {
        lease.0
    }
}

const INVISIBLE: Refused = Refused("contain at least one visible character");

fn readable(text: String, chars_max: usize, length: Refused) -> Result<String, Refused> {
    let text = plain(text)?;
    if text.is_empty() || text.chars().count() > chars_max {
        return Err(length);
    }
    if !text.chars().any(is_visible) {
        return Err(INVISIBLE);
    }
    Ok(text)
}

/// The composed form of a text without deceptive characters.
fn plain(text: String) -> Result<String, Refused> {
    // Composing is the one change made: it alters how a text is stored, never how it looks or reads.
    let text = if is_nfc(&text) { text } else { text.nfc().collect() };
    if text.chars().any(is_deceptive) {
        return Err(Refused("not contain control, bidirectional-control or invisible characters"));
    }
    Ok(text)
}

/// The browser's name for the device: 1 to 256 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = format!("^[!-~]{{1,{DEVICE_ID_BYTES_MAX}}}$")))]
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

/// Ids, in any case, by which a browser means the device that the system prefers at the moment; it may be another one
/// tomorrow.
const ALIASES: [&str; 2] = ["default", "communications"];

impl DeviceId {
    /// Whether it is an alias, such as `default`.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        ALIASES.iter().any(|alias| self.0.eq_ignore_ascii_case(alias))
    }

    /// The pattern of all aliases.
    #[must_use]
    pub fn alias_pattern() -> String {
        let any_case = |c: char| format!("[{}{c}]", c.to_ascii_uppercase());
        let aliases = ALIASES.map(|alias| alias.chars().map(any_case).collect::<String>());
        format!("^({})$", aliases.join("|"))
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

/// Characters that can make a text look like another one, or break a line of a log; first and last of each range.
const DECEPTIVE: [(char, char); 24] = [
    // Control characters.
    ('\u{0000}', '\u{001F}'),
    ('\u{007F}', '\u{009F}'),
    // Line and paragraph separators; bidirectional marks, embeddings, overrides and isolates (UAX #9).
    ('\u{061C}', '\u{061C}'),
    ('\u{200E}', '\u{200F}'),
    ('\u{2028}', '\u{202E}'),
    ('\u{2066}', '\u{2069}'),
    // Invisible (Default_Ignorable_Code_Point of UAX #44), without the joiners and variation selectors that scripts and
    // emoji need.
    ('\u{00AD}', '\u{00AD}'),
    ('\u{034F}', '\u{034F}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180E}', '\u{180E}'),
    ('\u{200B}', '\u{200B}'),
    ('\u{2060}', '\u{2065}'),
    ('\u{206A}', '\u{206F}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFF8}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0000}', '\u{E00FF}'),
    ('\u{E01F0}', '\u{E0FFF}'),
    // Characters of the first plane that Unicode will never assign. `is_deceptive` finds the last two of every plane.
    ('\u{FDD0}', '\u{FDEF}'),
    ('\u{FFFE}', '\u{FFFF}'),
];

fn is_deceptive(c: char) -> bool {
    DECEPTIVE.iter().any(|(first, last)| (*first..=*last).contains(&c)) || (c as u32) & 0xFFFE == 0xFFFE
}

/// The pattern of texts without the deceptive characters of the first plane. Not every tool can read a pattern with
/// characters of other planes.
fn readable_pattern() -> String {
    let first_plane = DECEPTIVE.iter().filter(|(first, _)| u32::from(*first) <= 0xFFFF);
    let range = |(first, last): &(char, char)| match (u32::from(*first), u32::from(*last)) {
        (first, last) if first == last => format!("\\u{first:04x}"),
        (first, last) => format!("\\u{first:04x}-\\u{last:04x}"),
    };
    format!("^[^{}]+$", first_plane.map(range).collect::<String>())
}

/// Whether a reader sees the character: it is not a blank, a joiner or a variation selector.
fn is_visible(c: char) -> bool {
    !(c.is_whitespace()
        || matches!(c, '\u{200C}' | '\u{200D}' | '\u{2800}' | '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}'))
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

    #[test]
    fn a_text_that_nobody_sees_is_refused() {
        for bad in
            ["\u{3164}", " ", "\u{a0}\u{2003}", "\u{200D}\u{200C}", "\u{2800}", "\u{FE0F}", "M\u{AD}ic", "a\u{2060}b"]
        {
            assert!(label(bad).is_err(), "{bad:?}");
            assert!(Name::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_loses_its_outer_blanks_and_has_at_most_a_hundred_characters() {
        let name = |text: &str| Name::try_from(text.to_owned()).map(String::from);
        assert_eq!(name("  Zoë 👩‍🎤 "), Ok("Zoë 👩‍🎤".to_owned()));
        assert!(name(&"é".repeat(100)).is_ok() && name(&"é".repeat(101)).is_err());
        assert!(name("a\nb").is_err());
    }

    #[test]
    fn a_slug_keeps_letters_of_every_script_and_ends_in_random_digits() {
        let slug = |title: &str| Slug::of(&Title::try_from(title.to_owned()).unwrap(), [0xff; 16]).0;
        for (title, wanted) in [
            ("Weekly Review!", "weekly-review-zzzzzzzzzzzzz"),
            ("  Ünïcode — 会議 №5 ", "ünïcode-会議-5-zzzzzzzzzzzzz"),
            ("…", "zzzzzzzzzzzzz"),
            ("a'b\"c/d?e#f", "a-b-c-d-e-f-zzzzzzzzzzzzz"),
        ] {
            let made = slug(title);
            assert_eq!(made.parse::<Slug>().map(String::from), Ok(made.clone()));
            assert_eq!(made, wanted, "{title}");
        }
        let long = slug(&"é".repeat(200));
        assert_eq!(long.chars().count(), SLUG_CHARS_MAX);
        assert!(long.parse::<Slug>().is_ok());
        for bad in ["", "demo", "demo-room", "a-ZZZZZZZZZZZZZ", "a/b-zzzzzzzzzzzzz", "a b-zzzzzzzzzzzzz"] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_keeps_its_lines_and_no_other_control_character() {
        let message = |text: &str| MessageText::try_from(text.to_owned()).map(String::from);
        assert_eq!(message(" one\r\n\ntwo \n").unwrap(), "one\n\ntwo");
        assert_eq!(message("Cafe\u{301} 👩‍🎤").unwrap(), "Café 👩‍🎤");
        assert!(message(&"é".repeat(4000)).is_ok() && message(&"é".repeat(4001)).is_err());
        assert!(message(&"漢".repeat(2730)).is_ok() && message(&"漢".repeat(2731)).is_err());
        for bad in ["", " \n ", "a\u{202e}b", "a\0", "a\tb", "\u{200d}"] {
            assert!(message(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_lease_is_named_by_eight_to_sixty_four_plain_characters() {
        let lease = |text: &str| LeaseId::try_from(text.to_owned());
        assert!(lease("a1_-b2c3").is_ok() && lease(&"x".repeat(64)).is_ok());
        assert!(lease("short").is_err() && lease(&"x".repeat(65)).is_err() && lease("with blank").is_err());
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
