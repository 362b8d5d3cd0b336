use crate::support::witness::{Witness, set_attribute};
use crate::support::writes::Write;
use crate::support::{Runner, STATE_KEYS, instant, keys, refused, refused_field, state_of};
use serde_json::{Value, json};

const STATE: Write = Write { method: "POST", path: "/state", body: || json!({"isMuted": true}) };

fn all() -> Value {
    json!({"isMuted": true, "muteScope": "os", "deviceId": "usb", "deviceLabel": "USB", "roomId": "demo"})
}

#[test]
fn the_first_state_is_201_and_has_all_that_was_claimed() {
    let created = Runner::ephemeral().post("/api/users/ada/state", all());
    let state = created.json();
    assert_eq!((created.status, &state["userId"], &state["version"]), (201, &json!("ada"), &json!(1)));
    for (name, value) in all().as_object().unwrap() {
        assert_eq!(&state[name], value);
    }
    assert_eq!(instant(&state["createdAt"]), instant(&state["lastUpdated"]));
}

#[test]
fn the_next_state_is_200() {
    let runner = Runner::ephemeral();
    let created = runner.post("/api/users/ada/state", all());
    let replaced = runner.post("/api/users/ada/state", all());
    assert_eq!((created.status, replaced.status, &replaced.json()["version"]), (201, 200, &json!(2)));
}

#[test]
fn the_answer_has_exactly_these_members() {
    let created = Runner::ephemeral().post("/api/users/ada/state", json!({"isMuted": false}));
    assert_eq!(keys(&state_of(&created, true)), STATE_KEYS);
    assert_eq!(created.header("content-type"), Some("application/json"));
    assert_eq!(created.header("etag"), None, "a tag belongs to a read");
}

#[test]
fn a_state_replaces_the_last_one_so_omitted_members_are_cleared() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", all());
    let replaced = runner.post("/api/users/ada/state", json!({"isMuted": false})).json();
    for cleared in ["deviceId", "deviceLabel", "roomId"] {
        assert_eq!(replaced[cleared], Value::Null, "{cleared}");
    }
    assert_eq!((&replaced["isMuted"], &replaced["muteScope"]), (&json!(false), &json!("app")));
}

#[test]
fn null_means_left_out() {
    let nulls =
        json!({"isMuted": true, "muteScope": null, "deviceId": null, "deviceLabel": null, "roomId": null, "seq": null});
    let created = Runner::ephemeral().post("/api/users/ada/state", nulls);
    assert_eq!((created.status, &created.json()["roomId"]), (201, &Value::Null));
}

#[test]
fn a_state_without_its_room_leaves_the_room() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", all());
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    assert_eq!(runner.get("/api/rooms/demo/users").json()["items"], json!([]));
}

#[test]
fn a_state_in_another_room_moves_there() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", all());
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "other"}));
    let count = |room: &str| runner.get(&format!("/api/rooms/{room}/users")).json()["items"].as_array().unwrap().len();
    assert_eq!((count("demo"), count("other")), (0, 1));
}

#[test]
fn each_state_is_a_version_created_at_stays_and_time_never_goes_back() {
    STATE.counts_versions_and_keeps_time();
}

#[test]
fn a_state_after_a_deletion_starts_anew() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "seq": 9}));
    runner.delete("/api/users/ada");
    let anew = runner.post("/api/users/ada/state", json!({"isMuted": true, "seq": 1}));
    assert_eq!((anew.status, &anew.json()["version"]), (201, &json!(1)));
}

#[test]
fn an_older_seq_changes_nothing() {
    STATE.ignores_older_and_equal_seq();
}

