use crate::support::witness::{Witness, attach, join, mute_verdict};
use crate::support::{Runner, STATE_KEYS, keys, refused, refused_field};
use serde_json::{Value, json};

fn bind(runner: &Runner, agent: &str, device: &str, heard: &str) -> crate::support::Reply {
    let body = json!({"deviceId": device, "agentDeviceId": heard});
    runner.send_json("PUT", &format!("/api/agents/{agent}/binding"), &[], body)
}

/// Two inputs have the label that the browser shows.
fn ambiguous() -> (Runner, Witness, Value) {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    let twin = json!({"device": {"id": "pulseaudio:twin", "label": "Desk Mic", "unique": false}});
    assert_eq!(mute_verdict(&witness.attest(&runner, twin.clone())).1, "device_ambiguous");
    (runner, witness, twin)
}

#[test]
fn a_binding_settles_which_of_two_devices_is_in_use() {
    let (runner, mut witness, twin) = ambiguous();
    let bound = bind(&runner, &witness.id, "e3b0", "pulseaudio:twin");
    assert_eq!((bound.status, keys(&bound.json())), (200, STATE_KEYS.to_vec()));
    assert_eq!(mute_verdict(&bound), ("verified".into(), "silent_and_flagged".into()));
    assert_eq!(mute_verdict(&witness.attest(&runner, twin)).0, "verified", "the binding outlives the attestation");
    let other = json!({"device": {"id": "pulseaudio:other", "label": "Desk Mic", "unique": false}});
    assert_eq!(mute_verdict(&witness.attest(&runner, other)), ("contradicted".into(), "device_mismatch".into()));
}

#[test]
fn a_binding_of_another_device_of_the_browser_counts_for_that_device() {
    let (runner, mut witness, twin) = ambiguous();
    bind(&runner, &witness.id, "ffff", "pulseaudio:twin");
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")).1, "device_ambiguous");
    let other = json!({"deviceId": "ffff", "deviceLabel": "Headset"});
    assert_eq!(mute_verdict(&runner.patch("/api/users/ada/device", other)).1, "claim_newer");
    witness.begin(&runner);
    assert_eq!(mute_verdict(&witness.attest(&runner, twin)).0, "verified");
}

#[test]
fn binding_again_replaces_the_last_binding() {
    let (runner, witness, _) = ambiguous();
    assert_eq!(mute_verdict(&bind(&runner, &witness.id, "e3b0", "pulseaudio:x")).1, "device_mismatch");
    for _ in 0..2 {
        assert_eq!(mute_verdict(&bind(&runner, &witness.id, "e3b0", "pulseaudio:twin")).0, "verified");
    }
}

#[test]
fn a_binding_changes_no_claim() {
    let (runner, witness, _) = ambiguous();
    let before = runner.get("/api/users/ada").json();
    let after = bind(&runner, &witness.id, "e3b0", "pulseaudio:twin").json();
    for member in ["version", "lastUpdated", "isMuted", "deviceId", "deviceLabel"] {
        assert_eq!(before[member], after[member]);
    }
}

#[test]
fn an_agent_that_is_unknown_revoked_or_without_its_user_cannot_be_bound() {
    let (runner, witness, _) = ambiguous();
    let unknown = "agt_00000000000000000000000000";
    refused(&bind(&runner, unknown, "e3b0", "pulseaudio:twin"), 404, "agent_not_found");
    refused_field(&bind(&runner, "agt_1", "e3b0", "pulseaudio:twin"), "agentId");
    let late = Witness::paired(&runner, "ada");
    refused(&bind(&runner, &witness.id, "e3b0", "pulseaudio:twin"), 409, "agent_idle");
    runner.delete(&format!("/api/agents/{}", late.id));
    refused(&bind(&runner, &late.id, "e3b0", "pulseaudio:twin"), 410, "agent_revoked");
    let never = Witness::enrolled(&runner, "ada");
    refused(&bind(&runner, &never.id, "e3b0", "pulseaudio:twin"), 409, "agent_idle");
    let left = Witness::paired(&runner, "ada");
    runner.delete("/api/users/ada");
    refused(&bind(&runner, &left.id, "e3b0", "pulseaudio:twin"), 409, "agent_idle");
}

#[test]
fn a_malformed_body_is_400_and_changes_nothing() {
    let (runner, witness, _) = ambiguous();
    let before = runner.get("/api/users/ada").json();
    for (device, heard, field) in [
        ("a b", "x", "deviceId"),
        ("", "x", "deviceId"),
        ("default", "pulseaudio:twin", "deviceId"),
        ("communications", "pulseaudio:twin", "deviceId"),
        ("Default", "pulseaudio:twin", "deviceId"),
        ("e3b0", "", "agentDeviceId"),
        ("e3b0", "a\nb", "agentDeviceId"),
    ] {
        refused_field(&bind(&runner, &witness.id, device, heard), field);
    }
    assert_eq!(runner.get("/api/users/ada").json(), before);
}

#[test]
fn a_binding_stays_with_the_agent_when_another_user_attaches_it() {
    let (runner, mut witness, twin) = ambiguous();
    bind(&runner, &witness.id, "e3b0", "pulseaudio:twin");
    join(&runner, "ada-next", true);
    assert_eq!(attach(&runner, "ada-next", &witness.token).status, 200);
    witness.begin(&runner);
    assert_eq!(mute_verdict(&witness.attest(&runner, twin)).0, "verified");
}
