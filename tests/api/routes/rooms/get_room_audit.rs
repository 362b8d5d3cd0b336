use crate::support::history::{audit, audit_of};
use crate::support::process::Process;
use crate::support::witness::{engine, join};
use crate::support::{Runner, binary, keys, refused_field};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A room with six entries, each in a block of its own.
fn room() -> Runner {
    let runner = Runner::ephemeral();
    join(&runner, "ada", false);
    audit_of(&runner, "demo", 1);
    for (is_muted, count) in [true, false, true, false, true].into_iter().zip(2..) {
        runner.patch("/api/users/ada/mute", json!({"isMuted": is_muted}));
        audit_of(&runner, "demo", count);
    }
    runner
}

fn export(runner: &Runner, limit: usize) -> Vec<Value> {
    let mut pages = Vec::new();
    loop {
        let page = runner.get(&format!("/api/rooms/demo/audit?limit={limit}&since={}", limit * pages.len())).json();
        assert_eq!(keys(&page), ["entries", "hasMore", "head", "roomId"]);
        pages.push(page);
        if pages.last().unwrap()["hasMore"] == false {
            return pages;
        }
    }
}

fn write(directory: &TempDir, lines: &[Value]) -> std::path::PathBuf {
    let file = directory.path().join("room.jsonl");
    std::fs::write(&file, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    file
}

/// The exit code, and the text on standard error.
fn verify_ledger(file: &Path) -> (i32, String) {
    Process::start(Command::new(binary("greenroom")).arg("verify-ledger").arg(file), &[("PORT", "1")]).wait()
}

#[test]
fn an_audit_verifies_page_by_page() {
    let runner = room();
    let (entries, head) = audit(&runner, "demo");
    assert_eq!((entries.len(), head.seq, entries[0].chain.as_str()), (6, 6, "room:demo"));
    let directory = TempDir::new().unwrap();
    let output = Command::new(binary("greenroom"))
        .arg("verify-ledger")
        .arg(write(&directory, &export(&runner, 4)))
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("6 entries") && said.contains(&head.hash.to_string()), "{said}");
    let single: Vec<_> = export(&runner, 200)[0]["entries"].as_array().unwrap().clone();
    assert_eq!(verify_ledger(&write(&directory, &single)), (0, String::new()), "each entry as a line");
}

#[test]
fn a_change_of_an_export_is_named() {
    let runner = room();
    let directory = TempDir::new().unwrap();
    let whole = export(&runner, 200)[0].clone();
    let done = |change: fn(&mut Vec<Value>)| {
        let mut page = whole.clone();
        change(page["entries"].as_array_mut().unwrap());
        verify_ledger(&write(&directory, &[page]))
    };
    for (change, words) in [
        ((|entries| entries[2]["data"]["isMuted"] = json!(true)) as fn(&mut Vec<Value>), "entry 3 was altered"),
        (|entries| entries[4]["at"] = json!("2026-01-01T00:00:00.000Z"), "entry 5 was altered"),
        (|entries| entries[3]["prev"] = json!("0".repeat(64)), "entry 4 was altered"),
        (|entries| drop(entries.remove(1)), "entry 2 is missing"),
        (|entries| drop(entries.pop()), "entry 6 is missing"),
        (|entries| entries.swap(1, 3), "entry 4 stands where entry 2 belongs"),
        (|entries| entries.insert(3, entries[0].clone()), "entry 1 stands where entry 4 belongs"),
    ] {
        let (code, said) = done(change);
        assert!(code == 4 && said.contains(words) && said.lines().count() == 1, "{words}: {code} {said}");
    }
}

#[test]
fn a_file_that_is_no_export_is_refused_with_the_line_number() {
    let directory = TempDir::new().unwrap();
    let file =
        write(&directory, &[json!({"entries": [], "head": {"seq": 0, "hash": "0".repeat(64)}}), json!({"a": 1})]);
    let (code, said) = verify_ledger(&file);
    assert!(code == 6 && said.contains("line 2"), "{code} {said}");
    assert_eq!(verify_ledger(&directory.path().join("nothing")).0, 6);
}

/// Threat 28: an operator changes a record in the table.
#[test]
fn a_record_that_was_changed_in_the_table_is_named() {
    let runner = room();
    let key = json!({"pk": {"S": "CHAIN#room:demo"}, "sk": {"S": "000000000004"}});
    let block = engine(&runner, "GetItem", &json!({"TableName": "greenroom-ledger", "Key": key}));
    let entries = block["Item"]["entries"]["S"].as_str().unwrap();
    let other = entries.replace("\"actor\":\"open\"", "\"actor\":\"user:eve\"");
    assert_ne!(other, entries);
    let body = json!({
        "TableName": "greenroom-ledger",
        "Key": key,
        "UpdateExpression": "SET entries = :other",
        "ExpressionAttributeValues": {":other": {"S": other}},
    });
    engine(&runner, "UpdateItem", &body);
    let directory = TempDir::new().unwrap();
    let (code, said) = verify_ledger(&write(&directory, &export(&runner, 200)));
    assert!(code == 4 && said.contains("entry 4 was altered"), "{code} {said}");
}

#[test]
fn a_record_that_was_taken_from_the_table_is_named() {
    let runner = room();
    let key = json!({"pk": {"S": "CHAIN#room:demo"}, "sk": {"S": "000000000003"}});
    engine(&runner, "DeleteItem", &json!({"TableName": "greenroom-ledger", "Key": key}));
    let directory = TempDir::new().unwrap();
    let (code, said) = verify_ledger(&write(&directory, &export(&runner, 200)));
    assert!(code == 4 && said.contains("entry 3 is missing"), "{code} {said}");
}

#[test]
fn a_room_in_which_nothing_has_happened_has_an_empty_chain() {
    let page = Runner::ephemeral().get("/api/rooms/demo/audit").json();
    assert_eq!(
        page,
        json!({"roomId": "demo", "entries": [], "head": {"seq": 0, "hash": "0".repeat(64)}, "hasMore": false})
    );
}

#[test]
fn a_malformed_room_or_query_is_400() {
    let runner = Runner::ephemeral();
    refused_field(&runner.get("/api/rooms/a%20b/audit"), "room");
    refused_field(&runner.get("/api/rooms/demo/audit?since=x"), "since");
    refused_field(&runner.get("/api/rooms/demo/audit?limit=0"), "limit");
    refused_field(&runner.get("/api/rooms/demo/audit?more=1"), "query");
}
