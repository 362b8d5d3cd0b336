//! `greenroom keys`, and tokens across restarts of the runner.

use crate::support::{Runner, binary, refused};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn keys(data: &Path, action: &str) -> (i32, String) {
    let mut command = Command::new(binary("greenroom"));
    let Output { status, stdout, stderr } =
        command.env_clear().args(["keys", action, "--data-dir"]).arg(data).output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn strict(data: &Path) -> Runner {
    Runner::start(&["--auth", "strict", "--data-dir", data.to_str().unwrap()])
}

fn mute(runner: &Runner, id: &str, token: &str) -> crate::support::Reply {
    let headers = [("authorization", format!("Bearer {token}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    runner.send_json("PATCH", &format!("/api/users/{id}/mute"), &headers, json!({"isMuted": true}))
}

#[test]
fn a_token_outlives_restarts_and_one_rotation_of_the_key() {
    let data = TempDir::new().unwrap();
    let runner = strict(data.path());
    let room = runner.post("/api/rooms", json!({"title": "T", "presenterName": "Ada"})).json();
    let (id, token) = (room["participantId"].as_str().unwrap(), room["presenterToken"].as_str().unwrap());
    assert_eq!(mute(&runner, id, token).status, 200);
    runner.kill();
    let runner = strict(data.path());
    assert_eq!(mute(&runner, id, token).status, 200);
    // The command works beside the runner, which uses the new key from its next start.
    assert_eq!(keys(data.path(), "rotate").0, 0);
    assert_eq!(mute(&runner, id, token).status, 200);
    runner.kill();
    let runner = strict(data.path());
    assert_eq!(mute(&runner, id, token).status, 200);
    let joined = runner.post(&format!("/api/rooms/{}/join", room["slug"].as_str().unwrap()), json!({"name": "Grace"}));
    let joined = joined.json();
    let (guest, new) = (joined["participantId"].as_str().unwrap(), joined["token"].as_str().unwrap());
    runner.kill();
    // The key of the first token is the one before the last now.
    assert_eq!(keys(data.path(), "rotate").0, 0);
    let runner = strict(data.path());
    refused(&mute(&runner, id, token), 401, "token_invalid");
    assert_eq!(mute(&runner, guest, new).status, 200);
}

#[test]
fn a_first_key_is_made_once_and_no_secret_is_printed() {
    let data = TempDir::new().unwrap();
    let mut runner = strict(data.path());
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
    let (code, said) = keys(data.path(), "new");
    assert_eq!((code, said.contains("keys rotate")), (3, true), "{said}");
    let (code, said) = keys(data.path(), "rotate");
    assert_eq!(code, 0, "{said}");
    let (code, said) = keys(&data.path().join("nothing"), "new");
    assert_eq!((code, said.contains("no data directory")), (6, true), "{said}");
}

/// What a backup must not hold: names, titles, texts, and the key that signs tokens.
#[test]
fn a_snapshot_holds_no_room_nobody_in_it_and_no_key() {
    let data = TempDir::new().unwrap();
    let runner = Runner::start(&["--data-dir", data.path().to_str().unwrap()]);
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let body = json!({"title": "Zanzibar", "presenterName": "Wilhelmina", "password": "open sesame"});
    let room = runner.post("/api/rooms", body).json();
    let slug = room["slug"].as_str().unwrap();
    let join = json!({"name": "Ottokar", "password": "open sesame"});
    let joined = runner.post(&format!("/api/rooms/{slug}/join"), join);
    assert_eq!(joined.status, 200);
    let message = json!({"message": "Xylophone", "participantId": joined.json()["participantId"]});
    assert_eq!(runner.post(&format!("/api/rooms/{slug}/messages"), message).status, 201);
    let taken = Command::new(binary("greenroom"))
        .env_clear()
        .env("SNAPSHOT_COMPRESSION", "none")
        .args(["snapshot", "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let mut text = String::new();
    let mut directories = vec![data.path().join("snapshots")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                text += &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap());
            }
        }
    }
    assert!(text.contains("USER#ada"), "the snapshot holds what it should");
    for secret in [
        "Zanzibar",
        "zanzibar",
        "Wilhelmina",
        "Ottokar",
        "Xylophone",
        "SIGNING#",
        "argon2",
        "USER#p_",
        "ROOM#",
        "ONCE#",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
}
