//! `greenroom restore` and `greenroom drill`, used on the command line.

use crate::support::archive::{Archive, lines};
use crate::support::history::{audit, audit_of};
use crate::support::process::Process;
use crate::support::{Runner, binary};
use local::objects::{BUCKET, Directory};
use serde_json::{Value, json};
use snapshot::objects::Objects;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const ID: &str = "2026-11-21-03-00-00";

/// The exit code, standard output and standard error.
fn greenroom(args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(binary("greenroom"));
    let output = command.args(args).env_clear().envs(env.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

struct Location {
    directory: TempDir,
}

impl Location {
    /// A directory of snapshots with this one.
    fn with(archive: &Archive) -> Self {
        let place = Self { directory: TempDir::new().unwrap() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = Directory::open(&place.path("snapshots"), Duration::ZERO).unwrap();
            archive.store(&Objects::new(directory.client(), BUCKET)).await;
        });
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn restore(&self, what: &[&str], data: &str) -> (i32, String, String) {
        let (data, snapshots) = (self.text(data), self.text("snapshots"));
        greenroom(&[&["restore"], what, &["--data-dir", &data, "--snapshot-dir", &snapshots]].concat(), &[])
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.path(&format!("snapshots/{BUCKET}/database-backups/audio-states-{ID}.{ending}"))
    }
}

fn archive() -> Archive {
    Archive::new(ID, lines(2, 3, 20))
}

fn start(data: &Path) -> Runner {
    Runner::start(&["--data-dir", data.to_str().unwrap(), "--dynamodb-port", "0"])
}

/// Starts a runner that must refuse: returns its exit code and its output.
fn refused(data: &Path) -> (i32, String) {
    let mut command = Command::new(binary("greenroom"));
    Process::start(command.args(["--port", "0", "--data-dir"]).arg(data), &[]).wait()
}

fn users(runner: &Runner) -> Vec<Value> {
    let mut items = runner.get("/api/users?limit=200").json()["items"].as_array().unwrap().clone();
    items.sort_by_key(|user| user["userId"].to_string());
    items
}

#[test]
fn a_runner_on_restored_data_serves_the_same_as_before() {
    let place = TempDir::new().unwrap();
    let [old, new] = ["old", "new"].map(|name| place.path().join(name));
    let mut runner = start(&old);
    for n in 0..30 {
        let body = json!({"isMuted": n % 2 == 0, "deviceId": format!("d-{n}"), "roomId": "demo"});
        assert_eq!(runner.post(&format!("/api/users/user-{n:02}/state"), body).status, 201);
    }
    let before = users(&runner);
    let history = audit_of(&runner, "demo", 30);
    let (code, said, errors) = greenroom(&["snapshot", "--data-dir", old.to_str().unwrap()], &[]);
    assert_eq!(code, 0, "{said}{errors}");
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);

    let snapshots = old.join("snapshots");
    let args = ["--data-dir", new.to_str().unwrap(), "--snapshot-dir", snapshots.to_str().unwrap()];
    let (code, said, errors) = greenroom(&[&["restore"], args.as_slice()].concat(), &[]);
    assert_eq!(code, 0, "{errors}");
    assert!(said.starts_with("snapshot ") && said.contains("is restored: "), "{said}");
    let runner = start(&new);
    assert_eq!(users(&runner), before);
    // Everybody joins again: the history continues after its last entry with the current state of the room.
    let (entries, head) = {
        audit_of(&runner, "demo", 60);
        audit(&runner, "demo")
    };
    assert_eq!(entries[..30], history[..]);
    assert!(entries[30..].iter().all(|entry| entry.action == "joined") && head.seq == 60, "{entries:#?}");
    assert_eq!(domain::ledger::verify(&entries, Some(&head)), Ok(head));
    // After that, the history grows as usual.
    assert_eq!(runner.patch("/api/users/user-01/mute", json!({"isMuted": true})).status, 200);
    assert_eq!(audit_of(&runner, "demo", 61)[60].action, "mute_changed");
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let place = Location::with(&archive());
    let (code, said, errors) = place.restore(&[ID], "new");
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains(ID) && said.contains("30 items"), "{said}");

    let (code, _, errors) = place.restore(&["newest"], "other");
    assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");

    let (code, _, errors) = place.restore(&["latest"], "new");
    assert_eq!(code, 3, "{errors}");
    assert!(errors.contains("is not empty"), "{errors}");

    let (code, _, errors) = place.restore(&["2026-01-01-00-00-00"], "other");
    assert_eq!(code, 4, "{errors}");
    let object = std::fs::read(place.file("jsonl.gz")).unwrap();
    std::fs::write(place.file("jsonl.gz"), &object[..object.len() - 9]).unwrap();
    let (code, _, errors) = place.restore(&["latest"], "other");
    assert_eq!((code, errors.lines().count()), (4, 1), "{errors}");
    std::fs::write(place.file("jsonl.gz"), &object).unwrap();

    let manifest = std::fs::read_to_string(place.file("manifest.json")).unwrap();
    std::fs::write(place.file("manifest.json"), manifest.replace("\"schema\":1", "\"schema\":3")).unwrap();
    let (code, _, errors) = place.restore(&["latest"], "other");
    assert_eq!(code, 5, "{errors}");
    assert!(errors.contains("schema 3") && errors.contains("schema 2"), "it names both: {errors}");
    std::fs::write(place.file("manifest.json"), manifest).unwrap();
    assert!(!place.path("other").exists(), "what a refused restore made is gone");

    let nowhere = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
    ];
    let (code, _, errors) = greenroom(&["restore", "--aws", "--bucket", "some-bucket"], &nowhere);
    assert_eq!(code, 6, "{errors}");

    let mut runner = start(&place.path("new"));
    let (code, _, errors) = place.restore(&["latest"], "new");
    assert_eq!(code, 7, "{errors}");
    assert!(errors.contains(&format!("process {}", runner.pid())), "{errors}");

    // A progress that no version has written.
    let lease = json!({"pk": {"S": "LEASE#restore"}, "sk": {"S": "LEASE"}, "progress": {"S": "{}"}});
    let body = json!({"TableName": "greenroom-state", "Item": lease}).to_string();
    let put = ureq::post(runner.dynamodb.as_ref().unwrap()).header("x-amz-target", "DynamoDB_20120810.PutItem");
    put.send(&body).unwrap();
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
    let (code, _, errors) = place.restore(&["latest"], "new");
    assert_eq!(code, 1, "{errors}");
}

