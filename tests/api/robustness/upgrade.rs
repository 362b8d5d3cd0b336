//! Data of the version before histories had blocks: a data directory and a snapshot, as that version wrote them. Both
//! hold the same two rooms.

use crate::support::history::{audit, audit_of};
use crate::support::process::Process;
use crate::support::{Runner, binary, root};
use domain::ledger::Entry;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The last entry of `demo` in the stored data.
const LAST: (u64, &str) = (38, "a80ce93a9ea7df9157948ae3e0ecc628147c83b0f2f1ab679590282cfbb3ac91");

fn golden() -> PathBuf {
    root().join("tests/golden/data-1")
}

/// A data directory as the older version left it.
fn unpacked() -> TempDir {
    let data = TempDir::new().unwrap();
    let packed = std::fs::read(golden().join("greenroom.db.gz")).unwrap();
    let mut database = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut database).unwrap();
    std::fs::write(data.path().join("greenroom.db"), database).unwrap();
    std::fs::write(data.path().join("layout"), "1").unwrap();
    data
}

fn start(data: &Path) -> Runner {
    Runner::start(&["--data-dir", data.to_str().unwrap()])
}

fn greenroom(args: &[&str], data: &Path, snapshots: &Path) {
    let mut command = Command::new(binary("greenroom"));
    command.args(args).arg("--data-dir").arg(data).arg("--snapshot-dir").arg(snapshots);
    let (code, errors) = Process::start(&mut command, &[]).wait();
    assert_eq!(code, 0, "{args:?}: {errors}");
}

fn stop(mut runner: Runner) {
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
}

fn words(entries: &[Entry]) -> Vec<(&str, &Value)> {
    entries.iter().map(|entry| (entry.action.as_str(), &entry.data["userId"])).collect()
}

/// Changes of people whom only the older version knew, and of one whom it did not know.
fn change(runner: &Runner) {
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": false})).status, 200);
    assert_eq!(runner.post("/api/users/new/state", json!({"isMuted": true, "roomId": "demo"})).status, 201);
    assert_eq!(runner.post("/api/users/guest/state", json!({"isMuted": true, "roomId": "demo"})).status, 201);
    assert_eq!(runner.post("/api/users/eve/state", json!({"isMuted": true, "roomId": "other"})).status, 200);
}

const CHANGES: [(&str, &str); 4] = [("mute_changed", "ada"), ("joined", "new"), ("joined", "guest"), ("left", "eve")];

fn assert_older(entries: &[Entry]) {
    let last = &entries[entries.len() - 1];
    assert_eq!((last.seq, last.hash.to_string().as_str()), LAST);
}

/// `audit` verifies the whole chain, across the change of form, each time.
#[test]
fn a_directory_of_the_older_version_goes_on_and_can_be_saved_and_restored() {
    let (data, place) = (unpacked(), TempDir::new().unwrap());
    let (snapshots, restored) = (place.path().join("snapshots"), place.path().join("restored"));
    let runner = start(data.path());
    assert_eq!(std::fs::read_to_string(data.path().join("layout")).unwrap(), "2", "the older version refuses it now");
    assert_older(&audit(&runner, "demo").0);
    change(&runner);
    let entries = audit_of(&runner, "demo", 42);
    assert_older(&entries[..38]);
    let expected = CHANGES.map(|(action, user)| (action, json!(user)));
    assert_eq!(words(&entries[38..]), expected.iter().map(|(action, user)| (*action, user)).collect::<Vec<_>>());
    stop(runner);

    // The next process reads the blocks.
    let runner = start(data.path());
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": true})).status, 200);
    let entries = audit_of(&runner, "demo", 43);
    assert_eq!(entries[42].action, "mute_changed");
    assert_eq!(words(&audit_of(&runner, "other", 3)).len(), 3);
    stop(runner);

    greenroom(&["snapshot"], data.path(), &snapshots);
    greenroom(&["drill"], data.path(), &snapshots);
    greenroom(&["restore", "latest"], &restored, &snapshots);
    let runner = start(&restored);
    let after = audit_of(&runner, "demo", 43);
    assert_eq!(after[..43], entries);
    stop(runner);
}

#[test]
fn a_snapshot_of_the_older_version_is_restored_and_goes_on() {
    let place = TempDir::new().unwrap();
    let (snapshots, data) = (place.path().join("snapshots"), place.path().join("data"));
    let objects = snapshots.join(local::objects::BUCKET).join("database-backups");
    std::fs::create_dir_all(&objects).unwrap();
    for file in std::fs::read_dir(golden().join("snapshots")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), objects.join(file.file_name())).unwrap();
    }
    greenroom(&["restore", "latest"], &data, &snapshots);
    let runner = start(&data);
    // Three people join their rooms again: the restored table is a new one.
    let entries = audit_of(&runner, "demo", 41);
    assert_older(&entries[..38]);
    assert!(entries[38..].iter().all(|entry| entry.action == "joined"), "{:?}", words(&entries[38..]));
    change(&runner);
    let entries = audit_of(&runner, "demo", 45);
    assert_eq!(
        entries[41..].iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(),
        CHANGES.map(|(action, _)| action)
    );
    stop(runner);
}
