//! Least privilege, measured: the tests run each function with all its kinds of work, and compare its calls with the
//! grants of the template. Both must be the same.

use crate::support::archive::{Archive, chain, line, lines};
use crate::support::faults::{Command, Fault};
use crate::support::iam::{Use, like, matches, needed};
use crate::support::scene::Scene;
use crate::support::taking::{Taking, later};
use crate::support::template::functions;
use functions::commands::restore::Asked;
use functions::schedules::snapshot_tables::{Task, perform};
use local::template::{TEMPLATE, Template};
use serde_norway::Value;
use snapshot::objects::PART_BYTES;
use snapshot::restore::Wanted;
use std::collections::{BTreeMap, BTreeSet};

type Uses = BTreeSet<Use>;

/// One action on one resource that a statement of the template grants, with the conditions.
#[derive(Debug, Clone)]
struct Grant {
    action: String,
    /// The resource, named as in [`Use`].
    resource: String,
    /// `dynamodb:LeadingKeys`: patterns, one of which every partition key must match.
    keys: Vec<String>,
    /// `dynamodb:Attributes`: patterns, none of which any attribute may match.
    avoided: Vec<String>,
}

impl Grant {
    /// Whether the grant allows a call. `ForAllValues` is true for a call that names no key.
    fn allows(&self, asked: &Use) -> bool {
        self.action == asked.action
            && self.resource == asked.resource
            && (self.keys.is_empty() || asked.keys.iter().all(|key| like(&self.keys, key)))
            && asked.attributes.iter().all(|attribute| !like(&self.avoided, attribute))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Tagged(tagged) => tagged.value.as_str().unwrap().to_owned(),
        other => other.as_str().unwrap().to_owned(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_sequence().into_iter().flatten().map(text).collect()
}

fn resource(value: &Value) -> String {
    let plain = text(value).replace("arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/", "");
    if plain.ends_with("/@connections/*") {
        return "connections".to_owned();
    }
    let plain = plain.replace("${Stage}", "local").replace("${StateTable.Arn}", "StateTable.Arn");
    plain.replace("StateTable.Arn", "greenroom-state").replace("LedgerTable.Arn", "greenroom-ledger")
}

/// The grants of a function in the template.
fn granted(properties: &Value) -> Vec<Grant> {
    // `cloudwatch::the_figures_of_a_stage_are_those_of_cloudwatch` checks the calls to CloudWatch. Lambda itself reads
    // the stream and writes to the queue, with the function's role.
    let seen = |action: &&String| !action.starts_with("cloudwatch:") && !action.starts_with("sqs:");
    let mut grants = Vec::new();
    let policies = properties["Policies"].as_sequence().into_iter().flatten();
    for statement in policies.flat_map(|policy| policy["Statement"].as_sequence().unwrap()) {
        let condition = &statement["Condition"];
        let (mut keys, mut avoided) = (Vec::new(), Vec::new());
        for (operator, of) in condition.as_mapping().into_iter().flatten() {
            for (key, patterns) in of.as_mapping().unwrap() {
                match (operator.as_str().unwrap(), key.as_str().unwrap()) {
                    ("ForAllValues:StringEquals" | "ForAllValues:StringLike", "dynamodb:LeadingKeys") => {
                        keys = texts(patterns);
                    }
                    ("ForAllValues:StringNotLike", "dynamodb:Attributes") => avoided = texts(patterns),
                    // `agreement::the_canary_may_count_people_and_may_not_read_them`
                    ("StringEquals", "dynamodb:Select") => {}
                    other => panic!("no rule for {other:?}"),
                }
            }
        }
        for action in texts(&statement["Action"]).iter().filter(seen) {
            for resource in statement["Resource"].as_sequence().unwrap().iter().map(resource) {
                if !resource.contains("StreamArn") {
                    let (action, keys, avoided) = (action.clone(), keys.clone(), avoided.clone());
                    grants.push(Grant { action, resource, keys, avoided });
                }
            }
        }
    }
    grants
}

/// Actions that name partition keys. A scan names no key, and a query of the index names a room, which may be any room.
/// A condition on these would look like a restriction, and be true for every call.
const NAMING_KEYS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "DeleteItem",
    "GetItem",
    "PutItem",
    "Query",
    "UpdateItem",
];

/// The kinds of attributes of a person's state. A function that writes states may not name an attribute of a kind that
/// it does not need.
const KINDS: &[&str] = &[
    "agent*",
    "attested",
    "bound*",
    "challenge",
    "device*",
    "heard*",
    "isMuted",
    "lease*",
    "mute*",
    "name",
    "pairing*",
    "role",
    "roomId",
];

/// The same for the item of a room that somebody created.
const KINDS_OF_ROOM: &[&str] = &["passwordHash", "present", "settings", "title"];

/// The reason why a grant is wider than the calls that were made. `None`: it is not wider.
fn wider(grant: &Grant, used: &Uses) -> Option<String> {
    let uses: Vec<_> = used.iter().filter(|asked| grant.allows(asked)).collect();
    if uses.is_empty() {
        return Some("no such call was made".to_owned());
    }
    let action = grant.action.trim_start_matches("dynamodb:");
    let tables = ["greenroom-state", "greenroom-ledger"];
    if tables.contains(&grant.resource.as_str()) && NAMING_KEYS.contains(&action) {
        if grant.keys.is_empty() {
            return Some("dynamodb:LeadingKeys is missing".to_owned());
        }
        let unused = |pattern: &&String| {
            let pattern = std::slice::from_ref(*pattern);
            !uses.iter().flat_map(|asked| &asked.keys).any(|key| like(pattern, key))
        };
        if let Some(pattern) = grant.keys.iter().find(unused) {
            return Some(format!("no key like {pattern} was used"));
        }
    } else if !grant.keys.is_empty() {
        return Some("such calls name no key, so dynamodb:LeadingKeys is always true".to_owned());
    }
    let writes = |prefix: &str| {
        ["PutItem", "UpdateItem"].contains(&action)
            && uses.iter().flat_map(|asked| &asked.keys).any(|key| key.starts_with(prefix))
            && grant.resource == "greenroom-state"
    };
    let named = |kind: &str| uses.iter().flat_map(|asked| &asked.attributes).any(|attribute| matches(kind, attribute));
    let kinds = if writes("USER#") {
        KINDS
    } else if writes("ROOM#") {
        KINDS_OF_ROOM
    } else {
        &[]
    };
    let kinds: Vec<_> = kinds.iter().filter(|kind| !named(kind)).copied().collect();
    (grant.avoided != kinds).then(|| format!("dynamodb:Attributes must avoid {kinds:?}"))
}

/// The commands that only read, and `create_pairing`, which writes another code each time.
fn readings() -> Vec<Command> {
    let all = Command::readings().into_iter().map(|reading| match reading.binary {
        "get_health" => reading.asking("deep=1"),
        _ => reading,
    });
    all.chain([Command::new("create_pairing", "userId", "ada")]).collect()
}

/// The calls of a run that meets every special case: an old snapshot, an interrupted upload, a chain that grows.
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
    let mut context = taking.faulty.context();
    context.clock = later;
    let settings = config::Snapshots::read(|_| None).unwrap();
    for task in [Task::Snapshot(None), Task::Age] {
        let (run, outcome) = perform(&context, &taking.objects, &settings, task, false).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {run:?}"));
    }
    taking.faulty.used().union(&taking.bucket.used()).cloned().collect()
}

