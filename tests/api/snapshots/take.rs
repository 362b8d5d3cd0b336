//! The content of a snapshot, and the requests that write it.

use crate::support::archive::{both_forms, line, lines};
use crate::support::faults::Fault;
use crate::support::taking::{Taking, now};
use domain::Timestamp;
use serde_json::{Value, json};
use snapshot::SnapshotError;
use snapshot::format::{Compression, Table};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

#[tokio::test]
async fn a_snapshot_holds_all_items_except_transient_ones() {
    for compression in [Compression::Gzip, Compression::None] {
        for segments in [1, 2, 7, 64] {
            let mut taking = Taking::with_people().await;
            (taking.settings.compression, taking.settings.segments) = (compression, segments);
            let lease = json!({"pk": {"S": "LEASE#restore"}, "sk": {"S": "LEASE"}, "until": {"N": "0"}});
            let connection =
                json!({"pk": {"S": "CONN#L0SM9cOFvHcCIhw="}, "sk": {"S": "META"}, "leaseUntil": {"N": "1"}});
            let bucket = json!({"pk": {"S": "LIMIT#other#nobody"}, "sk": {"S": "META"}, "fullAt": {"N": "1"}});
            let secret = json!({"pk": {"S": "LIMIT#key#20787"}, "sk": {"S": "META"}, "secret": {"B": "AAEC"}});
            let answer = json!({"pk": {"S": "ONCE#AAEC"}, "sk": {"S": "META"}, "answer": {"S": "{}"}});
            taking.fill(&[lease, connection, bucket, secret, answer].map(|item| line("state", item))).await;
            let manifest = taking.take().await.unwrap().taken.unwrap();
            assert_eq!(taking.contents(&manifest.snapshot).await, taking.stored().await);
            let items: Vec<_> = manifest.tables.iter().map(|table| (table.table, table.items)).collect();
            assert_eq!(items, [(Table::Ledger, 4 * 7), (Table::State, 30)]);
            assert_eq!((manifest.chains.chains, manifest.chains.entries), (4, 20));
            assert_eq!(manifest.object.compression, compression);
            assert!(manifest.started_at <= manifest.finished_at);
            assert_eq!((manifest.stage.as_str(), manifest.object.lines), ("test", 58));
        }
    }
}

#[tokio::test]
async fn empty_tables_give_an_empty_snapshot() {
    for compression in [Compression::Gzip, Compression::None] {
        let mut taking = Taking::new();
        taking.settings.compression = compression;
        let manifest = taking.take().await.unwrap().taken.unwrap();
        assert_eq!(taking.contents(&manifest.snapshot).await, Vec::<Vec<u8>>::new());
        assert_eq!((manifest.object.lines, manifest.chains.chains), (0, 0));
    }
}

/// Items of the largest size, so that there are several pages and parts.
fn large(number: usize) -> Vec<u8> {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(390_000).collect();
    line(
        "state",
        json!({"pk": {"S": format!("USER#large-{number:03}")}, "sk": {"S": "STATE"}, "text": {"S": text},
               "null": {"NULL": true}, "bytes": {"B": "AAEC"}, "set": {"NS": ["1", "2"]}}),
    )
}

#[tokio::test]
async fn large_items_go_up_in_parts_and_come_back_as_they_were() {
    let mut taking = Taking::new();
    taking.settings.compression = Compression::None;
    taking.fill(&(0..22).map(large).collect::<Vec<_>>()).await;
    taking.bucket.be_well();
    let manifest = taking.take().await.unwrap().taken.unwrap();
    let asked = taking.bucket.asked();
    let count = |operation: &str| asked.iter().filter(|asked| asked.operation == operation).count();
    assert_eq!([count("CreateMultipartUpload"), count("UploadPart"), count("CompleteMultipartUpload")], [1, 2, 1]);
    assert!(count("GetObject") >= 2, "it is read back, in parts of 8 MiB");
    assert!(manifest.object.bytes > 8_500_000);
    assert!(taking.contents(&manifest.snapshot).await == taking.stored().await);
}

