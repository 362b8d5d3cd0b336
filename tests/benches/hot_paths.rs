//! Measures the cost of a request inside the process, and the share of the embedded engine in it.
//!
//! `cargo bench -p tests --bench hot_paths`. One request at a time, from `functions::answer` to its response, without a
//! network: everything a handler and AWS's client do, and the runner's engine below. "engine alone" repeats exactly the
//! calls that reached the engine. A second table shows the additional cost of the rooms' histories.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use config::Config;
use functions::{Context, ENDPOINTS, Observer, RequestLine, answer};
use lambda_http::{Body, RequestExt as _, http::Request};
use local::client::context;
use local::engine::{Engine, TARGET_PREFIX};
use local::pump::{BEHIND_MAX, Pump};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[expect(dead_code, reason = "this benchmark uses a part of it")]
mod proc;

/// The runner's allocator, so that the numbers hold for the runner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each measurement lasts this long: the system counts CPU time in steps of 10 ms.
const MEASURE_FOR: Duration = Duration::from_secs(2);
const WARM_UP: usize = 500;
/// People in the room, and in all.
const ROOM: usize = 25;
const USERS: usize = 1000;

/// Makes each line as the log does, and discards it.
struct Unwritten;

impl Observer for Unwritten {
    fn answered(&self, line: &RequestLine<'_>) {
        black_box(serde_json::to_vec(line).unwrap());
    }
}

/// Records the last call that reached the engine.
#[derive(Debug, Clone)]
struct Recorder {
    engine: Engine,
    last: Arc<Mutex<(String, Vec<u8>)>>,
}

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap().strip_prefix(TARGET_PREFIX).unwrap();
        *self.last.lock().unwrap() = (operation.to_owned(), request.body().bytes().unwrap().to_vec());
        HttpConnector::call(&self.engine, request)
    }
}

