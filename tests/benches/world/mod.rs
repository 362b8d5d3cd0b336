//! A data directory full of rooms, with the handlers on it and a meter below them.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use config::Config;
use domain::{AgentId, Fingerprint, PublicKey, SigningKey};
use functions::consumers::on_state_change;
use functions::{Context, Observer, RequestLine};
use local::client::context;
use local::engine::{Engine, TARGET_PREFIX};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use std::hint::black_box;
use std::ops::{AddAssign, Range};
use std::sync::{Arc, Mutex};
use store::dynamodb::StreamEvent;
use tempfile::TempDir;

/// Items that one `BatchWriteItem` writes, and records that one event of the stream holds.
const ITEMS: usize = 25;
const RECORDS: usize = 100;
/// The time of every stored change, and a time that no lease or pairing reaches.
const THEN_MS: u64 = 1_795_257_125_000;
const NEVER_MS: u64 = 4_102_444_800_000;

/// What calls of the database have consumed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) calls: u32,
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    /// Writes whose condition failed. The engine reports no units for them; DynamoDB charges at least one.
    pub(crate) refused: u32,
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.calls += more.calls;
        self.reads += more.reads;
        self.writes += more.writes;
        self.refused += more.refused;
    }
}

/// The engine behind a meter that asks for the consumed units of each call.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) engine: Engine,
    used: Arc<Mutex<Used>>,
}

impl Meter {
    /// What was consumed since the last look.
    pub(crate) fn take(&self) -> Used {
        std::mem::take(&mut self.used.lock().unwrap())
    }

    fn note(&self, operation: &str, status: u16, answer: &[u8]) {
        // An item's texts are escaped in JSON, so none of them can look like this member.
        let answer = str::from_utf8(answer).unwrap();
        let number = |rest: &str| rest.split([',', '}']).next().unwrap().parse::<f64>().unwrap();
        let units: f64 = answer.split("\"CapacityUnits\":").skip(1).map(number).sum();
        let is_read = ["BatchGetItem", "GetItem", "Query", "Scan"].contains(&operation);
        let (reads, writes) = if is_read { (units, 0.0) } else { (0.0, units) };
        *self.used.lock().unwrap() += Used { calls: 1, reads, writes, refused: u32::from(status != 200) };
    }
}

