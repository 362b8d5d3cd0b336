use crate::support::writes::BAD_IDS;
use crate::support::{Runner, STATE_KEYS, instant, keys, refused, refused_field, state_of};
use serde_json::json;

#[test]
fn a_state_is_read_as_it_was_written() {
    let runner = Runner::ephemeral();
    let written = runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let read = runner.get("/api/users/ada");
    assert_eq!((read.status, read.json()), (200, state_of(&written, true)));
}

#[test]
fn the_answer_has_exactly_these_members() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    let state = runner.get("/api/users/ada").json();
    assert_eq!(keys(&state), STATE_KEYS);
    assert_eq!(keys(&state["verdict"]), ["device", "mute"]);
    for verdict in ["mute", "device"] {
        assert_eq!(
            keys(&state["verdict"][verdict]),
            ["assurance", "expiresAt", "observedAt", "reason", "since", "value"]
        );
    }
    instant(&state["createdAt"]);
    instant(&state["lastUpdated"]);
}

#[test]
fn a_claim_is_never_shown_as_verified() {
    let runner = Runner::ephemeral();
    let claim = json!({"isMuted": true, "muteScope": "device", "deviceId": "usb"});
    runner.post("/api/users/ada/state", claim);
    let state = runner.get("/api/users/ada").json();
    let unverified = json!({"value": "unverified", "reason": "no_agent", "observedAt": null, "expiresAt": null, "since": null, "assurance": "self-hosted"});
    assert_eq!(state["verdict"], json!({"mute": unverified, "device": unverified}));
    assert_eq!(state["source"], "open");
}

#[test]
fn an_unknown_user_is_404() {
    refused(&Runner::ephemeral().get("/api/users/nobody"), 404, "user_not_found");
}

#[test]
fn ids_differ_by_case_and_are_decoded_once() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada@x/state", json!({"isMuted": true}));
    assert_eq!(runner.get("/api/users/%61da%40x").json()["userId"], "ada@x");
    refused(&runner.get("/api/users/Ada@x"), 404, "user_not_found");
    refused_field(&runner.get("/api/users/ada%2540x"), "userId");
}

#[test]
fn a_malformed_id_is_400() {
    let runner = Runner::ephemeral();
    for id in BAD_IDS {
        refused_field(&runner.get(&format!("/api/users/{id}")), "userId");
    }
}

#[test]
fn a_read_that_the_client_has_already_is_304_without_body() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let first = runner.get("/api/users/ada");
    let tag = first.header("etag").unwrap();
    for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        let again = runner.send("GET", "/api/users/ada", &[("if-none-match", known)], "");
        assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", Some(tag)), "{known}");
        assert_eq!(again.header("cache-control"), Some("private, no-cache"));
    }
}

#[test]
fn a_changed_state_has_another_tag() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let old = runner.get("/api/users/ada");
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    let new = runner.send("GET", "/api/users/ada", &[("if-none-match", old.header("etag").unwrap())], "");
    assert_eq!((new.status, &new.json()["isMuted"]), (200, &json!(false)));
    assert_ne!(new.header("etag"), old.header("etag"));
}

#[test]
fn a_refusal_has_no_tag() {
    let refusal = Runner::ephemeral().send("GET", "/api/users/nobody", &[("if-none-match", "*")], "");
    assert_eq!((refusal.status, refusal.header("etag")), (404, None));
}
