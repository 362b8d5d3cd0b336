//! Rooms that somebody created: one item each, with the counters of its people.

use super::cause::Cause;
use super::expression::{Condition, above, absent, at_most, below, equals, exists, is, is_below};
use super::failed;
use super::item::{Item, checked, integer, is_expired, seconds};
use super::keys::{self, EPOCH, MODERATED, PARTICIPANT, PK, ROLE, ROOM_ID, ROOM_INDEX, SEATED, SK, WAITING};
use super::lists::within;
use super::once::{ANSWERED, Record, came_second};
use super::page::{Cursor, Page};
use super::table::{Table, Write};
use super::users::VERSION_CONFLICT;
use crate::{Kind, Refusal, Shown, StoreError};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use domain::mute::MuteNotice;
use domain::room::{Role, Room, SessionStats, Settings};
use domain::user::{LEASE, Version};
use domain::verdict::{MinEvidence, Policy};
use domain::{Name, RoomId, Slug, Timestamp, Title, UserId};
use std::time::Duration;

/// 404: there is no such room, or it has been forgotten.
pub const ROOM_NOT_FOUND: Refusal = Refusal::new(Kind::NotFound, "room_not_found", "there is no such room");
/// 410: the room has ended.
pub const ROOM_ENDED: Refusal = Refusal::new(Kind::Gone, "room_ended", "this room has ended");
/// 409: every seat is taken by somebody who is present.
pub const ROOM_FULL: Refusal = Refusal::new(Kind::Conflict, "room_full", "this room is full").retry_after(30);

/// How long an ended room is remembered.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);
/// Attempts to come into a room, to leave it or to get a role there, while others do the same. Each attempt reads anew.
pub(super) const SEAT_TRIES_MAX: u32 = 40;
/// Attempts of a change without `If-Match` while others change the room.
const CHANGE_TRIES_MAX: u32 = 5;
/// Seats of people who have gone silent that one call frees.
const FREED_MAX: usize = 25;

/// The attributes of a room's item.
mod attribute {
    pub(super) const ENDED_AT: &str = "endedAt";
    pub(super) const ENDS_AT: &str = "endsAt";
    pub(in super::super) const JOINED: &str = "joined";
    pub(super) const MAX: &str = "maxParticipants";
    pub(super) const MESSAGES: &str = "messages";
    pub(super) const PASSWORD: &str = "passwordHash";
    pub(super) const PEAK: &str = "peak";
    pub(super) const PRESENT: &str = "present";
    /// The last request to everybody to mute, and its time.
    pub(in super::super) const MUTE_REQUEST: &str = "muteRequestId";
    pub(in super::super) const MUTE_REQUESTED_AT: &str = "muteRequestedAt";
    /// Questions that are neither removed nor answered.
    pub(in super::super) const OPEN_QUESTIONS: &str = "openQuestions";
    /// Questions that are not removed.
    pub(in super::super) const HELD_QUESTIONS: &str = "heldQuestions";
    /// Questions that were ever asked.
    pub(in super::super) const QUESTIONS: &str = "questions";
    pub(super) const SETTINGS: &str = "settings";
}
use attribute::{ENDED_AT, ENDS_AT, MAX, MESSAGES, PASSWORD, PEAK, PRESENT, SETTINGS};
pub(super) use attribute::{HELD_QUESTIONS, JOINED, MUTE_REQUEST, MUTE_REQUESTED_AT, OPEN_QUESTIONS, QUESTIONS};

/// The rooms that somebody created, and their people.
#[derive(Debug, Clone)]
pub struct Rooms {
    pub(super) table: Table,
    pub(super) policy: Policy,
}

/// A room to create.
#[derive(Debug)]
pub struct NewRoom {
    /// Its id.
    pub id: RoomId,
    /// Its name in links.
    pub slug: Slug,
    /// Its title.
    pub title: Title,
    /// The name of the person who creates it.
    pub presenter_name: Name,
    /// The hash of its password, if it has one.
    pub password_hash: Option<String>,
    /// How many people it may hold.
    pub max_participants: u32,
    /// Its settings.
    pub settings: Settings,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
}

