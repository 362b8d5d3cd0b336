//! From a virtual microphone to a verdict: sound server, agent and runner together.

use crate::support::binaries::binary;
use crate::support::pulse::{Pulse, Sound, Watch};
use crate::support::witness::{attach, now_ms};
use crate::support::{PATIENCE, Runner, await_that};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Ada, her microphone, and the agent beside it.
struct Scene {
    runner: Runner,
    pulse: Pulse,
    /// The token that her browser keeps after the pairing.
    witness: String,
    watch: Watch,
}

impl Scene {
    /// Ada claims the desk microphone. Her agent is paired, and it watches.
    fn begin(claim: &Value, pulse: Pulse) -> Self {
        let runner = Runner::ephemeral();
        claims(&runner, claim);
        let (_, witness) = pulse.pair(&runner, "ada");
        let watch = pulse.watch(&[]);
        Self { runner, pulse, witness, watch }
    }

    /// Begins a scene in which a person speaks at the desk microphone.
    fn speaking(claim: &Value) -> Self {
        let mut pulse = Pulse::with_desk();
        pulse.hears("desk", Sound::Speech);
        Self::begin(claim, pulse)
    }

    /// Waits until the stored mute verdict has this value and reason, and returns the state.
    fn verdict(&self, value: &str, reason: &str) -> Value {
        await_verdict(&self.runner, PATIENCE, value, reason)
    }

    /// The mute verdicts that the server has returned to the agent, in order.
    fn told(&self) -> Vec<String> {
        let log = self.watch.log();
        let attested = log.iter().filter(|line| line["event"] == "attested");
        attested.map(|line| line["verdict"]["mute"]["value"].as_str().unwrap().to_owned()).collect()
    }
}

fn muted_by_the_system() -> Value {
    json!({"isMuted": true, "muteScope": "os"})
}

fn claims(runner: &Runner, claim: &Value) {
    let mut body = json!({"deviceId": "e3b0", "deviceLabel": "Desk Microphone", "roomId": "demo"});
    for (name, value) in claim.as_object().unwrap() {
        body[name] = value.clone();
    }
    let claimed = runner.post("/api/users/ada/state", body);
    assert!(claimed.status < 300, "{}", claimed.text);
}

