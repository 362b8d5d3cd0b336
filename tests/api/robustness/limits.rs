//! Limits: who calls too often is refused and told how long to wait, nobody else is, and no address is kept.

use crate::support::faults::{Command, Fault, Faulty};
use crate::support::lambda::{Lambda, event};
use crate::support::rooms::{self, NewRoom, PASSWORD, quick_password};
use crate::support::scene::Scene;
use crate::support::witness::engine;
use crate::support::{Reply, Runner, refused, root};
use domain::{Draw, Limit, Timestamp};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use store::dynamodb::{Limits, Subject};

const START: Timestamp = Timestamp::from_ms(1_795_261_458_082);

fn calls(limit: Limit) -> usize {
    limit.calls().into()
}

/// The numbers that were asked for, and the page that tells them.
#[test]
fn the_limits_are_the_documented_ones() {
    let page = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let table = [
        (Limit::CreateRoom, 10, false),
        (Limit::Join, 50, false),
        (Limit::Message, 200, true),
        (Limit::Presence, 400, true),
        (Limit::Other, 100, true),
        (Limit::WrongPassword, 10, false),
    ];
    assert_eq!((Limit::ALL.len(), Limit::WINDOW), (table.len(), Duration::from_mins(15)));
    assert!(page.contains("| Calls in 15 minutes |"));
    for (limit, number, is_open) in table {
        assert_eq!((limit.calls(), limit.fails_open()), (number, is_open), "{limit}");
        let calls = if limit == Limit::WrongPassword { format!("{number} in a room") } else { number.to_string() };
        let line = format!("| `{limit}` | {calls} | {} |", if is_open { "passes" } else { "refused, 503" });
        assert!(page.contains(&line), "docs/limits.md lacks {line}");
    }
}

/// The limits as one process has them.
fn limits(faulty: &Faulty) -> Limits {
    faulty.context().limits
}

/// Checks a refusal by a limit, and returns the seconds to wait.
fn waits(reply: &Reply, limit: Limit) -> u64 {
    refused(reply, 429, "rate_limited");
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=limit.step().as_secs() + 1).contains(&seconds), "{seconds}");
    assert_eq!(reply.header("ratelimit"), Some(format!("\"{limit}\";r=0;t={seconds}").as_str()));
    assert_eq!(reply.header("ratelimit-policy"), Some(format!("\"{limit}\";q={};w=900", limit.calls()).as_str()));
    seconds
}

/// The keys of all items that limits have in the state table, sorted.
fn keys(runner: &Runner) -> Vec<String> {
    let scanned = engine(runner, "Scan", &json!({"TableName": "greenroom-state"}));
    let keys = scanned["Items"].as_array().unwrap().iter().map(|item| item["pk"]["S"].as_str().unwrap().to_owned());
    let mut keys: Vec<_> = keys.filter(|key| key.starts_with("LIMIT#")).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_call_after_the_last_one_is_refused_until_the_time_that_it_names() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let began = Instant::now();
    let passed = (0..2 * calls(Limit::Other)).map(|n| {
        // A forged address changes nothing.
        let forged = format!("198.51.100.{n}");
        let headers = [("x-forwarded-for", forged.as_str()), ("forwarded", "for=198.51.100.1"), ("x-real-ip", &forged)];
        runner.send("DELETE", "/api/users/nobody", &headers, "")
    });
    let passed: Vec<_> = passed.take_while(|reply| reply.status == 404).collect();
    // While the calls last, the bucket gains a token every nine seconds.
    let gained = usize::try_from(began.elapsed().as_secs()).unwrap() / 9 + 1;
    assert!((calls(Limit::Other)..=calls(Limit::Other) + gained).contains(&passed.len()), "{}", passed.len());
    assert!(passed.iter().all(|reply| reply.header("ratelimit").is_none()));

    let seconds = waits(&runner.delete("/api/users/nobody"), Limit::Other);
    // Another class of calls, claims and reads are free.
    let presence = json!({"participantId": "ada", "lease": "page-load-1"});
    assert_eq!(runner.post("/api/rooms/demo/presence", presence).status, 200);
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": false})).status, 200);
    assert_eq!(runner.get("/api/users/ada").status, 200);
    waits(&runner.post("/api/users/ada/pairing", json!({})), Limit::Other);
    let buckets: Vec<_> = keys(&runner).into_iter().filter(|key| !key.starts_with("LIMIT#key#")).collect();
    let [other, presence] = buckets.as_slice() else { panic!("{buckets:?}") };
    assert!(other.starts_with("LIMIT#other#a:") && presence.starts_with("LIMIT#presence#a:"), "{buckets:?}");

    std::thread::sleep(Duration::from_secs(seconds));
    assert_eq!(runner.delete("/api/users/nobody").status, 404);
    waits(&runner.delete("/api/users/nobody"), Limit::Other);
}