impl HttpClient for Recorder {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// One request: its binary, route, path, path parameter and body.
struct Row {
    binary: &'static str,
    route: &'static str,
    path: &'static str,
    parameter: (&'static str, &'static str),
    body: &'static str,
}

const ROWS: [Row; 4] = [
    Row {
        binary: "set_mute",
        route: "PATCH /api/users/{userId}/mute",
        path: "/api/users/user-7/mute",
        parameter: ("userId", "user-7"),
        body: r#"{"isMuted":true,"muteScope":"app"}"#,
    },
    Row {
        binary: "set_device",
        route: "PATCH /api/users/{userId}/device",
        path: "/api/users/user-7/device",
        parameter: ("userId", "user-7"),
        body: r#"{"deviceId":"usb-1","deviceLabel":"USB microphone"}"#,
    },
    Row {
        binary: "get_user",
        route: "GET /api/users/{userId}",
        path: "/api/users/user-7",
        parameter: ("userId", "user-7"),
        body: "",
    },
    Row {
        binary: "list_room_users",
        route: "GET /api/rooms/{room}/users",
        path: "/api/rooms/room-0/users",
        parameter: ("room", "room-0"),
        body: "",
    },
];

struct Cost {
    p50: Duration,
    cpu: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if !proc::is_bench() {
        return;
    }
    let config = Config::of_runner(|_| None).unwrap();
    // Without a subscriber the client's own diagnostics would cost less than they do in the runner.
    functions::diagnostics(config.log_level, std::io::sink);
    // `diagnostics` also sends panics to that sink. This line shows them on standard error again.
    drop(std::panic::take_hook());
    let template = Template::parse(TEMPLATE).unwrap();
    let store = storage::open(&Location::Memory, &template, &config).unwrap();
    let (engine, _thread) = Engine::start(store.database).unwrap();
    let recorder = Recorder { engine: engine.clone(), last: Arc::default() };
    let recorded = context(recorder.clone(), config.clone(), Arc::new(Unwritten));
    let context = context(engine.clone(), config.clone(), Arc::new(Unwritten));
    for user in 0..USERS {
        let (id, room) = (format!("user-{user}"), user / ROOM);
        let body =
            format!(r#"{{"isMuted":true,"deviceId":"default","deviceLabel":"Built-in","roomId":"room-{room}"}}"#);
        let request = request("POST", &format!("/api/users/{id}/state"), ("userId", &id), &body);
        assert_eq!(send(&context, "set_state", "POST /api/users/{userId}/state", request).await, 201);
    }

    println!("One request at a time, in-process; {USERS} users, a room of {ROOM}. Microseconds.\n");
    println!("{:<18}{:>8}{:>8}{:>20}{:>8}{:>12}", "", "p50", "CPU", "engine alone p50", "CPU", "CPU ratio");
    for Row { binary, route, path, parameter, body } in ROWS {
        let method = route.split(' ').next().unwrap();
        let make = || request(method, path, parameter, body);
        assert_eq!(send(&recorded, binary, route, make()).await, 200);
        let (operation, call) = recorder.last.lock().unwrap().clone();
        // The engine comes first, because a change with an older time than the stored one would be refused.
        let alone = measure(async || {
            assert_eq!(engine.call(operation.clone(), call.clone()).await.unwrap().0, 200);
        })
        .await;
        let whole = measure(async || assert_eq!(send(&context, binary, route, make()).await, 200)).await;
        let ratio = us(whole.cpu) / us(alone.cpu);
        let [p50, cpu, engine_p50, engine_cpu] = [whole.p50, whole.cpu, alone.p50, alone.cpu].map(us);
        println!("{binary:<18}{p50:>8.1}{cpu:>8.1}{engine_p50:>20.1}{engine_cpu:>8.1}{ratio:>12.2}");
    }
    history(&config).await;
}

/// Measures what the stream and its consumer add to the cost of a mute, and whether that grows with the number of
/// changes.
async fn history(config: &Config) {
    let streamless = TEMPLATE.replace("StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}", "Tags: []");
    assert_ne!(streamless, TEMPLATE);
    println!("\nEach mute is a change, one after the other. Microseconds.\n");
    println!("{:<34}{:>14}{:>8}{:>8}", "", "changes before", "p50", "CPU");
    for (name, text, followed) in [
        ("without a stream", streamless.as_str(), false),
        ("with a stream without a consumer", TEMPLATE, false),
        ("with a stream and its consumer", TEMPLATE, true),
    ] {
        let template = Template::parse(text).unwrap();
        let store = storage::open(&Location::Memory, &template, config).unwrap();
        let (engine, _thread) = Engine::start(store.database).unwrap();
        let context = context(engine.clone(), config.clone(), Arc::new(Unwritten));
        let body = r#"{"isMuted":false,"deviceId":"default","deviceLabel":"Built-in","roomId":"demo"}"#;
        let joined = request("POST", "/api/users/ada/state", ("userId", "ada"), body);
        assert_eq!(send(&context, "set_state", "POST /api/users/{userId}/state", joined).await, 201);
        let (rest, resting) = tokio::sync::watch::channel(false);
        let pump = Pump::new(
            &engine,
            config,
            Arc::new(Unwritten),
            vec![functions::consumers::on_state_change::run],
            BEHIND_MAX,
        );
        let pump = followed.then(|| tokio::spawn(pump.run(resting)));
        let changes = AtomicUsize::new(0);
        for _ in 0..4 {
            let before = changes.load(Ordering::Relaxed);
            let cost = measure(async || {
                let is_muted = changes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
                let body = if is_muted { r#"{"isMuted":true}"# } else { r#"{"isMuted":false}"# };
                let mute = request("PATCH", "/api/users/ada/mute", ("userId", "ada"), body);
                assert_eq!(send(&context, "set_mute", "PATCH /api/users/{userId}/mute", mute).await, 200);
            })
            .await;
            println!("{name:<34}{before:>14}{:>8.1}{:>8.1}", us(cost.p50), us(cost.cpu));
        }
        if let Some(pump) = pump {
            let (behind, begun) =
                (context.ledger.read(&"demo".parse().unwrap(), 0, 1).await.unwrap().head.seq, Instant::now());
            rest.send(true).unwrap();
            pump.await.unwrap();
            let head = context.ledger.read(&"demo".parse().unwrap(), 0, 1).await.unwrap().head.seq;
            assert_eq!(usize::try_from(head).unwrap(), changes.into_inner() + 1);
            let (rest, took) = (head - behind, begun.elapsed().as_secs_f64());
            println!("{head} entries; the last {rest} of them in {took:.1} s after the last mute");
        }
    }
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A request as the gateway makes it.
fn request(method: &str, path: &str, parameter: (&str, &str), body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3001");
    let request = if body.is_empty() {
        request.body(Body::Empty)
    } else {
        request.header("content-type", "application/json").body(Body::Text(body.to_owned()))
    };
    let parameters = HashMap::from([(parameter.0.to_owned(), vec![parameter.1.to_owned()])]);
    request.unwrap().with_path_parameters(parameters)
}

async fn send(state: &Context, binary: &str, route: &str, request: Request<Body>) -> u16 {
    let (_, entry) = ENDPOINTS.iter().find(|(known, _)| *known == binary).unwrap();
    black_box(answer(route, *entry, state, request).await).status().as_u16()
}

async fn measure(work: impl AsyncFn()) -> Cost {
    for _ in 0..WARM_UP {
        work().await;
    }
    let cpu = proc::cpu(std::process::id());
    let started = Instant::now();
    let mut times = Vec::with_capacity(200_000);
    while started.elapsed() < MEASURE_FOR {
        let begun = Instant::now();
        work().await;
        times.push(begun.elapsed());
    }
    let cpu = proc::cpu_since(std::process::id(), cpu);
    Cost { cpu: cpu / u32::try_from(times.len()).unwrap(), p50: proc::percentile(&mut times, 50) }
}
