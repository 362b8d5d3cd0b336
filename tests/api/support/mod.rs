//! The support code of the tests.

pub(crate) mod archive;
pub(crate) mod binaries;
pub(crate) mod bucket;
pub(crate) mod cloudwatch;
pub(crate) mod database;
pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod iam;
pub(crate) mod lambda;
pub(crate) mod meeting;
pub(crate) mod mode;
pub(crate) mod process;
pub(crate) mod pulse;
pub(crate) mod rooms;
pub(crate) mod runner;
pub(crate) mod scene;
pub(crate) mod socket;
pub(crate) mod taking;
pub(crate) mod template;
pub(crate) mod webdriver;
pub(crate) mod witness;
pub(crate) mod writes;

pub(crate) use binaries::{read, root, sources};
pub(crate) use mode::{Member, Mode};
pub(crate) use runner::{NAMED, Reply, Runner, binary};

use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest time that a test waits for anything. Only a failure reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Sets its flag when it is dropped, also by a failed assertion. Threads that loop until then end, so the scope that waits
/// for them ends too.
pub(crate) struct Ends<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits until a condition holds, at most for [`PATIENCE`].
#[track_caller]
pub(crate) fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The names of an object's members, sorted.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Members of a state, sorted.
pub(crate) const STATE_KEYS: [&str; 13] = [
    "agent",
    "createdAt",
    "deviceId",
    "deviceLabel",
    "isMuted",
    "lastUpdated",
    "muteScope",
    "name",
    "roomId",
    "source",
    "userId",
    "verdict",
    "version",
];

/// The state in the answer to a change. Checks that the answer says whether the change was made.
#[track_caller]
pub(crate) fn state_of(reply: &Reply, applied: bool) -> Value {
    let mut state = reply.json();
    assert_eq!(state.as_object_mut().unwrap().remove("applied"), Some(applied.into()), "{}", reply.text);
    state
}

/// Checks that an answer is a whole problem document (RFC 9457) with this status and code, and shows no internals.
#[track_caller]
pub(crate) fn refused(reply: &Reply, status: u16, code: &str) -> Value {
    let problem = reply.json();
    assert_eq!((reply.status, &problem["code"]), (status, &Value::from(code)), "{problem}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &status.into()));
    assert_eq!(problem["requestId"], reply.header("x-request-id").unwrap());
    for text in ["title", "detail"] {
        assert!(!problem[text].as_str().unwrap().is_empty(), "{problem}");
    }
    let known = [
        "atMs",
        "challenge",
        "claim",
        "code",
        "currentVersion",
        "detail",
        "errors",
        "expectedSeq",
        "requestId",
        "status",
        "title",
        "type",
    ];
    assert!(keys(&problem).iter().all(|key| known.contains(key)), "{problem}");
    // A challenge is random, so it may spell anything.
    let mut said = problem.clone();
    said.as_object_mut().unwrap().remove("challenge");
    let said = said.to_string().to_lowercase();
    for internal in ["dynamo", "greenroom-state", "src/", ".rs", "panicked", "aws"] {
        assert!(!said.contains(internal), "{problem}");
    }
    problem
}

/// Checks that an answer is 400 and names this field and no other.
#[track_caller]
pub(crate) fn refused_field(reply: &Reply, field: &str) -> Value {
    let problem = refused(reply, 400, "validation_failed");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["field"]), (1, &Value::from(field)), "{problem}");
    assert_eq!(keys(&errors[0]), ["field", "rule"]);
    problem
}

/// Checks that a text is an instant as the API writes it, and returns it. Instants have the same order as texts and in
/// time.
#[track_caller]
pub(crate) fn instant(value: &Value) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    text
}
