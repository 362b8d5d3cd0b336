//! `AUTH_MODE=strict`: a stranger gets nothing. `matrix.rs` asks every endpoint.

use crate::support::Runner;
use serde_json::json;

fn strict() -> Runner {
    Runner::with_env(&[("AUTH_MODE", "strict")])
}

#[test]
fn a_refused_stranger_changes_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let open = Runner::start(&data);
    open.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let before = open.get("/api/users").json();
    open.kill();
    let strict = Runner::start_with_env(&data, &[("AUTH_MODE", "strict")]);
    strict.post("/api/users/eve/state", json!({"isMuted": false}));
    strict.patch("/api/users/ada/mute", json!({"isMuted": false}));
    strict.patch("/api/users/ada/device", json!({"deviceId": "usb"}));
    strict.delete("/api/users/ada");
    strict.kill();
    assert_eq!(Runner::start(&data).get("/api/users").json(), before);
}

#[test]
fn a_stranger_does_not_learn_who_exists() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let open = Runner::start(&data);
    open.post("/api/users/ada/state", json!({"isMuted": true}));
    open.kill();
    let strict = Runner::start_with_env(&data, &[("AUTH_MODE", "strict")]);
    let without_id = |path: &str| {
        let mut problem = strict.get(path).json();
        problem["requestId"] = json!(null);
        problem
    };
    assert_eq!(without_id("/api/users/ada"), without_id("/api/users/nobody"));
}

#[test]
fn a_preflight_is_answered_in_strict_mode() {
    let headers = [("origin", "https://a.example"), ("access-control-request-method", "PATCH")];
    assert_eq!(strict().send("OPTIONS", "/api/users/ada/mute", &headers, "").status, 204);
}