/// The newest snapshot as an interrupted copy leaves it.
#[test]
fn the_list_shows_which_snapshot_is_the_latest() {
    let place = Location::with(&Archive::new("2026-11-20-03-00-00", lines(1, 2, 3)));
    let snapshots = place.text("snapshots");
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = Directory::open(&place.path("snapshots"), Duration::ZERO).unwrap();
        runtime.block_on(archive().store_manifest(&Objects::new(directory.client(), BUCKET)));
    }
    let (code, listed, _) = greenroom(&["snapshot", "--list", "--snapshot-dir", &snapshots], &[]);
    let [older, newest] = listed.lines().collect::<Vec<_>>()[..] else { panic!("{listed}") };
    assert!(code == 0 && !older.contains("no snapshot"), "{older}");
    assert!(newest.starts_with(ID) && newest.ends_with("jsonl.gz is missing"), "{newest}");
    let (code, said, errors) = place.restore(&["latest"], "new");
    assert!(code == 0 && said.contains("snapshot 2026-11-20-03-00-00 is restored"), "{said}{errors}");
    let (code, said, errors) =
        greenroom(&["drill", "--data-dir", &place.text("new"), "--snapshot-dir", &snapshots], &[]);
    assert!(code == 0 && said.contains("snapshot 2026-11-20-03-00-00 can be restored"), "{said}{errors}");
    let (code, _, errors) = place.restore(&[ID], "other");
    assert!(code == 4 && errors.contains("jsonl.gz"), "{errors}");
}

#[test]
fn no_runner_serves_a_killed_restore_and_the_same_command_finishes_it() {
    let place = Location::with(&Archive::new(ID, lines(50, 60, 3000)));
    let whole = place.restore(&["latest"], "whole");
    assert_eq!(whole.0, 0, "{}", whole.2);
    let (data, snapshots) = (place.text("killed"), place.text("snapshots"));
    let mut interrupted = 0;
    for kill in 1..=5 {
        if !killed_while_writing(&["restore", "--data-dir", &data, "--snapshot-dir", &snapshots], kill * 20) {
            break;
        }
        interrupted += 1;
        let (code, said) = refused(&place.path("killed"));
        assert_eq!((code, said.lines().count()), (4, 1), "{said}");
        assert!(said.contains(&format!("greenroom restore {ID} --data-dir {data}")), "{said}");
        let (code, said, errors) = greenroom(&["snapshot", "--data-dir", &data], &[]);
        assert_eq!(code, 4, "nobody takes half a snapshot for the newest: {said}{errors}");
    }
    assert!(interrupted > 1, "{interrupted} kills met a restore at work");
    let (code, said, errors) = place.restore(&["latest"], "killed");
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("by a run before"), "{said}");
    let [one, other] = ["whole", "killed"].map(|name| start(&place.path(name)));
    assert_eq!(users(&one), users(&other));
    for room in ["room-0", "room-49"] {
        assert_eq!(audit_of(&one, room, 60)[..60], audit_of(&other, room, 60)[..60]);
    }
}

