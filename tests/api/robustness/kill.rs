//! `kill -9` under load: every acknowledged write is stored, and no write is stored in part.

use super::wire::Wire;
use crate::support::Runner;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROUNDS: u64 = 200;
const LANES: u64 = 2;
const WRITERS: usize = 4;

/// The knowledge of a writer about its own user.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The number of the last acknowledged write, and its version.
    number: u64,
    version: u64,
}

/// Every part of a write contains its number.
fn body(number: u64) -> Value {
    json!({
        "isMuted": number.is_multiple_of(2),
        "deviceId": format!("device-{number}"),
        "deviceLabel": format!("Microphone {number}"),
        "roomId": format!("room-{}", number % 3),
        "seq": number,
    })
}

/// Writes until the connection breaks.
fn write(url: &str, user: &str, mut known: Known) -> Known {
    let Ok(mut wire) = Wire::try_open(url) else { return known };
    loop {
        let number = known.number + 1;
        wire.request("POST", &format!("/api/users/{user}/state"), "", &body(number).to_string());
        let Some(answer) = wire.answer_if_whole() else { return known };
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        let state = answer.json();
        assert_eq!(state["deviceId"], format!("device-{number}"));
        known = Known { number, version: state["version"].as_u64().unwrap() };
    }
}

/// Reads a user after a restart. Its state must be the acknowledged write or the one in flight, completely.
fn check(runner: &Runner, user: &str, known: &Known) -> Known {
    let reply = runner.get(&format!("/api/users/{user}"));
    if reply.status == 404 {
        assert_eq!(known.number, 0, "{user} is lost");
        return Known::default();
    }
    let state = reply.json();
    let number = state["deviceId"].as_str().unwrap().trim_start_matches("device-").parse().unwrap();
    let version = state["version"].as_u64().unwrap();
    let more = u64::from(number != known.number);
    assert_eq!((number, version), (known.number + more, known.version + more), "{user} after {known:?}");
    let mut wanted = body(number);
    wanted.as_object_mut().unwrap().remove("seq");
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&state[name], value, "{user} is stored in part: {state}");
    }
    let room = format!("/api/rooms/{}/users?limit=200", wanted["roomId"].as_str().unwrap());
    let room = runner.get(&room).json();
    assert!(room["items"].as_array().unwrap().contains(&state), "the index has another {user}: {room}");
    Known { number, version }
}

#[test]
fn two_hundred_kills_under_load_lose_no_acknowledged_write() {
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(lane);
                let data = TempDir::new().unwrap();
                let place = data.path().to_str().unwrap();
                let users: [String; WRITERS] = std::array::from_fn(|n| format!("writer-{n}"));
                let mut known: [Known; WRITERS] = Default::default();
                for _ in 0..ROUNDS / LANES {
                    let runner = Runner::start(&["--data-dir", place]);
                    for (user, known) in users.iter().zip(&mut known) {
                        *known = check(&runner, user, known);
                    }
                    let moment = Instant::now() + Duration::from_micros(rng.u64(0..80_000));
                    std::thread::scope(|scope| {
                        let url = runner.url.clone();
                        let writers: Vec<_> = users
                            .iter()
                            .zip(known.clone())
                            .map(|(user, known)| {
                                scope.spawn({
                                    let url = url.clone();
                                    move || write(&url, user, known)
                                })
                            })
                            .collect();
                        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
                        runner.kill();
                        for (known, writer) in known.iter_mut().zip(writers) {
                            *known = writer.join().unwrap();
                        }
                    });
                }
                let runner = Runner::start(&["--data-dir", place]);
                let total: u64 =
                    users.iter().zip(&known).map(|(user, known)| check(&runner, user, known).version).sum();
                assert!(total > ROUNDS, "the kills met no load: {total} writes");
            });
        }
    });
}