#[tokio::test]
async fn each_write_is_encrypted_checked_and_made_once() {
    let mut taking = Taking::new();
    taking.settings.compression = Compression::None;
    taking.objects = taking.objects.clone().with_storage_class("STANDARD_IA".into());
    taking.take().await.unwrap();
    taking.fill(&(0..22).map(large).collect::<Vec<_>>()).await;
    taking.take().await.unwrap();
    let asked = taking.bucket.asked();
    for request in &asked {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        let makes_an_object = ["PutObject", "CompleteMultipartUpload"].contains(&request.operation);
        assert_eq!(header("if-none-match") == Some("*"), makes_an_object, "{request:?}");
        let begins = ["PutObject", "CreateMultipartUpload"].contains(&request.operation);
        assert_eq!(header("x-amz-server-side-encryption") == Some("AES256"), begins, "{request:?}");
        let brings = ["PutObject", "UploadPart"].contains(&request.operation);
        assert_eq!(header("content-md5").is_some(), brings, "{request:?}");
        if begins {
            let expected = if request.key.ends_with(".manifest.json") { "STANDARD" } else { "STANDARD_IA" };
            assert_eq!(header("x-amz-storage-class"), Some(expected), "{request:?}");
        }
        if request.operation == "GetObject" {
            assert!(header("range").unwrap().starts_with("bytes="), "{request:?}");
        }
    }
    let later_parts = asked.iter().filter(|asked| asked.headers.contains_key("if-match"));
    assert!(later_parts.count() >= 1, "what is read in parts is one and the same object");
}

#[tokio::test]
async fn two_snapshots_of_the_same_second_get_different_names() {
    let taking = Taking::with_people().await;
    for _ in 0..4 {
        taking.take().await.unwrap();
    }
    assert_eq!(taking.good().await.len(), 4);
}

#[tokio::test]
async fn of_two_concurrent_runs_one_takes_the_snapshot_and_the_other_is_refused() {
    let taking = Taking::with_people().await;
    let (one, other) = tokio::join!(taking.take(), taking.take());
    let (done, refused) = if one.is_ok() { (one, other) } else { (other, one) };
    assert!(done.unwrap().taken.is_some());
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SnapshotError::Leased { until } if until > now()), "{refused}");
    assert_eq!(refused.exit_code(), 7);
    assert_eq!(taking.good().await.len(), 1);
    taking.take().await.expect("the lease was given back");
}

#[tokio::test]
async fn a_repeated_event_finds_the_existing_snapshot() {
    let taking = Taking::with_people().await;
    let slot = Timestamp::from_ms(now().ms() / 1000 * 1000);
    let first = taking.snapshots(now).perform(Some(slot)).await.unwrap().taken.unwrap();
    for _ in 0..2 {
        let again = taking.snapshots(now).perform(Some(slot)).await.unwrap();
        assert_eq!((again.taken, again.newest), (None, first.snapshot.clone()));
    }
    let next = taking.snapshots(now).perform(Some(slot.plus(Duration::from_hours(24)))).await.unwrap();
    assert!(next.taken.is_some(), "the next day has its own");
}

/// A scan's view of a chain that grows during the scan.
#[tokio::test]
async fn a_chain_that_grows_during_the_scan_is_complete() {
    fn without(answer: &mut Value, wanted: impl Fn(&str) -> bool) {
        answer["Items"].as_array_mut().unwrap().retain(|item| !wanted(item["sk"]["S"].as_str().unwrap()));
    }
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 6] = [
        ("the last entries came later", |answer| without(answer, |sk| ["000000000004", "000000000005"].contains(&sk))),
        ("the first entries were not there yet", |answer| without(answer, |sk| sk < "000000000003")),
        ("one was passed by", |answer| without(answer, |sk| sk == "000000000003")),
        ("no entry was there yet", |answer| without(answer, |sk| sk.starts_with("0000"))),
        ("the head was not there yet", |answer| without(answer, |sk| sk == "HEAD")),
        ("the head was older", |answer| {
            for item in answer["Items"].as_array_mut().unwrap() {
                if item["sk"]["S"] == "HEAD" {
                    item["seq"]["N"] = "3".into();
                }
            }
        }),
    ];
    for (said, edit) in edits {
        let taking = Taking::with_people().await;
        taking.faulty.be(Box::new(move |_, operation| (operation == "Scan").then_some(Fault::Answers(edit))));
        // Only items of the ledger have such sort keys; the sort key of a state is STATE.
        let manifest = taking.take().await.unwrap_or_else(|error| panic!("{said}: {error}")).taken.unwrap();
        assert_eq!(manifest.chains.entries, 20, "{said}");
        assert!(taking.contents(&manifest.snapshot).await == taking.stored().await, "{said}");
    }
}

#[tokio::test]
async fn a_broken_chain_in_the_table_fails_the_run_and_is_named() {
    for (n, damage) in [
        (0, json!({"Key": {"pk": {"S": "CHAIN#room:room-2"}, "sk": {"S": "000000000003"}}})),
        (1, json!({"Key": {"pk": {"S": "CHAIN#room:room-2"}, "sk": {"S": "HEAD"}}})),
    ] {
        let taking = Taking::with_people().await;
        let mut request = damage;
        request["TableName"] = taking.tables.ledger.clone().into();
        taking.faulty.call("DeleteItem", &request).await;
        let refused = taking.take().await.unwrap_err();
        assert_eq!(refused.exit_code(), 4, "{n}");
        assert!(refused.to_string().contains("room:room-2"), "{refused}");
        assert!(taking.good().await.is_empty());
    }
}

