//! Measures the throughput of a server: one command, closed loop, keep-alive.
//!
//! `cargo bench -p tests --bench load -- [--url URL] [--connections 10,64,1000] [--seconds 5]`. Without `--url` it starts
//! a release runner of its own, which keeps its data on disk as by default. Each connection sends its next request when
//! it has the answer to the last one: 70 % mute, 10 % device, 15 % a room of 25, 5 % a user, on 1 000 users.
//!
//! Client and server share the machine; the client's own share is printed too.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use http::{Connection, Server, to_bytes};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "../api/support/binaries.rs"]
#[expect(dead_code, reason = "this benchmark uses a part of the tests' support code")]
mod binaries;
mod http;
mod proc;

const USERS: usize = 1000;
const ROOM: usize = 25;
const WARM_UP: Duration = Duration::from_secs(1);

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
        let send = |method: &str, path: String, body: String| to_bytes(host, method, &path, &body);
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
        let mut one = Connection::open(&host, Ipv4Addr::LOCALHOST).await;
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
                let mut connection = Connection::open(&host, Ipv4Addr::LOCALHOST).await;
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
