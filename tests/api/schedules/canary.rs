use crate::support::database::{Database, Mode};
use crate::support::faults::{Fault, Faulty};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::witness::set_attribute;
use crate::support::{Runner, refused_field};
use domain::Timestamp;
use functions::Context;
use functions::schedules::canary::{ROOM, USER};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

fn line(lambda: &Lambda, answer: &Value) -> Value {
    lambda.await_log(|line| line["timestamp"] == answer["timestamp"] && line.get("_aws").is_some())
}

#[test]
fn a_working_deployment_passes_and_keeps_nothing() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("canary", runner.dynamodb.as_deref().unwrap());
    for _ in 0..3 {
        let answer = lambda.run(&event("canary"));
        assert_eq!((&answer["canary_failed"], &answer["cause"]), (&json!(0), &Value::Null), "{answer}");
        assert!(answer["duration"].is_u64());
    }
    refused_field(&runner.get(&format!("/api/users/{USER}")), "userId");
    assert_eq!(runner.get("/api/users").json()["items"], json!([]));
}

#[test]
fn a_run_is_one_line_with_its_metric_in_the_embedded_format() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("canary", runner.dynamodb.as_deref().unwrap());
    let answer = lambda.run(&event("canary"));
    let line = line(&lambda, &answer);
    assert_eq!(lambda.log().len(), 1, "{:#?}", lambda.log());
    assert_eq!(line["canary_failed"], 0);
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&directive["Namespace"], &directive["Dimensions"]), (&json!("Greenroom/dev"), &json!([[]])));
    assert_eq!(
        directive["Metrics"],
        json!([{"Name": "canary_failed", "Unit": "Count"}, {"Name": "concurrent_users", "Unit": "Count"}])
    );
    crate::emf::metrics(&line);
}

#[test]
fn people_in_rooms_are_counted_up_to_one_above_the_limit() {
    let runner = Runner::ephemeral();
    let mut env = environment("canary", runner.dynamodb.as_deref().unwrap());
    env.push(("CONCURRENT_USER_LIMIT", "3"));
    let lambda = Lambda::start_with("canary", &env);
    for (people, counted) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 4)] {
        if people > 0 {
            let room = format!("room-{}", people % 2);
            runner.post(&format!("/api/users/user-{people}/state"), json!({"isMuted": true, "roomId": &room}));
            runner.post(&format!("/api/users/alone-{people}/state"), json!({"isMuted": true}));
            let lapsed = format!("lapsed-{people}");
            let body = json!({"isMuted": true, "roomId": room, "lease": "page-load-1"});
            runner.post(&format!("/api/users/{lapsed}/state"), body);
            set_attribute(&runner, &lapsed, "leaseUntil", Some(&json!({"N": "1795257125000"})));
        }
        assert_eq!(lambda.run(&event("canary"))["concurrent_users"], counted, "{people} people in two rooms");
    }
}

#[test]
fn a_canary_that_cannot_count_has_not_failed() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    database.be(Mode::WithoutScan);
    let lambda = Lambda::start("canary", &database.url);
    let answer = lambda.run(&event("canary"));
    assert_eq!((&answer["canary_failed"], answer.get("concurrent_users")), (&json!(0), None), "{answer}");
    let names = crate::emf::metrics(&line(&lambda, &answer));
    assert_eq!(names, ["canary_failed".to_owned()].into());
    lambda.await_log(|line| line["level"] == "WARN" && line["message"] == "users not counted");
}

#[test]
fn a_failing_database_is_a_failure_that_names_its_step_and_is_over_when_it_works_again() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = Lambda::start("canary", &database.url);
    for mode in [Mode::Failing, Mode::Throttling, Mode::Refusing] {
        database.be(mode);
        let answer = lambda.run(&event("canary"));
        assert_eq!(
            (&answer["canary_failed"], &answer["failedStep"]),
            (&json!(1), &json!("health")),
            "{mode:?}: {answer}"
        );
        assert_eq!(line(&lambda, &answer)["canary_failed"], 1);
        database.be(Mode::Working);
        assert_eq!(lambda.run(&event("canary"))["canary_failed"], 0, "after {mode:?}");
    }
}

#[test]
fn a_strict_deployment_is_watched_as_well() {
    let runner = Runner::ephemeral();
    let mut env = environment("canary", runner.dynamodb.as_deref().unwrap());
    env.retain(|(name, _)| *name != "AUTH_MODE");
    env.push(("AUTH_MODE", "strict"));
    assert_eq!(Lambda::start_with("canary", &env).run(&event("canary"))["canary_failed"], 0);
}

