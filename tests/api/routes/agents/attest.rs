use crate::support::witness::{Witness, join, mute_verdict, now_ms, send_with};
use crate::support::{Reply, Runner, instant, keys, refused, refused_field};
use serde_json::{Value, json};

fn ada(is_muted: bool) -> (Runner, Witness) {
    let runner = Runner::ephemeral();
    join(&runner, "ada", is_muted);
    let witness = Witness::paired(&runner, "ada");
    (runner, witness)
}

fn verdict(reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, 200, "{}", reply.text);
    mute_verdict(reply)
}

fn words(value: &str, reason: &str) -> (String, String) {
    (value.into(), reason.into())
}

#[test]
fn exact_zeros_under_the_systems_mute_verify_a_mute() {
    let (runner, mut witness) = ada(true);
    let reply = witness.attest(&runner, json!({}));
    let accepted = reply.json();
    assert_eq!(keys(&accepted), ["at", "claim", "intervalMs", "nextChallenge", "seq", "verdict"]);
    assert_eq!(verdict(&reply), words("verified", "silent_and_flagged"));
    assert_eq!(accepted["verdict"]["device"]["reason"], "device_match");
    assert_eq!((&accepted["seq"], &accepted["intervalMs"]), (&json!(1), &json!(10_000)));
    let claim =
        json!({"isMuted": true, "muteScope": "app", "deviceId": "e3b0", "deviceLabel": "Desk Mic", "version": 1});
    assert_eq!(accepted["claim"], claim);
    let state = runner.get("/api/users/ada").json();
    assert_eq!(state["verdict"], accepted["verdict"]);
    assert_eq!(state["agent"]["deviceLabel"], "Desk Mic");
    assert_eq!(runner.get("/api/rooms/demo/users").json()["items"][0], state);
    let mute = &state["verdict"]["mute"];
    assert!(instant(&mute["observedAt"]) < instant(&mute["expiresAt"]) && mute["assurance"] == "self-hosted");
}

/// One row per reason; the verdict function itself is tried with every combination in `shared/domain`.
#[test]
fn what_an_agent_says_decides_the_verdict() {
    let (runner, mut witness) = ada(true);
    let hot = json!({"flag": "unmuted", "signal": "signal"});
    for (change, expected) in [
        (json!({"flag": "unmuted"}), words("verified", "digital_zero")),
        (json!({"flag": "unmuted", "signal": "floor"}), words("unverified", "weak_evidence")),
        (json!({"signal": "not_opened"}), words("unverified", "weak_evidence")),
        (hot.clone(), words("unverified", "app_muted_device_hot")),
        (json!({"route": "moved"}), words("contradicted", "device_mismatch")),
        (json!({"condition": "device_missing", "signal": "not_opened"}), words("contradicted", "device_missing")),
        (json!({"condition": "no_data", "signal": "not_opened"}), words("unverified", "no_data")),
        (json!({"condition": "device_busy", "signal": "not_opened"}), words("unverified", "device_busy")),
        (
            json!({"condition": "host_unavailable", "signal": "not_opened", "device": null}),
            words("unverified", "host_unavailable"),
        ),
        (json!({"condition": "permission_denied", "signal": "not_opened"}), words("unverified", "permission_denied")),
        (
            json!({"device": {"id": "pulseaudio:x", "label": "Headset", "unique": true}}),
            words("unverified", "device_unbound"),
        ),
        (
            json!({"device": {"id": "pulseaudio:x", "label": "Desk Mic", "unique": false}}),
            words("unverified", "device_ambiguous"),
        ),
        (json!({"toMs": now_ms() - 20_000, "fromMs": now_ms() - 21_000}), words("stale", "claim_newer")),
    ] {
        assert_eq!(verdict(&witness.attest(&runner, change.clone())), expected, "{change}");
    }
    runner.patch("/api/users/ada/mute", json!({"isMuted": true, "muteScope": "os"}));
    assert_eq!(verdict(&witness.attest(&runner, hot.clone())), words("contradicted", "signal_present"));
    assert_eq!(verdict(&witness.attest(&runner, json!({"signal": "signal"}))), words("contradicted", "flag_lies"));
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    assert_eq!(verdict(&witness.attest(&runner, hot)), words("verified", "signal_present"));
    assert_eq!(verdict(&witness.attest(&runner, json!({}))), words("contradicted", "silent_device"));
}

