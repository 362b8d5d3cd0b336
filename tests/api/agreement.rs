//! Lists that must agree. Each message says what to do.

use crate::support::template::{endpoints, functions, routes};
use crate::support::{read, root};
use local::template::{Function, TEMPLATE, Template};
use serde_json::Value as Json;
use serde_norway::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Names = BTreeSet<String>;

/// All files below a folder of the workspace, relative to it.
fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let folder = root().join(folder);
    let mut found = Vec::new();
    walk(&folder, &mut found);
    found.iter().map(|path| path.strip_prefix(&folder).unwrap().to_owned()).collect()
}

/// Names of the files with this extension, without it.
fn stems(folder: &str, extension: &str) -> Names {
    let files = files(folder).into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

fn binaries(functions: Vec<Function>) -> Names {
    functions.into_iter().map(|function| function.binary).collect()
}

/// The folders of functions/src whose functions an event starts instead of a request, and what starts them in the binary.
const EVENT_DRIVEN: &[(&str, &str)] =
    &[("commands", "serve_schedule"), ("schedules", "serve_schedule"), ("streams", "consume")];

fn is_event_driven(path: &Path) -> bool {
    EVENT_DRIVEN.iter().any(|(folder, _)| path.starts_with(folder))
}

/// The functions that have no route, by the folder their file lies in.
fn event_driven() -> BTreeMap<&'static str, Names> {
    EVENT_DRIVEN.iter().map(|(folder, _)| (*folder, stems(&format!("functions/src/{folder}"), "rs"))).collect()
}

fn template() -> Value {
    serde_norway::from_str(TEMPLATE).unwrap()
}

#[track_caller]
fn agree(left: &Names, right: &Names, advice: &str) {
    let missing: Vec<_> = left.difference(right).collect();
    let extra: Vec<_> = right.difference(left).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{advice}\nmissing: {missing:?}\ntoo many: {extra:?}");
}

#[test]
fn every_function_has_a_binary_a_handler_an_event_and_a_test() {
    let template = binaries(functions());
    agree(
        &template,
        &stems("functions/src/bin", "rs"),
        "functions/src/bin must hold one file per function of template.yaml",
    );
    agree(&template, &stems("events", "json"), "events must hold one <binary>.json per function of template.yaml");
    let endpoints = binaries(endpoints());
    let registered = functions::ENDPOINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    agree(&endpoints, &registered, "`endpoints!` in functions/src/lib.rs must list each endpoint of template.yaml");
    agree(
        &endpoints,
        &stems("tests/api/routes", "rs"),
        "tests/api/routes must hold one <binary>.rs per endpoint of template.yaml",
    );
    let others = template.difference(&endpoints).cloned().collect();
    let files = event_driven().into_values().flatten().collect();
    agree(
        &others,
        &files,
        "a function of template.yaml without a route must have its file in a folder of EVENT_DRIVEN",
    );
    for (folder, files) in event_driven() {
        let tests = stems(&format!("tests/api/{folder}"), "rs");
        agree(&files, &tests, &format!("tests/api/{folder} must hold one test per file of functions/src/{folder}"));
    }
}

#[test]
fn every_binary_starts_the_endpoint_of_its_name() {
    // Its figures come from elsewhere, so that no other binary links where from.
    let text = read("functions/src/bin/get_metrics.rs");
    assert!(text.contains("functions::serve_with(functions::entries::get_metrics, "), "{text}");
    for binary in binaries(endpoints()).iter().filter(|binary| *binary != "get_metrics") {
        let expected = format!(
            "//! The Lambda of the endpoint of the same name.\nfn main() -> Result<(), functions::Error> {{\n    \
             functions::serve(functions::entries::{binary})\n}}\n"
        );
        let path = format!("functions/src/bin/{binary}.rs");
        assert_eq!(read(&path), expected, "{path} is never edited: copy another one and change the name");
    }
    for (folder, serve) in EVENT_DRIVEN {
        for binary in &event_driven()[folder] {
            let path = format!("functions/src/bin/{binary}.rs");
            let call = format!("    functions::{serve}(functions::{folder}::{binary}::run)\n");
            assert!(read(&path).contains(&call), "{path} must hold {call:?}");
        }
    }
}

