use crate::support::lambda::{Lambda, event};
use crate::support::{Runner, read};

#[test]
fn the_description_is_the_one_in_docs() {
    let described = Runner::ephemeral().get("/api/openapi.json");
    assert_eq!((described.status, described.header("content-type")), (200, Some("application/json")));
    assert_eq!(described.text, read("docs/openapi.json"));
}

#[test]
fn a_description_that_the_client_has_already_is_304() {
    let runner = Runner::ephemeral();
    let first = runner.get("/api/openapi.json");
    let again = runner.send("GET", "/api/openapi.json", &[("if-none-match", first.header("etag").unwrap())], "");
    assert_eq!((again.status, again.text.as_str()), (304, ""));
}

#[test]
fn head_answers_as_get_without_a_body() {
    let runner = Runner::ephemeral();
    let get = runner.get("/api/openapi.json");
    let mut event = event("get_openapi");
    event["requestContext"]["http"]["method"] = "HEAD".into();
    let lambda = Lambda::start("get_openapi", runner.dynamodb.as_deref().unwrap());
    for head in [runner.send("HEAD", "/api/openapi.json", &[], ""), lambda.invoke(&event)] {
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        for name in ["content-type", "etag", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}
