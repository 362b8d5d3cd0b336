//! SIGTERM and SIGINT: every received request is answered, then everything is closed in order (seed 004).

use super::wire::Wire;
use crate::support::{Runner, await_that, instant, keys};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The limit of ten seconds, and ten more for busy machines.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Less than the ten seconds that an open request would get.
const AT_ONCE: Duration = Duration::from_secs(9);

const HALF: &str = "POST /api/users/half/state HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n\
                    Content-Length: 16\r\n\r\n{\"isMuted\"";
const REST: &str = ":true}";

fn await_refusal(url: &str) {
    let deadline = Instant::now() + ENDS_WITHIN;
    loop {
        match Wire::try_open(url) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            // The system accepted this connection before the listener was closed.
            _ => assert!(Instant::now() < deadline, "new connections are still taken"),
        }
    }
}

fn events(log: &[Value]) -> Vec<&Value> {
    log.iter().filter(|line| line.get("event").is_some()).collect()
}

/// When the signal comes, twenty requests are half sent and four clients write without a pause.
fn stops_in_order(signal: &str) {
    let data = TempDir::new().unwrap();
    let place = data.path().to_str().unwrap();
    let mut runner = Runner::start(&["--data-dir", place]);
    let acknowledged: [AtomicU64; 4] = Default::default();
    let mut idle = Wire::to(&runner);
    let mut half: Vec<_> = (0..20).map(|_| Wire::to(&runner)).collect();
    for wire in &mut half {
        wire.send(HALF);
    }

    let url = runner.url.clone();
    let (code, log) = std::thread::scope(|scope| {
        for (n, acknowledged) in acknowledged.iter().enumerate() {
            let url = &url;
            scope.spawn(move || {
                let mut wire = Wire::open(url);
                // The connection must end between two answers, never within one; the wire checks that.
                loop {
                    wire.request("POST", &format!("/api/users/writer-{n}/state"), "", "{\"isMuted\":true}");
                    let Some(answer) = wire.answer() else { return };
                    assert!([200, 201].contains(&answer.status), "{answer:?}");
                    acknowledged.store(answer.json()["version"].as_u64().unwrap(), Ordering::Relaxed);
                }
            });
        }
        await_that("each has written", || acknowledged.iter().all(|version| version.load(Ordering::Relaxed) >= 20));
        let start = Instant::now();
        runner.signal(signal);
        runner.await_log(|line| line["event"] == "shutdown_initiated");
        await_refusal(&url);
        for wire in &mut half {
            wire.send(REST);
            let answer = wire.answer().expect("a request in flight is answered");
            assert!([200, 201].contains(&answer.status), "{answer:?}");
            assert!(wire.answer().is_none(), "and its connection is closed");
        }
        assert!(idle.answer().is_none());
        let ended = runner.wait();
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        ended
    });

    assert_eq!(code, 0);
    let events = events(&log);
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["listening", "shutdown_initiated", "server_closed", "database_closed", "shutdown_complete"]);
    for event in &events {
        instant(&event["timestamp"]);
    }
    assert_eq!(events[1]["signal"], format!("SIG{signal}"));
    assert_eq!(events[2]["message"], "HTTP server closed");
    assert_eq!(events[3]["message"], "Database connection closed");
    assert_eq!(
        (keys(events[4]), &events[4]["droppedLogLines"]),
        (vec!["droppedLogLines", "event", "timestamp"], &json!(0))
    );

    let runner = Runner::start(&["--data-dir", place]);
    for (n, acknowledged) in acknowledged.iter().enumerate() {
        let stored = runner.get(&format!("/api/users/writer-{n}")).json()["version"].as_u64().unwrap();
        assert_eq!(stored, acknowledged.load(Ordering::Relaxed), "the stored version is the last acknowledged one");
    }
    assert_eq!(runner.get("/api/users/half").json()["version"], 20);
}

#[test]
fn sigterm_under_load_loses_no_answer() {
    stops_in_order("TERM");
}

#[test]
fn sigint_under_load_loses_no_answer() {
    stops_in_order("INT");
}

#[test]
fn idle_connections_do_not_delay_the_shutdown() {
    let mut runner = Runner::ephemeral();
    let mut used = Wire::to(&runner);
    used.send("GET /api/health HTTP/1.1\r\nHost: greenroom\r\n\r\n");
    assert_eq!(used.answer().unwrap().status, 200);
    let _unused = Wire::to(&runner);
    let start = Instant::now();
    runner.signal("TERM");
    let (code, _) = runner.wait();
    assert_eq!(code, 0);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

/// The test waits for the ten seconds of seed 004, so it takes as long.
#[test]
fn stalled_clients_delay_the_shutdown_by_at_most_ten_seconds() {
    let mut runner = Runner::ephemeral();
    let mut stalled = [HALF, "GET / HTTP/1.1\r\nHost:"].map(|sent| {
        let mut wire = Wire::to(&runner);
        wire.send(sent);
        wire
    });
    runner.get("/api/health");
    let start = Instant::now();
    runner.signal("TERM");
    let (code, log) = runner.wait();
    assert!(start.elapsed() < ENDS_WITHIN, "{:?}", start.elapsed());
    assert_eq!((code, events(&log).last().unwrap()["event"].as_str()), (0, Some("shutdown_complete")));
    assert!(stalled[0].answer().is_none(), "half a request is not answered as if it were whole");
    stalled[1].answers();
}