/// A person who joins.
#[derive(Debug)]
pub struct NewParticipant {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub name: Name,
    /// What they may do.
    pub role: Role,
}

/// What a change makes of a room's password.
#[derive(Debug, Clone, Default)]
pub enum NewPassword {
    /// It stays as it is.
    #[default]
    Same,
    /// The room needs none any more.
    None,
    /// The password with this hash.
    Hash(String),
}

/// A change of a room. Members that are `None` stay as they are.
#[derive(Debug, Default)]
pub struct RoomChange {
    /// The title.
    pub title: Option<Title>,
    /// The password.
    pub password: NewPassword,
    /// How many people the room may hold. A lower number than there are people throws nobody out.
    pub max_participants: Option<u32>,
    /// All settings.
    pub settings: Option<Settings>,
}

/// Whether a seat was taken.
pub(super) enum Seated {
    /// It was.
    Yes,
    /// Others have changed the room since it was read, or the person's item does not fit.
    No,
    /// An equal request came first.
    Answered,
}

impl Seated {
    fn of(outcome: Result<(), Vec<Option<Item>>>) -> Self {
        match outcome {
            Ok(()) => Self::Yes,
            Err(refused) if came_second(&refused) => Self::Answered,
            Err(_) => Self::No,
        }
    }
}

impl RoomChange {
    /// Whether the room is so already.
    fn is_nothing(&self, room: &Room) -> bool {
        self.title.as_ref().is_none_or(|title| *title == room.title)
            && match self.password {
                NewPassword::Same => true,
                NewPassword::None => !room.has_password,
                // A new hash of the same password is another one.
                NewPassword::Hash(_) => false,
            }
            && self.max_participants.is_none_or(|max| max == room.max_participants)
            && self.settings.as_ref().is_none_or(|settings| *settings == room.settings)
    }
}

/// A room with what only the service sees.
#[derive(Debug)]
pub struct StoredRoom {
    /// What its people see.
    pub room: Room,
    /// The hash of its password.
    pub password_hash: Option<String>,
    /// The most people who were in it at the same time.
    peak: u32,
    /// How many times somebody joined.
    joined: u32,
    /// Questions that were asked.
    questions: u32,
    /// Messages, if the room has ended.
    messages: u32,
}

impl StoredRoom {
    /// Refuses a room that has ended.
    ///
    /// # Errors
    /// [`ROOM_ENDED`]
    pub fn active(self) -> Result<Self, StoreError> {
        if self.room.is_active { Ok(self) } else { Err(ROOM_ENDED.into()) }
    }

    /// When the room was ended, and what happened in it. `None`: nobody has ended it.
    pub(super) fn session(&self) -> Option<(Timestamp, SessionStats)> {
        let ended_at = self.room.ended_at?;
        Some((ended_at, self.stats(ended_at, self.messages)))
    }

    fn stats(&self, ended_at: Timestamp, messages: u32) -> SessionStats {
        let ms = ended_at.ms().saturating_sub(self.room.created_at.ms());
        SessionStats {
            max_concurrent_participants: self.peak,
            total_participants: self.joined,
            total_messages: messages,
            total_questions: self.questions,
            session_duration_minutes: u32::try_from((ms + 30_000) / 60_000).unwrap_or(u32::MAX),
            created_at: ended_at,
        }
    }
}

impl Rooms {
    /// The rooms in `table`; `policy` gives the verdicts on their people.
    #[must_use]
    pub fn new(client: Client, table: String, policy: Policy) -> Self {
        Self { table: Table::new(client, table), policy }
    }

