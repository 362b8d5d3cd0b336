//! Requests to everybody in a room to mute: who was asked. What has become of it is read from the people themselves.

use super::expression::absent;
use super::item::Item;
use super::keys::{self, PK};
use super::messages::written;
use super::once::{ANSWERED, Record};
use super::participants::Member;
use super::rooms::{MUTE_REQUEST, MUTE_REQUESTED_AT, Rooms, forgotten_at, is_active};
use super::table::Write;
use crate::{Kind, Refusal, StoreError};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::message::{Message, MessageType};
use domain::mute::NOTICE;
use domain::{MessageId, MessageText, MuteRequestId, RoomId, Timestamp, UserId};

/// 404: the room has no such request to mute.
pub const MUTE_REQUEST_NOT_FOUND: Refusal =
    Refusal::new(Kind::NotFound, "mute_request_not_found", "there is no such request to mute in this room");

/// The ids of the people who were asked, as a set; left out if there was nobody. A room holds at most 1 000 people.
const TARGETS: &str = "targets";

/// A request to everybody in a room to mute.
#[derive(Debug)]
pub struct NewMuteRequest {
    /// Its id.
    pub id: MuteRequestId,
    /// The id of the notice in the chat.
    pub notice: MessageId,
    /// Who is asked.
    pub targets: Vec<UserId>,
}

impl Rooms {
    /// Stores a request to mute with a notice for the chat, and shows it in the room, together with the record of the
    /// answer if the request can be repeated. Returns the notice.
    ///
    /// # Errors
    /// [`ROOM_ENDED`](super::ROOM_ENDED), [`ANSWERED`].
    pub async fn request_mute(
        &self,
        by: &Member,
        new: NewMuteRequest,
        record: Option<Record>,
        at: Timestamp,
    ) -> Result<Message, StoreError> {
        let room = &by.stored.room;
        let targets: Vec<String> = new.targets.into_iter().map(String::from).collect();
        let targets = Some(targets).filter(|targets| !targets.is_empty()).map(AttributeValue::Ss);
        let request = Write::put(keys::mute_request(&room.room_id, &new.id))
            .set_or_remove(TARGETS, targets)
            .set("createdAt", at)
            .set("expiresAt", forgotten_at(room.expires_at))
            .when(absent(PK));
        let shown = Write::update(keys::room(&room.room_id))
            .set(MUTE_REQUEST, &new.id)
            .set(MUTE_REQUESTED_AT, at)
            .when(is_active(at));
        let notice = Message {
            id: new.notice,
            participant_id: None,
            name: None,
            kind: MessageType::System,
            message: MessageText::try_from(NOTICE.to_owned()).map_err(|rule| StoreError::Internal(rule.into()))?,
            created_at: at,
        };
        let mut writes = vec![shown, request, written(&room.room_id, room.expires_at, &notice)];
        writes.extend(record.map(|record| record.write(at)));
        let Err(refused) = self.table.try_transact(writes).await? else { return Ok(notice) };
        // The new ids are random.
        if refused.first().is_some_and(Option::is_some) { Err(super::ROOM_ENDED.into()) } else { Err(ANSWERED.into()) }
    }

    /// The people who were asked by a request, in the order in which they joined.
    ///
    /// # Errors
    /// [`MUTE_REQUEST_NOT_FOUND`]
    pub async fn mute_targets(&self, room: &RoomId, id: &MuteRequestId) -> Result<Vec<UserId>, StoreError> {
        targets(self.table.get_now(keys::mute_request(room, id)).await?.ok_or(MUTE_REQUEST_NOT_FOUND)?)
    }
}

fn targets(mut item: Item) -> Result<Vec<UserId>, StoreError> {
    let corrupt = || StoreError::Corrupt { attribute: TARGETS };
    let ids = match item.remove(TARGETS) {
        None => Vec::new(),
        Some(AttributeValue::Ss(ids)) => ids,
        Some(_) => return Err(corrupt()),
    };
    let mut ids = ids.into_iter().map(UserId::try_from).collect::<Result<Vec<_>, _>>().map_err(|_| corrupt())?;
    ids.sort();
    Ok(ids)
}
