//! Builds `template.yaml` from the parts of `infra/`, unchanged, and the declared functions and routes.

use functions::DECLARED;
use functions::function::{Declared, Function, FunctionKind, Grant, Trigger, route_key};
use std::fmt::Write as _;

/// The hand-written parts of the template, in order. The functions follow after `tables`.
const BEFORE: &[&str] = &["parameters", "api", "tables"];
const AFTER: &[&str] = &["sockets", "stream", "snapshots", "alarms", "dashboard", "outputs"];
/// Placeholders in the parts: for one line per route with its throttle, and for the number of resources.
const ROUTES: &str = "        # {routes}\n";
const RESOURCES: &str = "{resources}";

const HEADER: &str = "# Written by `cargo xtask docs`: the functions are declared beside their handlers in functions/src; the rest is in infra/.\n";
const FUNCTIONS: &str = "
  # Each statement names the partition keys that its calls may use. IAM checks LeadingKeys for each item, also in a batch
  # or a transaction. A scan has no partition key, and the key of a query of the index is a room, which may be any. A
  # write of a state also names the attributes that it must not touch, so that AWS itself refuses a mute that writes
  # evidence.
  # tests/api/privileges.rs compares all statements with the calls that each function makes.
  #
  # A function's role has its Policies and AWSLambdaBasicExecutionRole, which SAM attaches for writing logs.
  # SkipBuild: `cargo lambda build` has already built CodeUri, and `sam build` must not build it again.
";

/// The whole template. `part` reads a part of `infra/`; `purpose` gives a sentence about a function.
///
/// # Errors
/// A part cannot be read.
pub(crate) fn text(
    part: impl Fn(&str) -> Result<String, String>,
    purpose: impl Fn(&Declared) -> Result<String, String>,
) -> Result<String, String> {
    let mut text = HEADER.to_owned();
    for name in BEFORE {
        text.push_str(&part(name)?);
        text.push('\n');
    }
    text.push_str(FUNCTIONS.trim_start_matches('\n'));
    for declared in DECLARED {
        text.push('\n');
        comment(&mut text, "  ", &purpose(declared)?);
        function(&mut text, declared);
    }
    for name in AFTER {
        text.push('\n');
        text.push_str(&part(name)?);
    }
    let routes: String = DECLARED.iter().map(|declared| throttles(declared.function)).collect();
    let text = text.replacen(ROUTES, &routes, 1);
    let count = resources(&text).to_string();
    Ok(text.replacen(RESOURCES, &count, 1))
}

/// The logical id of a function without `Function`.
#[must_use]
pub(crate) fn logical_id(name: &str) -> String {
    name.split('_').map(crate::capitalized).collect()
}

/// Writes a comment of at most 120 columns.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = format!("{indent}#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > 120 {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// One line per route with its throttle class.
fn throttles(function: &Function) -> String {
    let class = function.class().parameter();
    let lines = function.routes().map(|(method, path)| {
        let limits = format!("{{ThrottlingRateLimit: !Ref {class}Rate, ThrottlingBurstLimit: !Ref {class}Burst}}");
        format!("        \"{}\": {limits}\n", route_key(method, path))
    });
    lines.collect::<Vec<_>>().concat()
}

fn function(text: &mut String, declared: &Declared) {
    let Declared { name, function, .. } = declared;
    let (id, dashed) = (logical_id(name), name.replace('_', "-"));
    let _ = writeln!(
        text,
        "  {id}Function:\n    Type: AWS::Serverless::Function\n    Metadata: {{SkipBuild: true}}\n    Properties:\n      \
         FunctionName: !Sub greenroom-${{Stage}}-{dashed}\n      CodeUri: target/lambda/{name}/"
    );
    for line in function.properties.lines() {
        let _ = writeln!(text, "      {line}");
    }
    let mut grants = function.grants().peekable();
    if grants.peek().is_some() {
        text.push_str("      Policies:\n        - Version: \"2012-10-17\"\n          Statement:\n");
        for grant in grants {
            statement(text, &grant);
        }
    }
    events(text, function);
    for trigger in function.triggers {
        if let Trigger::Message { route, answers } = trigger {
            message(text, &id, route, *answers);
        }
    }
}

/// The resources that connect an event of the WebSocket API to a function and return its answer.
fn message(text: &mut String, id: &str, route: &str, answers: bool) {
    let response = if answers { "      RouteResponseSelectionExpression: $default\n" } else { "" };
    let _ = write!(
        text,
        "  {id}Permission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref {id}Function
      Principal: apigateway.amazonaws.com
      SourceArn: !Sub \"arn:${{AWS::Partition}}:execute-api:${{AWS::Region}}:${{AWS::AccountId}}:${{SocketApi}}/live/{route}\"
  {id}Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref SocketApi
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub \"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{id}Function.Arn}}/invocations\"
  {id}Route:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref SocketApi
      RouteKey: {route}
{response}      Target: !Sub \"integrations/${{{id}Integration}}\"
"
    );
    if answers {
        let _ = write!(
            text,
            "  {id}RouteResponse:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties: {{ApiId: !Ref SocketApi, RouteId: !Ref {id}Route, RouteResponseKey: $default}}
"
        );
    }
}

