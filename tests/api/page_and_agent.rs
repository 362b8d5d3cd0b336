//! The whole chain on real parts: one virtual microphone that Chromium captures and the agent measures, the runner between
//! them, and the page that says what is so.

use crate::browser::Person;
use crate::support::Runner;
use crate::support::pulse::{Pulse, Sound, Watch};
use crate::support::webdriver::Browser;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Somebody at a page with a real microphone, and the agent beside it.
struct Witnessed {
    runner: Runner,
    pulse: Pulse,
    ada: Person,
    watch: Option<Watch>,
}

impl Witnessed {
    /// Joins a room, and pairs the agent by the line that the page shows.
    fn start() -> Self {
        Self::with(Pulse::with_desk())
    }

    fn with(mut pulse: Pulse) -> Self {
        let runner = Runner::ephemeral();
        pulse.hears("desk", Sound::Speech);
        let ada = Person::joins_by(Browser::hearing(&pulse), &runner, "demo", "Ada");
        ada.browser.click("[data-testid=pairing-start]");
        ada.browser.wait("document.querySelector('[data-testid=pairing-command]') !== null");
        let command = ada.browser.run("return document.querySelector('[data-testid=pairing-command]').innerText;");
        let command = command.as_str().unwrap();
        let (enroll, watch) = command.split_once(" && ").unwrap();
        assert_eq!(watch, "greenroom-agent watch");
        let words: Vec<_> = enroll.split(' ').collect();
        assert_eq!(words[..2], ["greenroom-agent", "enroll"], "{command}");
        let output = pulse.agent(&words[1..]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let watch = pulse.watch(&[]);
        let witnessed = Self { runner, pulse, ada, watch: Some(watch) };
        witnessed.ada.browser.wait("document.querySelector('[data-testid=pairing]').dataset.stage === 'paired'");
        witnessed
    }

    /// Waits until the page shows this verdict on the person, and gives back the card's text.
    #[track_caller]
    fn is(&self, verdict: &str, reason: &str) -> String {
        let card = format!("[data-self=true][data-verdict={verdict}][data-reason={reason}]");
        self.ada.browser.wait(&format!("document.querySelector(`{card}`) !== null"));
        let text = self.ada.browser.run(&format!("return document.querySelector(`{card}`).innerText;"));
        self.picture(&format!("{verdict}-{reason}"));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the page says this about the room.
    #[track_caller]
    fn room_says(&self, safe: bool, text: &str) {
        self.ada.browser.wait(&format!(
            "(() => {{ const room = document.querySelector('[data-testid=room-safe]');
               return room !== null && room.dataset.safe === '{safe}' && room.innerText.includes({}); }})()",
            json!(text)
        ));
    }

    /// Keeps what a person would see, for whoever looks after a change.
    fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-and-agent");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.ada.browser.picture()).unwrap();
    }
}

#[test]
#[cfg_attr(
    not(all(has_chromium, has_pulse)),
    ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
)]
fn the_page_says_what_the_microphone_does() {
    let mut here = Witnessed::start();

    // Joined muted, by the page alone: the microphone hears on.
    let card = here.is("unverified", "app_muted_device_hot");
    assert!(card.contains("Says muted") && card.contains("microphone still hot"), "{card}");
    here.room_says(false, "not verified");

    here.ada.browser.press("m");
    let card = here.is("verified", "signal_present");
    assert!(card.contains("Unmuted, verified"), "{card}");
    here.room_says(false, "1 unmuted");

    // The system mutes what the page says is open.
    here.pulse.mute("desk", true);
    let card = here.is("contradicted", "silent_device");
    assert!(card.contains("The microphone is silent"), "{card}");
    here.room_says(false, "1 contradicted");

    here.ada.browser.press("m");
    let card = here.is("verified", "silent_and_flagged");
    assert!(card.contains("Muted, verified"), "{card}");
    here.room_says(true, "Everyone muted, verified until ");

    here.pulse.mute("desk", false);
    here.is("unverified", "app_muted_device_hot");
    here.room_says(false, "1 not verified");

    // Nobody plays anything into it: exact zeros, whatever the flag says.
    here.pulse.hears_nothing("desk");
    here.is("verified", "digital_zero");

    // An agent that is gone proves nothing: what it said runs out, on the page and in the room.
    drop(here.watch.take());
    let card = here.is("stale", "attestation_expired");
    assert!(card.contains("not verified · last measured"), "{card}");
    here.room_says(false, "1 not verified");
    // While a code is shown, the page asks whether an agent has enrolled with it, and is told that none has yet.
    let waits = |line: &String| line.contains("/agent - Failed to load resource") && line.contains("404");
    let complaints: Vec<_> = here.ada.browser.complaints().into_iter().filter(|line| !waits(line)).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
#[cfg_attr(
    not(all(has_chromium, has_pulse)),
    ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
)]
fn a_device_that_is_pulled_is_never_shown_as_silent() {
    let here = Witnessed::start();
    here.is("unverified", "app_muted_device_hot");
    // What is left is silent: PulseAudio moves every stream there, and says so to nobody.
    here.pulse.plug_in("other", "Other Microphone");
    here.pulse.pull("desk");
    here.ada.browser.wait(
        "['device_missing', 'device_mismatch', 'device_unbound'].includes(document.querySelector('[data-self=true]').dataset.reason)",
    );
    here.picture("pulled");
    // Longer than an interval of the agent's and than any hold.
    for _ in 0..24 {
        std::thread::sleep(Duration::from_millis(500));
        let verdict = here.ada.browser.run("return document.querySelector('[data-self=true]').dataset.verdict;");
        assert_ne!(verdict, "verified");
        assert_eq!(here.runner.get("/api/rooms/demo/safe").json()["safe"], false);
    }
}

/// Chromium on Linux calls the default "Default", in a group of its own: of two microphones nobody can tell which it is.
#[test]
#[cfg_attr(
    not(all(has_chromium, has_pulse)),
    ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
)]
fn whoever_is_told_to_choose_a_microphone_by_its_name_can_and_is_measured_then() {
    let pulse = Pulse::with_desk();
    pulse.plug_in("other", "Other Microphone");
    let here = Witnessed::with(pulse);
    let ada = &here.ada.browser;
    ada.wait("document.querySelector('[data-testid=mic-alias]')?.innerText.includes('by its name')");
    here.is("unverified", "device_alias");
    let listed =
        ada.run("return [...document.querySelectorAll('[data-testid=device-select] option')].map((o) => o.innerText);");
    for label in ["Desk Microphone", "Other Microphone"] {
        assert!(listed.as_array().unwrap().contains(&json!(label)), "{listed}");
    }
    ada.run(
        "const select = document.querySelector('[data-testid=device-select]');
         select.value = [...select.options].find((o) => o.innerText === 'Desk Microphone').value;
         select.dispatchEvent(new Event('change', { bubbles: true }));",
    );
    here.is("unverified", "app_muted_device_hot");
    here.pulse.mute("desk", true);
    here.is("verified", "silent_and_flagged");
}
