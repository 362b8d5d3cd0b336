//! Stalled clients, and more clients than the limit.

use super::wire::Wire;
use crate::support::{Ends, Runner};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The limits are 10 s for a head and 20 s for a body; the rest is a margin for slow machines.
const CLOSED_WITHIN: Duration = Duration::from_secs(28);
const UNAFFECTED: Duration = Duration::from_secs(3);

#[test]
fn sixty_stalled_clients_are_disconnected_and_delay_nobody() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let start = Instant::now();
    let body = "POST /api/users/ada/state HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n\
                Content-Length: 50\r\n\r\n{\"isMuted\"";
    let stalls = [("", 20), ("GET /api/users HTTP/1.1\r\nHost: gree", 20), (body, 20)];
    let stalled: Vec<_> = stalls
        .into_iter()
        .flat_map(|(sent, count)| std::iter::repeat_n(sent, count))
        .map(|sent| {
            let mut wire = Wire::to(&runner);
            wire.send(sent);
            (sent, wire)
        })
        .collect();

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = Ends(&done);
        let normal = scope.spawn(|| {
            let mut requests = 0;
            while !done.load(Ordering::Acquire) {
                let asked = Instant::now();
                assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": requests % 2 == 0})).status, 200);
                assert!(asked.elapsed() < UNAFFECTED, "a stalled client held up another: {:?}", asked.elapsed());
                requests += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            requests
        });
        let waiting: Vec<_> = stalled
            .into_iter()
            .map(|(sent, mut wire)| {
                scope.spawn(move || {
                    let statuses: Vec<_> = wire.answers().iter().map(|answer| answer.status).collect();
                    let wanted: &[u16] = if sent.is_empty() || !sent.contains("\r\n\r\n") { &[] } else { &[408] };
                    assert!(statuses == wanted || wanted.is_empty() && statuses == [408], "{statuses:?} to {sent:?}");
                    assert!(start.elapsed() < CLOSED_WITHIN, "{:?} for {sent:?}", start.elapsed());
                })
            })
            .collect();
        let outcomes: Vec<_> = waiting.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        drop(ends);
        assert!(normal.join().unwrap() > 100);
        for outcome in outcomes {
            outcome.unwrap();
        }
    });
    assert_eq!(runner.get("/api/users/ada").json()["muteScope"], "app", "half a body changed nothing");
}

/// The gateway serves 4 096 connections. Further clients get an answer that they can read to its end.
#[test]
fn a_connection_over_the_limit_is_told_to_retry() {
    const SERVED: usize = 4096;
    const SPARE: usize = 500;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let runner = Runner::ephemeral();
    let mut served: Vec<_> = (0..SERVED).map(|_| Wire::to(&runner)).collect();
    // Connections that idle for ten seconds are closed meanwhile, so a slow machine needs a few more to fill all
    // places.
    let mut tries = 0;
    let (mut refused, answer) = loop {
        let mut next = Wire::to(&runner);
        next.send("GET /api/health HTTP/1.1\r\nHost: greenroom\r\n\r\n");
        let answer = next.answer().unwrap();
        if answer.status != 200 {
            break (next, answer);
        }
        served.push(next);
        tries += 1;
        assert!(tries < 5 * SERVED, "no connection is refused");
        // Each connection needs a file descriptor, and this process has only so many.
        if served.len() > SERVED + SPARE {
            served.retain(Wire::is_open);
        }
    };
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!((&answer.json()["code"], &answer.json()["status"]), (&json!("unavailable"), &json!(503)));
    assert!(refused.answer().is_none(), "and is closed");

    let last = served.last_mut().unwrap();
    last.send("GET /api/health HTTP/1.1\r\nHost: greenroom\r\n\r\n");
    assert_eq!(last.answer().unwrap().status, 200, "an earlier connection is still served");
    drop(served);
    let deadline = Instant::now() + CLOSED_WITHIN;
    while Wire::to(&runner).health() != 200 {
        assert!(Instant::now() < deadline, "no connection is accepted again");
    }
}

impl Wire {
    fn health(mut self) -> u16 {
        self.send("GET /api/health HTTP/1.1\r\nHost: greenroom\r\nConnection: close\r\n\r\n");
        self.answer().map_or(0, |answer| answer.status)
    }
}
