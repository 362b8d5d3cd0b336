//! Limits of the WebSocket API: AWS's own, and additional ones for single clients, for which AWS has none.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html>

use std::time::Duration;

/// Largest accepted frame, in bytes, as on AWS. A larger frame closes the connection.
pub(super) const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Largest message that is accepted or posted, in bytes, as on AWS.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Size of a connection's read buffer, in bytes; it is kept as long as the connection.
pub(super) const READ_BYTES: usize = 4 * 1024;
/// Connections at once; one address may have an eighth. A further client is told to retry.
pub(super) const SOCKETS_MAX: usize = 2048;
/// Messages of one connection that are processed at once. The next one is read after one of them is answered.
pub(super) const CONCURRENT_MAX: usize = 4;
/// Posts to one connection that wait to be sent: their number and their bytes. AWS refuses further posts, too.
pub(super) const QUEUED_MAX: usize = 64;
pub(super) const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// Limits on times and numbers. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A connection without messages in either direction is closed after this time, as on AWS. Control frames do not
    /// count; AWS does not document whether they do there.
    pub idle: Duration,
    /// A connection is closed after this time even if it is active, as on AWS.
    pub life: Duration,
    /// Time limit for a client to read a frame.
    pub slow: Duration,
    /// Time limit for a client's answer to the closing handshake.
    pub closing: Duration,
    /// Messages of one connection per [`Limits::window`]. Further messages are dropped, and the client is told so once.
    pub messages: u32,
    /// Ignored frames of one connection per [`Limits::window`]: control frames, and messages over [`Limits::messages`].
    /// One more closes the connection.
    pub ignored: u32,
    /// Length of the window in which messages are counted.
    pub window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            life: Duration::from_hours(2),
            slow: Duration::from_secs(10),
            closing: Duration::from_secs(2),
            messages: 100,
            ignored: 500,
            window: Duration::from_mins(1),
        }
    }
}