/// The calls of `on_state_change` for a new history, for one that an older version began, and for the same event again.
async fn on_state_change() -> Uses {
    let mut used = Uses::new();
    for older in [vec![], chain("demo-room", 3)] {
        let scene = Scene::new().await;
        for item in older {
            let mut item: serde_json::Value = serde_json::from_slice(&item).unwrap();
            let request = serde_json::json!({"TableName": "greenroom-ledger", "Item": item["item"].take()});
            scene.faulty.call("PutItem", &request).await;
        }
        scene.faulty.be_well();
        let event = crate::support::lambda::event("on_state_change");
        for _ in 0..2 {
            let event = serde_json::from_value(event.clone()).unwrap();
            let outcome = functions::consumers::on_state_change::run(scene.faulty.context(), event).await;
            assert!(outcome.batch_item_failures.is_empty());
        }
        used.extend(scene.faulty.used());
    }
    // The same people in a room that somebody created, where somebody is connected.
    let scene = Scene::new().await;
    scene.faulty.be_well();
    let event =
        crate::support::lambda::event("on_state_change").to_string().replace("demo-room", &scene.connected().await);
    let event = serde_json::from_str(&event).unwrap();
    functions::consumers::on_state_change::run(scene.faulty.context(), event).await;
    used.extend(scene.faulty.used());
    used
}

