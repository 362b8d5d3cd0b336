use crate::support::witness::{Witness, join};
use crate::support::{Runner, instant, keys, refused_field};
use serde_json::{Value, json};

fn safe(runner: &Runner) -> Value {
    let reply = runner.get("/api/rooms/demo/safe");
    assert_eq!((reply.status, reply.header("cache-control"), reply.header("etag")), (200, Some("no-store"), None));
    let safety = reply.json();
    assert_eq!(keys(&safety), ["asOf", "blocking", "counts", "expiresAt", "roomId", "safe"]);
    safety
}

fn witnessed(runner: &Runner, user: &str, change: Value) -> Value {
    join(runner, user, true);
    let mut witness = Witness::paired(runner, user);
    let reply = witness.attest(runner, change);
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["verdict"]["mute"].clone()
}

#[test]
fn a_room_is_safe_when_everybody_is_muted_and_verified() {
    let runner = Runner::ephemeral();
    let ends = ["ada", "bob", "eve"].map(|user| witnessed(&runner, user, json!({}))["expiresAt"].clone());
    let safety = safe(&runner);
    assert_eq!((&safety["safe"], &safety["blocking"], &safety["roomId"]), (&json!(true), &json!([]), &json!("demo")));
    assert_eq!(
        safety["counts"],
        json!({"total": 3, "muted": 3, "verified": 3, "contradicted": 0, "stale": 0, "unverified": 0})
    );
    assert_eq!(
        instant(&safety["expiresAt"]),
        ends.iter().map(instant).min().unwrap(),
        "the answer expires with its oldest verdict"
    );
}

#[test]
fn a_person_who_is_not_verified_as_muted_makes_the_room_unsafe() {
    let runner = Runner::ephemeral();
    witnessed(&runner, "ada", json!({}));
    let hot = witnessed(&runner, "bob", json!({"signal": "signal", "flag": "unmuted"}));
    let moved = witnessed(&runner, "eve", json!({"route": "moved"}));
    join(&runner, "joe", true);
    let safety = safe(&runner);
    assert_eq!((&safety["safe"], &safety["expiresAt"]), (&json!(false), &json!(null)));
    assert_eq!(
        safety["counts"],
        json!({"total": 4, "muted": 4, "verified": 1, "contradicted": 1, "stale": 0, "unverified": 2})
    );
    let blocking = safety["blocking"].as_array().unwrap();
    let named: Vec<_> = blocking.iter().map(|person| person["userId"].as_str().unwrap()).collect();
    assert_eq!(named, ["bob", "eve", "joe"]);
    assert_eq!((&blocking[0]["verdict"], &blocking[1]["verdict"]), (&hot, &moved));
    assert_eq!(blocking[2]["verdict"]["reason"], "no_agent");
}

#[test]
fn an_open_microphone_makes_the_room_unsafe_even_if_it_is_verified() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", false);
    let mut witness = Witness::paired(&runner, "ada");
    witness.attest(&runner, json!({"signal": "signal", "flag": "unmuted"}));
    let safety = safe(&runner);
    assert_eq!(
        (&safety["safe"], &safety["counts"]["verified"], &safety["counts"]["muted"]),
        (&json!(false), &json!(1), &json!(0))
    );
    assert_eq!(safety["blocking"][0]["isMuted"], false);
}

#[test]
fn an_empty_room_is_not_safe() {
    let safety = safe(&Runner::ephemeral());
    assert_eq!(
        (&safety["safe"], &safety["counts"]["total"], &safety["expiresAt"]),
        (&json!(false), &json!(0), &json!(null))
    );
}

#[test]
fn a_person_who_has_left_does_not_count_any_more() {
    let runner = Runner::ephemeral();
    witnessed(&runner, "ada", json!({}));
    join(&runner, "bob", false);
    assert_eq!(safe(&runner)["safe"], false);
    runner.delete("/api/users/bob");
    assert_eq!(safe(&runner)["safe"], true);
}

#[test]
fn a_malformed_room_is_400() {
    refused_field(&Runner::ephemeral().get("/api/rooms/a%20b/safe"), "room");
}
