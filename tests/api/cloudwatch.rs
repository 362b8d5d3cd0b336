//! `/api/metrics` of a stage: the real function, on a stand-in for CloudWatch.

use crate::support::cloudwatch::{CloudWatch, Mode, Plain};
use crate::support::database::{Database, Mode as DatabaseMode};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::template::endpoints;
use crate::support::{Runner, instant, keys};
use aws::{Credentials, Environment, Region};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use cloudwatch::Function;
use domain::Timestamp;
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use telemetry::metrics::{Degraded, Figures, Metric, Scope, Source as _, Window};
use xtask::cost::series_read;

const OWN: &str = "Greenroom/dev";

/// Starts the function with an address at which no database listens: it needs none.
pub(crate) fn get_metrics(cloudwatch: &CloudWatch) -> Lambda {
    let mut env = environment("get_metrics", "http://127.0.0.1:9");
    env.push(("AWS_ENDPOINT_URL_CLOUDWATCH", &cloudwatch.url));
    Lambda::start_with("get_metrics", &env)
}

fn ask(lambda: &Lambda) -> Value {
    let reply = lambda.invoke(&event("get_metrics"));
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// A stage with traffic: a hundred requests, five of them refused; two functions; users; jobs.
pub(crate) fn busy() -> CloudWatch {
    let cloudwatch = CloudWatch::start();
    for ms in 1..=100_u32 {
        cloudwatch.put(OWN, "api_response_time", None, 60 + u64::from(ms), &[f64::from(ms)]);
    }
    cloudwatch.put(OWN, "api_error_rate", None, 90, &[[0.0; 95].as_slice(), &[100.0; 5]].concat());
    cloudwatch.put(OWN, "memory_used_mb", None, 300, &[9.5, 12.0, 11.0]);
    cloudwatch.put(OWN, "concurrent_users", None, 2000, &[7.0]);
    cloudwatch.put(OWN, "concurrent_users", None, 60, &[3.0]);
    let mute = Some("greenroom-dev-set-mute");
    cloudwatch.put("AWS/Lambda", "Invocations", mute, 100, &[1.0; 40]);
    cloudwatch.put("AWS/Lambda", "Errors", mute, 100, &[1.0, 0.0]);
    cloudwatch.put("AWS/Lambda", "Duration", mute, 100, &[2.5; 40]);
    cloudwatch.put(OWN, "route_errors", mute, 100, &[1.0; 3]);
    cloudwatch.put(OWN, "route_failures", mute, 100, &[1.0]);
    let none = Some("greenroom-dev-no-route");
    cloudwatch.put("AWS/Lambda", "Invocations", none, 100, &[1.0; 4]);
    cloudwatch.put("AWS/Lambda", "Duration", none, 100, &[1.0; 4]);
    cloudwatch.put(OWN, "backup_age_hours", None, 1800, &[5.0]);
    cloudwatch.put(OWN, "snapshot_failed", None, 40 * 3600, &[1.0]);
    cloudwatch.put(OWN, "snapshot_failed", None, 16 * 3600, &[0.0]);
    cloudwatch.put(OWN, "restore_drill_failed", None, 6 * 86400, &[1.0]);
    // Figures of another stage, and figures that are too old.
    cloudwatch.put("Greenroom/prod", "api_response_time", None, 60, &[9000.0]);
    cloudwatch.put("AWS/Lambda", "Invocations", Some("greenroom-prod-set-mute"), 100, &[1.0]);
    cloudwatch.put(OWN, "api_response_time", None, 2 * 3600, &[9000.0]);
    cloudwatch
}

#[test]
fn the_figures_of_a_stage_are_those_of_cloudwatch() {
    let cloudwatch = busy();
    let metrics = ask(&get_metrics(&cloudwatch));
    assert_eq!((&metrics["scope"], &metrics["degraded"]), (&json!("stage"), &Value::Null));
    let api = &metrics["api"];
    assert_eq!(
        (&api["totalRequests"], &api["totalErrors"], &api["errorRate"]),
        (&json!(100), &json!(5), &json!("5.0%"))
    );
    assert_eq!(
        api["responseTime"],
        json!({"p50": "50ms", "p95": "95ms", "p99": "99ms", "min": "1.0ms", "max": "100ms"})
    );
    assert_eq!(
        api["byEndpoint"],
        json!({
            "PATCH /api/users/{userId}/mute": {"count": 40, "avgDuration": 2.5, "errorRate": "10.0%", "failures": 2, "refused": null},
            "$default": {"count": 4, "avgDuration": 1.0, "errorRate": "0.0%", "failures": 0, "refused": null},
        })
    );
    assert_eq!(metrics["users"], json!({"current": 3, "peak": 7, "limit": 10, "capacityUsed": "30.0%"}));
    assert_eq!(metrics["system"]["memoryPeak"], "12 MB");
    assert_eq!((&metrics["slo"]["responseTimeMet"], &metrics["slo"]["errorRateMet"]), (&json!(true), &json!(false)));
    let snapshots = &metrics["snapshots"];
    assert_eq!((&snapshots["lastOk"], &snapshots["drillOk"]), (&json!(true), &json!(false)));
    let age = snapshots["ageHours"].as_f64().unwrap();
    assert!((5.5..5.7).contains(&age), "five hours half an hour ago, rounded to five minutes: {age}");
    assert!(instant(&snapshots["drillAt"]) < instant(&snapshots["lastAt"]));
    assert!(instant(&metrics["since"]) < instant(&metrics["timestamp"]));
}

/// Invokes a function this often, and brings its lines and Lambda's counts to CloudWatch. Returns the statuses.
fn watched(cloudwatch: &CloudWatch, binary: &str, database: &str, times: usize) -> Vec<u16> {
    let name = format!("greenroom-dev-{}", binary.replace('_', "-"));
    let mut env = environment(binary, database);
    env.retain(|(variable, _)| *variable != "AWS_LAMBDA_FUNCTION_NAME");
    env.push(("AWS_LAMBDA_FUNCTION_NAME", &name));
    let lambda = Lambda::start_with(binary, &env);
    let answers = (0..times).map(|n| {
        let mut event = event(binary);
        event["requestContext"]["requestId"] = format!("watched-{n}").into();
        let reply = lambda.invoke(&event);
        cloudwatch.put("AWS/Lambda", "Invocations", Some(&name), 1, &[1.0]);
        cloudwatch.ingest(&lambda.log_of(&reply));
        reply.status
    });
    answers.collect()
}

#[test]
fn a_route_that_always_answers_500_is_shown_as_such() {
    let (cloudwatch, runner) = (CloudWatch::start(), Runner::ephemeral());
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    database.be(DatabaseMode::Refusing);
    assert_eq!(watched(&cloudwatch, "get_user", &database.url, 3), [500, 500, 500]);
    database.be(DatabaseMode::Working);
    assert_eq!(watched(&cloudwatch, "set_mute", &database.url, 1), [404]);
    assert_eq!(watched(&cloudwatch, "list_users", &database.url, 2), [200, 200]);
    let api = &ask(&get_metrics(&cloudwatch))["api"]["byEndpoint"];
    let of = |route: &str| (api[route]["errorRate"].clone(), api[route]["failures"].clone());
    assert_eq!(of("GET /api/users/{userId}"), (json!("100.0%"), json!(3)));
    assert_eq!(of("PATCH /api/users/{userId}/mute"), (json!("100.0%"), json!(0)), "a refusal is no failure");
    assert_eq!(of("GET /api/users"), (json!("0.0%"), json!(0)));
}

#[test]
fn a_stage_and_a_runner_answer_with_the_same_members() {
    let cloudwatch = busy();
    let (stage, runner) = (ask(&get_metrics(&cloudwatch)), Runner::ephemeral().get("/api/metrics").json());
    assert_eq!(keys(&stage), keys(&runner));
    for member in ["api", "users", "system", "slo", "snapshots"] {
        assert_eq!(keys(&stage[member]), keys(&runner[member]), "{member}");
    }
}

#[test]
fn every_route_of_the_template_is_asked_for_by_its_name() {
    let expected: BTreeSet<_> = functions::described().into_iter().collect();
    let endpoints = endpoints().into_iter();
    let endpoints = endpoints.map(|function| (function.binary, function.routes[0].to_string().into_boxed_str()));
    let messages = Template::parse(TEMPLATE).unwrap().socket_api().unwrap().routes.into_iter();
    let messages = messages.map(|route| (route.binary, format!("WS {}", route.key).into_boxed_str()));
    assert_eq!(expected, endpoints.chain(messages).collect());
    let cloudwatch = CloudWatch::start();
    for (binary, _) in &expected {
        let function = format!("greenroom-dev-{}", binary.replace('_', "-"));
        cloudwatch.put("AWS/Lambda", "Invocations", Some(&function), 60, &[1.0]);
    }
    let metrics = ask(&get_metrics(&cloudwatch));
    let routes: BTreeSet<_> = keys(&metrics["api"]["byEndpoint"]).into_iter().map(Box::from).collect();
    assert_eq!(routes, expected.into_iter().map(|(_, route)| route).collect());
}

#[test]
fn a_stage_that_nobody_used_has_figures_without_values() {
    let cloudwatch = CloudWatch::start();
    let metrics = ask(&get_metrics(&cloudwatch));
    assert_eq!((&metrics["scope"], &metrics["degraded"]), (&json!("stage"), &Value::Null));
    assert_eq!((&metrics["api"]["totalRequests"], &metrics["api"]["errorRate"]), (&json!(0), &json!("0.0%")));
    assert_eq!(metrics["users"], json!({"current": null, "peak": null, "limit": 10, "capacityUsed": null}));
    assert_eq!(
        metrics["snapshots"],
        json!({"ageHours": null, "lastOk": null, "lastAt": null, "drillAgeHours": null, "drillOk": null, "drillAt": null})
    );
}

#[test]
fn an_answer_is_kept_so_that_asking_often_costs_nothing() {
    let cloudwatch = busy();
    let lambda = get_metrics(&cloudwatch);
    let first = ask(&lambda);
    let asked = cloudwatch.take_calls();
    assert_eq!((asked.len(), asked.iter().sum::<usize>()), (2, series_read()), "series_read in xtask/src/cost.rs");
    for _ in 0..3 {
        let again = ask(&lambda);
        assert_eq!((&again["timestamp"], &again["api"]), (&first["timestamp"], &first["api"]));
    }
    assert!(cloudwatch.take_calls().is_empty());
}

#[test]
fn pages_of_figures_are_put_together() {
    let cloudwatch = busy();
    let whole = ask(&get_metrics(&cloudwatch));
    cloudwatch.take_calls();
    cloudwatch.be(Mode::Paged(5));
    let paged = ask(&get_metrics(&cloudwatch));
    assert!(cloudwatch.take_calls().len() > 3, "the series came in several pages");
    assert_eq!((&paged["api"], &paged["users"], &paged["degraded"]), (&whole["api"], &whole["users"], &Value::Null));
}

#[test]
fn figures_beyond_the_limit_of_pages_make_the_answer_partial() {
    let cloudwatch = busy();
    cloudwatch.be(Mode::Paged(1));
    assert_eq!(ask(&get_metrics(&cloudwatch))["degraded"], "partial");
    assert!(cloudwatch.take_calls().len() <= 20, "at most ten pages of each are read");
}

#[test]
fn a_series_that_cannot_be_read_makes_the_answer_partial() {
    let cloudwatch = busy();
    cloudwatch.be(Mode::Without("users"));
    let metrics = ask(&get_metrics(&cloudwatch));
    assert_eq!((&metrics["degraded"], &metrics["scope"]), (&json!("partial"), &json!("stage")));
    assert_eq!((&metrics["users"]["current"], &metrics["api"]["totalRequests"]), (&Value::Null, &json!(100)));
}

#[test]
fn without_cloudwatch_the_function_shows_its_own_process_and_says_so() {
    let cloudwatch = busy();
    for (mode, calls) in [(Mode::Throttling, 8), (Mode::Failing, 8), (Mode::Refusing, 2), (Mode::Hanging, 8)] {
        cloudwatch.be(mode.clone());
        let lambda = get_metrics(&cloudwatch);
        let metrics = ask(&lambda);
        assert_eq!(
            (&metrics["degraded"], &metrics["scope"]),
            (&json!("unavailable"), &json!("process")),
            "{mode:?}: {metrics}"
        );
        assert_eq!(metrics["api"]["totalRequests"], 0);
        let cause = lambda.await_log(|line| line["level"] == "ERROR");
        assert!(cause["message"].as_str().unwrap().contains("figures"), "{cause}");
        assert!(ask(&lambda)["degraded"].is_string());
        let made = cloudwatch.take_calls().len();
        assert!(made <= calls, "{mode:?}: {made} calls; a failed read is not repeated at once");
    }
}

#[test]
fn a_strict_stage_asks_cloudwatch_for_no_stranger() {
    let cloudwatch = busy();
    let mut env = environment("get_metrics", "http://127.0.0.1:9");
    env.retain(|(name, _)| *name != "AUTH_MODE");
    env.extend([("AUTH_MODE", "strict"), ("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch.url.as_str())]);
    assert_eq!(Lambda::start_with("get_metrics", &env).invoke(&event("get_metrics")).status, 401);
    assert!(cloudwatch.take_calls().is_empty());
}

/// The source of the figures without a process around it, so that a test can choose the time.
fn source(cloudwatch: &CloudWatch) -> cloudwatch::CloudWatch {
    let environment = Environment {
        region: Region::new("us-east-1"),
        credentials: Credentials::new("test", "test", None, None, "test"),
        endpoint: Some(cloudwatch.url.clone()),
        http: SharedHttpClient::new(Plain),
    };
    let functions = vec![Function { binary: "set_mute".to_owned(), route: "PATCH /api/users/{userId}/mute".into() }];
    cloudwatch::CloudWatch::new(environment, "dev", functions)
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_that_cannot_be_renewed_are_shown_as_stale_for_a_while() {
    let cloudwatch = busy();
    let source = source(&cloudwatch);
    let (window, now) = (Window::default(), Timestamp::from(SystemTime::now()));
    let after = async |seconds| source.read(&window, now.plus(Duration::from_secs(seconds))).await;
    let first = after(0).await;
    assert_eq!((first.scope, first.degraded, first.total), (Scope::Stage, None, 100));

    cloudwatch.be(Mode::Refusing);
    assert_eq!(after(59).await, first, "figures are kept for a minute");
    let stale = after(61).await;
    assert_eq!(stale, Figures { degraded: Some(Degraded::Stale), ..first.clone() });
    cloudwatch.take_calls();
    assert_eq!(after(70).await, stale);
    assert!(cloudwatch.take_calls().is_empty(), "CloudWatch is not asked again within ten seconds");

    let unavailable = after(16 * 60).await;
    assert_eq!((unavailable.scope, unavailable.degraded), (Scope::Process, Some(Degraded::Unavailable)));
    cloudwatch.be(Mode::Working);
    let again = after(16 * 60 + 11).await;
    assert_eq!((again.scope, again.degraded, again.total), (Scope::Stage, None, 100));
    assert_eq!(again.noted.len(), [Metric::BackupAgeHours, Metric::SnapshotFailed, Metric::RestoreDrillFailed].len());
}
