//! The histories of rooms, as the API gives them, and an engine whose stream the test delivers itself.

use super::{PATIENCE, Runner};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::Config;
use domain::RoomId;
use domain::ledger::{DigestKey, Entry, Fact, Head, Presence, fold, verify};
use functions::Context;
use local::client;
use local::engine::Engine;
use local::records::{self, Batch};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::dynamodb::BatchOutcome;

/// All entries of a room, and its head. Checks that the entries are complete and in order, and that the events are the
/// same.
#[track_caller]
pub(crate) fn audit(runner: &Runner, room: &str) -> (Vec<Entry>, Head) {
    let mut entries = Vec::<Entry>::new();
    loop {
        let since = entries.len();
        let page = runner.get(&format!("/api/rooms/{room}/audit?limit=200&since={since}")).json();
        let more: Vec<Entry> =
            serde_json::from_value(page["entries"].clone()).unwrap_or_else(|e| panic!("{e}: {page}"));
        let events = runner.get(&format!("/api/rooms/{room}/events?limit=200&since={since}")).json();
        for (entry, event) in more.iter().zip(events["events"].as_array().unwrap()) {
            let same = json!({"seq": entry.seq, "at": entry.at, "actor": entry.actor, "action": entry.action, "data": entry.data});
            assert_eq!(event, &same);
        }
        entries.extend(more);
        if page["hasMore"] == false {
            let head: Head = serde_json::from_value(page["head"].clone()).unwrap();
            assert_eq!(verify(&entries, Some(&head)), Ok(head));
            return (entries, head);
        }
    }
}

/// Waits until a room has this many entries, and returns all of them.
#[track_caller]
pub(crate) fn audit_of(runner: &Runner, room: &str, count: usize) -> Vec<Entry> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (entries, _) = audit(runner, room);
        if entries.len() >= count {
            return entries;
        }
        assert!(Instant::now() < deadline, "waited in vain for {count} entries: {entries:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The facts of the entries.
pub(crate) fn facts(entries: &[Entry]) -> Vec<Fact> {
    entries.iter().map(|entry| entry.fact().unwrap_or_else(|| panic!("{entry:?}"))).collect()
}

/// The people in the room according to its history.
pub(crate) fn folded(entries: &[Entry]) -> BTreeMap<String, Presence> {
    fold(facts(entries))
}

/// The event that a consumer gets.
pub(crate) fn event_of(batch: &Batch) -> Value {
    serde_json::from_str(&batch.event).unwrap()
}

/// The handlers on an engine of their own. No consumer follows its stream.
pub(crate) struct Unfollowed {
    pub(crate) engine: Engine,
    pub(crate) context: Context,
}

/// Ignores requests.
pub(crate) struct Nobody;

impl functions::Observer for Nobody {
    fn answered(&self, _: &functions::RequestLine<'_>) {}
}

impl Unfollowed {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new() -> Self {
        let config = Config::of_runner(|_| None).unwrap();
        let store = storage::open(&Location::Memory, &Template::parse(TEMPLATE).unwrap(), &config).unwrap();
        let (engine, _) = Engine::start(store.database).unwrap();
        let context = client::context(engine.clone(), config, Arc::new(Nobody));
        Self { engine, context }
    }

    /// The same tables with a consumer that has not read them yet, as in another process.
    pub(crate) fn another(&self) -> Self {
        let context = client::context(self.engine.clone(), (*self.context.config).clone(), Arc::new(Nobody));
        Self { engine: self.engine.clone(), context }
    }

    /// The oldest records of the state table's stream.
    pub(crate) async fn next(&self) -> Option<Batch> {
        let table = self.context.config.state_table.clone();
        self.engine.work(move |database| records::read(database.connection(), &table, 100).unwrap()).await.unwrap()
    }

    /// Removes the records of a batch from the stream.
    pub(crate) async fn remove(&self, batch: &Batch) {
        let (table, last) = (self.context.config.state_table.clone(), *batch.ids.last().unwrap());
        self.engine.work(move |database| records::remove(database.connection(), &table, last).unwrap()).await.unwrap();
    }

    /// Gives the consumer an event.
    pub(crate) async fn deliver(&self, event: Value) -> BatchOutcome {
        let event = serde_json::from_value(event).unwrap();
        functions::consumers::on_state_change::run(self.context.clone(), event).await
    }

    /// All entries of a room.
    pub(crate) async fn entries(&self, room: &RoomId) -> Vec<Entry> {
        let mut entries = Vec::<Entry>::new();
        loop {
            let part = self.context.ledger.read(room, entries.len() as u64, 200).await.unwrap();
            entries.extend(part.entries);
            if !part.has_more {
                assert_eq!(verify(&entries, Some(&part.head)), Ok(part.head));
                return entries;
            }
        }
    }

    /// The key of a room's digests, from its last block. No endpoint returns it.
    pub(crate) async fn digest_key(&self, room: &RoomId) -> Option<DigestKey> {
        let request = json!({
            "TableName": self.context.config.ledger_table,
            "KeyConditionExpression": "pk = :chain",
            "ExpressionAttributeValues": {":chain": {"S": format!("CHAIN#room:{room}")}},
            "ScanIndexForward": false,
            "Limit": 1,
        });
        let (status, answer) = self.engine.call("Query".into(), request.to_string().into_bytes()).await.unwrap();
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let text = answer["Items"][0]["digestKey"]["B"].as_str()?;
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        Some(DigestKey::from(<[u8; 32]>::try_from(bytes).unwrap()))
    }
}
