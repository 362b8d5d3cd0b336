use crate::support::Runner;
use crate::support::archive::{Archive, lines};
use crate::support::bucket::{Bucket, Served};
use crate::support::history::audit_of;
use crate::support::lambda::{Lambda, environment, event};
use serde_json::{Value, json};

const ID: &str = "2026-11-21-03-00-00";

/// A runner's empty tables, a bucket with a snapshot, and the function between them.
fn start(archive: &Archive) -> (Runner, Served, Lambda) {
    let (runner, bucket) = (Runner::ephemeral(), Bucket::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(archive.store(&bucket.objects()));
    let s3 = bucket.serve();
    let mut env = environment("restore", runner.dynamodb.as_deref().unwrap());
    env.extend([("AWS_ENDPOINT_URL_S3", s3.url.as_str()), ("SNAPSHOT_BUCKET", local::objects::BUCKET)]);
    let lambda = Lambda::start_with("restore", &env);
    (runner, s3, lambda)
}

fn users(runner: &Runner) -> usize {
    runner.get("/api/users?limit=200").json()["items"].as_array().unwrap().len()
}

#[test]
fn a_snapshot_is_restored_and_the_histories_go_on() {
    let (runner, _s3, lambda) = start(&Archive::new(ID, lines(2, 3, 20)));
    let answer = lambda.run(&event("restore"));
    assert_eq!(
        answer,
        json!({"snapshot": ID, "lines": 30, "of": 30, "resumedAt": 0, "keepAgents": false, "done": true})
    );
    assert_eq!(users(&runner), 20);
    // The runner has followed the stream during the restore: the stream's entries come after the restored ones.
    let entries = audit_of(&runner, "room-0", 13);
    assert!(entries[..3].iter().all(|entry| entry.action == "device_changed"), "{entries:#?}");
    assert!(entries[3..].iter().all(|entry| entry.action == "joined"), "{entries:#?}");
    let refused = lambda.fail(&event("restore"));
    assert!(refused["errorMessage"].as_str().unwrap().contains("is not empty"), "{refused}");
}

#[test]
fn an_event_that_names_no_snapshot_restores_none() {
    let (runner, _s3, lambda) = start(&Archive::new(ID, lines(1, 1, 3)));
    for event in [json!({}), json!({"snapshot": "newest"}), Value::Null] {
        let refused = lambda.fail(&event);
        assert!(refused["errorMessage"].as_str().unwrap().contains("the event must be"), "{refused}");
    }
    assert_eq!(users(&runner), 0);
    assert_eq!(lambda.run(&json!({"snapshot": ID}))["done"], true);
    assert_eq!(users(&runner), 3);
}

#[test]
fn a_damaged_snapshot_is_an_error_and_nothing_is_written() {
    let mut archive = Archive::new(ID, lines(1, 3, 20));
    archive.object[60] ^= 1;
    let (runner, _s3, lambda) = start(&archive);
    let refused = lambda.fail(&event("restore"));
    assert!(refused["errorMessage"].as_str().unwrap().contains("is damaged"), "{refused}");
    assert_eq!(users(&runner), 0);
    let line = lambda.await_log(|line| line["level"] == "ERROR");
    assert_eq!(line["message"], "not restored", "{line}");
}