#[test]
fn a_claim_of_the_client_never_changes_what_was_measured() {
    let (runner, mut witness) = ada(true);
    witness.attest(&runner, json!({}));
    let body = json!({"isMuted": true, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": "demo"});
    let observed = |reply: &Reply| reply.json()["verdict"]["mute"]["observedAt"].clone();
    let before = observed(&runner.get("/api/users/ada"));
    assert_eq!(observed(&runner.post("/api/users/ada/state", body)), before);
    assert_eq!(observed(&runner.patch("/api/users/ada/mute", json!({"isMuted": false}))), before);
    for attribute in ["verdict", "agent", "observedAt", "heardSignal"] {
        let mut forged = json!({"isMuted": true});
        forged[attribute] = json!({"mute": {"value": "verified"}});
        refused_field(&runner.post("/api/users/ada/state", forged), attribute);
    }
}

#[test]
fn the_policy_decides_which_evidence_is_enough() {
    for (min_evidence, flag, floor) in [
        ("digital_zero", "weak_evidence", "weak_evidence"),
        ("flag", "flag_only", "weak_evidence"),
        ("floor", "flag_only", "floor_accepted"),
    ] {
        let runner = Runner::with_env(&[("MIN_EVIDENCE", min_evidence)]);
        join(&runner, "ada", true);
        let mut witness = Witness::paired(&runner, "ada");
        assert_eq!(verdict(&witness.attest(&runner, json!({"signal": "not_opened"}))).1, flag, "{min_evidence}");
        let quiet = json!({"flag": "unknown", "signal": "floor"});
        assert_eq!(verdict(&witness.attest(&runner, quiet)).1, floor, "{min_evidence}");
    }
}

#[test]
fn the_very_same_bytes_again_get_the_stored_answer() {
    let (runner, witness) = ada(true);
    let body = witness.next(&json!({})).to_string();
    let mut first = witness.send(&runner, &body).json();
    let state = runner.get("/api/users/ada").json();
    for _ in 0..3 {
        let mut again = witness.send(&runner, &body).json();
        for answer in [&mut first, &mut again] {
            answer["at"] = json!(null);
        }
        assert_eq!(again, first);
    }
    assert_eq!(runner.get("/api/users/ada").json(), state);
}

/// Sends what must be refused, and checks that what is stored stays as it is.
struct Refusals {
    runner: Runner,
    state: Value,
}

impl Refusals {
    fn check(&self, reply: &Reply, status: u16, code: &str) -> Value {
        let problem = refused(reply, status, code);
        let mut state = self.runner.get("/api/users/ada").json();
        // Expires meanwhile, if the machine is slow.
        state["verdict"] = self.state["verdict"].clone();
        assert_eq!(state, self.state);
        problem
    }
}

fn attested() -> (Refusals, Witness) {
    let (runner, mut witness) = ada(true);
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    let state = runner.get("/api/users/ada").json();
    (Refusals { runner, state }, witness)
}

#[test]
fn replayed_reordered_and_foreign_attestations_are_refused() {
    let (refusals, mut witness) = attested();
    let runner = &refusals.runner;
    let old = witness.next(&json!({}));
    let conflict = |reply: &Reply| refusals.check(reply, 409, "sequence_conflict");
    for change in [
        json!({"seq": 0}),
        json!({"seq": 1}),
        json!({"seq": 3}),
        json!({"seq": u64::MAX}),
        json!({"challenge": "A".repeat(22)}),
    ] {
        let problem = conflict(&witness.send(runner, &witness.next(&change).to_string()));
        assert_eq!(
            (&problem["expectedSeq"], &problem["challenge"]),
            (&json!(2), &json!(witness.challenge)),
            "{change}"
        );
        assert!(!instant(&problem["at"]).is_empty());
    }
    join(runner, "bob", true);
    let bob = Witness::paired(runner, "bob");
    let body = witness.next(&json!({})).to_string();
    refusals.check(&send_with(runner, &witness.path(), &bob.sign(&body), &body), 401, "signature_invalid");
    refusals.check(&send_with(runner, &bob.path(), &witness.sign(&body), &body), 401, "signature_invalid");
    // What was not the next one is not the next one later.
    assert_eq!(witness.attest(runner, json!({})).status, 200);
    assert_eq!(witness.attest(runner, json!({})).status, 200);
    refused(&witness.send(runner, &old.to_string()), 409, "sequence_conflict");
}

/// All bits of a body, and of a signature, are tried in `shared/domain`; here one of each byte goes the whole way.
#[test]
fn a_flipped_bit_is_refused_and_changes_nothing() {
    let (refusals, witness) = attested();
    let body = witness.next(&json!({})).to_string();
    let signature = witness.sign(&body);
    for at in 0..body.len() {
        let mut flipped = body.clone().into_bytes();
        flipped[at] ^= 1 << fastrand::u8(..7);
        // Such bytes stay ASCII, as the whole body is.
        let flipped = String::from_utf8(flipped).unwrap();
        let reply = send_with(&refusals.runner, &witness.path(), &signature, &flipped);
        refused(&reply, 401, "signature_invalid");
    }
    for at in (0..signature.len()).step_by(5) {
        let mut flipped = signature.clone();
        let other = if &flipped[at..=at] == "A" { "B" } else { "A" };
        flipped.replace_range(at..=at, other);
        refused(&send_with(&refusals.runner, &witness.path(), &flipped, &body), 401, "signature_invalid");
    }
    let last = send_with(&refusals.runner, &witness.path(), "", &body);
    refusals.check(&last, 401, "signature_invalid");
}

#[test]
fn a_clock_that_is_wrong_is_told_the_time() {
    let (refusals, witness) = attested();
    for skew in [-31_000_i64, 31_000] {
        let to = now_ms().checked_add_signed(skew).unwrap();
        let body = witness.next(&json!({"fromMs": to, "toMs": to})).to_string();
        let problem = refusals.check(&witness.send(&refusals.runner, &body), 401, "clock_skew");
        assert!(!instant(&problem["at"]).is_empty());
    }
}

#[test]
fn a_window_of_the_future_does_not_live_longer() {
    let (runner, mut witness) = ada(true);
    let reply = witness.attest(&runner, json!({"toMs": now_ms() + 20_000}));
    let answer = reply.json();
    assert_eq!(answer["verdict"]["mute"]["observedAt"], answer["at"]);
}

#[test]
fn a_signed_body_that_is_malformed_is_400_and_changes_nothing() {
    let (refusals, witness) = attested();
    let now = now_ms();
    for (change, field) in [
        (json!({"signal": "loud"}), "signal"),
        (json!({"condition": "fine"}), "condition"),
        (json!({"flag": true}), "flag"),
        (json!({"route": null}), "route"),
        (json!({"challenge": "short"}), "challenge"),
        (json!({"seq": -1}), "seq"),
        (json!({"seq": "2"}), "seq"),
        (json!({"levelDbfs": -70.5}), "levelDbfs"),
        (json!({"device": {"id": "x", "label": "", "unique": true}}), "device"),
        (json!({"device": {"id": "x", "label": "a\u{202e}b", "unique": true}}), "device"),
        (json!({"device": {"id": "x", "label": "x", "unique": true, "level": 1}}), "level"),
        (json!({"fromMs": now, "toMs": now - 1}), "toMs"),
        (json!({"fromMs": now - 60_001, "toMs": now}), "toMs"),
        (json!({"condition": "no_data"}), "signal"),
        (json!({"device": null}), "device"),
    ] {
        let reply = witness.send(&refusals.runner, &witness.next(&change).to_string());
        refused_field(&reply, field);
        refusals.check(&reply, 400, "validation_failed");
    }
    for body in ["", "{", "[]", "\"seq\""] {
        refusals.check(&witness.send(&refusals.runner, body), 400, "validation_failed");
    }
}

#[test]
fn an_agent_that_nobody_knows_is_refused_as_a_wrong_signature_is() {
    let (runner, witness) = ada(true);
    let body = witness.next(&json!({})).to_string();
    let path = "/api/agents/agt_00000000000000000000000000/attestations";
    refused(&send_with(&runner, path, &witness.sign(&body), &body), 401, "signature_invalid");
    refused_field(&send_with(&runner, "/api/agents/agt_1/attestations", &witness.sign(&body), &body), "agentId");
}

#[test]
fn a_user_who_was_forgotten_gets_the_agent_back_but_not_what_it_saw() {
    let (refusals, mut witness) = attested();
    let runner = &refusals.runner;
    runner.delete("/api/users/ada");
    let late = witness.next(&json!({})).to_string();
    refused(&witness.send(runner, &late), 404, "user_not_found");
    join(runner, "ada", true);
    assert_eq!(runner.get("/api/users/ada").json()["agent"], json!(null));
    let problem = refused(&witness.send(runner, &late), 409, "sequence_conflict");
    assert_eq!(problem["expectedSeq"], 1);
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), words("unverified", "no_data"));
    refused(&witness.send(runner, &late), 409, "sequence_conflict");
    witness.seq = 0;
    witness.challenge = problem["challenge"].as_str().unwrap().to_owned();
    assert_eq!(verdict(&witness.attest(runner, json!({}))).0, "verified");
}

