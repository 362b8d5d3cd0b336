//! Unreadable stored items: an error without details, never a shorter list and never a guess.

use crate::support::witness::{Witness, engine, join, set_attribute};
use crate::support::{Runner, refused};
use serde_json::json;

#[test]
fn an_unreadable_item_is_an_error_and_never_left_out() {
    let text = |text: &str| json!({"S": text});
    let damages = [
        ("isMuted", None),
        ("isMuted", Some(text("true"))),
        ("version", None),
        ("version", Some(json!({"N": "-1"}))),
        ("lastUpdated", None),
        ("lastUpdated", Some(json!({"N": "1.5"}))),
        ("createdAt", Some(text("2026"))),
        ("muteScope", Some(text("loud"))),
        ("deviceId", Some(text("a b"))),
        ("deviceLabel", Some(json!({"N": "7"}))),
        ("changedBy", Some(text("somebody"))),
        ("agentId", Some(text("agt_1"))),
        ("heardAt", Some(text("now"))),
        ("heardFlag", None),
        ("heardFlag", Some(text("Muted"))),
        ("heardSignal", Some(text("loud"))),
        ("heardCondition", Some(text("fine"))),
        ("heardRoute", Some(json!({"BOOL": true}))),
        ("heardLabel", None),
    ];
    let runner = Runner::ephemeral();
    join(&runner, "bob", true);
    for (attribute, value) in damages {
        join(&runner, "ada", true);
        let mut witness = Witness::paired(&runner, "ada");
        assert_eq!(witness.attest(&runner, json!({})).status, 200);
        set_attribute(&runner, "ada", attribute, value.as_ref());
        for path in ["/api/users/ada", "/api/users", "/api/rooms/demo/users", "/api/rooms/demo/safe"] {
            let reply = runner.get(path);
            refused(&reply, 500, "internal_error");
            assert!(!reply.text.contains(attribute), "{path}: {}", reply.text);
        }
        assert_eq!(runner.get("/api/users/bob").status, 200);
        // An unreadable user can still be deleted.
        assert_eq!(runner.delete("/api/users/ada").status, 200);
        assert_eq!(runner.get("/api/rooms/demo/users").json()["items"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn an_unreadable_agent_cannot_attest() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    let before = runner.get("/api/users/ada").json();
    let item = json!({
        "TableName": "greenroom-state",
        "Key": {"pk": {"S": format!("AGENT#{}", witness.id)}, "sk": {"S": "META"}},
        "UpdateExpression": "SET publicKey = :value",
        "ExpressionAttributeValues": {":value": {"S": "a key"}},
    });
    engine(&runner, "UpdateItem", &item);
    refused(&witness.attest(&runner, json!({"signal": "signal"})), 500, "internal_error");
    assert_eq!(runner.get("/api/users/ada").json()["agent"], before["agent"]);
}
