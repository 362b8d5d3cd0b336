//! WebSocket connections: their lease, their pings, and the names of their subprotocols.

use std::time::Duration;

/// How long a connection counts as alive after its last sign of life.
pub const CONNECTION_LEASE: Duration = Duration::from_secs(25);
/// How often a client pings. One ping may be lost: the next one still arrives before the lease ends.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// The subprotocol that a client offers and the server chooses. A client that offers another version is refused.
pub const SUBPROTOCOL: &str = "greenroom.v1";
/// The prefix of the subprotocol in which a client sends its token: a browser cannot set other headers of a WebSocket
/// request.
pub const BEARER_SUBPROTOCOL: &str = "greenroom.bearer.";

const _: () = assert!(PING_EVERY.as_secs() * 2 < CONNECTION_LEASE.as_secs(), "a lost ping must not end a connection");
