//! User states: one item each, changed by one conditional `UpdateItem`.

use super::item::{integer, number, user};
use super::keys::{self, PK, ROOM_ID, ROOM_INDEX, SK, STATE};
use super::{failed, send};
use crate::StateError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, Select};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::{Claim, DeviceClaim, MuteClaim, MuteScope, Policy, RoomId, Seq, Timestamp, User, UserId, Version};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::time::Duration;

/// Tries when the stored time is ahead of this machine's clock. The second try uses the stored time, so it fails only
/// if yet another writer with a faster clock came between.
const CLOCK_TRIES_MAX: usize = 5;

/// Items a scan reads per page: 1 MB holds about 3 000 states.
const SCAN_PAGE: i32 = 3000;

/// The user states of the `state` table.
#[derive(Debug, Clone)]
pub struct Users {
    client: Client,
    table: String,
    keep_for: Duration,
    policy: Policy,
}

/// What must hold for a change to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guard {
    /// `If-Match`: the version the caller has seen.
    pub if_match: Option<Version>,
    /// The client's counter: a change that is not newer than the stored one changes nothing.
    pub seq: Option<Seq>,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The state now stored.
    pub user: User,
    /// Whether this write created it.
    pub created: bool,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The states.
    pub users: Vec<User>,
    /// Where the next part starts; none at the end.
    pub next_cursor: Option<String>,
}

/// A change under construction.
#[derive(Default)]
struct Change {
    /// Whether it makes a state where there is none.
    creates: bool,
    set: String,
    remove: String,
    condition: String,
    values: Vec<(&'static str, AttributeValue)>,
}

impl Change {
    fn set(&mut self, attribute: &str, placeholder: &'static str, value: AttributeValue) {
        let _ = write!(self.set, "{attribute} = {placeholder}, ");
        self.values.push((placeholder, value));
    }

    fn remove(&mut self, attribute: &str) {
        self.remove.push_str(if self.remove.is_empty() { " REMOVE " } else { ", " });
        self.remove.push_str(attribute);
    }

    fn set_or_remove(&mut self, attribute: &str, placeholder: &'static str, value: Option<String>) {
        match value {
            Some(value) => self.set(attribute, placeholder, AttributeValue::S(value)),
            None => self.remove(attribute),
        }
    }

    /// The usual scope is stored as no attribute at all: what is not written costs nothing to read.
    fn mute(&mut self, claim: &MuteClaim) {
        self.set("isMuted", ":muted", AttributeValue::Bool(claim.is_muted));
        match claim.mute_scope {
            MuteScope::App => self.remove("muteScope"),
            scope => self.set("muteScope", ":scope", AttributeValue::S(scope.as_str().to_owned())),
        }
    }

    /// Each aspect has its own counter, so a device change never outruns a mute.
    fn newer_than(&mut self, attribute: &'static str) {
        let _ = write!(self.condition, " AND (attribute_not_exists({attribute}) OR {attribute} < :seq)");
        let _ = write!(self.set, "{attribute} = :seq, ");
    }
}

impl Users {
    /// User states in `table`, each kept for `keep_for` after its last change, judged by `policy`.
    #[must_use]
    pub fn new(client: Client, table: String, keep_for: Duration, policy: Policy) -> Self {
        Self { client, table, keep_for, policy }
    }

    /// Replaces a user's whole claim, creating the state if there is none. Counters start anew.
    ///
    /// # Errors
    /// [`StateError::VersionConflict`] if `guard.if_match` is not the stored version.
    pub async fn set_state(
        &self,
        id: &UserId,
        claim: Claim,
        guard: Guard,
        now: Timestamp,
    ) -> Result<Written, StateError> {
        let mut change = Change {
            creates: true,
            condition: "(attribute_not_exists(pk) OR lastUpdated <= :now)".into(),
            ..Change::default()
        };
        change.mute(&claim.mute);
        change.set_or_remove("deviceId", ":device", claim.device_id.map(String::from));
        change.set_or_remove("deviceLabel", ":label", claim.device_label.map(String::from));
        // An item without a room is not in the index.
        change.set_or_remove(ROOM_ID, ":room", claim.room_id.map(String::from));
        change.set.push_str("createdAt = if_not_exists(createdAt, :now), ");
        if guard.seq.is_some() {
            change.newer_than("muteSeq");
            change.newer_than("deviceSeq");
        } else {
            change.remove("muteSeq");
            change.remove("deviceSeq");
        }
        self.write(id, change, guard, &["muteSeq", "deviceSeq"], now).await
    }

    /// Changes whether a user's microphone is claimed muted, and nothing else.
    ///
    /// # Errors
    /// [`StateError::UserNotFound`]; [`StateError::VersionConflict`] if `guard.if_match` is not the stored version.
    pub async fn set_mute(
        &self,
        id: &UserId,
        claim: MuteClaim,
        guard: Guard,
        now: Timestamp,
    ) -> Result<User, StateError> {
        let mut change = Change { condition: "lastUpdated <= :now".into(), ..Change::default() };
        change.mute(&claim);
        if guard.seq.is_some() {
            change.newer_than("muteSeq");
        }
        Ok(self.write(id, change, guard, &["muteSeq"], now).await?.user)
    }

