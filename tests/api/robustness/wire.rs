//! HTTP by hand: sends bytes that no HTTP client would send, and reads every answer.

use crate::support::{PATIENCE, Runner};
use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Wire {
    pub(super) fn to(runner: &Runner) -> Self {
        Self::open(&runner.url)
    }

    pub(super) fn open(url: &str) -> Self {
        Self::try_open(url).unwrap()
    }

    pub(super) fn try_open(url: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Whether the connection is still open; the server closes idle ones.
    pub(super) fn is_open(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let open = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
        open
    }

    /// Whether the connection still accepts bytes, even if only into a full queue.
    pub(super) fn takes_more(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let gone = self.stream.write(b"\r\n").is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
        !gone
    }

    /// Sends bytes. If the server has already refused and closed, it need not accept all of them.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.stream.write_all(bytes.as_ref()) {
            assert!(is_gone(error.kind()), "not sent: {error}");
        }
    }

    /// Sends a whole request with a JSON body.
    pub(super) fn request(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Closes the sending side.
    pub(super) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer. `None`: the connection ends instead.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET")
    }

    /// The next answer, to a request with this method: HEAD is answered without a body.
    pub(super) fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let head_end = loop {
            match find(&self.unread, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if self.read() => {}
                None => {
                    assert!(self.unread.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.unread));
                    return None;
                }
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..head_end]).into_owned();
        self.unread.drain(..head_end);
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let mut answer = Answer { status: status.unwrap_or_else(|| panic!("{head}")), head, body: Vec::new() };
        if answer.status == 100 {
            return self.answer_to(method);
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" && answer.status != 304 {
            while self.unread.len() < length {
                assert!(self.read(), "half a body after {}", answer.head);
            }
            answer.body = self.unread.drain(..length).collect();
        }
        Some(answer)
    }

    /// The next answer; none if the connection ends before or within it.
    pub(super) fn answer_if_whole(&mut self) -> Option<Answer> {
        loop {
            let head_end = find(&self.unread, b"\r\n\r\n").map(|end| end + 4);
            let head = head_end.map(|end| String::from_utf8_lossy(&self.unread[..end]).to_lowercase());
            let length = head
                .as_ref()
                .and_then(|head| head.split("content-length:").nth(1)?.lines().next()?.trim().parse().ok());
            if head_end.is_some_and(|end| self.unread.len() >= end + length.unwrap_or(0_usize)) {
                return self.answer();
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// All answers until the server closes.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// False at the end of the connection.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend(&buffer[..count]);
                true
            }
            Err(error) if is_gone(error.kind()) => false,
            Err(error) => panic!("no answer and no end: {error}"),
        }
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
