//! A restore brings back all items, even if it is interrupted; items that are already in the tables stay.

use crate::support::archive::{Archive, Vault, both_forms, line, lines, state};
use crate::support::faults::{Fault, kill_at};
use crate::support::root;
use domain::Timestamp;
use flate2::read::GzDecoder;
use serde_json::json;
use snapshot::SnapshotError;
use snapshot::format::PREFIX;
use snapshot::restore::{Progress, Restored, Step, Wanted};
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

const ID: &str = "2026-11-21-03-00-00";
const OTHER: &str = "2026-11-21-04-00-00";

fn archive() -> Archive {
    Archive::new(ID, lines(2, 3, 120))
}

fn sorted(archive: &Archive) -> Vec<Vec<u8>> {
    let mut lines = archive.lines.clone();
    lines.sort_unstable();
    lines
}

/// A time at which every current lease has expired.
fn later() -> Timestamp {
    Timestamp::from(SystemTime::now()).plus(Duration::from_mins(10))
}

async fn with(archive: &Archive) -> Vault {
    let vault = Vault::new();
    archive.store(&vault.objects).await;
    vault
}

async fn run(vault: &Vault, clock: fn() -> Timestamp) -> Result<Restored, SnapshotError> {
    let mut restore = vault.restore();
    restore.clock = clock;
    restore.run(&ID.parse().unwrap(), &mut |_| {}).await
}

/// Runs until `stop` is set, and is then dropped, like a killed process.
async fn killed(vault: &Vault, stop: &Notify) -> Option<Result<Restored, SnapshotError>> {
    let restore = vault.restore();
    let wanted = ID.parse().unwrap();
    let mut told = |_: Progress| {};
    tokio::select! {
        biased;
        () = stop.notified() => None,
        outcome = restore.run(&wanted, &mut told) => Some(outcome),
    }
}

#[tokio::test]
async fn ten_thousand_items_come_back_as_they_were() {
    let archive = Archive::new(ID, lines(100, 60, 3800));
    assert_eq!(archive.lines.len(), 10_000);
    let vault = with(&archive).await;
    let begun = Instant::now();
    let mut steps = Vec::new();
    let restored = vault.restore().run(&Wanted::Latest, &mut |progress| steps.push(progress)).await.unwrap();
    let took = begun.elapsed();
    eprintln!("10 000 items restored in {took:?}");
    assert_eq!((restored.lines, restored.of, restored.resumed_at, restored.done), (10_000, 10_000, 0, true));
    assert!(vault.lines().await == sorted(&archive), "an item is missing, too many, or another one");
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!(steps.first().map(|progress| progress.step), Some(Step::Verifying));
    let written: Vec<_> = steps.iter().filter(|progress| progress.step == Step::Writing).collect();
    assert!(written.is_sorted_by_key(|progress| progress.lines) && written.len() >= 100, "{}", written.len());
    assert_eq!(written.last().map(|progress| progress.lines), Some(10_000));
}

/// Kills the run before and after each call of the database.
#[tokio::test]
async fn a_run_that_is_killed_at_any_step_is_finished_by_the_next_one() {
    let (archive, other) = (archive(), Archive::new(OTHER, lines(1, 1, 1)));
    let mut kills = 0;
    for after in [false, true] {
        for number in 0.. {
            let vault = with(&archive).await;
            // The answer never arrives. Whether the call takes effect depends on the engine's thread.
            let (plan, stop) = kill_at(number, if after { Fault::HangAfter } else { Fault::Hang });
            vault.faulty.be(plan);
            if let Some(outcome) = killed(&vault, &stop).await {
                assert!(outcome.unwrap().done);
                break;
            }
            kills += 1;
            vault.faulty.be_well();
            let partial = vault.lines().await;
            let begun = partial.iter().any(|line| String::from_utf8_lossy(line).contains("progress"));
            if partial == sorted(&archive) {
                assert_eq!(vault.exit_code(ID).await.0, 3, "it was done, and only its end was not told");
                continue;
            }
            assert!(begun || partial.len() <= 1, "call {number}: items and no note of it");
            if begun {
                // No other command may treat a half-restored table as empty or as complete.
                other.store(&vault.objects).await;
                let mut restore = vault.restore();
                restore.clock = later;
                let refused = restore.run(&OTHER.parse().unwrap(), &mut |_| {}).await.unwrap_err();
                assert!(refused.exit_code() == 3 && refused.to_string().contains(ID), "{refused}");
            }
            // Another snapshot is the newest by now, but the interrupted restore is finished first.
            let mut restore = vault.restore();
            restore.clock = later;
            let wanted = if begun { Wanted::Latest } else { ID.parse().unwrap() };
            let restored = restore.run(&wanted, &mut |_| {}).await.unwrap();
            assert!(restored.done, "call {number}");
            assert!(vault.lines().await == sorted(&archive), "call {number}, after it: {after}");
        }
    }
    assert!(kills > 30, "{kills} kills");
}