#[test]
fn claims_of_mute_have_no_limit() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    for n in 0..600 {
        let muted = runner.patch("/api/users/ada/mute", json!({"isMuted": n % 2 == 0}));
        assert_eq!(muted.status, 200, "{}", muted.text);
    }
}

fn from(address: &str) -> Value {
    let mut event = event("delete_user");
    event["requestContext"]["http"]["sourceIp"] = address.into();
    event
}

#[test]
fn a_function_counts_the_address_that_the_gateway_saw() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("delete_user", runner.dynamodb.as_deref().unwrap());
    let passed = (0..2 * calls(Limit::Other)).map(|n| {
        let mut event = from("2001:db8::1");
        event["headers"]["x-forwarded-for"] = format!("198.51.100.{n}").into();
        lambda.invoke(&event)
    });
    let passed = passed.take_while(|reply| reply.status == 404).count();
    assert!((calls(Limit::Other)..calls(Limit::Other) + 10).contains(&passed), "{passed}");
    waits(&lambda.invoke(&from("2001:db8::ffff:1")), Limit::Other);
    // Another network, another address, and an event without any.
    for other in ["2001:db8:0:1::1", "203.0.113.7", "::ffff:203.0.113.7", ""] {
        assert_eq!(lambda.invoke(&from(other)).status, 404, "{other}");
    }
}

#[tokio::test]
async fn a_thousand_calls_of_twenty_processes_share_one_limit() {
    const PROCESSES: usize = 20;
    let faulty = Faulty::new();
    let began = Instant::now();
    let processes = (0..PROCESSES).map(|_| {
        let context = faulty.context();
        async move {
            let mut passed = 0;
            for _ in 0..1000 / PROCESSES {
                let reply = Command::new("delete_user", "userId", "nobody").run(&context).await;
                assert!([404, 429].contains(&reply.status), "{}", reply.text);
                passed += usize::from(reply.status == 404);
            }
            passed
        }
    });
    let passed: usize = join_all(processes).await.into_iter().sum();
    let gained = usize::try_from(began.elapsed().as_secs()).unwrap() / 9 + 1;
    assert!((calls(Limit::Other)..=calls(Limit::Other) + gained).contains(&passed), "{passed}");
}

