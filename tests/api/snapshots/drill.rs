//! A drill checks whether the newest snapshot can be restored, and leaves nothing behind but its result.

use crate::support::archive::{Archive, Vault, lines, state};
use crate::support::faults::{Fault, kill_at};
use domain::Timestamp;
use serde_json::{Value, json};
use snapshot::SnapshotError;
use snapshot::drill::{Drill, Drilled, scratch};
use snapshot::restore::{Progress, Step};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

const ID: &str = "2026-11-21-03-00-00";

fn archive() -> Archive {
    Archive::new(ID, lines(2, 3, 120))
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn later() -> Timestamp {
    now().plus(Duration::from_mins(10))
}

/// A bucket with this snapshot, and live tables with other content.
async fn with(archive: &Archive) -> Vault {
    let vault = Vault::new();
    archive.store(&vault.objects).await;
    let item: Value = serde_json::from_slice(&state(7, 2)).unwrap();
    vault.faulty.call("PutItem", &json!({"TableName": "greenroom-state", "Item": item["item"]})).await;
    vault
}

async fn drill(
    vault: &Vault,
    clock: fn() -> Timestamp,
    mut told: impl FnMut(Progress) + Send,
) -> Result<Drilled, SnapshotError> {
    let scratch = scratch(vault.tables.client.clone(), "test");
    let drill = Drill { objects: &vault.objects, live: &vault.tables, scratch: &scratch, clock, alone: false };
    drill.run(&mut told).await
}

/// The names of all tables and the lines of the live ones, which a drill must not change.
async fn trace(vault: &Vault) -> (Value, Vec<Vec<u8>>) {
    (vault.faulty.call("ListTables", &json!({})).await["TableNames"].clone(), vault.lines().await)
}

#[tokio::test]
async fn every_item_is_restored_compared_and_removed_again() {
    let archive = archive();
    let vault = with(&archive).await;
    let before = trace(&vault).await;
    let mut steps = Vec::new();
    let drilled = drill(&vault, now, |progress| steps.push(progress.step)).await.unwrap();
    assert_eq!((drilled.snapshot, drilled.items, drilled.chains), (archive.id, 130, 2));
    assert!(steps.contains(&Step::Writing) && steps.last() == Some(&Step::Comparing), "{steps:?}");
    assert!(trace(&vault).await == before);
    assert_eq!(before.0, json!(["greenroom-ledger", "greenroom-state"]));
}

#[tokio::test]
async fn a_damaged_or_missing_snapshot_fails_the_drill() {
    let vault = Vault::new();
    assert_eq!(drill(&vault, now, |_| {}).await.unwrap_err().exit_code(), 4, "none at all");
    let mut damaged = archive();
    damaged.object[100] ^= 1;
    damaged.store(&vault.objects).await;
    assert_eq!(drill(&vault, now, |_| {}).await.unwrap_err().exit_code(), 4);
    // Only the newest snapshot counts.
    Archive::new("2026-11-21-04-00-00", lines(1, 1, 1)).store(&vault.objects).await;
    assert_eq!(drill(&vault, now, |_| {}).await.unwrap().items, 4);
    assert!(vault.lines().await.is_empty());
}

#[tokio::test]
async fn an_item_that_was_not_restored_fails_the_drill() {
    let lost = json!({"pk": {"S": "USER#user-00119"}, "sk": {"S": "STATE"}});
    let mut other: Value = serde_json::from_slice::<Value>(&state(119, 2)).unwrap()["item"].clone();
    other["isMuted"] = json!({"BOOL": true});
    let mut more = other.clone();
    more["pk"] = json!({"S": "USER#more"});
    for (operation, body, said) in [
        ("DeleteItem", json!({"Key": lost}), "USER#user-00119"),
        ("PutItem", json!({"Item": other}), "USER#user-00119"),
        ("PutItem", json!({"Item": more}), "holds 121 items instead of 120"),
    ] {
        let vault = with(&archive()).await;
        let before = trace(&vault).await;
        let (mut body, faulty) = (body, vault.faulty.clone());
        body["TableName"] = "greenroom-test-drill-state".into();
        let mut done = false;
        // Between the comparison of the first batch and that of the last one.
        let error = drill(&vault, now, |progress| {
            if progress.step == Step::Comparing && !done {
                done = true;
                let (faulty, body) = (faulty.clone(), body.clone());
                tokio::spawn(async move { faulty.call(operation, &body).await });
            }
        });
        let error = error.await.unwrap_err().to_string();
        assert!(error.contains(said), "{operation}: {error}");
        assert!(trace(&vault).await == before);
    }
}

#[tokio::test]
async fn the_next_drill_removes_the_tables_of_a_killed_drill() {
    let archive = archive();
    let mut kills = 0;
    for number in 0.. {
        let vault = with(&archive).await;
        let before = trace(&vault).await;
        let (plan, stop) = kill_at(number, Fault::HangAfter);
        vault.faulty.be(plan);
        let outcome = tokio::select! {
            biased;
            () = stop.notified() => None,
            outcome = drill(&vault, now, |_| {}) => Some(outcome),
        };
        vault.faulty.be_well();
        if let Some(outcome) = outcome {
            outcome.unwrap();
            break;
        }
        kills += 1;
        assert_eq!(drill(&vault, later, |_| {}).await.unwrap().items, 130, "call {number}");
        assert!(trace(&vault).await == before, "call {number}");
    }
    assert!(kills > 20, "{kills} kills");
}

#[tokio::test]
async fn of_two_concurrent_drills_one_is_refused_and_the_other_succeeds() {
    let vault = with(&archive()).await;
    let at_work = Arc::new(Notify::new());
    let told = Arc::clone(&at_work);
    let first = drill(&vault, now, move |_| told.notify_one());
    let second = async {
        at_work.notified().await;
        drill(&vault, now, |_| {}).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.unwrap_err().exit_code(), 7);
    assert_eq!(first.unwrap().items, 130);
}

#[tokio::test]
async fn unprocessed_items_are_written_and_read_again() {
    let vault = with(&archive()).await;
    let mut rng = fastrand::Rng::with_seed(7);
    vault.faulty.be(Box::new(move |_, operation| match operation {
        "BatchWriteItem" => Some(Fault::Unprocessed(rng.usize(1..=24))),
        "BatchGetItem" if rng.bool() => Some(Fault::Throttle),
        _ => None,
    }));
    assert_eq!(drill(&vault, now, |_| {}).await.unwrap().items, 130);
}