/// Runs a restore and kills it this many milliseconds after its first lines are written. `false`: it had already
/// finished.
fn killed_while_writing(args: &[&str], after_ms: u64) -> bool {
    let mut command = Command::new(binary("greenroom"));
    let mut child = command.args(args).env_clear().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let writing = lines.any(|line| line.unwrap().ends_with("items written"));
    assert!(writing, "it wrote nothing");
    std::thread::sleep(Duration::from_millis(after_ms));
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[test]
fn a_half_restored_directory_is_refused_with_the_command_that_finishes_it() {
    let place = Location::with(&archive());
    assert_eq!(place.restore(&["latest"], "new").0, 0);
    let mut runner = start(&place.path("new"));
    let line_sha256 = archive().manifest["object"]["lineSha256"].clone();
    let progress = json!({"snapshot": ID, "lineSha256": line_sha256, "lines": 7, "keepAgents": false});
    let lease = json!({"pk": {"S": "LEASE#restore"}, "sk": {"S": "LEASE"}, "progress": {"S": progress.to_string()}});
    let body = json!({"TableName": "greenroom-state", "Item": lease}).to_string();
    let put = ureq::post(runner.dynamodb.as_ref().unwrap()).header("x-amz-target", "DynamoDB_20120810.PutItem");
    put.send(&body).unwrap();
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
    let (code, said) = refused(&place.path("new"));
    assert_eq!((code, said.lines().count()), (4, 1), "{said}");
    assert!(said.contains(&format!("greenroom restore {ID} --data-dir {}", place.text("new"))), "{said}");
    let (code, said, errors) = place.restore(&[ID], "new");
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("7 of them by a run before"), "{said}");
    assert_eq!(users(&start(&place.path("new"))).len(), 20);
}

#[test]
fn a_restore_that_was_begun_with_agents_is_finished_with_them() {
    let place = Location::with(&archive());
    assert_eq!(place.restore(&["latest"], "new").0, 0);
    let line_sha256 = archive().manifest["object"]["lineSha256"].clone();
    // Versions without the option stored no choice, and kept the agents.
    for kept in [json!({}), json!({"keepAgents": true})] {
        let mut runner = start(&place.path("new"));
        let mut progress = json!({"snapshot": ID, "lineSha256": line_sha256, "lines": 7});
        progress.as_object_mut().unwrap().extend(kept.as_object().unwrap().clone());
        let lease =
            json!({"pk": {"S": "LEASE#restore"}, "sk": {"S": "LEASE"}, "progress": {"S": progress.to_string()}});
        let body = json!({"TableName": "greenroom-state", "Item": lease}).to_string();
        let put = ureq::post(runner.dynamodb.as_ref().unwrap()).header("x-amz-target", "DynamoDB_20120810.PutItem");
        put.send(&body).unwrap();
        runner.signal("TERM");
        assert_eq!(runner.wait().0, 0);
        let (_, said) = refused(&place.path("new"));
        assert!(said.contains(&format!("greenroom restore {ID} --keep-agents --data-dir ")), "{said}");
        let (code, _, errors) = place.restore(&["latest"], "new");
        assert!(code == 3 && errors.contains("was begun with --keep-agents"), "{errors}");
        let (code, said, errors) = place.restore(&["latest", "--keep-agents"], "new");
        assert!(code == 0 && said.contains("agents are as they were"), "{errors}");
    }
}

#[test]
fn a_drill_works_with_and_without_a_runner_and_disturbs_neither() {
    let place = Location::with(&archive());
    assert_eq!(place.restore(&["latest"], "new").0, 0);
    let (data, snapshots) = (place.text("new"), place.text("snapshots"));
    let args = ["drill", "--data-dir", &data, "--snapshot-dir", &snapshots];
    let (code, said, errors) = greenroom(&args, &[]);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains(&format!("snapshot {ID} can be restored: 30 items and 2 rooms")), "{said}");

    let runner = start(&place.path("new"));
    // Ten people in each room join it again after the restore.
    let before = [audit_of(&runner, "room-0", 13), audit_of(&runner, "room-1", 13)];
    let (code, _, errors) = greenroom(&args, &[]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(users(&runner).len(), 20);
    assert_eq!(runner.patch("/api/users/user-00001/mute", json!({"isMuted": true})).status, 200);
    assert_eq!(audit_of(&runner, "room-1", 14)[..13], before[1]);
    assert_eq!(audit(&runner, "room-0").0, before[0]);
}
