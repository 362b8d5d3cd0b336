use crate::support::writes::Write;
use crate::support::{Runner, STATE_KEYS, keys, state_of};
use serde_json::json;

const MUTE: Write = Write { method: "PATCH", path: "/mute", body: || json!({"isMuted": true}) };

#[test]
fn a_mute_is_stored_and_changes_nothing_else() {
    let runner = Runner::ephemeral();
    let all = json!({"isMuted": false, "deviceId": "usb", "deviceLabel": "Mic", "roomId": "demo"});
    let mut expected = runner.post("/api/users/ada/state", all).json();
    let muted = runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    expected["isMuted"] = true.into();
    expected["version"] = 2.into();
    expected["lastUpdated"] = muted.json()["lastUpdated"].clone();
    assert_eq!((muted.status, muted.json()), (200, expected));
    assert_eq!(runner.get("/api/users/ada").json(), state_of(&muted, true));
}

#[test]
fn the_answer_has_exactly_these_members() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    let muted = runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    assert_eq!(keys(&state_of(&muted, true)), STATE_KEYS);
    assert_eq!(muted.header("content-type"), Some("application/json"));
}

#[test]
fn repeating_a_mute_leaves_it_muted() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    for _ in 0..3 {
        let muted = runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
        assert_eq!((muted.status, &muted.json()["isMuted"]), (200, &json!(true)));
    }
}

#[test]
fn repeating_a_mute_with_its_seq_changes_nothing() {
    MUTE.ignores_older_and_equal_seq();
}

#[test]
fn a_mute_has_the_scope_that_it_names_and_otherwise_app() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false, "muteScope": "os"}));
    for (body, scope) in [
        (json!({"isMuted": true, "muteScope": "device"}), "device"),
        (json!({"isMuted": true, "muteScope": "os"}), "os"),
        (json!({"isMuted": true}), "app"),
        (json!({"isMuted": true, "muteScope": null}), "app"),
    ] {
        assert_eq!(runner.patch("/api/users/ada/mute", body).json()["muteScope"], scope);
    }
}

#[test]
fn mute_unmute_mute_out_of_order_ends_where_the_person_ended() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let runner = Runner::ephemeral();
        runner.post("/api/users/ada/state", json!({"isMuted": false}));
        for seq in order {
            let body = json!({"isMuted": seq != 2, "seq": seq});
            assert_eq!(runner.patch("/api/users/ada/mute", body).status, 200);
        }
        assert_eq!(runner.get("/api/users/ada").json()["isMuted"], true, "{order:?}");
    }
}

#[test]
fn a_newer_device_change_never_blocks_a_mute() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    runner.patch("/api/users/ada/device", json!({"deviceId": "usb", "seq": 900}));
    let muted = runner.patch("/api/users/ada/mute", json!({"isMuted": true, "seq": 1})).json();
    assert_eq!((&muted["isMuted"], &muted["version"]), (&json!(true), &json!(3)));
}

#[test]
fn a_mute_without_seq_always_counts_and_keeps_the_counter() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    runner.patch("/api/users/ada/mute", json!({"isMuted": true, "seq": 5}));
    let open = runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    assert_eq!(open.json()["isMuted"], false);
    let late = runner.patch("/api/users/ada/mute", json!({"isMuted": true, "seq": 5}));
    assert_eq!(state_of(&late, false), state_of(&open, true));
}

#[test]
fn an_unknown_user_is_404_and_stays_unknown() {
    MUTE.refuses_unknown_users();
}

#[test]
fn a_malformed_id_is_400() {
    MUTE.refuses_malformed_ids();
}

#[test]
fn a_malformed_body_is_400_and_changes_nothing() {
    MUTE.refuses_malformed_bodies(&[
        ("{}", "isMuted"),
        ("[]", "body"),
        (r#"{"isMuted": "true"}"#, "isMuted"),
        (r#"{"isMuted": 1}"#, "isMuted"),
        (r#"{"isMuted": null}"#, "isMuted"),
        (r#"{"isMuted": true, "isMuted": false}"#, "isMuted"),
        (r#"{"isMuted": true, "muteScope": "App"}"#, "muteScope"),
        (r#"{"isMuted": true, "muteScope": 1}"#, "muteScope"),
        (r#"{"isMuted": true, "deviceId": "usb"}"#, "deviceId"),
        (r#"{"isMuted": true, "seq": 1, "seq": 2}"#, "seq"),
        (&format!(r#"{{"isMuted": "{}"}}"#, "\\u0001".repeat(9000)), "isMuted"),
    ]);
}

#[test]
fn a_body_that_is_not_declared_as_json_is_415() {
    MUTE.refuses_other_media_types();
    MUTE.takes_json_with_parameters();
}

#[test]
fn a_large_body_is_413_and_a_deep_one_400() {
    MUTE.refuses_bodies_that_are_too_large_or_too_deep();
}

#[test]
fn if_match_with_the_stored_version_succeeds_and_any_other_is_412() {
    MUTE.honours_if_match();
}

#[test]
fn each_mute_is_a_version_and_time_never_goes_back() {
    MUTE.counts_versions_and_keeps_time();
}