#[tokio::test]
async fn a_call_that_fails_once_is_repeated() {
    let archive = archive();
    for fault in [Fault::Throttle, Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter] {
        for number in 0.. {
            let vault = with(&archive).await;
            vault.faulty.be(Box::new(move |n, _| (n == number).then_some(fault)));
            let restored = run(&vault, || SystemTime::now().into()).await;
            assert!(restored.is_ok_and(|restored| restored.done), "{fault:?} at call {number}");
            let mut left = vault.lines().await;
            // Giving the lease back is not retried forever, because the lease expires by itself.
            left.retain(|line| !String::from_utf8_lossy(line).contains("LEASE#"));
            assert!(left == sorted(&archive), "{fault:?} at call {number}");
            if vault.faulty.calls().len() <= number {
                break;
            }
        }
    }
}

#[tokio::test]
async fn unprocessed_items_are_sent_again() {
    let archive = archive();
    for seed in 0..6 {
        let vault = with(&archive).await;
        let mut rng = fastrand::Rng::with_seed(seed);
        vault.faulty.be(Box::new(move |_, operation| match operation {
            "BatchWriteItem" if rng.u8(..10) < 3 => Some(Fault::Throttle),
            "BatchWriteItem" => Some(Fault::Unprocessed(rng.usize(1..=24))),
            _ => None,
        }));
        assert!(run(&vault, || SystemTime::now().into()).await.unwrap().done);
        assert!(vault.lines().await == sorted(&archive), "seed {seed}");
    }
}

#[tokio::test]
async fn a_table_that_accepts_nothing_counts_as_unreachable_and_is_filled_later() {
    let archive = archive();
    let vault = with(&archive).await;
    vault.faulty.be(Box::new(|n, operation| (operation == "BatchWriteItem" && n > 12).then_some(Fault::Throttle)));
    let error = run(&vault, || SystemTime::now().into()).await.unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    vault.faulty.be_well();
    // No wait is needed: a run that ends by itself gives its lease back.
    let restored = run(&vault, || SystemTime::now().into()).await.unwrap();
    assert!(restored.done && restored.resumed_at > 0, "{restored:?}");
    assert!(vault.lines().await == sorted(&archive));
}

#[tokio::test]
async fn of_two_concurrent_restores_one_is_refused() {
    let archive = archive();
    let vault = with(&archive).await;
    let stop = Notify::new();
    let at_work = Arc::new(Notify::new());
    let told = Arc::clone(&at_work);
    vault.faulty.be(Box::new(move |_, operation| {
        (operation == "BatchWriteItem").then(|| {
            told.notify_one();
            Fault::Hang
        })
    }));
    let second = async {
        at_work.notified().await;
        let refused = vault.exit_code(ID).await;
        stop.notify_one();
        refused
    };
    let (first, (code, text)) = tokio::join!(killed(&vault, &stop), second);
    assert!(first.is_none());
    assert_eq!(code, 7, "{text}");
    vault.faulty.be_well();
    assert_eq!(vault.exit_code(ID).await.0, 7, "whoever held the lease may still be at work");
    assert!(run(&vault, later).await.unwrap().done);
    assert!(vault.lines().await == sorted(&archive));
}

#[tokio::test]
async fn tables_that_are_not_empty_are_refused_and_stay_as_they_are() {
    let archive = archive();
    let entry = json!({"pk": {"S": "CHAIN#room:x"}, "sk": {"S": "USER#ada"}, "applied": {"S": "1"}});
    for (table, item) in [("state", state(7, 2)), ("ledger", line("ledger", entry))] {
        let vault = with(&archive).await;
        let item: serde_json::Value = serde_json::from_slice(&item).unwrap();
        let name = format!("greenroom-{table}");
        vault.faulty.call("PutItem", &json!({"TableName": name, "Item": item["item"]})).await;
        let before = vault.lines().await;
        let (code, text) = vault.exit_code(ID).await;
        assert_eq!((code, vault.lines().await == before), (3, true), "{text}");
        assert!(text.contains(&name), "{text}");
    }
}

/// The positions of new changes would be older than those in the histories, and the changes would be skipped silently.
#[tokio::test]
async fn tables_with_an_older_stream_are_refused() {
    let marker_at = |began: &str| {
        let position = format!("{began}/{:040}", 7);
        let marker = json!({"pk": {"S": "CHAIN#room:x"}, "sk": {"S": "USER#ada"}, "applied": {"S": position}});
        let mut lines = vec![line("ledger", marker)];
        lines.extend(archive().lines);
        Archive::new(ID, lines)
    };
    let blocks_at = |began: &str| {
        let text = |line: Vec<u8>| String::from_utf8(line).unwrap().replace("2026-11-21T10:00:00.000", began);
        let lines = both_forms().into_iter().map(|line| text(line).into_bytes());
        Archive::new(ID, lines.chain([state(1, 1)]).collect())
    };
    for newer in [marker_at("9999-01-01T00:00:00.000"), blocks_at("9999-01-01T00:00:00.000")] {
        let vault = with(&newer).await;
        let (code, text) = vault.exit_code(ID).await;
        assert_eq!((code, vault.lines().await.len()), (3, 0), "{text}");
        assert!(text.contains("the stream of greenroom-state began at 20"), "{text}");
    }
    for older in ["2020-01-01T00:00:00.000", "1795294610.040964841"] {
        for archive in [marker_at(older), blocks_at(older)] {
            let vault = with(&archive).await;
            assert_eq!(vault.exit_code(ID).await.0, 0, "{older}");
            assert!(vault.lines().await == sorted(&archive), "{older}");
        }
    }
}