    /// Creates a room with its presenter in it. `answer` makes the record of the answer, if the request can be repeated.
    ///
    /// # Errors
    /// [`ANSWERED`]
    pub async fn create<E: From<StoreError>>(
        &self,
        new: &NewRoom,
        presenter: &NewParticipant,
        answer: impl FnOnce(&Room) -> Result<Option<Record>, E>,
        cause: &Cause,
    ) -> Result<Room, E> {
        let forgotten_at = forgotten_at(new.ends_at);
        let room = Write::put(keys::room(&new.id))
            .set("slug", new.slug.as_str())
            .set("title", new.title.as_str())
            .set("presenterName", new.presenter_name.as_str())
            .set_or_remove(PASSWORD, new.password_hash.as_deref())
            .set(MAX, u64::from(new.max_participants))
            .set(SETTINGS, json(&new.settings)?)
            .set(PRESENT, 1)
            .set(PEAK, 1)
            .set(JOINED, 1)
            .set(QUESTIONS, 0)
            .set(PRESENTERS, 1)
            .set(OPEN_QUESTIONS, 0)
            .set(HELD_QUESTIONS, 0)
            .set("version", 1)
            .set("createdAt", cause.at)
            .set(ENDS_AT, new.ends_at)
            .set("expiresAt", forgotten_at)
            .when(absent(PK));
        let slug =
            Write::put(keys::slug(&new.slug)).set("room", &new.id).set("expiresAt", forgotten_at).when(absent(PK));
        let active = Write::put(keys::active(&new.id)).set("expiresAt", seconds(new.ends_at)).when(absent(PK));
        let presenter = born(presenter, &new.id, &new.settings, new.ends_at, cause).set(SEATED, true);
        let created = Room {
            room_id: new.id.clone(),
            slug: new.slug.clone(),
            title: new.title.clone(),
            presenter_name: new.presenter_name.clone(),
            has_password: new.password_hash.is_some(),
            max_participants: new.max_participants,
            present: 1,
            is_active: true,
            settings: new.settings.clone(),
            version: 1,
            mute_request: None,
            created_at: cause.at,
            expires_at: new.ends_at,
            ended_at: None,
        };
        let mut writes = vec![room, slug, active, presenter];
        writes.extend(answer(&created)?.map(|record| record.write(cause.at)));
        match self.table.try_transact(writes).await? {
            Ok(()) => Ok(created),
            // All other ids are random.
            Err(_) => Err(StoreError::from(ANSWERED).into()),
        }
    }

    /// The room of a slug.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`]
    pub async fn find(&self, slug: &Slug, now: Timestamp) -> Result<RoomId, StoreError> {
        let mut item = self.table.get(keys::slug(slug)).await?.ok_or(ROOM_NOT_FOUND)?;
        if is_expired(&item, now)? {
            return Err(ROOM_NOT_FOUND.into());
        }
        checked(&mut item, "room")?.ok_or(StoreError::Corrupt { attribute: "room" })
    }

    /// Reads a room; eventually consistent.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`]
    pub async fn get(&self, id: &RoomId, now: Timestamp) -> Result<StoredRoom, StoreError> {
        let item = self.table.get(keys::room(id)).await?.ok_or(ROOM_NOT_FOUND)?;
        room(id, item, now)
    }

    /// Reads a room consistently.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`]
    pub async fn get_now(&self, id: &RoomId, now: Timestamp) -> Result<StoredRoom, StoreError> {
        let item = self.table.get_now(keys::room(id)).await?.ok_or(ROOM_NOT_FOUND)?;
        room(id, item, now)
    }

    /// Lists the active rooms, the newest first.
    ///
    /// # Errors
    /// [`CURSOR_INVALID`](super::CURSOR_INVALID) if no list has returned `cursor`.
    pub async fn list(&self, limit: u16, cursor: Option<&str>, now: Timestamp) -> Result<Page<Room>, StoreError> {
        let after = cursor.map(Cursor::place::<RoomId>).transpose()?;
        let start = after.map(|after| Item::from(keys::active(&after)));
        let request = self.table.query(is(PK, keys::ACTIVE), Some(above("expiresAt", seconds(now))));
        let request = request.scan_index_forward(false).limit(i32::from(limit)).set_exclusive_start_key(start);
        let output = request.send().await.map_err(failed)?;
        let ids = output.items.unwrap_or_default().into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let next_cursor = output.last_evaluated_key.map(place).transpose()?.map(Cursor::after);
        let mut items = Vec::with_capacity(ids.len());
        for item in self.table.get_all_now(ids.iter().map(keys::room).collect()).await? {
            let id = room_id_of(&item)?;
            if !is_expired(&item, now)? {
                items.push(room(&id, item, now)?.room);
            }
        }
        items.retain(|room| room.is_active);
        items.sort_by(|a, b| b.room_id.cmp(&a.room_id));
        Ok(Page { items, next_cursor })
    }

