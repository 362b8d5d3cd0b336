//! A damaged data directory is refused with a reason, or served completely and unaltered.

use super::wire::Wire;
use crate::support::process::Process;
use crate::support::{NAMED, Runner, binary};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const USERS: usize = 200;
const DAMAGES: u64 = 60;
const DATABASE: &str = "greenroom.db";

fn fill(runner: &Runner) {
    for n in 0..USERS {
        let label = format!("Microphone of user {n}");
        let mut body = json!({"isMuted": n % 2 == 0, "deviceId": format!("device-{n}"), "deviceLabel": label});
        if n % 4 > 0 {
            body["roomId"] = format!("room-{}", n % 4).into();
        }
        assert_eq!(runner.post(&format!("/api/users/user-{n:03}/state"), body).status, 201);
    }
}

/// All data that can be read, through the table and through the index.
fn whole(wire: &mut Wire) -> Vec<Value> {
    let paths =
        ["/api/users?limit=200", "/api/rooms/room-1/users", "/api/rooms/room-2/users", "/api/rooms/room-3/users"];
    paths
        .map(|path| {
            wire.request("GET", path, "", "");
            let answer = wire.answer().unwrap();
            if answer.status == 200 { answer.json()["items"].clone() } else { answer.status.into() }
        })
        .to_vec()
}

fn start(place: &Path) -> Runner {
    Runner::start(&["--data-dir", place.to_str().unwrap()])
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The engine's socket is not a regular file.
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Damages a directory in a way that depends only on `n`, and returns a description.
fn damage(place: &Path, n: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(n);
    let file = place.join(DATABASE);
    let mut bytes = fs::read(&file).unwrap();
    let length = bytes.len();
    let said = match n % 12 {
        0..5 => {
            let at = rng.usize(..length);
            bytes[at] ^= 1 << rng.u8(..8);
            format!("a bit flipped at {at} of {length}")
        }
        5 => {
            // Damage that a structural check cannot find: the text of a label.
            let wanted = format!("user {}\"", rng.usize(..USERS));
            let places: Vec<_> =
                bytes.windows(wanted.len()).enumerate().filter(|(_, w)| *w == wanted.as_bytes()).collect();
            let at = places[rng.usize(..places.len())].0;
            bytes[at] ^= 1;
            format!("a letter changed at {at}")
        }
        6 => {
            bytes.truncate(rng.usize(..length));
            format!("cut to {} of {length}", bytes.len())
        }
        7 => {
            bytes.truncate(rng.usize(..length / 4096) * 4096);
            format!("cut to {} whole pages", bytes.len() / 4096)
        }
        8 => {
            let page = rng.usize(..length / 4096) * 4096;
            bytes[page..page + 4096].iter_mut().for_each(|byte| *byte = 0);
            format!("page at {page} zeroed")
        }
        9 => {
            let at = rng.usize(..100);
            bytes[at..at + 4].iter_mut().for_each(|byte| *byte = rng.u8(..));
            format!("header overwritten at {at}")
        }
        10 => {
            bytes = match rng.u8(..3) {
                0 => Vec::new(),
                1 => (0..length).map(|_| rng.u8(..)).collect(),
                _ => b"not a database at all".to_vec(),
            };
            format!("file swapped for {} other bytes", bytes.len())
        }
        _ if rng.bool() => {
            fs::remove_file(&file).unwrap();
            return "file removed".to_owned();
        }
        _ => {
            let garbage: Vec<u8> = (0..rng.usize(1..20_000)).map(|_| rng.u8(..)).collect();
            fs::write(place.join(format!("{DATABASE}-wal")), garbage).unwrap();
            "garbage in the write-ahead log".to_owned()
        }
    };
    fs::write(&file, bytes).unwrap();
    said
}

/// Starts a runner on a damaged directory. `None`: it refused with exit code 4 and one line, as it must. Otherwise all
/// data that it serves.
fn served(place: &Path, said: &str) -> Option<Vec<Value>> {
    let mut command = Command::new(binary("greenroom"));
    let mut process = Process::start(command.args(["--port", "0", "--data-dir"]).arg(place), &[NAMED]);
    let url = loop {
        let log = process.log();
        if let Some(listening) = log.iter().find(|line| line["event"] == "listening") {
            break listening["url"].as_str().unwrap().to_owned();
        }
        if process.has_ended() {
            let (code, line) = process.wait();
            assert_eq!((code, line.lines().count()), (4, 1), "{said}: {line}");
            assert!(line.contains("is damaged (") && !line.contains("panicked"), "{said}: {line}");
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Some(whole(&mut Wire::open(&url)))
}

/// Damages copies of a directory. Returns how many were refused.
fn refusals(original: &Path, before: &[Value], damages: impl Fn(u64) -> bool + Sync) -> usize {
    let next = AtomicU64::new(0);
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let n @ 0..DAMAGES = next.fetch_add(1, Ordering::Relaxed) {
                    if !damages(n) {
                        continue;
                    }
                    let place = TempDir::new().unwrap();
                    copy(original, place.path());
                    let said = damage(place.path(), n);
                    // A second start must not accept a directory that the first start has refused.
                    match [served(place.path(), &said), served(place.path(), &said)] {
                        [None, None] => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        [Some(first), Some(second)] => {
                            assert!(first == before && second == before, "{said}: served, but not as it was");
                        }
                        outcomes => panic!("{said}: {outcomes:?}"),
                    }
                }
            });
        }
    });
    refused.into_inner()
}

#[test]
fn every_damage_to_a_directory_that_was_stopped_in_order_is_refused() {
    let place = TempDir::new().unwrap();
    let mut runner = start(place.path());
    fill(&runner);
    let before = whole(&mut Wire::to(&runner));
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
    assert_eq!(refusals(place.path(), &before, |_| true), 60);
    assert_eq!(served(place.path(), "no damage").unwrap(), before);
}

/// After `kill -9` there is no checksum of the whole file, so only damage to its structure can be found.
#[test]
fn structural_damage_to_a_directory_that_was_killed_is_refused_or_harmless() {
    let place = TempDir::new().unwrap();
    let runner = start(place.path());
    fill(&runner);
    let before = whole(&mut Wire::to(&runner));
    runner.kill();
    refusals(place.path(), &before, |n| n % 12 > 5);
    assert_eq!(served(place.path(), "no damage").unwrap(), before);
}
