use crate::support::witness::{
    Witness, attach, code, enroll, enrolment, fresh_key, join, mute_verdict, pairing, public_key, send_signed,
    send_with, set_attribute, sign_as,
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
fn an_agent_is_paired_with_the_browser_and_attached_to_nobody() {
    let runner = ada();
    let key = fresh_key();
    let reply = enroll(&runner, &key, &enrolment("ada", &code(&runner, "ada"), &key));
    let enrolled = reply.json();
    assert_eq!((reply.status, keys(&enrolled)), (201, vec!["agentId", "atMs", "policy", "userId"]));
    let policy = json!({"intervalMs": 10_000, "freshMs": 25_000, "recentMs": 3_000, "minEvidence": "digital_zero"});
    assert_eq!(enrolled["policy"], policy);
    assert_eq!(enrolled["agentId"], AgentId::of(&public_key(&key)).to_string());
    let state = runner.get("/api/users/ada");
    assert_eq!(state.json()["agent"], json!(null));
    assert_eq!(mute_verdict(&state), ("unverified".into(), "no_agent".into()));
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
}

#[test]
fn a_repeated_enrolment_gets_the_same_answer_even_after_the_agent_was_attached() {
    let runner = ada();
    let key = fresh_key();
    let (code, token) = pairing(&runner, "ada");
    let body = enrolment("ada", &code, &key);
    let first = enroll(&runner, &key, &body).json();
    for _ in 0..2 {
        let again = enroll(&runner, &key, &body);
        assert_eq!((again.status, &again.json()["agentId"]), (201, &first["agentId"]));
        assert_eq!(attach(&runner, "ada", &token).status, 200);
    }
}

#[test]
fn an_enrolment_repeated_after_the_agent_was_revoked_revives_nothing() {
    let runner = ada();
    let key = fresh_key();
    let (code, token) = pairing(&runner, "ada");
    let body = enrolment("ada", &code, &key);
    let agent = enroll(&runner, &key, &body).json()["agentId"].as_str().unwrap().to_owned();
    assert_eq!(runner.delete(&format!("/api/agents/{agent}")).status, 200);
    refused(&enroll(&runner, &key, &body), 410, "agent_revoked");
    refused(&attach(&runner, "ada", &token), 410, "agent_revoked");
}

#[test]
fn an_attestation_uses_up_no_code_so_the_agent_can_be_replaced() {
    let runner = ada();
    let mut witness = Witness::paired(&runner, "ada");
    let (code, token) = pairing(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    let key = fresh_key();
    assert_eq!(enroll(&runner, &key, &enrolment("ada", &code, &key)).status, 201);
    assert_eq!(attach(&runner, "ada", &token).json()["agent"]["agentId"], AgentId::of(&public_key(&key)).to_string());
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
fn a_new_agent_replaces_the_old_agent_which_becomes_idle() {
    let runner = ada();
    let mut old = Witness::paired(&runner, "ada");
    assert_eq!(old.attest(&runner, json!({})).status, 200);
    let mut new = Witness::paired(&runner, "ada");
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")).1, "no_data", "the evidence of the old agent is gone");
    let idle = old.attest(&runner, json!({}));
    refused(&idle, 409, "agent_idle");
    assert_eq!(idle.header("retry-after"), Some("30"));
    assert_eq!(new.attest(&runner, json!({})).status, 200);
}

#[test]
fn an_agent_of_protocol_1_is_told_to_be_updated() {
    let runner = ada();
    let key = fresh_key();
    let body = enrolment("ada", &code(&runner, "ada"), &key).to_string();
    let signature = sign_as("greenroom-enrolment-v1", &key, &body);
    refused(&send_with(&runner, "/api/agents", &signature, &body), 400, "protocol_unsupported");
    let witness = Witness::paired(&runner, "ada");
    let body = witness.next(&json!({})).to_string();
    let signature = sign_as("greenroom-attestation-v1", witness.key(), &body);
    refused(&send_with(&runner, &witness.path(), &signature, &body), 400, "protocol_unsupported");
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
    // This key is a point of order two. A careless verifier accepts signatures of it.
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
