use crate::support::witness::{
    Witness, agent_item, attach, forget_agent, join, mute_verdict, now_ms, send_with, set_agent, witness_expiry,
};
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
    assert_eq!(keys(&accepted), ["atMs", "claim", "intervalMs", "nextChallenge", "seq", "verdict"]);
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

/// One row per reason. The tests in `shared/domain` try the verdict function with every combination.
#[test]
fn an_attestation_decides_the_verdict() {
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
        (json!({"route": "silenced", "signal": "not_opened"}), words("unverified", "stream_silenced")),
        (json!({"version": 2}), words("stale", "claim_newer")),
        (json!({"flag": "unmuted", "silentSinceMs": now_ms() - 2000}), words("unverified", "recent_signal")),
    ] {
        assert_eq!(verdict(&witness.attest(&runner, change.clone())), expected, "{change}");
    }
    runner.patch("/api/users/ada/mute", json!({"isMuted": true, "muteScope": "os"}));
    witness.begin(&runner);
    assert_eq!(verdict(&witness.attest(&runner, hot.clone())), words("contradicted", "signal_present"));
    assert_eq!(verdict(&witness.attest(&runner, json!({"signal": "signal"}))), words("contradicted", "flag_lies"));
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    witness.begin(&runner);
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
fn a_repeated_attestation_gets_the_stored_answer() {
    let (runner, witness) = ada(true);
    let body = witness.next(&json!({})).to_string();
    let mut first = witness.send(&runner, &body).json();
    let state = runner.get("/api/users/ada").json();
    for _ in 0..3 {
        let mut again = witness.send(&runner, &body).json();
        for answer in [&mut first, &mut again] {
            answer["atMs"] = json!(null);
        }
        assert_eq!(again, first);
    }
    assert_eq!(runner.get("/api/users/ada").json(), state);
}

/// Checks that a request is refused, and that the stored state stays as it is.
struct Refusals {
    runner: Runner,
    state: Value,
}

impl Refusals {
    fn check(&self, reply: &Reply, status: u16, code: &str) -> Value {
        let problem = refused(reply, status, code);
        let mut state = self.runner.get("/api/users/ada").json();
        // On a slow machine, the verdict expires meanwhile.
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
        json!({"seq": 1, "fromMs": now_ms() - 700}),
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
        assert!(problem["atMs"].as_u64().unwrap().abs_diff(now_ms()) < 30_000);
    }
    join(runner, "bob", true);
    let bob = Witness::paired(runner, "bob");
    let body = witness.next(&json!({})).to_string();
    refusals.check(&send_with(runner, &witness.path(), &bob.sign(&body), &body), 401, "signature_invalid");
    refusals.check(&send_with(runner, &bob.path(), &witness.sign(&body), &body), 401, "signature_invalid");
    // The attestation from before stays refused after others were accepted.
    assert_eq!(witness.attest(runner, json!({})).status, 200);
    assert_eq!(witness.attest(runner, json!({})).status, 200);
    refused(&witness.send(runner, &old.to_string()), 409, "sequence_conflict");
}

/// The tests in `shared/domain` flip each bit of a body and of a signature. This one sends a request for a bit of each
/// byte.
#[test]
fn a_flipped_bit_is_refused_and_changes_nothing() {
    let (refusals, witness) = attested();
    let body = witness.next(&json!({})).to_string();
    let signature = witness.sign(&body);
    for at in 0..body.len() {
        let mut flipped = body.clone().into_bytes();
        flipped[at] ^= 1 << fastrand::u8(..7);
        // The flipped byte stays ASCII, like the whole body.
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
        assert!(problem["atMs"].as_u64().unwrap().abs_diff(now_ms()) < 30_000);
    }
}

#[test]
fn a_window_that_ends_in_the_future_counts_as_ending_now() {
    let (runner, mut witness) = ada(true);
    let reply = witness.attest(&runner, json!({"toMs": now_ms() + 20_000}));
    let answer = reply.json();
    let at = domain::Timestamp::from_ms(answer["atMs"].as_u64().unwrap()).to_string();
    assert_eq!(answer["verdict"]["mute"]["observedAt"], at);
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
        (json!({"route": "silenced"}), "signal"),
        (json!({"silentSinceMs": null}), "silentSinceMs"),
        (json!({"silentSinceMs": now + 60_000}), "silentSinceMs"),
        (json!({"signal": "signal", "silentSinceMs": now}), "silentSinceMs"),
        (json!({"version": -1}), "version"),
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
fn an_unknown_agent_is_refused_like_a_wrong_signature() {
    let (runner, witness) = ada(true);
    let body = witness.next(&json!({})).to_string();
    let path = "/api/agents/agt_00000000000000000000000000/attestations";
    refused(&send_with(&runner, path, &witness.sign(&body), &body), 401, "signature_invalid");
    refused_field(&send_with(&runner, "/api/agents/agt_1/attestations", &witness.sign(&body), &body), "agentId");
}

/// The next person with an id must not be judged by the agent of the person before.
#[test]
fn an_agent_does_not_attach_itself_to_the_next_person_with_the_id() {
    let (refusals, mut witness) = attested();
    let runner = &refusals.runner;
    runner.delete("/api/users/ada");
    let late = witness.next(&json!({})).to_string();
    refused(&witness.send(runner, &late), 409, "agent_idle");
    join(runner, "ada", true);
    let idle = refused(&witness.send(runner, &late), 409, "agent_idle");
    assert_eq!(idle.get("claim"), None, "the agent learns nothing of another person's claim");
    refused(&witness.begin(runner), 409, "agent_idle");
    let state = runner.get("/api/users/ada");
    assert_eq!((&state.json()["agent"], mute_verdict(&state)), (&json!(null), words("unverified", "no_agent")));
    assert_eq!(attach(runner, "ada", &witness.token).status, 200);
    refused(&witness.send(runner, &late), 409, "sequence_conflict");
    witness.begin(runner);
    assert_eq!(verdict(&witness.attest(runner, json!({}))).0, "verified");
}

#[test]
fn a_measurement_under_one_claim_never_verifies_another_claim() {
    let (runner, mut witness) = ada(true);
    assert_eq!(verdict(&witness.attest(&runner, json!({}))).0, "verified");
    let stale = words("stale", "claim_newer");
    // The same claim again, another device with the same label, another room: each within the grace of two seconds.
    runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), stale);
    runner.patch("/api/users/ada/device", json!({"deviceId": "other", "deviceLabel": "Desk Mic"}));
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), stale);
    let elsewhere = json!({"isMuted": true, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": "other"});
    runner.post("/api/users/ada/state", elsewhere);
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), stale);
    assert_eq!(runner.get("/api/rooms/other/safe").json()["safe"], false);
    let reply = witness.attest(&runner, json!({}));
    assert_eq!((verdict(&reply), &reply.json()["claim"]["version"]), (stale, &json!(4)));
    assert_eq!(verdict(&witness.attest(&runner, json!({}))).0, "verified", "under the version from the answer");
}