fn statement(text: &mut String, grant: &Grant) {
    if !grant.reason.is_empty() {
        comment(text, "            ", grant.reason);
    }
    text.push_str("            - Effect: Allow\n");
    list(text, "Action", grant.actions);
    list(text, "Resource", grant.resources);
    if grant.keys.is_empty() && !grant.counts {
        return;
    }
    text.push_str("              Condition:\n");
    if !grant.keys.is_empty() {
        let like = if grant.keys.iter().any(|key| key.contains('*')) { "StringLike" } else { "StringEquals" };
        let keys: Vec<_> = grant.keys.iter().map(|key| format!("\"{key}\"")).collect();
        let keys = keys.join(", ");
        let _ = writeln!(text, "                ForAllValues:{like}: {{dynamodb:LeadingKeys: [{keys}]}}");
    }
    if !grant.spared.is_empty() {
        let spared: Vec<_> = grant.spared.split(' ').map(|name| format!("\"{name}\"")).collect();
        let spared = spared.join(", ");
        let _ = writeln!(text, "                ForAllValues:StringNotLike: {{dynamodb:Attributes: [{spared}]}}");
    }
    if grant.counts {
        text.push_str("                StringEquals: {dynamodb:Select: COUNT}\n");
    }
}

/// Writes a list on one line if it fits, otherwise one entry per line. Either way, a widened grant changes one line.
fn list(text: &mut String, name: &str, entries: &[&str]) {
    let entries: Vec<_> =
        entries.iter().map(|entry| if *entry == "*" { "\"*\"".to_owned() } else { (*entry).to_owned() }).collect();
    let line = format!("              {name}: [{}]\n", entries.join(", "));
    if line.len() <= 120 {
        text.push_str(&line);
        return;
    }
    let _ = writeln!(text, "              {name}:");
    for entry in entries {
        let _ = writeln!(text, "                - {entry}");
    }
}

fn events(text: &mut String, function: &Function) {
    let of_sam = |trigger: &Trigger| matches!(trigger, Trigger::Route { .. } | Trigger::Schedule { .. });
    if !function.triggers.iter().any(of_sam) {
        return;
    }
    text.push_str("      Events:\n");
    let mut names = Vec::new();
    for trigger in function.triggers {
        let (mut name, kind, properties) = match trigger {
            Trigger::Route { method, path } => (
                if *method == "HEAD" { "Head" } else { "Route" }.to_owned(),
                "HttpApi",
                format!("{{ApiId: !Ref Api, Method: {method}, Path: \"{path}\"}}"),
            ),
            Trigger::Schedule { when, name, input, only_if } => {
                let mut properties = format!("{{Schedule: \"{when}\", Name: !Sub \"greenroom-${{Stage}}-{name}\"");
                if let Some(condition) = only_if {
                    let _ = write!(properties, ", State: !If [{condition}, ENABLED, DISABLED]");
                }
                if let Some(input) = input {
                    let _ = write!(properties, ", Input: '{input}'");
                }
                properties.push('}');
                // A further rule of the same function gets its id from the last word of its name.
                let last = name.rsplit('-').next().unwrap_or_default();
                let id = if names.is_empty() { "Schedule".to_owned() } else { crate::capitalized(last) };
                (id, "Schedule", properties)
            }
            Trigger::Message { .. } | Trigger::Stream => continue,
        };
        if names.contains(&name) {
            let _ = write!(name, "{}", names.len());
        }
        let _ = writeln!(text, "        {name}:\n          Type: {kind}\n          Properties: {properties}");
        names.push(name);
    }
}

/// Number of the stack's resources, including those that SAM adds: a role for each function, a permission for each of
/// its events, a rule for each schedule, and a stage for the API.
fn resources(text: &str) -> usize {
    let logical =
        text.lines().skip_while(|line| *line != "Resources:").take_while(|line| *line != "Outputs:").filter(|line| {
            line.strip_prefix("  ").is_some_and(|line| line.starts_with(|letter: char| letter.is_ascii_uppercase()))
        });
    let of_functions: usize = DECLARED
        .iter()
        .map(|declared| {
            let triggers = declared.function.triggers.iter();
            let of_triggers = triggers.map(|trigger| match trigger {
                Trigger::Route { .. } => 1,
                Trigger::Schedule { .. } => 2,
                // These resources are already in the template's text.
                Trigger::Message { .. } | Trigger::Stream => 0,
            });
            1 + of_triggers.sum::<usize>()
        })
        .sum();
    logical.count() + of_functions + 1
}

/// The source text of a function's program.
#[must_use]
pub(crate) fn binary(declared: &Declared) -> String {
    let Declared { group, name, kind, function } = declared;
    let live = if function.live { "_live" } else { "" };
    let generated = "//! Written by `cargo xtask docs`.";
    let main =
        |call: &str| format!("{generated}\nfn main() -> Result<(), functions::Error> {{\n    functions::{call}\n}}\n");
    match kind {
        FunctionKind::Endpoint if *name == "get_metrics" => METRICS.to_owned(),
        FunctionKind::Endpoint => main(&format!("serve{live}(functions::handlers::{name})")),
        FunctionKind::Consumer => main(&format!("consume{live}(functions::{group}::{name}::run)")),
        FunctionKind::Socket => main(&format!("serve_socket{live}(functions::{group}::{name}::run)")),
        FunctionKind::Job => main(&format!("serve_schedule(functions::{group}::{name}::run)")),
    }
}

/// The program of `get_metrics`. It shows the figures of the whole stage, and only this program links the code that
/// reads them.
const METRICS: &str =
    "//! Written by `cargo xtask docs`. Its figures are those of the stage, which no other function reads.
use cloudwatch::{CloudWatch, Function};

fn main() -> Result<(), functions::Error> {
    functions::serve_with(functions::handlers::get_metrics, |stage| {
        let functions = functions::described().into_iter().map(|(binary, route)| Function { binary, route });
        CloudWatch::from_env(stage, functions.collect())
    })
}
";
