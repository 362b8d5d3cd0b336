use crate::support::witness::{Witness, attach, join, mute_verdict};
use crate::support::{Runner, refused, refused_field};
use serde_json::json;

#[test]
fn a_person_ends_the_agent_that_their_state_shows() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    witness.attest(&runner, json!({}));
    for _ in 0..2 {
        let ended = runner.delete("/api/users/ada/agent");
        assert_eq!((ended.status, ended.json()), (200, json!({"success": true, "userId": "ada"})));
    }
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), ("unverified".into(), "agent_revoked".into()));
    refused(&witness.attest(&runner, json!({})), 410, "agent_revoked");
    refused(&attach(&runner, "ada", &witness.token), 410, "agent_revoked");
}

#[test]
fn without_an_agent_or_without_a_state_there_is_no_agent_to_end() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    refused(&runner.delete("/api/users/ada/agent"), 404, "agent_not_found");
    refused(&runner.delete("/api/users/nobody/agent"), 404, "user_not_found");
    refused_field(&runner.delete("/api/users/a%20b/agent"), "userId");
}

#[test]
fn the_next_person_with_an_id_cannot_end_the_agent_of_the_person_before() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    runner.delete("/api/users/ada");
    join(&runner, "ada", true);
    refused(&runner.delete("/api/users/ada/agent"), 404, "agent_not_found");
    join(&runner, "p_1", true);
    assert_eq!(attach(&runner, "p_1", &witness.token).status, 200);
    witness.begin(&runner);
    assert_eq!(mute_verdict(&witness.attest(&runner, json!({}))).0, "verified");
}
