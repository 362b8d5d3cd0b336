//! What the tests stand on.

pub(crate) mod archive;
pub(crate) mod binaries;
pub(crate) mod bucket;
pub(crate) mod database;
pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod lambda;
pub(crate) mod process;
pub(crate) mod pulse;
pub(crate) mod runner;
pub(crate) mod scene;
pub(crate) mod taking;
pub(crate) mod template;
pub(crate) mod webdriver;
pub(crate) mod witness;
pub(crate) mod writes;

pub(crate) use binaries::{read, root};
pub(crate) use runner::{Reply, Runner, binary};

use serde_json::Value;
use std::time::Duration;

/// How long anything may take before a test gives up on it. Reached only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The names of an object's members, sorted.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Members of a state, sorted.
pub(crate) const STATE_KEYS: [&str; 12] = [
    "agent",
    "createdAt",
    "deviceId",
    "deviceLabel",
    "isMuted",
    "lastUpdated",
    "muteScope",
    "roomId",
    "source",
    "userId",
    "verdict",
    "version",
];

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
    for internal in ["dynamo", "greenroom-state", "src/", ".rs", "panicked", "aws"] {
        assert!(!reply.text.to_lowercase().contains(internal), "{problem}");
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

/// Checks that a text is an instant as the API writes it, and gives it back. Its order as text is its order in time.
#[track_caller]
pub(crate) fn instant(value: &Value) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    text
}
