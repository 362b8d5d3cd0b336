//! Tables and a bucket to take snapshots with. A test chooses their faults.

use super::archive::lines;
use super::bucket::Bucket;
use super::faults::Faulty;
use domain::Timestamp;
use serde_json::{Value, json};
use snapshot::SnapshotError;
use snapshot::format::{Compression, SnapshotId, read_line, write_line};
use snapshot::keep::LEFTOVER_AGE;
use snapshot::objects::Objects;
use snapshot::tables::Tables;
use snapshot::take::{Performed, Settings, Snapshots};
use snapshot::verify::{Snapshot, manifest};
use std::time::{Duration, SystemTime};

pub(crate) struct Taking {
    pub(crate) faulty: Faulty,
    pub(crate) bucket: Bucket,
    pub(crate) objects: Objects,
    pub(crate) tables: Tables,
    pub(crate) settings: Settings,
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// A time at which every current lease has expired, and the remains of an interrupted run count as leftovers.
pub(crate) fn later() -> Timestamp {
    now().plus(LEFTOVER_AGE + Duration::from_mins(1))
}

impl Taking {
    /// Empty tables and an empty bucket. Must be called inside a tokio runtime.
    pub(crate) fn new() -> Self {
        let (faulty, bucket) = (Faulty::new(), Bucket::new());
        let tables = Tables {
            client: faulty.client(),
            state: "greenroom-state".to_owned(),
            ledger: "greenroom-ledger".to_owned(),
        };
        let settings = Settings {
            stage: "test".to_owned(),
            compression: Compression::Gzip,
            retention: Duration::from_hours(24 * 7),
            segments: 3,
            read_units: 0,
            pause: snapshot::pace::sleep,
        };
        Self { objects: bucket.objects(), faulty, bucket, tables, settings }
    }

    /// Tables that hold some people in rooms with histories.
    pub(crate) async fn with_people() -> Self {
        let taking = Self::new();
        taking.fill(&lines(4, 5, 30)).await;
        taking.faulty.be_well();
        taking
    }

    /// Puts items, given as lines of a snapshot.
    pub(crate) async fn fill(&self, lines: &[Vec<u8>]) {
        for line in lines {
            let mut line: Value = serde_json::from_slice(line).unwrap();
            let table = if line["table"] == "state" { &self.tables.state } else { &self.tables.ledger };
            self.faulty.call("PutItem", &json!({"TableName": table, "Item": line["item"].take()})).await;
        }
    }

    pub(crate) fn snapshots(&self, clock: fn() -> Timestamp) -> Snapshots<'_> {
        Snapshots { tables: &self.tables, objects: &self.objects, settings: &self.settings, clock, alone: false }
    }

    pub(crate) async fn take(&self) -> Result<Performed, SnapshotError> {
        self.snapshots(now).perform(None).await
    }

    /// The lines of a snapshot, sorted. Checks that the snapshot is complete.
    pub(crate) async fn contents(&self, id: &SnapshotId) -> Vec<Vec<u8>> {
        let manifest = manifest(&self.objects, id).await.unwrap();
        let mut snapshot = Snapshot::open(&self.objects, manifest).await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = snapshot.next().await.unwrap() {
            let mut text = Vec::new();
            write_line(&mut text, line.table, &line.item).unwrap();
            lines.push(text);
        }
        lines.sort_unstable();
        lines
    }

    /// The items of both tables as lines, sorted, without those that snapshots leave out.
    pub(crate) async fn stored(&self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (table, name) in [("ledger", &self.tables.ledger), ("state", &self.tables.state)] {
            let mut request = json!({"TableName": name});
            loop {
                let answer = self.faulty.call("Scan", &request).await;
                for item in answer["Items"].as_array().unwrap() {
                    let key = item["pk"]["S"].as_str().unwrap();
                    if !["LEASE#", "CONN#", "LIMIT#", "ONCE#"].iter().any(|prefix| key.starts_with(prefix)) {
                        // A snapshot writes the members of a set in order.
                        let text = json!({"table": table, "item": item}).to_string();
                        let (table, item) = read_line(text.as_bytes()).unwrap();
                        let mut line = Vec::new();
                        write_line(&mut line, table, &item).unwrap();
                        lines.push(line);
                    }
                }
                match answer.get("LastEvaluatedKey") {
                    Some(key) => request["ExclusiveStartKey"] = key.clone(),
                    None => break,
                }
            }
        }
        lines.sort_unstable();
        lines
    }

    /// All good snapshots. Checks that each of them is complete.
    pub(crate) async fn good(&self) -> Vec<SnapshotId> {
        let good = snapshot::keep::snapshots(&self.objects).await.unwrap();
        for id in &good {
            self.contents(id).await;
        }
        good
    }
}
