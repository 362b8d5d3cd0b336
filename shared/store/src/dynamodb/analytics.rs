//! The counts of a day: one item a day, which the consumer of the stream keeps.

use super::expression::{above, absent, below, exists};
use super::failed;
use super::item::{Item, checked, integer, seconds};
use super::keys::{self, PK, SK};
use super::rooms::{Rooms, StoredRoom, stored};
use super::table::Write;
use crate::StoreError;
use domain::analytics::{Day, Features};
use domain::{RoomId, Timestamp};
use std::time::Duration;

/// How long a day's counts are kept.
const KEPT: Duration = Duration::from_hours(400 * 24);

/// The attributes of a day's item.
const CREATED: &str = "roomsCreated";
const ENDED: &str = "roomsEnded";
const MINUTES: &str = "minutes";
const PEAK: &str = "peakParticipants";
const PARTICIPANTS: &str = "participants";
const MESSAGES: &str = "messages";
const QUESTIONS: &str = "questions";
const WITH_CHAT: &str = "withChat";
const WITH_QUESTIONS: &str = "withQuestions";
const WITH_LOBBY: &str = "withLobby";
const WITH_PASSWORD: &str = "withPassword";
const WITH_MODERATION: &str = "withModeratedUnmute";
/// The attributes of a room's item that say that it was counted, so that a repeated delivery counts nothing.
const CREATION_COUNTED: &str = "creationCounted";
const END_COUNTED: &str = "endCounted";

impl Rooms {
    /// Counts a room that was created at `at`, once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count_creation(&self, id: &RoomId, at: Timestamp) -> Result<(), StoreError> {
        let counted =
            Write::update(keys::room(id)).set(CREATION_COUNTED, true).when(exists(PK).and(absent(CREATION_COUNTED)));
        // A refusal means that it was counted before, or is forgotten already.
        let _ = self.table.try_transact(vec![counted, day(at).count(CREATED)]).await?;
        Ok(())
    }

    /// Counts a room that has ended, and what happened in it, once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count_end(&self, id: &RoomId, now: Timestamp) -> Result<(), StoreError> {
        // The stream may deliver the end after the room is forgotten, and the table removes an item only later.
        let Some(item) = self.table.get_now(keys::room(id)).await? else { return Ok(()) };
        let stored = stored(id, item, now)?;
        let Some((ended_at, stats)) = stored.session() else { return Ok(()) };
        let StoredRoom { room, .. } = &stored;
        let peak = u64::from(stats.max_concurrent_participants);
        let features = [
            (WITH_CHAT, stats.total_messages > 0),
            (WITH_QUESTIONS, stats.total_questions > 0),
            (WITH_LOBBY, room.settings.lobby),
            (WITH_PASSWORD, room.has_password),
            (WITH_MODERATION, room.settings.moderated_unmute),
        ];
        let sums = [
            (MINUTES, stats.session_duration_minutes),
            (PARTICIPANTS, stats.total_participants),
            (MESSAGES, stats.total_messages),
            (QUESTIONS, stats.total_questions),
        ];
        let mut count = day(ended_at).count(ENDED);
        for (attribute, sum) in sums {
            count = count.add(attribute, i64::from(sum));
        }
        for (attribute, _) in features.iter().filter(|(_, used)| *used) {
            count = count.count(attribute);
        }
        let counted = Write::update(keys::room(id)).set(END_COUNTED, true).when(exists(PK).and(absent(END_COUNTED)));
        let _ = self.table.try_transact(vec![counted, count]).await?;
        // A maximum may be repeated, so it needs no mark.
        let highest = day(ended_at).set(PEAK, peak).when(absent(PEAK).or(below(PEAK, peak)));
        self.table.write(highest).await.map(drop)
    }

    /// The counts of the last days, today included, the newest first. Days without rooms are left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn days(&self, days: u32, now: Timestamp) -> Result<Vec<Day>, StoreError> {
        let back = Duration::from_hours(24) * days.saturating_sub(1);
        let first = Timestamp::from_ms(now.ms().saturating_sub(u64::try_from(back.as_millis()).unwrap_or(u64::MAX)));
        let range = super::expression::Condition::Between(SK, [date(first), date(now)]);
        let wanted = super::expression::is(PK, keys::DAYS).and(range);
        let request = self.table.query(wanted, Some(above("expiresAt", seconds(now)))).scan_index_forward(false);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                found.push(read(item)?);
            }
        }
        Ok(found)
    }
}

/// A write to the item of a day.
fn day(at: Timestamp) -> Write {
    Write::update(keys::day(&date(at))).set("expiresAt", seconds(at.plus(KEPT)))
}

/// The day of a time in UTC.
fn date(at: Timestamp) -> String {
    at.to_string().chars().take("2026-11-21".len()).collect()
}

fn read(mut item: Item) -> Result<Day, StoreError> {
    let number = |attribute| if item.contains_key(attribute) { integer(&item, attribute) } else { Ok(0) };
    let rooms_ended = number(ENDED)?;
    let counts = Day {
        day: String::new(),
        rooms_created: number(CREATED)?,
        rooms_ended,
        mean_duration_minutes: number(MINUTES)?.checked_div(rooms_ended).unwrap_or(0),
        peak_participants: number(PEAK)?,
        participants: number(PARTICIPANTS)?,
        messages: number(MESSAGES)?,
        questions: number(QUESTIONS)?,
        features: Features {
            chat: number(WITH_CHAT)?,
            questions: number(WITH_QUESTIONS)?,
            lobby: number(WITH_LOBBY)?,
            password: number(WITH_PASSWORD)?,
            moderated_unmute: number(WITH_MODERATION)?,
        },
    };
    Ok(Day { day: checked(&mut item, SK)?.ok_or(StoreError::Corrupt { attribute: SK })?, ..counts })
}
