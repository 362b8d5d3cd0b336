use crate::support::witness::{
    Witness, code, enroll, enrolment, fresh_key, join, mute_verdict, public_key, send_signed, send_with, set_attribute,
};
use crate::support::{Runner, keys, refused, refused_field};
use domain::{AgentId, Purpose};
use serde_json::json;

fn ada() -> Runner {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    runner
}

#[test]
fn an_agent_is_paired_and_the_state_shows_it() {
    let runner = ada();
    let key = fresh_key();
    let reply = enroll(&runner, &key, &enrolment("ada", &code(&runner, "ada"), &key));
    let enrolled = reply.json();
    assert_eq!((reply.status, keys(&enrolled)), (201, vec!["agentId", "atMs", "challenge", "policy", "seq", "userId"]));
    assert_eq!(enrolled["policy"], json!({"intervalMs": 10_000, "freshMs": 25_000, "minEvidence": "digital_zero"}));
    let id = AgentId::of(&public_key(&key)).to_string();
    let state = runner.get("/api/users/ada");
    let agent = json!({"agentId": id, "revoked": false, "deviceId": null, "deviceLabel": null});
    assert_eq!(state.json()["agent"], agent);
    assert_eq!(mute_verdict(&state), ("unverified".into(), "no_data".into()));
}

#[test]
fn a_pairing_is_no_change_of_the_claim() {
    let runner = ada();
    let before = runner.get("/api/users/ada").json();
    Witness::paired(&runner, "ada");
    let after = runner.get("/api/users/ada").json();
    for member in ["version", "lastUpdated", "isMuted", "deviceId", "createdAt"] {
        assert_eq!(before[member], after[member]);
    }
}

#[test]
fn a_code_is_read_as_people_type_it() {
    let runner = ada();
    let key = fresh_key();
    let typed = code(&runner, "ada").to_lowercase().replace('-', "");
    assert_eq!(enroll(&runner, &key, &enrolment("ada", &typed, &key)).status, 201);
}

#[test]
fn a_code_is_good_once() {
    let runner = ada();
    let code = code(&runner, "ada");
    let (first, second) = (fresh_key(), fresh_key());
    assert_eq!(enroll(&runner, &first, &enrolment("ada", &code, &first)).status, 201);
    refused(&enroll(&runner, &second, &enrolment("ada", &code, &second)), 401, "code_invalid");
    let id = AgentId::of(&public_key(&first)).to_string();
    assert_eq!(runner.get("/api/users/ada").json()["agent"]["agentId"], id);
}

#[test]
fn the_same_enrolment_again_gets_the_same_answer_until_the_first_attestation() {
    let runner = ada();
    let key = fresh_key();
    let body = enrolment("ada", &code(&runner, "ada"), &key);
    let first = enroll(&runner, &key, &body).json();
    let again = enroll(&runner, &key, &body);
    assert_eq!((again.status, &again.json()["challenge"]), (201, &first["challenge"]));
}

#[test]
fn once_an_agent_has_attested_its_enrolment_is_over() {
    let runner = ada();
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    let (key, spent) = (fresh_key(), code(&runner, "ada"));
    assert_eq!(enroll(&runner, &key, &enrolment("ada", &spent, &key)).status, 201);
}

#[test]
fn a_wrong_an_expired_and_another_persons_code_are_refused_alike() {
    let runner = ada();
    join(&runner, "bob", true);
    let key = fresh_key();
    let refuse = |user: &str, code: &str| {
        let reply = enroll(&runner, &key, &enrolment(user, code, &key));
        let mut problem = refused(&reply, 401, "code_invalid");
        assert_eq!(reply.header("www-authenticate"), Some("Greenroom-Signature"));
        problem["requestId"] = json!(null);
        problem
    };
    let never = refuse("ada", "0000-0000-0000-0000");
    let of_ada = code(&runner, "ada");
    assert_eq!(refuse("ada", "0000-0000-0000-0000"), never);
    assert_eq!(refuse("bob", &of_ada), never);
    assert_eq!(refuse("nobody", &of_ada), never);
    set_attribute(&runner, "ada", "pairingUntil", Some(&json!({"N": "1795257124999"})));
    assert_eq!(refuse("ada", &of_ada), never);
    assert_eq!(runner.get("/api/users/ada").json()["agent"], json!(null));
}

#[test]
fn a_key_belongs_to_one_agent() {
    let runner = ada();
    join(&runner, "bob", true);
    let key = fresh_key();
    assert_eq!(enroll(&runner, &key, &enrolment("ada", &code(&runner, "ada"), &key)).status, 201);
    let bob = enrolment("bob", &code(&runner, "bob"), &key);
    refused(&enroll(&runner, &key, &bob), 409, "key_bound");
    assert_eq!(runner.get("/api/users/bob").json()["agent"], json!(null));
}

#[test]
fn a_new_agent_takes_the_place_of_the_one_before() {
    let runner = ada();
    let mut old = Witness::paired(&runner, "ada");
    assert_eq!(old.attest(&runner, json!({})).status, 200);
    let mut new = Witness::paired(&runner, "ada");
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")).1, "no_data", "what the old one saw is gone");
    refused(&old.attest(&runner, json!({})), 410, "agent_revoked");
    assert_eq!(new.attest(&runner, json!({})).status, 200);
    // Not even a user who was forgotten gets the old one back.
    runner.delete("/api/users/ada");
    join(&runner, "ada", true);
    refused(&old.attest(&runner, json!({})), 410, "agent_revoked");
}

#[test]
fn without_the_right_signature_nobody_is_paired() {
    let runner = ada();
    let (key, other) = (fresh_key(), fresh_key());
    let body = enrolment("ada", &code(&runner, "ada"), &key).to_string();
    let refuse = |reply| refused(&reply, 401, "signature_invalid");
    refuse(send_signed(&runner, "/api/agents", Purpose::Enrolment, &other, &body));
    refuse(send_signed(&runner, "/api/agents", Purpose::Attestation, &key, &body));
    for bad in ["", "x", &"A".repeat(86)] {
        refuse(send_with(&runner, "/api/agents", bad, &body));
    }
    refuse(runner.send("POST", "/api/agents", &[("content-type", "application/json")], &body));
    let changed = body.replace("\"ada\"", "\"bob\"");
    refuse(send_with(&runner, "/api/agents", &Purpose::Enrolment.sign(&key, body.as_bytes()), &changed));
    // A point of order two, whose signatures a careless verifier takes.
    let weak = json!({"userId": "ada", "code": "0000-0000-0000-0000", "publicKey": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    refuse(send_with(&runner, "/api/agents", &format!("AQ{}", "A".repeat(84)), &weak.to_string()));
    assert_eq!(runner.get("/api/users/ada").json()["agent"], json!(null));
}

#[test]
fn a_malformed_enrolment_is_400() {
    let runner = ada();
    let key = fresh_key();
    for (member, value) in [
        ("userId", json!("a b")),
        ("code", json!("short")),
        ("publicKey", json!("AAAA")),
        ("publicKey", json!(7)),
        ("more", json!(1)),
    ] {
        let mut body = enrolment("ada", "0000-0000-0000-0000", &key);
        body[member] = value;
        refused_field(&enroll(&runner, &key, &body), member);
    }
}

#[test]
fn of_ten_enrolments_at_once_with_one_code_one_wins() {
    let runner = ada();
    let code = code(&runner, "ada");
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    let key = fresh_key();
                    enroll(&runner, &key, &enrolment("ada", &code, &key)).status
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|status| **status == 201).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|status| [201, 401].contains(status)), "{outcomes:?}");
}
