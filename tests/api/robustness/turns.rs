//! Waiting requests do not block others. The gateway runs in this process, and the test can stop its engine.

use super::wire::Wire;
use crate::support::{PATIENCE, await_that};
use config::Config;
use functions::{Observer, RequestLine};
use local::access::Access;
use local::client;
use local::database::SCAN_ITEMS_MAX;
use local::engine::{Engine, UNLIMITED};
use local::gateway::{self, Gateway, Limits};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// More than the number of turns.
const MANY: usize = 20;

struct Silent;

impl Observer for Silent {
    fn answered(&self, _: &RequestLine<'_>) {}
}

/// A gateway on a free port. It ends when dropped.
struct Bed {
    url: String,
    engine: Engine,
    runtime: Runtime,
    _stop: watch::Sender<bool>,
}

impl Bed {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (url, engine) = runtime.block_on(async {
            let config = Config::of_runner(|_| None).unwrap();
            let template = Template::parse(TEMPLATE).unwrap();
            let store = storage::open(&Location::Memory, &template, &config).unwrap();
            let (engine, _) = Engine::start(store.database).unwrap();
            let listener = gateway::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let address = listener.local_addr().unwrap();
            let access = Access::of_page(address, Some("http://greenroom"), &config.cors_origins);
            let state = client::context(engine.admitted(), config, Arc::new(Silent));
            let gateway = Gateway::new(&template, state, engine.clone(), access, Limits::default()).unwrap();
            tokio::spawn(gateway::run(listener, Arc::new(gateway), stopped, Duration::ZERO));
            (format!("http://{address}"), engine)
        });
        Self { url, engine, runtime, _stop: stop }
    }

    /// Stops the engine. Dropping the returned sender lets it continue and ends the returned task.
    fn stand_still(&self) -> (Sender<()>, JoinHandle<Option<()>>) {
        let ((go_on, wait), (begin, begun)) = (channel(), channel());
        let engine = self.engine.clone();
        let stand = move |_: &_| {
            let _ = begin.send(());
            let _ = wait.recv();
        };
        let standing = self.runtime.spawn(async move { engine.work(stand).await });
        begun.recv_timeout(PATIENCE).unwrap();
        (go_on, standing)
    }

    fn send(&self, request: &str) -> Wire {
        let mut wire = Wire::open(&self.url);
        wire.send(request);
        wire
    }

    /// The status of a request that needs a turn but no database.
    fn description(&self) -> u16 {
        self.send("GET /api/openapi.json HTTP/1.1\r\nHost: greenroom\r\n\r\n").answer().unwrap().status
    }
}

#[test]
fn lists_of_all_users_do_not_block_other_requests() {
    let bed = Bed::start();
    let (go_on, standing) = bed.stand_still();
    let mut lists: Vec<_> =
        (0..MANY).map(|_| bed.send("GET /api/users?limit=1 HTTP/1.1\r\nHost: greenroom\r\n\r\n")).collect();
    for _ in 0..MANY {
        assert_eq!(bed.description(), 200);
    }
    drop(go_on);
    for list in &mut lists {
        assert_eq!(list.answer().unwrap().status, 200);
    }
    bed.runtime.block_on(standing).unwrap();
}

#[test]
fn writes_that_wait_for_the_history_do_not_block_other_requests() {
    let bed = Bed::start();
    let body = r#"{"isMuted":true}"#;
    let write = format!(
        "POST /api/users/ada/state HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    bed.engine.admit(0);
    let mut waiting: Vec<_> = (0..MANY).map(|_| bed.send(&write)).collect();
    for _ in 0..MANY {
        assert_eq!(bed.description(), 200);
    }
    for wire in &mut waiting {
        let answer = wire.answer().unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        assert_eq!(answer.json()["code"], "unavailable");
    }
    bed.engine.admit(1);
    assert_eq!(bed.send(&write).answer().unwrap().status, 201, "none of them has used the admission");
}

/// A refused write leaves no record in the stream, so only the write itself can return its permit.
#[test]
fn a_refused_write_gives_its_admission_back() {
    let bed = Bed::start();
    bed.engine.admit(1);
    let refused = "DELETE /api/users/nobody HTTP/1.1\r\nHost: greenroom\r\n\r\n";
    for _ in 0..MANY {
        assert_eq!(bed.send(refused).answer().unwrap().status, 404);
    }
}

/// A failing history lifts the limit while requests run; their permits are then returned in addition to it.
#[test]
fn a_refused_write_is_answered_even_if_the_limit_was_lifted_meanwhile() {
    let bed = Bed::start();
    bed.engine.admit(1);
    let (go_on, standing) = bed.stand_still();
    let mut refused = bed.send("DELETE /api/users/nobody HTTP/1.1\r\nHost: greenroom\r\n\r\n");
    await_that("the admission is taken", || {
        bed.runtime.block_on(async { timeout(Duration::from_millis(20), bed.engine.admission()).await.is_err() })
    });
    bed.engine.admit(UNLIMITED);
    drop(go_on);
    assert_eq!(refused.answer().unwrap().status, 404);
    bed.runtime.block_on(standing).unwrap();
}

#[test]
fn a_scan_is_read_in_pieces() {
    let bed = Bed::start();
    let engine = bed.engine.admitted();
    let call = |operation: &str, body: serde_json::Value| {
        let answer = bed.runtime.block_on(engine.call(operation.into(), body.to_string().into_bytes()));
        let (status, answer) = answer.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap()
    };
    for number in 0..200 {
        let item = json!({"pk": {"S": format!("{number}")}, "sk": {"S": "x"}});
        call("PutItem", json!({"TableName": "greenroom-state", "Item": item}));
    }
    let (mut found, mut from) = (0, json!(null));
    loop {
        let mut request = json!({"TableName": "greenroom-state", "Limit": 3000});
        if !from.is_null() {
            request["ExclusiveStartKey"] = from;
        }
        let mut page = call("Scan", request);
        let count = page["Count"].as_u64().unwrap();
        assert!(count <= SCAN_ITEMS_MAX as u64, "{count} items in one piece");
        found += count;
        from = page["LastEvaluatedKey"].take();
        if from.is_null() {
            break;
        }
    }
    assert_eq!(found, 200);
}