#[tokio::test]
async fn transient_items_do_not_count() {
    let archive = archive();
    let vault = with(&archive).await;
    for what in ["snapshot", "drill"] {
        let lease = json!({"pk": {"S": format!("LEASE#{what}")}, "sk": {"S": "LEASE"}, "until": {"N": "1"}});
        vault.faulty.call("PutItem", &json!({"TableName": "greenroom-state", "Item": lease})).await;
    }
    let connection = json!({"pk": {"S": "CONN#L0SM9cOFvHcCIhw="}, "sk": {"S": "META"}, "epoch": {"N": "1"}});
    let bucket = json!({"pk": {"S": "LIMIT#other#nobody"}, "sk": {"S": "META"}, "fullAt": {"N": "1"}});
    for item in [connection, bucket] {
        vault.faulty.call("PutItem", &json!({"TableName": "greenroom-state", "Item": item})).await;
    }
    assert_eq!(vault.exit_code(ID).await.0, 0);
    assert_eq!(vault.lines().await.len(), archive.lines.len() + 4);
}

#[tokio::test]
async fn a_run_that_is_out_of_time_leaves_the_rest_to_the_next_run() {
    let archive = archive();
    let vault = with(&archive).await;
    let mut restore = vault.restore();
    restore.until = Some(tokio::time::Instant::now());
    let restored = restore.run(&Wanted::Latest, &mut |_| {}).await.unwrap();
    assert!(!restored.done && restored.lines < restored.of, "{restored:?}");
    assert_eq!(vault.exit_code(OTHER).await.0, 3, "it was begun");
    assert!(run(&vault, || SystemTime::now().into()).await.unwrap().done);
    assert!(vault.lines().await == sorted(&archive));
}

#[tokio::test]
async fn an_object_that_changes_between_two_runs_is_refused_and_the_first_one_can_still_be_finished() {
    let archive = archive();
    let vault = with(&archive).await;
    let mut restore = vault.restore();
    restore.until = Some(tokio::time::Instant::now());
    assert!(!restore.run(&Wanted::Latest, &mut |_| {}).await.unwrap().done);
    let replace = async |archive: &Archive| {
        for key in [archive.id.manifest_key(), archive.id.lines_key(archive.compression)] {
            vault.objects.delete(&key).await.unwrap();
        }
        archive.store(&vault.objects).await;
    };
    replace(&Archive::new(ID, lines(1, 2, 3))).await;
    let (code, text) = vault.exit_code(ID).await;
    assert_eq!(code, 4, "{text}");
    replace(&archive).await;
    assert_eq!(vault.exit_code("latest").await.0, 0);
    assert!(vault.lines().await == sorted(&archive));
}

/// A line after a restore, which is the maker of the last change then.
fn as_restored(text: &[u8]) -> Vec<u8> {
    let mut text: serde_json::Value = serde_json::from_slice(text).unwrap();
    let table = text["table"].as_str().unwrap().to_owned();
    if text["item"]["changedBy"].is_object() {
        text["item"]["changedBy"]["S"] = "service".into();
        text["item"].as_object_mut().unwrap().remove("requestId");
    }
    line(&table, text["item"].take())
}

/// Stored snapshots of every schema version, as that version wrote them.
#[tokio::test]
async fn snapshots_of_every_schema_are_restored() {
    let mut schemas = 0;
    for schema in std::fs::read_dir(root().join("tests/golden")).unwrap() {
        let schema = schema.unwrap();
        if !schema.file_name().to_str().unwrap().starts_with("schema-") {
            continue;
        }
        let vault = Vault::new();
        let mut lines = Vec::new();
        for file in std::fs::read_dir(schema.path()).unwrap() {
            let file = file.unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            let name = file.file_name().into_string().unwrap();
            if file.path().extension().is_some_and(|extension| extension == "gz") {
                let mut text = Vec::new();
                GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).unwrap();
                lines.extend(text.split_inclusive(|byte| *byte == b'\n').map(as_restored));
            }
            vault.objects.put_new(&format!("{PREFIX}{name}"), bytes, "application/octet-stream").await.unwrap();
        }
        assert_eq!(vault.exit_code("latest").await.0, 0, "{}", schema.path().display());
        lines.sort_unstable();
        assert!(lines.len() > 10 && vault.lines().await == lines);
        schemas += 1;
    }
    assert_eq!(schemas, snapshot::format::SCHEMA, "tests/golden must hold a snapshot of each schema");
}

#[tokio::test]
async fn a_missing_table_counts_as_unreachable() {
    let vault = with(&archive()).await;
    let mut missing = vault.restore();
    let tables = snapshot::tables::Tables { state: "nothing".to_owned(), ..vault.tables.clone() };
    missing.tables = &tables;
    let error = missing.run(&Wanted::Latest, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
}
