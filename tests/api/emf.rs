//! CloudWatch's embedded metric format: CloudWatch can read the metrics of every line that names some.

use crate::support::bucket::Bucket;
use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::template;
use crate::support::witness::{Witness, join};
use crate::support::{Runner, read};
use functions::function::{FunctionKind, declared};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use telemetry::metrics::Metric;
use xtask::cost::LOG_LINE_OF_TEN;

/// Checks a line against the schema. Also checks a rule that no schema can express: each metric that is named is a
/// member of the line, and is a number or a list of at most a hundred numbers. Returns the names of the metrics.
#[track_caller]
pub(crate) fn metrics(line: &Value) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&read("tests/api/emf.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let broken: Vec<_> = validator.iter_errors(line).map(|error| error.to_string()).collect();
    assert!(broken.is_empty(), "{broken:#?}\n{line:#}");
    assert!(line.to_string().len() < 256 * 1024, "CloudWatch takes lines of 256 KB");
    let mut names = BTreeSet::new();
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "Greenroom/dev");
        assert_ne!(directive["Metrics"], json!([]), "{line}");
        for definition in directive["Metrics"].as_array().unwrap() {
            let name = definition["Name"].as_str().unwrap();
            let metric = Metric::ALL.iter().find(|metric| metric.name() == name);
            let metric =
                metric.unwrap_or_else(|| panic!("{name} is not in the registry of shared/telemetry/src/metrics.rs"));
            assert_eq!(definition["Unit"], metric.unit(), "{name}");
            let dimensions = if metric.is_by_function() { json!([["FunctionName"]]) } else { json!([[]]) };
            assert_eq!(directive["Dimensions"], dimensions, "each dimension costs a series: {line}");
            let values = match &line[name] {
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            assert!((1..=100).contains(&values.len()) && values.iter().all(Value::is_number), "{name} in {line}");
            assert!(names.insert(name.to_owned()), "{name} is defined twice: {line}");
        }
    }
    names
}

/// The lines of a function's log that name metrics.
fn embedded(lambda: &Lambda) -> Vec<Value> {
    lambda.log().into_iter().filter(|line| line.get("_aws").is_some()).collect()
}

/// A function that logs this share of its successes.
fn sampled(binary: &str, database: &str, percent: &str) -> Lambda {
    let mut env = environment(binary, database);
    env.push(("LOG_SAMPLE_PERCENT", percent));
    Lambda::start_with(binary, &env)
}

/// Sends one request after the other to a function, with ids that distinguish their lines.
struct Asked<'a> {
    lambda: &'a Lambda,
    binary: &'static str,
    count: usize,
}

impl Asked<'_> {
    fn ask(&mut self) -> String {
        let id = format!("n-{}", self.count);
        self.count += 1;
        let mut event = event(self.binary);
        event["requestContext"]["requestId"] = id.clone().into();
        self.lambda.invoke(&event);
        id
    }
}

#[test]
fn every_line_of_every_function_matches_the_published_schema() {
    let (runner, bucket) = (Runner::ephemeral(), Bucket::new());
    let s3 = bucket.serve();
    let mut seen = BTreeSet::new();
    for function in template::functions() {
        // Lambda itself counts the invocations of consumers; an operator invokes `restore` by hand.
        let is_consumer = declared(&function.binary).unwrap().kind == FunctionKind::Consumer;
        if is_consumer || function.binary == "restore" {
            continue;
        }
        let mut env = environment(&function.binary, runner.dynamodb.as_deref().unwrap());
        env.extend([("AWS_ENDPOINT_URL_S3", s3.url.as_str()), ("SNAPSHOT_BUCKET", local::objects::BUCKET)]);
        let lambda = Lambda::start_with(&function.binary, &env);
        lambda.run(&event(&function.binary));
        let line = lambda.await_log(|line| line.get("_aws").is_some());
        seen.extend(metrics(&line));
        if function.binary == "snapshot_tables" {
            let answer = lambda.run(&json!({"task": "age"}));
            let line = lambda.await_log(|line| line["timestamp"] == answer["timestamp"] && line.get("_aws").is_some());
            seen.extend(metrics(&line));
        }
    }
    // These are published when a route fails, when a table throttles, and for signed attestations. Tests below cover
    // them.
    let seldom = [Metric::RouteFailures, Metric::TableThrottled, Metric::AttestationRejected];
    for metric in Metric::ALL.iter().filter(|metric| !seldom.contains(metric)) {
        assert!(seen.contains(metric.name()), "no function publishes {metric:?}: {seen:?}");
    }
}