#[test]
fn a_state_that_is_older_than_a_mute_or_a_device_change_changes_nothing() {
    for (path, body) in [
        ("/api/users/ada/mute", json!({"isMuted": true, "seq": 7})),
        ("/api/users/ada/device", json!({"deviceId": "usb", "seq": 7})),
    ] {
        let runner = Runner::ephemeral();
        runner.post("/api/users/ada/state", json!({"isMuted": false, "seq": 1}));
        let newest = state_of(&runner.patch(path, body), true);
        let older = runner.post("/api/users/ada/state", json!({"isMuted": false, "seq": 7}));
        assert_eq!(state_of(&older, false), newest);
        assert_eq!(runner.post("/api/users/ada/state", json!({"isMuted": false, "seq": 8})).json()["version"], 3);
    }
}

#[test]
fn a_seq_of_the_state_counts_for_mute_and_device() {
    let runner = Runner::ephemeral();
    let stored = state_of(&runner.post("/api/users/ada/state", json!({"isMuted": true, "seq": 5})), true);
    for (path, body) in [
        ("/api/users/ada/mute", json!({"isMuted": false, "seq": 5})),
        ("/api/users/ada/device", json!({"deviceId": "x", "seq": 4})),
    ] {
        assert_eq!(state_of(&runner.patch(path, body), false), stored);
    }
}

#[test]
fn a_state_without_seq_resets_the_counters() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "seq": 900}));
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": false, "seq": 0})).json()["isMuted"], false);
    assert_eq!(runner.patch("/api/users/ada/device", json!({"deviceId": "x", "seq": 0})).json()["deviceId"], "x");
}

#[test]
fn if_match_with_the_stored_version_succeeds_and_any_other_is_412() {
    STATE.honours_if_match();
}

#[test]
fn if_match_never_creates() {
    let runner = Runner::ephemeral();
    let refusal = STATE.send(&runner, "ada", &[("if-match", "\"1\"")], all());
    assert_eq!(refused(&refusal, 412, "version_conflict").get("currentVersion"), None);
    assert_eq!(runner.get("/api/users/ada").status, 404);
}

#[test]
fn ids_of_every_allowed_character_and_length_are_taken() {
    let runner = Runner::ephemeral();
    for id in ["a", "user-123", "ada@example.com", "A_b.c:d@e-9", &"x".repeat(128)] {
        let created = runner.post(&format!("/api/users/{id}/state"), json!({"isMuted": true, "roomId": id}));
        assert_eq!((created.status, &created.json()["roomId"]), (201, &json!(id)));
        assert_eq!(runner.get(&format!("/api/rooms/{id}/users")).json()["items"][0]["userId"], id);
    }
}

#[test]
fn a_malformed_id_is_400() {
    STATE.refuses_malformed_ids();
}

