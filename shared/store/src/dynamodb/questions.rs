//! The questions of a room, the votes for them, and their answers.
//!
//! A vote is an item of its own, and a question counts its votes in the transaction that writes or removes one. The room
//! counts its questions in the same way, so that their number has a bound without reading them.

use super::expression::{above, absent, below, exists};
use super::failed;
use super::item::{Item, checked, integer, moment_at};
use super::keys::{self, PARTICIPANT, PK, QUESTION, SK};
use super::once::{ANSWERED, Record, came_second};
use super::participants::Member;
use super::rooms::{HELD_QUESTIONS, OPEN_QUESTIONS, QUESTIONS, Rooms, forgotten_at, inside, is_active, room};
use super::table::Write;
use crate::{Kind, Refusal, StoreError};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::question::{OPEN_MAX, QUESTIONS_MAX, Question};
use domain::room::Role;
use domain::{MessageText, QuestionId, RoomId, Timestamp, UserId};
use std::collections::HashSet;

/// 404: the room has no such question, or it was removed.
pub const QUESTION_NOT_FOUND: Refusal =
    Refusal::new(Kind::NotFound, "question_not_found", "there is no such question in this room");
/// 403: the room's settings let nobody ask.
pub const QUESTIONS_OFF: Refusal =
    Refusal::new(Kind::Forbidden, "questions_off", "questions are switched off in this room");
/// 403: a question of somebody else.
pub const NOT_THE_AUTHOR: Refusal =
    Refusal::new(Kind::Forbidden, "not_the_author", "only its author or a presenter may remove a question");
/// 409: the room has as many questions as it may have.
pub const TOO_MANY_QUESTIONS: Refusal = Refusal::new(
    Kind::Conflict,
    "too_many_questions",
    "this room has as many questions as it may have; a presenter must answer or remove some first",
);

/// Attempts of a change while others change the same question.
const CHANGE_TRIES_MAX: u32 = 10;

/// The attributes of a question's item.
const TEXT: &str = "question";
const VOTES: &str = "votes";
const IS_PINNED: &str = "isPinned";
const IS_ANSWERED: &str = "isAnswered";
const ANSWER: &str = "answer";
const ANSWERED_AT: &str = "answeredAt";

/// A change of a question. Members that are `None` stay as they are.
#[derive(Debug, Default)]
pub struct QuestionChange {
    /// Whether it is kept at the top.
    pub is_pinned: Option<bool>,
    /// Whether it is answered. A question that is open again has no answer.
    pub is_answered: Option<bool>,
    /// The written answer. It must come with `is_answered`.
    pub answer: Option<MessageText>,
}

impl Rooms {
    /// Stores a question of a participant, together with the record of the answer if the request can be repeated. Returns
    /// it as everybody sees it.
    ///
    /// # Errors
    /// [`QUESTIONS_OFF`], [`TOO_MANY_QUESTIONS`], [`ROOM_ENDED`](super::ROOM_ENDED), [`ANSWERED`].
    pub async fn ask(
        &self,
        author: &Member,
        id: QuestionId,
        text: MessageText,
        record: Option<Record>,
        at: Timestamp,
    ) -> Result<Question, StoreError> {
        let asked_in = &author.stored.room;
        if !asked_in.settings.questions {
            return Err(QUESTIONS_OFF.into());
        }
        let counted = Write::update(keys::room(&asked_in.room_id))
            .count(QUESTIONS)
            .count(OPEN_QUESTIONS)
            .count(HELD_QUESTIONS)
            .when(is_active(at).and(below(OPEN_QUESTIONS, u64::from(OPEN_MAX))))
            .when(below(HELD_QUESTIONS, u64::from(QUESTIONS_MAX)));
        let asked = Write::put(keys::question(&asked_in.room_id, &id))
            .set(PARTICIPANT, &author.user.user_id)
            .set_or_remove("name", author.user.name.as_ref())
            .set(TEXT, &text)
            .set(VOTES, 0)
            .set("createdAt", at)
            .set("expiresAt", forgotten_at(asked_in.expires_at))
            .when(absent(PK));
        let mut writes = vec![counted, asked];
        writes.extend(record.map(|record| record.write(at)));
        let Err(refused) = self.table.try_transact(writes).await? else {
            return Ok(Question {
                question_id: id,
                participant_id: author.user.user_id.clone(),
                name: author.user.name.clone(),
                question: text,
                votes: 0,
                has_voted: false,
                is_pinned: false,
                is_answered: false,
                answer: None,
                answered_at: None,
                created_at: at,
            });
        };
        if came_second(&refused) {
            return Err(ANSWERED.into());
        }
        Err(uncounted(&asked_in.room_id, refused, at))
    }