    /// Lets a person into a room, or into its lobby if it has one and they are no presenter. `stored` is the room as it
    /// was read last; `answer` makes the record of the answer from the room as it will be, if the request can be repeated.
    /// Returns the room with the person in it.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`], [`ROOM_ENDED`], [`ROOM_FULL`], [`ANSWERED`].
    pub async fn join<E: From<StoreError>>(
        &self,
        mut stored: StoredRoom,
        person: &NewParticipant,
        answer: impl Fn(&Room) -> Result<Option<Record>, E>,
        cause: &Cause,
    ) -> Result<Room, E> {
        let id = stored.room.room_id.clone();
        for _ in 0..SEAT_TRIES_MAX {
            stored = stored.active()?;
            let settings = &stored.room.settings;
            let born = born(person, &id, settings, stored.room.expires_at, cause);
            let record = |will_be: &Room| answer(will_be).map(|record| record.map(|record| record.write(cause.at)));
            let seated = if settings.lobby && person.role == Role::Attendee {
                let unchanged = is_active(cause.at).and(is("version", stored.room.version));
                let mut writes = vec![Write::check(keys::room(&id)).when(unchanged), born.set(WAITING, true)];
                writes.extend(record(&stored.room)?);
                Seated::of(self.table.try_transact(writes).await?)
            } else {
                let will_be = Room { present: stored.room.present + 1, ..stored.room.clone() };
                let mut writes = vec![born.set(SEATED, true)];
                writes.extend(record(&will_be)?);
                self.take_seat(&mut stored, writes, true, cause.at).await?
            };
            match seated {
                Seated::Yes => return Ok(stored.room),
                Seated::Answered => return Err(StoreError::from(ANSWERED).into()),
                Seated::No => {}
            }
            stored = self.read_again(stored, cause.at).await?;
        }
        Err(StoreError::Unavailable("others kept joining and leaving this room".into()).into())
    }

    /// Reads a room again that has changed while somebody joins. Whoever knew the password before must show that they
    /// know the new one, so they have to ask again.
    async fn read_again(&self, before: StoredRoom, now: Timestamp) -> Result<StoredRoom, StoreError> {
        let stored = self.get_now(&before.room.room_id, now).await?;
        if stored.password_hash.is_some() && stored.password_hash != before.password_hash {
            return Err(StoreError::Unavailable("the password was changed while somebody joined".into()));
        }
        Ok(stored)
    }

    /// Takes a seat together with these writes: the person's item first, then the record of the answer, if there is one.
    /// `joins`: the person comes for the first time, and is counted.
    ///
    /// # Errors
    /// [`ROOM_FULL`], after seats of people who have gone silent were looked for.
    pub(super) async fn take_seat(
        &self,
        stored: &mut StoredRoom,
        others: Vec<Write>,
        joins: bool,
        now: Timestamp,
    ) -> Result<Seated, StoreError> {
        let Room { room_id: id, present, max_participants: max, .. } = &stored.room;
        if present >= max {
            // Others may have freed the seats that this call looked for.
            let has_seats = self.free_seats(id, now).await? > 0 || self.get_now(id, now).await?.room.present < *max;
            return if has_seats { Ok(Seated::No) } else { Err(ROOM_FULL.into()) };
        }
        let max = u64::from(*max);
        let seat = Write::update(keys::room(id)).count(PRESENT).when(is_active(now).and(is(MAX, max)));
        let seat = if joins { seat.count(JOINED) } else { seat };
        // Settings are stored with who joins, so they must be those of the room at this moment.
        let seat = seat.when(is("version", stored.room.version));
        let seat = seat.when(below(PRESENT, max));
        // A new peak is counted as it is stored, so that people who join at once do not fail for each other's sake.
        let seat = if stored.room.present >= stored.peak {
            seat.count(PEAK).when(equals(PRESENT, PEAK))
        } else {
            seat.when(is_below(PRESENT, PEAK))
        };
        let writes = std::iter::once(seat).chain(others).collect();
        let seated = Seated::of(self.table.try_transact(writes).await?);
        if matches!(seated, Seated::Yes) {
            stored.room.present += 1;
            stored.peak = stored.peak.max(stored.room.present);
        }
        Ok(seated)
    }

