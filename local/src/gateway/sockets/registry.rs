//! The open connections, and the messages that wait to be sent over them.

use super::connection::{Connection, now};
use super::limits::{MESSAGE_BYTES_MAX, QUEUED_BYTES_MAX, QUEUED_MAX};
use domain::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Why an order to a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The connection does not exist, is not open yet, or is closed.
    Gone,
    /// The message is too large.
    TooLarge,
    /// The client does not read its messages.
    Full,
}

/// An order to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Send a message.
    Say(String),
    /// Close.
    Close,
}

/// An open connection, as seen by other tasks.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connection: Arc<Connection>,
    orders: mpsc::Sender<Order>,
    queued_bytes: AtomicUsize,
    last_active_ms: AtomicU64,
}

impl Peer {
    /// A connection, and the receiver of its orders.
    pub(super) fn new(connection: Arc<Connection>) -> (Arc<Self>, mpsc::Receiver<Order>) {
        let (orders, ordered) = mpsc::channel(QUEUED_MAX);
        let last_active_ms = connection.connected_at.ms().into();
        (Arc::new(Self { connection, orders, queued_bytes: AtomicUsize::new(0), last_active_ms }), ordered)
    }

    /// Records that a message was sent or received.
    pub(super) fn is_active(&self) {
        self.last_active_ms.store(now().ms(), Ordering::Relaxed);
    }

    /// When a message was last sent or received.
    pub(super) fn last_active_at(&self) -> Timestamp {
        Timestamp::from_ms(self.last_active_ms.load(Ordering::Relaxed))
    }

    /// Records that a message left the queue.
    pub(super) fn taken(&self, message: &str) {
        self.queued_bytes.fetch_sub(message.len(), Ordering::Relaxed);
    }

    fn say(&self, message: String) -> Result<(), Refused> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let bytes = message.len();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUED_BYTES_MAX {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        self.orders.try_send(Order::Say(message)).map_err(|error| {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            refused(&error)
        })
    }

    fn close(&self) -> Result<(), Refused> {
        self.orders.try_send(Order::Close).map_err(|error| refused(&error))
    }
}

fn refused(error: &mpsc::error::TrySendError<Order>) -> Refused {
    match error {
        mpsc::error::TrySendError::Full(_) => Refused::Full,
        mpsc::error::TrySendError::Closed(_) => Refused::Gone,
    }
}

/// The open connections by id.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<HashMap<String, Arc<Peer>>>);

impl Registry {
    pub(super) fn add(&self, peer: &Arc<Peer>) {
        self.all().insert(peer.connection.id.clone(), Arc::clone(peer));
    }

    pub(super) fn remove(&self, id: &str) {
        self.all().remove(id);
    }

    /// An open connection.
    pub(super) fn get(&self, id: &str) -> Result<Arc<Peer>, Refused> {
        self.all().get(id).cloned().ok_or(Refused::Gone)
    }

    /// Queues a message to be sent over a connection.
    pub(super) fn say(&self, id: &str, message: String) -> Result<(), Refused> {
        self.get(id)?.say(message)
    }

    /// Closes a connection after its queued messages are sent.
    pub(super) fn close(&self, id: &str) -> Result<(), Refused> {
        self.get(id)?.close()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Peer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;
    use std::net::Ipv4Addr;

    fn peer() -> (Arc<Peer>, mpsc::Receiver<Order>) {
        Peer::new(Arc::new(Connection::new("live", &HeaderMap::new(), Ipv4Addr::LOCALHOST.into())))
    }

    #[test]
    fn the_queue_is_bounded_in_messages_and_in_bytes() {
        let (peer, mut ordered) = peer();
        for _ in 0..QUEUED_MAX {
            peer.say("x".to_owned()).unwrap();
        }
        assert_eq!(peer.say("x".to_owned()), Err(Refused::Full));
        let Some(Order::Say(taken)) = ordered.try_recv().ok() else { panic!("a message") };
        peer.taken(&taken);
        assert_eq!(peer.say("x".repeat(MESSAGE_BYTES_MAX + 1)), Err(Refused::TooLarge));
        peer.say("x".to_owned()).unwrap();

        let (peer, mut ordered) = self::peer();
        for _ in 0..QUEUED_BYTES_MAX / MESSAGE_BYTES_MAX {
            peer.say("x".repeat(MESSAGE_BYTES_MAX)).unwrap();
        }
        assert_eq!(peer.say("x".to_owned()), Err(Refused::Full));
        while let Ok(Order::Say(taken)) = ordered.try_recv() {
            peer.taken(&taken);
        }
        peer.say("x".to_owned()).unwrap();
        drop(ordered);
        assert_eq!(peer.say("x".to_owned()), Err(Refused::Gone));
        assert_eq!(peer.queued_bytes.load(Ordering::Relaxed), 1, "what was refused does not count");
    }

    #[test]
    fn a_connection_is_there_between_its_opening_and_its_end() {
        let (registry, (peer, _ordered)) = (Registry::default(), peer());
        let id = peer.connection.id.clone();
        assert_eq!(registry.say(&id, "x".to_owned()), Err(Refused::Gone));
        registry.add(&peer);
        registry.say(&id, "x".to_owned()).unwrap();
        registry.close(&id).unwrap();
        registry.remove(&id);
        assert_eq!(registry.close(&id), Err(Refused::Gone));
    }
}
