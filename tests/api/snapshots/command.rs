//! `greenroom snapshot` with and without a runner, when it is killed, and when it is refused.

use crate::support::{Ends, Runner, binary};
use local::objects::{BUCKET, Directory};
use serde_json::{Value, json};
use snapshot::format::SnapshotId;
use snapshot::keep::snapshots;
use snapshot::objects::Objects;
use snapshot::verify::{Snapshot, manifest};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

fn command(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(binary("greenroom"));
    command.env_clear().arg("snapshot").arg("--data-dir").arg(data).args(more);
    command
}

fn run(data: &Path, more: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command(data, more).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn start(data: &Path) -> Runner {
    Runner::start(&["--data-dir", data.to_str().unwrap()])
}

fn fill(runner: &Runner, people: usize) {
    for number in 0..people {
        let body = json!({"isMuted": true, "roomId": format!("room-{}", number % 3)});
        assert_eq!(runner.post(&format!("/api/users/user-{number:03}/state"), body).status, 201);
    }
}

fn stop(mut runner: Runner) {
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
}

/// The good snapshots, each read to its end: their items of the state table by key.
fn good(data: &Path) -> Vec<(SnapshotId, BTreeMap<String, Value>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = Directory::open(&data.join("snapshots"), Duration::from_secs(10)).unwrap();
    let objects = Objects::new(directory.client(), BUCKET);
    runtime.block_on(async {
        let mut found = Vec::new();
        for id in snapshots(&objects).await.unwrap() {
            let manifest = manifest(&objects, &id).await.unwrap();
            let mut snapshot = Snapshot::open(&objects, manifest).await.unwrap();
            let mut items = BTreeMap::new();
            while let Some(line) = snapshot.next().await.unwrap() {
                let mut text = Vec::new();
                snapshot::format::write_line(&mut text, line.table, &line.item).unwrap();
                let text: Value = serde_json::from_slice(&text).unwrap();
                if text["table"] == "state" {
                    items.insert(text["item"]["pk"]["S"].as_str().unwrap().to_owned(), text["item"].clone());
                }
            }
            found.push((id, items));
        }
        found
    })
}

#[test]
fn a_snapshot_is_taken_beside_a_runner_and_without_one() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    let runner = start(data);
    fill(&runner, 12);
    let (code, text) = run(data, &[]);
    assert!(code == 0 && text.contains("is taken and verified\n12 items of users and agents"), "{code} {text}");
    stop(runner);
    let (code, text) = run(data, &[]);
    assert!(code == 0 && text.contains("12 items of users and agents"), "{code} {text}");
    assert_eq!(good(data).iter().map(|(_, items)| items.len()).collect::<Vec<_>>(), [12, 12]);
    let (code, listed) = run(data, &["--list"]);
    assert!(code == 0 && listed.lines().count() == 2 && listed.contains(" bytes"), "{listed}");
    // The command closed the directory in order; otherwise the next start would refuse it.
    stop(start(data));
}

#[test]
fn a_snapshot_that_is_taken_under_load_is_whole() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    let runner = start(data);
    fill(&runner, 40);
    let versions = |runner: &Runner| -> BTreeMap<String, u64> {
        let list = runner.get("/api/users?limit=200").json();
        let users = list["items"].as_array().unwrap().iter();
        users.map(|user| (user["userId"].as_str().unwrap().to_owned(), user["version"].as_u64().unwrap())).collect()
    };
    for _ in 0..3 {
        let before = versions(&runner);
        let stopped = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends = Ends(&stopped);
            for writer in 0..4 {
                let (runner, stopped) = (&runner, &stopped);
                scope.spawn(move || {
                    let mut number = writer;
                    while !stopped.load(Ordering::Acquire) {
                        let path = format!("/api/users/user-{:03}/mute", number % 40);
                        let body = json!({"isMuted": number % 2 == 0});
                        assert_eq!(runner.patch(&path, body).status, 200);
                        number += 7;
                    }
                });
            }
            let (code, text) = run(data, &[]);
            assert_eq!(code, 0, "{text}");
        });
        let after = versions(&runner);
        let all = good(data);
        let (id, items) = all.last().unwrap();
        assert_eq!(items.len(), 40, "{id}");
        for (user, before) in before {
            let version: u64 = items[&format!("USER#{user}")]["version"]["N"].as_str().unwrap().parse().unwrap();
            assert!((before..=after[&user]).contains(&version), "{id}: {user} has version {version}");
        }
    }
}

