//! A stand-in for DynamoDB's endpoint: passes calls on to a runner's engine, records the cost of each call, and fails
//! on demand.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tiny_http::{Header, Request, Response, Server};

/// One call of the DynamoDB API.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) answer: Value,
}

/// The behaviour of the stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It lets the engine answer.
    Working,
    /// It lets the engine answer after this pause.
    Slow(Duration),
    /// It answers 500, as DynamoDB does now and then.
    Failing,
    /// It refuses: there are too many calls.
    Throttling,
    /// It refuses the next call as one too many, and lets the engine answer all others.
    ThrottlingOnce,
    /// It refuses permanently.
    Refusing,
    /// It refuses scans, and lets the engine answer all other calls.
    WithoutScan,
}

/// A recording proxy in front of an engine. It stops when dropped.
pub(crate) struct Database {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engine: String,
    calls: Mutex<Vec<Call>>,
    mode: Mutex<Mode>,
}

impl Database {
    /// Starts in front of the engine at this URL.
    pub(crate) fn before(engine: &str) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let shared =
            Arc::new(Shared { engine: engine.to_owned(), calls: Mutex::default(), mode: Mutex::new(Mode::Working) });
        let thread = std::thread::spawn({
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            move || server.incoming_requests().for_each(|request| shared.answer(request))
        });
        Self { url: format!("http://{}", server.server_addr()), shared, server, thread: Some(thread) }
    }

    /// The calls since they were last taken.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.shared.calls.lock().unwrap())
    }

    pub(crate) fn be(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, mut request: Request) {
        let target = request.headers().iter().find(|header| header.field.equiv("X-Amz-Target"));
        let Some(target) = target.map(|header| header.value.to_string()) else {
            // The greeting that opens a connection.
            let _ = request.respond(Response::from_string("healthy"));
            return;
        };
        let mut body: Value = serde_json::from_reader(request.as_reader()).unwrap();
        let mode = {
            let mut mode = self.mode.lock().unwrap();
            let now = *mode;
            if now == Mode::ThrottlingOnce {
                *mode = Mode::Working;
            }
            now
        };
        let (status, answer) = match mode {
            Mode::Failing => (500, error("InternalServerError")),
            Mode::Throttling | Mode::ThrottlingOnce => (400, error("ProvisionedThroughputExceededException")),
            Mode::Refusing => (400, error("AccessDeniedException")),
            Mode::WithoutScan if target.ends_with(".Scan") => (400, error("AccessDeniedException")),
            Mode::Working | Mode::WithoutScan | Mode::Slow(_) => {
                if let Mode::Slow(pause) = mode {
                    std::thread::sleep(pause);
                }
                body["ReturnConsumedCapacity"] = "TOTAL".into();
                self.pass_on(&target, &body)
            }
        };
        let operation = target.rsplit('.').next().unwrap().to_owned();
        self.calls.lock().unwrap().push(Call { operation, answer: answer.clone() });
        let kind = Header::from_bytes("Content-Type", "application/x-amz-json-1.0").unwrap();
        let response = Response::from_string(answer.to_string()).with_status_code(status).with_header(kind);
        let _ = request.respond(response);
    }

    fn pass_on(&self, target: &str, body: &Value) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.post(&self.engine).header("x-amz-target", target);
        let mut response = request.send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }
}

fn error(name: &str) -> Value {
    serde_json::json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "a fault of the test"})
}
