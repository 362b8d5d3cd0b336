//! Ten thousand hostile requests from fixed seeds: each is answered or its connection closed; none changes foreign
//! data, learns anything or breaks the log.

use super::hostile_requests::Outcome::{Answered, CutOff, Refused};
use super::hostile_requests::{Hostile, KNOWN, PRESENTER, ROOM, hostile};
use super::wire::{Answer, Wire};
use crate::support::Runner;
use serde_json::{Value, json};

const REQUESTS: u64 = 10_000;
/// Many, because the server takes its time to close a connection after a broken request.
const THREADS: usize = 16;

/// Texts that no answer may contain, in lower case.
const INTERNAL: [&str; 22] = [
    "dynoxide",
    "dynamodb",
    "sqlite",
    "aws_",
    "smithy",
    "amazon",
    "panicked",
    "src/",
    ".rs:",
    "greenroom-state",
    "user#",
    "room-index",
    "/root",
    "/home",
    "tokio",
    "hyper",
    "serde",
    "unwrap",
    "backtrace",
    "matchit",
    "lambda",
    "arn:",
];

/// Checks that hold for every answer to any request.
fn check(answer: &Answer) {
    assert!(answer.status < 500, "{answer:?}");
    let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body)).to_lowercase();
    for internal in INTERNAL {
        assert!(!text.contains(internal), "{internal} in {answer:?}");
    }
    assert!(answer.header("x-injected").is_none(), "{answer:?}");
    let Some(id) = answer.header("x-request-id") else {
        // Answers of hyper to unreadable requests, and answers of the page.
        assert!([400, 414, 431].contains(&answer.status) && answer.body.is_empty(), "{answer:?}");
        return;
    };
    assert!(is_harmless(id), "{answer:?}");
    if answer.status >= 400 && !answer.body.is_empty() {
        let problem = answer.json();
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!((problem["requestId"].as_str(), &problem["status"]), (Some(id), &answer.status.into()));
        assert!(problem["code"].as_str().is_some_and(|code| !code.is_empty()), "{problem}");
    }
}

fn is_harmless(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `room` and its presenter are those that the requests are about.
fn send_all(runner: &Runner, [room, presenter]: [&str; 2], numbers: impl Iterator<Item = u64>) {
    let mut wire = Wire::to(runner);
    for n in numbers {
        let Hostile { mut bytes, method, outcome } = hostile(n);
        for (known, real) in [(ROOM, room), (PRESENTER, presenter)] {
            while let Some(at) = bytes.windows(known.len()).position(|part| part == known.as_bytes()) {
                bytes[at..at + known.len()].copy_from_slice(real.as_bytes());
            }
        }
        if matches!(outcome, Answered | Refused) {
            wire.send(&bytes);
            let answer =
                wire.answer_to(&method).unwrap_or_else(|| panic!("{n} is not answered: {}", bytes.escape_ascii()));
            check(&answer);
            let refused = (400..500).contains(&answer.status);
            assert!(refused || outcome == Answered, "{n} passes: {} {answer:?}", bytes.escape_ascii());
            if answer.header("connection") == Some("close") {
                wire = Wire::to(runner);
            }
        } else {
            let mut once = Wire::to(runner);
            once.send(&bytes);
            if outcome == CutOff {
                once.finish();
            }
            once.answers().iter().for_each(check);
        }
    }
}

fn known(runner: &Runner) -> Vec<String> {
    KNOWN.iter().map(|user| runner.get(&format!("/api/users/{user}")).text).collect()
}

#[test]
fn ten_thousand_hostile_requests_change_nothing_learn_nothing_and_break_nothing() {
    let runner = Runner::ephemeral();
    for user in KNOWN {
        let body = json!({"isMuted": true, "deviceId": "usb", "deviceLabel": "Ada's", "roomId": "demo"});
        assert_eq!(runner.post(&format!("/api/users/{user}/state"), body).status, 201);
    }
    let created = runner.post("/api/rooms", json!({"title": "Weekly review", "presenterName": "Ada"})).json();
    let ids = [&created["roomId"], &created["participantId"]].map(|id| id.as_str().unwrap());
    let before = known(&runner);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let runner = &runner;
            scope.spawn(move || send_all(runner, ids, (0..REQUESTS).skip(thread).step_by(THREADS)));
        }
    });
    assert_eq!(known(&runner), before);
    let bearer = format!("Bearer {}", created["presenterToken"].as_str().unwrap());
    let room = runner.send("GET", &format!("/api/rooms/{}", ids[0]), &[("authorization", &bearer)], "");
    assert_eq!(room.status, 200, "{}", room.text);
    runner.log_of(&runner.get("/api/health"));
    let log = runner.log();
    let requests: Vec<_> = log.iter().filter(|line| line.get("statusCode").is_some()).collect();
    assert!(requests.len() > 5000, "{} lines", requests.len());
    for line in &log {
        let id = line.get("requestId").and_then(Value::as_str);
        assert!(id.is_none_or(|id| is_harmless(id) && !id.contains("forged")), "{line}");
        assert!(
            line.get("forged").is_none() && !line["message"].as_str().is_some_and(|text| text.contains("panic")),
            "{line}"
        );
    }
}
