//! Writes share a commit. If it fails, none of them has happened, and none is acknowledged.

use crate::support::history::{Unfollowed, audit_of, event_of};
use crate::support::{PATIENCE, Runner};
use config::Config;
use futures_util::future::{BoxFuture, join_all};
use futures_util::poll;
use local::database::{Answer, Database};
use local::engine::{Engine, GROUP_MAX};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Instant;
use tempfile::TempDir;

const TABLE: &str = "greenroom-state";

fn key(person: usize) -> Value {
    json!({"pk": {"S": format!("USER#person-{person}")}, "sk": {"S": "STATE"}})
}

fn put(person: usize, text: &str) -> (&'static str, Value) {
    let mut item = key(person);
    item["text"] = json!({"S": text});
    ("PutItem", json!({"TableName": TABLE, "Item": item}))
}

fn get(person: usize) -> (&'static str, Value) {
    ("GetItem", json!({"TableName": TABLE, "Key": key(person)}))
}

/// Makes these calls wait in the engine's queue together, after `prepare`, so that they are one group.
async fn together(
    engine: &Engine,
    prepare: impl FnOnce(&Database) + Send + 'static,
    calls: Vec<(&'static str, Value)>,
) -> Vec<(u16, Value)> {
    assert!(calls.len() <= GROUP_MAX);
    let (go_on, wait) = mpsc::channel();
    let mut held: BoxFuture<'_, _> = Box::pin(engine.work(move |database| {
        prepare(database);
        wait.recv()
    }));
    assert!(poll!(&mut held).is_pending());
    let calls = calls.into_iter().map(|(operation, body)| engine.call(operation.into(), body.to_string().into_bytes()));
    let mut calls = join_all(calls);
    // One poll puts each of them into the queue.
    assert!(poll!(&mut calls).is_pending());
    go_on.send(()).unwrap();
    held.await.unwrap().unwrap();
    calls.await.into_iter().map(|answer| parsed(answer.unwrap())).collect()
}

fn parsed((status, body): Answer) -> (u16, Value) {
    (status, serde_json::from_slice(&body).unwrap())
}

/// The texts of these people, as they are stored.
async fn texts(engine: &Engine, people: usize) -> Vec<Option<String>> {
    let calls = (0..people).map(|person| {
        let (operation, body) = get(person);
        engine.call(operation.into(), body.to_string().into_bytes())
    });
    let answers = join_all(calls).await.into_iter().map(|answer| parsed(answer.unwrap()).1);
    answers.map(|answer| answer["Item"]["text"]["S"].as_str().map(str::to_owned)).collect()
}

/// The people and texts of the records in the stream.
async fn recorded(bed: &Unfollowed) -> Vec<(String, String)> {
    let Some(batch) = bed.next().await else { return Vec::new() };
    let event = event_of(&batch);
    let of = |record: &Value| {
        let text = record["dynamodb"]["NewImage"]["text"]["S"].as_str().unwrap().to_owned();
        (record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap().to_owned(), text)
    };
    event["Records"].as_array().unwrap().iter().map(of).collect()
}

fn is_retryable(answer: &(u16, Value)) -> bool {
    answer.0 == 500 && answer.1["__type"].as_str().unwrap().ends_with("#InternalServerError")
}

#[tokio::test]
async fn a_failed_commit_fails_its_whole_group_and_changes_nothing() {
    let bed = Unfollowed::new();
    let transaction = json!({
        "ClientRequestToken": "once",
        "TransactItems": [{"Put": {"TableName": TABLE, "Item": put(3, "new").1["Item"]}}],
    });
    let mut calls = vec![put(0, "new"), put(1, "new"), put(2, "new"), ("TransactWriteItems", transaction.clone())];
    // It would show a write that has not happened.
    calls.push(get(0));
    let refuse = |database: &Database| database.connection().commit_hook(Some(|| true));
    let answers = together(&bed.engine, refuse, calls.clone()).await;
    assert!(answers.iter().all(is_retryable), "{answers:?}");
    bed.engine.work(|database| database.connection().commit_hook(None::<fn() -> bool>)).await.unwrap();
    assert_eq!(texts(&bed.engine, 4).await, vec![None; 4]);
    assert_eq!(recorded(&bed).await, []);

    // The same again, with the same token.
    let answers = together(&bed.engine, |_| {}, calls).await;
    assert!(answers.iter().all(|answer| answer.0 == 200), "{answers:?}");
    assert_eq!(texts(&bed.engine, 4).await, vec![Some("new".to_owned()); 4]);
    assert_eq!(recorded(&bed).await.len(), 4);
    let again = bed.engine.call("TransactWriteItems".into(), transaction.to_string().into_bytes()).await;
    assert_eq!(again.unwrap().0, 200);
    assert_eq!(recorded(&bed).await.len(), 4, "a token takes effect once");
}