/// The items of a chain of blocks, of a chain that goes on with blocks, and what a scan may pass by while they grow.
#[tokio::test]
async fn a_chain_of_blocks_is_whole_in_whatever_form_it_began() {
    fn without(answer: &mut Value, gone: &[u64]) {
        let gone = |item: &Value| gone.iter().any(|seq| item["sk"]["S"] == format!("{seq:012}"));
        answer["Items"].as_array_mut().unwrap().retain(|item| !gone(item));
    }
    type Edit = fn(&mut Value);
    let passed_by: [(&str, Edit); 4] = [
        ("nothing", |_| {}),
        ("a block and an entry", |answer| without(answer, &[3])),
        ("the first ones", |answer| without(answer, &[1, 3])),
        ("the first block after entries", |answer| without(answer, &[4, 5])),
    ];
    for (gone, edit) in passed_by {
        let taking = Taking::new();
        taking.fill(&both_forms()).await;
        taking.fill(&lines(2, 5, 30)).await;
        taking.faulty.be(Box::new(move |_, operation| (operation == "Scan").then_some(Fault::Answers(edit))));
        let manifest = taking.take().await.unwrap_or_else(|error| panic!("{gone}: {error}")).taken.unwrap();
        assert_eq!((manifest.chains.chains, manifest.chains.entries), (4, 10 + 9 + 8), "{gone}");
        assert!(taking.contents(&manifest.snapshot).await == taking.stored().await, "{gone}");
    }
    for gone in ["older 000000000002", "older 000000000006", "newer 000000000003", "newer 000000000001"] {
        let taking = Taking::new();
        taking.fill(&both_forms()).await;
        let (room, sort) = gone.split_once(' ').unwrap();
        let key = json!({"pk": {"S": format!("CHAIN#room:{room}")}, "sk": {"S": sort}});
        taking.faulty.call("DeleteItem", &json!({"TableName": taking.tables.ledger, "Key": key})).await;
        let refused = taking.take().await.unwrap_err();
        assert!(refused.exit_code() == 4 && refused.to_string().contains(room), "{gone}: {refused}");
    }
}

#[tokio::test]
async fn only_a_few_pages_are_read_at_once() {
    let taking = Taking::new();
    taking.fill(&lines(1, 1, 2500)).await;
    taking.faulty.be_well();
    taking.take().await.unwrap();
    // The engine reads as many items into memory as a call requests: 1000 per page, in three segments.
    let scans = taking.faulty.calls().iter().filter(|operation| *operation == "Scan").count();
    assert!((3..=9).contains(&scans), "{scans}");
}

/// The read units that the engine counted and the pauses of a paced run, in order.
static PACED: Mutex<Vec<Step>> = Mutex::new(Vec::new());

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Read(f64),
    Pause(f64),
}

fn note(step: Step) {
    PACED.lock().unwrap().push(step);
}

/// A pause that ends at once.
fn noted(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    note(Step::Pause(time.as_secs_f64()));
    Box::pin(std::future::ready(()))
}

#[tokio::test]
async fn a_snapshot_takes_a_third_of_the_read_units_with_any_number_of_segments() {
    const READ_UNITS: u32 = 30;
    let mut taking = Taking::new();
    taking.fill(&lines(4, 60, 300)).await;
    (taking.settings.read_units, taking.settings.pause) = (READ_UNITS, noted);
    taking.faulty.be(Box::new(|_, operation| {
        let reads = ["Scan", "Query"].contains(&operation);
        reads.then_some(Fault::Answers(|answer| {
            if let Some(units) = answer["ConsumedCapacity"]["CapacityUnits"].as_f64() {
                note(Step::Read(units));
            }
        }))
    }));
    let manifest = taking.take().await.unwrap().taken.unwrap();
    assert!(taking.contents(&manifest.snapshot).await == taking.stored().await);
    let steps = PACED.lock().unwrap().clone();
    assert!(steps.len() > 20, "{steps:?}");
    for pair in steps.chunks(2) {
        let [Step::Read(units), Step::Pause(seconds)] = *pair else { panic!("a read without its pause: {steps:?}") };
        assert!((units / seconds - f64::from(READ_UNITS) / 3.0).abs() < 1e-6, "{units} units in {seconds} s");
        assert!(seconds <= 1.0, "one page takes more than a second's share: {units} units");
    }
}
