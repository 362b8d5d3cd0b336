//! Measures memory and time of `greenroom snapshot`, `restore` and `drill` on directories of different sizes.
//!
//! `cargo bench -p tests --bench snapshot` [-- --items 10000,1000000]. Half of the items are states, half are entries
//! of rooms' histories; they are written directly to the engine, 25 at a time.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::Timestamp;
use domain::ledger::{Entry, Fact, Head, canonical};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[expect(dead_code, reason = "this benchmark uses a part of it")]
mod proc;
#[path = "../api/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "this benchmark uses a part of the tests' support code")]
mod support;

/// Entries of a room.
const ENTRIES: usize = 500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

fn main() {
    if !proc::is_bench() {
        return;
    }
    let arguments: Vec<_> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--items").map(|at| arguments[at + 1].clone());
    let sizes = given.unwrap_or_else(|| "10000,1000000".to_owned());
    println!("| Items | Command | Bytes stored | Time | Memory, most |\n|---|---|---|---|---|");
    for items in sizes.split(',').map(|items| items.parse::<usize>().unwrap()) {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let [old, new, snapshots] = ["old", "new", "snapshots"].map(path);
        fill(&old, items);
        let place = |data: &str| ["--data-dir", data, "--snapshot-dir", &snapshots].map(str::to_owned);
        let mut bytes = String::new();
        for (command, data) in [("snapshot", &old), ("restore", &new), ("drill", &old)] {
            let (took, most, text) = measured(command, &place(data));
            if let Some(found) = text.lines().find_map(|line| line.split_once(" bytes, SHA-256")) {
                found.0.clone_into(&mut bytes);
            }
            println!("| {items} | `{command}` | {bytes} | {:.1} s | {most:.1} MB |", took.as_secs_f64());
        }
    }
}

/// Runs a command. Returns its time, its peak memory in MB, and its standard output.
fn measured(what: &str, place: &[String]) -> (Duration, f64, String) {
    let began = Instant::now();
    let mut command = Command::new(support::binary("greenroom"));
    command.arg(what).args(place).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let mut most = 0.0_f64;
    while process.try_wait().unwrap().is_none() {
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", process.id()))
            && status.contains("VmHWM")
        {
            most = most.max(proc::mib(process.id(), "VmHWM"));
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    let took = began.elapsed();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{what}");
    (took, most, String::from_utf8(output.stdout).unwrap())
}

/// Fills a data directory as a runner would.
fn fill(directory: &str, items: usize) {
    let config = config::Config::of_runner(|_| None).unwrap();
    let place = Location::Directory { path: directory.into(), durable: false };
    let store = storage::open(&place, &Template::parse(TEMPLATE).unwrap(), &config).unwrap();
    store.database.storage().enable_bulk_loading().unwrap();
    // A batch holds items of one table. `None` writes the incomplete last batch.
    let mut batch = Vec::new();
    let mut put = |table: &str, item: Option<Value>| {
        let last = item.is_none();
        batch.extend(item.map(|item| json!({"PutRequest": {"Item": item}})));
        if batch.len() == 25 || (last && !batch.is_empty()) {
            let request = json!({"RequestItems": {table: std::mem::take(&mut batch)}});
            assert_eq!(store.database.call("BatchWriteItem", request.to_string().as_bytes(), false).0, 200);
        }
    };
    for number in 0..items / 2 {
        let room = number % 1000;
        put(
            &config.state_table,
            Some(json!({
                "pk": {"S": format!("USER#user-{number:07}")}, "sk": {"S": "STATE"}, "isMuted": {"BOOL": true},
                "deviceId": {"S": format!("device-{number}")}, "deviceLabel": {"S": "Built-in Microphone"},
                "roomId": {"S": format!("room-{room}")}, "version": {"N": "7"}, "lastUpdated": {"N": "1795257125000"},
                "createdAt": {"N": "1795257125000"}, "expiresAt": {"N": "4102444800"},
            })),
        );
    }
    put(&config.state_table, None);
    for room in 0..items / 2 / ENTRIES {
        let (chain, mut head) = (format!("room:room-{room}"), Head::NONE);
        let key = |sort: String| json!({"pk": {"S": format!("CHAIN#{chain}")}, "sk": {"S": sort}});
        let binary = |hash: &domain::ledger::Hash| json!({"B": BASE64_STANDARD.encode(hash.as_bytes())});
        for number in 1..ENTRIES {
            let fact = Fact::DeviceChanged { user_id: "ada".parse().unwrap(), version: number as u64, device: None };
            let entry = Entry::after(&head, &chain, Timestamp::from_ms(1_795_257_125_000), "user:ada", None, &fact);
            head = entry.head();
            let mut item = key(format!("{:012}", entry.seq));
            item["data"] = json!({"S": canonical(&entry.data.clone().into())});
            for (name, text) in [("at", &entry.at), ("actor", &entry.actor), ("action", &entry.action)] {
                item[name] = json!({"S": text});
            }
            (item["prev"], item["hash"]) = (binary(&entry.prev), binary(&entry.hash));
            put(&config.ledger_table, Some(item));
        }
        let mut last = key("HEAD".to_owned());
        (last["seq"], last["hash"]) = (json!({"N": head.seq.to_string()}), binary(&head.hash));
        put(&config.ledger_table, Some(last));
    }
    put(&config.ledger_table, None);
    store.database.storage().disable_bulk_loading().unwrap();
}