#[test]
fn a_stage_has_at_most_ten_series_while_nothing_goes_wrong_and_the_runbook_explains_each() {
    assert!(Metric::regular().count() <= 10, "ten series are free in an account");
    let runbook = read("docs/runbook.md");
    for metric in Metric::ALL {
        assert!(
            runbook.contains(&format!("| `{}` |", metric.name())),
            "docs/runbook.md does not say what {metric:?} is"
        );
    }
}

#[test]
fn no_code_names_a_metric_outside_of_the_registry() {
    for folder in ["functions/src", "shared/snapshot/src", "shared/cloudwatch/src", "local/src"] {
        for (path, text) in crate::support::sources(folder) {
            assert!(!text.contains("\"CloudWatchMetrics\""), "{path}: only functions/src/log.rs writes this format");
            // A name in quotes would be a member of a line. Tests, and `jq` in comments, may hold one.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for metric in Metric::ALL {
                assert!(!code.contains(&format!("\"{}\"", metric.name())), "{path} names {metric:?} itself");
            }
        }
    }
}

#[test]
fn the_template_watches_series_that_exist() {
    let template = read("template.yaml");
    for line in template.lines() {
        let own = line.split_once("\"Greenroom/${Stage}\", \"").map(|(_, rest)| rest.split('"').next().unwrap());
        let alarm = line.trim().strip_prefix("MetricName: ").filter(|name| name.starts_with(char::is_lowercase));
        let inline =
            line.split_once("\"Greenroom/${Stage}\", MetricName: ").map(|(_, rest)| rest.trim_end_matches('}'));
        for name in [own, alarm, inline].into_iter().flatten().filter(|name| *name != "5xx") {
            assert!(Metric::ALL.iter().any(|metric| metric.name() == name), "no function publishes {name}");
        }
    }
}

#[test]
fn a_log_that_leaves_out_successes_loses_no_measurement() {
    let runner = Runner::ephemeral();
    let lambda = sampled("list_room_users", runner.dynamodb.as_deref().unwrap(), "10");
    let mut asked = Asked { lambda: &lambda, binary: "list_room_users", count: 0 };
    let last = (0..30).map(|_| asked.ask()).last().unwrap();
    lambda.await_log(|line| line["requestId"] == last);
    let lines = embedded(&lambda);
    let ids: Vec<_> = lines.iter().map(|line| line["requestId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["n-9", "n-19", "n-29"], "one line for ten requests");
    for line in &lines {
        metrics(line);
        assert!(line.to_string().len() <= LOG_LINE_OF_TEN, "{} bytes: {line}", line.to_string().len());
        let values = |name: &str| line[name].as_array().unwrap().clone();
        assert_eq!((values("api_response_time").len(), values("api_error_rate")), (10, vec![json!(0); 10]));
    }
}

#[test]
fn a_failed_or_slow_request_is_always_logged_with_the_measurements_left_out_before() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = sampled("list_room_users", &database.url, "1");
    let mut asked = Asked { lambda: &lambda, binary: "list_room_users", count: 0 };
    let values = |line: &Value, name: &str| line[name].as_array().map_or(1, Vec::len);
    asked.ask();
    asked.ask();

    database.be(Mode::Refusing);
    let failed = asked.ask();
    let line = lambda.await_log(|line| line["requestId"] == failed && line.get("_aws").is_some());
    let names = metrics(&line);
    assert!(["route_errors", "route_failures"].iter().all(|name| names.contains(*name)), "{names:?}");
    assert_eq!(
        (&line["route_errors"], &line["route_failures"], &line["FunctionName"]),
        (&json!(1), &json!(1), &json!("list_room_users"))
    );
    assert_eq!(line["api_error_rate"], json!([0, 0, 100]));
    assert_eq!((values(&line, "api_response_time"), &line["statusCode"]), (3, &json!(500)));

    database.be(Mode::Working);
    asked.ask();
    database.be(Mode::Slow(Duration::from_millis(1100)));
    let slow = asked.ask();
    let line = lambda.await_log(|line| line["requestId"] == slow);
    assert_eq!((values(&line, "api_response_time"), &line["isSlowRequest"]), (2, &json!(true)));
    assert_eq!(embedded(&lambda).len(), 2, "no other line holds metrics");
}

#[test]
fn what_a_person_does_always_has_a_line_of_its_own() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/demo-user/state", json!({"isMuted": true}));
    let lambda = sampled("set_mute", runner.dynamodb.as_deref().unwrap(), "1");
    let mut asked = Asked { lambda: &lambda, binary: "set_mute", count: 0 };
    for _ in 0..5 {
        let id = asked.ask();
        lambda.await_log(|line| line["requestId"] == id && line["statusCode"] == 200);
    }
}

