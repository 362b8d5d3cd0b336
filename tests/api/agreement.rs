//! Compares lists that must agree. Each message says what to do.

use crate::support::template::{functions, routes};
use crate::support::{read, root};
use functions::DECLARED;
use functions::function::{CONNECTIONS, Class, Declared, FunctionKind, SNAPSHOTS, Trigger, route_key};
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

fn template() -> Value {
    serde_norway::from_str(TEMPLATE).unwrap()
}

#[track_caller]
fn agree(left: &Names, right: &Names, advice: &str) {
    let missing: Vec<_> = left.difference(right).collect();
    let extra: Vec<_> = right.difference(left).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{advice}\nmissing: {missing:?}\ntoo many: {extra:?}");
}

/// The folder of a function's test.
fn test_folder(declared: &Declared) -> String {
    let below = if declared.kind == FunctionKind::Endpoint { "routes/" } else { "" };
    format!("tests/api/{below}{}", declared.group)
}

#[test]
fn every_function_is_listed_and_has_a_test_where_its_handler_lies() {
    let groups: BTreeMap<_, _> = DECLARED.iter().map(|declared| (declared.group, test_folder(declared))).collect();
    for (group, tests) in groups {
        let listed = DECLARED.iter().filter(|declared| declared.group == group);
        let listed = listed.map(|declared| declared.name.to_owned()).collect();
        let handlers = stems(&format!("functions/src/{group}"), "rs");
        agree(&handlers, &listed, &format!("functions/src/lib.rs must list each file of functions/src/{group}"));
        agree(
            &handlers,
            &stems(&tests, "rs"),
            &format!("{tests} must hold one test per file of functions/src/{group}"),
        );
    }
    agree(
        &binaries(functions()),
        &DECLARED.iter().map(|declared| declared.name.to_owned()).collect(),
        "run `cargo xtask docs`, which writes template.yaml",
    );
}

#[test]
fn every_function_says_in_its_first_line_what_starts_it() {
    for declared in DECLARED {
        let path = xtask::source(declared);
        let text = read(&path);
        let expected = match declared.function.triggers.first() {
            Some(Trigger::Route { method, path }) => format!("//! `{}`: ", route_key(method, path)),
            Some(Trigger::Schedule { when, .. }) => format!("//! `{when}`: "),
            Some(Trigger::Message { route, .. }) => format!("//! `{route}`: "),
            Some(Trigger::Stream) => "//! The ".to_owned(),
            None => "//! Invoked by hand ".to_owned(),
        };
        assert!(text.starts_with(&expected), "{path} must start with {expected:?}, as it declares");
    }
}

/// The properties of a resource of the WebSocket API, by the name of the function that it belongs to.
fn of_socket<'a>(template: &'a Value, function: &Function, suffix: &str) -> &'a Value {
    let id = function.logical_id.strip_suffix("Function").unwrap();
    &template["Resources"][format!("{id}{suffix}").as_str()]["Properties"]
}

#[test]
fn every_handler_of_a_socket_says_its_route_has_its_event_and_is_reached() {
    let template = template();
    let api = Template::parse(TEMPLATE).unwrap().socket_api().unwrap();
    let registered: Names = functions::SOCKETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let routed = api.routes.iter().map(|route| route.binary.clone()).collect();
    agree(&registered, &routed, "template.yaml must have a route for each function of sockets");
    assert_eq!(api.selection, "$request.body.event");
    for route in api.routes {
        let function = functions().into_iter().find(|function| function.binary == route.binary).unwrap();
        let path = format!("functions/src/sockets/{}.rs", route.binary);
        assert!(read(&path).starts_with(&format!("//! `{}`: ", route.key)), "{path} must say its route first");
        let path = format!("events/{}.json", route.binary);
        let event: Json = serde_json::from_str(&read(&path)).unwrap();
        let context = &event["requestContext"];
        assert_eq!((&context["routeKey"], &context["stage"]), (&route.key.as_str().into(), &api.stage.as_str().into()));
        let kind = match route.key.as_str() {
            "$connect" => "CONNECT",
            "$disconnect" => "DISCONNECT",
            _ => "MESSAGE",
        };
        assert_eq!(context["eventType"], kind, "{path}");
        // API Gateway sends an answer only to a message.
        assert_eq!(route.answers, kind == "MESSAGE", "{}: a route response", route.key);
        assert_eq!(event.get("body").is_some(), kind == "MESSAGE", "{path}");
        assert_eq!(event.get("headers").is_some(), kind != "MESSAGE", "{path}: a message has no headers");
        let expression = &of_socket(&template, &function, "Route")["RouteResponseSelectionExpression"];
        assert_eq!(expression.as_str(), route.answers.then_some("$default"), "{}", route.key);
        let permission = of_socket(&template, &function, "Permission");
        assert_eq!(short(&permission["FunctionName"]), format!("!Ref {}", function.logical_id));
        assert!(short(&permission["SourceArn"]).ends_with(&format!(":${{SocketApi}}/{}/{}", api.stage, route.key)));
    }
}