    /// All questions of a room, as a participant sees them: pinned ones first, then those with more votes, then the older
    /// ones. Eventually consistent: a change of this moment may be missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn questions(&self, room: &RoomId, reader: &UserId) -> Result<Vec<Question>, StoreError> {
        let votes_of_reader = keys::votes_of(reader);
        let request = self.table.query(inside(room, &votes_of_reader), None);
        let mut found = request.projection_expression(SK).into_paginator().items().send();
        let mut voted = HashSet::new();
        while let Some(item) = found.next().await {
            voted.insert(id_of(&item.map_err(failed)?, &votes_of_reader)?);
        }
        // The room's counters bound their number: see `domain::question::QUESTIONS_MAX`.
        let mut found = self.table.query(inside(room, QUESTION), None).into_paginator().items().send();
        let mut questions = Vec::new();
        while let Some(item) = found.next().await {
            questions.push(question(item.map_err(failed)?, &voted)?);
        }
        Question::rank(&mut questions);
        Ok(questions)
    }

    /// A question as a participant sees it; consistent.
    ///
    /// # Errors
    /// [`QUESTION_NOT_FOUND`]
    pub async fn question(&self, room: &RoomId, reader: &UserId, id: &QuestionId) -> Result<Question, StoreError> {
        let (mut found, mut voted) = (None, HashSet::new());
        let keys = vec![keys::question(room, id), keys::vote(room, reader, id)];
        for item in self.table.get_all_now(keys).await? {
            match id_of(&item, QUESTION) {
                Ok(_) => found = Some(item),
                Err(_) => _ = voted.insert(id.clone()),
            }
        }
        question(found.ok_or(QUESTION_NOT_FOUND)?, &voted)
    }

    /// Votes for a question, and returns it as everybody sees it. Repeating the call changes nothing.
    ///
    /// # Errors
    /// [`QUESTION_NOT_FOUND`]
    pub async fn vote(&self, voter: &Member, id: &QuestionId, at: Timestamp) -> Result<Question, StoreError> {
        let room = &voter.stored.room;
        let vote = Write::put(keys::vote(&room.room_id, &voter.user.user_id, id))
            .set("createdAt", at)
            .set("expiresAt", forgotten_at(room.expires_at))
            .when(absent(PK));
        let counted = Write::update(keys::question(&room.room_id, id)).count(VOTES).when(exists(PK));
        self.count_vote(&room.room_id, id, vec![vote, counted]).await
    }

    /// Takes a vote back, and returns the question as everybody sees it. Repeating the call changes nothing.
    ///
    /// # Errors
    /// [`QUESTION_NOT_FOUND`]
    pub async fn withdraw_vote(&self, voter: &Member, id: &QuestionId) -> Result<Question, StoreError> {
        let room = &voter.stored.room.room_id;
        let vote = Write::delete(keys::vote(room, &voter.user.user_id, id)).when(exists(PK));
        let counted = Write::update(keys::question(room, id)).add(VOTES, -1).when(above(VOTES, 0));
        self.count_vote(room, id, vec![vote, counted]).await
    }

    /// Makes both writes or neither. Whatever was refused, the stored number is the answer.
    async fn count_vote(&self, room: &RoomId, id: &QuestionId, writes: Vec<Write>) -> Result<Question, StoreError> {
        let _ = self.table.try_transact(writes).await?;
        let item = self.table.get_now(keys::question(room, id)).await?.ok_or(QUESTION_NOT_FOUND)?;
        question(item, &HashSet::new())
    }

    /// Changes a question. A change that changes nothing writes nothing.
    ///
    /// # Errors
    /// [`QUESTION_NOT_FOUND`]; [`TOO_MANY_QUESTIONS`] if it would be open again.
    pub async fn change_question(
        &self,
        room: &RoomId,
        id: &QuestionId,
        change: &QuestionChange,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        for _ in 0..CHANGE_TRIES_MAX {
            let item = self.table.get_now(keys::question(room, id)).await?.ok_or(QUESTION_NOT_FOUND)?;
            let was_answered = item.contains_key(IS_ANSWERED);
            let is_answered = change.is_answered.unwrap_or(was_answered);
            let is_pinned = change.is_pinned.filter(|pinned| *pinned != item.contains_key(IS_PINNED));
            if is_answered == was_answered && is_pinned.is_none() && change.answer.is_none() {
                return Ok(());
            }
            let mut write = Write::update(keys::question(room, id)).when(as_read(&item));
            if let Some(pinned) = is_pinned {
                write = write.set_or_remove(IS_PINNED, pinned.then_some(true));
            }
            if let Some(answer) = &change.answer {
                write = write.set(ANSWER, answer).set(ANSWERED_AT, at);
            }
            let counted = Write::update(keys::room(room)).when(exists(PK));
            let outcome = match (was_answered, is_answered) {
                (false, true) => {
                    let answered = write.set(IS_ANSWERED, true).set(ANSWERED_AT, at);
                    self.table.try_transact(vec![counted.add(OPEN_QUESTIONS, -1), answered]).await?
                }
                (true, false) => {
                    let open = write.remove(&[IS_ANSWERED, ANSWERED_AT, ANSWER]);
                    let counted = counted.count(OPEN_QUESTIONS).when(below(OPEN_QUESTIONS, u64::from(OPEN_MAX)));
                    self.table.try_transact(vec![counted, open]).await?
                }
                _ => self.table.write(write).await?.map_err(|_| Vec::new()),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(refused) if matches!(refused.first(), Some(Some(_))) => return Err(uncounted(room, refused, at)),
                // Others have changed the question since it was read.
                Err(_) => {}
            }
        }
        Err(StoreError::Unavailable("others kept changing this question".into()))
    }

    /// Removes a question, with its answer. The votes for it stay until the room is forgotten, and count nowhere.
    ///
    /// # Errors
    /// [`QUESTION_NOT_FOUND`]; [`NOT_THE_AUTHOR`] unless the author or a presenter asks for it.
    pub async fn remove_question(&self, by: &Member, id: &QuestionId) -> Result<(), StoreError> {
        let room = &by.stored.room.room_id;
        for _ in 0..CHANGE_TRIES_MAX {
            let mut item = self.table.get_now(keys::question(room, id)).await?.ok_or(QUESTION_NOT_FOUND)?;
            let removal = Write::delete(keys::question(room, id)).when(as_read(&item));
            let mut counted = Write::update(keys::room(room)).add(HELD_QUESTIONS, -1).when(exists(PK));
            if !item.contains_key(IS_ANSWERED) {
                counted = counted.add(OPEN_QUESTIONS, -1);
            }
            let author: Option<UserId> = checked(&mut item, PARTICIPANT)?;
            if by.role() != Role::Presenter && author.as_ref() != Some(&by.user.user_id) {
                return Err(NOT_THE_AUTHOR.into());
            }
            if self.table.try_transact(vec![counted, removal]).await?.is_ok() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("others kept changing this question".into()))
    }
}

