//! The messages of a room: one item each, in the order of their ids.

use super::failed;
use super::item::{Item, checked, integer, parsed};
use super::keys::{self, MESSAGE, PARTICIPANT, SK};
use super::once::{ANSWERED, Record};
use super::participants::Member;
use super::rooms::{Rooms, forgotten_at, inside};
use super::table::Write;
use crate::{Kind, Refusal, StoreError};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::message::{Message, MessageType};
use domain::{MessageId, MessageText, Name, RoomId, Timestamp, UserId};

/// 403: the room's settings let nobody write messages.
pub const CHAT_OFF: Refusal = Refusal::new(Kind::Forbidden, "chat_off", "messages are switched off in this room");

/// A message that somebody writes.
#[derive(Debug)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Its kind.
    pub kind: MessageType,
    /// Its text.
    pub text: MessageText,
}

/// Messages that follow each other, the oldest first.
#[derive(Debug, PartialEq, Eq)]
pub struct MessagesPage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub has_more: bool,
}

impl Rooms {
    /// Stores a message of a participant. `answer` makes the record of the answer, if the request can be repeated.
    ///
    /// # Errors
    /// [`CHAT_OFF`], [`ANSWERED`].
    pub async fn post<E: From<StoreError>>(
        &self,
        author: Member,
        new: NewMessage,
        answer: impl FnOnce(&Message) -> Result<Option<Record>, E>,
        at: Timestamp,
    ) -> Result<Message, E> {
        let room = author.stored.room;
        if !room.settings.chat {
            return Err(StoreError::from(CHAT_OFF).into());
        }
        let message = Message {
            id: new.id,
            participant_id: Some(author.user.user_id),
            name: author.user.name,
            kind: new.kind,
            message: new.text,
            created_at: at,
        };
        // No condition: a repeated call of the SDK writes the same item again.
        let write = written(&room.room_id, room.expires_at, &message);
        let outcome = match answer(&message)? {
            None => self.table.write(write).await?.is_ok(),
            Some(record) => self.table.try_transact(vec![write, record.write(at)]).await?.is_ok(),
        };
        if outcome { Ok(message) } else { Err(StoreError::from(ANSWERED).into()) }
    }

    /// The newest messages of a room before a place, which need not be that of a message. Eventually consistent: a message
    /// of this moment may be missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn messages(
        &self,
        room: &RoomId,
        limit: u16,
        before: Option<&MessageId>,
    ) -> Result<MessagesPage, StoreError> {
        let limit = usize::from(limit);
        let start = before.map(|before| Item::from(keys::message(room, before)));
        let request = self.table.query(inside(room, MESSAGE), None).scan_index_forward(false);
        // One more tells whether there are older ones. A page of the table ends after 1 MB, so several may be needed.
        let request = request.limit(i32::try_from(limit + 1).unwrap_or(i32::MAX)).set_exclusive_start_key(start);
        let mut found = request.into_paginator().items().send();
        let mut messages = Vec::with_capacity(limit + 1);
        while messages.len() <= limit
            && let Some(item) = found.next().await
        {
            messages.push(message(item.map_err(failed)?)?);
        }
        let has_more = messages.len() > limit;
        messages.truncate(limit);
        messages.reverse();
        Ok(MessagesPage { messages, has_more })
    }
}

/// The write of a message.
pub(super) fn written(room: &RoomId, ends_at: Timestamp, message: &Message) -> Write {
    let Message { id, participant_id, name, kind, message, created_at } = message;
    Write::put(keys::message(room, id))
        .set_or_remove(PARTICIPANT, participant_id.as_ref())
        .set_or_remove("name", name.as_ref())
        .set("type", kind.as_str())
        .set("message", message)
        .set("createdAt", *created_at)
        .set("expiresAt", forgotten_at(ends_at))
}

/// Reads a message's item.
fn message(mut item: Item) -> Result<Message, StoreError> {
    const fn corrupt(attribute: &'static str) -> StoreError {
        StoreError::Corrupt { attribute }
    }
    let id = match item.get(SK) {
        Some(AttributeValue::S(key)) => key.strip_prefix(MESSAGE).and_then(|id| id.parse().ok()),
        _ => None,
    };
    let participant_id: Option<UserId> = checked(&mut item, PARTICIPANT)?;
    let name: Option<Name> = checked(&mut item, "name")?;
    Ok(Message {
        id: id.ok_or(corrupt(SK))?,
        participant_id,
        name,
        kind: parsed(&mut item, "type")?.ok_or(corrupt("type"))?,
        message: checked(&mut item, "message")?.ok_or(corrupt("message"))?,
        created_at: Timestamp::from_ms(integer(&item, "createdAt")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_from_its_item() {
        let room: RoomId = "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE".parse().unwrap();
        for participant_id in [Some("p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF".parse().unwrap()), None] {
            let written_one = Message {
                id: MessageId::created(Timestamp::from_ms(7), [7; 10]),
                name: participant_id.as_ref().map(|_| Name::try_from("Zoë".to_owned()).unwrap()),
                participant_id,
                kind: MessageType::System,
                message: MessageText::try_from("two\nlines".to_owned()).unwrap(),
                created_at: Timestamp::from_ms(7),
            };
            let item = written(&room, Timestamp::from_ms(7_000), &written_one).into_item();
            assert!(!item.contains_key("roomId"), "that is the key of the room index");
            assert_eq!(item["expiresAt"], AttributeValue::N("3607".to_owned()));
            assert_eq!(message(item).unwrap(), written_one);
        }
    }

    #[test]
    fn an_item_that_is_no_message_is_an_error() {
        for attribute in ["type", "message", "createdAt"] {
            let room: RoomId = "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE".parse().unwrap();
            let whole = Message {
                id: MessageId::created(Timestamp::from_ms(7), [7; 10]),
                participant_id: None,
                name: None,
                kind: MessageType::System,
                message: MessageText::try_from("x".to_owned()).unwrap(),
                created_at: Timestamp::from_ms(7),
            };
            let mut item = written(&room, Timestamp::from_ms(7), &whole).into_item();
            item.insert(attribute.to_owned(), AttributeValue::Bool(true));
            assert!(matches!(message(item), Err(StoreError::Corrupt { .. })), "{attribute}");
        }
    }
}