#[test]
fn the_page_may_connect_from_its_own_address() {
    let template = template();
    let variables = &template["Resources"]["ConnectSocketFunction"]["Properties"]["Environment"]["Variables"];
    let origins = short(&variables["CORS_ORIGIN"]);
    assert_eq!(origins, "!Sub ${CorsOrigin},https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}");
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
    // `on_state_change` appends entries; `restore` fills an empty ledger.
    agree(&names, &["on_state_change", "restore"].map(str::to_owned).into(), "no other function writes the ledger");
    let deletes = |action: &String| action.contains("Delete");
    assert!(!writers.iter().any(|(_, actions)| actions.iter().any(deletes)), "no function deletes from the ledger");
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
    assert_eq!(short(&mapping["MaximumBatchingWindowInSeconds"]), "!Ref HistoryWindowSeconds");
    let window = &template["Parameters"]["HistoryWindowSeconds"];
    assert_eq!((window["Default"].as_u64(), window["MinValue"].as_u64()), (Some(0), Some(0)));
    assert!(window["MaxValue"].as_u64() < Some(4), "the canary waits four seconds for its change");
    let age = mapping["MaximumRecordAgeInSeconds"].as_u64().unwrap();
    assert!(age < 24 * 60 * 60, "a stream keeps records for a day: a failure must reach the queue before");
    // Without the filter, each renewed lease of a connection would invoke the function.
    let pattern = mapping["FilterCriteria"]["Filters"][0]["Pattern"].as_str().unwrap();
    let pattern: Json = serde_json::from_str(pattern).unwrap();
    assert_eq!(pattern, serde_json::json!({"dynamodb": {"Keys": {"pk": {"S": [{"prefix": "USER#"}]}}}}));
    let queue = short(&mapping["DestinationConfig"]["OnFailure"]["Destination"]);
    assert_eq!(queue, "!GetAtt StateChangeFailures.Arn");
    assert_eq!(resources["StateChangeFailures"]["Type"], "AWS::SQS::Queue");
}

/// Without these limits, a single caller could use up the request rate of the whole API.
#[test]
fn each_route_is_throttled_by_its_class() {
    let template = template();
    let settings = template["Resources"]["Api"]["Properties"]["RouteSettings"].as_mapping().unwrap();
    let throttled = settings.keys().map(|route| route.as_str().unwrap().to_owned()).collect();
    let routes = routes().into_iter().map(|route| route.to_string()).collect();
    agree(&routes, &throttled, "RouteSettings of template.yaml must hold every route, and nothing else");
    for (route, settings) in settings {
        for (setting, parameter) in [("ThrottlingRateLimit", "Rate"), ("ThrottlingBurstLimit", "Burst")] {
            let limit = short(&settings[setting]);
            assert!(limit.ends_with(parameter), "{route:?}: {setting} is {limit}");
            assert!(template["Parameters"][&limit[5..]]["Default"].as_u64().is_some_and(|limit| limit > 0), "{limit}");
        }
    }
    // An endpoint that scans a table is in the class of lists.
    for declared in DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint) {
        let scans = declared.function.grants().any(|grant| grant.actions.contains(&"dynamodb:Scan"));
        assert_eq!(scans, declared.function.class() == Class::List, "{}", declared.name);
    }
}