#[test]
fn of_ten_different_attestations_at_once_one_is_accepted() {
    let (runner, witness) = ada(true);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..10)
            .map(|n| {
                let body = witness.next(&json!({"fromMs": now_ms() - 1000 - n})).to_string();
                let (runner, witness) = (&runner, &witness);
                scope.spawn(move || witness.send(runner, &body).status)
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|status| **status == 200).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|status| [200, 409].contains(status)), "{outcomes:?}");
}

#[test]
fn refusals_are_counted_by_code() {
    let (refusals, witness) = attested();
    for _ in 0..3 {
        witness.send(&refusals.runner, &witness.next(&json!({"seq": 9})).to_string());
    }
    send_with(&refusals.runner, &witness.path(), "", "{}");
    let metrics = refusals.runner.get("/api/metrics").json();
    let endpoint = &metrics["api"]["byEndpoint"]["POST /api/agents/{agentId}/attestations"];
    assert_eq!(endpoint["refused"], json!({"sequence_conflict": 3, "signature_invalid": 1}));
    assert_eq!(endpoint["count"], 5);
}

#[test]
fn an_attestation_is_no_change_of_the_claim() {
    let (refusals, mut witness) = attested();
    assert_eq!(witness.attest(&refusals.runner, json!({"signal": "floor"})).status, 200);
    let after = refusals.runner.get("/api/users/ada").json();
    for member in ["version", "lastUpdated", "isMuted", "deviceId", "createdAt"] {
        assert_eq!(after[member], refusals.state[member]);
    }
}