    /// Changes which device a user claims to use, and nothing else.
    ///
    /// # Errors
    /// [`StateError::UserNotFound`]; [`StateError::VersionConflict`] if `guard.if_match` is not the stored version.
    pub async fn set_device(
        &self,
        id: &UserId,
        claim: DeviceClaim,
        guard: Guard,
        now: Timestamp,
    ) -> Result<User, StateError> {
        let mut change = Change { condition: "lastUpdated <= :now".into(), ..Change::default() };
        change.set("deviceId", ":device", AttributeValue::S(claim.device_id.into()));
        change.set_or_remove("deviceLabel", ":label", claim.device_label.map(String::from));
        if guard.seq.is_some() {
            change.newer_than("deviceSeq");
        }
        Ok(self.write(id, change, guard, &["deviceSeq"], now).await?.user)
    }

    /// Sends a change as one conditional `UpdateItem`. Why a condition failed is read from the item that the refusal
    /// carries, so no second call is needed to tell the causes apart.
    async fn write(
        &self,
        id: &UserId,
        mut change: Change,
        guard: Guard,
        counters: &[&'static str],
        now: Timestamp,
    ) -> Result<Written, StateError> {
        change.set.push_str("lastUpdated = :now, expiresAt = :expires");
        change.values.push((":one", number(1)));
        if let Some(seq) = guard.seq {
            change.values.push((":seq", number(seq.get())));
        }
        if let Some(version) = guard.if_match {
            change.condition.push_str(" AND version = :version");
            change.values.push((":version", number(version)));
        }
        let update = format!("SET {}{} ADD version :one", change.set, change.remove);

        let mut now = now;
        for _ in 0..CLOCK_TRIES_MAX {
            let mut request = self
                .client
                .update_item()
                .table_name(&self.table)
                .key(PK, keys::user(id))
                .key(SK, AttributeValue::S(STATE.to_owned()))
                .update_expression(&update)
                .condition_expression(&change.condition)
                .expression_attribute_values(":now", number(now.ms()))
                .expression_attribute_values(":expires", number(now.plus(self.keep_for).ms() / 1000))
                .return_values(ReturnValue::AllNew);
            for (placeholder, value) in &change.values {
                request = request.expression_attribute_values(*placeholder, value.clone());
            }
            let old = match send(request).await? {
                Ok(item) => {
                    let user = user(item, self.policy, now)?;
                    return Ok(Written { created: user.version == 1, user });
                }
                Err(old) => old,
            };
            if old.is_empty() {
                // A change that creates is refused here by `If-Match` alone. For any other there is nothing whose version
                // could differ (RFC 9110, 13.2.1).
                return Err(if change.creates {
                    StateError::VersionConflict { current: None }
                } else {
                    StateError::UserNotFound
                });
            }
            // A repeated request has changed the version itself, so its counter is looked at first.
            if let Some(seq) = guard.seq {
                for counter in counters {
                    if old.contains_key(*counter) && integer(&old, counter)? >= seq.get() {
                        return Ok(Written { user: user(old, self.policy, now)?, created: false });
                    }
                }
            }
            let user = user(old, self.policy, now)?;
            if guard.if_match.is_some_and(|expected| expected != user.version) {
                return Err(StateError::VersionConflict { current: Some(user.version) });
            }
            // The stored time is ahead of this clock: time stands still until the clock has caught up.
            now = now.max(user.last_updated);
        }
        Err(StateError::Unavailable("writers with clocks ahead of this one kept winning".into()))
    }

    /// Reads one user's state.
    ///
    /// # Errors
    /// [`StateError::UserNotFound`]
    pub async fn get(&self, id: &UserId, now: Timestamp) -> Result<User, StateError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, keys::user(id))
            .key(SK, AttributeValue::S(STATE.to_owned()))
            .send()
            .await
            .map_err(failed)?;
        user(output.item.ok_or(StateError::UserNotFound)?, self.policy, now)
    }

