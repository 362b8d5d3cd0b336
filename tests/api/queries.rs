//! Parameters of the query: every endpoint refuses those that it does not take.

use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{NewRoom, strict};
use crate::support::{lambda, refused_field};
use functions::DECLARED;
use functions::function::FunctionKind;
use serde_json::Value;

/// Endpoints that ignore parameters which they do not know. A probe must not fail because of how it is written.
const IGNORE: [&str; 2] = ["get_health", "get_openapi"];

/// The declared example of each endpoint of the API, with the token of a presenter and this query.
fn examples(room: &str, token: &str, query: &'static str) -> Vec<Command> {
    let of_the_api = |declared: &&functions::function::Declared| {
        declared.kind == FunctionKind::Endpoint && declared.function.described.gives[0].is_some()
    };
    let example = |declared: &functions::function::Declared| {
        let event = lambda::event(declared.name);
        let mut command = Command::new(declared.name, "room", room).asking(query);
        for (name, value) in event["pathParameters"].as_object().into_iter().flatten() {
            if name != "room" {
                command.parameters.push((Box::leak(name.clone().into_boxed_str()), value.as_str().unwrap().to_owned()));
            }
        }
        if let Some(body) = event["body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok()) {
            command = command.with(body);
        }
        if event["headers"]["greenroom-signature"].is_string() {
            let signature = event["headers"]["greenroom-signature"].as_str().unwrap().to_owned();
            return command.header("greenroom-signature", signature);
        }
        command.header("authorization", format!("Bearer {token}"))
    };
    DECLARED.iter().filter(of_the_api).map(example).collect()
}

#[tokio::test]
async fn a_parameter_that_an_endpoint_does_not_take_is_refused() {
    let faulty = Faulty::new();
    // A participant is no administrator, and in open mode nobody needs a token for these.
    let context = crate::support::rooms::open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let before = faulty.stored().await;
    for mut command in examples(&room.id, &ada.token, "nonsense=1") {
        let function = functions::function::declared(command.binary).unwrap().function;
        if function.callers == functions::function::Callers::Administrator {
            command.headers.clear();
        }
        let reply = command.run(&context).await;
        if IGNORE.contains(&command.binary) {
            assert_eq!(reply.status, 200, "{}: {}", command.binary, reply.text);
        } else {
            assert_eq!(reply.status, 400, "{}: {}", command.binary, reply.text);
            refused_field(&reply, "query");
        }
    }
    assert_eq!(faulty.stored().await, before);
}

/// A link may end in a question mark.
#[tokio::test]
async fn an_empty_query_is_none() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    for empty in ["", "&"] {
        let reply = room.call("list_questions", &ada).asking(empty).run(&context).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

#[test]
fn the_description_says_which_operations_ignore_parameters() {
    let document: Value = serde_json::from_str(functions::OPENAPI).unwrap();
    let said = document["info"]["description"].as_str().unwrap();
    let ignore = DECLARED.iter().filter(|declared| declared.function.described.ignores_query);
    let ignore: Vec<_> = ignore.map(|declared| declared.name).collect();
    assert_eq!(ignore, IGNORE);
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    for id in operations.map(|operation| operation["operationId"].as_str().unwrap()) {
        let ignores = ["Health", "Openapi"].iter().any(|name| id.ends_with(name));
        assert_eq!(said.contains(&format!("`{id}` ")) || said.contains(&format!("`{id}`,")), ignores, "{id}");
    }
}
