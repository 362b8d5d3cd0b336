//! The messages over an open connection, until it is closed.

use super::connection::{Connection, now};
use super::limits::{CONCURRENT_MAX, FRAME_BYTES_MAX, Limits, MESSAGE_BYTES_MAX, READ_BYTES};
use super::registry::{Order, Peer, Registry};
use super::routing::Routing;
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bytes that are discarded at a time while the client answers the closing handshake.
const DISCARDED_AT_ONCE: usize = 1024;

/// The data that all connections share.
pub(super) struct Shared {
    pub(super) routing: Routing,
    pub(super) registry: Arc<Registry>,
    pub(super) limits: Limits,
}

impl Shared {
    /// Calls `$disconnect`. AWS calls it on a best-effort basis, too.
    pub(super) async fn disconnect(&self, connection: &Connection, ended: &Ended) {
        let event = connection.disconnect_event(ended.code, &ended.reason);
        if Box::pin(self.routing.call(&self.routing.disconnect, &event)).await.is_none() {
            tracing::warn!("failed to call $disconnect");
        }
    }
}

/// How a connection ended (<https://www.rfc-editor.org/rfc/rfc6455#section-7.4>).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    code: u16,
    reason: String,
    by: By,
}

/// Which side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Client,
    Server,
    /// The network failed, or the client broke off.
    Nobody,
}

impl Ended {
    fn by_server(code: CloseCode, reason: &str) -> Self {
        Self { code: code.into(), reason: reason.to_owned(), by: By::Server }
    }

    fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = match frame {
            Some(frame) => (frame.code.into(), frame.reason.as_str().to_owned()),
            None => (CloseCode::Status.into(), "Client-side close frame status not set".to_owned()),
        };
        Self { code, reason, by: By::Client }
    }

    /// The network or the client broke off.
    pub(super) fn lost(reason: &str) -> Self {
        Self { code: CloseCode::Abnormal.into(), reason: reason.to_owned(), by: By::Nobody }
    }

    fn by_error(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::by_server(CloseCode::Size, "Message too big"),
            Error::Utf8(_) => Self::by_server(CloseCode::Invalid, "Invalid text"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::lost("Connection closed abnormally"),
            Error::Protocol(_) => Self::by_server(CloseCode::Protocol, "Protocol error"),
            _ => Self::lost("Connection closed abnormally"),
        }
    }
}

/// The message counts of a client in the current window.
struct Rate {
    since: Instant,
    messages: u32,
    /// Control frames, and messages over the limit.
    ignored: u32,
}

impl Rate {
    fn new() -> Self {
        Self { since: Instant::now(), messages: 0, ignored: 0 }
    }
}

/// Serves an open connection until it ends, and closes it.
pub(super) async fn converse<S>(
    stream: S,
    shared: &Arc<Shared>,
    peer: &Peer,
    ordered: mpsc::Receiver<Order>,
    stop: watch::Receiver<bool>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
        .max_frame_size(Some(FRAME_BYTES_MAX))
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let rate = Rate::new();
    let mut conversation = Conversation { socket, shared, peer, calls: JoinSet::new(), rate };
    let ended = conversation.run(ordered, stop).await;
    conversation.close(ended).await
}

