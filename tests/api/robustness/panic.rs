//! The runner continues if a handler panics, or if its log has no reader.

use super::wire::Wire;
use crate::support::{NAMED, PATIENCE, Reply, binary, refused};
use config::Config;
use functions::{Context, Handler, Observer, Request, RequestLine, answer};
use local::client;
use local::engine::Engine;
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Records the status of each answer.
#[derive(Default)]
struct Noted(Mutex<Vec<u16>>);

impl Observer for Noted {
    fn answered(&self, line: &RequestLine<'_>) {
        self.0.lock().unwrap().push(line.status_code);
    }
}

/// A context for handlers, on an engine in memory.
async fn context(observer: Arc<dyn Observer>) -> Context {
    let config = Config::of_runner(|_| None).unwrap();
    let template = Template::parse(TEMPLATE).unwrap();
    let store = storage::open(&Location::Memory, &template, &config).unwrap();
    let (engine, _) = Engine::start(store.database).unwrap();
    client::context(engine, config, observer)
}

async fn ask(context: &Context, handler: Handler) -> Reply {
    let answered = answer("GET /test", handler, context, Request::default()).await;
    let (parts, body) = answered.into_parts();
    Reply { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

fn panics(_: Context, _: Request) -> functions::BoxFuture {
    Box::pin(async { panic!("at src/secret.rs") })
}

fn panics_at_once(_: Context, _: Request) -> functions::BoxFuture {
    panic!("at src/secret.rs")
}

#[tokio::test]
async fn a_panic_is_500_with_a_request_id_and_the_next_request_works() {
    let noted = Arc::<Noted>::default();
    let context = context(noted.clone()).await;
    for handler in [panics as Handler, panics_at_once] {
        let problem = refused(&ask(&context, handler).await, 500, "internal_error");
        assert_eq!(problem["requestId"].as_str().unwrap().len(), 32);
        assert_eq!(ask(&context, functions::handlers::get_health).await.status, 200);
    }
    assert_eq!(*noted.0.lock().unwrap(), [500, 200, 500, 200], "each is logged");
}

/// A runner whose output only the test reads. Dropping it kills it.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The runner, its standard output and its URL.
fn bare() -> (Bare, BufReader<std::process::ChildStdout>, String) {
    let mut command = Command::new(binary("greenroom"));
    command.args(["--ephemeral", "--port", "0"]).env_clear().envs([NAMED]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut runner = Bare(command.spawn().unwrap());
    let mut output = BufReader::new(runner.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    (runner, output, listening["url"].as_str().unwrap().to_owned())
}

fn ask_health(wire: &mut Wire, times: usize) {
    for _ in 0..times {
        wire.request("GET", "/api/health", "", "");
        assert_eq!(wire.answer().unwrap().status, 200);
    }
}

fn terminate(runner: &Bare) {
    rustix::process::kill_process(rustix::process::Pid::from_child(&runner.0), rustix::process::Signal::TERM).unwrap();
}

#[test]
fn a_log_without_a_reader_stops_no_request() {
    let (mut runner, output, url) = bare();
    drop(output);
    let mut wire = Wire::open(&url);
    ask_health(&mut wire, 500);
    terminate(&runner);
    let deadline = Instant::now() + PATIENCE;
    while runner.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(runner.0.wait().unwrap().code(), Some(0));
}

/// A pipe holds 64 KiB, so most of these lines still wait for the reader at the end.
#[test]
fn a_reader_that_lags_still_gets_the_last_line() {
    let (runner, mut output, url) = bare();
    let mut wire = Wire::open(&url);
    ask_health(&mut wire, 1000);
    terminate(&runner);
    assert!(wire.answer().is_none(), "the server is closing");
    std::thread::sleep(Duration::from_millis(200));
    let mut log = String::new();
    output.read_to_string(&mut log).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["droppedLogLines"]), (&"shutdown_complete".into(), &0.into()));
    assert_eq!(log.lines().count(), 1000 + 4);
}
