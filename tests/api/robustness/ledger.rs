//! `kill -9` under load: every change is in the history once, and the history leads to the stored state.

use super::wire::Wire;
use crate::support::history::{Nobody, Unfollowed, audit, audit_of, folded};
use crate::support::{PATIENCE, Runner};
use config::Config;
use domain::Timestamp;
use domain::user::{Claim, MuteClaim, MuteScope};
use functions::Consumer;
use local::engine::{Engine, UNLIMITED};
use local::pump::{BEHIND_MAX, Pump};
use local::records;
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::dynamodb::{BatchOutcome, Cause, FailedRecord, Guard};
use tempfile::TempDir;

const KILLS: u64 = 20;
const WRITERS: u64 = 4;
const ROOMS: u64 = 3;

/// Each write changes the device, so each is an event; some change rooms.
fn body(number: u64) -> Value {
    let device = format!("device-{number}");
    json!({"isMuted": number.is_multiple_of(2), "deviceId": device, "roomId": format!("room-{}", number / 5 % ROOMS)})
}

/// Writes until the connection breaks.
fn write(url: &str, user: &str, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let Ok(mut wire) = Wire::try_open(url) else { return };
    loop {
        wire.request("POST", &format!("/api/users/{user}/state"), "", &body(rng.u64(..1 << 40)).to_string());
        let Some(answer) = wire.answer_if_whole() else { return };
        assert!([200, 201].contains(&answer.status), "{answer:?}");
    }
}

/// Everybody's state, by room and user.
fn live(runner: &Runner) -> BTreeMap<(String, String), Value> {
    let items = runner.get("/api/users?limit=200").json()["items"].as_array().unwrap().clone();
    let place = |user: &Value| ["roomId", "userId"].map(|name| user[name].as_str().unwrap().to_owned()).into();
    items.into_iter().map(|user| (place(&user), user)).collect()
}

/// The states according to the histories, after these have caught up. The rooms are read one after the other, and a history
/// may grow in between, so two readings must be equal.
fn settled(runner: &Runner) -> BTreeMap<String, Vec<(u64, String)>> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = None;
    loop {
        let mut versions = BTreeMap::<String, Vec<(u64, String)>>::new();
        let mut told = BTreeMap::new();
        for room in (0..ROOMS).map(|room| format!("room-{room}")) {
            let (entries, _) = audit(runner, &room);
            for entry in &entries {
                let user = entry.data["userId"].as_str().unwrap().to_owned();
                let version = entry.data["version"].as_u64().unwrap();
                versions.entry(user).or_default().push((version, format!("{room} {}", entry.action)));
            }
            told.extend(folded(&entries).into_iter().map(|(user, presence)| ((room.clone(), user), presence)));
        }
        let live = live(runner);
        let same = live.len() == told.len()
            && live.iter().all(|(place, user)| {
                told.get(place).is_some_and(|presence| {
                    let newest = versions[&place.1].iter().map(|(version, _)| *version).max();
                    presence.is_muted == user["isMuted"] && newest == user["version"].as_u64()
                })
            });
        if same && before.as_ref() == Some(&versions) {
            return versions;
        }
        before = Some(versions);
        assert!(Instant::now() < deadline, "the histories do not lead to the states: {told:#?} {live:#?}");
        // Polling without a pause would delay the history.
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn twenty_kills_under_load_lose_and_repeat_no_entry() {
    let data = TempDir::new().unwrap();
    let place = data.path().to_str().unwrap();
    let mut rng = fastrand::Rng::with_seed(20);
    for kill in 0..KILLS {
        let runner = Runner::start(&["--data-dir", place]);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let url = runner.url.clone();
                scope.spawn(move || write(&url, &format!("writer-{writer}"), kill * WRITERS + writer));
            }
            std::thread::sleep(Duration::from_millis(rng.u64(20..200)));
            runner.kill();
        });
    }
    let runner = Runner::start(&["--data-dir", place]);
    let mut total = 0;
    for (user, mut told) in settled(&runner) {
        told.sort();
        let count = told.len();
        total += count;
        told.dedup();
        assert_eq!(told.len(), count, "{user}: an entry is repeated: {told:?}");
        let mut versions: Vec<_> = told.into_iter().map(|(version, _)| version).collect();
        versions.dedup();
        assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>(), "{user}: a change is lost");
    }
    assert!(total as u64 > KILLS * 5, "the kills met no load: {total} entries");
}