#[test]
fn every_handler_says_its_route_in_its_first_line() {
    let handlers: BTreeMap<_, _> = files("functions/src")
        .into_iter()
        .filter(|path| path.components().count() == 2 && !path.starts_with("bin") && !is_event_driven(path))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    agree(
        &binaries(endpoints()),
        &handlers.keys().cloned().collect(),
        "functions/src/<group>/<binary>.rs must hold each handler, and nothing else may lie there",
    );
    for function in endpoints() {
        let [route] = function.routes.as_slice() else {
            panic!("{} must have one route in template.yaml: one function, one endpoint", function.logical_id)
        };
        let path = format!("functions/src/{}", handlers[&function.binary].display());
        let text = read(&path);
        let first = text.lines().next().unwrap();
        let expected = format!("//! `{route}`: ");
        assert!(
            first.starts_with(&expected),
            "the first line of {path} must start with {expected:?}, as in template.yaml"
        );
    }
}

#[test]
fn every_consumer_says_whose_stream_it_follows_and_has_an_event_of_it() {
    for consumer in &event_driven()["streams"] {
        let path = format!("functions/src/streams/{consumer}.rs");
        assert!(read(&path).starts_with("//! The "), "{path} must say first whose stream it follows");
        let path = format!("events/{consumer}.json");
        let event: Json = serde_json::from_str(&read(&path)).unwrap();
        for record in event["Records"].as_array().unwrap() {
            assert_eq!(record["eventSource"], "aws:dynamodb", "{path}");
        }
    }
    let registered = functions::CONSUMERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    agree(&event_driven()["streams"], &registered, "CONSUMERS in functions/src/lib.rs must list each file of streams");
}