struct Conversation<'a, S> {
    socket: WebSocketStream<S>,
    shared: &'a Arc<Shared>,
    peer: &'a Peer,
    /// The running functions, each with its answer to the client.
    calls: JoinSet<Option<String>>,
    rate: Rate,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<'_, S> {
    async fn run(&mut self, mut ordered: mpsc::Receiver<Order>, mut stop: watch::Receiver<bool>) -> Ended {
        let limits = self.shared.limits;
        let end_of_life = Instant::now() + limits.life;
        let mut active = Instant::now();
        loop {
            let event = tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                    // The goodbye is best effort: a client that does not read it loses nothing.
                    let _ = timeout(limits.closing, self.say(functions::bye("restart", now()))).await;
                    Err(Ended::by_server(CloseCode::Away, "Going away"))
                }
                () = sleep_until(end_of_life.min(active + limits.idle)) => {
                    Err(Ended::by_server(CloseCode::Away, "Going away"))
                }
                Some(answer) = self.calls.join_next() => match answer {
                    Ok(Some(answer)) => self.say(answer).await,
                    // A panic of a handler already gives an answer, so after an error there is nothing to send.
                    Ok(None) | Err(_) => Ok(()),
                },
                order = ordered.recv() => match order {
                    Some(Order::Say(message)) => {
                        self.peer.taken(&message);
                        self.say(message).await
                    }
                    Some(Order::Close) | None => Err(Ended::by_server(CloseCode::Normal, "")),
                },
                frame = self.socket.next(), if self.calls.len() < CONCURRENT_MAX => match frame {
                    // The library answers pings by itself.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => match self.ignore() {
                        Ok(()) => continue,
                        ended => ended,
                    },
                    Some(Ok(Message::Text(text))) => self.hear(text.as_str()).await,
                    Some(Ok(Message::Binary(_))) => Err(Ended::by_server(CloseCode::Unsupported, "Text only")),
                    Some(Ok(Message::Close(frame))) => Err(Ended::by_client(frame)),
                    Some(Err(error)) => Err(Ended::by_error(&error)),
                    None => Err(Ended::lost("Connection closed abnormally")),
                },
            };
            if let Err(ended) = event {
                return ended;
            }
            active = Instant::now();
            self.peer.is_active();
        }
    }

    /// Passes a message to the function of its route, unless the client sends too many messages.
    async fn hear(&mut self, text: &str) -> Result<(), Ended> {
        let limits = self.shared.limits;
        self.count();
        self.rate.messages = self.rate.messages.saturating_add(1);
        if self.rate.messages > limits.messages {
            if self.rate.messages == limits.messages + 1 {
                self.say(self.peer.connection.notice("Too Many Requests")).await?;
            }
            return self.ignore();
        }
        let (shared, connection) = (Arc::clone(self.shared), Arc::clone(&self.peer.connection));
        let route = shared.routing.select(text).clone();
        let event = connection.message_event(&route.key, text);
        self.calls.spawn(async move {
            match shared.routing.call(&route, &event).await {
                Some(answer) => answer.body.filter(|_| route.answers),
                None => Some(connection.notice("Internal server error")),
            }
        });
        Ok(())
    }

    /// Resets the counts when the window is over.
    fn count(&mut self) {
        if self.rate.since.elapsed() >= self.shared.limits.window {
            self.rate = Rate::new();
        }
    }

    /// Counts a frame that the server ignores, because reading it costs time as well.
    fn ignore(&mut self) -> Result<(), Ended> {
        self.count();
        self.rate.ignored += 1;
        if self.rate.ignored > self.shared.limits.ignored {
            return Err(Ended::by_server(CloseCode::Policy, "Too many frames"));
        }
        Ok(())
    }

    async fn say(&mut self, message: String) -> Result<(), Ended> {
        match timeout(self.shared.limits.slow, self.socket.send(Message::text(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::by_error(&error)),
            Err(_) => Err(Ended::lost("Client too slow")),
        }
    }

    /// Performs the closing handshake, and waits for the running functions.
    async fn close(mut self, ended: Ended) -> Ended {
        let closing = self.shared.limits.closing;
        let done = async {
            match ended.by {
                By::Nobody => {}
                // The library has already prepared the answer, and sends it on the next read.
                By::Client => while let Some(Ok(_)) = self.socket.next().await {},
                By::Server => {
                    let frame = CloseFrame { code: ended.code.into(), reason: ended.reason.as_str().into() };
                    if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                        return;
                    }
                    let mut stream = self.socket.into_inner();
                    let _ = stream.shutdown().await;
                    // If received bytes stayed unread, the system would drop the close frame, which says why the
                    // connection ends.
                    let mut discarded = vec![0; DISCARDED_AT_ONCE];
                    while let Ok(1..) = stream.read(&mut discarded).await {}
                }
            }
        };
        let _ = timeout(closing, done).await;
        while self.calls.join_next().await.is_some() {}
        ended
    }
}
