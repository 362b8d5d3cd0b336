//! Racing clients with few users: all answers fit one history per user, in which each change follows from the one
//! before.

use super::wire::{Answer, Wire};
use crate::support::Runner;
use config::Config;
use domain::user::{Claim, DeviceClaim, MuteClaim, MuteScope};
use domain::{Timestamp, UserId};
use local::client;
use local::engine::Engine;
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use store::dynamodb::{Cause, Guard};

/// An unoptimised server answers less than a thousand requests per second on a busy machine.
const OPERATIONS: usize = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
const THREADS: usize = 8;
const USERS: usize = 8;

/// The content of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    mute: (bool, String),
    device: Option<String>,
    label: Option<String>,
    room: Option<String>,
    updated: String,
    created: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Mute(bool, &'static str),
    Device(String),
    Read,
    /// A device change that lost its race; it only reads the version.
    Lost,
}

/// An operation from its client's view, in nanoseconds since the start.
#[derive(Debug)]
struct Seen {
    user: usize,
    begun: u128,
    ended: u128,
    asked: Asked,
    version: u64,
    stored: Option<Stored>,
}

fn stored(state: &Value) -> Stored {
    let text = |name: &str| state[name].as_str().map(str::to_owned);
    Stored {
        mute: (state["isMuted"].as_bool().unwrap(), text("muteScope").unwrap()),
        device: text("deviceId"),
        label: text("deviceLabel"),
        room: text("roomId"),
        updated: text("lastUpdated").unwrap(),
        created: text("createdAt").unwrap(),
    }
}

fn ask(wire: &mut Wire, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    wire.request(method, path, headers, body);
    wire.answer().unwrap()
}

fn client(url: &str, thread: usize, start: Instant) -> Vec<Seen> {
    let mut rng = fastrand::Rng::with_seed(thread as u64);
    let mut wire = Wire::open(url);
    let mut latest = [1_u64; USERS];
    (0..OPERATIONS / THREADS)
        .map(|n| {
            let user = rng.usize(..USERS);
            let path = format!("/api/users/user-{user}");
            let device = format!("device-{thread}-{n}");
            let changed = format!("{{\"deviceId\":\"{device}\",\"deviceLabel\":\"{device}\"}}");
            let begun = start.elapsed().as_nanos();
            let (mut asked, answer) = match rng.u8(..8) {
                0..3 => {
                    let (muted, scope) = (rng.bool(), ["app", "os", "device"][rng.usize(..3)]);
                    let body = format!("{{\"isMuted\":{muted},\"muteScope\":\"{scope}\"}}");
                    (Asked::Mute(muted, scope), ask(&mut wire, "PATCH", &format!("{path}/mute"), "", &body))
                }
                3..5 => (Asked::Device(device), ask(&mut wire, "PATCH", &format!("{path}/device"), "", &changed)),
                5 => {
                    let guard = format!("If-Match: \"{}\"\r\n", latest[user]);
                    (Asked::Device(device), ask(&mut wire, "PATCH", &format!("{path}/device"), &guard, &changed))
                }
                _ => (Asked::Read, ask(&mut wire, "GET", &path, "", "")),
            };
            let ended = start.elapsed().as_nanos();
            let body = answer.json();
            let (version, stored) = if answer.status == 412 {
                assert_ne!(body["currentVersion"], latest[user], "refused although the version was current");
                asked = Asked::Lost;
                (body["currentVersion"].as_u64().unwrap(), None)
            } else {
                assert_eq!(answer.status, 200, "{answer:?}");
                (body["version"].as_u64().unwrap(), Some(stored(&body)))
            };
            latest[user] = version;
            Seen { user, begun, ended, asked, version, stored }
        })
        .collect()
}