impl HttpConnector for Meter {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap().strip_prefix(TARGET_PREFIX).unwrap().to_owned();
        let mut body = request.body().bytes().unwrap().to_vec();
        if !["DescribeTable", "CreateTable", "DeleteTable"].contains(&operation.as_str())
            && !str::from_utf8(&body).unwrap().contains("\"ReturnConsumedCapacity\"")
        {
            body.splice(1..1, *br#""ReturnConsumedCapacity":"TOTAL","#);
        }
        let meter = self.clone();
        HttpConnectorFuture::new(async move {
            let answer = meter.engine.call(operation.clone(), body).await;
            let (status, body) = answer.ok_or_else(|| ConnectorError::other("the engine has stopped".into(), None))?;
            meter.note(&operation, status, &body);
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

impl HttpClient for Meter {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Makes each line as the log does, and discards it.
struct Unwritten;

impl Observer for Unwritten {
    fn answered(&self, line: &RequestLine<'_>) {
        black_box(serde_json::to_vec(line).unwrap());
    }
}

/// Rooms of equal size, in tables on a file. Everybody is present, has an agent, and has joined in the history.
pub(crate) struct World {
    pub(crate) context: Context,
    pub(crate) meter: Meter,
    /// People in a room.
    pub(crate) size: usize,
    /// Rooms so far.
    pub(crate) rooms: usize,
    config: Config,
    /// Number of the stream's last record.
    record: u64,
    directory: TempDir,
}

impl World {
    /// Tables without people.
    pub(crate) fn new(config: &Config, size: usize) -> Self {
        // The stream is added once people are there: nobody would take its records while the tables are filled.
        let streamless = TEMPLATE.replace("StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}", "Tags: []");
        assert_ne!(streamless, TEMPLATE);
        let directory = TempDir::new().unwrap();
        let place = Location::Directory { path: directory.path().join("data"), durable: false };
        let store = storage::open(&place, &Template::parse(&streamless).unwrap(), config).unwrap();
        let (engine, _thread) = Engine::start(store.database).unwrap();
        let meter = Meter { engine, used: Arc::default() };
        let context = context(meter.clone(), config.clone(), Arc::new(Unwritten));
        Self { context, meter, size, rooms: 0, config: config.clone(), record: 0, directory }
    }

    /// A consumer that knows no chain, and the same handlers.
    pub(crate) fn begin(&self) -> Context {
        context(self.meter.clone(), self.config.clone(), Arc::new(Unwritten))
    }

    /// The folder of the world's files.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Adds rooms until there are `rooms`.
    pub(crate) async fn grow(&mut self, rooms: usize) {
        let people = self.rooms * self.size..rooms * self.size;
        let (table, size, is_first) = (self.config.state_table.clone(), self.size, self.rooms == 0);
        let filled = self.meter.engine.work(move |database| {
            database.storage().enable_bulk_loading().unwrap();
            fill(people, size, |items| {
                let request = json!({"RequestItems": {&*table: items}});
                assert_eq!(database.call("BatchWriteItem", request.to_string().as_bytes(), false).0, 200);
                assert!(database.commit());
            });
        });
        filled.await.unwrap();
        for first in (self.rooms..rooms).step_by(RECORDS.div_ceil(size)) {
            let last = rooms.min(first + RECORDS.div_ceil(size));
            let people: Vec<_> = (first * size..last * size).collect();
            for people in people.chunks(RECORDS) {
                let joins: Vec<_> = people.iter().map(|number| self.joined(*number)).collect();
                self.append(&self.context, event(&joins)).await;
            }
        }
        let table = self.config.state_table.clone();
        let streamed = json!({
            "TableName": table,
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        });
        let ready = self.meter.engine.work(move |database| {
            if is_first {
                database.update_table(serde_json::from_value(streamed).unwrap()).unwrap();
            }
            database.storage().disable_bulk_loading().unwrap();
        });
        ready.await.unwrap();
        self.rooms = rooms;
        self.meter.take();
    }

    fn joined(&mut self, number: usize) -> Value {
        let new = state(number, self.size, 1, true);
        self.record(number, json!({"NewImage": new}))
    }

    /// The record of a flip of the mute.
    pub(crate) fn flip(&mut self, number: usize) -> StreamEvent {
        let version = self.record + 2;
        let is_muted = version.is_multiple_of(2);
        let old = state(number, self.size, version - 1, !is_muted);
        let new = state(number, self.size, version, is_muted);
        let record = self.record(number, json!({"OldImage": old, "NewImage": new}));
        event(&[record])
    }

    fn record(&mut self, number: usize, mut images: Value) -> Value {
        self.record += 1;
        images["Keys"] = json!({"pk": {"S": format!("USER#{}", user(number))}, "sk": {"S": "STATE"}});
        images["SequenceNumber"] = format!("{:021}", self.record).into();
        images["ApproximateCreationDateTime"] = (THEN_MS / 1000).into();
        let source = "arn:aws:dynamodb:local:0:table/state/stream/2026-01-01T00:00:00.000";
        json!({"eventSourceARN": source, "dynamodb": images})
    }

    /// Lets a consumer append the changes of an event to the histories.
    pub(crate) async fn append(&self, consumer: &Context, event: StreamEvent) {
        let outcome = on_state_change::run(consumer.clone(), Arc::new(event)).await;
        assert!(outcome.batch_item_failures.is_empty());
    }
}

fn event(records: &[Value]) -> StreamEvent {
    serde_json::from_value(json!({"Records": records})).unwrap()
}

/// The id of a room.
pub(crate) fn room(number: usize) -> String {
    format!("room-{number:07}")
}

/// The id of a person. Neighbours by number are in the same room.
pub(crate) fn user(number: usize) -> String {
    format!("p_{number:026}")
}

/// The key of a person's agent.
pub(crate) fn key(number: usize) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// The challenge that every agent must answer first.
pub(crate) const CHALLENGE: [u8; 16] = [5; 16];

/// The id of a person's agent.
pub(crate) fn agent(number: usize) -> AgentId {
    AgentId::of(&public(number))
}

fn public(number: usize) -> PublicKey {
    key(number).verifying_key().to_bytes().into()
}

fn binary(bytes: &[u8]) -> Value {
    json!({"B": BASE64_STANDARD.encode(bytes)})
}

fn text(text: impl Into<String>) -> Value {
    json!({"S": text.into()})
}

fn number(value: u64) -> Value {
    json!({"N": value.to_string()})
}

/// The state of a person whose agent attests, without the agent.
fn state(number_of: usize, size: usize, version: u64, is_muted: bool) -> Value {
    json!({
        "pk": text(format!("USER#{}", user(number_of))), "sk": text("STATE"), "isMuted": {"BOOL": is_muted},
        "deviceId": text("e".repeat(64)), "deviceLabel": text("Desk Microphone"),
        "roomId": text(room(number_of / size)), "version": number(version), "lastUpdated": number(THEN_MS),
        "createdAt": number(THEN_MS), "expiresAt": number(NEVER_MS / 1000), "changedBy": text("open"),
        "requestId": text("0b2f4c6e-7d1a-4c5e-9f30-5a6b7c8d9e0f"), "leaseId": text("page-load-1"),
        "leaseUntil": number(NEVER_MS),
    })
}

/// Gives the items of people with their agents to `write`, in batches.
fn fill(people: Range<usize>, size: usize, write: impl Fn(&[Value])) {
    let mut batch = Vec::with_capacity(ITEMS);
    for person in people {
        let (public, token) = (public(person), Fingerprint::of(&person.to_le_bytes()));
        let agent = AgentId::of(&public);
        let mut state = state(person, size, 1, true);
        for (name, value) in [
            ("agentId", text(agent.as_str())),
            ("agentSeq", number(1)),
            ("challenge", binary(&CHALLENGE)),
            ("attested", binary(&[3; 16])),
            ("heardAt", number(THEN_MS)),
            ("heardVersion", number(1)),
            ("heardFlag", text("muted")),
            ("heardSignal", text("digital_zero")),
            ("heardId", text("pulseaudio:desk_microphone")),
            ("heardLabel", text("Desk Microphone")),
            ("heardSilentSince", number(THEN_MS)),
        ] {
            state[name] = value;
        }
        let named = json!({
            "pk": text(format!("AGENT#{agent}")), "sk": text("META"), "publicKey": binary(public.as_bytes()),
            "userId": text(user(person)), "witness": binary(token.as_bytes()), "attachments": number(1),
            "expiresAt": number(NEVER_MS / 1000),
        });
        let attaching = json!({
            "pk": text(format!("WITNESS#{}", BASE64_URL_SAFE_NO_PAD.encode(token.as_bytes()))), "sk": text("META"),
            "agentId": text(agent.as_str()), "expiresAt": number(NEVER_MS / 1000),
        });
        batch.extend([state, named, attaching].map(|item| json!({"PutRequest": {"Item": item}})));
        if batch.len() + 3 > ITEMS {
            write(&batch);
            batch.clear();
        }
    }
    if !batch.is_empty() {
        write(&batch);
    }
}
