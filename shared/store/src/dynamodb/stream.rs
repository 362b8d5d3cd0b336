//! The event that a function gets from a table's stream.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>

use super::item::{Item, binary, integer};
use super::keys::{self, PK, SK, STATE};
use crate::StoreError;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::{RoomId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

/// A batch of changes, in the order in which they happened.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamEvent {
    /// The changes.
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

/// One change of one item. The item's images stay text until they are needed, so that one unreadable record does not
/// fail its whole batch, and a batch takes little memory.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamRecord {
    dynamodb: Body,
    #[serde(rename = "eventSourceARN")]
    source: String,
    #[serde(rename = "userIdentity")]
    identity: Option<Identity>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    approximate_creation_date_time: Option<f64>,
    keys: Map<String, Json>,
    new_image: Option<Box<RawValue>>,
    old_image: Option<Box<RawValue>>,
    sequence_number: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    principal_id: Option<String>,
}

/// What happened to a room that somebody created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomChanged {
    /// It was created at this time.
    Created(RoomId, Timestamp),
    /// It has ended.
    Ended(RoomId),
}

/// The principal with which DynamoDB deletes expired items.
const TTL: &str = "dynamodb.amazonaws.com";

/// When a stream began, from its label, in AWS's format. Positions are compared as text, also between streams of AWS
/// and of the embedded engine, whose label is in seconds since 1970.
#[must_use]
pub fn stream_began(label: &str) -> String {
    let ms = label.split_once('.').and_then(|(seconds, fraction)| {
        let ms = fraction.get(..3)?.parse::<u64>().ok()?;
        seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(ms)
    });
    ms.map_or_else(|| label.to_owned(), |ms| Timestamp::from_ms(ms).to_string().trim_end_matches('Z').to_owned())
}

/// The place of a record among all records of this and earlier streams of a table. A later record has a greater
/// position. A restored table has a new stream, whose numbers may start again, so the stream's begin comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    began: String,
    /// Number of digits: of two numbers without leading zeros, the longer one is greater.
    digits: usize,
    number: String,
}

impl Position {
    /// The position of a record in the stream that `began` then. `None`: `number` is not one to 40 digits.
    pub(super) fn new(began: &str, number: &str) -> Option<Self> {
        if !(1..=40).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = number.trim_start_matches('0').to_owned();
        Some(Self { began: began.to_owned(), digits: number.len(), number })
    }

    /// When its stream began, as the stream's label says.
    pub(super) fn began(&self) -> &str {
        &self.began
    }

    /// Its number in that stream, without leading zeros.
    pub(super) fn number(&self) -> &str {
        if self.number.is_empty() { "0" } else { &self.number }
    }
}

/// The result of a batch, as Lambda expects it: the record from which the stream must be read again, if any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchOutcome {
    /// The first record that was not processed; empty if all were.
    pub batch_item_failures: Vec<FailedRecord>,
}

/// A record that was not processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedRecord {
    /// Its sequence number.
    pub item_identifier: String,
}

impl StreamRecord {
    /// Its position in the stream, as the stream gives it.
    #[must_use]
    pub fn sequence_number(&self) -> &str {
        &self.dynamodb.sequence_number
    }

    /// Its position among all records of this and earlier streams of the table.
    pub(super) fn position(&self) -> Result<Position, StoreError> {
        let (_, began) =
            self.source.split_once("/stream/").ok_or(StoreError::Corrupt { attribute: "eventSourceARN" })?;
        Position::new(began, self.sequence_number()).ok_or(StoreError::Corrupt { attribute: "SequenceNumber" })
    }

    /// The user whose state has changed. `None`: the item is something else.
    pub(super) fn user_id(&self) -> Option<UserId> {
        let key = |name: &str| self.dynamodb.keys.get(name)?["S"].as_str();
        if key(SK)? == STATE { keys::user_id(key(PK)?) } else { None }
    }

    /// The room that somebody created, if this is a change of its item that began or ended it.
    #[must_use]
    pub fn room(&self) -> Option<RoomChanged> {
        let key = |name: &str| self.dynamodb.keys.get(name)?["S"].as_str();
        let room = key(PK)?.strip_prefix(keys::ROOM_ITEMS).filter(|_| key(SK) == Some(keys::META))?;
        let room = room.parse().ok()?;
        let new = self.new_image().ok()??;
        if new.contains_key("endedAt") {
            Some(RoomChanged::Ended(room))
        } else if self.dynamodb.old_image.is_none() {
            Some(RoomChanged::Created(room, Timestamp::from_ms(integer(&new, "createdAt").ok()?)))
        } else {
            None
        }
    }

    /// Whether the table deleted the item because it had expired.
    pub(super) fn expired(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.principal_id.as_deref() == Some(TTL))
    }

    /// When the table recorded the change; AWS gives whole seconds.
    pub(super) fn noted_at(&self) -> Timestamp {
        let seconds = self.dynamodb.approximate_creation_date_time.unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates, and time is positive"
        )]
        Timestamp::from_ms((seconds * 1e3) as u64)
    }

    pub(super) fn old_image(&self) -> Result<Option<Item>, StoreError> {
        self.dynamodb.old_image.as_deref().map(item).transpose()
    }

    pub(super) fn new_image(&self) -> Result<Option<Item>, StoreError> {
        self.dynamodb.new_image.as_deref().map(item).transpose()
    }
}

/// A value in JSON. A state holds only texts, numbers, booleans and bytes.
#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Value {
    S(String),
    N(String),
    Bool(bool),
    B(String),
}

/// Reads an item from its JSON.
fn item(image: &RawValue) -> Result<Item, StoreError> {
    let unreadable = || StoreError::Corrupt { attribute: "image" };
    let members: HashMap<String, Value> = serde_json::from_str(image.get()).map_err(|_| unreadable())?;
    let read = |(name, value)| {
        let value = match value {
            Value::S(text) => AttributeValue::S(text),
            Value::N(digits) => AttributeValue::N(digits),
            Value::Bool(is) => AttributeValue::Bool(is),
            Value::B(text) => binary(&BASE64_STANDARD.decode(text).map_err(|_| unreadable())?),
        };
        Ok((name, value))
    };
    members.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_began_when_aws_would_say_it_did() {
        assert_eq!(stream_began("1795294610.040964841"), "2026-11-21T20:56:50.040");
        assert_eq!(stream_began("2026-11-21T20:56:50.040"), "2026-11-21T20:56:50.040");
    }

    #[test]
    fn positions_have_the_order_of_streams_and_then_of_numbers() {
        let position = |began, number| Position::new(began, number).unwrap();
        let (old, new) = ("2026-11-21T20:56:50.040", "2026-11-22T00:00:00.000");
        assert!(position(old, "9") < position(old, "10"));
        assert!(position(old, "999") < position(new, "1"));
        assert_eq!(position(old, "0010"), position(old, "10"));
        assert_eq!((position(old, "000").number(), position(old, "010").number()), ("0", "10"));
        let longest = "9".repeat(40);
        assert!(position(old, &longest) > position(old, "1"));
        for bad in ["", "1x", "-1", &"9".repeat(41)] {
            assert_eq!(Position::new(old, bad), None, "{bad}");
        }
    }
}
