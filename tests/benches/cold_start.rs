//! Measures the start and the calls of a function: the release binaries under a stand-in for Lambda's runtime API, with
//! a release runner as DynamoDB over plain HTTP.
//!
//! `cargo bench -p tests --bench cold_start`. `REFERENCE=/path/to/another/bootstrap` adds a binary that is given the
//! same environment and the events of `set_mute`, and a column of ratios against it.
//!
//! On Lambda a start also takes the download of the binary, the sandbox, TLS, and a fraction of a CPU: compare these
//! numbers with each other, not with a bill.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for a person to read"
)]

use serde_json::json;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Runner;
use support::lambda::{environment, event, install_key};
use tempfile::NamedTempFile;
use tiny_http::{Header, Request, Response, Server};

mod proc;
#[path = "../api/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "this benchmark uses a part of the tests' support code")]
mod support;

const STARTS: usize = 10;
/// Warm calls after each start. The system counts CPU time in steps of 10 ms, so it is measured over all of them.
const CALLS: usize = 300;
const FUNCTIONS: [&str; 5] = ["set_state", "set_mute", "set_device", "get_user", "list_room_users"];
/// Functions of rooms that somebody created. A room holds a thousand people, so each start is followed by fewer calls.
const OF_ROOMS: [&str; 4] = ["create_room", "join_room", "get_room", "post_message"];
const CALLS_OF_ROOMS: usize = 40;

/// The room and the person of the events in `events/`.
const EXAMPLE_ROOM: &str = "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE";
const EXAMPLE_PERSON: &str = "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF";

/// A function's process, and the runtime API that it asks for work. It is killed when dropped.
struct Function {
    process: Child,
    runtime: Server,
    started: Instant,
}

#[derive(Default)]
struct Sample {
    init: Vec<Duration>,
    first: Vec<Duration>,
    warm: Vec<Duration>,
    cpu: Duration,
    rss_mib: f64,
}

/// One row of the table. Times are in milliseconds.
struct Row {
    name: String,
    init: f64,
    first: f64,
    warm: f64,
    cpu: f64,
    rss_mib: f64,
    size_mib: f64,
}

impl Function {
    fn start(binary: &Path, env: &[(&str, &str)]) -> Self {
        let runtime = Server::http("127.0.0.1:0").unwrap();
        let address = runtime.server_addr().to_string();
        let mut command = Command::new(binary);
        command.env_clear().envs(env.iter().copied()).env("AWS_LAMBDA_RUNTIME_API", address).stdout(Stdio::null());
        let started = Instant::now();
        Self { process: command.spawn().unwrap(), runtime, started }
    }

    fn request(&self) -> Request {
        self.runtime.recv_timeout(support::PATIENCE).unwrap().expect("the function asks for work")
    }

