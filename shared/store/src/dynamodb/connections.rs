//! WebSocket connections: one item each, which lives as long as the connection's lease is renewed.
//!
//! An item's `epoch` is the time at which the gateway opened the connection, and every event of the connection carries
//! it. A late event can therefore change only the item of its own connection.

use super::expression::{above, is};
use super::item::seconds;
use super::keys;
use super::table::{Table, Write};
use crate::StoreError;
use aws_sdk_dynamodb::Client;
use domain::{CONNECTION_LEASE, ConnectionId, Timestamp};
use std::time::Duration;

/// How long an item stays in the table after its lease: the table's time-to-live counts whole seconds.
const KEPT_BEYOND_LEASE: Duration = Duration::from_secs(1);

/// The WebSocket connections of the `state` table.
#[derive(Debug, Clone)]
pub struct Connections {
    table: Table,
}

impl Connections {
    /// Connections in `table`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { table: Table::new(client, table) }
    }

    /// Remembers a connection that the gateway opened at `epoch`, and returns the end of its first lease.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn open(&self, id: &ConnectionId, epoch: Timestamp, now: Timestamp) -> Result<Timestamp, StoreError> {
        let until = now.plus(CONNECTION_LEASE);
        let write = Write::put(keys::connection(id)).set("epoch", epoch);
        self.table.write(leased(write, until)).await.map(drop)?;
        Ok(until)
    }

    /// Renews the lease of a connection and returns its end. `None`: the lease has expired, or the connection is
    /// unknown. An expired lease is never renewed, because others may have acted on its end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn renew(
        &self,
        id: &ConnectionId,
        epoch: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let until = now.plus(CONNECTION_LEASE);
        let lives = is("epoch", epoch).and(above("leaseUntil", now));
        let write = leased(Write::update(keys::connection(id)), until).when(lives);
        Ok(self.table.write(write).await?.ok().map(|()| until))
    }

    /// Deletes a connection. Returns whether it existed with this epoch, so a repeated or late call changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn close(&self, id: &ConnectionId, epoch: Timestamp) -> Result<bool, StoreError> {
        let write = Write::delete(keys::connection(id)).when(is("epoch", epoch));
        Ok(self.table.write(write).await?.is_ok())
    }
}

/// Sets the end of the connection's lease and the time at which the table deletes the item.
fn leased(write: Write, until: Timestamp) -> Write {
    write.set("leaseUntil", until).set("expiresAt", seconds(until.plus(KEPT_BEYOND_LEASE)))
}
