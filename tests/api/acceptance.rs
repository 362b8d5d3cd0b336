//! The user stories and the testing checklist of seed 004, word for word.

use crate::support::{Reply, Runner, keys, state_of};
use serde_json::json;
use tempfile::TempDir;

#[test]
fn user_story_1_mute_verification() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false, "deviceId": "usb", "roomId": "demo"}));
    let muted = runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    assert_eq!((muted.status, &muted.json()["isMuted"]), (200, &json!(true)));
    let seen = runner.get("/api/rooms/demo/users").json()["items"][0].clone();
    assert_eq!((&seen["isMuted"], &seen["deviceId"]), (&json!(true), &json!("usb")), "the room's list shows the mute");
    assert_eq!(seen["verdict"]["mute"]["value"], "unverified", "no agent has measured it");
}

#[test]
fn user_story_2_device_switching() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "deviceId": "built-in", "roomId": "demo"}));
    let switched = runner.patch("/api/users/ada/device", json!({"deviceId": "usb", "deviceLabel": "USB microphone"}));
    assert_eq!(switched.status, 200);
    let seen = runner.get("/api/rooms/demo/users").json()["items"][0].clone();
    assert_eq!((&seen["deviceId"], &seen["deviceLabel"]), (&json!("usb"), &json!("USB microphone")));
    assert_eq!(seen["isMuted"], true, "a switch preserves the mute");
}

#[test]
fn unified_state_all_fields() {
    let runner = Runner::ephemeral();
    let state = json!({"isMuted": true, "deviceId": "usb", "deviceLabel": "USB", "roomId": "demo"});
    let unified = runner.post("/api/users/ada/state", state.clone()).json();
    for (name, value) in state.as_object().unwrap() {
        assert_eq!(&unified[name], value);
    }
}

#[test]
fn checklist_01_backend_starts_without_errors() {
    let runner = Runner::ephemeral();
    let lines = runner.log();
    assert!(lines.iter().all(|line| line["event"] == "listening"), "{lines:?}");
}

#[test]
fn checklist_02_health_returns_200_ok() {
    let health = Runner::ephemeral().get("/api/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
}

#[test]
fn checklist_03_metrics_returns_performance_data() {
    let runner = Runner::ephemeral();
    runner.get("/api/health");
    let metrics = runner.get("/api/metrics").json();
    assert!(metrics["api"]["responseTime"]["p95"].as_str().unwrap().ends_with("ms"), "{metrics}");
}

#[test]
fn checklist_04_logs_are_in_json_format() {
    let runner = Runner::ephemeral();
    let reply = runner.get("/api/health");
    runner.log_of(&reply);
    assert!(runner.log().iter().all(serde_json::Value::is_object));
}

#[test]
fn checklist_05_graceful_shutdown_works() {
    for (signal, name) in [("INT", "SIGINT"), ("TERM", "SIGTERM")] {
        let mut runner = Runner::ephemeral();
        runner.signal(signal);
        let (code, lines) = runner.wait();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        let expected = ["listening", "shutdown_initiated", "server_closed", "database_closed", "shutdown_complete"];
        assert_eq!((code, events, &lines[1]["signal"]), (0, expected.into(), &json!(name)));
        assert!(lines.iter().all(|line| keys(line).contains(&"timestamp")));
    }
}

#[test]
fn checklist_06_database_persists_data_between_restarts() {
    let directory = TempDir::new().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let mut runner = Runner::start(&data);
    runner.post("/api/users/ada/state", json!({"isMuted": false, "deviceId": "usb", "roomId": "demo", "seq": 3}));
    let written = state_of(&runner.patch("/api/users/ada/mute", json!({"isMuted": true})), true);
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);

    let runner = Runner::start(&data);
    assert_eq!(runner.get("/api/users/ada").json(), written);
    assert_eq!(runner.get("/api/rooms/demo/users").json()["items"], json!([written]));
    let older = runner.patch("/api/users/ada/mute", json!({"isMuted": false, "seq": 3}));
    assert_eq!(state_of(&older, false), written, "the counters are kept too");
}

#[test]
fn checklist_07_frontend_can_connect_to_backend() {
    let runner = Runner::with_env(&[("CORS_ORIGIN", "http://localhost:5173")]);
    let page = runner.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    let connected = |reply: &Reply| reply.header("access-control-allow-origin") == Some("http://localhost:5173");
    let origin = ("origin", "http://localhost:5173");
    assert!(connected(&runner.send("GET", "/api/health", &[origin], "")));
    let ask = [origin, ("access-control-request-method", "PATCH"), ("access-control-request-headers", "content-type")];
    assert!(connected(&runner.send("OPTIONS", "/api/users/ada/mute", &ask, "")));
}

#[test]
fn checklist_08_mute_unmute_updates_backend() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    for muted in [true, false] {
        runner.patch("/api/users/ada/mute", json!({"isMuted": muted}));
        assert_eq!(runner.get("/api/users/ada").json()["isMuted"], muted);
    }
}

#[test]
fn checklist_09_device_switching_updates_backend() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    for device in ["usb", "built-in"] {
        runner.patch("/api/users/ada/device", json!({"deviceId": device}));
        assert_eq!(runner.get("/api/users/ada").json()["deviceId"], device);
    }
}

#[test]
fn checklist_10_metrics_show_accurate_request_counts() {
    let runner = Runner::ephemeral();
    for n in 1..=25 {
        runner.get("/api/health");
        let metrics = runner.get("/api/metrics").json();
        assert_eq!(metrics["api"]["byEndpoint"]["GET /api/health"]["count"], n);
        assert_eq!(metrics["api"]["totalRequests"], 2 * n - 1);
    }
}