    /// Frees seats of attendees who have gone silent, and returns their number. A presenter keeps the seat: otherwise
    /// nobody could run or end a room that has filled up while its presenter's machine slept.
    async fn free_seats(&self, id: &RoomId, now: Timestamp) -> Result<usize, StoreError> {
        let silent = exists(SEATED).and(at_most("leaseUntil", now)).and(is(ROLE, Role::Attendee.as_str()));
        let request =
            self.table.query(within(id), Some(silent.clone())).index_name(ROOM_INDEX).projection_expression(PK);
        let mut pages = request.into_paginator().send();
        let mut freed = 0;
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                let person = Write::update(keys::user(&super::item::user_id_of(&item)?))
                    .remove(&[SEATED])
                    .when(silent.clone().and(is(ROOM_ID, id)));
                freed += usize::from(self.table.try_transact(vec![person, left(id)]).await?.is_ok());
                if freed == FREED_MAX {
                    return Ok(freed);
                }
            }
        }
        Ok(freed)
    }

    /// Changes a room. `before` is the room as it was read last. `change` gets the stored room and returns what to set; it
    /// is called again if others change the room at the same time, unless there is an `if_match`.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`], [`ROOM_ENDED`], [`VERSION_CONFLICT`].
    pub async fn change<E: From<StoreError>>(
        &self,
        mut before: StoredRoom,
        if_match: Option<Version>,
        now: Timestamp,
        mut change: impl FnMut(&StoredRoom) -> Result<RoomChange, E>,
    ) -> Result<StoredRoom, E> {
        let id = before.room.room_id.clone();
        for _ in 0..CHANGE_TRIES_MAX {
            before = before.active()?;
            if if_match.is_some_and(|expected| expected != before.room.version) {
                return Err(StoreError::Refused(VERSION_CONFLICT, Shown::Version(Some(before.room.version))).into());
            }
            let change = change(&before)?;
            if change.is_nothing(&before.room) {
                return Ok(before);
            }
            let RoomChange { title, password, max_participants, settings } = change;
            let mut write = Write::update(keys::room(&id)).count("version");
            if let Some(title) = &title {
                write = write.set("title", title.as_str());
            }
            write = match password {
                NewPassword::Same => write,
                NewPassword::None => write.remove(&[PASSWORD]),
                NewPassword::Hash(hash) => write.set(PASSWORD, hash),
            };
            if let Some(max) = max_participants {
                write = write.set(MAX, u64::from(max));
            }
            if let Some(settings) = &settings {
                write = write.set(SETTINGS, json(settings)?);
            }
            write = write.when(is_active(now).and(is("version", before.room.version)));
            if let Ok(item) = self.table.change(write).await? {
                return Ok(room(&id, item, now)?);
            }
            before = self.get_now(&id, now).await?;
        }
        Err(StoreError::Unavailable("others kept changing this room".into()).into())
    }

    /// Ends a room for everybody. The first call decides what happened in it; any further one returns the same.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`]
    pub async fn end(&self, id: &RoomId, cause: &Cause) -> Result<SessionStats, StoreError> {
        let messages = self.count_messages(id).await?;
        let end = Write::update(keys::room(id))
            .set(ENDED_AT, cause.at)
            .set(MESSAGES, u64::from(messages))
            .set("expiresAt", seconds(cause.at.plus(REMEMBERED_FOR)))
            .when(exists(PK).and(absent(ENDED_AT)));
        let unlisted = Write::delete(keys::active(id));
        let _ = self.table.try_transact(vec![end, unlisted]).await?;
        // Somebody may have joined or asked since, and another call may have come first: the stored end counts.
        let stored = self.get_now(id, cause.at).await?;
        let ended_at = stored.room.ended_at.ok_or(StoreError::Corrupt { attribute: ENDED_AT })?;
        Ok(stored.stats(ended_at, stored.messages))
    }

    /// Removes the people of a room that has ended, and everything that belongs to it but its own item. Repeating the call
    /// completes an interrupted one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn forget(&self, id: &RoomId) -> Result<(), StoreError> {
        let people = self.table.query(within(id), None).index_name(ROOM_INDEX);
        self.remove_all(people).await?;
        let others = is(PK, keys::in_room(id));
        self.remove_all(self.table.query(others, None)).await
    }

    /// Removes what a query finds, but rooms.
    async fn remove_all(&self, query: QueryFluentBuilder) -> Result<(), StoreError> {
        let mut pages = query.projection_expression(format!("{PK}, {SK}")).into_paginator().send();
        while let Some(page) = pages.next().await {
            let mut found = page.map_err(failed)?.items.unwrap_or_default();
            found.retain(|item| !matches!(item.get(SK), Some(AttributeValue::S(sort)) if sort == keys::META));
            // An index also answers its own key.
            for item in &mut found {
                item.retain(|name, _| name == PK || name == SK);
            }
            self.table.delete_all(found).await?;
        }
        Ok(())
    }

    /// Number of messages that people wrote in a room.
    async fn count_messages(&self, id: &RoomId) -> Result<u32, StoreError> {
        let of_people = exists(PARTICIPANT);
        let request = self.table.query(inside(id, keys::MESSAGE), Some(of_people)).select(Select::Count);
        let mut pages = request.into_paginator().send();
        let mut counted = 0_u32;
        while let Some(page) = pages.next().await {
            counted = counted.saturating_add(u32::try_from(page.map_err(failed)?.count).unwrap_or(0));
        }
        Ok(counted)
    }
}

