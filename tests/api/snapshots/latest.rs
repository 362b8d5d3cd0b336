//! All code agrees on which snapshot is the latest.

use crate::support::archive::{Archive, lines};
use crate::support::taking::{Taking, now};
use domain::Timestamp;
use snapshot::drill::{Drill, scratch};
use snapshot::format::SnapshotId;
use snapshot::keep::{age, newest, snapshots};
use snapshot::restore::{Restore, Wanted};
use std::time::Duration;

fn ago(time: Duration) -> Timestamp {
    Timestamp::from_ms(now().ms() - u64::try_from(time.as_millis()).unwrap())
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// Damage to the newest snapshot, as an interrupted copy or a disk can cause it.
const FLAWS: &[&str] = &["no object", "no manifest", "not a manifest", "another manifest", "half an object"];

/// A bucket with two snapshots: one is 20 days old, and yesterday's has this flaw.
async fn with(flaw: &str) -> (Taking, SnapshotId) {
    let taking = Taking::new();
    let good = Archive::new(&SnapshotId::at(ago(days(20))).to_string(), lines(1, 2, 3));
    good.store(&taking.objects).await;
    let mut bad = Archive::new(&SnapshotId::at(ago(days(1))).to_string(), lines(1, 1, 1));
    match flaw {
        "no object" => bad.store_manifest(&taking.objects).await,
        "no manifest" => bad.store_object(&taking.objects).await,
        "not a manifest" => {
            bad.manifest = "copied".into();
            bad.store(&taking.objects).await;
        }
        "another manifest" => {
            bad.manifest = good.manifest.clone();
            bad.store(&taking.objects).await;
        }
        "half an object" => {
            bad.object.truncate(bad.object.len() / 2);
            bad.store(&taking.objects).await;
        }
        other => panic!("{other}"),
    }
    (taking, good.id)
}

#[tokio::test]
async fn list_restore_drill_age_and_retention_agree_on_the_newest_snapshot() {
    for flaw in FLAWS {
        let (taking, good) = with(flaw).await;
        let Taking { objects, tables, .. } = &taking;
        assert_eq!(snapshots(objects).await.unwrap(), std::slice::from_ref(&good), "list: {flaw}");
        assert_eq!(newest(objects).await.unwrap().as_ref(), Some(&good), "{flaw}");
        assert!(age(objects, now()).await.unwrap().unwrap() >= days(20), "age: {flaw}");
        let scratch = scratch(tables.client.clone(), "test");
        let drill = Drill { objects, live: tables, scratch: &scratch, clock: now, alone: false };
        assert_eq!(drill.run(&mut |_| {}).await.unwrap().snapshot, good, "drill: {flaw}");
        // It is older than the retention, but the last good snapshot.
        let performed = taking.snapshots(now).perform(Some(ago(days(25)))).await.unwrap();
        assert_eq!((performed.newest, performed.removed.snapshots), (good.clone(), Vec::new()), "retention: {flaw}");
        let restore = Restore { objects, tables, clock: now, keep_agents: true, alone: false, until: None };
        let restored = restore.run(&Wanted::Latest, &mut |_| {}).await.unwrap();
        assert_eq!((restored.snapshot, restored.done), (good, true), "restore: {flaw}");
    }
}

#[tokio::test]
async fn a_snapshot_of_a_clock_that_was_ahead_hides_no_age_and_keeps_no_slot() {
    let (taking, _) = with("no object").await;
    let ahead = Archive::new(&SnapshotId::at(now().plus(days(3650))).to_string(), lines(1, 2, 3));
    ahead.store(&taking.objects).await;
    assert!(age(&taking.objects, now()).await.unwrap().unwrap() >= days(20));
    let performed = taking.snapshots(now).perform(Some(ago(days(1)))).await.unwrap();
    assert!(performed.taken.is_some());
    assert!(age(&taking.objects, now()).await.unwrap().unwrap() < days(1));
}

#[tokio::test]
async fn a_slot_with_a_flawed_snapshot_is_taken_again() {
    for flaw in FLAWS {
        let (taking, good) = with(flaw).await;
        let performed = taking.snapshots(now).perform(Some(ago(days(2)))).await.unwrap();
        assert!(performed.taken.is_some() && performed.newest != good, "{flaw}");
    }
}