/// Endpoints that change something and have no limit: each is one call of the database, as a limit's own write is, and
/// comes as often as people press a key or an agent measures. The throttle of their routes bounds them. A presenter can always
/// end a room, which takes effect once, whatever they did before.
const UNLIMITED: &[&str] = &["attest", "end_room", "set_device", "set_mute", "set_state"];

#[test]
fn every_endpoint_that_changes_something_has_a_limit_or_a_reason() {
    let endpoints = DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint);
    let changes = |method: &str| ["POST", "PUT", "PATCH", "DELETE"].contains(&method);
    for declared in endpoints {
        let wants = declared.function.routes().any(|(method, _)| changes(method));
        let is_limited = !declared.function.limits.is_empty();
        // An endpoint that is not written yet changes nothing.
        let is_written = declared.function.described.gives[0].is_some();
        let expected = wants && is_written && !UNLIMITED.contains(&declared.name);
        assert_eq!(is_limited, expected, "{}: `.limited(…)` it, or say in UNLIMITED why not", declared.name);
    }
}

#[test]
fn a_new_endpoint_is_a_handler_a_test_and_a_line() {
    let place = tempfile::TempDir::new().unwrap();
    let list = place.path().join("functions/src/lib.rs");
    std::fs::create_dir_all(list.parent().unwrap()).unwrap();
    std::fs::write(&list, read("functions/src/lib.rs")).unwrap();
    let new = |group, name, method, path| xtask::Endpoint::new(group, name, method, path).unwrap();
    let path = "/api/users/{userId}/volume";
    for (group, name, method) in
        [("users", "get_volume", "GET"), ("users", "set_volume", "PATCH"), ("decks", "stop", "POST")]
    {
        let made = new(group, name, method, path).write(place.path()).unwrap();
        let expected = [
            format!("functions/src/{group}/{name}.rs"),
            format!("tests/api/routes/{group}/{name}.rs"),
            "functions/src/lib.rs".to_owned(),
        ];
        assert_eq!(made, expected);
        let handler = std::fs::read_to_string(place.path().join(&made[0])).unwrap();
        assert!(handler.starts_with(&format!("//! `{method} {path}`: ")), "{handler}");
        assert!(handler.contains(&format!("route!({method} \"{path}\")")), "{handler}");
        // This test compiles nothing, so it compares the imports with those of an existing handler.
        let imports = handler.lines().find(|line| line.starts_with("use crate::{")).unwrap();
        assert!(read("functions/src/users/set_mute.rs").contains(imports), "{imports}");
    }
    let list = std::fs::read_to_string(list).unwrap();
    assert!(list.contains("        users {\n            set_volume,\n            get_volume,\n"), "{list}");
    assert!(list.contains("        decks { stop }\n"), "{list}");
    let again = new("users", "set_volume", "PATCH", path).write(place.path()).unwrap_err();
    assert_eq!(again, "functions/src/users/set_volume.rs exists already");
}

/// Each request of `list_users` reads the whole table. `IsStopped` takes precedence over its own limit.
#[test]
fn the_list_of_all_users_has_a_concurrency_limit_of_its_own() {
    let template = template();
    let function = &template["Resources"]["ListUsersFunction"]["Properties"];
    let choice = serde_norway::to_string(&function["ReservedConcurrentExecutions"]).unwrap();
    let words: Vec<_> = choice.split_whitespace().filter(|word| *word != "-").collect();
    let choice = "!If IsStopped 0 !If LimitsLists !Ref ListConcurrency !If ReservesConcurrency !Ref ReservedConcurrency !Ref AWS::NoValue";
    assert_eq!(words.join(" "), choice);
}

#[test]
fn no_two_functions_share_a_route() {
    let mut routes = routes();
    routes.sort();
    let count = routes.len();
    routes.dedup();
    assert_eq!(routes.len(), count, "two functions of template.yaml have the same route");
}

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