/// A bucket of the table and one in memory get the same calls at the same times, clocks that jump included.
#[tokio::test]
async fn a_bucket_of_the_table_keeps_the_rules_of_the_domain() {
    let limits = limits(&Faulty::new());
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limit = rng.choice(Limit::ALL.iter().copied()).unwrap();
        let subject = Subject::caller(&format!("p:{seed}"));
        let (mut now, mut full_at) = (START, None);
        for _ in 0..rng.usize(1..40) {
            let by = match rng.u8(..10) {
                0 => -rng.i64(..2_000_000),
                1 => rng.i64(..1_000_000),
                _ => rng.i64(..20_000),
            };
            now = Timestamp::from_ms(now.ms().saturating_add_signed(by));
            for _ in 0..rng.usize(1..20) {
                let draw = limit.draw(full_at, now);
                full_at = match draw {
                    Draw::First => Some(now.plus(limit.step())),
                    Draw::Next => full_at.map(|full_at: Timestamp| full_at.plus(limit.step())),
                    Draw::Wait(_) => full_at,
                    Draw::Reset(_) => Some(now.plus(Limit::WINDOW)),
                };
                let expected = match draw {
                    Draw::First | Draw::Next => Ok(()),
                    Draw::Wait(wait) | Draw::Reset(wait) => Err(wait.as_millis().div_ceil(1000) * 1000),
                };
                let spent = limits.spend(limit, &subject, now).await.unwrap();
                assert_eq!(spent.map_err(|wait| wait.as_millis()), expected, "seed {seed}, {limit}, {draw:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_of_a_full_bucket_or_an_empty_one_is_one_write() {
    let faulty = Faulty::new();
    let (limits, subject) = (limits(&faulty), Subject::caller("p:7"));
    faulty.be_well();
    assert_eq!(limits.spend(Limit::CreateRoom, &subject, START).await.unwrap(), Ok(()));
    assert_eq!(faulty.calls(), ["UpdateItem"]);
    for _ in 1..calls(Limit::CreateRoom) {
        faulty.be_well();
        assert_eq!(limits.spend(Limit::CreateRoom, &subject, START).await.unwrap(), Ok(()));
        assert_eq!(faulty.calls(), ["UpdateItem", "UpdateItem"], "it was partly full");
    }
    faulty.be_well();
    assert!(limits.spend(Limit::CreateRoom, &subject, START).await.unwrap().is_err());
    assert_eq!(faulty.calls(), ["UpdateItem"]);
}

#[tokio::test]
async fn a_right_password_gives_its_token_back_and_guesses_at_once_are_no_more_than_allowed() {
    let faulty = Faulty::new();
    let limits = limits(&faulty);
    let address = limits.anonymous("203.0.113.7".parse().ok(), START).await.unwrap();
    let [here, there] = ["demo", "other"].map(|room| address.within(&room.parse().unwrap()));
    let guess = |subject| limits.spend(Limit::WrongPassword, subject, START);
    for _ in 0..3 * calls(Limit::WrongPassword) {
        assert_eq!(guess(&here).await.unwrap(), Ok(()));
        limits.give_back(Limit::WrongPassword, &here).await.unwrap();
    }
    let guesses = join_all((0..50).map(|_| guess(&here))).await;
    let passed = guesses.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
    assert_eq!(passed, calls(Limit::WrongPassword));
    assert_eq!(guess(&there).await.unwrap(), Ok(()), "another room");
    limits.give_back(Limit::WrongPassword, &here).await.unwrap();
    assert_eq!([guess(&here).await.unwrap().is_ok(), guess(&here).await.unwrap().is_ok()], [true, false]);
    // Nothing is given back to a bucket that is gone.
    let nobody = Subject::caller("p:none");
    limits.give_back(Limit::WrongPassword, &nobody).await.unwrap();
    assert!(faulty.stored().await.get("LIMIT#wrong_password#p:none").is_none());
}

#[tokio::test]
async fn an_address_is_the_same_for_all_processes_another_the_next_day_and_never_stored() {
    const DAY: Duration = Duration::from_hours(24);
    let faulty = Faulty::new();
    let (one, other) = (limits(&faulty), limits(&faulty));
    let address: Option<IpAddr> = "203.0.113.7".parse().ok();
    faulty.be_well();
    let today = one.anonymous(address, START).await.unwrap();
    assert_eq!(one.anonymous(address, START).await.unwrap(), today);
    assert_eq!(faulty.calls(), ["UpdateItem"], "the secret is fetched once");
    assert_eq!(other.anonymous(address, START).await.unwrap(), today);
    let tomorrow = other.anonymous(address, START.plus(DAY)).await.unwrap();
    assert_ne!(tomorrow, today);
    assert_eq!(one.anonymous(address, START.plus(DAY)).await.unwrap(), tomorrow);
    assert_eq!(one.anonymous(address, START).await.unwrap(), today);
    assert!(one.spend(Limit::Other, &today, START).await.unwrap().is_ok());

    let stored = faulty.stored().await;
    assert!(!stored.to_string().contains("203.0.113"), "{stored:#}");
    let seconds = |item: &Value| item["expiresAt"]["N"].as_str().unwrap().parse::<u64>().unwrap();
    let bucket = &stored[format!("LIMIT#other#{}", today.as_str())];
    assert!((900..1000).contains(&(seconds(bucket) - START.ms() / 1000)), "{bucket}");
    let secret = &stored[format!("LIMIT#key#{}", START.ms() / 86_400_000)];
    assert!(seconds(secret) - START.ms() / 1000 <= 2 * 86_400, "{secret}");
}

/// Only the first call, which is the limit's, gets no answer.
#[tokio::test]
async fn a_limit_out_of_reach_stops_who_joins_or_creates_and_nobody_who_writes() {
    let stopped =
        [("create_room", 503), ("join_room", 503), ("post_message", 201)].map(|(endpoint, status)| async move {
            let faulty = Faulty::new();
            // The process has the day's secret already, and the key that signs tokens.
            let context = rooms::open(&faulty).await;
            let (room, ada) = NewRoom::default().create(&context).await;
            let before = faulty.stored().await;
            let command = match endpoint {
                "create_room" => Command::new(endpoint, "none", "").with(json!({"title": "T", "presenterName": "Eve"})),
                "join_room" => Command::new(endpoint, "room", &room.id).with(json!({"name": "Grace"})),
                _ => room.call(endpoint, &ada).with(json!({"message": "Hello"})),
            };
            faulty.be(Box::new(|number, _| (number == 0).then_some(Fault::Hang)));
            let began = Instant::now();
            let reply = command.run(&context).await;
            assert_eq!(reply.status, status, "{endpoint}: {}", reply.text);
            assert!(began.elapsed() < Duration::from_secs(4), "{endpoint}: {:?}", began.elapsed());
            assert_eq!(faulty.calls()[0], "UpdateItem", "{endpoint}");
            if status == 503 {
                refused(&reply, 503, "unavailable");
                assert_eq!(faulty.stored().await, before, "{endpoint}");
            }
        });
    join_all(stopped).await;
}

/// An address has ten guesses in a room, however many other addresses guess there too.
#[tokio::test]
async fn a_thousand_guesses_from_fifty_addresses_hash_ten_for_each() {
    const ADDRESSES: u8 = 50;
    const GUESSES: usize = 20;
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, _) = NewRoom(json!({"password": PASSWORD})).create(&context).await;
    faulty.call("UpdateItem", &quick_password(&room)).await;
    let guesses = (0..ADDRESSES).map(|address| {
        let guess = Command::new("join_room", "room", &room.id).with(json!({"name": "Eve", "password": "U*V"}));
        let (guess, context) = (Command { address: [198, 51, 100, address], ..guess }, context.clone());
        async move {
            let mut hashed = 0;
            for _ in 0..GUESSES {
                let reply = guess.run(&context).await;
                let code = reply.json()["code"].clone();
                assert!(code == "password_wrong" || code == "rate_limited", "{}", reply.text);
                hashed += usize::from(code == "password_wrong");
            }
            hashed
        }
    });
    // A few at once: a busy machine would answer that it is busy, and no guess may be repeated here.
    let hashed: Vec<_> = stream::iter(guesses).buffer_unordered(4).collect().await;
    assert!(hashed.into_iter().all(|hashed| hashed == calls(Limit::WrongPassword)));
    // Nobody else is locked out of the room.
    room.join(&context, "Grace").await;
}

#[tokio::test]
async fn presence_is_renewed_while_its_limit_is_out_of_reach() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        let scene = Scene::new().await;
        // The first call is the limit's.
        scene.faulty.be(Box::new(move |number, _| (number == 0).then_some(fault)));
        let began = Instant::now();
        let reply = scene.command("renew_presence").run(&scene.faulty.context()).await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text);
        assert!(began.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_stops_no_presence() {
    let scene = Scene::new().await;
    let renew = || async { scene.command("renew_presence").run(&scene.faulty.context()).await };
    assert_eq!(renew().await.status, 200);
    let stored = scene.faulty.stored().await;
    let (key, bucket) = stored.as_object().unwrap().iter().find(|(key, _)| key.starts_with("LIMIT#presence#")).unwrap();
    let mut bucket = bucket.clone();
    bucket["fullAt"] = json!({"S": "soon"});
    scene.faulty.call("PutItem", &json!({"TableName": "greenroom-state", "Item": bucket})).await;
    assert_eq!(renew().await.status, 200, "{key}");
}
