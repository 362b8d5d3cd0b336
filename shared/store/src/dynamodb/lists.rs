//! Lists of user states: the people of a room, all people, and their number.

use super::expression::{Condition, above, absent, is};
use super::failed;
use super::item::{Item, Stored as _, user, user_id_of};
use super::keys::{self, PK, ROLE, ROOM_ID, ROOM_INDEX, SK, STATE, USER, WAITING};
use super::page::{Cursor, Page};
use super::users::{Users, unexpired};
use crate::StoreError;
use aws_sdk_dynamodb::types::Select;
use domain::user::User;
use domain::{Refused, RoomId, Timestamp, UserId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

/// States that one call of a count reads, and that a count reads in total.
const COUNT_PAGE: u32 = 1000;
const COUNTED_MAX: i32 = 20_000;
/// Items a scan reads per page: 1 MB holds about 3 000 states.
const SCAN_PAGE: i32 = 3000;

/// A condition on a state: neither the state nor its lease has expired, and the person does not wait in a lobby.
pub(super) fn present(now: Timestamp) -> Condition {
    leased(now).and(absent(WAITING))
}

/// A condition on a state: neither the state nor its lease has expired.
pub(super) fn leased(now: Timestamp) -> Condition {
    unexpired(now).and(absent("leaseUntil").or(above("leaseUntil", now)))
}

/// The states in a room.
pub(super) fn within(room: &RoomId) -> Condition {
    is(ROOM_ID, room).and(Condition::BeginsWith(PK, USER.to_owned()))
}

impl Users {
    /// Lists the people who are present in a room, by id. The index is eventually consistent, so a list may lag behind.
    /// A page may hold fewer than `limit` entries, even none, and still have a next page.
    ///
    /// # Errors
    /// [`CURSOR_INVALID`](super::CURSOR_INVALID) if no list has returned `cursor`.
    pub async fn list_room(
        &self,
        room: &RoomId,
        limit: u16,
        cursor: Option<&str>,
        now: Timestamp,
    ) -> Result<Page<User>, StoreError> {
        // The room comes from the path, so a forged cursor can only skip entries of the caller's own list.
        let after = cursor.map(Cursor::place::<UserId>).transpose()?;
        let start = after.map(|after| {
            let mut start = Item::from(keys::user(&after));
            start.insert(ROOM_ID.to_owned(), room.stored());
            start
        });
        let request = self.table.query(within(room), Some(present(now))).index_name(ROOM_INDEX);
        let request = request.limit(i32::from(limit)).set_exclusive_start_key(start);
        let output = request.send().await.map_err(failed)?;
        let items = output.items.unwrap_or_default().into_iter();
        let items = items.map(|item| user(item, self.policy, now)).collect::<Result<_, _>>()?;
        let last = output.last_evaluated_key.as_ref().map(user_id_of).transpose()?;
        Ok(Page { items, next_cursor: last.map(Cursor::after) })
    }

    /// Everybody who is present in a room, in their current state. The index only gives the ids, and each state is then
    /// read consistently: a person who has left is left out, and every change is seen. A person who joined moments ago
    /// may still be missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn present(&self, room: &RoomId, now: Timestamp) -> Result<Vec<User>, StoreError> {
        let mut found = Vec::new();
        let request = self.table.query(within(room), None).index_name(ROOM_INDEX).projection_expression(PK);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let members = page.map_err(failed)?.items.unwrap_or_default();
            let keys =
                members.iter().map(|item| Ok(keys::user(&user_id_of(item)?))).collect::<Result<_, StoreError>>()?;
            for item in self.table.get_all_now(keys).await? {
                let user = user(item, self.policy, now)?;
                if user.is_present(now) && user.room_id.as_ref() == Some(room) {
                    found.push(user);
                }
            }
        }
        found.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        Ok(found)
    }

    /// Lists everybody who is present, the most recently changed first.
    ///
    /// Each page scans the whole table and keeps only `limit` users, so the order is exact and memory does not grow
    /// with the table. An index instead would double the cost of every mute.
    ///
    /// # Errors
    /// [`CURSOR_INVALID`](super::CURSOR_INVALID) if no list has returned `cursor`.
    pub async fn list(&self, limit: u16, cursor: Option<&str>, now: Timestamp) -> Result<Page<User>, StoreError> {
        let after = cursor.map(Cursor::place::<Position>).transpose()?;
        let limit = usize::from(limit);
        // The top of the heap is the oldest user kept, which is dropped first.
        let mut newest: BinaryHeap<Ranked> = BinaryHeap::with_capacity(limit + 1);
        let mut more = false;
        // Only the people of a room that somebody created learn who is in it, and in open mode an id lets act.
        let wanted = is(SK, STATE).and(present(now)).and(absent(ROLE));
        let request = self.table.scan(wanted).limit(SCAN_PAGE);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                let user = user(item, self.policy, now)?;
                let position = Position::of(&user);
                if after.as_ref().is_some_and(|after| position <= *after) {
                    continue;
                }
                newest.push(Ranked { position, user });
                if newest.len() > limit {
                    newest.pop();
                    more = true;
                }
            }
        }
        let items: Vec<_> = newest.into_sorted_vec().into_iter().map(|ranked| ranked.user).collect();
        let next_cursor = items.last().filter(|_| more).map(|last| Cursor::after(Position::of(last)));
        Ok(Page { items, next_cursor })
    }

    /// Number of people who are present in rooms, at most `limit`. It reads at most [`COUNTED_MAX`] states, so that its
    /// cost is bounded.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count_in_rooms(&self, limit: u32, now: Timestamp) -> Result<u32, StoreError> {
        let (mut counted, mut looked_at) = (0, 0);
        let mut start = None;
        loop {
            // Connections are in the index too.
            let people = present(now).and(Condition::BeginsWith(PK, USER.to_owned()));
            let request = self.table.scan(people).index_name(ROOM_INDEX).select(Select::Count);
            let request = request.limit(i32::try_from(limit.clamp(1, COUNT_PAGE)).unwrap_or(i32::MAX));
            let output = request.set_exclusive_start_key(start).send().await.map_err(failed)?;
            counted = limit.min(counted + u32::try_from(output.count).unwrap_or(0));
            looked_at += output.scanned_count;
            start = output.last_evaluated_key;
            if counted == limit || start.is_none() || looked_at >= COUNTED_MAX {
                return Ok(counted);
            }
        }
    }
}

/// A user's position in the list of all users: the newest first, then by id. Earlier positions compare as smaller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Position(Reverse<u64>, UserId);

impl Position {
    fn of(user: &User) -> Self {
        Self(Reverse(user.last_updated.ms()), user.user_id.clone())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.0, self.1)
    }
}

impl FromStr for Position {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        const RULE: Refused = Refused("be a time in milliseconds and a user id");
        let (ms, id) = text.split_once(' ').ok_or(RULE)?;
        Ok(Self(Reverse(ms.parse().map_err(|_| RULE)?), id.parse()?))
    }
}

struct Ranked {
    position: Position,
    user: User,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
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
        self.position.cmp(&other.position)
    }
}
