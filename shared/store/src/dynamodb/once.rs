//! Answers that are given once: what a repeated request gets again, instead of taking effect again.
//!
//! The record of an answer is a write of the transaction that makes what the request asked for. So either both are
//! stored or neither is, and of two equal requests at once, one transaction fails. Whoever lost reads the record.
//!
//! An answer may hold a token, so nothing here is ever logged, and no snapshot holds a record.

use super::expression::{absent, at_most};
use super::item::{Item, binary, bytes, integer, is_expired, seconds, text};
use super::keys::{self, PK};
use super::table::{Table, Write};
use crate::{Kind, Refusal, StoreError};
use aws_sdk_dynamodb::Client;
use domain::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::time::Duration;

/// How long an answer can be had again.
const KEPT: Duration = Duration::from_hours(24);

/// 422: the key belongs to a request with another body.
pub const IDEMPOTENCY_KEY_REUSED: Refusal = Refusal::new(
    Kind::Reused,
    "idempotency_key_reused",
    "this Idempotency-Key was sent with another body; a new request needs a new key",
);

/// 503: an equal request came first, and its answer counts. A handler asks for it again and shows this to nobody, unless
/// that answer is gone.
pub const ANSWERED: Refusal =
    Refusal::new(Kind::Unavailable, "unavailable", "an equal request came first; try again").retry_after(1);

/// A request that its client can repeat: who sends it where under which key, and what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Repeatable {
    key: [u8; 32],
    body: [u8; 32],
}

impl Repeatable {
    /// A request. Its parts must hold no line break, so that no two requests are the same by accident.
    #[must_use]
    pub fn new(caller: &str, route: &str, key: &str, body: &[u8]) -> Self {
        let key = Sha256::digest(format!("greenroom-once-v1\n{caller}\n{route}\n{key}"));
        Self { key: key.into(), body: Sha256::digest(body).into() }
    }

    /// The record of the answer that this request gets.
    #[must_use]
    pub fn answered(self, status: u16, body: String) -> Record {
        Record { request: self, given: Given { status, body } }
    }
}

/// The place of a record in a transaction of a room: after the writes of the room and of what is new in it.
const RECORD: usize = 2;

/// Whether such a transaction failed because an equal request came first.
pub(super) fn came_second(refused: &[Option<Item>]) -> bool {
    matches!(refused.get(RECORD), Some(Some(_)))
}

impl fmt::Debug for Repeatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repeatable")
    }
}

/// An answer that a request got.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// The HTTP status.
    pub status: u16,
    /// The body, as JSON.
    pub body: String,
}

impl fmt::Debug for Given {
    /// Without the body, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The answer of a request, to be stored in the transaction that makes what it asked for.
#[derive(Debug, Clone)]
pub struct Record {
    request: Repeatable,
    given: Given,
}

impl Record {
    /// The write that stores the answer, unless the key has one already. An expired record counts as none, because the
    /// table removes it only within days.
    pub(super) fn write(&self, now: Timestamp) -> Write {
        Write::put(keys::once(&self.request.key))
            .set("bodyDigest", binary(&self.request.body))
            .set("status", u64::from(self.given.status))
            .set("answer", &self.given.body)
            .set("expiresAt", seconds(now.plus(KEPT)))
            .when(absent(PK).or(at_most("expiresAt", seconds(now))))
    }
}

/// The given answers in the `state` table.
#[derive(Debug, Clone)]
pub struct Answers {
    table: Table,
}

impl Answers {
    /// Answers in `table`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { table: Table::new(client, table) }
    }

    /// The answer that this request got within the last 24 hours, read consistently.
    ///
    /// # Errors
    /// [`IDEMPOTENCY_KEY_REUSED`] if the key belongs to a request with another body.
    pub async fn find(&self, request: &Repeatable, now: Timestamp) -> Result<Option<Given>, StoreError> {
        let Some(item) = self.table.get_now(keys::once(&request.key)).await? else { return Ok(None) };
        given(item, request, now)
    }

    /// Stores an answer by itself: for a request that changes no table, or whose change takes effect once anyway.
    /// Returns whether it is the key's first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn keep(&self, record: &Record, now: Timestamp) -> Result<bool, StoreError> {
        self.table.transact(vec![record.write(now)]).await
    }
}

fn given(mut item: Item, request: &Repeatable, now: Timestamp) -> Result<Option<Given>, StoreError> {
    if is_expired(&item, now)? {
        return Ok(None);
    }
    if bytes::<32>(&item, "bodyDigest")? != request.body {
        return Err(IDEMPOTENCY_KEY_REUSED.into());
    }
    let status = integer(&item, "status")?.try_into().map_err(|_| StoreError::Corrupt { attribute: "status" })?;
    let body = text(&mut item, "answer")?.ok_or(StoreError::Corrupt { attribute: "answer" })?;
    Ok(Some(Given { status, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_261_458_082);

    fn request() -> Repeatable {
        Repeatable::new("p:7", "POST /api/rooms", "k", b"{}")
    }

    #[test]
    fn the_same_request_gets_its_answer_for_a_day() {
        let answer = Given { status: 201, body: "{\"token\":\"secret\"}".to_owned() };
        let record = request().answered(answer.status, answer.body.clone());
        let item = record.write(NOW).into_item();
        let at = |hours| given(item.clone(), &request(), NOW.plus(Duration::from_hours(hours))).unwrap();
        assert_eq!(at(0), Some(answer.clone()));
        assert_eq!(at(23), Some(answer));
        assert_eq!(at(24), None);
        assert!(!format!("{record:?}").contains("secret"));
    }

    #[test]
    fn another_body_under_the_same_key_is_refused() {
        let item = request().answered(201, "{}".to_owned()).write(NOW).into_item();
        let other = Repeatable::new("p:7", "POST /api/rooms", "k", b"{ }");
        assert!(given(item, &other, NOW).unwrap_err().is(IDEMPOTENCY_KEY_REUSED));
    }

    #[test]
    fn another_caller_route_or_key_is_another_request() {
        let all = [
            request(),
            Repeatable::new("p:8", "POST /api/rooms", "k", b"{}"),
            Repeatable::new("p:7", "POST /api/rooms/a/join", "k", b"{}"),
            Repeatable::new("p:7", "POST /api/rooms", "l", b"{}"),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all[place + 1..].iter().all(|other| other.key != one.key), "{place}");
        }
    }
}
