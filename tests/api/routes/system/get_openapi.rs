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
