//! The agent's measurements, and its output on the command line.

use crate::support::binaries::{agent_without_capture, binary};
use crate::support::pulse::{Pulse, Sound};
use crate::support::{await_that, keys};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const HEARD: [&str; 4] = ["measured", "unmuted", "signal", "direct"];
const QUIET: [&str; 4] = ["measured", "unmuted", "floor", "direct"];
const ZEROS: [&str; 4] = ["measured", "unmuted", "digital_zero", "direct"];
const MUTED: [&str; 4] = ["measured", "muted", "digital_zero", "direct"];
const MOVED: [&str; 4] = ["measured", "unmuted", "not_opened", "moved"];
const SILENCED: [&str; 4] = ["measured", "unmuted", "not_opened", "silenced"];
const ASLEEP: [&str; 4] = ["no_data", "unmuted", "not_opened", "direct"];
const GONE: [&str; 4] = ["device_missing", "unknown", "not_opened", "direct"];
const NO_HOST: [&str; 4] = ["host_unavailable", "unknown", "not_opened", "direct"];

/// The measured signals, in order.
fn signals(log: &[Value]) -> Vec<&str> {
    log.iter().filter(|line| line["event"] == "observed").map(|line| line["signal"].as_str().unwrap()).collect()
}

fn text(output: &Output) -> (i32, String, String) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), utf8(&output.stdout), utf8(&output.stderr))
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn inputs_are_listed_and_monitors_are_marked() {
    let pulse = Pulse::with_desk();
    let (code, devices) = pulse.agent_json(&["devices"]);
    assert_eq!(code, 0);
    let desk = json!({
        "id": "pulseaudio:desk", "label": "Desk Microphone", "unique": true, "default": true, "monitor": false
    });
    let devices = devices.as_array().unwrap();
    assert!(devices.contains(&desk), "{devices:?}");
    assert_eq!(devices.iter().filter(|device| device["monitor"] == true).count(), 1, "{devices:?}");
    let (_, table, _) = text(&pulse.agent(&["devices"]));
    assert!(table.contains("* Desk Microphone"), "{table}");
    assert!(table.contains("desk_air.monitor  (the sound of an output, not a microphone)"), "{table}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn only_cards_are_inputs_of_alsa_so_its_null_device_is_never_measured() {
    let pulse = Pulse::with_desk();
    let (code, devices) = pulse.agent_json(&["devices", "--host", "alsa"]);
    assert_eq!(code, 0);
    let is_card = |device: &Value| device["id"].as_str().unwrap().contains("CARD=");
    assert!(devices.as_array().unwrap().iter().all(is_card), "{devices}");
    let (code, said) = pulse.agent_json(&["check", "--seconds", "1", "--host", "alsa", "--device", "null"]);
    assert_eq!((code, &said["condition"]), (24, &json!("device_missing")));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_watch_shows_people_a_line_for_each_change() {
    let pulse = Pulse::with_desk();
    let shown = pulse.watch_as_people_do(|pulse| pulse.mute("desk", true), "muted by the system");
    assert_eq!(shown.first().map(String::as_str), Some("measuring … · offline"));
    assert!(shown.contains(&"Desk Microphone: exact silence · offline".to_owned()), "{shown:#?}");
    assert_eq!(shown.last().map(String::as_str), Some("Desk Microphone: exact silence, muted by the system · offline"));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_check_reports_the_signal_in_words_and_by_its_exit_code() {
    let mut pulse = Pulse::with_desk();
    let (code, said, _) = text(&pulse.agent(&["check"]));
    assert_eq!((code, said.contains("Desk Microphone gives exact silence")), (11, true), "{said}");
    pulse.hears("desk", Sound::Room);
    let (code, said, _) = text(&pulse.agent(&["check"]));
    assert_eq!((code, said.contains("no more than its own noise")), (10, true), "{said}");
    pulse.hears("desk", Sound::Speech);
    let (code, said, _) = text(&pulse.agent(&["check"]));
    assert_eq!((code, said.contains("Desk Microphone is heard")), (0, true), "{said}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_check_in_json_has_exactly_the_words_of_the_protocol() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let (code, said) = pulse.agent_json(&["check"]);
    let device = json!({"id": "pulseaudio:desk", "label": "Desk Microphone", "unique": true});
    let expected = json!({
        "condition": "measured", "flag": "unmuted", "signal": "signal", "route": "direct", "device": device
    });
    assert_eq!((code, said), (0, expected));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_gap_between_words_is_never_silence() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    let heard = watch.log().len();
    // The speech lasts about six seconds and is repeated, so the agent hears all its pauses.
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(signals(&watch.log()[heard..]), [""; 0], "no other signal during speech");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_device_that_the_system_mutes_is_muted_and_an_unmuted_device_is_heard() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.mute("desk", true);
    watch.measures(MUTED);
    pulse.mute("desk", false);
    watch.measures(HEARD);
    pulse.volume("desk", 0);
    watch.measures(MUTED);
    pulse.volume("desk", 100);
    watch.measures(HEARD);
    let contradicting = |line: &Value| line["flag"] == "muted" && line["signal"] == "signal";
    assert!(!watch.log().iter().any(contradicting), "the flag changes together with the signal: {:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn silence_of_the_agents_own_stream_is_not_silence_of_the_device() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.mute_own(true);
    watch.measures(SILENCED);
    pulse.mute_own(false);
    watch.measures(HEARD);
    for percent in [1, 0, 99] {
        pulse.volume_own(percent);
        watch.measures(SILENCED);
        pulse.volume_own(100);
        watch.measures(HEARD);
    }
    pulse.mute_own(true);
    pulse.mute("desk", true);
    watch.measures(["measured", "muted", "not_opened", "silenced"]);
    pulse.mute_own(false);
    watch.measures(MUTED);
    let log = watch.log();
    let zeros = log.iter().filter(|line| line["signal"] == "digital_zero");
    assert!(zeros.clone().all(|line| line["flag"] == "muted"), "{log:#?}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_remembered_mute_or_volume_of_the_last_stream_does_not_silence_the_next_stream() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    for (muted, percent) in [(true, 100), (false, 1), (false, 0), (true, 1)] {
        let watch = pulse.watch(&["--offline"]);
        watch.measures(HEARD);
        pulse.mute_own(muted);
        pulse.volume_own(percent);
        watch.measures(SILENCED);
        assert_eq!(watch.stop(Signal::TERM).0, 0);
        let next = pulse.watch(&["--offline"]);
        next.measures(HEARD);
        assert_eq!(pulse.own_now(), Some((false, 100)));
        assert!(!signals(&next.log()).contains(&"digital_zero"), "{:#?}", next.log());
        assert_eq!(next.stop(Signal::TERM).0, 0);
    }
    let (code, said, _) = text(&pulse.agent(&["check"]));
    assert_eq!((code, said.contains("is heard")), (0, true), "{said}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn with_flat_volumes_the_agents_stream_follows_the_device_and_never_changes_it() {
    let mut pulse = Pulse::flat().desk();
    pulse.hears("desk", Sound::Speech);
    pulse.volume("desk", 60);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    assert_eq!((pulse.volume_of("desk"), pulse.own_now()), (60, Some((false, 60))));
    pulse.volume("desk", 80);
    pulse.mute("desk", true);
    watch.measures(MUTED);
    pulse.mute("desk", false);
    watch.measures(HEARD);
    assert!(watch.log().iter().all(|line| line["route"] != "silenced"), "{:#?}", watch.log());
    pulse.mute_own(true);
    watch.measures(SILENCED);
    pulse.mute_own(false);
    watch.measures(HEARD);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn with_flat_volumes_a_stream_below_its_device_counts_as_silenced() {
    let mut pulse = Pulse::flat().desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    // Another program's stream keeps the volume of the device up.
    let _other = pulse.other_listener("desk");
    pulse.volume_own(1);
    watch.measures(SILENCED);
    assert!(!signals(&watch.log()).contains(&"digital_zero"), "{:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn people_are_told_that_the_stream_is_silenced_and_what_to_do() {
    let pulse = Pulse::with_desk();
    let shown = pulse.watch_as_people_do(|pulse| pulse.mute_own(true), "turned down in the mixer");
    assert!(shown.last().unwrap().contains("greenroom-agent's own stream is muted or turned down"), "{shown:#?}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn the_flag_is_read_before_the_device_is_opened() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    pulse.mute("desk", true);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(MUTED);
    assert_eq!(signals(&watch.log()), ["digital_zero"]);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_device_that_falls_asleep_is_not_muted() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.suspend("desk", true);
    watch.measures(ASLEEP);
    pulse.suspend("desk", false);
    watch.measures(HEARD);
    assert!(!signals(&watch.log()).contains(&"digital_zero"), "{:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_device_that_is_asleep_from_the_start_is_not_muted() {
    let pulse = Pulse::with_desk();
    pulse.suspend("desk", true);
    let (code, said) = pulse.agent_json(&["check"]);
    assert_eq!((code, &said["condition"], &said["signal"]), (23, &json!("no_data"), &json!("not_opened")));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_device_that_is_pulled_is_missing_although_the_stream_lives_on_silently() {
    let mut pulse = Pulse::with_desk();
    pulse.plug_in("other", "Silent Microphone");
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.pull("desk");
    let gone = watch.measures(GONE);
    assert_eq!(gone["device"]["label"], "Desk Microphone");
    pulse.plug_in("desk", "Desk Microphone");
    watch.measures(HEARD);
    assert!(!signals(&watch.log()).contains(&"digital_zero"), "{:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_default_that_is_switched_to_a_silent_device_is_not_a_mute() {
    let mut pulse = Pulse::with_desk();
    pulse.plug_in("other", "Silent Microphone");
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.make_default("other");
    let moved = watch.measures(MOVED);
    assert_eq!(moved["device"]["id"], "pulseaudio:desk");
    watch.measures(HEARD);
    assert!(!signals(&watch.log()).contains(&"digital_zero"), "{:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_sound_server_that_dies_is_not_a_mute_and_is_found_again() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.kill();
    watch.measures(NO_HOST);
    pulse.restart();
    watch.measures(GONE);
    pulse.plug_in("desk", "Desk Microphone");
    pulse.hears("desk", Sound::Speech);
    watch.measures(HEARD);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_sound_server_that_hangs_is_not_a_mute_and_blocks_no_agent() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    let other = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    other.measures(HEARD);
    pulse.stop();
    watch.measures(NO_HOST);
    other.measures(NO_HOST);
    assert_eq!(other.stop(Signal::TERM), (0, String::new()), "the agent ends while the sound server hangs");
    pulse.go_on();
    watch.measures(HEARD);
    assert!(!signals(&watch.log()).contains(&"digital_zero"), "{:#?}", watch.log());
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_room_that_falls_silent_is_quiet_and_a_device_that_falls_silent_is_zero() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.hears("desk", Sound::Room);
    watch.measures(QUIET);
    pulse.hears_nothing("desk");
    watch.measures(ZEROS);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn two_devices_with_one_label_are_not_unique() {
    let pulse = Pulse::with_desk();
    pulse.plug_in("twin", "Desk Microphone");
    let (_, devices) = pulse.agent_json(&["devices"]);
    let microphones = devices.as_array().unwrap().iter().filter(|device| device["monitor"] == false);
    assert_eq!(microphones.map(|device| &device["unique"]).collect::<Vec<_>>(), [false, false]);
    let (_, said) = pulse.agent_json(&["check", "--device", "twin"]);
    assert_eq!(said["device"], json!({"id": "pulseaudio:twin", "label": "Desk Microphone", "unique": false}));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_monitor_is_measured_only_if_it_is_asked_for() {
    let pulse = Pulse::with_desk();
    pulse.pull("desk");
    let (code, said) = pulse.agent_json(&["check", "--seconds", "1"]);
    assert_eq!((code, &said["condition"], &said["device"]), (24, &json!("device_missing"), &Value::Null));
    let (code, said) = pulse.agent_json(&["check", "--device", "desk_air.monitor"]);
    assert_eq!((code, &said["device"]["id"]), (11, &json!("pulseaudio:desk_air.monitor")));
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn with_the_flag_as_only_evidence_the_device_is_never_opened() {
    let pulse = Pulse::with_desk();
    pulse.mute("desk", true);
    let watch = pulse.watch(&["--offline", "--evidence", "flag"]);
    watch.measures(["measured", "muted", "not_opened", "direct"]);
    pulse.mute("desk", false);
    watch.measures(["measured", "unmuted", "not_opened", "direct"]);
    assert_eq!(pulse.listeners(), 0);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn the_doctor_command_finds_the_mute() {
    let pulse = Pulse::with_desk();
    pulse.mute("desk", true);
    let (code, said) = pulse.agent_json(&["doctor"]);
    let finding = |name: &str| {
        let found = said["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {said}")).clone()
    };
    assert_eq!(code, 11);
    assert_eq!(finding("host")["ok"], true);
    let flag = finding("flag");
    assert_eq!(flag["ok"], false);
    assert!(flag["text"].as_str().unwrap().contains("the system mutes Desk Microphone"), "{flag}");
    assert_eq!(finding("pairing")["ok"], false);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn without_a_sound_server_a_check_names_the_reason() {
    let mut pulse = Pulse::start();
    pulse.kill();
    let (code, said) = pulse.agent_json(&["check", "--seconds", "1"]);
    assert_eq!((code, &said["condition"], &said["signal"]), (21, &json!("host_unavailable"), &json!("not_opened")));
    let (code, _, errors) = text(&pulse.agent(&["devices"]));
    assert_eq!((code, errors.lines().count()), (21, 1), "{errors}");
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn sigterm_and_sigint_end_the_agent_in_order() {
    let pulse = Pulse::with_desk();
    for signal in [Signal::TERM, Signal::INT] {
        let watch = pulse.watch(&["--offline"]);
        watch.measures(ZEROS);
        assert_eq!(watch.stop(signal), (0, String::new()));
        await_that("no stream records any more", || pulse.listeners() == 0);
    }
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn the_agent_ends_quietly_when_its_output_is_closed() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    for args in [&["devices"][..], &["watch", "--offline", "--json"]] {
        let mut command = Command::new(binary("greenroom-agent"));
        command.args(args).envs(pulse.env()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut agent = command.spawn().unwrap();
        drop(agent.stdout.take());
        let (code, _, errors) = text(&agent.wait_with_output().unwrap());
        assert_eq!((code, errors.as_str()), (141, ""), "{args:?}");
    }
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn no_line_ever_holds_a_level() {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let watch = pulse.watch(&["--offline"]);
    watch.measures(HEARD);
    pulse.hears("desk", Sound::Room);
    watch.measures(QUIET);
    for line in watch.log().iter().filter(|line| line["event"] == "observed") {
        assert_eq!(keys(line), ["condition", "device", "event", "flag", "route", "signal"]);
        assert!(!line.to_string().contains(|c: char| c.is_ascii_digit()), "a number: {line}");
    }
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn an_agent_that_is_not_paired_says_how_to_pair() {
    let pulse = Pulse::with_desk();
    let (code, errors) = pulse.watch(&[]).wait();
    assert_eq!(code, 4);
    assert!(errors.contains("greenroom-agent enroll --url URL --user NAME --code CODE"), "{errors}");
    assert_eq!(errors.lines().count(), 1);
}

#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn a_sound_system_that_does_not_exist_is_a_bad_argument() {
    let pulse = Pulse::with_desk();
    let (code, _, errors) = text(&pulse.agent(&["check", "--host", "nothing"]));
    assert_eq!(code, 2);
    assert!(errors.contains("choose one of: ") && errors.contains("pulseaudio"), "{errors}");
}

#[test]
fn an_agent_without_capture_says_how_to_build_one_with_it() {
    for command in [&["devices"][..], &["check"], &["doctor"], &["watch", "--offline"]] {
        let mut agent = Command::new(agent_without_capture());
        let directory = tempfile::TempDir::new().unwrap();
        let output =
            agent.args(command).env("XDG_CONFIG_HOME", directory.path()).stdin(Stdio::null()).output().unwrap();
        let (code, said, errors) = text(&output);
        assert_eq!((code, said.as_str(), errors.lines().count()), (3, "", 1), "{command:?}: {errors}");
        assert!(errors.contains("cargo build --release -p agent --features capture"), "{errors}");
        assert!(errors.contains("libasound2-dev"), "{errors}");
    }
}