#[test]
fn the_ledger_is_kept_and_written_by_its_consumer_alone() {
    let template = template();
    let ledger = &template["Resources"]["LedgerTable"];
    assert_eq!(ledger["DeletionPolicy"], "RetainExceptOnCreate");
    let properties = &ledger["Properties"];
    assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(properties["SSESpecification"]["SSEEnabled"], true);
    assert_eq!(properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(
        properties["DeletionProtectionEnabled"],
        template["Resources"]["StateTable"]["Properties"]["DeletionProtectionEnabled"]
    );
    assert!(properties.get("TimeToLiveSpecification").is_none(), "an entry never expires");
    let reads = ["GetItem", "Query", "Scan", "DescribeTable"].map(|action| format!("dynamodb:{action}"));
    let mut writers = Vec::new();
    for function in functions() {
        let properties = &template["Resources"][function.logical_id.as_str()]["Properties"];
        for policy in properties["Policies"].as_sequence().into_iter().flatten() {
            for statement in policy["Statement"].as_sequence().unwrap() {
                let actions = list(&statement["Action"]);
                if list(&statement["Resource"]).contains(&"!GetAtt LedgerTable.Arn".to_owned())
                    && !actions.iter().all(|action| reads.contains(action))
                {
                    writers.push((function.binary.clone(), actions));
                }
            }
        }
    }
    let names: Names = writers.iter().map(|(writer, _)| writer.clone()).collect();
    // The one adds to it; the other fills it again when it is empty.
    agree(&names, &["on_state_change", "restore"].map(str::to_owned).into(), "nobody else writes the ledger");
    let deletes = |action: &String| action.contains("Delete");
    assert!(!writers.iter().any(|(_, actions)| actions.iter().any(deletes)), "nobody deletes from the ledger");
}

#[test]
fn the_stream_is_followed_in_order_and_no_failure_is_lost() {
    let template = template();
    let resources = &template["Resources"];
    assert_eq!(resources["StateTable"]["Properties"]["StreamSpecification"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    let mapping = &resources["OnStateChangeMapping"];
    assert_eq!(mapping["Type"], "AWS::Lambda::EventSourceMapping");
    let mapping = &mapping["Properties"];
    assert_eq!(short(&mapping["EventSourceArn"]), "!GetAtt StateTable.StreamArn");
    assert_eq!(list(&mapping["FunctionResponseTypes"]), ["ReportBatchItemFailures"]);
    assert_eq!(mapping["BisectBatchOnFunctionError"], true);
    assert!(mapping["MaximumRetryAttempts"].as_u64().is_some_and(|attempts| attempts > 0));
    let age = mapping["MaximumRecordAgeInSeconds"].as_u64().unwrap();
    assert!(age < 24 * 60 * 60, "a stream forgets after a day: the queue must learn of a failure before");
    let queue = short(&mapping["DestinationConfig"]["OnFailure"]["Destination"]);
    assert_eq!(queue, "!GetAtt StateChangeFailures.Arn");
    assert_eq!(resources["StateChangeFailures"]["Type"], "AWS::SQS::Queue");
}

#[test]
fn tests_lie_where_handlers_lie() {
    let group = |path: &PathBuf| path.components().count() == 2 && !path.starts_with("bin") && !is_event_driven(path);
    let names =
        |folder: &str| files(folder).iter().filter(|path| group(path)).map(|path| path.display().to_string()).collect();
    agree(&names("functions/src"), &names("tests/api/routes"), "tests/api/routes must mirror functions/src");
}

#[test]
fn every_event_is_one_of_its_route() {
    for function in endpoints() {
        let path = format!("events/{}.json", function.binary);
        let event: Json = serde_json::from_str(&read(&path)).unwrap();
        let route = &function.routes[0];
        let context = &event["requestContext"];
        assert_eq!(event["version"], "2.0", "{path}: an HTTP API sends version 2.0");
        for key in [&event["routeKey"], &context["routeKey"]] {
            assert_eq!(key, &route.to_string(), "{path}: routeKey must be the route in template.yaml");
        }
        assert_eq!(event["rawPath"], context["http"]["path"], "{path}: the two paths must be the same");
        if route.path == "$default" {
            continue;
        }
        assert_eq!(context["http"]["method"], route.method, "{path}: method must be that of the route");
        let mut expected = route.path.clone();
        for (name, value) in event["pathParameters"].as_object().into_iter().flatten() {
            expected = expected.replace(&format!("{{{name}}}"), value.as_str().unwrap());
        }
        assert_eq!(event["rawPath"], expected, "{path}: rawPath must be the route with its pathParameters");
        let length = event["body"].as_str().unwrap_or_default().len().to_string();
        assert_eq!(event["headers"]["content-length"], length, "{path}: content-length must be that of the body");
    }
}

#[test]
fn no_two_functions_share_a_route() {
    let mut routes = routes();
    routes.sort();
    let count = routes.len();
    routes.dedup();
    assert_eq!(routes.len(), count, "two functions of template.yaml have the same route");
}

#[test]
fn the_description_has_the_routes_of_the_template() {
    let described: Json = serde_json::from_str(functions::OPENAPI).unwrap();
    let described = described["paths"].as_object().unwrap().iter();
    let described = described
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let routes = routes().into_iter().map(|route| route.to_string()).filter(|route| route != "$default").collect();
    agree(&routes, &described, "docs/openapi.json must describe the routes of template.yaml");
}

/// What each function may do: actions, and what they may be done to. Anything more must be asked for here.
const PERMISSIONS: &[(&str, &[&str], &[&str])] = &[
    ("attest", &["dynamodb:GetItem", "dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    (
        "canary",
        &["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:UpdateItem"],
        &["!GetAtt StateTable.Arn", "!Sub ${StateTable.Arn}/index/room-index"],
    ),
    ("create_pairing", &["dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    ("delete_user", &["dynamodb:DeleteItem"], &["!GetAtt StateTable.Arn"]),
    ("enroll_agent", &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    ("get_health", &["dynamodb:GetItem"], &["!GetAtt StateTable.Arn"]),
    ("get_metrics", &["cloudwatch:GetMetricData"], &["*"]),
    ("get_openapi", &[], &[]),
    ("get_room_audit", &["dynamodb:GetItem", "dynamodb:Query"], &["!GetAtt LedgerTable.Arn"]),
    ("get_room_safe", &["dynamodb:Query"], &["!Sub ${StateTable.Arn}/index/room-index"]),
    ("get_user", &["dynamodb:GetItem"], &["!GetAtt StateTable.Arn"]),
    ("list_room_events", &["dynamodb:GetItem", "dynamodb:Query"], &["!GetAtt LedgerTable.Arn"]),
    ("list_room_users", &["dynamodb:Query"], &["!Sub ${StateTable.Arn}/index/room-index"]),
    ("list_users", &["dynamodb:Scan"], &["!GetAtt StateTable.Arn"]),
    ("no_route", &[], &[]),
    (
        "on_state_change",
        &[
            "dynamodb:DescribeStream",
            "dynamodb:GetItem",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "sqs:SendMessage",
        ],
        &["!GetAtt LedgerTable.Arn", "!GetAtt StateChangeFailures.Arn", "!GetAtt StateTable.StreamArn"],
    ),
    (
        "restore",
        &[
            "dynamodb:BatchWriteItem",
            "dynamodb:DeleteItem",
            "dynamodb:DescribeTable",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
            "s3:GetObject",
            "s3:ListBucket",
        ],
        &["!GetAtt LedgerTable.Arn", "!GetAtt SnapshotBucket.Arn", "!GetAtt StateTable.Arn", SNAPSHOTS],
    ),
    (
        "restore_drill",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:CreateTable",
            "dynamodb:DeleteItem",
            "dynamodb:DeleteTable",
            "dynamodb:DescribeTable",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
            "s3:GetObject",
            "s3:ListBucket",
        ],
        &[
            "!GetAtt LedgerTable.Arn",
            "!GetAtt SnapshotBucket.Arn",
            "!GetAtt StateTable.Arn",
            "!Sub arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/greenroom-${Stage}-drill-ledger",
            "!Sub arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/greenroom-${Stage}-drill-state",
            SNAPSHOTS,
        ],
    ),
    ("revoke_agent", &["dynamodb:GetItem", "dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    ("set_binding", &["dynamodb:GetItem", "dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    ("set_device", &["dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    ("set_mute", &["dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    ("set_state", &["dynamodb:UpdateItem"], &["!GetAtt StateTable.Arn"]),
    (
        "snapshot_tables",
        &[
            "dynamodb:DeleteItem",
            "dynamodb:DescribeTable",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads",
            "s3:PutObject",
        ],
        &["!GetAtt LedgerTable.Arn", "!GetAtt SnapshotBucket.Arn", "!GetAtt StateTable.Arn", SNAPSHOTS],
    ),
];

/// The one resource with a star: S3 has no other way to say "the objects whose names begin so". What is granted is still
/// one action after another.
const SNAPSHOTS: &str = "!Sub ${SnapshotBucket.Arn}/database-backups/*";
/// The functions that read a whole table.
const SCANNING: &[&str] = &["canary", "list_users", "restore", "restore_drill", "snapshot_tables"];

/// A text, or an intrinsic function in its short form.
fn short(value: &Value) -> String {
    match value {
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, tagged.value.as_str().unwrap()),
        other => other.as_str().unwrap().to_owned(),
    }
}

/// A value that may be one or a list.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Sequence(items) => items.iter().map(short).collect(),
        other => vec![short(other)],
    }
}

#[test]
fn every_function_may_do_what_its_endpoint_needs_and_no_more() {
    let template = Template::parse(TEMPLATE).unwrap();
    let mut granted = Vec::new();
    for function in functions() {
        let properties = template.properties(&function.logical_id).unwrap();
        let (mut actions, mut resources) = (Names::new(), Names::new());
        for policy in properties["Policies"].as_sequence().into_iter().flatten() {
            for statement in policy["Statement"].as_sequence().unwrap() {
                assert_eq!(
                    statement["Effect"], "Allow",
                    "{}: a statement that denies hides what is granted",
                    function.logical_id
                );
                actions.extend(list(&statement["Action"]));
                resources.extend(list(&statement["Resource"]));
            }
        }
        assert!(properties.get("Role").is_none(), "{}: its role must follow from its Policies", function.logical_id);
        // IAM has no resource for reading metrics. One function may, and may nothing else.
        let reads_metrics = function.binary == "get_metrics" && actions.iter().eq(["cloudwatch:GetMetricData"]);
        let mut texts = actions.union(&resources).filter(|text| *text != SNAPSHOTS);
        assert!(reads_metrics || texts.all(|text| !text.contains('*')), "{}: no wildcard", function.logical_id);
        let scans = actions.contains("dynamodb:Scan");
        assert!(!scans || SCANNING.contains(&function.binary.as_str()), "{} may not scan", function.binary);
        granted.push((function.binary, actions, resources));
    }
    granted.sort();
    let names = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Names>();
    let expected: Vec<_> = PERMISSIONS
        .iter()
        .map(|(binary, actions, resources)| ((*binary).to_owned(), names(actions), names(resources)))
        .collect();
    assert_eq!(granted, expected, "template.yaml grants other permissions than PERMISSIONS in tests/api/agreement.rs");
}

#[test]
fn the_canary_may_touch_no_user_but_its_own() {
    let template = template();
    let policy = &template["Resources"]["CanaryFunction"]["Properties"]["Policies"][0]["Statement"][0];
    let keys = list(&policy["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]);
    assert_eq!(keys, [format!("USER#{}", functions::schedules::canary::USER), "HEALTH".to_owned()]);
}

#[test]
fn the_canary_may_count_and_read_nobody_whom_it_counts() {
    let template = template();
    let policy = &template["Resources"]["CanaryFunction"]["Properties"]["Policies"][0]["Statement"];
    let [own, count] = policy.as_sequence().unwrap().as_slice() else { panic!("two statements: {policy:?}") };
    assert!(!list(&own["Action"]).contains(&"dynamodb:Scan".to_owned()));
    assert_eq!(
        (list(&count["Action"]), &count["Condition"]["StringEquals"]["dynamodb:Select"]),
        (vec!["dynamodb:Scan".to_owned()], &Value::from("COUNT"))
    );
}

#[test]
fn who_takes_snapshots_may_write_nothing_to_the_tables_but_its_lease() {
    let template = template();
    let policy = &template["Resources"]["SnapshotTablesFunction"]["Properties"]["Policies"][0]["Statement"];
    for statement in policy.as_sequence().unwrap() {
        let actions = list(&statement["Action"]);
        if actions.iter().any(|action| ["dynamodb:UpdateItem", "dynamodb:DeleteItem"].contains(&action.as_str())) {
            let keys = list(&statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]);
            assert_eq!((keys.as_slice(), actions.len()), (["LEASE#snapshot".to_owned()].as_slice(), 2));
        }
    }
}

/// The tables in use that a statement is about.
fn live_tables(statement: &Value) -> Vec<String> {
    let mut resources = list(&statement["Resource"]);
    resources.retain(|resource| ["!GetAtt StateTable.Arn", "!GetAtt LedgerTable.Arn"].contains(&resource.as_str()));
    resources
}

#[test]
fn a_drill_may_read_the_schema_of_the_tables_in_use_and_write_its_lease_there() {
    let template = template();
    let policy = &template["Resources"]["RestoreDrillFunction"]["Properties"]["Policies"][0]["Statement"];
    let mut seen = Vec::new();
    for statement in policy.as_sequence().unwrap() {
        if live_tables(statement).is_empty() {
            continue;
        }
        let leases = &statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"];
        let leases = if leases.is_null() { Vec::new() } else { list(leases) };
        seen.push((list(&statement["Action"]), leases));
    }
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            (texts(&["dynamodb:DescribeTable"]), Vec::new()),
            (texts(&["dynamodb:DeleteItem", "dynamodb:UpdateItem"]), texts(&["LEASE#drill"])),
        ]
    );
}

#[test]
fn a_restore_removes_nothing_but_its_lease_and_still_runs_when_everything_else_is_stopped() {
    let template = template();
    let function = &template["Resources"]["RestoreFunction"]["Properties"];
    for statement in function["Policies"][0]["Statement"].as_sequence().unwrap() {
        let actions = list(&statement["Action"]);
        if actions.iter().any(|action| ["dynamodb:UpdateItem", "dynamodb:DeleteItem"].contains(&action.as_str())) {
            let keys = list(&statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]);
            assert_eq!(
                (keys, live_tables(statement)),
                (vec!["LEASE#restore".into()], vec!["!GetAtt StateTable.Arn".into()])
            );
        }
    }
    assert_eq!(short(&function["ReservedConcurrentExecutions"]), "!Ref AWS::NoValue", "instead of what Globals say");
    assert!(function["Timeout"].as_u64().unwrap() > 14 * 60, "it stops after 14 minutes by itself");
}

#[test]
fn snapshots_are_taken_at_three_and_their_age_is_asked_for_each_hour() {
    let template = template();
    let function = &template["Resources"]["SnapshotTablesFunction"]["Properties"];
    let events = &function["Events"];
    assert_eq!(events["Schedule"]["Properties"]["Schedule"], "cron(0 3 * * ? *)");
    assert_eq!(events["Age"]["Properties"]["Schedule"], "rate(1 hour)");
    assert_eq!(events["Age"]["Properties"]["Input"], r#"{"task":"age"}"#);
    assert_eq!(template["Parameters"]["SnapshotsEnabled"]["Default"], "true");
    assert_eq!(template["Parameters"]["SnapshotRetentionDays"]["Default"], 7);
    assert!(function["Timeout"].as_u64().unwrap() > 870, "it reports a failure after 870 s by itself");
}

#[test]
fn every_schedule_says_when_in_its_first_line() {
    for binary in &event_driven()["schedules"] {
        let function = functions().into_iter().find(|function| function.binary == *binary).unwrap();
        let template = template();
        let events = &template["Resources"][function.logical_id.as_str()]["Properties"]["Events"];
        let rate = events["Schedule"]["Properties"]["Schedule"].as_str().unwrap();
        let path = format!("functions/src/schedules/{binary}.rs");
        assert!(
            read(&path).starts_with(&format!("//! `{rate}`: ")),
            "{path} must start with `{rate}`, as in template.yaml"
        );
    }
}

#[test]
fn every_function_has_its_own_log_group_that_forgets() {
    let template = template();
    let resources = &template["Resources"];
    let mut groups = Names::new();
    for function in functions() {
        let properties = &resources[function.logical_id.as_str()]["Properties"];
        let Value::Tagged(reference) = &properties["LoggingConfig"]["LogGroup"] else {
            panic!("{}: LoggingConfig must refer to a log group of its own", function.logical_id)
        };
        let name = reference.value.as_str().unwrap();
        assert!(groups.insert(name.to_owned()), "{name} is the log group of two functions");
        let group = &resources[name];
        assert_eq!(group["Type"], "AWS::Logs::LogGroup", "{name} must be a log group");
        let retention = short(&group["Properties"]["RetentionInDays"]);
        assert_eq!(retention, "!Ref LogRetentionDays", "{name} must forget, or logs cost more every month");
        let [log, function_name] = [&group["Properties"]["LogGroupName"], &properties["FunctionName"]].map(short);
        let expected = function_name.replace("!Sub ", "!Sub /aws/lambda/");
        assert_eq!(log, expected, "{name} must have the name of its function");
        assert_eq!(function_name, format!("!Sub greenroom-${{Stage}}-{}", function.binary.replace('_', "-")));
    }
}

/// The alarms by logical id, and their properties.
fn alarms(template: &Value) -> BTreeMap<String, &Value> {
    let resources = template["Resources"].as_mapping().unwrap().iter();
    let alarms = resources.filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    alarms.map(|(id, resource)| (id.as_str().unwrap().to_owned(), &resource["Properties"])).collect()
}

#[test]
fn every_alarm_says_what_silence_means_and_tells_somebody_who_finds_it_in_the_runbook() {
    let template = template();
    let runbook = read("docs/runbook.md");
    let alarms = alarms(&template);
    assert!((1..=10).contains(&alarms.len()), "ten alarms are enough to be listened to");
    for (id, alarm) in alarms {
        // A canary, and an age of the newest snapshot, that nobody publishes are bad news.
        let silence =
            if ["CanaryAlarm", "SnapshotsAlarm"].contains(&id.as_str()) { "breaching" } else { "notBreaching" };
        assert_eq!(alarm["TreatMissingData"], silence, "{id}");
        for told in ["AlarmActions", "OKActions"] {
            assert_eq!(list(&alarm[told]), ["!Ref Alarms"], "{id}: {told}");
        }
        let name = short(&alarm["AlarmName"]);
        let name = name.strip_prefix("!Sub greenroom-${Stage}-").unwrap();
        assert!(runbook.contains(&format!("| `{name}` |")), "docs/runbook.md must say what {name} means");
    }
}

#[test]
fn alarms_on_limits_follow_the_limits() {
    let template = template();
    let (function, alarms) = (&template["Globals"]["Function"], alarms(&template));
    let threshold = |id: &str| alarms[id]["Threshold"].as_f64().unwrap();
    let near = |left: f64, right: f64| (left - right).abs() < 1e-6;
    assert!(
        near(threshold("MemoryAlarm"), 0.85 * function["MemorySize"].as_f64().unwrap()),
        "85 % of the memory, in MB"
    );
    assert!(near(threshold("ApiNearTimeoutAlarm"), 800.0 * function["Timeout"].as_f64().unwrap()), "80 % of it, in ms");
}

#[test]
fn the_dashboard_is_readable_and_shows_every_alarm() {
    let template = template();
    let Value::Tagged(body) = &template["Resources"]["Dashboard"]["Properties"]["DashboardBody"] else {
        panic!("DashboardBody must be !Sub")
    };
    // With snapshots, and with a number where CloudFormation puts one.
    let body = body.value[0].as_str().unwrap().replace("${ConcurrentUserLimit}", "10");
    let body: Json =
        serde_json::from_str(&body.replace("${AlarmOfSnapshots}", r#", "${SnapshotsAlarm.Arn}""#)).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    let shown =
        widgets[0]["properties"]["alarms"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap().to_owned());
    let alarms = alarms(&template).into_keys().map(|id| format!("${{{id}.Arn}}")).collect();
    agree(&alarms, &shown.collect(), "the first widget of the dashboard must show every alarm");
    for widget in widgets {
        assert!(widget["x"].as_u64().unwrap() + widget["width"].as_u64().unwrap() <= 24, "{widget}");
    }
    let text = body.to_string();
    for shown in ["IteratorAge", "concurrent_users", "backup_age_hours", "snapshot_failed", "restore_drill_failed"] {
        assert!(text.contains(&format!("\"{shown}\"")), "the dashboard must show {shown}");
    }
    let places: BTreeSet<_> = widgets.iter().map(|widget| (widget["x"].as_u64(), widget["y"].as_u64())).collect();
    assert_eq!(places.len(), widgets.len(), "two widgets in one place");
}

/// What an alarm looks at, as `Namespace/MetricName` by the id that its expression uses.
fn watched(alarm: &Value) -> BTreeMap<String, String> {
    let queries = alarm["Metrics"].as_sequence().unwrap().iter().filter(|query| query.get("MetricStat").is_some());
    let named = queries.map(|query| {
        let metric = &query["MetricStat"]["Metric"];
        (short(&query["Id"]), format!("{}/{}", short(&metric["Namespace"]), short(&metric["MetricName"])))
    });
    named.collect()
}

#[test]
fn what_cannot_be_brought_back_rings_if_snapshots_are_taken_at_all() {
    let template = template();
    assert_eq!(template["Resources"]["SnapshotsAlarm"]["Condition"], "TakesSnapshots");
    let others = alarms(&template).into_keys().filter(|id| id != "SnapshotsAlarm");
    for id in others {
        assert!(template["Resources"][id.as_str()].get("Condition").is_none(), "{id} exists always");
    }
    let alarm = alarms(&template)["SnapshotsAlarm"];
    let own = |name: &str| format!("!Sub Greenroom/${{Stage}}/{name}");
    let expected = [("age", "backup_age_hours"), ("snapshot", "snapshot_failed"), ("drill", "restore_drill_failed")];
    assert_eq!(watched(alarm), expected.map(|(id, name)| (id.to_owned(), own(name))).into());
    assert_eq!(alarm["Metrics"][0]["Expression"], "MAX([FILL(age, 1000), 1000 * snapshot, 1000 * drill])");
    assert_eq!((alarm["Threshold"].as_u64(), &alarm["ComparisonOperator"]), (Some(26), &"GreaterThanThreshold".into()));
}

#[test]
fn a_history_that_is_late_or_has_a_hole_rings() {
    let template = template();
    let alarm = alarms(&template)["HistoryAlarm"];
    let expected = [("age", "AWS/Lambda/IteratorAge"), ("lost", "AWS/SQS/ApproximateNumberOfMessagesVisible")];
    assert_eq!(watched(alarm), expected.map(|(id, name)| (id.to_owned(), name.to_owned())).into());
    assert_eq!(alarm["Metrics"][0]["Expression"], "MAX([age / 900000, lost])", "milliseconds, and batches");
    let (threshold, operator) = (alarm["Threshold"].as_u64(), &alarm["ComparisonOperator"]);
    assert_eq!((threshold, operator), (Some(1), &"GreaterThanOrEqualToThreshold".into()));
}

/// CloudWatch adds nothing up where one of the series has no value; a function of a list takes what there is.
#[test]
fn no_alarm_is_blind_because_one_of_its_series_is_empty() {
    let mut alarmed = 0;
    for (id, alarm) in alarms(&template()) {
        let queries = alarm["Metrics"].as_sequence().into_iter().flatten();
        let series = alarm["Metrics"].as_sequence().map_or(1, |queries| queries.len() - 1);
        for query in queries.filter(|query| query.get("Expression").is_some()) {
            let expression = short(&query["Expression"]);
            let of_a_list = expression.starts_with("MAX([") || expression.starts_with("SUM([");
            assert!(series == 1 || of_a_list, "{id}: {expression}");
        }
        assert!(series <= 10, "{id}: an alarm may look at ten series");
        alarmed += series;
    }
    assert_eq!(alarmed, xtask::cost::ALARMED, "ALARMED in xtask/src/cost.rs");
}

/// Variables of the local runner alone, which no function reads.
const LOCAL_ONLY: &[&str] = &[];

#[test]
fn the_template_sets_every_variable_that_the_functions_read() {
    let template = template();
    let set = template["Globals"]["Function"]["Environment"]["Variables"].as_mapping().unwrap();
    let set = set.keys().map(|name| name.as_str().unwrap().to_owned()).collect();
    let names = |variables: &[state::config::Variable]| -> Names {
        variables.iter().map(|variable| variable.name.to_owned()).collect()
    };
    let (all, snapshots) = (names(state::config::VARIABLES), names(state::config::SNAPSHOT_VARIABLES));
    let read = all.difference(&snapshots).filter(|name| !LOCAL_ONLY.contains(&name.as_str())).cloned().collect();
    agree(
        &read,
        &set,
        "Globals of template.yaml must set each variable of shared/state/src/config.rs, or LOCAL_ONLY must name it",
    );
    let function = &template["Resources"]["SnapshotTablesFunction"]["Properties"];
    let set = function["Environment"]["Variables"].as_mapping().unwrap();
    let set = set.keys().map(|name| name.as_str().unwrap().to_owned()).collect();
    agree(&snapshots, &set, "SnapshotTablesFunction must set each of SNAPSHOT_VARIABLES");
}

/// Variables that AWS or its tools set, read outside of config.rs.
const AWS_VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_S3",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

#[test]
fn no_variable_is_read_behind_the_back_of_the_configuration() {
    let mut read_elsewhere = Names::new();
    for folder in [
        "shared/cloudwatch/src",
        "shared/domain/src",
        "shared/snapshot/src",
        "shared/state/src",
        "functions/src",
        "local/src",
    ] {
        for file in files(folder).iter().filter(|path| path.extension().is_some_and(|found| found == "rs")) {
            let text = read(&format!("{folder}/{}", file.display()));
            for call in ["env::var(\"", "env::var_os(\"", "variable(\"", "variable_os(\""] {
                let names = text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
                read_elsewhere.extend(names);
            }
        }
    }
    let known = AWS_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    agree(
        &known,
        &read_elsewhere,
        "a variable of ours belongs into shared/state/src/config.rs; one of AWS's into AWS_VARIABLES in tests/api/agreement.rs",
    );
}

#[test]
fn the_generated_pages_are_up_to_date() {
    for (page, text) in xtask::pages() {
        assert_eq!(read(page), text, "run `cargo xtask docs`, which writes {page}");
    }
}

#[test]
fn the_gateway_and_the_runner_allow_the_same_headers() {
    let template = template();
    let cors = &template["Resources"]["Api"]["Properties"]["CorsConfiguration"];
    let sorted = |name: &str| {
        let mut items: Vec<_> = list(&cors[name]).iter().map(|item| item.to_lowercase()).collect();
        items.sort_unstable();
        items.join(", ")
    };
    let runner = crate::support::Runner::ephemeral();
    let ask = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
    let preflight = runner.send("OPTIONS", "/api/users/ada", &ask, "");
    assert_eq!(preflight.header("access-control-allow-headers"), Some(sorted("AllowHeaders").as_str()));
    let answer = runner.get("/api/health");
    assert_eq!(answer.header("access-control-expose-headers").map(str::to_lowercase), Some(sorted("ExposeHeaders")));
    assert_eq!(cors["MaxAge"].as_u64().unwrap().to_string(), preflight.header("access-control-max-age").unwrap());
    let methods: Names = routes().into_iter().map(|route| route.method).filter(|method| method != "ANY").collect();
    let allowed: Names = list(&cors["AllowMethods"]).into_iter().filter(|method| method != "OPTIONS").collect();
    agree(&methods, &allowed, "AllowMethods of template.yaml must be the methods of its routes");
}
