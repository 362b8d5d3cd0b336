//! Greedy clients: each gets its status, and the runner's memory stays bounded.

use super::wire::Wire;
use crate::support::{Ends, Runner, binary};
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much the runner's memory may grow, in bytes.
const MORE_BYTES_MAX: u64 = 40 << 20;
/// The limit for reading an answer is 20 s; the rest is a margin for slow machines.
const CLOSED_WITHIN: Duration = Duration::from_secs(40);
/// Interval between two checks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The memory of a process, in bytes.
pub(super) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Bytes in the send buffers of a server, which its clients have not read.
fn unsent(url: &str) -> u64 {
    let port = format!(":{:04X}", url.rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = sockets.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&port).then(|| fields[4].split_once(':').unwrap().0.to_owned())
    });
    ours.map(|queue| u64::from_str_radix(&queue, 16).unwrap()).sum()
}

#[test]
fn clients_that_never_read_use_little_memory_and_are_disconnected() {
    const CLIENTS: usize = 120;
    const HELD_BYTES_MAX: u64 = 256 << 10;
    let runner = Runner::ephemeral();
    runner.get("/api/openapi.json");
    let before = memory(runner.pid());
    let requests = "GET /api/openapi.json HTTP/1.1\r\nHost: greenroom\r\n\r\n".repeat(100);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Wire::to(&runner)).collect();
    for client in &mut clients {
        client.send(&requests);
    }
    let deadline = Instant::now() + CLOSED_WITHIN;
    while !clients.is_empty() {
        assert_eq!(runner.get("/api/health").status, 200);
        let (memory, unsent) = (memory(runner.pid()), unsent(&runner.url));
        assert!(memory < before + MORE_BYTES_MAX, "{before} bytes have become {memory}");
        assert!(unsent < CLIENTS as u64 * HELD_BYTES_MAX, "{unsent} bytes for {CLIENTS} clients");
        assert!(Instant::now() < deadline, "{} clients are still connected", clients.len());
        clients.retain_mut(Wire::takes_more);
        std::thread::sleep(LOOK_EVERY);
    }
}

#[test]
fn a_client_that_sends_too_much_gets_its_status() {
    let runner = Runner::ephemeral();
    let before = memory(runner.pid());
    std::thread::scope(|scope| {
        for size in [64 * 1024 + 1, 1 << 20, 8 << 20, 30 << 20] {
            for chunked in [false, true] {
                for (host, headers, status) in
                    [("greenroom", "", 413), ("evil.example", "", 421), ("greenroom", "Origin: null\r\n", 403)]
                {
                    let runner = &runner;
                    scope.spawn(move || {
                        let mut wire = Wire::to(runner);
                        let length = if chunked {
                            "Transfer-Encoding: chunked".to_owned()
                        } else {
                            format!("Content-Length: {size}")
                        };
                        wire.send(format!(
                            "POST /api/users/ada/state HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                             {headers}{length}\r\n\r\n"
                        ));
                        let piece = vec![b' '; 64 * 1024 + 1];
                        let mut left: usize = size;
                        while left > 0 {
                            let now = left.min(piece.len());
                            if chunked {
                                wire.send(format!("{now:x}\r\n"));
                            }
                            wire.send(&piece[..now]);
                            if chunked {
                                wire.send("\r\n");
                            }
                            left -= now;
                        }
                        if chunked {
                            wire.send("0\r\n\r\n");
                        }
                        let answer = wire.answer();
                        let found = answer.as_ref().map(|answer| answer.status);
                        assert_eq!(found, Some(status), "{size} bytes, chunked: {chunked}");
                        assert!(wire.answer().is_none(), "and the connection is closed");
                    });
                }
            }
        }
    });
    let after = memory(runner.pid());
    assert!(after < before + MORE_BYTES_MAX, "{before} bytes have become {after}");
    assert_eq!(runner.get("/api/users/ada").status, 404);
}

/// curl sends this header with a large body.
#[test]
fn a_client_that_expects_100_continue_is_refused_before_it_sends() {
    let runner = Runner::ephemeral();
    let mut wire = Wire::to(&runner);
    wire.send(
        "POST /api/users/ada/state HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n\
         Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(wire.answer().unwrap().status, 413);
    assert!(wire.answer().is_none());
}

#[test]
fn lists_of_three_thousand_people_delay_nobody_and_use_little_memory() {
    const PEOPLE: usize = 3000;
    const LISTERS: usize = 8;
    let runner = Runner::ephemeral();
    std::thread::scope(|scope| {
        for part in 0..LISTERS {
            let runner = &runner;
            scope.spawn(move || {
                let body = r#"{"isMuted":true,"roomId":"demo","deviceLabel":"Built-in Microphone"}"#;
                let mut wire = Wire::to(runner);
                for number in (part..PEOPLE).step_by(LISTERS) {
                    wire.request("POST", &format!("/api/users/user-{number}/state"), "", body);
                    assert_eq!(wire.answer().unwrap().status, 201);
                }
            });
        }
    });
    let before = memory(runner.pid());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for _ in 0..LISTERS {
            let (runner, done) = (&runner, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let list = runner.get("/api/users?limit=1");
                    // On a slow machine some requests wait too long for their turn, and are refused.
                    assert!([200, 503].contains(&list.status), "{list:?}");
                }
            });
        }
        for number in 0..200 {
            let muted = runner.patch("/api/users/user-7/mute", json!({"isMuted": number % 2 == 0}));
            assert_eq!(muted.status, 200, "{}", muted.text);
        }
    });
    let after = memory(runner.pid());
    assert!(after < before + MORE_BYTES_MAX, "{before} bytes have become {after}");
}

#[test]
fn an_unread_log_uses_little_memory() {
    let mut command = Command::new(binary("greenroom"));
    command.args(["--ephemeral", "--port", "0"]).env_clear().stdout(Stdio::piped());
    let mut runner = command.spawn().unwrap();
    let mut log = BufReader::with_capacity(1024, runner.stdout.take().unwrap());
    let url = loop {
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["event"] == "listening" {
            break line["url"].as_str().unwrap().to_owned();
        }
    };
    let before = memory(runner.id());
    let host = url.trim_start_matches("http://");
    let path = "x".repeat(15_000);
    let mut wire = Wire::open(&url);
    let statuses: Vec<_> = (0..4000)
        .map(|_| {
            wire.send(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            wire.answer().unwrap().status
        })
        .collect();
    let after = memory(runner.id());
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!(statuses.iter().all(|status| *status == 404));
    assert!(after < before + MORE_BYTES_MAX, "{before} bytes have become {after}");
}

#[test]
fn a_body_in_tiny_pieces_uses_little_memory() {
    const CLIENTS: usize = 40;
    let runner = Runner::ephemeral();
    runner.get("/api/health");
    let before = memory(runner.pid());
    let head = "POST /api/users/ada/state HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let pieces = format!("{head}{}", "1\r\n \r\n".repeat(60_000));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Wire::to(&runner)).collect();
    for client in &mut clients {
        client.send(&pieces);
        let memory = memory(runner.pid());
        assert!(memory < before + MORE_BYTES_MAX, "{before} bytes have become {memory}");
    }
    for client in &mut clients {
        client.send("0\r\n\r\n");
        let status = client.answer().unwrap().status;
        // On a slow machine the last of so many pieces come too late.
        assert!([400, 408].contains(&status), "blanks are no JSON: {status}");
    }
    let memory = memory(runner.pid());
    assert!(memory < before + MORE_BYTES_MAX, "{before} bytes have become {memory}");
}
