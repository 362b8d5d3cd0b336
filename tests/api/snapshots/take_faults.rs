//! After a failure or a kill, every snapshot with a manifest is complete, and the next run succeeds.

use crate::support::faults::{Fault, kill_at};
use crate::support::taking::{Taking, later, now};
use snapshot::SnapshotError;
use snapshot::format::Compression;
use snapshot::take::Performed;
use std::sync::Arc;
use tokio::sync::Notify;

/// Checks that all snapshots with a manifest are good, and that the next run takes a good one and removes the
/// leftovers.
async fn converges(taking: &Taking, said: &str) {
    taking.faulty.be_well();
    taking.bucket.be_well();
    let before = taking.good().await.len();
    let performed = taking.snapshots(later).perform(None).await;
    let performed = performed.unwrap_or_else(|error| panic!("{said}: the next run: {error}"));
    assert!(taking.contents(&performed.newest).await == taking.stored().await, "{said}");
    assert_eq!(taking.good().await.len(), before + 1, "{said}");
    let listed = taking.objects.list().await.unwrap();
    assert!(listed.iter().all(|one| one.has_manifest && one.lines.len() == 1), "{said}: {listed:?}");
    assert_eq!(taking.objects.unfinished().await.unwrap(), [], "{said}");
}

#[tokio::test]
async fn a_database_call_that_fails_once_is_retried() {
    let mut failed = 0;
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter, Fault::Throttle] {
        for number in 0.. {
            let taking = Taking::with_people().await;
            taking.faulty.be(Box::new(move |n, _| (n == number).then_some(fault)));
            let outcome = taking.take().await;
            let said = format!("{fault:?} at call {number}: {outcome:?}");
            let calls = taking.faulty.calls().len();
            taking.faulty.be_well();
            assert_eq!(taking.good().await.len(), usize::from(outcome.is_ok()), "{said}");
            if let Ok(Performed { newest, .. }) = &outcome {
                assert!(taking.contents(newest).await == taking.stored().await, "{said}");
            }
            failed += usize::from(outcome.is_err());
            converges(&taking, &said).await;
            if calls <= number {
                break;
            }
        }
    }
    assert_eq!(failed, 0, "the client repeats each of them");
}

#[tokio::test]
async fn a_database_that_refuses_for_good_fails_the_run_and_never_shortens_the_snapshot() {
    let reads = ["Scan", "DescribeTable", "UpdateItem"];
    for operation in reads {
        let taking = Taking::with_people().await;
        let mut left = 2;
        taking.faulty.be(Box::new(move |_, asked| {
            left -= i32::from(asked == operation);
            (asked == operation && left < 1).then_some(Fault::Throttle)
        }));
        let refused = taking.take().await.unwrap_err();
        assert_eq!(refused.exit_code(), 6, "{operation}: {refused}");
        taking.faulty.be_well();
        assert!(taking.good().await.is_empty(), "{operation}");
        converges(&taking, operation).await;
    }
}

/// The table is so large that the upload has two parts, so that every kind of request is made.
async fn large() -> Taking {
    let mut taking = Taking::with_people().await;
    taking.settings.compression = Compression::None;
    let text = "x".repeat(390_000);
    for number in 0..22 {
        let item = serde_json::json!({"pk": {"S": format!("USER#{number}")}, "sk": {"S": "STATE"}, "t": {"S": text}});
        taking.fill(&[crate::support::archive::line("state", item)]).await;
    }
    taking
}

