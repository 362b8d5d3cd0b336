use crate::support::Runner;
use crate::support::archive::{Archive, lines};
use crate::support::bucket::Bucket;
use crate::support::lambda::{Lambda, environment, event};
use serde_json::{Value, json};

const ID: &str = "2026-11-21-03-00-00";

fn start(database: &str, s3: &str) -> Lambda {
    let mut env = environment("restore_drill", database);
    env.extend([("AWS_ENDPOINT_URL_S3", s3), ("SNAPSHOT_BUCKET", local::objects::BUCKET)]);
    Lambda::start_with("restore_drill", &env)
}

fn with(archive: Option<&Archive>) -> Bucket {
    let bucket = Bucket::new();
    if let Some(archive) = archive {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(archive.store(&bucket.objects()));
    }
    bucket
}

#[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
fn call(runner: &Runner, operation: &str, body: Value) -> Value {
    let target = format!("DynamoDB_20120810.{operation}");
    let asked = ureq::post(runner.dynamodb.as_ref().unwrap()).header("x-amz-target", &target).send(body.to_string());
    serde_json::from_str(&asked.unwrap().body_mut().read_to_string().unwrap()).unwrap()
}

fn line(lambda: &Lambda, answer: &Value) -> Value {
    lambda.await_log(|line| line["timestamp"] == answer["timestamp"] && line.get("duration").is_some())
}

#[test]
fn a_snapshot_that_can_be_restored_passes_and_leaves_nothing() {
    let (runner, bucket) = (Runner::ephemeral(), with(Some(&Archive::new(ID, lines(2, 3, 20)))));
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let s3 = bucket.serve();
    let lambda = start(runner.dynamodb.as_deref().unwrap(), &s3.url);
    for _ in 0..2 {
        let answer = lambda.run(&event("restore_drill"));
        assert_eq!(answer["restore_drill_failed"], 0, "{answer}");
        assert_eq!(answer["drilled"], json!({"snapshot": ID, "items": 30, "chains": 2}));
        let line = line(&lambda, &answer);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Greenroom/dev");
        assert_eq!(directive["Metrics"], json!([{"Name": "restore_drill_failed", "Unit": "Count"}]));
    }
    assert_eq!(call(&runner, "ListTables", json!({}))["TableNames"], json!(["greenroom-ledger", "greenroom-state"]));
    let live = call(&runner, "Scan", json!({"TableName": "greenroom-state"}));
    let mut keys: Vec<_> = live["Items"].as_array().unwrap().iter().map(|item| item["pk"]["S"].clone()).collect();
    keys.sort_unstable_by_key(Value::to_string);
    assert_eq!(keys, ["LEASE#drilled", "SIGNING#tokens", "USER#ada"], "only the mark stays");
}

#[test]
fn a_snapshot_that_cannot_be_restored_is_a_failure_and_no_error() {
    let mut damaged = Archive::new(ID, lines(1, 3, 20));
    damaged.object[60] ^= 1;
    for (archive, cause) in [(None, "there is no snapshot"), (Some(&damaged), "is damaged")] {
        let (runner, bucket) = (Runner::ephemeral(), with(archive));
        let s3 = bucket.serve();
        let lambda = start(runner.dynamodb.as_deref().unwrap(), &s3.url);
        let answer = lambda.run(&event("restore_drill"));
        assert_eq!(answer["restore_drill_failed"], 1, "{answer}");
        assert!(answer["cause"].as_str().unwrap().contains(cause), "{answer}");
        assert_eq!(line(&lambda, &answer)["restore_drill_failed"], 1);
        let left = call(&runner, "Scan", json!({"TableName": "greenroom-state"}));
        let left: Vec<_> = left["Items"].as_array().unwrap().iter().map(|item| &item["pk"]["S"]).collect();
        assert_eq!(left, ["SIGNING#tokens"], "its lease is given back");
    }
}

#[test]
fn a_drill_beside_another_one_reports_no_result() {
    let (runner, bucket) = (Runner::ephemeral(), with(Some(&Archive::new(ID, lines(1, 1, 1)))));
    let lease = json!({"pk": {"S": "LEASE#drill"}, "sk": {"S": "LEASE"}, "until": {"N": "4102444800000"}, "holder": {"S": "x"}});
    call(&runner, "PutItem", json!({"TableName": "greenroom-state", "Item": lease}));
    let s3 = bucket.serve();
    let lambda = start(runner.dynamodb.as_deref().unwrap(), &s3.url);
    let answer = lambda.run(&event("restore_drill"));
    assert!(
        answer.get("restore_drill_failed").is_none() && answer["cause"].as_str().unwrap().contains("lease"),
        "{answer}"
    );
    assert!(line(&lambda, &answer).get("_aws").is_none());
}
