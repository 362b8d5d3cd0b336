use crate::support::{Runner, instant, keys};
use serde_json::json;

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