/// The alarm on throttled calls looks at this series alone.
#[test]
fn a_throttled_call_is_counted_and_logged_whether_a_retry_makes_it_good_or_not() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = sampled("list_room_users", &database.url, "1");
    let mut asked = Asked { lambda: &lambda, binary: "list_room_users", count: 0 };
    let line_of = |id: &str| lambda.await_log(|line| line["requestId"] == *id && line.get("_aws").is_some());

    database.be(Mode::ThrottlingOnce);
    let line = line_of(&asked.ask());
    assert_eq!((&line["statusCode"], &line["table_throttled"]), (&json!(200), &json!(1)), "{line}");
    assert!(metrics(&line).contains("table_throttled"), "{line}");

    database.be(Mode::Throttling);
    let line = line_of(&asked.ask());
    assert_eq!((&line["statusCode"], &line["table_throttled"]), (&json!(503), &json!(4)), "{line}");
    database.be(Mode::Refusing);
    let line = line_of(&asked.ask());
    assert_eq!((&line["statusCode"], line.get("table_throttled")), (&json!(500), None), "{line}");

    database.be(Mode::Throttling);
    let canary = Lambda::start("canary", &database.url);
    let answer = canary.run(&event("canary"));
    assert!(answer["table_throttled"].as_u64().is_some_and(|count| count > 0), "{answer}");
    let line = canary.await_log(|line| line["timestamp"] == answer["timestamp"] && line.get("_aws").is_some());
    assert!(metrics(&line).contains("table_throttled"), "{line}");
}

/// An event of `attest` with this agent, signature, body and request id.
fn attesting(agent: &str, signature: &str, body: &str, id: &str) -> Value {
    let mut event = event("attest");
    event["pathParameters"]["agentId"] = agent.into();
    event["headers"]["greenroom-signature"] = signature.into();
    event["body"] = body.into();
    event["requestContext"]["requestId"] = id.into();
    event
}

#[test]
fn a_refusal_of_a_known_agent_is_counted_together_with_unlogged_accepted_attestations() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let witness = Witness::paired(&runner, "ada");
    let lambda = sampled("attest", runner.dynamodb.as_deref().unwrap(), "1");
    let body = witness.next(&json!({})).to_string();
    let good = attesting(&witness.id, &witness.sign(&body), &body, "good");
    assert_eq!(lambda.invoke(&good).status, 200);
    let wrong = witness.next(&json!({"seq": 7})).to_string();
    let conflict = attesting(&witness.id, &witness.sign(&wrong), &wrong, "conflict");
    let line = lambda.log_of(&lambda.invoke(&conflict));
    assert!(metrics(&line).contains("attestation_rejected"), "{line}");
    let counted = (&json!([0, 1]), &json!("sequence_conflict"));
    assert_eq!((&line["attestation_rejected"], &line["attestation_code"]), counted, "{line}");
}

/// Everybody in a room sees the agents' ids, so the id of a known agent proves nothing.
#[test]
fn sixty_attestations_without_a_valid_signature_ring_no_alarm() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let known = Witness::paired(&runner, "ada");
    let forged = known.next(&json!({})).to_string();
    for mode in ["open", "strict"] {
        let mut env = environment("attest", runner.dynamodb.as_deref().unwrap());
        env.retain(|(name, _)| *name != "AUTH_MODE");
        env.push(("AUTH_MODE", mode));
        let lambda = Lambda::start_with("attest", &env);
        let own = event("attest");
        let (agent, body) = (own["pathParameters"]["agentId"].as_str().unwrap(), own["body"].as_str().unwrap());
        let signature = own["headers"]["greenroom-signature"].as_str().unwrap();
        for n in 0..60 {
            let id = format!("{mode}-{n}");
            let (event, status, code) = match n % 5 {
                0 => (attesting(agent, signature, body, &id), 401, "agent_unknown"),
                1 => (attesting(agent, "", body, &id), 401, "agent_unknown"),
                2 => (attesting(agent, "", "{}", &id), 401, "agent_unknown"),
                3 => (attesting("nobody", "", body, &id), 400, "validation_failed"),
                _ => (attesting(&known.id, &"A".repeat(86), &forged, &id), 401, "signature_invalid"),
            };
            let reply = lambda.invoke(&event);
            assert_eq!(reply.status, status, "{}", reply.text);
            let line = lambda.log_of(&reply);
            assert!(!metrics(&line).contains("attestation_rejected"), "{line}");
            assert_eq!(line["attestation_code"], code, "the log still gives the code of each refusal");
        }
    }
}
