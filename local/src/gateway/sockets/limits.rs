//! Limits of the WebSocket API: those of AWS, and some of our own where AWS has none for a single client.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html>

use std::time::Duration;

/// Largest frame that is read, in bytes, as on AWS; a larger one closes the connection.
pub(super) const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Largest message that is read or posted, in bytes, as on AWS.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a connection that are read at once; it holds them as long as it lives.
pub(super) const READ_BYTES: usize = 4 * 1024;
/// Connections at once, and an eighth of one address. A further one is told to come back.
pub(super) const SOCKETS_MAX: usize = 2048;
/// Messages of one connection that are worked on at once; the next one is read when one of them is answered.
pub(super) const CONCURRENT_MAX: usize = 4;
/// Posts to one connection that wait to be sent: how many, and their bytes. AWS refuses further ones too.
pub(super) const QUEUED_MAX: usize = 64;
pub(super) const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// How long things may take, and how many there may be. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A connection over which no message goes in either direction is closed after this time, as on AWS. Control frames do not
    /// count: whether they do on AWS is documented nowhere.
    pub idle: Duration,
    /// A connection is closed after this time, as on AWS.
    pub life: Duration,
    /// A client must have taken a frame within this time.
    pub slow: Duration,
    /// A client has this long to answer when its connection is closed.
    pub closing: Duration,
    /// Messages of one connection in [`Limits::window`]; what is beyond is not passed on, and its sender hears so once.
    pub messages: u32,
    /// Frames of one connection that the server ignores, in [`Limits::window`]: control frames, and messages beyond
    /// [`Limits::messages`]. One more closes the connection.
    pub ignored: u32,
    /// The time in which messages are counted.
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
