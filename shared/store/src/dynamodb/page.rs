//! A part of a list, and where the next part starts.

use crate::{Kind, Refusal, Shown, StoreError};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use std::fmt::Display;
use std::str::FromStr;

/// 400: this is no cursor of the list. The caller starts over.
pub const CURSOR_INVALID: Refusal =
    Refusal::new(Kind::Invalid, "validation_failed", "cursor must be a nextCursor that this list returned");

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// Where the next part starts; none at the end.
    pub next_cursor: Option<Cursor>,
}

/// A place in a list, as clients send it back: opaque to them, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Behind this place.
    pub(super) fn after(place: impl Display) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(place.to_string()))
    }

    /// The place that a client sent back.
    ///
    /// # Errors
    /// [`CURSOR_INVALID`] if no list of this kind of places returned it.
    pub(super) fn place<T: FromStr>(text: &str) -> Result<T, StoreError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        let shown = Shown::Field("cursor", "must be a nextCursor that this list returned");
        place.ok_or(StoreError::Refused(CURSOR_INVALID, shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::UserId;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let id: UserId = "ada".parse().unwrap();
        let Cursor(text) = Cursor::after(&id);
        assert_eq!(Cursor::place::<UserId>(&text).unwrap(), id);
    }

    #[test]
    fn another_text_is_no_cursor() {
        for bad in ["", "ada", "*", "YSBi", "_w"] {
            assert!(Cursor::place::<UserId>(bad).unwrap_err().is(CURSOR_INVALID), "{bad}");
        }
    }
}