#[test]
fn a_window_that_is_not_newer_replaces_nothing() {
    let (refusals, mut witness) = attested();
    let runner = &refusals.runner;
    let last = now_ms();
    assert_eq!(witness.attest(runner, json!({"toMs": last, "signal": "signal", "flag": "unmuted"})).status, 200);
    let before = runner.get("/api/users/ada").json();
    for to in [last, last - 1, last - 400] {
        let reply = witness.send(
            runner,
            &witness.next(&json!({"toMs": to, "fromMs": to - 100, "silentSinceMs": to - 50})).to_string(),
        );
        let problem = refused(&reply, 409, "window_not_newer");
        assert_eq!((&problem["expectedSeq"], &problem["challenge"]), (&json!(3), &json!(witness.challenge)));
        assert_eq!(runner.get("/api/users/ada").json(), before);
    }
}

#[test]
fn a_verdict_shows_since_when_the_microphone_is_silent() {
    let (runner, mut witness) = ada(true);
    let since = now_ms() - 240_000;
    witness.attest(&runner, json!({"flag": "unmuted", "silentSinceMs": since}));
    let state = runner.get("/api/users/ada").json();
    let told = domain::Timestamp::from_ms(since).to_string();
    assert_eq!(
        (&state["verdict"]["mute"]["since"], &state["verdict"]["device"]["since"]),
        (&json!(told), &json!(null))
    );
    let hot = witness.attest(&runner, json!({"flag": "unmuted", "signal": "signal"})).json();
    assert_eq!(hot["verdict"]["mute"]["since"], json!(null));
}

#[test]
fn an_alias_is_never_verified_whatever_its_label() {
    let (runner, mut witness) = ada(true);
    for (alias, label) in [("default", "Default - Desk Mic"), ("default", "Desk Mic"), ("Communications", "Desk Mic")] {
        runner.patch("/api/users/ada/device", json!({"deviceId": alias, "deviceLabel": label}));
        witness.begin(&runner);
        assert_eq!(
            verdict(&witness.attest(&runner, json!({}))),
            words("unverified", "device_alias"),
            "{alias} {label}"
        );
    }
    runner.patch("/api/users/ada/device", json!({"deviceId": "e3b0", "deviceLabel": "Default - Desk Mic"}));
    witness.begin(&runner);
    assert_eq!(verdict(&witness.attest(&runner, json!({}))), words("unverified", "device_unbound"));
}

/// The table removes an expired item within days.
#[test]
fn an_agent_whose_pairing_has_lapsed_is_heard_no_more_and_its_person_can_end_it() {
    let (refusals, mut witness) = attested();
    let runner = &refusals.runner;
    set_agent(runner, &witness.id, "expiresAt", Some(&json!({"N": "1795257125"})));
    refused(&witness.attest(runner, json!({})), 410, "agent_revoked");
    refused(&attach(runner, "ada", &witness.token), 410, "agent_revoked");
    forget_agent(runner, &witness.id);
    refused(&runner.delete(&format!("/api/agents/{}", witness.id)), 404, "agent_not_found");
    assert_eq!(runner.delete("/api/users/ada/agent").status, 200);
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), words("unverified", "agent_revoked"));
    // The agent's key is deleted.
    refused(&witness.attest(runner, json!({})), 401, "signature_invalid");
    refused(&send_with(runner, &witness.path(), "", "{}"), 401, "signature_invalid");
}

#[test]
fn an_agent_in_use_stays_paired() {
    let (refusals, mut witness) = attested();
    let runner = &refusals.runner;
    let soon = now_ms() / 1000 + 3600;
    set_agent(runner, &witness.id, "expiresAt", Some(&json!({"N": soon.to_string()})));
    assert_eq!(witness.attest(runner, json!({})).status, 200);
    let expires = agent_item(runner, &witness.id)["expiresAt"]["N"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(expires > soon + 28 * 86_400, "{expires}");
    assert!(witness_expiry(runner, &witness.token) > soon + 28 * 86_400, "the browser's token expires as late");
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
    assert_eq!(endpoint["refused"], json!({"agent_begins": 1, "sequence_conflict": 3, "signature_invalid": 1}));
    assert_eq!(endpoint["count"], 6);
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
