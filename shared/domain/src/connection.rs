//! WebSocket connections: how long one counts as alive, and what both sides call their protocol.

use std::time::Duration;

/// How long a connection counts as alive after its last sign of life.
pub const CONNECTION_LEASE: Duration = Duration::from_secs(25);
/// How often a client pings. Two pings may be lost before the lease is over.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// The subprotocol that a client offers and the server chooses. A client that offers another version is refused.
pub const SUBPROTOCOL: &str = "greenroom.v1";
/// Begins the subprotocol by which a client hands over its token: a browser can set no other header of a WebSocket.
pub const BEARER_SUBPROTOCOL: &str = "greenroom.bearer.";

const _: () = assert!(PING_EVERY.as_secs() * 2 < CONNECTION_LEASE.as_secs(), "a lost ping must not end a connection");