/// The question is still there, and answered or open as it was read.
fn as_read(item: &Item) -> super::expression::Condition {
    if item.contains_key(IS_ANSWERED) { exists(IS_ANSWERED) } else { exists(PK).and(absent(IS_ANSWERED)) }
}

/// Why a room does not count one question more. The room's write was the first of the transaction.
fn uncounted(id: &RoomId, refused: Vec<Option<Item>>, at: Timestamp) -> StoreError {
    match refused.into_iter().next().flatten() {
        None => StoreError::Unavailable("a new question met another one".into()),
        Some(item) if item.is_empty() => super::ROOM_NOT_FOUND.into(),
        Some(item) => match room(id, item, at).and_then(super::StoredRoom::active) {
            Ok(_) => TOO_MANY_QUESTIONS.into(),
            Err(error) => error,
        },
    }
}

/// The question of a sort key with this prefix.
fn id_of(item: &Item, prefix: &str) -> Result<QuestionId, StoreError> {
    let id = match item.get(SK) {
        Some(AttributeValue::S(key)) => key.strip_prefix(prefix).and_then(|id| id.parse().ok()),
        _ => None,
    };
    id.ok_or(StoreError::Corrupt { attribute: SK })
}

fn votes(item: &Item) -> Result<u32, StoreError> {
    integer(item, VOTES).map(|votes| u32::try_from(votes).unwrap_or(u32::MAX))
}

/// Reads a question's item. `voted` are the questions that the reader has voted for.
fn question(mut item: Item, voted: &HashSet<QuestionId>) -> Result<Question, StoreError> {
    let question_id = id_of(&item, QUESTION)?;
    Ok(Question {
        has_voted: voted.contains(&question_id),
        question_id,
        participant_id: checked(&mut item, PARTICIPANT)?.ok_or(StoreError::Corrupt { attribute: PARTICIPANT })?,
        name: checked(&mut item, "name")?,
        question: checked(&mut item, TEXT)?.ok_or(StoreError::Corrupt { attribute: TEXT })?,
        votes: votes(&item)?,
        is_pinned: item.contains_key(IS_PINNED),
        is_answered: item.contains_key(IS_ANSWERED),
        answer: checked(&mut item, ANSWER)?,
        answered_at: moment_at(&item, ANSWERED_AT)?,
        created_at: Timestamp::from_ms(integer(&item, "createdAt")?),
    })
}
