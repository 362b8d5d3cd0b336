//! WebSocket connections: one item each, which lives as long as the connection's lease is renewed.
//!
//! An item's `epoch` is the time at which the gateway opened the connection, and every event of the connection carries
//! it. A late event can therefore change only the item of its own connection.

use super::expression::{Condition, above, is};
use super::failed;
use super::item::{Item, checked, integer, seconds};
use super::keys::{self, CONNECTION, PARTICIPANT, PK, ROOM_ID, ROOM_INDEX};
use super::participants::valid;
use super::table::{Table, Write};
use crate::StoreError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::{CONNECTION_LEASE, ConnectionId, RoomId, RoomToken, Timestamp, UserId};
use std::time::Duration;

/// How long an item stays in the table after its lease: the table's time-to-live counts whole seconds.
const KEPT_BEYOND_LEASE: Duration = Duration::from_secs(1);
/// The epoch of the participant's token.
const TOKEN_EPOCH: &str = "tokenEpoch";

/// The WebSocket connections of the `state` table.
#[derive(Debug, Clone)]
pub struct Connections {
    table: Table,
}

/// A lease that was renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Its end.
    pub until: Timestamp,
    /// The room of the connection's participant; none if it is anonymous.
    pub room: Option<RoomId>,
}

/// A participant's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// When the gateway opened it.
    pub epoch: Timestamp,
    /// Whose it is.
    pub participant: UserId,
}

impl Connections {
    /// Connections in `table`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { table: Table::new(client, table) }
    }

    /// Remembers a connection that the gateway opened at `epoch`, and returns the end of its first lease. `member` is the
    /// participant whose connection it is; an anonymous one is in no room.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn open(
        &self,
        id: &ConnectionId,
        epoch: Timestamp,
        member: Option<&RoomToken>,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let until = now.plus(CONNECTION_LEASE);
        let mut write = Write::put(keys::connection(id)).set("epoch", epoch);
        if let Some(token) = member {
            let of_room = write.set(ROOM_ID, &token.room).set(PARTICIPANT, &token.participant);
            write = of_room.set(TOKEN_EPOCH, token.epoch);
        }
        self.table.write(leased(write, until)).await.map(drop)?;
        Ok(until)
    }

    /// Renews the lease of a connection. `None`: the lease has expired, the connection is unknown, or its participant is
    /// not in the room any more. An expired lease is never renewed, because others may have acted on its end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn renew(
        &self,
        id: &ConnectionId,
        epoch: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Renewed>, StoreError> {
        let until = now.plus(CONNECTION_LEASE);
        let lives = is("epoch", epoch).and(above("leaseUntil", now));
        let write = leased(Write::update(keys::connection(id)), until).when(lives);
        let Ok(mut item) = self.table.change(write).await? else { return Ok(None) };
        let Some(participant) = checked::<UserId>(&mut item, PARTICIPANT)? else {
            return Ok(Some(Renewed { until, room: None }));
        };
        // Somebody may have been removed while this connection was being opened, so that nobody knew it yet.
        let state = self.table.get(keys::user(&participant)).await?;
        let room = checked(&mut item, ROOM_ID)?.ok_or(StoreError::Corrupt { attribute: ROOM_ID })?;
        let is_there = valid(&room, integer(&item, TOKEN_EPOCH)?, state, now).is_ok();
        if !is_there {
            self.close(id, epoch).await?;
        }
        Ok(is_there.then_some(Renewed { until, room: Some(room) }))
    }

    /// Deletes a connection. Returns whether it existed with this epoch, so a repeated or late call changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn close(&self, id: &ConnectionId, epoch: Timestamp) -> Result<bool, StoreError> {
        let write = Write::delete(keys::connection(id)).when(is("epoch", epoch));
        Ok(self.table.write(write).await?.is_ok())
    }

    /// The connections of a room's people whose lease has not expired. The index is eventually consistent, so one that
    /// has just been opened may be missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn in_room(&self, room: &RoomId, now: Timestamp) -> Result<Vec<Connection>, StoreError> {
        let of_room = is(ROOM_ID, room).and(Condition::BeginsWith(PK, CONNECTION.to_owned()));
        let request = self.table.query(of_room, Some(above("leaseUntil", now))).index_name(ROOM_INDEX);
        let mut found = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                found.push(connection(item)?);
            }
        }
        Ok(found)
    }
}

fn connection(mut item: Item) -> Result<Connection, StoreError> {
    let id = match item.get(PK) {
        Some(AttributeValue::S(key)) => key.strip_prefix(CONNECTION).and_then(|id| id.parse().ok()),
        _ => None,
    };
    Ok(Connection {
        id: id.ok_or(StoreError::Corrupt { attribute: PK })?,
        epoch: Timestamp::from_ms(integer(&item, "epoch")?),
        participant: checked(&mut item, PARTICIPANT)?.ok_or(StoreError::Corrupt { attribute: PARTICIPANT })?,
    })
}

/// Sets the end of the connection's lease and the time at which the table deletes the item.
fn leased(write: Write, until: Timestamp) -> Write {
    write.set("leaseUntil", until).set("expiresAt", seconds(until.plus(KEPT_BEYOND_LEASE)))
}
