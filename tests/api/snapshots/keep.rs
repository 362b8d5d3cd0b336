//! The retention of snapshots.

use crate::support::archive::{Archive, lines};
use crate::support::faults::Fault;
use crate::support::taking::{Taking, now};
use domain::Timestamp;
use snapshot::format::SnapshotId;
use snapshot::keep::age;
use std::time::Duration;

fn ago(time: Duration) -> Timestamp {
    Timestamp::from_ms(now().ms() - u64::try_from(time.as_millis()).unwrap())
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// Stores a good snapshot that was begun this long ago.
async fn old(taking: &Taking, time: Duration) -> SnapshotId {
    let id = SnapshotId::at(ago(time));
    Archive::new(&id.to_string(), lines(1, 1, 1)).store(&taking.objects).await;
    id
}

#[tokio::test]
async fn snapshots_past_the_retention_are_removed_completely_and_others_stay() {
    let taking = Taking::with_people().await;
    let gone = [old(&taking, days(30)).await, old(&taking, days(8)).await];
    let kept = [old(&taking, days(6)).await, old(&taking, Duration::from_hours(2)).await];
    let performed = taking.take().await.unwrap();
    assert_eq!(performed.removed.snapshots, gone);
    assert_eq!(taking.good().await, [&kept[..], &[performed.newest]].concat());
    assert_eq!(taking.objects.list().await.unwrap().len(), 3, "nothing of them is left");
}

#[tokio::test]
async fn the_last_good_snapshot_is_kept_at_any_age() {
    let taking = Taking::with_people().await;
    let (older, last) = (old(&taking, days(300)).await, old(&taking, days(200)).await);
    // The leftover of an interrupted run is newer, but does not count as a snapshot.
    let leftover = SnapshotId::at(ago(days(1)));
    Archive::new(&leftover.to_string(), lines(1, 1, 1)).store_object(&taking.objects).await;
    let performed = taking.snapshots(now).perform(Some(ago(days(250)))).await.unwrap();
    assert!(performed.taken.is_none());
    assert_eq!(performed.removed.snapshots, [older]);
    assert_eq!(taking.good().await, [last]);
}

#[tokio::test]
async fn an_interrupted_removal_leaves_no_snapshot_that_only_looks_good() {
    for number in 0.. {
        let taking = Taking::with_people().await;
        old(&taking, days(30)).await;
        let mut removals = 0;
        taking.bucket.be(Box::new(move |_, operation| {
            removals += usize::from(operation == "DeleteObject");
            (operation == "DeleteObject" && removals == number + 1).then_some(Fault::LostBefore)
        }));
        let outcome = taking.take().await;
        taking.bucket.be_well();
        let good = taking.good().await.len();
        if outcome.is_ok() {
            assert!(number >= 2 && good == 1);
            break;
        }
        // `good` has read each of these snapshots to its end.
        assert_eq!(good, if number == 0 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn the_age_is_that_of_the_last_good_snapshot() {
    let taking = Taking::with_people().await;
    assert_eq!(age(&taking.objects, now()).await.unwrap(), None);
    old(&taking, days(3)).await;
    old(&taking, days(2)).await;
    let leftover = SnapshotId::at(ago(days(1)));
    Archive::new(&leftover.to_string(), lines(1, 1, 1)).store_object(&taking.objects).await;
    let age = age(&taking.objects, now()).await.unwrap().unwrap();
    assert!(age >= days(2) && age < days(2) + Duration::from_mins(5), "{age:?}");
}
