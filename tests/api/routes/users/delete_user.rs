use crate::support::writes::BAD_IDS;
use crate::support::{Runner, refused, refused_field};
use serde_json::json;

#[test]
fn a_deleted_user_is_gone_everywhere() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let deleted = runner.delete("/api/users/ada");
    assert_eq!((deleted.status, deleted.json()), (200, json!({"success": true, "userId": "ada"})));
    refused(&runner.get("/api/users/ada"), 404, "user_not_found");
    refused(&runner.patch("/api/users/ada/mute", json!({"isMuted": true})), 404, "user_not_found");
    refused(&runner.patch("/api/users/ada/device", json!({"deviceId": "usb"})), 404, "user_not_found");
    assert_eq!(runner.get("/api/rooms/demo/users").json()["items"], json!([]));
    assert_eq!(runner.get("/api/users").json()["items"], json!([]));
}

#[test]
fn repeating_a_deletion_is_404() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    assert_eq!(runner.delete("/api/users/ada").status, 200);
    refused(&runner.delete("/api/users/ada"), 404, "user_not_found");
}

#[test]
fn only_the_named_user_is_deleted() {
    let runner = Runner::ephemeral();
    for id in ["ada", "ada2", "Ada"] {
        runner.post(&format!("/api/users/{id}/state"), json!({"isMuted": true}));
    }
    runner.delete("/api/users/ada");
    assert_eq!((runner.get("/api/users/ada2").status, runner.get("/api/users/Ada").status), (200, 200));
}

#[test]
fn an_unknown_user_is_404() {
    let runner = Runner::ephemeral();
    refused(&runner.delete("/api/users/nobody"), 404, "user_not_found");
    refused(&runner.send("DELETE", "/api/users/nobody", &[("if-match", "\"1\"")], ""), 404, "user_not_found");
}

#[test]
fn a_malformed_id_is_400() {
    let runner = Runner::ephemeral();
    for id in BAD_IDS {
        refused_field(&runner.delete(&format!("/api/users/{id}")), "userId");
    }
}

#[test]
fn if_match_with_the_stored_version_succeeds_and_any_other_is_412() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let at = |version: &str| runner.send("DELETE", "/api/users/ada", &[("if-match", version)], "");
    assert_eq!(refused(&at("\"2\""), 412, "version_conflict")["currentVersion"], 1);
    refused_field(&at("1"), "If-Match");
    assert_eq!(runner.get("/api/users/ada").status, 200, "a refused request changes nothing");
    assert_eq!(at("\"1\"").status, 200);
}
