//! A WebSocket client, and the stored items of connections.

use super::witness::engine;
use super::{PATIENCE, Runner};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

/// The header by which a client offers Greenroom's protocol.
pub(crate) const OFFER: (&str, &str) = ("sec-websocket-protocol", "greenroom.v1");

/// An open connection.
pub(crate) struct Socket {
    socket: WebSocket<TcpStream>,
    /// Events that came in one list and were not heard yet.
    listed: VecDeque<Value>,
}

impl Socket {
    /// Connects as a program does: without an origin.
    pub(crate) fn to(runner: &Runner) -> Self {
        Self::open(&runner.url, &[OFFER]).unwrap()
    }

    /// Connects with these headers. The error is the status of the refusal.
    pub(crate) fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        Self::over(stream, url, headers)
    }

    /// The same over an open TCP connection.
    pub(crate) fn over(stream: TcpStream, url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("{}/ws", url.replacen("http", "ws", 1)).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((socket, response)) => {
                assert_eq!(response.headers()[OFFER.0], OFFER.1);
                Ok(Self { socket, listed: VecDeque::new() })
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(other) => panic!("no handshake: {other}"),
        }
    }

    /// Sends a frame of any kind. It is lost if the server has already closed.
    pub(crate) fn send(&mut self, message: Message) {
        match self.socket.send(message) {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Protocol(_)) => {}
            Err(other) => panic!("not sent: {other}"),
        }
    }

    /// Sends an object.
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    pub(crate) fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string()));
    }

    /// The next message. `None`: the server closes instead.
    pub(crate) fn hear(&mut self) -> Option<Value> {
        loop {
            if let Some(listed) = self.listed.pop_front() {
                return Some(listed);
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => match serde_json::from_str(&text).unwrap() {
                    Value::Array(listed) => self.listed.extend(listed),
                    only => return Some(only),
                },
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                _ => return None,
            }
        }
    }

    /// The next frame of any kind. `None`: the connection has ended.
    pub(crate) fn frame(&mut self) -> Option<Message> {
        self.socket.read().ok()
    }

    /// Sends an object, and returns the answer.
    pub(crate) fn ask(&mut self, message: Value) -> Value {
        self.say(message);
        self.hear().unwrap()
    }

    /// Sends a ping, and returns the answer.
    pub(crate) fn ping(&mut self) -> Value {
        self.ask(json!({"event": "ping", "id": "p"}))
    }

    /// Reads to the end. Returns the code with which the server closes. `None`: the connection breaks off.
    pub(crate) fn closed(&mut self) -> Option<u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return frame.map(|CloseFrame { code, .. }| code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Closes as a client does, and waits for the server's answer.
    pub(crate) fn close(mut self) {
        self.socket.close(None).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// The TCP connection below.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}

/// The items of connections in the table.
pub(crate) fn connections(runner: &Runner) -> Vec<Value> {
    let table = engine(
        runner,
        "Scan",
        &json!({
            "TableName": "greenroom-state", "FilterExpression": "begins_with(pk, :connection)",
            "ExpressionAttributeValues": {":connection": {"S": "CONN#"}},
        }),
    );
    table["Items"].as_array().unwrap().clone()
}

/// Waits until there are this many connections in the table, and returns their items.
#[track_caller]
pub(crate) fn await_connections(runner: &Runner, wanted: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = connections(runner);
        if found.len() == wanted {
            return found;
        }
        assert!(Instant::now() < deadline, "{} connections instead of {wanted}", found.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number in an item.
pub(crate) fn number(item: &Value, attribute: &str) -> u64 {
    item[attribute]["N"].as_str().unwrap_or_else(|| panic!("no {attribute} in {item}")).parse().unwrap()
}
