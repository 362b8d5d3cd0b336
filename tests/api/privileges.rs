//! Least privilege, measured: what each function asks of the database while it does all that it can do is exactly what the
//! template lets it ask.

use crate::support::archive::{Archive, chain, lines};
use crate::support::faults::{Command, Fault};
use crate::support::scene::Scene;
use crate::support::taking::{Taking, later};
use crate::support::template::functions;
use functions::schedules::snapshot_tables::{Task, perform};
use local::template::{TEMPLATE, Template};
use serde_norway::Value;
use snapshot::objects::PART_BYTES;
use snapshot::restore::Wanted;
use std::collections::{BTreeMap, BTreeSet};

type Uses = BTreeSet<(String, String)>;

/// What the template grants a function, in the words of [`crate::support::faults::Faulty::used`].
fn granted(properties: &Value) -> Uses {
    let text = |value: &Value| match value {
        Value::Tagged(tagged) => tagged.value.as_str().unwrap().to_owned(),
        other => other.as_str().unwrap().to_owned(),
    };
    let mut uses = Uses::new();
    // What is asked of CloudWatch is seen by `cloudwatch::the_figures_of_a_stage_are_those_of_cloudwatch`; Lambda itself
    // reads the stream and writes to the queue with the function's role.
    let seen = |action: &str| !action.starts_with("cloudwatch:") && !action.starts_with("sqs:");
    for policy in properties["Policies"].as_sequence().into_iter().flatten() {
        for statement in policy["Statement"].as_sequence().unwrap() {
            let actions = statement["Action"].as_sequence().unwrap().iter();
            for action in actions.filter(|action| seen(&text(action))) {
                let resources = statement["Resource"].as_sequence().unwrap().iter().map(text);
                for resource in resources.filter(|resource| !resource.contains("StreamArn")) {
                    let resource = resource.replace("${StateTable.Arn}", "StateTable.Arn");
                    let resource = resource.replace("StateTable.Arn", "greenroom-state");
                    let resource =
                        resource.replace("arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/", "");
                    let resource = resource.replace("${Stage}", "local");
                    uses.insert((text(action), resource.replace("LedgerTable.Arn", "greenroom-ledger")));
                }
            }
        }
    }
    uses
}

/// Commands that only read, and one that needs nothing.
fn readings() -> Vec<Command> {
    let mut all = vec![Command::new("get_user", "userId", "ada"), Command::new("create_pairing", "userId", "ada")];
    all.extend(
        ["list_room_users", "get_room_safe", "get_room_audit", "list_room_events"]
            .map(|binary| Command::new(binary, "room", "demo")),
    );
    all.extend(
        ["list_users", "get_health", "get_metrics", "get_openapi", "no_route"]
            .map(|binary| Command::new(binary, "none", "")),
    );
    all
}

/// What a run uses that finds all there is to find: an old snapshot, an interrupted upload, a chain that grows.
async fn snapshot_tables() -> Uses {
    let taking = Taking::with_people().await;
    Archive::new("2020-01-01-03-00-00", lines(1, 1, 1)).store(&taking.objects).await;
    let mut interrupted =
        taking.objects.upload("database-backups/audio-states-2020-01-02-03-00-00.jsonl", "text/plain");
    interrupted.write(&vec![0; PART_BYTES]).await.unwrap();
    taking.bucket.be_well();
    taking.faulty.be(Box::new(|_, operation| {
        (operation == "Scan").then_some(Fault::Answers(|answer| {
            answer["Items"]
                .as_array_mut()
                .unwrap()
                .retain(|item| item["sk"]["S"] != "HEAD" && item["sk"]["S"] != "000000000005");
        }))
    }));
    let mut state = taking.faulty.state();
    state.clock = later;
    let settings = state::config::Snapshots::read(|_| None).unwrap();
    for task in [Task::Snapshot(None), Task::Age] {
        let (run, outcome) = perform(&state, &taking.objects, &settings, task, false).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {run:?}"));
    }
    taking.faulty.used().union(&taking.bucket.used()).cloned().collect()
}

/// What follows a state's change into a history that is new, and again.
async fn on_state_change() -> Uses {
    let scene = Scene::new().await;
    scene.faulty.be_well();
    let event = crate::support::lambda::event("on_state_change");
    for _ in 0..2 {
        let event = serde_json::from_value(event.clone()).unwrap();
        let outcome = functions::streams::on_state_change::run(scene.faulty.state(), event).await;
        assert!(outcome.batch_item_failures.is_empty());
    }
    scene.faulty.used()
}

/// What a restore uses, and a drill.
async fn restored() -> [(&'static str, Uses); 2] {
    let taking = Taking::new();
    Archive::new("2026-11-21-03-00-00", lines(2, 3, 120)).store(&taking.objects).await;
    let state = taking.faulty.state();
    let both = || taking.faulty.used().union(&taking.bucket.used()).cloned().collect();
    let be_well = || {
        taking.faulty.be_well();
        taking.bucket.be_well();
    };
    be_well();
    functions::schedules::restore_drill::perform(&state, &taking.objects, false).await.outcome().unwrap();
    let drill = both();
    be_well();
    functions::commands::restore::perform(&state, &taking.objects, &Wanted::Latest).await.unwrap();
    [("restore_drill", drill), ("restore", both())]
}

/// What each function used: alone, again, and for a user who is not there any more.
async fn measured() -> BTreeMap<&'static str, Uses> {
    let mut uses: BTreeMap<&'static str, Uses> = BTreeMap::new();
    let count = Scene::new().await.commands().len();
    for number in 0..count + readings().len() {
        let scene = Scene::new().await;
        let state = scene.faulty.state();
        let command = scene.commands().into_iter().chain(readings()).nth(number).unwrap();
        for item in chain("demo", 3) {
            let mut item: serde_json::Value = serde_json::from_slice(&item).unwrap();
            let request = serde_json::json!({"TableName": "greenroom-ledger", "Item": item["item"].take()});
            scene.faulty.call("PutItem", &request).await;
        }
        scene.faulty.be_well();
        command.run(&state).await;
        command.run(&state).await;
        let first = scene.faulty.used();
        Command::new("delete_user", "userId", "ada").run(&state).await;
        scene.faulty.be_well();
        command.run(&state).await;
        uses.entry(command.binary).or_default().extend(first.union(&scene.faulty.used()).cloned());
    }
    let scene = Scene::new().await;
    scene.faulty.be_well();
    let ran = functions::schedules::canary::run(scene.faulty.state(), serde_json::Value::Null).await;
    assert_eq!(ran.unwrap()["canary_failed"], 0);
    uses.insert("canary", scene.faulty.used());
    uses.insert("snapshot_tables", snapshot_tables().await);
    uses.insert("on_state_change", on_state_change().await);
    uses.extend(restored().await);
    uses
}

#[tokio::test]
async fn a_function_asks_for_all_that_it_may_and_may_all_that_it_asks_for() {
    let template = Template::parse(TEMPLATE).unwrap();
    let mut measured = measured().await;
    for function in functions() {
        let Some(used) = measured.remove(function.binary.as_str()) else {
            assert!(function.routes.is_empty(), "{}: let `measured` run it", function.binary);
            continue;
        };
        let granted = granted(template.properties(&function.logical_id).unwrap());
        assert_eq!(used, granted, "{}: left is what it used, right what the template grants", function.binary);
    }
}
