//! A release runner as a process of its own, and connections to it.

use super::binaries;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Largest answer: a room of 25 has about 12 KB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A runner that this benchmark starts. It is killed when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) url: String,
    _directory: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("log");
        let process = Command::new(binaries::binary("greenroom"))
            .args(["--port", "0"])
            .current_dir(&directory)
            .env_clear()
            .stdout(File::create(&log).unwrap())
            .stdin(Stdio::null())
            .spawn();
        Self { process: process.unwrap(), url: listening(&log), _directory: directory }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for the first line of a runner's log, and returns its URL.
fn listening(log: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        if let Some((line, _)) = text.split_once('\n') {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            return line["url"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "the runner does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A request as bytes.
pub(crate) fn to_bytes(host: &str, method: &str, path: &str, body: &str) -> Vec<u8> {
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{kind}content-length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection from this address of the loopback network.
    pub(crate) async fn open(host: &str, address: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        let stream = socket.connect(host.parse().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; ANSWER_BYTES_MAX] }
    }

    /// Sends a request, reads its whole answer, and returns it.
    pub(crate) async fn send(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.unwrap();
        let (mut read, mut whole) = (0, None);
        loop {
            let count = self.stream.read(&mut self.buffer[read..]).await.unwrap();
            assert!(count > 0, "the server closed a connection");
            read += count;
            whole = whole.or_else(|| length(&self.buffer[..read]));
            if whole.is_some_and(|whole| read >= whole) {
                break;
            }
        }
        assert!(self.buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&self.buffer[..read]));
        &self.buffer[..read]
    }
}

/// The length of an answer, head and body. `None`: the head is not complete yet.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = str::from_utf8(&answer[..head]).unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    };
    let body = text.lines().find_map(field).unwrap_or_else(|| panic!("an answer without a length: {text}"));
    Some(head + 4 + body)
}
