use crate::support::witness::{Witness, join, mute_verdict};
use crate::support::{Runner, refused, refused_field};
use serde_json::json;

fn verified() -> (Runner, Witness) {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(mute_verdict(&witness.attest(&runner, json!({}))).0, "verified");
    (runner, witness)
}

#[test]
fn a_revoked_agent_is_heard_no_more_and_its_evidence_is_gone() {
    let (runner, mut witness) = verified();
    let path = format!("/api/agents/{}", witness.id);
    let reply = runner.delete(&path);
    assert_eq!((reply.status, reply.json()), (200, json!({"success": true, "agentId": witness.id})));
    let state = runner.get("/api/users/ada");
    assert_eq!(mute_verdict(&state), ("unverified".into(), "agent_revoked".into()));
    let agent = json!({"agentId": witness.id, "revoked": true, "deviceId": null, "deviceLabel": null});
    assert_eq!(state.json()["agent"], agent);
    refused(&witness.attest(&runner, json!({})), 410, "agent_revoked");
    assert_eq!(runner.get("/api/users/ada").json(), state.json());
}

#[test]
fn revoking_once_more_is_harmless() {
    let (runner, witness) = verified();
    let path = format!("/api/agents/{}", witness.id);
    for _ in 0..3 {
        assert_eq!(runner.delete(&path).status, 200);
    }
}

#[test]
fn revoking_a_replaced_agent_leaves_the_new_one_alone() {
    let (runner, old) = verified();
    let mut new = Witness::paired(&runner, "ada");
    assert_eq!(runner.delete(&format!("/api/agents/{}", old.id)).status, 200);
    assert_eq!(mute_verdict(&new.attest(&runner, json!({}))).0, "verified");
}

#[test]
fn a_person_can_pair_a_new_agent_after_a_revocation() {
    let (runner, old) = verified();
    runner.delete(&format!("/api/agents/{}", old.id));
    let mut new = Witness::paired(&runner, "ada");
    assert_eq!(mute_verdict(&new.attest(&runner, json!({}))).0, "verified");
}

#[test]
fn an_agent_stays_revoked_when_its_user_is_deleted_and_comes_back() {
    let (runner, mut witness) = verified();
    runner.delete("/api/users/ada");
    assert_eq!(runner.delete(&format!("/api/agents/{}", witness.id)).status, 200);
    join(&runner, "ada", true);
    refused(&witness.attest(&runner, json!({})), 410, "agent_revoked");
}

#[test]
fn an_unknown_agent_is_404_and_a_malformed_id_400() {
    let (runner, _) = verified();
    refused(&runner.delete("/api/agents/agt_00000000000000000000000000"), 404, "agent_not_found");
    refused_field(&runner.delete("/api/agents/ada"), "agentId");
}
