//! Faults between the SDK and the database: an acknowledged change is stored, a refused one has changed nothing, and a
//! retried one takes effect once.

use crate::support::faults::{Command, Fault, Faulty};
use crate::support::refused;
use crate::support::rooms::{self, NewRoom, SEED};
use crate::support::scene::{Scene, join};
use aws::deadline::under;
use functions::DECLARED;
use functions::function::{FunctionKind, declared};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Time that Lambda gives a function (`Timeout` in the template).
const DEADLINE: Duration = Duration::from_secs(10);

/// All endpoints that write, except the one whose answer is different each time: each new pairing code invalidates the
/// last one.
fn commands() -> impl Iterator<Item = &'static str> {
    let endpoints = DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint);
    let readings: Vec<_> = Command::readings().into_iter().map(|reading| reading.binary).collect();
    endpoints.map(|declared| declared.name).filter(move |name| !readings.contains(name) && *name != "create_pairing")
}

/// The stored items and the answer after a command without a fault.
async fn once(binary: &str) -> (Value, u16) {
    let scene = Scene::new().await;
    let reply = scene.command(binary).run(&scene.faulty.context()).await;
    (scene.stored().await, reply.status)
}

/// What an ending answers that comes after the end.
fn is_gone(binary: &str, status: u16) -> bool {
    (binary, status) == ("delete_user", 404) || (binary, status) == ("end_room", 410)
}

#[tokio::test]
async fn a_repeated_command_takes_effect_once() {
    for binary in commands() {
        let (expected, status) = once(binary).await;
        let scene = Scene::new().await;
        let (state, command) = (scene.faulty.context(), scene.command(binary));
        let (first, second) = (command.run(&state).await, command.run(&state).await);
        assert_eq!(first.status, status, "{binary}: {}", first.text);
        let gone = is_gone(binary, second.status);
        assert!(gone || second.status == status, "{binary}: {}", second.text);
        assert_eq!(scene.stored().await, expected, "{binary}, one after the other");

        let scene = Scene::new().await;
        let (state, command) = (scene.faulty.context(), scene.command(binary));
        let (first, second) = tokio::join!(command.run(&state), command.run(&state));
        let good = [&first, &second].iter().filter(|reply| reply.status == status).count();
        assert!(good >= 1, "{binary}: {} {}", first.text, second.text);
        assert_eq!(scene.stored().await, expected, "{binary}, both at once");
    }
}

#[tokio::test]
async fn a_retry_after_a_lost_answer_takes_effect_once() {
    for fault in [Fault::LostAfter, Fault::ErrorAfter, Fault::LostBefore, Fault::Throttle] {
        for binary in commands() {
            let (expected, status) = once(binary).await;
            let calls = {
                let scene = Scene::new().await;
                scene.faulty.be_well();
                scene.command(binary).run(&scene.faulty.context()).await;
                scene.faulty.calls().len()
            };
            for broken in 0..calls {
                let scene = Scene::new().await;
                scene.faulty.be(Box::new(move |number, _| (number == broken).then_some(fault)));
                let reply = scene.command(binary).run(&scene.faulty.context()).await;
                // After a removal whose answer was lost, the retry does not find the item any more.
                let gone = is_gone(binary, reply.status);
                assert!(gone || reply.status == status, "{binary}, {fault:?} at call {broken}: {}", reply.text);
                assert_eq!(scene.stored().await, expected, "{binary}, {fault:?} at call {broken}");
            }
        }
    }
}

