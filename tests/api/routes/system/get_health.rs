use crate::support::faults::{Command, Faulty};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::{Runner, instant, keys};
use domain::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

#[test]
fn a_working_deployment_is_200_ok() {
    let health = Runner::ephemeral().get("/api/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    assert_eq!(health.header("content-type"), Some("application/json"));
}

#[test]
fn the_answer_has_exactly_these_members() {
    let health = Runner::ephemeral().get("/api/health").json();
    let top =
        ["commit", "cpu", "database", "environment", "memory", "region", "status", "timestamp", "uptime", "version"];
    assert_eq!(keys(&health), top);
    assert_eq!(keys(&health["uptime"]), ["formatted", "seconds"]);
    assert_eq!(keys(&health["database"]), ["mode", "responseTime", "status", "type"]);
    assert_eq!(keys(&health["memory"]), ["heapTotal", "heapUsed", "rss"]);
    assert_eq!(keys(&health["cpu"]), ["architecture", "count"]);
}

#[test]
fn what_it_says_is_true() {
    let runner = Runner::with_env(&[("STAGE", "demo"), ("GIT_COMMIT", "abc123"), ("AWS_REGION", "eu-north-1")]);
    let health = runner.get("/api/health").json();
    instant(&health["timestamp"]);
    assert_eq!(health["database"]["status"], "connected");
    assert_eq!((&health["database"]["type"], &health["database"]["mode"]), (&json!("DynamoDB"), &json!("on-demand")));
    assert!(health["database"]["responseTime"].as_str().unwrap().ends_with("ms"));
    assert_eq!((&health["environment"], &health["commit"]), (&json!("demo"), &json!("abc123")));
    assert_eq!((&health["region"], &health["version"]), (&json!("eu-north-1"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(health["cpu"]["architecture"], std::env::consts::ARCH);
    assert!(health["cpu"]["count"].as_u64().unwrap() >= 1);
}

#[test]
fn uptime_is_written_in_hours_minutes_and_seconds() {
    let uptime = Runner::ephemeral().get("/api/health").json()["uptime"].clone();
    let seconds = uptime["seconds"].as_u64().unwrap();
    assert!(seconds < 60);
    assert_eq!(uptime["formatted"], format!("0h 0m {seconds}s"));
}

#[test]
fn memory_is_written_in_megabytes_and_fits_into_itself() {
    let memory = Runner::ephemeral().get("/api/health").json()["memory"].clone();
    let megabytes = |name: &str| memory[name].as_str().unwrap().strip_suffix(" MB").unwrap().parse::<u64>().unwrap();
    assert!(megabytes("heapUsed") <= megabytes("rss") && megabytes("rss") < megabytes("heapTotal"), "{memory}");
    assert!(megabytes("rss") > 0);
}

#[test]
fn a_moment_is_not_kept() {
    let health = Runner::ephemeral().send("GET", "/api/health", &[("if-none-match", "*")], "");
    assert_eq!((health.status, health.header("cache-control"), health.header("etag")), (200, Some("no-store"), None));
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_what_the_system_says() {
    let runner = Runner::ephemeral();
    let told = runner.get("/api/health").json()["memory"]["rss"].as_str().unwrap().replace(" MB", "");
    let status = std::fs::read_to_string(format!("/proc/{}/status", runner.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let measured: i64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let difference = told.parse::<i64>().unwrap() - measured / 1024;
    assert!(difference.abs() <= 8, "{told} MB told, {measured} kB measured a moment later");
}

#[test]
fn head_answers_as_get_without_a_body() {
    let runner = Runner::ephemeral();
    let mut event = event("get_health");
    event["requestContext"]["http"]["method"] = "HEAD".into();
    let lambda = Lambda::start("get_health", runner.dynamodb.as_deref().unwrap());
    for head in [runner.send("HEAD", "/api/health", &[], ""), lambda.invoke(&event)] {
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert_eq!(
            (head.header("content-type"), head.header("cache-control")),
            (Some("application/json"), Some("no-store"))
        );
    }
    let nowhere = Lambda::start("get_health", "http://127.0.0.1:9");
    assert_eq!(nowhere.invoke(&event).status, 503);
}

#[test]
fn a_deep_look_says_unknown_where_it_cannot_see() {
    let runner = Runner::with_env(&[("AUTH_MODE", "strict"), ("STATE_TTL_DAYS", "9")]);
    assert!(runner.get("/api/health?deep=0").json().get("deep").is_none());
    let health = runner.get("/api/health?deep=1");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    let deep = &health.json()["deep"];
    assert_eq!(deep["tables"], json!({"state": "ok", "ledger": "ok"}));
    assert_eq!(deep["history"], json!({"status": "unknown", "ageSeconds": null}), "no canary runs here");
    assert_eq!(deep["snapshots"], json!({"status": "unknown", "ageHours": null}), "no snapshots are taken here");
    let settings = json!({
        "authMode": "strict", "minEvidence": "digital_zero", "stateTtlDays": 9, "logSamplePercent": 100,
    });
    assert_eq!(deep["settings"], settings);
}

/// An event of the function that asks deeply.
fn asking_deeply() -> Value {
    let mut event = event("get_health");
    event["rawQueryString"] = "deep=1".into();
    event
}

#[test]
fn a_deep_look_tells_how_late_the_history_is() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    assert_eq!(Lambda::start("canary", database).run(&event("canary"))["canary_failed"], 0);
    let lambda = Lambda::start("get_health", database);
    let history = lambda.invoke(&asking_deeply()).json()["deep"]["history"].clone();
    assert_eq!(history["status"], "ok");
    assert!(history["ageSeconds"].as_u64().unwrap() < 60, "{history}");
}

#[test]
fn a_ledger_that_does_not_answer_is_an_error_of_a_deep_look_alone() {
    let runner = Runner::ephemeral();
    let mut env = environment("get_health", runner.dynamodb.as_deref().unwrap());
    env.retain(|(name, _)| *name != "LEDGER_TABLE");
    env.push(("LEDGER_TABLE", "another-table"));
    let lambda = Lambda::start_with("get_health", &env);
    assert_eq!(lambda.invoke(&event("get_health")).status, 200);
    let reply = lambda.invoke(&asking_deeply());
    assert_eq!((reply.status, &reply.json()["status"]), (503, &json!("error")));
    assert_eq!(reply.json()["deep"]["tables"], json!({"state": "ok", "ledger": "error"}));
    assert_eq!(reply.json()["deep"]["history"]["status"], "unknown");
}

#[tokio::test]
async fn a_history_that_stands_still_is_late() {
    let faulty = Faulty::new();
    let stop = faulty.follow();
    assert_eq!(functions::schedules::canary::run(faulty.context(), Value::Null).await.unwrap()["canary_failed"], 0);
    stop.send(true).unwrap();
    let mut state = faulty.context();
    state.clock = || Timestamp::from(SystemTime::now()).plus(Duration::from_mins(6));
    let health = Command::new("get_health", "none", "").asking("deep=1").run(&state).await.json();
    assert_eq!((&health["status"], &health["deep"]["history"]["status"]), (&json!("ok"), &json!("late")), "{health}");
}