/// The file template.yaml shows all that a function may do. The tests in `privileges` check that it does all of that
/// and nothing else.
#[test]
fn no_function_is_granted_a_wildcard() {
    let template = Template::parse(TEMPLATE).unwrap();
    for function in functions() {
        let properties = template.properties(&function.logical_id).unwrap();
        assert!(properties.get("Role").is_none(), "{}: its role must follow from its Policies", function.logical_id);
        for policy in properties["Policies"].as_sequence().into_iter().flatten() {
            for statement in policy["Statement"].as_sequence().unwrap() {
                let (actions, resources) = (list(&statement["Action"]), list(&statement["Resource"]));
                assert_eq!(
                    statement["Effect"], "Allow",
                    "{}: a statement that denies makes the grants hard to read",
                    function.logical_id
                );
                // IAM has no resource for reading metrics. S3 has no other way to name all objects with a prefix, and API
                // Gateway none to name all connections.
                let reads_metrics = actions == ["cloudwatch:GetMetricData"] && resources == ["*"];
                let named = [SNAPSHOTS, CONNECTIONS[0], CONNECTIONS[1]].map(|resource| resource.replace('"', ""));
                let mut texts = actions.iter().chain(&resources).filter(|text| !named.contains(text));
                assert!(reads_metrics || texts.all(|text| !text.contains('*')), "{}: no wildcard", function.logical_id);
            }
        }
    }
}

#[test]
fn the_canary_may_touch_no_user_but_its_own_and_read_no_history_but_its_own() {
    use functions::schedules::canary::{ROOM, USER};
    let template = template();
    let policy = &template["Resources"]["CanaryFunction"]["Properties"]["Policies"][0]["Statement"];
    let own = [format!("USER#{USER}"), format!("CHAIN#room:{ROOM}")];
    for statement in policy.as_sequence().unwrap().iter().filter(|statement| !live_tables(statement).is_empty()) {
        let mut keys = list(&statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]);
        keys.retain(|key| list(&statement["Action"]) != ["dynamodb:GetItem"] || key != "HEALTH");
        let is_state = live_tables(statement) == ["!GetAtt StateTable.Arn"];
        assert_eq!(keys, [own[usize::from(!is_state)].as_str()], "{statement:?}");
    }
    for reserved in [USER, ROOM] {
        assert!(reserved.starts_with(domain::RESERVED_PREFIX), "no client can name {reserved}");
    }
}

#[test]
fn the_canary_may_count_people_and_may_not_read_them() {
    let template = template();
    let policy = &template["Resources"]["CanaryFunction"]["Properties"]["Policies"][0]["Statement"];
    let scans = |statement: &&Value| list(&statement["Action"]).contains(&"dynamodb:Scan".to_owned());
    let mut scanning = policy.as_sequence().unwrap().iter().filter(scans);
    let (Some(count), None) = (scanning.next(), scanning.next()) else { panic!("one statement: {policy:?}") };
    assert_eq!(
        (list(&count["Action"]), &count["Condition"]["StringEquals"]["dynamodb:Select"]),
        (vec!["dynamodb:Scan".to_owned()], &Value::from("COUNT"))
    );
}

#[test]
fn the_snapshot_function_may_write_only_its_lease_and_its_marks_to_the_tables() {
    let template = template();
    let policy = &template["Resources"]["SnapshotTablesFunction"]["Properties"]["Policies"][0]["Statement"];
    for statement in policy.as_sequence().unwrap() {
        let actions = list(&statement["Action"]);
        if actions.iter().any(|action| ["dynamodb:UpdateItem", "dynamodb:DeleteItem"].contains(&action.as_str())) {
            let keys = list(&statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]);
            // The marks of the last snapshot and the last drill are written and never removed.
            let expected: &[&str] = match actions.as_slice() {
                [action] if action == "dynamodb:UpdateItem" => &["LEASE#snapshot", "LEASE#taken", "LEASE#drilled"],
                _ => &["LEASE#snapshot"],
            };
            assert_eq!((keys, actions.len()), (expected.iter().map(|key| (*key).to_owned()).collect(), 1));
        }
    }
}

/// The live tables among the resources of a statement.
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
            (texts(&["dynamodb:UpdateItem"]), texts(&["LEASE#drill", "LEASE#drilled"])),
            (texts(&["dynamodb:DeleteItem"]), texts(&["LEASE#drill"])),
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
    assert_eq!(
        short(&function["ReservedConcurrentExecutions"]),
        "!Ref AWS::NoValue",
        "it overrides the setting in Globals"
    );
    assert!(function["Timeout"].as_u64().unwrap() > 14 * 60, "it stops after 14 minutes by itself");
}