/// The items of a room whose sort keys have this prefix.
pub(super) fn inside(id: &RoomId, prefix: &str) -> Condition {
    is(PK, keys::in_room(id)).and(Condition::BeginsWith(SK, prefix.to_owned()))
}

/// The end of everything that people write in a room, in seconds: it is forgotten with the room.
pub(super) fn forgotten_at(ends_at: Timestamp) -> u64 {
    seconds(ends_at.plus(REMEMBERED_FOR))
}

/// The write of a participant's item. It creates it.
fn born(person: &NewParticipant, room: &RoomId, settings: &Settings, ends_at: Timestamp, cause: &Cause) -> Write {
    let is_moderated = settings.moderated_unmute && person.role == Role::Attendee;
    let is_muted = settings.mute_on_join || is_moderated;
    Write::put(keys::user(&person.id))
        .by(cause)
        .set("isMuted", is_muted)
        .set("version", 1)
        .set("lastUpdated", cause.at)
        .set("createdAt", cause.at)
        .set("expiresAt", seconds(ends_at))
        .set("leaseUntil", cause.at.plus(LEASE))
        .set("name", person.name.as_str())
        .set(keys::BY_TOKEN, true)
        .set(ROOM_ID, room)
        .set(ROLE, person.role.as_str())
        .set(EPOCH, 1)
        .set_or_remove(MODERATED, is_moderated.then_some(true))
        .set_or_remove("minEvidence", settings.min_evidence.map(MinEvidence::as_str))
        .when(absent(PK))
}

/// The attribute of a room's item that counts its presenters.
const PRESENTERS: &str = "presenters";

