use crate::support::witness::{Witness, attach, join, lapse_witness, mute_verdict, pairing};
use crate::support::{Runner, refused, refused_field};
use serde_json::{Value, json};

fn ada() -> (Runner, Witness) {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let witness = Witness::enrolled(&runner, "ada");
    (runner, witness)
}

fn agent(runner: &Runner, user: &str) -> Value {
    runner.get(&format!("/api/users/{user}")).json()["agent"].clone()
}

#[test]
fn the_browsers_token_attaches_the_agent_and_nothing_else_does() {
    let (runner, mut witness) = ada();
    refused(&witness.begin(&runner), 409, "agent_idle");
    assert_eq!(agent(&runner, "ada"), json!(null));
    let attached = attach(&runner, "ada", &witness.token);
    assert_eq!(attached.status, 200, "{}", attached.text);
    let shown = json!({"agentId": witness.id, "revoked": false, "deviceId": null, "deviceLabel": null});
    assert_eq!((&attached.json()["agent"], agent(&runner, "ada")), (&shown, shown.clone()));
    assert_eq!(mute_verdict(&attached), ("unverified".into(), "no_data".into()));
    witness.begin(&runner);
    assert_eq!(mute_verdict(&witness.attest(&runner, json!({}))).0, "verified");
}

#[test]
fn one_pairing_serves_many_meetings_and_one_person_at_a_time() {
    let (runner, mut witness) = ada();
    attach(&runner, "ada", &witness.token);
    witness.begin(&runner);
    witness.attest(&runner, json!({}));
    for next in ["p_1", "p_2", "p_3"] {
        join(&runner, next, true);
        let before = witness.next(&json!({})).to_string();
        assert_eq!(attach(&runner, next, &witness.token).status, 200);
        let of_all = ["ada", "p_1", "p_2", "p_3"].map(|user| runner.get(&format!("/api/users/{user}")));
        let attached = of_all.iter().filter(|reply| reply.status == 200 && reply.json()["agent"] != json!(null));
        assert_eq!(attached.count(), 1, "one agent is attached to one person");
        assert_eq!(mute_verdict(&runner.get("/api/users/ada")), ("unverified".into(), "no_agent".into()));
        refused(&witness.send(&runner, &before), 409, "sequence_conflict");
        witness.begin(&runner);
        assert_eq!(mute_verdict(&witness.attest(&runner, json!({}))).0, "verified");
    }
}

#[test]
fn attaching_again_keeps_the_evidence() {
    let (runner, mut witness) = ada();
    attach(&runner, "ada", &witness.token);
    witness.begin(&runner);
    witness.attest(&runner, json!({}));
    let before = runner.get("/api/users/ada").json();
    for _ in 0..2 {
        assert_eq!(attach(&runner, "ada", &witness.token).json()["verdict"]["mute"]["value"], "verified");
    }
    assert_eq!(runner.get("/api/users/ada").json()["agent"], before["agent"]);
    assert_eq!(witness.attest(&runner, json!({})).status, 200, "the sequence goes on");
}

#[test]
fn a_token_is_good_only_after_an_agent_has_enrolled_and_until_it_is_revoked() {
    let (runner, witness) = ada();
    let (_, unused) = pairing(&runner, "ada");
    refused(&attach(&runner, "ada", &unused), 404, "agent_not_found");
    refused(&attach(&runner, "ada", &"A".repeat(43)), 404, "agent_not_found");
    refused(&attach(&runner, "nobody", &witness.token), 404, "user_not_found");
    assert_eq!(attach(&runner, "ada", &witness.token).status, 200);
    runner.delete(&format!("/api/agents/{}", witness.id));
    refused(&attach(&runner, "ada", &witness.token), 410, "agent_revoked");
}

/// The table removes expired items within days, and the agent's own item may expire later.
#[test]
fn an_expired_token_attaches_no_agent_even_if_the_agent_has_not_expired() {
    let (runner, mut witness) = ada();
    assert_eq!(attach(&runner, "ada", &witness.token).status, 200);
    witness.begin(&runner);
    lapse_witness(&runner, &witness.token);
    join(&runner, "p_1", true);
    for user in ["ada", "p_1"] {
        refused(&attach(&runner, user, &witness.token), 410, "agent_revoked");
    }
    assert_eq!(witness.attest(&runner, json!({})).status, 200, "the agent itself has not lapsed");
}

#[test]
fn of_many_people_who_attach_one_agent_at_once_one_has_it_in_the_end() {
    let (runner, witness) = ada();
    let users: Vec<_> = (0..8).map(|n| format!("user-{n}")).collect();
    for user in &users {
        join(&runner, user, true);
    }
    std::thread::scope(|scope| {
        for user in &users {
            scope.spawn(|| {
                let status = attach(&runner, user, &witness.token).status;
                assert!([200, 503].contains(&status), "{status}");
            });
        }
    });
    let attached = users.iter().filter(|user| agent(&runner, user) != json!(null)).count();
    assert_eq!(attached, 1);
}

/// Ada's state had the agent, was deleted and made anew. So no state names the agent when both requests read it.
#[test]
fn of_two_people_who_attach_one_agent_at_once_one_has_it_even_if_one_had_it_before() {
    // Each runner allows a hundred such calls.
    for _ in 0..2 {
        let (runner, witness) = ada();
        join(&runner, "bob", true);
        for _ in 0..20 {
            one_of_two_has_it(&runner, &witness);
        }
    }
}

fn one_of_two_has_it(runner: &Runner, witness: &Witness) {
    assert_eq!(attach(runner, "ada", &witness.token).status, 200);
    runner.delete("/api/users/ada");
    join(runner, "ada", true);
    std::thread::scope(|scope| {
        for user in ["ada", "bob"] {
            let token = &witness.token;
            scope.spawn(move || attach(runner, user, token));
        }
    });
    let attached = ["ada", "bob"].iter().filter(|user| agent(runner, user) != json!(null)).count();
    assert_eq!(attached, 1);
}

#[test]
fn an_agent_that_is_revoked_while_it_is_attached_is_shown_as_revoked() {
    // Each runner allows a hundred such calls.
    for _ in 0..3 {
        let (runner, mut witness) = ada();
        join(&runner, "bob", true);
        for _ in 0..13 {
            is_shown_as_revoked(&runner, &witness);
            witness = Witness::enrolled(&runner, "ada");
        }
    }
}

fn is_shown_as_revoked(runner: &Runner, witness: &Witness) {
    assert_eq!(attach(runner, "ada", &witness.token).status, 200);
    std::thread::scope(|scope| {
        scope.spawn(|| attach(runner, "bob", &witness.token));
        scope.spawn(|| assert_eq!(runner.delete(&format!("/api/agents/{}", witness.id)).status, 200));
    });
    for user in ["ada", "bob"] {
        let shown = agent(runner, user);
        assert!(shown["agentId"] != json!(witness.id) || shown["revoked"] == true, "{user}: {shown}");
    }
}

#[test]
fn a_malformed_request_is_400() {
    let (runner, witness) = ada();
    for bad in ["", "short", &"A".repeat(44), &"+".repeat(43)] {
        refused_field(&attach(&runner, "ada", bad), "witness");
    }
    refused_field(&runner.put("/api/users/ada/agent", json!({"agentId": witness.id})), "agentId");
    refused_field(&attach(&runner, "a%20b", &witness.token), "userId");
    assert_eq!(agent(&runner, "ada"), json!(null));
}
