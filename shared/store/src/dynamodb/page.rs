//! A page of a list, and the cursor of the next page.

use crate::{Kind, Refusal, Shown, StoreError};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Display;
use std::str::FromStr;

/// 400: the cursor does not belong to this list. The caller starts over.
pub const CURSOR_INVALID: Refusal =
    Refusal::new(Kind::Invalid, "validation_failed", "cursor must be a nextCursor that this list returned");

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries of the page.
    pub items: Vec<T>,
    /// Cursor of the next page. `None`: this is the last page.
    pub next_cursor: Option<Cursor>,
}

/// A position in a list, which clients send back. It is opaque to them, but not secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Cursor(#[schemars(length(min = 1))] String);

impl Cursor {
    /// A cursor that continues after this position.
    pub(super) fn after(place: impl Display) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(place.to_string()))
    }

    /// The position that a client sent back.
    ///
    /// # Errors
    /// [`CURSOR_INVALID`] if the text does not hold such a position.
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