/// The write of a room's item when somebody becomes a presenter, or none any more. A room keeps one.
pub(super) fn presenters(write: Write, role: Role) -> Write {
    match role {
        Role::Presenter => write.count(PRESENTERS),
        Role::Attendee => write.add(PRESENTERS, -1).when(above(PRESENTERS, 1)),
    }
}

/// The write of a room's item when a seat becomes free.
pub(super) fn left(id: &RoomId) -> Write {
    Write::update(keys::room(id)).add(PRESENT, -1).when(above(PRESENT, 0))
}

/// The room has not ended.
pub(super) fn is_active(now: Timestamp) -> Condition {
    absent(ENDED_AT).and(above(ENDS_AT, now))
}

fn json(settings: &Settings) -> Result<String, StoreError> {
    serde_json::to_string(settings).map_err(|error| StoreError::Internal(error.into()))
}

/// The room of a place in the list of active rooms.
fn place(mut item: Item) -> Result<RoomId, StoreError> {
    checked(&mut item, SK)?.ok_or(StoreError::Corrupt { attribute: SK })
}

/// The room of its item.
pub(super) fn room_id_of(item: &Item) -> Result<RoomId, StoreError> {
    let id = match item.get(PK) {
        Some(AttributeValue::S(key)) => key.strip_prefix(keys::ROOM_ITEMS).and_then(|id| id.parse().ok()),
        _ => None,
    };
    id.ok_or(StoreError::Corrupt { attribute: PK })
}

/// Reads a room's item.
pub(super) fn room(id: &RoomId, item: Item, now: Timestamp) -> Result<StoredRoom, StoreError> {
    if is_expired(&item, now)? { Err(ROOM_NOT_FOUND.into()) } else { stored(id, item, now) }
}

/// Reads a room's item, also one that is forgotten for everybody but the counts.
pub(super) fn stored(id: &RoomId, mut item: Item, now: Timestamp) -> Result<StoredRoom, StoreError> {
    let number = |attribute| integer(&item, attribute).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let ends_at = Timestamp::from_ms(integer(&item, ENDS_AT)?);
    let ended_at = if item.contains_key(ENDED_AT) {
        Some(Timestamp::from_ms(integer(&item, ENDED_AT)?))
    } else {
        Some(ends_at).filter(|ends_at| *ends_at <= now)
    };
    let messages = if item.contains_key(MESSAGES) { number(MESSAGES)? } else { 0 };
    let (peak, joined, questions, present, max_participants) =
        (number(PEAK)?, number(JOINED)?, number(QUESTIONS)?, number(PRESENT)?, number(MAX)?);
    let version = integer(&item, "version")?;
    let created_at = Timestamp::from_ms(integer(&item, "createdAt")?);
    let settings: String = checked(&mut item, SETTINGS)?.ok_or(StoreError::Corrupt { attribute: SETTINGS })?;
    let settings = serde_json::from_str(&settings).map_err(|_| StoreError::Corrupt { attribute: SETTINGS })?;
    let mute_request = match checked(&mut item, MUTE_REQUEST)? {
        Some(request_id) => Some(MuteNotice { request_id, at: Timestamp::from_ms(integer(&item, MUTE_REQUESTED_AT)?) }),
        None => None,
    };
    let password_hash: Option<String> = checked(&mut item, PASSWORD)?;
    Ok(StoredRoom {
        room: Room {
            room_id: id.clone(),
            slug: checked(&mut item, "slug")?.ok_or(StoreError::Corrupt { attribute: "slug" })?,
            title: checked(&mut item, "title")?.ok_or(StoreError::Corrupt { attribute: "title" })?,
            presenter_name: checked(&mut item, "presenterName")?
                .ok_or(StoreError::Corrupt { attribute: "presenterName" })?,
            has_password: password_hash.is_some(),
            max_participants,
            present,
            is_active: ended_at.is_none(),
            settings,
            version,
            mute_request,
            created_at,
            expires_at: ends_at,
            ended_at,
        },
        password_hash,
        peak,
        joined,
        questions,
        messages,
    })
}