#[test]
fn snapshots_are_taken_at_three_and_their_age_is_checked_each_hour() {
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
fn all_functions_log_to_one_group_with_a_retention() {
    let template = template();
    assert_eq!(short(&template["Globals"]["Function"]["LoggingConfig"]["LogGroup"]), "!Ref FunctionLogs");
    let group = &template["Resources"]["FunctionLogs"];
    assert_eq!(group["Type"], "AWS::Logs::LogGroup");
    let retention = short(&group["Properties"]["RetentionInDays"]);
    assert_eq!(retention, "!Ref LogRetentionDays", "without a retention, logs cost more every month");
    for function in functions() {
        let properties = &template["Resources"][function.logical_id.as_str()]["Properties"];
        assert!(properties.get("LoggingConfig").is_none(), "{}", function.logical_id);
        let name = format!("!Sub greenroom-${{Stage}}-{}", function.binary.replace('_', "-"));
        assert_eq!(short(&properties["FunctionName"]), name);
    }
}

/// The alarms by logical id, and their properties.
fn alarms(template: &Value) -> BTreeMap<String, &Value> {
    let resources = template["Resources"].as_mapping().unwrap().iter();
    let alarms = resources.filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    alarms.map(|(id, resource)| (id.as_str().unwrap().to_owned(), &resource["Properties"])).collect()
}

#[test]
fn every_alarm_defines_missing_data_notifies_the_topic_and_is_in_the_runbook() {
    let template = template();
    let runbook = read("docs/runbook.md");
    let alarms = alarms(&template);
    assert!((1..=10).contains(&alarms.len()), "more than ten alarms would be ignored");
    for (id, alarm) in alarms {
        // The canary and the age of the newest snapshot are published regularly, so missing data means a failure.
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

/// With AWS's own key for topics, CloudWatch may not encrypt, and every alarm would be lost.
#[test]
fn the_topic_of_the_alarms_has_no_key_that_costs_or_keeps_cloudwatch_out() {
    let template = template();
    let topic = template["Resources"]["Alarms"]["Properties"].as_mapping().unwrap();
    assert!(!topic.contains_key("KmsMasterKeyId"));
    let resources = template["Resources"].as_mapping().unwrap().values();
    assert!(resources.into_iter().all(|resource| resource["Type"] != "AWS::KMS::Key"), "each key costs 1 $ a month");
}

#[test]
fn throttled_calls_ring_an_alarm_by_the_series_that_the_functions_write() {
    let template = template();
    let alarm = alarms(&template)["TableThrottledAlarm"];
    assert_eq!(short(&alarm["Namespace"]), "!Sub Greenroom/${Stage}");
    assert_eq!((&alarm["MetricName"], &alarm["Statistic"]), (&"table_throttled".into(), &"Sum".into()));
    assert_eq!((alarm["Threshold"].as_u64(), &alarm["ComparisonOperator"]), (Some(0), &"GreaterThanThreshold".into()));
}

/// The report of the costs is reckoned with these defaults.
#[test]
fn a_tenth_of_routine_requests_is_logged_and_there_is_no_dashboard_unless_asked_for() {
    let template = template();
    assert_eq!(template["Parameters"]["LogSamplePercent"]["Default"].as_u64(), Some(10));
    assert_eq!(template["Parameters"]["DashboardEnabled"]["Default"], "false");
    assert_eq!(template["Resources"]["Dashboard"]["Condition"], "HasDashboard");
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
    assert!(
        near(threshold("ApiNearTimeoutAlarm"), 800.0 * function["Timeout"].as_f64().unwrap()),
        "80 % of the timeout, in ms"
    );
}

#[test]
fn the_dashboard_is_readable_and_shows_every_alarm() {
    let template = template();
    let Value::Tagged(body) = &template["Resources"]["Dashboard"]["Properties"]["DashboardBody"] else {
        panic!("DashboardBody must be !Sub")
    };
    // The dashboard with snapshots, and with a number in place of a parameter.
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
    assert!(text.contains("MetricName=\\\"route_failures\\\""), "the dashboard must show the failures of each route");
    for shown in ["IteratorAge", "concurrent_users", "backup_age_hours", "snapshot_failed", "restore_drill_failed"] {
        assert!(text.contains(&format!("\"{shown}\"")), "the dashboard must show {shown}");
    }
    let places: BTreeSet<_> = widgets.iter().map(|widget| (widget["x"].as_u64(), widget["y"].as_u64())).collect();
    assert_eq!(places.len(), widgets.len(), "two widgets are in one place");
}

/// The metrics of an alarm, as `Namespace/MetricName`, by the ids in its expression.
fn watched(alarm: &Value) -> BTreeMap<String, String> {
    let queries = alarm["Metrics"].as_sequence().unwrap().iter().filter(|query| query.get("MetricStat").is_some());
    let named = queries.map(|query| {
        let metric = &query["MetricStat"]["Metric"];
        (short(&query["Id"]), format!("{}/{}", short(&metric["Namespace"]), short(&metric["MetricName"])))
    });
    named.collect()
}

#[test]
fn missing_or_failed_snapshots_and_drills_ring_an_alarm_if_snapshots_are_enabled() {
    let template = template();
    assert_eq!(template["Resources"]["SnapshotsAlarm"]["Condition"], "TakesSnapshots");
    let others = alarms(&template).into_keys().filter(|id| id != "SnapshotsAlarm");
    for id in others {
        assert!(template["Resources"][id.as_str()].get("Condition").is_none(), "{id} exists always");
    }
    let alarm = alarms(&template)["SnapshotsAlarm"];
    let own = |name: &str| format!("!Sub Greenroom/${{Stage}}/{name}");
    let expected = [
        ("age", "backup_age_hours"),
        ("snapshot", "snapshot_failed"),
        ("drill", "restore_drill_failed"),
        ("drilled", "restore_drill_age_hours"),
    ];
    assert_eq!(watched(alarm), expected.map(|(id, name)| (id.to_owned(), own(name))).into());
    assert_eq!(
        alarm["Metrics"][0]["Expression"],
        "MAX([FILL(age, 1000), 1000 * snapshot, 1000 * drill, FILL(drilled, 1000) * 26 / 192])"
    );
    assert_eq!((alarm["Threshold"].as_u64(), &alarm["ComparisonOperator"]), (Some(26), &"GreaterThanThreshold".into()));
}

#[test]
fn failures_ring_an_alarm_by_their_share_and_by_their_count() {
    let template = template();
    let alarm = alarms(&template)["ApiFailingAlarm"];
    let expected = [("failed", "AWS/ApiGateway/5xx"), ("requests", "AWS/ApiGateway/Count")];
    assert_eq!(watched(alarm), expected.map(|(id, name)| (id.to_owned(), name.to_owned())).into());
    // The value reaches 1 at ten failures, or at three or more failures that are a fifth of all requests.
    let expression = "MAX([failed / 10, IF(failed >= 3, 5 * failed / requests, 0)])";
    assert_eq!(alarm["Metrics"][0]["Expression"], expression);
    let (threshold, operator) = (alarm["Threshold"].as_u64(), &alarm["ComparisonOperator"]);
    assert_eq!((threshold, operator), (Some(1), &"GreaterThanOrEqualToThreshold".into()));
}

#[test]
fn a_late_or_incomplete_history_rings_an_alarm() {
    let template = template();
    let alarm = alarms(&template)["HistoryAlarm"];
    let expected = [("age", "AWS/Lambda/IteratorAge"), ("lost", "AWS/SQS/ApproximateNumberOfMessagesVisible")];
    assert_eq!(watched(alarm), expected.map(|(id, name)| (id.to_owned(), name.to_owned())).into());
    assert_eq!(
        alarm["Metrics"][0]["Expression"], "MAX([age / 900000, lost])",
        "`age` is in milliseconds, and `lost` counts batches"
    );
    let (threshold, operator) = (alarm["Threshold"].as_u64(), &alarm["ComparisonOperator"]);
    assert_eq!((threshold, operator), (Some(1), &"GreaterThanOrEqualToThreshold".into()));
}

/// In CloudWatch, a sum has no value where one of its series has none. `MAX` and `SUM` of a list use the values that
/// exist.
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
        assert!(series <= 10, "{id}: an alarm may have at most ten series");
        alarmed += series;
    }
    assert_eq!(alarmed, xtask::cost::ALARMED, "ALARMED in xtask/src/cost.rs");
}

/// Variables that only the local runner reads, and no function.
const LOCAL_ONLY: &[&str] = &[];

#[test]
fn the_template_sets_every_variable_that_the_functions_read() {
    let template = template();
    let set = template["Globals"]["Function"]["Environment"]["Variables"].as_mapping().unwrap();
    let set = set.keys().map(|name| name.as_str().unwrap().to_owned()).collect();
    let names = |variables: &[config::Variable]| -> Names {
        variables.iter().map(|variable| variable.name.to_owned()).collect()
    };
    let (all, snapshots) = (names(config::VARIABLES), names(config::SNAPSHOT_VARIABLES));
    let read = all.into_iter().filter(|name| !LOCAL_ONLY.contains(&name.as_str())).collect();
    agree(
        &read,
        &set,
        "Globals of template.yaml must set each variable of shared/config/src/lib.rs, or LOCAL_ONLY must name it",
    );
    let function = &template["Resources"]["SnapshotTablesFunction"]["Properties"];
    let set = function["Environment"]["Variables"].as_mapping().unwrap();
    let set = set.keys().map(|name| name.as_str().unwrap().to_owned()).collect();
    agree(&snapshots, &set, "SnapshotTablesFunction must set each of SNAPSHOT_VARIABLES");
}

/// Variables that AWS or its tools set. Code outside of shared/config may read them.
const AWS_VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_S3",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

#[test]
fn no_variable_is_read_behind_the_back_of_the_configuration() {
    let mut read_elsewhere = Names::new();
    for folder in [
        "shared/aws/src",
        "shared/cloudwatch/src",
        "shared/config/src",
        "shared/domain/src",
        "shared/snapshot/src",
        "shared/store/src",
        "shared/telemetry/src",
        "functions/src",
        "local/src",
    ] {
        for file in files(folder).iter().filter(|path| path.extension().is_some_and(|found| found == "rs")) {
            let text = read(&format!("{folder}/{}", file.display()));
            for call in ["env::var(\"", "env::var_os(\"", "variable(\"", "variable_os(\"", "env = \""] {
                let names = text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
                read_elsewhere.extend(names);
            }
        }
    }
    let known = AWS_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    agree(
        &known,
        &read_elsewhere,
        "a variable of Greenroom belongs into shared/config/src/lib.rs; a variable of AWS into AWS_VARIABLES in tests/api/agreement.rs",
    );
}

#[test]
fn generated_files_are_up_to_date() {
    for (file, text) in xtask::generated(root()).unwrap() {
        let is_same = std::fs::read_to_string(root().join(&file)).is_ok_and(|found| found == text);
        assert!(is_same, "run `cargo xtask docs`, which writes {file}");
    }
    assert_eq!(
        xtask::left_over(root()).unwrap(),
        Vec::<String>::new(),
        "run `cargo xtask docs`, which removes these files"
    );
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
    let welcome = ("origin", runner.url.as_str());
    let preflight = runner.send("OPTIONS", "/api/users/ada", &[welcome, ("access-control-request-method", "GET")], "");
    assert_eq!(preflight.header("access-control-allow-headers"), Some(sorted("AllowHeaders").as_str()));
    let answer = runner.send("GET", "/api/health", &[welcome], "");
    assert_eq!(answer.header("access-control-expose-headers").map(str::to_lowercase), Some(sorted("ExposeHeaders")));
    assert_eq!(cors["MaxAge"].as_u64().unwrap().to_string(), preflight.header("access-control-max-age").unwrap());
    let methods: Names = routes().into_iter().map(|route| route.method).filter(|method| method != "ANY").collect();
    let allowed: Names = list(&cors["AllowMethods"]).into_iter().filter(|method| method != "OPTIONS").collect();
    agree(&methods, &allowed, "AllowMethods of template.yaml must be the methods of its routes");
}