    /// Answers this request for work with an event. Returns the time until the function's answer, the answer, and the
    /// next request for work.
    fn invoke(&self, next: Request, event: &str) -> (Duration, String, Request) {
        let header = |name: &str, value: &str| Header::from_bytes(name, value).unwrap();
        let response = Response::from_string(event)
            .with_header(header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"))
            .with_header(header("Lambda-Runtime-Deadline-Ms", "4102444800000"))
            .with_header(header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:bench"))
            .with_header(header("Lambda-Runtime-Trace-Id", "Root=1-69b30e1e-abcdef0123456789abcdef00;Sampled=0"));
        let begun = Instant::now();
        next.respond(response).unwrap();
        let mut answer = self.request();
        let took = begun.elapsed();
        let mut text = String::new();
        answer.as_reader().read_to_string(&mut text).unwrap();
        assert!(answer.url().ends_with("/response"), "{}: {text}", answer.url());
        answer.respond(Response::empty(202)).unwrap();
        (took, text, self.request())
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() {
    if !proc::is_bench() {
        return;
    }
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.clone().unwrap();
    for user in 0..24 {
        let state = json!({"isMuted": true, "deviceId": "default", "deviceLabel": "Built-in", "roomId": "demo-room"});
        assert_eq!(runner.post(&format!("/api/users/user-{user}/state"), state).status, 201);
    }
    runner.post("/api/users/demo-user/state", json!({"isMuted": true, "roomId": "demo-room"}));

    let room = json!({"title": "Weekly review", "presenterName": "Ada", "maxParticipants": 1000});
    let room = runner.post("/api/rooms", room).json();
    let [room, ada] = ["roomId", "participantId"].map(|name| room[name].as_str().unwrap().to_owned());
    // The runner reads its own key for the first token.
    install_key(&runner);

    let reference = std::env::var_os("REFERENCE").map(PathBuf::from);
    let (mute, env) = (event("set_mute").to_string(), environment("set_mute", &database));
    let reference = reference.map(|path| measure("reference", &path, &env, CALLS, |_| mute.clone(), |_| true));
    println!(
        "{STARTS} starts of each, {CALLS} warm calls after each start ({CALLS_OF_ROOMS} of rooms); milliseconds, medians.\n"
    );
    println!(
        "{:<18}{:>7}{:>7}{:>7}{:>10}{:>12}{:>12}",
        "", "init", "first", "warm", "warm CPU", "peak RSS MiB", "size MiB"
    );
    let print = |row: &Row| {
        println!(
            "{:<18}{:>7.1}{:>7.1}{:>7.2}{:>10.3}{:>12.1}{:>12.1}",
            row.name, row.init, row.first, row.warm, row.cpu, row.rss_mib, row.size_mib
        );
    };
    reference.iter().for_each(print);
    let calls = FUNCTIONS.map(|name| (name, CALLS)).into_iter().chain(OF_ROOMS.map(|name| (name, CALLS_OF_ROOMS)));
    for (name, calls) in calls {
        let text = event(name).to_string().replace(EXAMPLE_ROOM, &room).replace(EXAMPLE_PERSON, &ada);
        // Limits count addresses.
        let event = |number: u32| text.replace("203.0.113.7", &Ipv4Addr::from_bits(0x0A00_0000 + number).to_string());
        let succeeded = |answer: &str| answer.contains(r#""statusCode":20"#);
        let row = measure(name, &support::binary(name), &environment(name, &database), calls, event, succeeded);
        print(&row);
        if let Some(base) = &reference {
            println!(
                "{:<18}{:>7.2}{:>7.2}{:>7.2}{:>10.2}{:>12.2}{:>12.2}",
                "  ratio",
                row.init / base.init,
                row.first / base.first,
                row.warm / base.warm,
                row.cpu / base.cpu,
                row.rss_mib / base.rss_mib,
                row.size_mib / base.size_mib
            );
        }
    }
}

/// Measures a binary. `event` makes the event with a number that no other event of this binary has.
fn measure(
    name: &str,
    binary: &Path,
    env: &[(&str, &str)],
    calls: usize,
    event: impl Fn(u32) -> String,
    succeeded: impl Fn(&str) -> bool,
) -> Row {
    let mut sample = Sample::default();
    let mut number = 0;
    let mut event = || {
        number += 1;
        event(number)
    };
    for _ in 0..STARTS {
        let function = Function::start(binary, env);
        let pid = function.process.id();
        let next = function.request();
        sample.init.push(function.started.elapsed());
        let (took, answer, mut next) = function.invoke(next, &event());
        sample.first.push(took);
        assert!(succeeded(&answer), "{name}: {answer}");
        let before = proc::cpu(pid);
        for _ in 0..calls {
            let (took, answer, following) = function.invoke(next, &event());
            sample.warm.push(took);
            assert!(succeeded(&answer), "{name}: {answer}");
            next = following;
        }
        sample.cpu += proc::cpu_since(pid, before);
        sample.rss_mib = sample.rss_mib.max(proc::mib(pid, "VmHWM"));
    }
    let ms = |mut times: Vec<Duration>| proc::percentile(&mut times, 50).as_secs_f64() * 1e3;
    Row {
        name: name.to_owned(),
        cpu: sample.cpu.as_secs_f64() * 1e3 / f64::from(u32::try_from(sample.warm.len()).unwrap()),
        init: ms(sample.init),
        first: ms(sample.first),
        warm: ms(sample.warm),
        rss_mib: sample.rss_mib,
        size_mib: stripped_mib(binary),
    }
}

/// The size that is deployed: the size of the binary without symbols.
fn stripped_mib(binary: &Path) -> f64 {
    let copy = NamedTempFile::new().unwrap();
    let stripped = Command::new("strip").arg("-o").arg(copy.path()).arg(binary).status();
    let path = if stripped.is_ok_and(|status| status.success()) { copy.path() } else { binary };
    let bytes = u32::try_from(path.metadata().unwrap().len()).unwrap();
    f64::from(bytes) / f64::from(1 << 20)
}