#[tokio::test]
async fn a_refused_write_leaves_the_rest_of_its_group_alone() {
    let bed = Unfollowed::new();
    let mut taken = put(0, "second");
    taken.1["ConditionExpression"] = json!("attribute_not_exists(pk)");
    // The first action would succeed, and leaves nothing behind.
    let cancelled = json!({"TransactItems": [
        {"Put": {"TableName": TABLE, "Item": put(1, "cancelled").1["Item"]}},
        {"Put": {"TableName": TABLE, "Item": put(0, "cancelled").1["Item"],
                 "ConditionExpression": "attribute_not_exists(pk)"}},
    ]});
    let calls = vec![put(0, "first"), taken, ("TransactWriteItems", cancelled), put(2, "first"), get(0)];
    let answers = together(&bed.engine, |_| {}, calls).await;
    assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), [200, 400, 400, 200, 200]);
    assert_eq!(answers[4].1["Item"]["text"]["S"], "first");
    let first = || Some("first".to_owned());
    assert_eq!(texts(&bed.engine, 3).await, [first(), None, first()]);
    let wanted = [0, 2].map(|person| (format!("USER#person-{person}"), "first".to_owned()));
    assert_eq!(recorded(&bed).await, wanted);
}

/// SQLite may roll the whole transaction back when it finds no room.
#[tokio::test]
async fn a_full_database_stores_exactly_what_it_has_acknowledged() {
    let bed = Unfollowed::new();
    let long = "x".repeat(3000);
    let mut refused = 0;
    for room_for in 0..24_i64 {
        let fill = move |database: &Database| {
            let connection = database.connection();
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            connection.pragma_update(None, "max_page_count", pages + room_for).unwrap();
        };
        let calls = (0..GROUP_MAX).map(|person| put(person, &format!("{room_for} {long}"))).collect();
        let before = texts(&bed.engine, GROUP_MAX).await;
        let answers = together(&bed.engine, fill, calls).await;
        let after = texts(&bed.engine, GROUP_MAX).await;
        for (person, answer) in answers.iter().enumerate() {
            if answer.0 == 200 {
                assert_eq!(after[person], Some(format!("{room_for} {long}")));
            } else {
                assert!(is_retryable(answer), "{answer:?}");
                assert_eq!(after[person], before[person]);
                refused += 1;
            }
        }
        bed.engine
            .work(|database| database.connection().pragma_update(None, "max_page_count", 1 << 30).unwrap())
            .await
            .unwrap();
        let stored = answers.iter().enumerate().filter(|(_, answer)| answer.0 == 200);
        let wanted: Vec<_> =
            stored.map(|(person, _)| (format!("USER#person-{person}"), format!("{room_for} {long}"))).collect();
        assert_eq!(recorded(&bed).await, wanted);
        if let Some(batch) = bed.next().await {
            bed.remove(&batch).await;
        }
    }
    assert!(refused > 0, "the database was never full");
}