    /// Removes one user's state.
    ///
    /// # Errors
    /// [`StateError::UserNotFound`]; [`StateError::VersionConflict`] if `if_match` is not the stored version.
    pub async fn delete(&self, id: &UserId, if_match: Option<Version>) -> Result<(), StateError> {
        let mut request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(PK, keys::user(id))
            .key(SK, AttributeValue::S(STATE.to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        request = match if_match {
            None => request.condition_expression("attribute_exists(pk)"),
            Some(version) => request
                .condition_expression("attribute_exists(pk) AND version = :version")
                .expression_attribute_values(":version", number(version)),
        };
        match request.send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => {
                use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
                match context.into_err() {
                    DeleteItemError::ConditionalCheckFailedException(refusal) => match refusal.item {
                        Some(old) if !old.is_empty() => {
                            Err(StateError::VersionConflict { current: Some(integer(&old, "version")?) })
                        }
                        _ => Err(StateError::UserNotFound),
                    },
                    other => Err(StateError::Internal(other.into())),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Lists the users of a room by id. The index follows a write within moments, so a list may lag behind.
    ///
    /// # Errors
    /// [`StateError::Cursor`] if `cursor` is not one that a list returned.
    pub async fn list_room(
        &self,
        room: &RoomId,
        limit: u16,
        cursor: Option<&str>,
        now: Timestamp,
    ) -> Result<Page, StateError> {
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(ROOM_INDEX)
            .key_condition_expression("roomId = :room")
            .expression_attribute_values(":room", AttributeValue::S(room.as_str().to_owned()))
            .limit(i32::from(limit));
        if let Some(cursor) = cursor {
            // The room comes from the path, so a made-up cursor can only skip within the caller's own list.
            let after = decode(cursor).and_then(|text| text.parse::<UserId>().ok()).ok_or(StateError::Cursor)?;
            request = request
                .exclusive_start_key(PK, keys::user(&after))
                .exclusive_start_key(SK, AttributeValue::S(STATE.to_owned()))
                .exclusive_start_key(ROOM_ID, AttributeValue::S(room.as_str().to_owned()));
        }
        let output = request.send().await.map_err(failed)?;
        let items = output.items.unwrap_or_default().into_iter();
        let users = items.map(|item| user(item, self.policy, now)).collect::<Result<Vec<_>, _>>()?;
        let next_cursor = match (output.last_evaluated_key, users.last()) {
            (Some(_), Some(last)) => Some(encode(last.user_id.as_str())),
            _ => None,
        };
        Ok(Page { users, next_cursor })
    }

    /// Lists all users, the one changed last first.
    ///
    /// Reads the whole table for every page and keeps only `limit` users of it, so the order is exact and memory does
    /// not grow with the table; an index would double the cost of every mute.
    ///
    /// # Errors
    /// [`StateError::Cursor`] if `cursor` is not one that a list returned.
    pub async fn list(&self, limit: u16, cursor: Option<&str>, now: Timestamp) -> Result<Page, StateError> {
        let after = cursor.map(|cursor| Place::from_cursor(cursor).ok_or(StateError::Cursor)).transpose()?;
        let limit = usize::from(limit);
        // The heap's top is the oldest user kept: the first to make room.
        let mut newest: BinaryHeap<Ranked> = BinaryHeap::with_capacity(limit + 1);
        let mut more = false;
        let mut pages = self
            .client
            .scan()
            .table_name(&self.table)
            .limit(SCAN_PAGE)
            .filter_expression("sk = :state")
            .expression_attribute_values(":state", AttributeValue::S(STATE.to_owned()))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                let user = user(item, self.policy, now)?;
                let place = Place::of(&user);
                if after.as_ref().is_some_and(|after| place <= *after) {
                    continue;
                }
                newest.push(Ranked { place, user });
                if newest.len() > limit {
                    newest.pop();
                    more = true;
                }
            }
        }
        let users: Vec<_> = newest.into_sorted_vec().into_iter().map(|ranked| ranked.user).collect();
        let next_cursor = users.last().filter(|_| more).map(|last| Place::of(last).to_cursor());
        Ok(Page { users, next_cursor })
    }

    /// People in rooms, counted to at most `limit`, so that the cost is bounded as well. A person who left without a word
    /// counts until their state expires.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn count_in_rooms(&self, limit: u32) -> Result<u32, StateError> {
        let mut counted = 0;
        let mut start = None;
        loop {
            let left = i32::try_from(limit - counted).unwrap_or(i32::MAX);
            let request = self.client.scan().table_name(&self.table).index_name(ROOM_INDEX);
            let request = request.select(Select::Count).limit(left).set_exclusive_start_key(start);
            let output = request.send().await.map_err(failed)?;
            counted = limit.min(counted + u32::try_from(output.count).unwrap_or(0));
            start = output.last_evaluated_key;
            if counted == limit || start.is_none() {
                return Ok(counted);
            }
        }
    }

    /// Asks the table for an item that never exists.
    ///
    /// # Errors
    /// Whatever keeps the table from answering.
    pub async fn ping(&self) -> Result<(), StateError> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key(PK, AttributeValue::S("HEALTH".to_owned()))
            .key(SK, AttributeValue::S("HEALTH".to_owned()))
            .send()
            .await
            .map(drop)
            .map_err(failed)
    }
}

/// A user's place in the list of all users: newest first, then by id. Earlier in the list is smaller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(Reverse<u64>, String);

impl Place {
    fn of(user: &User) -> Self {
        Self(Reverse(user.last_updated.ms()), user.user_id.as_str().to_owned())
    }

    fn to_cursor(&self) -> String {
        encode(&format!("{} {}", self.0.0, self.1))
    }

    fn from_cursor(cursor: &str) -> Option<Self> {
        let text = decode(cursor)?;
        let (ms, id) = text.split_once(' ')?;
        Some(Self(Reverse(ms.parse().ok()?), id.parse::<UserId>().ok()?.into()))
    }
}

struct Ranked {
    place: Place,
    user: User,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

fn encode(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn decode(cursor: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