/// Polls a command at most `polls` times, like a Lambda function that is stopped at its deadline. `true`: it ended
/// before.
async fn stopped_after(polls: usize, command: &Command, scene: &Scene) -> bool {
    let state = scene.faulty.context();
    let mut running = pin!(command.run(&state));
    for _ in 0..polls {
        let poll = std::future::poll_fn(|context: &mut Context<'_>| Poll::Ready(running.as_mut().poll(context))).await;
        if poll.is_ready() {
            return true;
        }
        // Gives the engine's thread time to answer.
        scene.faulty.stored().await;
        tokio::task::yield_now().await;
    }
    // The command is not polled any more.
    let _ = running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    false
}

/// Commands of the scene of which a repeated one is the same request: it has a key or a `seq`, where the endpoint takes
/// one. A room's slug is only another name for it.
fn repeatable(scene: &Scene) -> Vec<Command> {
    let writing: BTreeSet<_> = commands().collect();
    let is_repeatable = |command: &Command| {
        let is_keyed = command.headers.iter().any(|(name, _)| *name == "idempotency-key");
        let has_slug =
            command.parameters.iter().any(|(name, room)| *name == "room" && room != "demo" && !room.starts_with("rm_"));
        let takes_seq = ["set_state", "set_mute", "set_device"].contains(&command.binary);
        let has_seq = command.body.as_ref().is_some_and(|body| body.contains("\"seq\""));
        writing.contains(command.binary)
            && !has_slug
            && (is_keyed || !declared(command.binary).unwrap().function.once)
            && (has_seq || !takes_seq)
    };
    scene.commands().into_iter().filter(is_repeatable).collect()
}

#[tokio::test]
async fn an_interrupted_command_happened_completely_or_not_at_all_and_can_be_repeated() {
    let scene = Scene::new().await;
    let (before, items) = (scene.stored().await, scene.faulty.items().await);
    let mut changing = BTreeSet::new();
    for command in repeatable(&scene) {
        let name = format!("{} {}", command.binary, command.body.as_deref().unwrap_or_default());
        scene.faulty.put_back(&items).await;
        let status = command.run(&scene.faulty.context()).await.status;
        let expected = scene.stored().await;
        if expected == before {
            continue;
        }
        changing.insert(command.binary);
        for polls in 0.. {
            assert!(polls < 100, "{name} never ends");
            scene.faulty.put_back(&items).await;
            let ended = stopped_after(polls, &command, &scene).await;
            let stored = scene.stored().await;
            // A revocation and a change of a room's settings take several steps; the first one alone decides. Whoever
            // comes into a full room first frees the seat of somebody who is silent.
            let half = match command.binary {
                "revoke_agent" | "end_agent" => ["AGENT#AGENT", "AGENT#GUESTSAGENT"]
                    .iter()
                    .any(|agent| stored[agent]["revoked"] != before[agent]["revoked"]),
                "update_room" => stored["ROOM#ROOM0"]["version"] == expected["ROOM#ROOM0"]["version"],
                "join_room" | "renew_presence" | "update_participant" => stored["ROOM#ROOM1"]["present"]["N"] == "1",
                _ => false,
            };
            assert!(stored == before || stored == expected || half, "{name} after {polls} polls: {stored:#}");
            let again = command.run(&scene.faulty.context()).await;
            // What has taken effect cannot be done once more by somebody who is out, or about something that is gone.
            let over = match command.binary {
                "leave_room" => again.status == 401,
                "update_participant" => [403, 404].contains(&again.status),
                "update_question" => again.status == 404,
                binary => is_gone(binary, again.status),
            };
            assert!(over || again.status == status, "{name} again: {}", again.text);
            assert_eq!(scene.stored().await, expected, "{name} after {polls} polls and once more");
            if ended {
                break;
            }
        }
    }
    assert_eq!(changing, commands().collect());
}

/// DynamoDB may leave out any part of a batch of reads.
#[tokio::test]
async fn calls_of_people_in_a_room_survive_batches_that_are_read_in_part() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &grace, "Why?").await;
    for command in [
        room.call("get_room", &grace),
        room.call("get_room_safe", &grace),
        room.call("list_messages", &grace),
        room.call("list_questions", &grace),
        room.call("post_message", &grace).with(json!({"message": "Hello"})),
        room.call("ask_question", &grace).with(json!({"question": "When?"})),
        room.about(&question, "cast_vote", &grace),
        room.about(&question, "answer_question", &ada).with(json!({"answer": "Because."})),
        room.call("mute_all", &ada),
        room.call("update_room", &ada).with(json!({"title": "Two"})),
        room.moderate(&grace, &grace, json!({"handRaised": true})),
        room.call("end_room", &ada),
    ] {
        faulty.be(Box::new(|_, operation| (operation == "BatchGetItem").then_some(Fault::Unprocessed(1))));
        let reply = command.run(&context).await;
        assert!(reply.status < 300, "{}: {}", command.binary, reply.text);
        let batches = faulty.calls().iter().filter(|call| *call == "BatchGetItem").count();
        assert!(batches >= 2, "{} reads no batch", command.binary);
    }
}

