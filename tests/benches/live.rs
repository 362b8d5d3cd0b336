//! Measures how soon the people of a room hear a message and a mute over their connections, at a release runner that
//! keeps its data on disk.
//!
//! `cargo bench -p tests --bench live`. Each time begins before the request is sent and ends when a client has read the
//! frame. Clients and runner share the machine.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use domain::PING_EVERY;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Connection, Server};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

#[path = "../api/support/binaries.rs"]
#[expect(dead_code, reason = "this benchmark uses a part of the tests' support code")]
mod binaries;
mod http;
mod proc;

/// People in a room.
const PEOPLE: usize = 25;
/// Messages and mutes, one after the other, in one room.
const ALONE: usize = 200;
/// Rooms at once, messages a second in all of them together, and seconds.
const ROOMS: usize = 50;
const RATE: usize = 100;
const SECONDS: usize = 20;

struct Person {
    id: String,
    token: String,
}

struct Room {
    id: String,
    people: Vec<Person>,
    address: Ipv4Addr,
}

fn main() {
    if !proc::is_bench() {
        return;
    }
    let server = Server::start();
    let host = server.url.trim_start_matches("http://").to_owned();
    let pid = server.process.id();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("Milliseconds from a request to its frame at a client.\n");
    println!("{:<44}{:>9}{:>9}{:>9}{:>9}", "", "frames", "p50", "p95", "p99");
    runtime.block_on(async {
        let room = Room::create(&host, 1).await;
        let (heard, mut hears) = mpsc::unbounded_channel();
        for person in &room.people {
            room.listen(&host, person, heard.clone()).await;
        }
        let mut connection = Connection::open(&host, room.address).await;
        for (name, event) in [("a message in a room of 25", "new-chat-message"), ("a mute", "user-state-changed")] {
            let mut times = Vec::new();
            for number in 0..ALONE {
                let person = &room.people[number % PEOPLE];
                let request = match event {
                    "new-chat-message" => room.message(&host, person, number),
                    _ => person.mute(&host, (number / PEOPLE).is_multiple_of(2)),
                };
                let begun = Instant::now();
                connection.send(&request).await;
                while times.len() < (number + 1) * PEOPLE {
                    let (at, frame) = timeout(Duration::from_secs(10), hears.recv()).await.unwrap().unwrap();
                    if frame.contains(&format!(r#""event":"{event}""#)) {
                        times.push(at.duration_since(begun));
                    }
                }
            }
            row(name, times);
        }
        drop(connection);

        let before = proc::cpu(pid);
        let mut rooms = vec![room];
        for number in 2..=u32::try_from(ROOMS).unwrap() {
            let room = Room::create(&host, number).await;
            for person in &room.people {
                room.listen(&host, person, heard.clone()).await;
            }
            rooms.push(room);
        }
        let opened = proc::cpu_since(pid, before).as_secs_f64();
        let memory = proc::mib(pid, "VmRSS");
        println!("\n{} sockets: {memory:.0} MiB; {opened:.1} s of CPU to let people in and open them", ROOMS * PEOPLE);
        let count = RATE * SECONDS;
        let sent: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        let base = Instant::now();
        let before = proc::cpu(pid);
        let (rooms, from) = (Arc::new(rooms), sent.clone());
        let senders: Vec<_> = (0..10)
            .map(|sender| {
                let (rooms, sent, host) = (rooms.clone(), from.clone(), host.clone());
                tokio::spawn(async move {
                    let mut connection = Connection::open(&host, rooms[sender].address).await;
                    for number in (sender..count).step_by(10) {
                        let due = base
                            + Duration::from_secs(1) * u32::try_from(number).unwrap() / u32::try_from(RATE).unwrap();
                        sleep_until(due.into()).await;
                        let room = &rooms[number % ROOMS];
                        let request = room.message(&host, &room.people[number / ROOMS % PEOPLE], 1_000_000 + number);
                        sent[number].store(nanos(base), Ordering::Relaxed);
                        connection.send(&request).await;
                    }
                })
            })
            .collect();
        let mut times = Vec::new();
        while times.len() < count * PEOPLE {
            let Ok(Some((at, frame))) = timeout(Duration::from_secs(10), hears.recv()).await else { break };
            let number =
                frame.split_once(r#""message":"n"#).and_then(|(_, rest)| rest.split('"').next()?.parse::<usize>().ok());
            let Some(number) = number.and_then(|number| number.checked_sub(1_000_000)) else { continue };
            let begun = Duration::from_nanos(sent[number].load(Ordering::Relaxed));
            times.push(at.duration_since(base).saturating_sub(begun));
        }
        for sender in senders {
            sender.await.unwrap();
        }
        let used = proc::cpu_since(pid, before).as_secs_f64();
        let frames = times.len();
        row(&format!("{RATE} messages/s in {ROOMS} rooms of {PEOPLE}"), times);
        let (sent, each) = (count * PEOPLE, used * 1e6 / f64::from(u32::try_from(frames).unwrap()));
        println!("{frames} of {sent} frames, {each:.0} µs of CPU each; the runner used {used:.1} s");
    });
}

impl Room {
    /// Creates a room and lets people in, each group from an address of its own.
    async fn create(host: &str, number: u32) -> Self {
        let [_, _, high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(127, 2, high, low);
        let mut connection = Connection::open(host, address).await;
        let body = json!({"title": "Weekly", "presenterName": "Ada"});
        let created = call(&mut connection, host, "/api/rooms", &body).await;
        let id = created["roomId"].as_str().unwrap().to_owned();
        let mut people = vec![Person::of(&created, "presenterToken")];
        while people.len() < PEOPLE {
            let joined = call(&mut connection, host, &format!("/api/rooms/{id}/join"), &json!({"name": "Grace"})).await;
            people.push(Person::of(&joined, "token"));
        }
        Self { id, people, address }
    }

    fn message(&self, host: &str, by: &Person, number: usize) -> Vec<u8> {
        let body = json!({"message": format!("n{number}")}).to_string();
        by.request(host, "POST", &format!("/api/rooms/{}/messages", self.id), &body)
    }

    /// Opens somebody's connection, and passes on what they hear.
    async fn listen(&self, host: &str, person: &Person, heard: mpsc::UnboundedSender<(Instant, String)>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((self.address, 0))).unwrap();
        let stream = socket.connect(host.parse().unwrap()).await.unwrap();
        let mut request = format!("ws://{host}/ws").into_client_request().unwrap();
        let offer = format!("greenroom.v1, greenroom.bearer.{}", person.token);
        request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let (mut says, mut hears) = socket.split();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(PING_EVERY);
            loop {
                beat.tick().await;
                if says.send(Message::text(r#"{"event":"ping"}"#)).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(Ok(message)) = hears.next().await {
                let Ok(text) = message.into_text() else { continue };
                if heard.send((Instant::now(), text.as_str().to_owned())).is_err() {
                    return;
                }
            }
        });
    }
}

impl Person {
    fn of(answer: &Value, token: &str) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self { id: text("participantId"), token: text(token) }
    }

    fn mute(&self, host: &str, is_muted: bool) -> Vec<u8> {
        let body = json!({"isMuted": is_muted}).to_string();
        self.request(host, "PATCH", &format!("/api/users/{}/mute", self.id), &body)
    }

    fn request(&self, host: &str, method: &str, path: &str, body: &str) -> Vec<u8> {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .into_bytes()
    }
}

async fn call(connection: &mut Connection, host: &str, path: &str, body: &Value) -> Value {
    let answer = connection.send(&http::to_bytes(host, "POST", path, &body.to_string())).await;
    let answer = str::from_utf8(answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap()
}

fn row(name: &str, mut times: Vec<Duration>) {
    let count = times.len();
    let [p50, p95, p99] = [50, 95, 99].map(|percent| proc::percentile(&mut times, percent).as_secs_f64() * 1e3);
    println!("{name:<44}{count:>9}{p50:>9.2}{p95:>9.2}{p99:>9.2}");
}