/// The states of a user by version: each change appears once, without a gap, and follows from the one before.
fn chain<'a>(first: &'a Stored, seen: &[&'a Seen]) -> BTreeMap<u64, &'a Stored> {
    let mut chain = BTreeMap::from([(1, first)]);
    let mut changes: Vec<_> =
        seen.iter().filter(|seen| matches!(seen.asked, Asked::Mute(..) | Asked::Device(_))).collect();
    changes.sort_by_key(|change| change.version);
    let mut last = first;
    for (change, version) in changes.iter().zip(2..) {
        assert_eq!(change.version, version, "a version is missing or given twice");
        let next = change.stored.as_ref().unwrap();
        let mut wanted = Stored { updated: next.updated.clone(), ..last.clone() };
        match &change.asked {
            Asked::Mute(muted, scope) => wanted.mute = (*muted, (*scope).to_owned()),
            Asked::Device(device) => (wanted.device, wanted.label) = (Some(device.clone()), Some(device.clone())),
            Asked::Read | Asked::Lost => unreachable!(),
        }
        assert_eq!(next, &wanted, "version {version} does not follow from version {}", version - 1);
        assert!(next.updated >= last.updated, "time went back");
        chain.insert(version, next);
        last = next;
    }
    chain
}

/// An operation that ended before another one began must not have a newer version.
fn respects_real_time(seen: &[&Seen]) {
    let (mut by_begin, mut by_end) = (seen.to_vec(), seen.to_vec());
    by_begin.sort_by_key(|seen| seen.begun);
    by_end.sort_by_key(|seen| seen.ended);
    let mut ended = by_end.iter().peekable();
    let mut newest = 1;
    for seen in by_begin {
        while let Some(earlier) = ended.next_if(|earlier| earlier.ended < seen.begun) {
            newest = newest.max(earlier.version);
        }
        let only_looks = matches!(seen.asked, Asked::Read | Asked::Lost);
        assert!(seen.version >= newest + u64::from(!only_looks), "{seen:?} began after version {newest} was seen");
    }
}

#[test]
fn racing_operations_fit_one_history_per_user() {
    let runner = Runner::ephemeral();
    let first: Vec<_> = (0..USERS)
        .map(|user| {
            let body = serde_json::json!({"isMuted": false, "roomId": "demo"});
            stored(&runner.post(&format!("/api/users/user-{user}/state"), body).json())
        })
        .collect();
    let start = Instant::now();
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let url = &runner.url;
                    move || client(url, thread, start)
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(seen.len(), OPERATIONS);
    let (mut reads, mut lost) = (0, 0);
    for (user, first) in first.iter().enumerate() {
        let seen: Vec<_> = seen.iter().filter(|seen| seen.user == user).collect();
        let chain = chain(first, &seen);
        for seen in &seen {
            assert!(seen.version <= chain.len() as u64);
            if seen.asked == Asked::Read {
                assert_eq!(
                    seen.stored.as_ref(),
                    chain.get(&seen.version).copied(),
                    "a read saw a state that never existed"
                );
            }
            reads += usize::from(seen.asked == Asked::Read);
            lost += usize::from(seen.asked == Asked::Lost);
        }
        respects_real_time(&seen);
        assert_eq!(runner.get(&format!("/api/users/user-{user}")).json()["version"], chain.len());
    }
    assert!(reads > OPERATIONS / 10 && lost > OPERATIONS / 100, "{reads} reads, {lost} lost races");
}

struct Nobody;

impl functions::Observer for Nobody {
    fn answered(&self, _: &functions::RequestLine<'_>) {}
}

/// The clocks of two machines differ, and each may be set back; the stored time never goes back.
#[test]
fn a_clock_that_leaps_never_takes_a_state_back_in_time() {
    let config = Config::of_runner(|_| None).unwrap();
    let store = storage::open(&Location::Memory, &Template::parse(TEMPLATE).unwrap(), &config).unwrap();
    let id: UserId = "ada".parse().unwrap();
    let mute = |is_muted| MuteClaim { is_muted, mute_scope: MuteScope::App };
    let claim = |is_muted| Claim {
        mute: mute(is_muted),
        device_id: None,
        device_label: None,
        room_id: None,
        name: None,
        lease: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (engine, _) = Engine::start(store.database).unwrap();
        let users = client::context(engine, config, Arc::new(Nobody)).users;
        let born = Timestamp::from_ms(1_795_257_125_000);
        let mut last = users.set_state(&id, claim(true), Guard::default(), &Cause::service(born)).await.unwrap().user;
        let mut rng = fastrand::Rng::with_seed(7);
        let mut newest = born;
        for n in 0..1000_u64 {
            // The clock is up to ten minutes wrong in either direction, and sometimes at the epoch.
            let now = if n % 50 == 0 { 0 } else { born.ms() + n * 100 + rng.u64(..1_200_000) - 600_000 };
            let now = Timestamp::from_ms(now);
            let cause = Cause::service(now);
            let muted = rng.bool();
            let next = match rng.u8(..3) {
                0 => users.set_mute(&id, mute(muted), Guard::default(), &cause).await.unwrap().user,
                1 => {
                    let device = DeviceClaim { device_id: format!("d-{n}").try_into().ok(), device_label: None };
                    users
                        .set_device(&id, device, Guard { if_match: Some(last.version), seq: None }, &cause)
                        .await
                        .unwrap()
                        .user
                }
                _ => users.set_state(&id, claim(muted), Guard::default(), &cause).await.unwrap().user,
            };
            newest = newest.max(now);
            assert_eq!(
                (next.version, next.created_at, next.last_updated),
                (last.version + 1, born, newest),
                "at {now}"
            );
            last = next;
        }
        assert_eq!(users.get(&id, domain::Timestamp::from_ms(0)).await.unwrap(), last);
    });
}