#[test]
fn a_killed_command_leaves_no_incomplete_snapshot() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    let runner = start(data);
    fill(&runner, 60);
    let kills = || {
        for kill in 0..8_u64 {
            let mut process = command(data, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_millis(15 + 20 * kill));
            // The command may already have finished.
            let _ = process.kill();
            process.wait().unwrap();
            for (id, items) in good(data) {
                assert_eq!(items.len(), 60, "{id}");
            }
        }
        // A lease that the killed command held does not block the next one, because only one process can use the
        // directory.
        let before = good(data).len();
        let (code, text) = run(data, &[]);
        assert_eq!((code, good(data).len()), (0, before + 1), "{text}");
    };
    kills();
    stop(runner);
    kills();
}

#[test]
fn killing_the_runner_fails_only_the_command() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    for number in 0..4 {
        let runner = start(data);
        if number == 0 {
            fill(&runner, 60);
        }
        let process = command(data, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(10 + 25 * number));
        runner.kill();
        let code = process.wait_with_output().unwrap().status.code().unwrap();
        assert!([0, 6, 7].contains(&code), "{code}");
        let before = good(data).len();
        // The socket that the killed runner left behind is not in use.
        let (code, text) = run(data, &[]);
        assert_eq!((code, good(data).len()), (0, before + 1), "{text}");
    }
}

#[test]
fn each_cause_of_failure_has_its_own_exit_code() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let (code, text) = run(&data, &[]);
    assert!(code == 6 && text.contains("there is no data directory"), "{code} {text}");
    assert!(!data.exists(), "a command makes no data directory");
    assert_eq!(run(&data, &["--list"]), (0, "no snapshots\n".to_owned()));
    stop(start(&data));
    for wrong in [&["--bucket", "b"][..], &["--everything"], &["--aws"]] {
        assert_eq!(run(&data, wrong).0, 2, "{wrong:?}");
    }
    let output = command(&data, &[]).env("SNAPSHOT_COMPRESSION", "zip").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let held = Directory::open(&data.join("snapshots"), Duration::ZERO).unwrap();
    let (code, text) = run(&data, &[]);
    assert!(code == 7 && text.contains("in use by another process"), "{code} {text}");
    drop(held);
    assert_eq!(run(&data, &[]).0, 0);
}

#[test]
fn only_the_owner_can_open_the_engines_socket_and_it_ends_with_the_runner() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let directory = TempDir::new().unwrap();
    let runner = start(directory.path());
    let socket = directory.path().join(local::socket::NAME);
    let file = std::fs::metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    stop(runner);
    assert!(!socket.exists());
}

#[test]
fn a_runner_takes_the_snapshot_that_it_missed_while_it_was_off() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    let runner = start(data);
    fill(&runner, 3);
    assert!(!data.join("snapshots").exists(), "the first one is taken at three, or by hand");
    stop(runner);
    std::fs::create_dir(data.join("snapshots")).unwrap();
    let runner = start(data);
    let taken = runner.await_log(|line| line["event"] == "snapshot");
    assert_eq!(taken["verified"]["stage"], "local", "{taken}");
    let figures = &runner.get("/api/metrics").json()["snapshots"];
    assert_eq!((&figures["lastOk"], figures["ageHours"].is_number()), (&json!(true), true), "{figures}");
    stop(runner);
    let runner = start(data);
    let again = runner.await_log(|line| line["event"] == "snapshot");
    assert_eq!(again["alreadyDone"], true, "{again}");
    assert_eq!(good(data).len(), 1);
}