#[test]
fn a_run_costs_four_write_units_and_few_reads() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    Lambda::start("canary", &database.url).run(&event("canary"));
    let calls = database.take_calls();
    let bill: Vec<_> = calls
        .iter()
        .map(|call| (call.operation.as_str(), call.answer["ConsumedCapacity"]["CapacityUnits"].as_f64().unwrap()))
        .collect();
    assert!(bill[0].0 == "Scan" && bill[0].1 <= 0.5, "a scan of the rooms, which are empty: {bill:?}");
    // Health, and the end of the room's history. The state is in a room, so a write also changes the index.
    let own = [("GetItem", 0.5), ("Query", 1.0), ("UpdateItem", 2.0), ("GetItem", 0.5), ("DeleteItem", 2.0)];
    assert_eq!(bill[1..6], own);
    // Until the history holds the change, the canary reads its end.
    let looks = &bill[6..];
    assert!(!looks.is_empty() && looks.iter().all(|(look, units)| *look == "Query" && *units <= 1.0), "{looks:?}");
}

#[test]
fn the_history_of_the_canarys_room_holds_each_run() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("canary", runner.dynamodb.as_deref().unwrap());
    for _ in 0..2 {
        assert_eq!(lambda.run(&event("canary"))["canary_failed"], 0);
    }
    refused_field(&runner.get(&format!("/api/rooms/{ROOM}/events")), "room");
}

/// No consumer follows the stream here, and everything else works.
#[tokio::test]
async fn a_history_that_nobody_writes_is_a_failure() {
    let faulty = Faulty::new();
    let run = async |expected: u8| {
        let answer = functions::schedules::canary::run(faulty.context(), Value::Null).await.unwrap();
        assert_eq!(answer["canary_failed"], expected, "{answer}");
        answer
    };
    assert_eq!(run(1).await["failedStep"], "ledger");
    let stop = faulty.follow();
    run(0).await;
    stop.send(true).unwrap();
    assert_eq!(faulty.stored().await, json!({}), "and nothing is left behind");
}

/// A run that was stopped before its last step has left the same state.
#[tokio::test]
async fn a_state_that_a_run_left_in_its_room_does_not_hide_the_next_change() {
    let faulty = Faulty::new();
    let stop = faulty.follow();
    faulty.be(Box::new(|_, operation| (operation == "DeleteItem").then_some(Fault::Throttle)));
    let answer = functions::schedules::canary::run(faulty.context(), Value::Null).await.unwrap();
    assert_eq!(answer["failedStep"], "delete");
    faulty.be_well();
    let answer = functions::schedules::canary::run(faulty.context(), Value::Null).await.unwrap();
    assert_eq!(answer["canary_failed"], 0, "{answer}");
    stop.send(true).unwrap();
}

/// A moment at which the next change is due.
fn later() -> Timestamp {
    Timestamp::from(SystemTime::now()).plus(Duration::from_mins(11))
}

/// Runs the canary, and returns its answer and the operations that it used.
async fn run(faulty: &Faulty, context: Context) -> (Value, BTreeSet<String>) {
    faulty.be_well();
    let answer = functions::schedules::canary::run(context, Value::Null).await.unwrap();
    (answer, faulty.calls().into_iter().collect())
}

/// Runs the canary until the history says that nothing is due.
async fn run_until_quiet(faulty: &Faulty) {
    loop {
        let (answer, operations) = run(faulty, faulty.context()).await;
        assert_eq!(answer["canary_failed"], 0, "{answer}");
        if !operations.contains("UpdateItem") {
            return;
        }
    }
}

#[tokio::test]
async fn between_two_changes_a_run_only_reads_and_after_ten_minutes_it_writes_again() {
    let faulty = Faulty::new();
    let stop = faulty.follow();
    run_until_quiet(&faulty).await;
    let (answer, operations) = run(&faulty, faulty.context()).await;
    assert_eq!((&answer["canary_failed"], answer.get("failedStep")), (&json!(0), None), "{answer}");
    assert_eq!(operations, ["GetItem", "Query", "Scan"].map(str::to_owned).into());
    let (answer, operations) = run(&faulty, Context { clock: later, ..faulty.context() }).await;
    assert_eq!(answer["canary_failed"], 0, "{answer}");
    assert!(operations.contains("UpdateItem") && operations.contains("DeleteItem"), "{operations:?}");
    stop.send(true).unwrap();
}

/// The alarm rings after three failed runs in a row, so a fault that stays must fail every run from the first one on.
#[tokio::test]
async fn a_fault_that_stays_fails_every_run_once_a_change_is_due() {
    for (broken, step) in [("UpdateItem", "write"), ("DeleteItem", "delete")] {
        let faulty = Faulty::new();
        let stop = faulty.follow();
        run_until_quiet(&faulty).await;
        faulty.be(Box::new(move |_, operation| (operation == broken).then_some(Fault::Throttle)));
        for n in 0..3 {
            let context = Context { clock: later, ..faulty.context() };
            let answer = functions::schedules::canary::run(context, Value::Null).await.unwrap();
            assert_eq!(answer["canary_failed"], 1, "run {n}: {answer}");
            assert!(n > 0 || answer["failedStep"] == step, "{answer}");
        }
        stop.send(true).unwrap();
    }
}
