use crate::support::witness::{join, set_attribute};
use crate::support::{Runner, await_that, instant, keys};
use serde_json::{Value, json};

/// A number before its unit.
fn number(value: &Value, unit: &str) -> f64 {
    value.as_str().unwrap().strip_suffix(unit).unwrap().parse().unwrap()
}

/// Eight requests, three of them refused. Ada is in a room, and bob is in none.
fn busy(env: &[(&str, &str)]) -> Runner {
    let runner = Runner::with_env(env);
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    runner.post("/api/users/bob/state", json!({"isMuted": true}));
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    runner.patch("/api/users/nobody/mute", json!({"isMuted": true}));
    runner.patch("/api/users/ada/mute", json!({"isMuted": "no"}));
    runner.get("/api/nowhere");
    runner.get("/api/rooms/demo/users");
    runner
}

#[test]
fn the_answer_has_exactly_these_members() {
    let metrics = busy(&[]).get("/api/metrics").json();
    let members = ["api", "degraded", "scope", "since", "slo", "snapshots", "system", "timestamp", "users"];
    assert_eq!(keys(&metrics), members);
    assert_eq!(keys(&metrics["snapshots"]), ["ageHours", "drillAgeHours", "drillAt", "drillOk", "lastAt", "lastOk"]);
    assert_eq!(keys(&metrics["api"]), ["byEndpoint", "errorRate", "responseTime", "totalErrors", "totalRequests"]);
    assert_eq!(keys(&metrics["api"]["responseTime"]), ["max", "min", "p50", "p95", "p99"]);
    for endpoint in metrics["api"]["byEndpoint"].as_object().unwrap().values() {
        assert_eq!(keys(endpoint), ["avgDuration", "count", "errorRate", "failures", "refused"]);
    }
    assert_eq!(keys(&metrics["users"]), ["capacityUsed", "current", "limit", "peak"]);
    assert_eq!(keys(&metrics["system"]), ["cpu", "memory", "memoryPeak", "uptime"]);
    assert_eq!(keys(&metrics["system"]["memory"]), ["heapTotal", "heapUsed", "rss", "usagePercent"]);
    assert_eq!(keys(&metrics["system"]["cpu"]), ["systemMs", "userMs"]);
    assert_eq!(keys(&metrics["slo"]), ["errorRateMet", "profiles", "responseTimeMet"]);
    let profile = ["errorRateMet", "errorRateTarget", "responseTimeMet", "responseTimeTarget"];
    assert_eq!(keys(&metrics["slo"]["profiles"]), ["basic", "strict"]);
    assert_eq!(
        (keys(&metrics["slo"]["profiles"]["basic"]), keys(&metrics["slo"]["profiles"]["strict"])),
        (profile.into(), profile.into())
    );
    instant(&metrics["timestamp"]);
}

#[test]
fn requests_and_errors_are_counted_exactly() {
    let api = busy(&[]).get("/api/metrics").json()["api"].clone();
    assert_eq!(
        (&api["totalRequests"], &api["totalErrors"], &api["errorRate"]),
        (&json!(8), &json!(3), &json!("37.5%"))
    );
}

#[test]
fn each_endpoint_is_counted_by_its_route() {
    let api = busy(&[]).get("/api/metrics").json()["api"].clone();
    let counts =
        |route: &str| (api["byEndpoint"][route]["count"].clone(), api["byEndpoint"][route]["errorRate"].clone());
    assert_eq!(counts("POST /api/users/{userId}/state"), (json!(2), json!("0.0%")));
    assert_eq!(counts("PATCH /api/users/{userId}/mute"), (json!(4), json!("50.0%")));
    assert_eq!(counts("GET /api/rooms/{room}/users"), (json!(1), json!("0.0%")));
    assert_eq!(counts("GET /{proxy+}"), (json!(1), json!("100.0%")));
    assert_eq!(api["byEndpoint"].as_object().unwrap().len(), 4, "{api}");
    assert!(api["byEndpoint"]["GET /{proxy+}"]["avgDuration"].as_f64().unwrap() >= 0.0);
}

