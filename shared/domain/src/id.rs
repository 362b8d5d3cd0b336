//! Identifiers that come from outside.

use crate::Refused;
use serde::{Deserialize, Serialize};

/// Longest id in bytes (and characters: ids are ASCII). `DynamoDB` allows 2 048 for a key; ids are in every log line.
const ID_BYTES_MAX: usize = 128;

macro_rules! free_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Refused;

            fn from_str(text: &str) -> Result<Self, Refused> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

free_id! {
    /// A person, as the client names them: `^[A-Za-z0-9_.:@-]{1,128}$`.
    UserId
}

free_id! {
    /// A room, as the client names it: `^[A-Za-z0-9_.:@-]{1,128}$`.
    RoomId
}

fn check(text: &str) -> Result<(), Refused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte);
    if (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Refused("be 1 to 128 characters out of A-Z a-z 0-9 _ . : @ -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_of_the_pattern_is_kept_as_written(text in "[A-Za-z0-9_.:@-]{1,128}") {
            prop_assert_eq!(String::from(text.parse::<UserId>().unwrap()), text);
        }

        #[test]
        fn a_character_outside_the_pattern_is_refused(text in "[A-Za-z0-9]{0,9}[^A-Za-z0-9_.:@-][A-Za-z0-9]{0,9}") {
            prop_assert!(text.parse::<RoomId>().is_err());
        }
    }

    #[test]
    fn the_empty_and_the_overlong_id_are_refused() {
        assert!("".parse::<UserId>().is_err());
        assert!("a".repeat(129).parse::<UserId>().is_err());
        assert!("a".repeat(128).parse::<UserId>().is_ok());
    }
}
