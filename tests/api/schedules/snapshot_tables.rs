use crate::support::bucket::Bucket;
use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::{Runner, await_that};
use serde_json::{Value, json};
use snapshot::keep::snapshots;

/// Starts the function with the variables of all functions and its own ones.
fn start(database: &str, s3: &str) -> Lambda {
    let mut env = environment("snapshot_tables", database);
    env.extend([("AWS_ENDPOINT_URL_S3", s3), ("SNAPSHOT_BUCKET", local::objects::BUCKET)]);
    Lambda::start_with("snapshot_tables", &env)
}

fn line(lambda: &Lambda, answer: &Value) -> Value {
    lambda.await_log(|line| line["timestamp"] == answer["timestamp"] && line.get("_aws").is_some())
}

fn metrics(line: &Value) -> Vec<&str> {
    let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect()
}

fn good(bucket: &Bucket) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(snapshots(&bucket.objects())).unwrap().len()
}

/// Calls the database directly, without the function.
#[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
fn call(database: &str, operation: &str, body: Value) {
    let target = format!("DynamoDB_20120810.{operation}");
    ureq::post(database).header("x-amz-target", &target).send(body.to_string()).unwrap();
}

/// A runner with ada in a room, and her history.
fn with_ada() -> Runner {
    let runner = Runner::ephemeral();
    let joined = runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    assert_eq!(joined.status, 201);
    await_that("the room has a history", || {
        runner.get("/api/rooms/demo/events").json()["events"].as_array().is_some_and(|events| !events.is_empty())
    });
    runner
}

#[test]
fn a_run_takes_a_snapshot_and_logs_the_verified_manifest() {
    let (runner, bucket) = (with_ada(), Bucket::new());
    let s3 = bucket.serve();
    let lambda = start(runner.dynamodb.as_deref().unwrap(), &s3.url);
    let answer = lambda.run(&json!({}));
    let line = line(&lambda, &answer);
    assert_eq!((&line["snapshot_failed"], &line["task"]), (&json!(0), &json!("snapshot")), "{line}");
    assert_eq!(metrics(&line), ["snapshot_failed", "backup_age_hours"]);
    let age = line["backup_age_hours"].as_f64().unwrap();
    assert!((0.0..0.05).contains(&age), "{age}");
    let verified = &line["verified"];
    assert_eq!(verified["stage"], "dev");
    assert_eq!(verified["chains"]["chains"], 1);
    assert_eq!(verified["object"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(good(&bucket), 1);
}

#[test]
fn an_event_that_is_delivered_again_takes_no_second_snapshot() {
    let (runner, bucket) = (with_ada(), Bucket::new());
    let s3 = bucket.serve();
    let lambda = start(runner.dynamodb.as_deref().unwrap(), &s3.url);
    for already_done in [Value::Null, json!(true), json!(true)] {
        let answer = lambda.run(&event("snapshot_tables"));
        assert_eq!((&answer["alreadyDone"], &answer["snapshot_failed"]), (&already_done, &json!(0)), "{answer}");
    }
    assert_eq!(good(&bucket), 1);
}

#[test]
fn the_age_is_reported_each_hour_once_there_is_a_snapshot() {
    let (runner, bucket) = (with_ada(), Bucket::new());
    let s3 = bucket.serve();
    let lambda = start(runner.dynamodb.as_deref().unwrap(), &s3.url);
    let asked = json!({"task": "age"});
    let none = lambda.run(&asked);
    assert_eq!((&none["task"], &none["backup_age_hours"]), (&json!("age"), &Value::Null), "{none}");
    lambda.run(&json!({}));
    let answer = lambda.run(&asked);
    assert!(answer["backup_age_hours"].is_number() && answer["snapshot_failed"].is_null(), "{answer}");
    assert_eq!(metrics(&line(&lambda, &answer)), ["backup_age_hours", "restore_drill_age_hours"]);
    assert_eq!(good(&bucket), 1, "to ask for the age takes no snapshot");
}

#[test]
fn a_run_that_takes_no_snapshot_is_an_error_and_says_so() {
    let (runner, bucket) = (with_ada(), Bucket::new());
    let s3 = bucket.serve();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = start(&database.url, &s3.url);
    database.be(Mode::Refusing);
    let error = lambda.fail(&json!({}));
    assert!(error["errorMessage"].as_str().unwrap().contains("the store cannot be reached"), "{error}");
    let failed = lambda.await_log(|line| line["snapshot_failed"] == 1);
    assert_eq!(metrics(&failed), ["snapshot_failed"]);
    assert!(failed["cause"].as_str().unwrap().contains("AccessDenied"), "{failed}");
    assert_eq!(good(&bucket), 0);
    database.be(Mode::Working);
    assert_eq!(lambda.run(&json!({}))["snapshot_failed"], 0, "the next run succeeds");
}

#[test]
fn a_run_beside_another_one_is_retried_and_rings_no_alarm() {
    let (runner, bucket) = (with_ada(), Bucket::new());
    let s3 = bucket.serve();
    let database = runner.dynamodb.as_deref().unwrap();
    let lambda = start(database, &s3.url);
    let lease = json!({"pk": {"S": "LEASE#snapshot"}, "sk": {"S": "LEASE"}, "holder": {"S": "another"},
                       "until": {"N": "4102444800000"}});
    call(database, "PutItem", json!({"TableName": "greenroom-state", "Item": lease}));
    let error = lambda.fail(&json!({}));
    assert!(error["errorMessage"].as_str().unwrap().contains("another run holds the lease"), "{error}");
    let line = lambda.await_log(|line| line["task"] == "snapshot");
    assert!(line.get("snapshot_failed").is_none() && line.get("_aws").is_none(), "{line}");
    let key = json!({"pk": lease["pk"], "sk": lease["sk"]});
    call(database, "DeleteItem", json!({"TableName": "greenroom-state", "Key": key}));
    assert_eq!(lambda.run(&json!({}))["snapshot_failed"], 0);
}

#[test]
fn the_age_of_the_last_drill_counts_from_the_first_check_and_a_good_drill_resets_it() {
    let (runner, bucket) = (with_ada(), Bucket::new());
    let s3 = bucket.serve();
    let database = runner.dynamodb.as_deref().unwrap();
    let lambda = start(database, &s3.url);
    let age = || lambda.run(&json!({"task": "age"}))["restore_drill_age_hours"].as_f64().unwrap();
    assert!((0.0..0.05).contains(&age()), "no drill yet, and this is the first check");
    let key = json!({"pk": {"S": "LEASE#drilled"}, "sk": {"S": "LEASE"}, "at": {"N": "1"}});
    call(database, "PutItem", json!({"TableName": "greenroom-state", "Item": key}));
    assert!(age() > 8.0 * 24.0, "since 1970");
    lambda.run(&json!({}));
    let mut env = environment("restore_drill", database);
    env.extend([("AWS_ENDPOINT_URL_S3", s3.url.as_str()), ("SNAPSHOT_BUCKET", local::objects::BUCKET)]);
    let drill = Lambda::start_with("restore_drill", &env).run(&event("restore_drill"));
    assert_eq!(drill["restore_drill_failed"], 0, "{drill}");
    assert!((0.0..0.05).contains(&age()), "a moment ago");
}