#[test]
fn acknowledged_changes_are_in_the_history_after_a_stop() {
    let data = TempDir::new().unwrap();
    let place = data.path().to_str().unwrap();
    let mut runner = Runner::start(&["--data-dir", place]);
    for number in 0..300 {
        runner.post("/api/users/ada/state", body(number));
    }
    let start = Instant::now();
    runner.signal("TERM");
    let (code, log) = runner.wait();
    assert_eq!(code, 0);
    assert!(start.elapsed() < Duration::from_secs(11), "{:?}", start.elapsed());
    assert_eq!(log.last().unwrap()["event"], "shutdown_complete");
    assert!(log.iter().all(|line| line["level"] != "ERROR"), "{log:#?}");
    // The directory as the next start finds it.
    let place = Location::Directory { path: data.path().to_owned(), durable: false };
    let template = Template::parse(TEMPLATE).unwrap();
    let store = storage::open(&place, &template, &Config::of_runner(|_| None).unwrap()).unwrap();
    assert!(
        records::read(store.database.connection(), "greenroom-state", 1).unwrap().is_none(),
        "some records were not processed"
    );
}

/// In a data directory of an older version, the engine wrote the stream's records by itself.
#[tokio::test]
async fn records_that_an_older_version_left_behind_reach_the_history_first() {
    let data = TempDir::new().unwrap();
    let place = Location::Directory { path: data.path().to_owned(), durable: false };
    let template = Template::parse(TEMPLATE).unwrap();
    let store = storage::open(&place, &template, &Config::of_runner(|_| None).unwrap()).unwrap();
    let tables = store.database.storage();
    let label = tables.get_table_metadata("greenroom-state").unwrap().unwrap().stream_label.unwrap();
    let before = "DROP TRIGGER temp.\"put greenroom-state\"; DROP TRIGGER temp.\"delete greenroom-state\"; \
                  CREATE INDEX greenroom_stream \
                  ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";
    store.database.connection().execute_batch(before).unwrap();
    tables.enable_stream("greenroom-state", "NEW_AND_OLD_IMAGES", &label).unwrap();
    let state = json!({
        "pk": {"S": "USER#ada"}, "sk": {"S": "STATE"}, "isMuted": {"BOOL": true}, "roomId": {"S": "room-0"},
        "version": {"N": "1"}, "lastUpdated": {"N": "1795257125000"}, "createdAt": {"N": "1795257125000"},
        "expiresAt": {"N": "4102444800"},
    });
    let put = json!({"TableName": "greenroom-state", "Item": state});
    let unmute = json!({
        "TableName": "greenroom-state", "Key": {"pk": {"S": "USER#ada"}, "sk": {"S": "STATE"}},
        "UpdateExpression": "SET isMuted = :no, version = :two",
        "ExpressionAttributeValues": {":no": {"BOOL": false}, ":two": {"N": "2"}},
    });
    for (operation, request) in [("PutItem", put), ("UpdateItem", unmute)] {
        assert_eq!(store.database.call(operation, request.to_string().as_bytes(), false).0, 200);
    }
    let left = records::read(store.database.connection(), "greenroom-state", 10).unwrap().unwrap();
    assert_eq!(left.ids.len(), 2);
    drop(store);

    let runner = Runner::start(&["--data-dir", data.path().to_str().unwrap()]);
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": true})).status, 200);
    let entries = audit_of(&runner, "room-0", 3);
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["joined", "mute_changed", "mute_changed"]);
    let versions: Vec<_> = entries.iter().map(|entry| entry.data["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3]);
}

/// A data directory of an older version: a table without a stream, and no ledger.
#[tokio::test]
async fn a_directory_of_an_older_version_gets_a_history_with_the_next_change() {
    let data = TempDir::new().unwrap();
    let place = Location::Directory { path: data.path().to_owned(), durable: false };
    let before = TEMPLATE.replace("StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}", "Tags: []");
    assert_ne!(before, TEMPLATE);
    let store =
        storage::open(&place, &Template::parse(&before).unwrap(), &Config::of_runner(|_| None).unwrap()).unwrap();
    let item = json!({"TableName": "greenroom-state", "Item": {
        "pk": {"S": "USER#ada"}, "sk": {"S": "STATE"}, "isMuted": {"BOOL": true}, "roomId": {"S": "room-0"},
        "version": {"N": "7"}, "lastUpdated": {"N": "1795257125000"}, "createdAt": {"N": "1795257125000"},
        "expiresAt": {"N": "4102444800"},
    }});
    assert_eq!(store.database.call("PutItem", item.to_string().as_bytes(), false).0, 200);
    assert!(records::read(store.database.connection(), "greenroom-state", 1).unwrap().is_none());
    drop(store);

    let runner = Runner::start(&["--data-dir", data.path().to_str().unwrap()]);
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": false})).status, 200);
    let entries = audit_of(&runner, "room-0", 1);
    assert_eq!((entries[0].action.as_str(), &entries[0].data["version"]), ("joined", &json!(8)));
    runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    assert_eq!(audit_of(&runner, "room-0", 2)[1].action, "mute_changed");
}

/// The pump's reaction to a backlog that is too long.
#[tokio::test]
async fn writes_that_are_not_admitted_wait_and_reads_do_not() {
    let bed = Unfollowed::new();
    let put = |id: &str, engine: &Engine| {
        let item = json!({"TableName": "greenroom-state", "Item": {"pk": {"S": id}, "sk": {"S": "x"}}});
        let engine = engine.clone();
        async move { engine.call("PutItem".into(), item.to_string().into_bytes()).await.unwrap().0 }
    };
    bed.engine.admit(1);
    assert_eq!(put("a", &bed.engine).await, 200);
    let waiting = tokio::spawn(put("b", &bed.engine));
    assert_eq!(put("c", &bed.engine.ahead()).await, 200, "the writes of the history itself never wait");
    let count = async || {
        let (_, answer) = bed.engine.call("Scan".into(), br#"{"TableName":"greenroom-state"}"#.to_vec()).await.unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()["Count"].clone()
    };
    assert_eq!(count().await, 2);
    assert!(!waiting.is_finished());
    bed.engine.admit(UNLIMITED);
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(count().await, 3);
    bed.engine.admit(0);
    let waiting = tokio::spawn(put("d", &bed.engine));
    assert_eq!(count().await, 3);
    assert!(!waiting.is_finished());
}

/// If the history cannot be written, people must still be able to mute.
#[tokio::test]
async fn a_failing_history_delays_nobody() {
    let bed = Unfollowed::new();
    let config = Config::of_runner(|_| None).unwrap();
    let fails: Consumer = |_, event| {
        let first = event.records[0].sequence_number().to_owned();
        Box::pin(async { BatchOutcome { batch_item_failures: vec![FailedRecord { item_identifier: first }] } })
    };
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let pump = tokio::spawn(Pump::new(&bed.engine, &config, Arc::new(Nobody), vec![fails], BEHIND_MAX).run(stopping));
    let claim = || Claim {
        mute: MuteClaim { is_muted: true, mute_scope: MuteScope::App },
        device_id: None,
        device_label: None,
        room_id: Some("demo".parse().unwrap()),
        name: None,
        lease: None,
    };
    for number in 0..BEHIND_MAX + 100 {
        let user = format!("user-{}", number % 50).parse().unwrap();
        let now = Timestamp::from_ms(1_795_257_125_000 + number as u64);
        bed.context.users.set_state(&user, claim(), Guard::default(), &Cause::service(now)).await.unwrap();
    }
    pump.abort();
}