#[test]
fn a_malformed_body_is_400_and_changes_nothing() {
    STATE.refuses_malformed_bodies(&[
        (r#"{"isMuted": "yes"}"#, "isMuted"),
        (r#"{"isMuted": 0}"#, "isMuted"),
        (r#"{"isMuted": null}"#, "isMuted"),
        (r#"{"isMuted": true, "isMuted": true}"#, "isMuted"),
        (r#"{"isMuted": true, "muteScope": "page"}"#, "muteScope"),
        (r#"{"isMuted": true, "deviceId": "a b"}"#, "deviceId"),
        (r#"{"isMuted": true, "deviceId": ["usb"]}"#, "deviceId"),
        (r#"{"isMuted": true, "deviceLabel": "a\tb"}"#, "deviceLabel"),
        (r#"{"isMuted": true, "deviceLabel": "\u2029"}"#, "deviceLabel"),
        (r#"{"isMuted": true, "deviceLabel": " "}"#, "deviceLabel"),
        (r#"{"isMuted": true, "deviceLabel": "\u3164"}"#, "deviceLabel"),
        (r#"{"isMuted": true, "name": "\u200b"}"#, "name"),
        (r#"{"isMuted": true, "name": ""}"#, "name"),
        (&format!(r#"{{"isMuted": true, "name": "{}"}}"#, "é".repeat(101)), "name"),
        (r#"{"isMuted": true, "lease": "short"}"#, "lease"),
        (r#"{"isMuted": true, "roomId": ".."}"#, "roomId"),
        (r#"{"isMuted": true, "roomId": "Greenroom-x"}"#, "roomId"),
        (r#"{"isMuted": true, "roomId": ""}"#, "roomId"),
        (r#"{"isMuted": true, "roomId": "a/b"}"#, "roomId"),
        (r#"{"isMuted": true, "roomId": "ROOM#1"}"#, "roomId"),
        (r#"{"isMuted": true, "roomId": 5}"#, "roomId"),
        (&format!(r#"{{"isMuted": true, "roomId": "{}"}}"#, "r".repeat(129)), "roomId"),
        (r#"{"isMuted": true, "userId": "bob"}"#, "userId"),
        (r#"{"isMuted": true, "version": 7}"#, "version"),
        (r#"{"isMuted": true, "verdict": {"mute": {"value": "verified"}}}"#, "verdict"),
        (r#"{"isMuted": true, "createdAt": "2020-01-01T00:00:00.000Z"}"#, "createdAt"),
    ]);
}

#[test]
fn a_list_is_not_a_state() {
    let runner = Runner::ephemeral();
    for body in [json!([]), json!([true]), json!([true, "app", "usb", "USB", "demo", 1])] {
        refused_field(&runner.post("/api/users/ada/state", body), "body");
    }
}

#[test]
fn a_body_that_is_not_declared_as_json_is_415() {
    STATE.refuses_other_media_types();
    STATE.takes_json_with_parameters();
}

#[test]
fn a_large_body_is_413_and_a_deep_one_400() {
    STATE.refuses_bodies_that_are_too_large_or_too_deep();
}

/// The first clients sent such states.
#[test]
fn a_state_without_a_mute_is_unmuted() {
    let runner = Runner::ephemeral();
    for body in [json!({}), json!({"roomId": "demo"})] {
        assert_eq!(runner.post("/api/users/ada/state", body).json()["isMuted"], false);
    }
}

#[test]
fn a_name_is_kept_and_cleared_like_the_rest_of_the_claim() {
    let runner = Runner::ephemeral();
    let named = runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo", "name": " Zoë 👩‍🎤 "}));
    assert_eq!(named.json()["name"], "Zoë 👩‍🎤");
    assert_eq!(runner.get("/api/rooms/demo/users").json()["items"][0]["name"], "Zoë 👩‍🎤");
    assert_eq!(runner.patch("/api/users/ada/mute", json!({"isMuted": false})).json()["name"], "Zoë 👩‍🎤");
    assert_eq!(runner.post("/api/users/ada/state", json!({"isMuted": true})).json()["name"], Value::Null);
}

/// The table removes an expired item within days.
#[test]
fn an_expired_state_is_never_shown_and_the_next_state_starts_anew() {
    let runner = Runner::ephemeral();
    crate::support::witness::join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    set_attribute(&runner, "ada", "expiresAt", Some(&json!({"N": "1795257125"})));
    refused(&runner.get("/api/users/ada"), 404, "user_not_found");
    refused(&runner.patch("/api/users/ada/mute", json!({"isMuted": false})), 404, "user_not_found");
    refused(&runner.patch("/api/users/ada/device", json!({"deviceId": "x"})), 404, "user_not_found");
    refused(&runner.delete("/api/users/ada"), 404, "user_not_found");
    refused(&runner.delete("/api/users/ada/agent"), 404, "user_not_found");
    refused(&witness.attest(&runner, json!({})), 409, "agent_idle");
    for list in ["/api/users", "/api/rooms/demo/users"] {
        assert_eq!(runner.get(list).json()["items"], json!([]), "{list}");
    }
    assert_eq!(runner.get("/api/rooms/demo/safe").json()["counts"]["total"], 0);
    let anew = runner.post("/api/users/ada/state", all());
    assert_eq!((anew.status, &anew.json()["version"], &anew.json()["agent"]), (201, &json!(1), &Value::Null));
}