#[test]
fn a_request_for_metrics_is_counted_in_the_next_answer() {
    let runner = Runner::ephemeral();
    for asked in 0..3 {
        assert_eq!(runner.get("/api/metrics").json()["api"]["totalRequests"], asked);
    }
}

#[test]
fn users_are_the_people_in_rooms_and_not_the_ids_in_requests() {
    let runner = busy(&[("CONCURRENT_USER_LIMIT", "8")]);
    let expected = json!({"current": 1, "peak": 1, "limit": 8, "capacityUsed": "12.5%"});
    await_that("ada is counted", || runner.get("/api/metrics").json()["users"] == expected);
}

#[test]
fn a_person_who_has_left_or_lapsed_is_not_counted_any_more() {
    let runner = Runner::ephemeral();
    let users = || runner.get("/api/metrics").json()["users"].clone();
    let counts = |people: u64| await_that(&format!("{people} people are counted"), || users()["current"] == people);
    for user in ["ada", "bob"] {
        let body = json!({"isMuted": true, "roomId": "demo", "lease": "page-load-1"});
        assert_eq!(runner.post(&format!("/api/users/{user}/state"), body).status, 201);
    }
    counts(2);
    runner.post("/api/rooms/demo/leave", json!({"participantId": "ada", "lease": "page-load-1"}));
    counts(1);
    set_attribute(&runner, "bob", "leaseUntil", Some(&json!({"N": "1795257125000"})));
    counts(0);
    assert_eq!(users()["peak"], 2);
    // A person without a lease is listed and counted until the state expires.
    join(&runner, "eve", true);
    counts(1);
}

#[test]
fn ten_users_are_full_capacity_unless_set_otherwise() {
    let users = busy(&[]).get("/api/metrics").json()["users"].clone();
    assert_eq!((&users["limit"], &users["capacityUsed"]), (&json!(10), &json!("10.0%")));
}

#[test]
fn percentiles_are_in_order() {
    let times = busy(&[]).get("/api/metrics").json()["api"]["responseTime"].clone();
    let ordered: Vec<_> = ["min", "p50", "p95", "p99", "max"].iter().map(|name| number(&times[name], "ms")).collect();
    assert!(ordered.is_sorted(), "{times}");
    assert!(ordered[4] > 0.0 && ordered[4] < 10_000.0, "{times}");
}

#[test]
fn the_slo_says_which_targets_are_met() {
    let slo = busy(&[]).get("/api/metrics").json()["slo"].clone();
    assert_eq!((&slo["responseTimeMet"], &slo["errorRateMet"]), (&json!(true), &json!(false)));
    let basic = &slo["profiles"]["basic"];
    assert_eq!((&basic["responseTimeTarget"], &basic["errorRateTarget"]), (&json!("1000ms"), &json!("5.0%")));
    let strict = &slo["profiles"]["strict"];
    assert_eq!((&strict["responseTimeTarget"], &strict["errorRateTarget"]), (&json!("100ms"), &json!("0.1%")));

    let faultless = Runner::ephemeral();
    faultless.post("/api/users/ada/state", json!({"isMuted": true}));
    assert_eq!(faultless.get("/api/metrics").json()["slo"]["errorRateMet"], true);
}

#[test]
fn the_system_is_measured() {
    let system = busy(&[]).get("/api/metrics").json()["system"].clone();
    assert!(number(&system["memory"]["rss"], " MB") > 0.0);
    assert!(number(&system["memoryPeak"], " MB") >= number(&system["memory"]["rss"], " MB"));
    let percent = system["memory"]["usagePercent"].as_str().unwrap();
    assert_eq!(percent.split_once('.').unwrap().1.len(), 2, "two decimals, as in seed 004");
    assert!(system["uptime"].as_u64().unwrap() < 60);
    assert!(system["cpu"]["userMs"].is_u64() && system["cpu"]["systemMs"].is_u64());
}

#[test]
fn the_answer_is_never_cached() {
    let metrics = Runner::ephemeral().send("GET", "/api/metrics", &[("if-none-match", "*")], "");
    assert_eq!(
        (metrics.status, metrics.header("cache-control"), metrics.header("etag")),
        (200, Some("no-store"), None)
    );
}