fn await_verdict(runner: &Runner, patience: Duration, value: &str, reason: &str) -> Value {
    let deadline = Instant::now() + patience;
    loop {
        let state = runner.get("/api/users/ada").json();
        let mute = &state["verdict"]["mute"];
        if mute["value"] == value && mute["reason"] == reason {
            return state;
        }
        assert!(Instant::now() < deadline, "the verdict does not become {value} {reason}: {state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_mute_of_the_system_verifies_the_claim_and_a_voice_contradicts_it() {
    let scene = Scene::speaking(&muted_by_the_system());
    scene.verdict("contradicted", "signal_present");
    scene.pulse.mute("desk", true);
    let state = scene.verdict("verified", "silent_and_flagged");
    assert_eq!(state["verdict"]["device"]["reason"], "device_match");
    assert_eq!(state["verdict"]["mute"]["assurance"], "self-hosted");
    scene.pulse.mute("desk", false);
    scene.verdict("contradicted", "signal_present");
    scene.pulse.volume("desk", 0);
    scene.verdict("verified", "silent_and_flagged");
    claims(&scene.runner, &json!({"isMuted": false}));
    scene.pulse.volume("desk", 100);
    scene.verdict("verified", "signal_present");
    let refused = scene.watch.log().into_iter().filter(|line| line["event"] == "not_attested").count();
    assert_eq!(refused, 0, "{:#?}", scene.watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_quiet_room_verifies_nothing() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Room);
    let scene = Scene::begin(&muted_by_the_system(), pulse);
    scene.verdict("unverified", "weak_evidence");
    claims(&scene.runner, &json!({"isMuted": false}));
    scene.verdict("unverified", "quiet");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_device_that_sleeps_or_is_pulled_is_never_verified_as_muted() {
    let scene = Scene::speaking(&muted_by_the_system());
    scene.pulse.plug_in("other", "Silent Microphone");
    scene.verdict("contradicted", "signal_present");
    scene.pulse.suspend("desk", true);
    scene.verdict("unverified", "no_data");
    scene.pulse.suspend("desk", false);
    scene.verdict("contradicted", "signal_present");
    scene.pulse.pull("desk");
    scene.verdict("contradicted", "device_missing");
    scene.pulse.plug_in("desk", "Desk Microphone");
    scene.verdict("contradicted", "signal_present");
    assert!(!scene.told().contains(&"verified".to_owned()), "{:?}", scene.told());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_default_that_is_switched_to_a_silent_device_is_never_verified_as_muted() {
    let scene = Scene::speaking(&muted_by_the_system());
    scene.pulse.plug_in("other", "Silent Microphone");
    scene.verdict("contradicted", "signal_present");
    scene.pulse.make_default("other");
    scene.watch.says(|line| line["verdict"]["mute"]["reason"] == "device_mismatch");
    scene.watch.says(|line| line["verdict"]["mute"]["reason"] == "signal_present");
    assert!(!scene.told().contains(&"verified".to_owned()), "{:?}", scene.told());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_sound_server_that_dies_leaves_nothing_verified_and_is_found_again() {
    let mut scene = Scene::speaking(&json!({"isMuted": false}));
    scene.verdict("verified", "signal_present");
    scene.pulse.kill();
    scene.verdict("unverified", "host_unavailable");
    scene.pulse.restart();
    scene.pulse.plug_in("desk", "Desk Microphone");
    scene.pulse.hears("desk", Sound::Speech);
    scene.verdict("verified", "signal_present");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn of_two_devices_with_one_label_none_is_verified() {
    let pulse = Pulse::with_desk();
    pulse.plug_in("twin", "Desk Microphone");
    let scene = Scene::begin(&muted_by_the_system(), pulse);
    scene.verdict("unverified", "device_ambiguous");
    scene.pulse.pull("twin");
    scene.verdict("verified", "digital_zero");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn the_agent_follows_the_device_that_the_page_claims() {
    let scene = Scene::speaking(&json!({"isMuted": false}));
    scene.pulse.plug_in("headset", "Headset Microphone");
    scene.verdict("verified", "signal_present");
    let device = json!({"deviceId": "f00d", "deviceLabel": "Headset Microphone (046d:0ab7)"});
    scene.runner.patch("/api/users/ada/device", device);
    let state = scene.verdict("contradicted", "silent_device");
    assert_eq!(state["agent"]["deviceId"], "pulseaudio:headset");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_stopped_agent_leaves_a_stale_verdict_and_a_restarted_agent_verifies_again() {
    let scene = Scene::begin(&muted_by_the_system(), Pulse::with_desk());
    scene.verdict("verified", "digital_zero");
    let before = scene.watch.says(|line| line["event"] == "attested")["seq"].as_u64();
    assert_eq!(scene.watch.stop(Signal::TERM), (0, String::new()));
    // A verdict expires 25 seconds after the agent's last window.
    await_verdict(&scene.runner, PATIENCE + Duration::from_secs(25), "stale", "attestation_expired");
    let watch = scene.pulse.watch(&[]);
    let attested = watch.says(|line| line["event"] == "attested");
    assert!(attested["seq"].as_u64() > before, "{attested}");
    await_verdict(&scene.runner, PATIENCE, "verified", "digital_zero");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_calm_agent_attests_every_ten_seconds_so_its_verdict_does_not_expire() {
    let scene = Scene::begin(&muted_by_the_system(), Pulse::with_desk());
    let expires = || {
        scene.watch.says(|line| line["verdict"]["mute"]["reason"] == "digital_zero")["verdict"]["mute"]["expiresAt"]
            .clone()
    };
    let (first, second) = (expires(), expires());
    assert!(first.as_str().unwrap() < second.as_str().unwrap(), "{first} {second}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_replaced_agent_is_idle_and_a_revoked_agent_ends_and_says_why() {
    let scene = Scene::begin(&muted_by_the_system(), Pulse::with_desk());
    scene.verdict("verified", "digital_zero");
    let other = Pulse::with_desk();
    other.pair(&scene.runner, "ada");
    scene.watch.says(|line| line["event"] == "idle");
    let second = other.watch(&[]);
    second.says(|line| line["event"] == "attested");
    assert_eq!(scene.runner.delete("/api/users/ada/agent").status, 200);
    let (status, errors) = second.wait();
    assert_eq!((status, errors.lines().count()), (6, 1), "{errors}");
    assert!(errors.contains("pair again with `greenroom-agent enroll`"), "{errors}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn an_agent_that_nobody_has_attached_leaves_the_microphone_closed() {
    let scene = Scene::speaking(&muted_by_the_system());
    scene.verdict("contradicted", "signal_present");
    assert_eq!(scene.pulse.listeners(), 1);
    assert_eq!(scene.runner.delete("/api/users/ada").status, 200);
    scene.watch.says(|line| line["event"] == "idle");
    await_that("the microphone is closed", || scene.pulse.listeners() == 0);
    // The next person with this id has not paired the agent.
    claims(&scene.runner, &muted_by_the_system());
    let idle = scene.watch.says(|line| line["event"] == "idle");
    assert!(idle["retryMs"].as_u64() <= Some(30_000), "{idle}");
    assert_eq!(scene.runner.get("/api/users/ada").json()["agent"], Value::Null);
    assert_eq!(scene.pulse.listeners(), 0);
    assert_eq!(attach(&scene.runner, "ada", &scene.witness).status, 200);
    scene.verdict("contradicted", "signal_present");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_started_agent_that_nobody_has_attached_says_so_and_opens_nothing() {
    let runner = Runner::ephemeral();
    claims(&runner, &muted_by_the_system());
    let pulse = Pulse::with_desk();
    let (_, witness) = pulse.pair(&runner, "ada");
    assert_eq!(runner.delete("/api/users/ada").status, 200);
    let watch = pulse.watch(&[]);
    watch.says(|line| line["event"] == "idle");
    let observed = |watch: &Watch| watch.log().iter().any(|line| line["event"] == "observed");
    assert!(!observed(&watch) && pulse.listeners() == 0);
    claims(&runner, &muted_by_the_system());
    assert_eq!(attach(&runner, "ada", &witness).status, 200);
    watch.says(|line| line["event"] == "attached");
    watch.says(|line| line["event"] == "attested");
    let (_, said) = pulse.agent_json(&["doctor"]);
    let server =
        said["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == "server").unwrap().clone();
    assert_eq!(server["ok"], true, "{said}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn silence_of_the_agents_own_stream_never_verifies_a_mute() {
    let scene = Scene::speaking(&muted_by_the_system());
    scene.verdict("contradicted", "signal_present");
    scene.pulse.mute_own(true);
    scene.verdict("unverified", "stream_silenced");
    scene.pulse.mute_own(false);
    scene.verdict("contradicted", "signal_present");
    scene.pulse.volume_own(1);
    scene.verdict("unverified", "stream_silenced");
    assert!(!scene.told().contains(&"verified".to_owned()), "{:?}", scene.told());
    // The sound server remembers the volume, and the agent sets its own volume when it starts.
    assert_eq!(scene.watch.stop(Signal::TERM).0, 0);
    let watch = scene.pulse.watch(&[]);
    watch.says(|line| line["verdict"]["mute"]["reason"] == "signal_present");
    assert!(!watch.log().iter().any(|line| line["verdict"]["mute"]["value"] == "verified"), "{:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_pause_behind_a_noise_gate_never_verifies_a_mute_and_lasting_silence_does() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Gated);
    let mut scene = Scene::begin(&muted_by_the_system(), pulse);
    for _ in 0..3 {
        scene.watch.says(|line| line["verdict"]["mute"]["reason"] == "recent_signal");
        scene.watch.says(|line| line["verdict"]["mute"]["reason"] == "signal_present");
    }
    assert!(!scene.told().contains(&"verified".to_owned()), "{:?}", scene.told());
    scene.pulse.hears_nothing("desk");
    let state = scene.verdict("verified", "digital_zero");
    let time = |name: &str| state["verdict"]["mute"][name].as_str().unwrap().to_owned();
    assert!(time("since") < time("observedAt"), "{state}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_new_claim_is_attested_at_once_and_in_a_window_of_its_own() {
    let scene = Scene::begin(&muted_by_the_system(), Pulse::with_desk());
    scene.verdict("verified", "digital_zero");
    claims(&scene.runner, &json!({"isMuted": true, "muteScope": "device"}));
    let state = scene.runner.get("/api/users/ada").json();
    assert_eq!(state["verdict"]["mute"]["reason"], "claim_newer", "{state}");
    // The answer to the next attestation tells the agent of the new claim, and the agent attests again at once.
    scene.watch.says(|line| line["verdict"]["mute"]["reason"] == "claim_newer");
    let next = scene.watch.says(|line| line["event"] == "attested");
    assert_eq!(next["verdict"]["mute"]["reason"], "digital_zero", "{next}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn an_alias_binds_no_device_and_does_not_redirect_the_agent() {
    let scene = Scene::speaking(&json!({"isMuted": true, "muteScope": "os", "deviceId": "default"}));
    scene.pulse.plug_in("headset", "Headset Microphone");
    scene.verdict("unverified", "device_alias");
    let alias = json!({"deviceId": "default", "deviceLabel": "Default - Headset Microphone"});
    scene.runner.patch("/api/users/ada/device", alias);
    let state = scene.verdict("unverified", "device_alias");
    assert_eq!(state["agent"]["deviceId"], "pulseaudio:desk");
    let label_alone = json!({"deviceId": "f00d", "deviceLabel": "Default - Headset Microphone"});
    scene.runner.patch("/api/users/ada/device", label_alone);
    let state = scene.verdict("unverified", "device_unbound");
    assert_eq!(state["agent"]["deviceId"], "pulseaudio:desk");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn an_unreachable_server_is_tried_again_while_the_agent_goes_on_measuring() {
    let Scene { runner, pulse, watch, .. } = Scene::speaking(&json!({"isMuted": false}));
    watch.says(|line| line["event"] == "attested");
    runner.kill();
    let told = watch.says(|line| line["event"] == "not_attested");
    assert!(told["why"].as_str().unwrap().contains("cannot be reached"), "{told}");
    assert!(told["retryMs"].as_u64().unwrap() <= 30_000, "{told}");
    pulse.mute("desk", true);
    watch.measures(["measured", "muted", "digital_zero", "direct"]);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn an_invalid_code_pairs_no_agent_and_stores_no_pairing() {
    let runner = Runner::ephemeral();
    claims(&runner, &json!({"isMuted": true}));
    let pulse = Pulse::start();
    let pair = |code: &str| pulse.agent(&["enroll", "--url", &runner.url, "--user", "ada", "--code", code]);
    let refused = pair("7K3M-Q2XD-9VTA-B4NC");
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), errors.lines().count()), (Some(6), 1), "{errors}");
    assert!(errors.contains("ask your page for a new one"), "{errors}");
    assert_eq!(pair("not a code").status.code(), Some(2));
    assert_eq!(pulse.watch(&[]).wait().0, 4, "no pairing is stored");
    let url = runner.url.clone();
    runner.kill();
    let unreachable = pulse.agent(&["enroll", "--url", &url, "--user", "ada", "--code", "7K3M-Q2XD-9VTA-B4NC"]);
    assert_eq!(unreachable.status.code(), Some(5));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn plain_http_to_another_machine_is_refused_before_anything_is_sent() {
    let pulse = Pulse::start();
    let code = ["--user", "ada", "--code", "7K3M-Q2XD-9VTA-B4NC"];
    let refused = pulse.agent(&[&["enroll", "--url", "http://greenroom.example"], &code[..]].concat());
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
    assert!(errors.contains("must begin with https://"), "{errors}");
    assert_eq!(pulse.watch(&[]).wait().0, 4, "no pairing is stored");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_forged_401_is_retried_and_a_revocation_ends_the_agent() {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.server_addr());
    let pulse = Pulse::with_desk();
    // Builds the agent first: that may take longer than the server below waits.
    binary("greenroom-agent");
    std::thread::scope(|scope| {
        let answers = scope.spawn(|| {
            accepts_any_enrolment(&server);
            let refuse = |status: u16, code: &str| {
                let problem = json!({"status": status, "code": code, "detail": "forged"});
                let request = server.recv_timeout(PATIENCE).unwrap().expect("the agent asks again");
                request
                    .respond(tiny_http::Response::from_string(problem.to_string()).with_status_code(status))
                    .unwrap();
            };
            refuse(401, "signature_invalid");
            refuse(401, "signature_invalid");
            refuse(410, "agent_revoked");
        });
        let (status, _) =
            pulse.agent_json(&["enroll", "--url", &url, "--user", "ada", "--code", "7K3M-Q2XD-9VTA-B4NC"]);
        assert_eq!(status, 0);
        let watch = pulse.watch(&[]);
        watch.says(|line| line["event"] == "not_attested" && line["retryMs"].as_u64() <= Some(30_000));
        assert_eq!(watch.wait().0, 6);
        answers.join().unwrap();
    });
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn an_agent_whose_output_nobody_reads_goes_on_attesting_and_ends_when_told_to() {
    let runner = Runner::ephemeral();
    claims(&runner, &muted_by_the_system());
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    pulse.pair(&runner, "ada");
    let (mut watch, _reader) = pulse.watch_unread();
    await_verdict(&runner, PATIENCE, "contradicted", "signal_present");
    pulse.mute("desk", true);
    await_verdict(&runner, PATIENCE, "verified", "silent_and_flagged");
    pulse.mute("desk", false);
    await_verdict(&runner, PATIENCE, "contradicted", "signal_present");
    assert_eq!(watch.stop(Signal::TERM), Some(0));
}

/// Answers an enrolment like a server that accepts every code.
fn accepts_any_enrolment(server: &tiny_http::Server) {
    let mut request = server.recv_timeout(PATIENCE).unwrap().expect("an enrolment");
    let enrolment: domain::Enrolment = serde_json::from_reader(request.as_reader()).unwrap();
    let agent = domain::AgentId::of(&enrolment.public_key);
    let enrolled = json!({"agentId": agent, "userId": enrolment.user_id, "atMs": now_ms()});
    request.respond(tiny_http::Response::from_string(enrolled.to_string()).with_status_code(201)).unwrap();
}