/// The calls of `update_room` while somebody else changes the room: it reads the room once more.
async fn update_room_beside_others() -> Uses {
    let scene = Scene::new().await;
    scene.faulty.be(Box::new(|_, operation| {
        (operation == "BatchGetItem").then_some(Fault::Answers(|answer| {
            let items = answer["Responses"]["greenroom-state"].as_array_mut().unwrap();
            let room = items.iter_mut().find(|item| item["sk"]["S"] == "META").unwrap();
            room["version"]["N"] = "0".into();
        }))
    }));
    let reply = scene.command("update_room").run(&scene.faulty.context()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    scene.faulty.used()
}

/// The calls of `on_room_change` for a room that was created, and that has ended with people in it.
async fn on_room_change() -> Uses {
    let scene = Scene::new().await;
    scene.says_something().await;
    scene.connected().await;
    let ended = scene.command("end_room").run(&scene.faulty.context()).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    scene.connected().await;
    scene.faulty.be_well();
    for event in scene.changes_of_the_room() {
        let outcome = functions::consumers::on_room_change::run(scene.faulty.context(), event.into()).await;
        assert!(outcome.batch_item_failures.is_empty());
    }
    scene.faulty.used()
}

/// The calls of each function of the WebSocket API.
async fn sockets() -> Vec<(&'static str, Uses)> {
    let scene = Scene::new().await;
    let mut used = Vec::new();
    for (binary, handler) in functions::SOCKETS {
        scene.faulty.be_well();
        let event = crate::support::lambda::event(binary).to_string();
        let context = scene.faulty.context();
        functions::answer_socket(*handler, &context, &event).await;
        // The same on the fourth connection of a participant, and on that of one who is not in the room any more.
        for other in ["L1SM9cOFvHcCIhw=", "L2SM9cOFvHcCIhw=", "L3SM9cOFvHcCIhw="] {
            scene.connected_as(other, 0, 1).await;
        }
        let offer = format!("greenroom.v1, greenroom.bearer.{}", scene.token());
        functions::answer_socket(*handler, &context, &event.replace("\"greenroom.v1\"", &format!("\"{offer}\""))).await;
        for epoch in [1, 7] {
            scene.connected_as("L0SM9cOFvHcCIhw=", 1_773_342_247_390, epoch).await;
            functions::answer_socket(*handler, &context, &event).await;
        }
        used.push((*binary, scene.faulty.used()));
    }
    used
}

/// The calls of a drill and of a restore.
async fn restored() -> [(&'static str, Uses); 2] {
    let taking = Taking::new();
    let mut all = lines(2, 3, 120);
    for kind in ["AGENT", "WITNESS"] {
        all.push(line("state", serde_json::json!({"pk": {"S": format!("{kind}#7")}, "sk": {"S": "META"}})));
    }
    Archive::new("2026-11-21-03-00-00", all).store(&taking.objects).await;
    let context = taking.faulty.context();
    let both = || taking.faulty.used().union(&taking.bucket.used()).cloned().collect();
    let be_well = || {
        taking.faulty.be_well();
        taking.bucket.be_well();
    };
    be_well();
    functions::schedules::restore_drill::perform(&context, &taking.objects, false).await.outcome().unwrap();
    let drill = both();
    be_well();
    let asked = Asked { snapshot: Wanted::Latest, keep_agents: false };
    functions::commands::restore::perform(&context, &taking.objects, &asked).await.unwrap();
    [("restore_drill", drill), ("restore", both())]
}

/// The calls of each function: for a request, for the same request again, and for a user who has been deleted.
async fn measured() -> BTreeMap<&'static str, Uses> {
    let mut uses: BTreeMap<&'static str, Uses> = BTreeMap::new();
    let count = Scene::new().await.commands().len();
    for number in 0..count + readings().len() {
        let scene = Scene::new().await;
        let context = scene.faulty.context();
        let command = scene.commands().into_iter().chain(readings()).nth(number).unwrap();
        for item in chain("demo", 3).into_iter().chain(chain(functions::schedules::canary::ROOM, 2)) {
            let mut item: serde_json::Value = serde_json::from_slice(&item).unwrap();
            let request = serde_json::json!({"TableName": "greenroom-ledger", "Item": item["item"].take()});
            scene.faulty.call("PutItem", &request).await;
        }
        scene.near_the_end_of_its_pairing().await;
        scene.faulty.be_well();
        if command.binary == "attest" {
            scene.ask().run(&context).await;
        }
        scene.connected().await;
        command.run(&context).await;
        command.run(&context).await;
        let first = scene.faulty.used();
        Command::new("delete_user", "userId", "ada").run(&context).await;
        scene.faulty.be_well();
        command.run(&context).await;
        uses.entry(command.binary).or_default().extend(first.union(&scene.faulty.used()).cloned());
    }
    let scene = Scene::new().await;
    scene.faulty.be_well();
    let stop = scene.faulty.follow();
    let ran = functions::schedules::canary::run(scene.faulty.context(), serde_json::Value::Null).await;
    stop.send(true).unwrap();
    assert_eq!(ran.unwrap()["canary_failed"], 0);
    uses.insert("canary", scene.faulty.used());
    uses.insert("snapshot_tables", snapshot_tables().await);
    uses.insert("on_state_change", Box::pin(on_state_change()).await);
    uses.insert("on_room_change", on_room_change().await);
    uses.entry("update_room").or_default().extend(update_room_beside_others().await);
    uses.extend(sockets().await);
    uses.extend(restored().await);
    uses
}

#[tokio::test]
async fn each_function_makes_exactly_the_calls_that_the_template_grants() {
    let template = Template::parse(TEMPLATE).unwrap();
    let mut measured = Box::pin(measured()).await;
    let mut wrong = Vec::new();
    for function in functions() {
        let Some(used) = measured.remove(function.binary.as_str()) else {
            assert!(function.routes.is_empty(), "{}: let `measured` run it", function.binary);
            continue;
        };
        let granted = granted(template.properties(&function.logical_id).unwrap());
        for asked in used.iter().filter(|asked| !granted.iter().any(|grant| grant.allows(asked))) {
            wrong.push(format!("{}: the template does not grant {asked:?}", function.binary));
        }
        for grant in &granted {
            if let Some(why) = wider(grant, &used) {
                let Grant { action, resource, keys, .. } = grant;
                wrong.push(format!("{}: {action} on {resource} with {keys:?} is too wide: {why}", function.binary));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_evaluator_refuses_a_call_that_breaks_a_condition() {
    let mute = Grant {
        action: "dynamodb:UpdateItem".to_owned(),
        resource: "greenroom-state".to_owned(),
        keys: vec!["USER#*".to_owned()],
        avoided: vec!["heard*".to_owned()],
    };
    let update = |key: &str, update: &str| {
        let body = serde_json::json!({
            "TableName": "greenroom-state", "Key": {"pk": {"S": key}, "sk": {"S": "STATE"}}, "UpdateExpression": update,
            "ConditionExpression": "lastUpdated <= :now AND #version = :version",
            "ExpressionAttributeNames": {"#version": "version"},
        });
        needed("UpdateItem", &body).remove(0)
    };
    let plain = update("USER#ada", "SET isMuted = :muted ADD version :one");
    let attributes: Vec<_> = plain.attributes.iter().map(String::as_str).collect();
    assert_eq!(attributes, ["isMuted", "lastUpdated", "pk", "sk", "version"]);
    assert!(mute.allows(&plain));
    assert!(!mute.allows(&update("AGENT#7", "SET isMuted = :muted")));
    assert!(!mute.allows(&update("USER#ada", "SET isMuted = :muted REMOVE heardAt")));
    let parts = serde_json::json!({"TransactItems": [{"Put": {"TableName": "t", "Item": {"pk": {"S": "AGENT#7"}}}}]});
    let put = needed("TransactWriteItems", &parts).remove(0);
    assert_eq!((put.action.as_str(), put.keys), ("dynamodb:PutItem", ["AGENT#7".to_owned()].into()));
}