/// SQLite itself would copy it in the middle of somebody's write.
#[tokio::test]
async fn the_log_is_copied_into_the_database_while_a_runner_writes() {
    let data = TempDir::new().unwrap();
    let place = Location::Directory { path: data.path().to_owned(), durable: false };
    let config = Config::of_runner(|_| None).unwrap();
    let store = storage::open(&place, &Template::parse(TEMPLATE).unwrap(), &config).unwrap();
    let (engine, thread) = Engine::start(store.database).unwrap();
    let itself = "PRAGMA wal_autocheckpoint";
    let pages = engine.work(|database| database.connection().query_row(itself, [], |row| row.get::<_, i64>(0)));
    assert_eq!(pages.await.unwrap().unwrap(), 0);
    let file = data.path().join("greenroom.db");
    let before = std::fs::metadata(&file).unwrap().len();
    let deadline = Instant::now() + PATIENCE;
    for person in 0.. {
        let (operation, body) = put(person % 1000, &"x".repeat(1000));
        let answer = engine.call(operation.into(), body.to_string().into_bytes()).await.unwrap();
        assert_eq!(answer.0, 200);
        if std::fs::metadata(&file).unwrap().len() > before {
            break;
        }
        assert!(Instant::now() < deadline, "nothing was copied");
    }
    drop(engine);
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    let log = std::fs::metadata(data.path().join("greenroom.db-wal"));
    assert!(log.is_err(), "the last connection to be closed is the engine's, and removes the log");
}

/// A few commits of large items are many pages.
#[tokio::test]
async fn checkpoints_follow_the_size_of_the_log() {
    const ITEMS: usize = 100;
    let data = TempDir::new().unwrap();
    let place = Location::Directory { path: data.path().to_owned(), durable: false };
    let config = Config::of_runner(|_| None).unwrap();
    let store = storage::open(&place, &Template::parse(TEMPLATE).unwrap(), &config).unwrap();
    let (engine, _thread) = Engine::start(store.database).unwrap();
    for _ in 0..ITEMS {
        let (operation, body) = put(7, &"x".repeat(300_000));
        let answer = engine.call(operation.into(), body.to_string().into_bytes()).await.unwrap();
        assert_eq!(answer.0, 200);
    }
    // The same pages of the log are used again once they are copied.
    let deadline = Instant::now() + PATIENCE;
    while std::fs::metadata(data.path().join("greenroom.db")).unwrap().len() < 300_000 {
        assert!(Instant::now() < deadline, "nothing was copied");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// The disk refuses to take more, as if it were full, and then takes more again.
#[test]
fn a_runner_whose_disk_is_full_acknowledges_nothing_and_goes_on_when_there_is_room() {
    const PEOPLE: usize = 24;
    let data = TempDir::new().unwrap();
    let place = data.path().to_str().unwrap();
    let runner = Runner::with_failing_writes(&["--data-dir", place]);
    let limit = |bytes| {
        let pid = Pid::from_raw(runner.pid().try_into().unwrap());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    };
    let state = |muted: bool| json!({"isMuted": muted, "roomId": "demo"});
    let path = |person: usize| format!("/api/users/person-{person}/state");
    for person in 0..PEOPLE {
        assert_eq!(runner.post(&path(person), state(false)).status, 201);
    }
    audit_of(&runner, "demo", PEOPLE);
    let log = std::fs::metadata(data.path().join("greenroom.db-wal")).unwrap().len();
    limit(Some(log));
    let statuses = || -> Vec<u16> {
        let post = |person| runner.post(&path(person), state(true)).status;
        std::thread::scope(|scope| {
            let post = &post;
            let posts: Vec<_> = (0..PEOPLE).map(|person| scope.spawn(move || post(person))).collect();
            posts.into_iter().map(|post| post.join().unwrap()).collect()
        })
    };
    assert_eq!(statuses(), [503; PEOPLE]);
    for person in 0..PEOPLE {
        assert_eq!(runner.get(&format!("/api/users/person-{person}")).json()["isMuted"], false);
    }
    limit(None);
    assert_eq!(statuses(), [200; PEOPLE]);
    audit_of(&runner, "demo", 2 * PEOPLE);
    runner.kill();

    let runner = Runner::start(&["--data-dir", place]);
    for person in 0..PEOPLE {
        assert_eq!(runner.get(&format!("/api/users/person-{person}")).json()["isMuted"], true);
    }
    let versions = audit_of(&runner, "demo", 2 * PEOPLE).into_iter().map(|entry| entry.data["version"].clone());
    let mut versions: Vec<_> = versions.map(|version| version.as_u64().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, [[1; PEOPLE], [2; PEOPLE]].concat());
}
