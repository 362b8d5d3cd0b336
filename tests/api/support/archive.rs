//! Snapshots made by hand, so that a test can damage them in any way.

use super::faults::Faulty;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::Timestamp;
use domain::ledger::{Entry, Fact, Hash, Head, canonical};
use local::objects::{BUCKET, Directory};
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use snapshot::format::{Compression, SnapshotId, read_line};
use snapshot::lines::{Encoder, Summing};
use snapshot::objects::Objects;
use snapshot::restore::Restore;
use snapshot::tables::Tables;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// The parts of a snapshot: lines, the object made of them, and the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    pub(crate) id: SnapshotId,
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) compression: Compression,
    pub(crate) object: Vec<u8>,
    pub(crate) manifest: Value,
}

impl Archive {
    /// A complete snapshot of these lines, compressed.
    pub(crate) fn new(id: &str, lines: Vec<Vec<u8>>) -> Self {
        let (object, manifest) = (Vec::new(), Value::Null);
        let mut archive = Self { id: id.parse().unwrap(), lines, compression: Compression::Gzip, object, manifest };
        archive.seal();
        archive
    }

    /// Makes the object and the manifest, with all sums, from the current lines. The sums of the chains stay as they
    /// were if the chains are no longer complete.
    pub(crate) fn seal(&mut self) {
        let key = self.id.lines_key(self.compression);
        let mut encoder = Encoder::new(&key, self.compression);
        let mut summing = Some(Summing::default());
        let mut items = [("ledger", 0), ("state", 0)];
        for line in &self.lines {
            encoder.line(line).unwrap();
            for (table, items) in &mut items {
                *items += u64::from(String::from_utf8_lossy(line).contains(&format!(r#""table":"{table}""#)));
            }
            summing = summing.and_then(|mut summing| {
                let (table, item) = read_line(line).ok()?;
                summing.add(table, &item).ok().map(|()| summing)
            });
        }
        let mut object = encoder.take();
        let (rest, summary) = encoder.finish().unwrap();
        object.extend(rest);
        self.object = object;
        let chains = summing.and_then(|summing| summing.finish().ok());
        let chains = chains.map_or_else(|| self.manifest["chains"].clone(), |(_, chains)| json!(chains));
        let tables: Vec<_> = items
            .iter()
            .map(|(table, items)| json!({"table": table, "items": items, "schema": schema(table)}))
            .collect();
        self.manifest = json!({
            "format": "greenroom-snapshot", "schema": 1, "snapshot": self.id, "stage": "local",
            "startedAt": "2026-11-21T03:00:00.000Z", "finishedAt": "2026-11-21T03:00:01.000Z",
            "object": summary, "tables": tables, "chains": chains,
        });
    }

    /// Stores the object and the manifest as they are.
    pub(crate) async fn store(&self, objects: &Objects) {
        self.store_object(objects).await;
        self.store_manifest(objects).await;
    }

    pub(crate) async fn store_object(&self, objects: &Objects) {
        let key = self.id.lines_key(self.compression);
        objects.put_new(&key, self.object.clone(), "application/gzip").await.unwrap();
    }

    pub(crate) async fn store_manifest(&self, objects: &Objects) {
        let text = self.manifest.to_string().into_bytes();
        objects.put_new(&self.id.manifest_key(), text, "application/json").await.unwrap();
    }
}

/// A bucket and the tables to restore to. A test chooses their faults.
pub(crate) struct Vault {
    pub(crate) faulty: Faulty,
    pub(crate) objects: Objects,
    pub(crate) tables: Tables,
    _directory: TempDir,
}

impl Vault {
    /// An empty bucket and empty tables. Must be called inside a tokio runtime.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let objects = Objects::new(Directory::open(directory.path(), Duration::ZERO).unwrap().client(), BUCKET);
        let faulty = Faulty::new();
        let tables = Tables {
            client: faulty.client(),
            state: "greenroom-state".to_owned(),
            ledger: "greenroom-ledger".to_owned(),
        };
        Self { faulty, objects, tables, _directory: directory }
    }

    /// A restore that keeps the agents, so that a test can compare the result line by line.
    pub(crate) fn restore(&self) -> Restore<'_> {
        Restore {
            keep_agents: true,
            objects: &self.objects,
            tables: &self.tables,
            clock: || SystemTime::now().into(),
            alone: false,
            until: None,
        }
    }

    /// Restores. Returns the exit code of the command (0: done), and its result or error as text.
    pub(crate) async fn exit_code(&self, wanted: &str) -> (u8, String) {
        match self.restore().run(&wanted.parse().unwrap(), &mut |_| {}).await {
            Ok(restored) => (0, format!("{restored:?}")),
            Err(error) => (error.exit_code(), error.to_string()),
        }
    }

    /// The items of both tables as lines, sorted, leases included.
    pub(crate) async fn lines(&self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (table, name) in [("ledger", &self.tables.ledger), ("state", &self.tables.state)] {
            let mut request = json!({"TableName": name});
            loop {
                let answer = self.faulty.call("Scan", &request).await;
                lines.extend(answer["Items"].as_array().unwrap().iter().map(|item| line(table, item.clone())));
                match answer.get("LastEvaluatedKey") {
                    Some(key) => request["ExclusiveStartKey"] = key.clone(),
                    None => break,
                }
            }
        }
        lines.sort_unstable();
        lines
    }
}

/// The schema of a table in the template.
fn schema(table: &str) -> Value {
    let template = Template::parse(TEMPLATE).unwrap();
    let name = if table == "state" { "StateTable" } else { "LedgerTable" };
    let (request, _) = template.table(name, "any").unwrap();
    let mut schema = json!({});
    for member in ["KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes"] {
        if !request[member].is_null() {
            schema[member] = request[member].clone();
        }
    }
    schema
}

/// A line as a snapshot writes it.
#[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
pub(crate) fn line(table: &str, item: Value) -> Vec<u8> {
    format!("{}\n", json!({"table": table, "item": item})).into_bytes()
}

/// The line of a user's state.
pub(crate) fn state(number: usize, rooms: usize) -> Vec<u8> {
    line(
        "state",
        json!({
            "pk": {"S": format!("USER#user-{number:05}")}, "sk": {"S": "STATE"}, "isMuted": {"BOOL": number.is_multiple_of(2)},
            "deviceLabel": {"S": format!("Microphone of user {number} — \"Ü\"")}, "deviceId": {"S": format!("device-{number}")},
            "roomId": {"S": format!("room-{}", number % rooms.max(1))}, "version": {"N": "7"},
            "lastUpdated": {"N": "1795257125000"}, "createdAt": {"N": "1795257125000"},
            "expiresAt": {"N": "4102444800"},
        }),
    )
}

/// The history of a room: its entries, its head and the marker of a person in it.
pub(crate) fn chain(room: &str, entries: usize) -> Vec<Vec<u8>> {
    let (name, mut head) = (format!("room:{room}"), Head::NONE);
    let key = |sort: String| json!({"pk": {"S": format!("CHAIN#{name}")}, "sk": {"S": sort}});
    let mut lines = Vec::new();
    for number in 0..entries {
        let user_id = format!("user-{number:05}").parse().unwrap();
        let fact = Fact::DeviceChanged { user_id, version: 7, device: None };
        let at = Timestamp::from_ms(1_795_257_125_000 + number as u64);
        let entry = Entry::after(&head, &name, at, "user:ada", None, &fact);
        head = entry.head();
        lines.push(line("ledger", stored(key(format!("{:012}", entry.seq)), &entry)));
    }
    let mut last = key("HEAD".to_owned());
    (last["seq"], last["hash"]) = (json!({"N": head.seq.to_string()}), binary(&head.hash));
    last["digestKey"] = json!({"B": BASE64_STANDARD.encode([7; 32])});
    lines.push(line("ledger", last));
    let mut marker = key("USER#user-00000".to_owned());
    marker["applied"] = json!({"S": format!("{:040}", 7)});
    lines.push(line("ledger", marker));
    lines
}

/// Blocks of two entries each that follow `head`.
pub(crate) fn blocks(room: &str, mut head: Head, count: usize) -> Vec<Vec<u8>> {
    let (name, user_id) = (format!("room:{room}"), "user-00000".parse::<domain::UserId>().unwrap());
    let mut lines = Vec::new();
    for number in 0..count {
        let (mut entries, before) = (Vec::new(), head);
        for device in [None, Some(domain::Fingerprint::of(b"device"))] {
            let fact = Fact::DeviceChanged { user_id: user_id.clone(), version: 8, device };
            let at = Timestamp::from_ms(1_795_257_225_000 + number as u64);
            let entry = Entry::after(&head, &name, at, "open", None, &fact);
            head = entry.head();
            let Entry { at, actor, action, data, hash, .. } = entry;
            entries.push(json!({"at": at, "actor": actor, "action": action, "data": data, "hash": hash}));
        }
        let mut item = json!({"pk": {"S": format!("CHAIN#{name}")}, "sk": {"S": format!("{:012}", before.seq + 1)}});
        item["entries"] = json!({"S": Value::from(entries).to_string()});
        (item["prev"], item["digestKey"]) = (binary(&before.hash), json!({"B": BASE64_STANDARD.encode([7; 32])}));
        item["stream"] = json!({"S": "2026-11-21T10:00:00.000"});
        item["applied"] = json!({"S": json!({"user-00000": format!("{}", number + 8)}).to_string()});
        lines.push(line("ledger", item));
    }
    lines
}

/// The history of a room that an older version began and this version goes on with, and one of this version alone.
pub(crate) fn both_forms() -> Vec<Vec<u8>> {
    let mut lines = chain("older", 3);
    let last: Value = serde_json::from_slice(&lines[2]).unwrap();
    let hash = BASE64_STANDARD.decode(last["item"]["hash"]["B"].as_str().unwrap()).unwrap();
    let head = Head { seq: 3, hash: Hash::from(<[u8; 32]>::try_from(hash).unwrap()) };
    lines.splice(3..3, blocks("older", head, 3));
    lines.extend(blocks("newer", Head::NONE, 4));
    lines
}

fn stored(mut item: Value, entry: &Entry) -> Value {
    let data = canonical(&entry.data.clone().into());
    for (name, text) in [("at", &entry.at), ("actor", &entry.actor), ("action", &entry.action), ("data", &data)] {
        item[name] = json!({"S": text});
    }
    (item["prev"], item["hash"]) = (binary(&entry.prev), binary(&entry.hash));
    item
}

fn binary(hash: &Hash) -> Value {
    json!({"B": BASE64_STANDARD.encode(hash.as_bytes())})
}

/// The lines of this many rooms with this many entries each, and of this many people.
pub(crate) fn lines(rooms: usize, entries: usize, people: usize) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = (0..rooms).flat_map(|room| chain(&format!("room-{room}"), entries)).collect();
    lines.extend((0..people).map(|number| state(number, rooms)));
    lines
}
