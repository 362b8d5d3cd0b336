use crate::support::faults::{Command, Faulty};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::taking::Taking;
use crate::support::{PATIENCE, Runner, await_that, instant, keys};
use domain::Timestamp;
use functions::schedules::snapshot_tables::{Task, perform};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

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
fn the_members_have_the_true_values() {
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
fn memory_is_in_megabytes_and_no_part_exceeds_the_whole() {
    let memory = Runner::ephemeral().get("/api/health").json()["memory"].clone();
    let megabytes = |name: &str| memory[name].as_str().unwrap().strip_suffix(" MB").unwrap().parse::<u64>().unwrap();
    assert!(megabytes("heapUsed") <= megabytes("rss") && megabytes("rss") < megabytes("heapTotal"), "{memory}");
    assert!(megabytes("rss") > 0);
}

#[test]
fn the_answer_is_never_cached() {
    let health = Runner::ephemeral().send("GET", "/api/health", &[("if-none-match", "*")], "");
    assert_eq!((health.status, health.header("cache-control"), health.header("etag")), (200, Some("no-store"), None));
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_as_the_system_reports_it() {
    let runner = Runner::ephemeral();
    let told = runner.get("/api/health").json()["memory"]["rss"].as_str().unwrap().replace(" MB", "");
    let status = std::fs::read_to_string(format!("/proc/{}/status", runner.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let measured: i64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let difference = told.parse::<i64>().unwrap() - measured / 1024;
    assert!(difference.abs() <= 8, "{told} MB in the answer, {measured} kB measured a moment later");
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
fn a_deep_check_says_unknown_where_there_is_no_data() {
    let runner = Runner::ephemeral();
    assert!(runner.get("/api/health?deep=0").json().get("deep").is_none());
    let health = runner.get("/api/health?deep=1");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    let deep = &health.json()["deep"];
    assert_eq!(keys(deep), ["deployedAt", "history", "settings", "snapshots", "tables"]);
    assert_eq!(deep["tables"], json!({"state": "ok", "ledger": "ok"}));
    assert_eq!(deep["snapshots"], json!({"status": "unknown", "ageHours": null}), "no snapshots are taken here");
    assert_eq!(deep["deployedAt"], Value::Null);
    let lambda = Lambda::start("get_health", runner.dynamodb.as_deref().unwrap());
    let deep = lambda.invoke(&asking_deeply()).json()["deep"].clone();
    assert_eq!(deep["history"], json!({"status": "unknown", "ageSeconds": null}), "no canary has run");
}

#[test]
fn a_deep_check_shows_the_settings_and_the_time_of_deployment() {
    let runner = Runner::start_as(
        &["--ephemeral"],
        &[
            ("AUTH_MODE", "strict"),
            ("CORS_ORIGIN", "https://meet.example"),
            ("STATE_TTL_DAYS", "9"),
            ("CONCURRENT_USER_LIMIT", "300"),
            ("LOG_LEVEL", "warn"),
            ("DEPLOYED_AT", "2026-11-21T10:32:05Z"),
        ],
    );
    let deep = runner.get("/api/health?deep=1").json()["deep"].clone();
    assert_eq!(deep["deployedAt"], "2026-11-21T10:32:05.000Z");
    let mut settings = deep["settings"].clone();
    let origins = settings.as_object_mut().unwrap().remove("corsOrigins").unwrap();
    assert!(origins.as_array().unwrap().contains(&json!("https://meet.example")), "{origins}");
    let wanted = json!({
        "authMode": "strict", "minEvidence": "digital_zero", "stateTtlDays": 9, "concurrentUserLimit": 300,
        "logLevel": "warn", "logSamplePercent": 100,
    });
    assert_eq!(settings, wanted);
    let any = Runner::with_env(&[("CORS_ORIGIN", "*")]);
    assert_eq!(any.get("/api/health?deep=1").json()["deep"]["settings"]["corsOrigins"], json!(["*"]));
}

/// An event of the function with `deep=1`.
fn asking_deeply() -> Value {
    let mut event = event("get_health");
    event["rawQueryString"] = "deep=1".into();
    event
}

#[test]
fn a_deep_check_shows_how_late_the_history_is() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    assert_eq!(Lambda::start("canary", database).run(&event("canary"))["canary_failed"], 0);
    let lambda = Lambda::start("get_health", database);
    let history = lambda.invoke(&asking_deeply()).json()["deep"]["history"].clone();
    assert_eq!(history["status"], "ok");
    assert!(history["ageSeconds"].as_u64().unwrap() < 60, "{history}");
}

#[test]
fn a_ledger_that_does_not_answer_is_an_error_of_a_deep_check_only() {
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
    state.clock = || Timestamp::from(SystemTime::now()).plus(Duration::from_mins(16));
    let health = Command::new("get_health", "none", "").asking("deep=1").run(&state).await.json();
    assert_eq!((&health["status"], &health["deep"]["history"]["status"]), (&json!("ok"), &json!("late")), "{health}");
}

/// No canary runs in the runner. The pump writes the history there and knows the changes that still wait.
#[test]
fn in_the_runner_the_history_is_as_late_as_its_oldest_waiting_change() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let all_written = json!({"status": "ok", "ageSeconds": 0});
    await_that("all changes are in the history", || {
        runner.get("/api/health?deep=1").json()["deep"]["history"] == all_written
    });
}

#[tokio::test]
async fn in_the_runner_a_history_that_cannot_be_written_becomes_late() {
    let faulty = Faulty::new();
    let (lag, stop) = faulty.follow_by(vec![|_, _| Box::pin(std::future::pending())]);
    let mut state = faulty.context();
    state.lag = Some(Arc::clone(&lag));
    let history = async |state: &functions::Context| {
        let health = Command::new("get_health", "none", "").asking("deep=1").run(state).await.json();
        health["deep"]["history"].clone()
    };
    assert_eq!(history(&state).await, json!({"status": "ok", "ageSeconds": 0}));
    let joins = Command::new("set_state", "userId", "ada").with(json!({"isMuted": true, "roomId": "demo"}));
    assert_eq!(joins.run(&state).await.status, 201);
    let deadline = Instant::now() + PATIENCE;
    while lag.oldest().is_none() {
        assert!(Instant::now() < deadline, "the waiting change is not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(history(&state).await["status"], "ok", "the change has waited for less than five minutes");
    state.clock = || Timestamp::from(SystemTime::now()).plus(Duration::from_mins(6));
    let late = history(&state).await;
    assert!(late["status"] == "late" && late["ageSeconds"].as_u64().is_some_and(|age| age >= 359), "{late}");
    stop.send(true).unwrap();
}

/// The job that takes snapshots leaves a mark with the time: `get_health` has no access to the bucket.
#[tokio::test]
async fn a_snapshot_is_ok_for_26_hours_and_then_old() {
    let taking = Taking::with_people().await;
    let settings = config::Snapshots::read(|_| None).unwrap();
    let mut state = taking.faulty.context();
    let (_, outcome) = perform(&state, &taking.objects, &settings, Task::Snapshot(None), false).await;
    outcome.unwrap();
    let mut after = async |clock: fn() -> Timestamp| {
        state.clock = clock;
        Command::new("get_health", "none", "").asking("deep=1").run(&state).await.json()["deep"]["snapshots"].clone()
    };
    let now = after(|| Timestamp::from(SystemTime::now())).await;
    assert_eq!(now, json!({"status": "ok", "ageHours": 0.0}));
    let before = after(|| Timestamp::from(SystemTime::now()).plus(Duration::from_mins(26 * 60 - 3))).await;
    assert_eq!(before["status"], "ok", "{before}");
    let later = after(|| Timestamp::from(SystemTime::now()).plus(Duration::from_mins(26 * 60 + 3))).await;
    assert_eq!((&later["status"], later["ageHours"].as_f64().unwrap().round()), (&json!("old"), 26.0), "{later}");
}
