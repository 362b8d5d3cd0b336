//! Measures how long it takes to create a room and to join one, at a release runner that keeps its data on disk.
//!
//! `cargo bench -p tests --bench rooms`. With a password the runner hashes it (Argon2id, 19 MiB). A limit allows ten rooms
//! and fifty joins an address, so each group of calls comes from an address of its own in the loopback network.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use http::{Connection, Server, to_bytes};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[path = "../api/support/binaries.rs"]
#[expect(dead_code, reason = "this benchmark uses a part of the tests' support code")]
mod binaries;
mod http;
#[expect(dead_code, reason = "this benchmark uses a part of it")]
mod proc;

const ROOMS_AN_ADDRESS: usize = 10;
/// All groups together fit into a room of a thousand.
const JOINS_AN_ADDRESS: usize = 40;
/// Clients that call at once, in the second half.
const CLIENTS: usize = 4;
/// Groups of calls in a row of the table.
const GROUPS: usize = 20;

fn main() {
    if !proc::is_bench() {
        return;
    }
    let server = Server::start();
    let host = server.url.trim_start_matches("http://").to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("Milliseconds of a call to a warm runner.\n");
    println!("{:<34}{:>9}{:>9}{:>9}{:>9}", "", "calls", "p50", "p95", "p99");
    runtime.block_on(async {
        let mut addresses = 1..;
        for clients in [1, CLIENTS] {
            for password in [None, Some("correct horse")] {
                let secret = password.map_or(String::new(), |password| format!(r#","password":"{password}""#));
                let with = if password.is_some() { ", password" } else { "" };
                let create = to_bytes(
                    &host,
                    "POST",
                    "/api/rooms",
                    &format!(r#"{{"title":"Weekly","presenterName":"Ada","maxParticipants":1000{secret}}}"#),
                );
                let times = measure(&host, clients, ROOMS_AN_ADDRESS, &create, &mut addresses).await;
                row(&format!("create{with}, {clients} at once"), times);
                let id = created(&host, &create, &mut addresses).await;
                let join = to_bytes(
                    &host,
                    "POST",
                    &format!("/api/rooms/{id}/join"),
                    &format!(r#"{{"name":"Grace"{secret}}}"#),
                );
                let times = measure(&host, clients, JOINS_AN_ADDRESS, &join, &mut addresses).await;
                row(&format!("join{with}, {clients} at once"), times);
            }
        }
    });
}

/// Sends the request so many times from each of so many addresses as there are groups, by so many clients at once.
async fn measure(
    host: &str,
    clients: usize,
    times_an_address: usize,
    request: &[u8],
    addresses: &mut impl Iterator<Item = u32>,
) -> Vec<Duration> {
    let tasks = (0..clients).map(|_| {
        let own: Vec<_> = addresses.by_ref().take(GROUPS / clients).collect();
        let (host, request) = (host.to_owned(), request.to_vec());
        tokio::spawn(async move {
            let mut times = Vec::new();
            for address in own {
                let mut connection = Connection::open(&host, loopback(address)).await;
                for _ in 0..times_an_address {
                    let begun = Instant::now();
                    connection.send(&request).await;
                    times.push(begun.elapsed());
                }
            }
            times
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times
}

/// Creates a room, and returns its id.
async fn created(host: &str, create: &[u8], addresses: &mut impl Iterator<Item = u32>) -> String {
    let mut connection = Connection::open(host, loopback(addresses.next().unwrap())).await;
    let answer = String::from_utf8(connection.send(create).await.to_vec()).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["roomId"].as_str().unwrap().to_owned()
}

fn loopback(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn row(name: &str, mut times: Vec<Duration>) {
    let count = times.len();
    let [p50, p95, p99] = [50, 95, 99].map(|percent| proc::percentile(&mut times, percent).as_secs_f64() * 1e3);
    println!("{name:<34}{count:>9}{p50:>9.2}{p95:>9.2}{p99:>9.2}");
}
