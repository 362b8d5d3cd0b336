//! Measures the throughput of a server: one command, closed loop, keep-alive.
//!
//! `cargo bench -p tests --bench load -- [--url URL] [--connections 10,64,1000] [--seconds 5]`. Without `--url` it starts
//! a release runner of its own, which keeps its data on disk as by default. Each connection sends its next request when
//! it has the answer to the last one: 70 % mute, 10 % device, 15 % a room of 25, 5 % a user, on 1 000 users.
//!
//! Client and server share the machine; the client's own share is printed too.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "../api/support/binaries.rs"]
#[expect(dead_code, reason = "this benchmark uses a part of the tests' support code")]
mod binaries;
mod proc;

const USERS: usize = 1000;
const ROOM: usize = 25;
const WARM_UP: Duration = Duration::from_secs(1);
/// Largest answer: a room of 25 has about 12 KB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A runner that this benchmark starts. It is killed when dropped.
struct Server {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl Server {
    fn start() -> Self {
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

/// The requests as bytes, made before anything is measured.
struct Requests {
    create: Vec<Vec<u8>>,
    mute: Vec<Vec<u8>>,
    device: Vec<Vec<u8>>,
    room: Vec<Vec<u8>>,
    user: Vec<Vec<u8>>,
}

impl Requests {
    fn to(host: &str) -> Self {
        let send = |method: &str, path: String, body: String| {
            let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
            let length = body.len();
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{kind}content-length: {length}\r\n\r\n{body}")
                .into_bytes()
        };
        let user = |n: usize| format!("/api/users/user-{n}");
        let users = || 0..USERS;
        let device = r#""deviceId":"usb-1","deviceLabel":"USB microphone""#;
        let state = |n: usize| format!(r#"{{"isMuted":true,{device},"roomId":"room-{}"}}"#, n / ROOM);
        Self {
            create: users().map(|n| send("POST", format!("{}/state", user(n)), state(n))).collect(),
            mute: users()
                .flat_map(|n| [true, false].map(|muted| (n, muted)))
                .map(|(n, muted)| send("PATCH", format!("{}/mute", user(n)), format!(r#"{{"isMuted":{muted}}}"#)))
                .collect(),
            device: users().map(|n| send("PATCH", format!("{}/device", user(n)), format!("{{{device}}}"))).collect(),
            room: (0..USERS / ROOM).map(|n| send("GET", format!("/api/rooms/room-{n}/users"), String::new())).collect(),
            user: users().map(|n| send("GET", user(n), String::new())).collect(),
        }
    }

    fn any(&self) -> &[u8] {
        let requests = match fastrand::u8(..100) {
            0..70 => &self.mute,
            70..80 => &self.device,
            80..95 => &self.room,
            _ => &self.user,
        };
        fastrand::choice(requests).unwrap()
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(host: &str) -> Self {
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; ANSWER_BYTES_MAX] }
    }

    /// Sends a request and reads its whole answer.
    async fn send(&mut self, request: &[u8]) {
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

fn main() {
    if !proc::is_bench() {
        return;
    }
    let mut url = None;
    let mut connections = "10,64,1000".to_owned();
    let mut seconds = 5;
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--url" => url = Some(value),
            "--connections" => connections = value,
            "--seconds" => seconds = value.parse().unwrap(),
            other => panic!("{other} is not --url, --connections or --seconds"),
        }
    }
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);

    let server = url.is_none().then(Server::start);
    let url = server.as_ref().map_or_else(|| url.unwrap(), |server| server.url.clone());
    let pid = server.as_ref().map(|server| server.process.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let requests = Arc::new(Requests::to(&host));
        let mut one = Connection::open(&host).await;
        for request in &requests.create {
            one.send(request).await;
        }
        println!("{url}: closed loop, {seconds} s each; 70 % mute, 10 % device, 15 % room of {ROOM}, 5 % user; {USERS} users.\n");
        println!(
            "{:>11}{:>10}{:>9}{:>9}{:>9}{:>14}{:>10}{:>14}",
            "connections", "req/s", "p50 ms", "p95 ms", "p99 ms", "server CPU µs", "RSS MiB", "client CPU µs"
        );
        for count in connections.split(',') {
            let count = count.trim().parse().unwrap();
            measure(&host, &requests, count, Duration::from_secs(seconds), pid).await;
        }
    });
}

async fn measure(host: &str, requests: &Arc<Requests>, connections: usize, lasting: Duration, pid: Option<u32>) {
    let start = Instant::now() + WARM_UP;
    let end = start + lasting;
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (host, requests) = (host.to_owned(), Arc::clone(requests));
            tokio::spawn(async move {
                let mut connection = Connection::open(&host).await;
                let mut times = Vec::new();
                loop {
                    let begun = Instant::now();
                    if begun > end {
                        return times;
                    }
                    connection.send(requests.any()).await;
                    if begun >= start {
                        times.push(begun.elapsed());
                    }
                }
            })
        })
        .collect();
    let own = std::process::id();
    tokio::time::sleep_until(start.into()).await;
    let (before, own_before) = (pid.map(proc::cpu), proc::cpu(own));
    tokio::time::sleep_until(end.into()).await;
    let used = pid.zip(before).map(|(pid, before)| proc::cpu_since(pid, before));
    let own = proc::cpu_since(own, own_before);
    let rss = pid.map(|pid| proc::mib(pid, "VmRSS"));
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let count = f64::from(u32::try_from(times.len()).unwrap());
    let [p50, p95, p99] = [50, 95, 99].map(|percent| proc::percentile(&mut times, percent).as_secs_f64() * 1e3);
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count;
    println!(
        "{connections:>11}{:>10.0}{p50:>9.2}{p95:>9.2}{p99:>9.2}{:>14}{:>10}{:>14.1}",
        count / lasting.as_secs_f64(),
        used.map_or("-".to_owned(), |used| format!("{:.1}", each(used))),
        rss.map_or("-".to_owned(), |rss| format!("{rss:.1}")),
        each(own)
    );
}