#[tokio::test]
async fn a_failed_s3_request_fails_the_run_or_is_retried() {
    let (mut failed, mut made) = (0, 0);
    let taking = large().await;
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        for number in 0.. {
            let before = taking.objects.list().await.unwrap().iter().filter(|one| one.has_manifest).count();
            taking.bucket.be(Box::new(move |n, _| (n == number).then_some(fault)));
            let outcome = taking.snapshots(later).perform(None).await;
            let asked = taking.bucket.asked();
            let said = format!("{fault:?} at {:?}: {outcome:?}", asked.get(number).map(|asked| asked.operation));
            taking.bucket.be_well();
            let after = taking.objects.list().await.unwrap().iter().filter(|one| one.has_manifest).count();
            let made_now = after - before;
            assert!(outcome.is_err() || made_now == 1, "{said}");
            match &outcome {
                Ok(performed) => assert!(taking.contents(&performed.newest).await == taking.stored().await, "{said}"),
                Err(SnapshotError::Unreachable(_)) => {}
                Err(other) => panic!("{said}: {other}"),
            }
            failed += usize::from(outcome.is_err());
            made += made_now;
            if asked.len() <= number {
                break;
            }
        }
    }
    assert!(failed > 15 && made > 2, "{failed} failed, {made} were made");
    // `good` reads each of these snapshots to its end.
    assert_eq!(taking.good().await.len(), made);
    converges(&taking, "after all of that").await;
}

/// Runs until call `number` of the database or request `number` of S3, and is then dropped, like a killed process.
async fn killed(taking: &Taking, number: usize, s3: bool, after: bool) -> bool {
    let (plan, stop) = kill_at(number, if after { Fault::HangAfter } else { Fault::Hang });
    if s3 {
        taking.bucket.be(plan);
    } else {
        taking.faulty.be(plan);
    }
    let snapshots = taking.snapshots(now);
    tokio::select! {
        // The last request continues on its own, like a request that has already reached a server.
        () = async { stop.notified().await; tokio::time::sleep(std::time::Duration::from_millis(if after { 20 } else { 0 })).await } => true,
        outcome = snapshots.perform(None) => { outcome.unwrap(); false }
    }
}

#[tokio::test]
async fn a_run_that_is_killed_anywhere_leaves_no_incomplete_snapshot() {
    let mut kills = 0;
    for s3 in [false, true] {
        for after in [false, true] {
            for number in 0.. {
                let taking = Taking::with_people().await;
                if !killed(&taking, number, s3, after).await {
                    break;
                }
                kills += 1;
                let said = format!("killed at {number}, S3: {s3}, after it: {after}");
                taking.faulty.be_well();
                taking.bucket.be_well();
                assert!(taking.good().await.len() <= 1, "{said}");
                converges(&taking, &said).await;
            }
        }
    }
    assert!(kills > 30, "{kills}");
}

#[tokio::test]
async fn a_run_that_is_killed_while_it_uploads_parts_leaves_no_incomplete_snapshot() {
    for number in 2..8 {
        let taking = large().await;
        assert!(killed(&taking, number, true, number % 2 == 0).await);
        taking.bucket.be_well();
        assert!(taking.good().await.is_empty());
        converges(&taking, &format!("killed at {number}")).await;
    }
}

#[tokio::test]
async fn a_run_that_lost_the_lease_makes_no_snapshot() {
    let taking = Taking::with_people().await;
    let mut slow = taking.snapshots(now);
    slow.clock = || {
        // The clock stands still, so the lease is not renewed before the end.
        domain::Timestamp::from_ms(1_795_257_125_000)
    };
    let stolen = Arc::new(Notify::new());
    let thief = Arc::clone(&stolen);
    let mut seen = false;
    taking.bucket.be(Box::new(move |_, operation| {
        if operation == "PutObject" && !seen {
            seen = true;
            thief.notify_one();
        }
        None
    }));
    let steal = async {
        stolen.notified().await;
        taking.snapshots(later).perform(None).await
    };
    let (slow, other) = tokio::join!(slow.perform(None), steal);
    // Its lease is lost, or the other run has already removed its object as a leftover.
    let refused = slow.unwrap_err();
    let lost =
        matches!(refused, SnapshotError::Leased { .. } | SnapshotError::Unreachable(_) | SnapshotError::NotFound(_));
    assert!(lost, "{refused}");
    assert!(other.unwrap().taken.is_some());
    taking.bucket.be_well();
    assert_eq!(taking.good().await.len(), 1);
}
