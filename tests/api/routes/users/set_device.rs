use crate::support::writes::Write;
use crate::support::{Runner, STATE_KEYS, keys, state_of};
use serde_json::json;

const DEVICE: Write = Write { method: "PATCH", path: "/device", body: || json!({"deviceId": "usb"}) };

#[test]
fn a_device_is_stored_and_changes_nothing_else() {
    let runner = Runner::ephemeral();
    let all = json!({"isMuted": true, "muteScope": "os", "deviceId": "built-in", "deviceLabel": "Built-in", "roomId": "demo"});
    let mut expected = runner.post("/api/users/ada/state", all).json();
    let changed = runner.patch("/api/users/ada/device", json!({"deviceId": "usb", "deviceLabel": "USB"}));
    expected["deviceId"] = "usb".into();
    expected["deviceLabel"] = "USB".into();
    expected["version"] = 2.into();
    expected["lastUpdated"] = changed.json()["lastUpdated"].clone();
    assert_eq!((changed.status, changed.json()), (200, expected));
    assert_eq!(runner.get("/api/users/ada").json(), state_of(&changed, true));
}

#[test]
fn a_device_change_never_touches_the_mute() {
    let runner = Runner::ephemeral();
    for muted in [true, false] {
        runner.post("/api/users/ada/state", json!({"isMuted": muted, "muteScope": "device"}));
        let changed = runner.patch("/api/users/ada/device", json!({"deviceId": "usb"})).json();
        assert_eq!((&changed["isMuted"], &changed["muteScope"]), (&json!(muted), &json!("device")));
    }
}

#[test]
fn the_answer_has_exactly_these_members() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    let changed = runner.patch("/api/users/ada/device", json!({"deviceId": "usb"}));
    assert_eq!(keys(&state_of(&changed, true)), STATE_KEYS);
}

#[test]
fn a_label_belongs_to_its_device_so_leaving_it_out_clears_it() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "deviceId": "usb", "deviceLabel": "USB"}));
    let changed = runner.patch("/api/users/ada/device", json!({"deviceId": "other"})).json();
    assert_eq!((&changed["deviceId"], &changed["deviceLabel"]), (&json!("other"), &json!(null)));
}

#[test]
fn labels_of_every_script_are_kept_and_composed() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    for (given, kept) in [
        ("麦克风 (USB)", "麦克风 (USB)"),
        ("👩‍🎤 studio", "👩‍🎤 studio"),
        ("Cafe\u{301}", "Café"),
        ("\"; DROP TABLE users; --", "\"; DROP TABLE users; --"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ] {
        let body = json!({"deviceId": "usb", "deviceLabel": given});
        assert_eq!(runner.patch("/api/users/ada/device", body).json()["deviceLabel"], kept);
    }
}

#[test]
fn the_longest_values_are_taken_and_one_more_is_not() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let longest = json!({"deviceId": "d".repeat(256), "deviceLabel": "🎤".repeat(256)});
    assert_eq!(runner.patch("/api/users/ada/device", longest).status, 200);
    for (body, field) in [
        (json!({"deviceId": "d".repeat(257)}), "deviceId"),
        (json!({"deviceId": "usb", "deviceLabel": "🎤".repeat(257)}), "deviceLabel"),
    ] {
        crate::support::refused_field(&runner.patch("/api/users/ada/device", body), field);
    }
}

#[test]
fn a_newer_mute_never_blocks_a_device_change() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": false}));
    runner.patch("/api/users/ada/mute", json!({"isMuted": true, "seq": 900}));
    let changed = runner.patch("/api/users/ada/device", json!({"deviceId": "usb", "seq": 1})).json();
    assert_eq!((&changed["deviceId"], &changed["isMuted"]), (&json!("usb"), &json!(true)));
}

#[test]
fn repeating_a_change_with_its_seq_changes_nothing() {
    DEVICE.ignores_older_and_equal_seq();
}

#[test]
fn an_unknown_user_is_404_and_stays_unknown() {
    DEVICE.refuses_unknown_users();
}

#[test]
fn a_malformed_id_is_400() {
    DEVICE.refuses_malformed_ids();
}

#[test]
fn a_malformed_body_is_400_and_changes_nothing() {
    DEVICE.refuses_malformed_bodies(&[
        ("{}", "deviceId"),
        (r#"{"deviceId": 7}"#, "deviceId"),
        (r#"{"deviceId": ""}"#, "deviceId"),
        (r#"{"deviceId": "a b"}"#, "deviceId"),
        (r#"{"deviceId": "é"}"#, "deviceId"),
        (r#"{"deviceId": "a\u0000"}"#, "deviceId"),
        (r#"{"deviceId": "usb", "deviceId": "other"}"#, "deviceId"),
        (r#"{"deviceId": "usb", "deviceLabel": ""}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": {}}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "a\nb"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "a\u0000b"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "a\u001b[31mb"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "\u202ecim"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "a\u2066b"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "a\u200bb"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "deviceLabel": "\ud800"}"#, "deviceLabel"),
        (r#"{"deviceId": "usb", "isMuted": true}"#, "isMuted"),
    ]);
}

#[test]
fn a_body_that_is_not_declared_as_json_is_415() {
    DEVICE.refuses_other_media_types();
    DEVICE.takes_json_with_parameters();
}

#[test]
fn a_large_body_is_413_and_a_deep_one_400() {
    DEVICE.refuses_bodies_that_are_too_large_or_too_deep();
}

#[test]
fn if_match_with_the_stored_version_succeeds_and_any_other_is_412() {
    DEVICE.honours_if_match();
}

#[test]
fn each_change_is_a_version_and_time_never_goes_back() {
    DEVICE.counts_versions_and_keeps_time();
}

#[test]
fn null_clears_the_device_and_leaving_it_out_is_an_error() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "deviceId": "usb", "deviceLabel": "USB"}));
    let cleared = runner.patch("/api/users/ada/device", json!({"deviceId": null})).json();
    assert_eq!(
        (&cleared["deviceId"], &cleared["deviceLabel"], &cleared["version"]),
        (&json!(null), &json!(null), &json!(2))
    );
    crate::support::refused_field(&runner.patch("/api/users/ada/device", json!({"deviceLabel": "USB"})), "deviceId");
}