/// A request of a room makes several calls, so more of them fail: a client repeats it, as `Retry-After` says.
#[tokio::test]
async fn with_a_third_of_calls_throttled_99_of_100_requests_succeed_within_the_deadline() {
    const WORKERS: u64 = 25;
    const REQUESTS: usize = 24;
    let workers = (0..WORKERS).map(|seed| async move {
        let faulty = Faulty::new();
        let state = faulty.context();
        assert!(join(true).run(&state).await.status < 300);
        state.signing.rotate(SEED).await.unwrap();
        let (room, presenter) = NewRoom::default().create(&state).await;
        let question = room.ask(&state, &presenter, "Why?").await;
        let mut rng = fastrand::Rng::with_seed(seed);
        faulty.be(Box::new(move |_, _| (rng.u8(..10) < 3).then_some(Fault::Throttle)));
        let mut failed = 0;
        for n in 0..REQUESTS {
            let once = |command: Command| command.header("idempotency-key", format!("k{n}"));
            let command = match n % 8 {
                0 => Command::new("get_user", "userId", "ada"),
                1 => Command::new("list_room_users", "room", "demo"),
                2 => once(Command::new("join_room", "room", &room.id).with(json!({"name": "Grace"}))),
                3 => once(room.call("post_message", &presenter).with(json!({"message": "Hello"}))),
                4 => room.about(&question, "cast_vote", &presenter),
                _ => Command::new("set_mute", "userId", "ada").with(json!({"isMuted": n % 3 == 0})),
            };
            let began = Instant::now();
            let mut reply = command.run(&state).await;
            assert!(began.elapsed() < DEADLINE);
            if reply.status == 503 && [2, 3, 4].contains(&(n % 8)) {
                reply = command.run(&state).await;
            }
            if reply.status >= 300 {
                refused(&reply, 503, "unavailable");
                assert_eq!(reply.header("retry-after"), Some("1"));
                failed += 1;
            }
        }
        failed
    });
    let failed: usize = futures_util::future::join_all(workers).await.into_iter().sum();
    let all = usize::try_from(WORKERS).unwrap() * REQUESTS;
    assert!(failed * 100 <= all, "{failed} of {all} failed");
}

#[tokio::test]
async fn a_database_that_only_throttles_hangs_or_conflicts_is_503_within_the_deadline_and_nothing_changes() {
    for fault in [Fault::Throttle, Fault::Conflict, Fault::LostBefore, Fault::Hang] {
        let outcomes = commands().map(|binary| async move {
            let scene = Scene::new().await;
            let before = scene.stored().await;
            scene.faulty.be(Box::new(move |_, _| Some(fault)));
            let began = Instant::now();
            let reply = scene.command(binary).run(&scene.faulty.context()).await;
            assert!(began.elapsed() < DEADLINE, "{binary}, {fault:?}: {:?}", began.elapsed());
            refused(&reply, 503, "unavailable");
            assert_eq!(reply.header("retry-after"), Some("1"), "{binary}, {fault:?}");
            assert_eq!(scene.stored().await, before, "{binary}, {fault:?}");
        });
        futures_util::future::join_all(outcomes).await;
    }
}

/// Endpoints that only read tables, on behalf of a person. Health is not among them, because it answers differently.
fn reads() -> Vec<Command> {
    let of_tables = |reading: &Command| {
        let function = declared(reading.binary).unwrap().function;
        let mut actions = function.grants().flat_map(|grant| grant.actions);
        function.callers.need_token() && actions.all(|action| action.starts_with("dynamodb:"))
    };
    Command::readings().into_iter().filter(of_tables).collect()
}

#[tokio::test]
async fn an_attempt_starts_only_if_it_can_end_before_the_deadline() {
    // An attempt takes up to 1.5 s, so there is time for one.
    let time = Duration::from_millis(2500);
    let all: Vec<_> = commands().chain(reads().into_iter().map(|read| read.binary)).collect();
    let outcomes = all.into_iter().map(|binary| async move {
        let scene = Scene::new().await;
        // Where only a token proves who reads, a reading without one gets no further.
        let needs_token = declared(binary).unwrap().function.statuses.0 == 401;
        let reading = reads().into_iter().find(|read| read.binary == binary && !needs_token);
        let command = reading.unwrap_or_else(|| scene.command(binary));
        let before = scene.stored().await;
        scene.faulty.be(Box::new(|_, _| Some(Fault::Hang)));
        let state = scene.faulty.context();
        let reply = under(tokio::time::Instant::now() + time, command.run(&state)).await;
        refused(&reply, 503, "unavailable");
        assert_eq!(scene.faulty.calls().len(), 1, "{binary}");
        assert_eq!(scene.stored().await, before, "{binary}");
    });
    futures_util::future::join_all(outcomes).await;
}

#[tokio::test]
async fn the_deadline_of_a_request_bounds_all_its_calls_together() {
    let outcomes = ["enroll_agent", "attest", "set_binding", "revoke_agent"].map(|binary| async move {
        let scene = Scene::new().await;
        // Each call succeeds with its last attempt.
        scene.faulty.be(Box::new(|number, _| (number % 4 != 3).then_some(Fault::Hang)));
        let began = Instant::now();
        let reply = scene.command(binary).run(&scene.faulty.context()).await;
        assert!(began.elapsed() < DEADLINE, "{binary}: {:?}", began.elapsed());
        refused(&reply, 503, "unavailable");
        assert!(scene.faulty.calls().len() < 8, "{binary}: {:?}", scene.faulty.calls());
    });
    futures_util::future::join_all(outcomes).await;
}
