//! The whole chain on real parts: Chromium captures a virtual microphone, the agent measures it, the runner compares, and
//! the page shows the verdict.

use crate::browser::{Person, shown};
use crate::rooms_page::{self, Guest};
use crate::support::pulse::{Pulse, Sound, Watch};
use crate::support::webdriver::Browser;
use crate::support::{Mode, PATIENCE, Runner};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time from an action of the system to the stored verdict. The agent looks every 50 ms, and attests at once.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A person at a page with a real microphone, and an agent on the same sound server.
struct Witnessed {
    runner: Runner,
    pulse: Pulse,
    ada: Person,
    watch: Option<Watch>,
}

impl Witnessed {
    /// Joins a room, and pairs the agent by the line that the page shows.
    fn start(mode: Mode) -> Self {
        Self::with(mode, Pulse::with_desk())
    }

    fn with(mode: Mode, mut pulse: Pulse) -> Self {
        pulse.hears("desk", Sound::Speech);
        Self::beside(mode, pulse)
    }

    /// The same with the sounds that this server already has.
    fn beside(mode: Mode, pulse: Pulse) -> Self {
        let mut here = Self::without_an_agent(mode, pulse);
        here.pairs();
        here.watch = Some(here.pulse.watch(&[]));
        here
    }

    /// Joins a room. No agent is paired.
    fn without_an_agent(mode: Mode, pulse: Pulse) -> Self {
        let runner = mode.runner();
        let ada = Person::joins_by(mode, Browser::hearing(&pulse), &runner, "demo", "Ada");
        Self { runner, pulse, ada, watch: None }
    }

    /// Pairs an agent by the line that the page shows.
    #[track_caller]
    fn pairs(&self) {
        self.ada.browser.click("[data-testid=pairing-start]");
        self.ada.browser.wait("document.querySelector('[data-testid=pairing-command]') !== null");
        let command = self.ada.browser.run("return document.querySelector('[data-testid=pairing-command]').innerText;");
        let command = command.as_str().unwrap();
        let (enroll, watch) = command.split_once(" && ").unwrap();
        assert_eq!(watch, "greenroom-agent watch");
        let words: Vec<_> = enroll.split(' ').collect();
        assert_eq!(words[..2], ["greenroom-agent", "enroll"], "{command}");
        let output = self.pulse.agent(&words[1..]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.ada.browser.wait("document.querySelector('[data-testid=pairing]').dataset.stage === 'paired'");
    }

    /// Starts the agent anew with these arguments.
    fn restarts_the_agent(&mut self, args: &[&str]) {
        drop(self.watch.take());
        self.watch = Some(self.pulse.watch(args));
    }

    /// Waits until the page shows this verdict, and checks that it gives this advice.
    #[track_caller]
    fn is_advised(&self, verdict: &str, reason: &str, advice: &str) {
        self.is(verdict, reason);
        self.ada.browser.wait(&format!("document.body.innerText.includes({})", json!(advice)));
    }

    /// Waits until the page shows this verdict on the person. Returns the text of the card.
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

    /// Ada chooses a microphone by its name as soon as the page lists it, and her claim is about it.
    fn chooses(&self, label: &str) {
        // In one step, because the list may change between two.
        self.ada.browser.wait(&format!(
            "(() => {{
               const select = document.querySelector('[data-testid=device-select]');
               select.dispatchEvent(new Event('focus'));
               const option = [...select.options].find((o) => o.innerText === '{label}');
               if (!option) return false;
               select.value = option.value;
               return select.dispatchEvent(new Event('change', {{ bubbles: true }}));
             }})()"
        ));
        self.ada.browser.wait(&format!(
            "document.querySelector('[data-self=true] [data-testid=participant-device]').innerText === '{label}'"
        ));
    }

    /// The microphones that the browser captures, as the sound server lists them.
    fn captured(&self) -> Vec<String> {
        let heard = self.pulse.heard().into_iter();
        heard.filter(|(program, ..)| program == "Chromium input").map(|(_, _, microphone)| microphone).collect()
    }

    /// The numbers of the browser's streams: a microphone that is opened anew has another one.
    fn streams(&self) -> Vec<u64> {
        let heard = self.pulse.heard().into_iter();
        heard.filter(|(program, ..)| program == "Chromium input").map(|(_, stream, _)| stream).collect()
    }

    /// Lets the system move the browser, and waits until the page has opened the desk anew. Until then, no verdict may be
    /// about the desk.
    #[track_caller]
    fn is_moved_and_finds_back(&self, act: impl FnOnce(&Pulse)) {
        let before = self.streams();
        act(&self.pulse);
        self.is_honest_until_the_desk_is_captured(Duration::from_secs(6));
        assert_ne!(self.streams(), before, "the browser was moved");
    }

    /// Compares the captured microphone with the verdict until the browser has captured the desk alone for this long.
    /// While it captures another microphone, no verdict may be about the desk.
    #[track_caller]
    fn is_honest_until_the_desk_is_captured(&self, so_long: Duration) {
        let state = format!("/api/users/{}", self.ada.id());
        let deadline = Instant::now() + 2 * PATIENCE;
        let (mut elsewhere, mut told) = (None, Vec::new());
        let mut home = Instant::now();
        while home.elapsed() < so_long {
            let before = self.captured();
            let mute = self.ada.member.get(&self.runner, &state).json()["verdict"]["mute"].clone();
            let safe = self.is_safe();
            let after = self.captured();
            let mute = format!("{} {}", mute["value"].as_str().unwrap(), mute["reason"].as_str().unwrap());
            told.push(format!("{after:?} {mute} {safe}"));
            told.dedup();
            assert!(Instant::now() < deadline, "the page does not capture the desk again: {told:#?}");
            if after != ["desk"] {
                home = Instant::now();
            }
            if before != after || !after.iter().any(|microphone| microphone != "desk") {
                continue;
            }
            // The newest change may still be on its way to the verdict.
            if elsewhere.get_or_insert_with(Instant::now).elapsed() > ON_ITS_WAY {
                let about_the_desk = mute.starts_with("verified") || mute.contains("silent_device");
                assert!(!safe && !about_the_desk, "{told:#?}");
            }
        }
    }

    /// Whether the server says that everybody in the room is verified to be muted.
    fn is_safe(&self) -> bool {
        let safety = self.ada.member.get(&self.runner, &format!("/api/rooms/{}/safe", self.ada.member.room));
        safety.json()["safe"].as_bool().unwrap_or_else(|| panic!("{}", safety.text))
    }

    /// Stores a screenshot, so that a person can look at the page after a change.
    fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-and-agent");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.ada.browser.picture()).unwrap();
    }
}

impl Drop for Witnessed {
    /// Says what the agent saw last, if the test has failed.
    #[expect(clippy::print_stderr, reason = "for a person to read")]
    fn drop(&mut self) {
        if let Some(watch) = self.watch.as_ref().filter(|_| std::thread::panicking()) {
            let log = watch.log();
            for line in &log[log.len().saturating_sub(20)..] {
                eprintln!("agent: {line}");
            }
        }
    }
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    the_page_says_what_the_microphone_does
}

fn the_page_says_what_the_microphone_does(mode: Mode) {
    let mut here = Witnessed::start(mode);

    // The page joins muted. Only the page is muted, and the microphone still hears.
    let card = here.is("unverified", "app_muted_device_hot");
    assert!(card.contains("Says muted") && card.contains("microphone still hot"), "{card}");
    here.room_says(false, "not verified");

    here.ada.browser.press("m");
    let card = here.is("verified", "signal_present");
    assert!(card.contains("Unmuted, verified"), "{card}");
    here.room_says(false, "1 unmuted");

    // The system mutes a microphone that the page claims to be open.
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

    // Nobody plays anything into the microphone: it gives exact zeros, whatever the flag says.
    here.pulse.hears_nothing("desk");
    here.is("verified", "digital_zero");

    // The agent ends. Its last verdict expires, on the page and in the room.
    drop(here.watch.take());
    let card = here.is("stale", "attestation_expired");
    assert!(card.contains("not verified · last measured"), "{card}");
    here.room_says(false, "1 not verified");
    here.is_advised("stale", "attestation_expired", "Check that the agent is still running");
    here.restarts_the_agent(&[]);
    here.is("verified", "digital_zero");
    // While a code is shown, the page asks whether an agent has enrolled with it. The answer is 404 until one has.
    let waits = |line: &String| line.contains("/agent - Failed to load resource") && line.contains("404");
    let complaints: Vec<_> = here.ada.browser.complaints().into_iter().filter(|line| !waits(line)).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    a_device_that_is_pulled_is_never_shown_as_silent
}

fn a_device_that_is_pulled_is_never_shown_as_silent(mode: Mode) {
    let here = Witnessed::start(mode);
    here.is("unverified", "app_muted_device_hot");
    // The remaining microphone is silent. PulseAudio moves every stream there, and tells no program.
    here.pulse.plug_in("other", "Other Microphone");
    here.pulse.pull("desk");
    here.ada.browser.wait(
        "['device_missing', 'device_mismatch', 'device_unbound'].includes(document.querySelector('[data-self=true]').dataset.reason)",
    );
    here.picture("pulled");
    // Longer than the interval of the agent, and than any hold.
    for _ in 0..24 {
        std::thread::sleep(Duration::from_millis(500));
        let verdict = here.ada.browser.run("return document.querySelector('[data-self=true]').dataset.verdict;");
        assert_ne!(verdict, "verified");
        assert!(!here.is_safe());
    }
}

/// Nothing is heard at the desk, and somebody speaks at the other microphone.
fn a_silent_desk_and_a_voice_elsewhere() -> Pulse {
    let mut pulse = Pulse::with_desk();
    pulse.plug_in("other", "Other Microphone");
    pulse.hears("other", Sound::Speech);
    pulse
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    a_browser_that_the_system_moves_to_another_microphone_is_never_verified_there_and_finds_back
}

/// PulseAudio moves every stream of the old default to the new one, also a stream that named its microphone. Chromium does
/// not tell the page.
fn a_browser_that_the_system_moves_to_another_microphone_is_never_verified_there_and_finds_back(mode: Mode) {
    let mut here = Witnessed::beside(mode, a_silent_desk_and_a_voice_elsewhere());
    here.chooses("Desk Microphone");
    here.is("verified", "digital_zero");

    here.is_moved_and_finds_back(|pulse| pulse.make_default("other"));
    here.is("verified", "digital_zero");
    // A voice at the other microphone is not heard at the desk.
    here.ada.browser.press("m");
    here.is("contradicted", "silent_device");

    here.pulse.make_default("desk");
    here.pulse.hears("other", Sound::Speech);
    here.is_moved_and_finds_back(|pulse| pulse.make_default("other"));
    here.is("contradicted", "silent_device");
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    a_browser_that_is_moved_alone_or_before_the_agent_starts_is_never_verified_there_and_finds_back
}

/// A person moves the browser's stream by hand, in the mixer. The agent's own stream stays.
fn a_browser_that_is_moved_alone_or_before_the_agent_starts_is_never_verified_there_and_finds_back(mode: Mode) {
    let mut here = Witnessed::beside(mode, a_silent_desk_and_a_voice_elsewhere());
    here.chooses("Desk Microphone");
    here.is("verified", "digital_zero");
    here.is_moved_and_finds_back(|pulse| pulse.move_program("Chromium input", "other"));

    // No agent runs while the browser is moved, and the last verdict expires.
    drop(here.watch.take());
    here.pulse.make_default("other");
    here.is("stale", "attestation_expired");
    assert_eq!(here.captured(), ["other"]);
    let before = here.streams();
    here.watch = Some(here.pulse.watch(&[]));
    here.is_honest_until_the_desk_is_captured(Duration::from_secs(6));
    assert_ne!(here.streams(), before);
    here.is("verified", "digital_zero");
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    recordings_of_other_programs_contradict_nobody_for_long
}

/// Other programs record too: one from the desk, one from another microphone.
fn recordings_of_other_programs_contradict_nobody_for_long(mode: Mode) {
    let pulse = a_silent_desk_and_a_voice_elsewhere();
    let _recorder = pulse.other_listener("other");
    let here = Witnessed::beside(mode, pulse);
    here.chooses("Desk Microphone");
    here.is("verified", "digital_zero");
    // A call in another program is moved with the browser, and stays there.
    let _call = here.pulse.other_listener("desk");
    here.is_moved_and_finds_back(|pulse| pulse.make_default("other"));
    here.is("verified", "digital_zero");
    assert!(here.pulse.heard().iter().filter(|(program, _, at)| program == "parec" && at == "other").count() == 2);
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    the_button_that_opens_the_microphone_again_ends_a_contradiction
}

/// After three tries the page pauses, and offers a button.
fn the_button_that_opens_the_microphone_again_ends_a_contradiction(mode: Mode) {
    let here = Witnessed::beside(mode, a_silent_desk_and_a_voice_elsewhere());
    here.chooses("Desk Microphone");
    here.is("verified", "digital_zero");
    let is_stuck = "return document.querySelector('[data-testid=mic-moved]')?.dataset.stuck === 'true';";
    // Each try of the page needs a new verdict, so it waits for the agent's next attestation.
    let deadline = Instant::now() + 3 * PATIENCE;
    while here.ada.browser.run(is_stuck) != true {
        assert!(Instant::now() < deadline, "the page does not pause");
        here.pulse.move_program("Chromium input", "other");
        std::thread::sleep(Duration::from_millis(100));
    }
    here.picture("moved-again-and-again");
    assert_eq!(here.captured(), ["other"]);
    here.ada.browser.click("[data-testid=mic-reopen]");
    here.is("verified", "digital_zero");
    assert_eq!(here.captured(), ["desk"]);
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    a_microphone_that_is_chosen_by_its_name_is_measured
}

/// Chromium on Linux lists the default microphone as "Default", with a group id of its own. With two microphones, the page
/// cannot tell which of them is the default.
fn a_microphone_that_is_chosen_by_its_name_is_measured(mode: Mode) {
    let pulse = Pulse::with_desk();
    pulse.plug_in("other", "Other Microphone");
    let here = Witnessed::with(mode, pulse);
    let ada = &here.ada.browser;
    ada.wait("document.querySelector('[data-testid=mic-alias]')?.innerText.includes('by its name')");
    here.is("unverified", "device_alias");
    let listed =
        ada.run("return [...document.querySelectorAll('[data-testid=device-select] option')].map((o) => o.innerText);");
    for label in ["Desk Microphone", "Other Microphone"] {
        assert!(listed.as_array().unwrap().contains(&json!(label)), "{listed}");
    }
    here.chooses("Desk Microphone");
    here.is("unverified", "app_muted_device_hot");
    here.pulse.mute("desk", true);
    here.is("verified", "silent_and_flagged");
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    every_advice_about_the_agent_can_be_followed
}

fn every_advice_about_the_agent_can_be_followed(mode: Mode) {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let mut here = Witnessed::without_an_agent(mode, pulse);
    here.is("unverified", "no_agent");
    here.pairs();
    here.is_advised("unverified", "no_data", "Check that the agent is running");
    here.restarts_the_agent(&[]);
    here.is_advised("unverified", "app_muted_device_hot", "mute the microphone in your system");
    here.pulse.mute("desk", true);
    here.is("verified", "silent_and_flagged");

    here.pulse.mute_own(true);
    here.is_advised("unverified", "stream_silenced", "Open your system’s sound mixer");
    here.pulse.mute_own(false);
    here.is("verified", "silent_and_flagged");
    here.pulse.volume_own(50);
    here.is_advised("unverified", "stream_silenced", "or restart the agent");
    here.restarts_the_agent(&[]);
    here.is("verified", "silent_and_flagged");

    here.ada.browser.click("[data-testid=pairing-stop]");
    here.ada.browser.click("[data-testid=pairing-stop-confirm]");
    here.is("unverified", "agent_revoked");
    assert_eq!(here.watch.take().unwrap().wait().0, 6, "the agent ends");
    here.pairs();
    here.restarts_the_agent(&[]);
    here.is("verified", "silent_and_flagged");
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    every_advice_about_the_microphone_can_be_followed
}

fn every_advice_about_the_microphone_can_be_followed(mode: Mode) {
    let mut here = Witnessed::start(mode);
    here.is("unverified", "app_muted_device_hot");
    here.ada.browser.press("m");
    here.is("verified", "signal_present");
    here.pulse.mute("desk", true);
    here.is_advised("contradicted", "silent_device", "Unmute it on the device, or in your system");
    here.pulse.mute("desk", false);
    here.is("verified", "signal_present");
    here.ada.browser.press("m");
    here.is("unverified", "app_muted_device_hot");
    here.pulse.hears_nothing("desk");
    here.is_advised("unverified", "recent_signal", "once the silence has lasted, it counts");
    here.is("verified", "digital_zero");

    here.pulse.suspend("desk", true);
    here.is_advised("unverified", "no_data", "Connect the microphone again");
    here.pulse.pull("desk");
    here.ada.browser.wait("document.querySelector('[data-testid=microphone]').dataset.status === 'unplugged'");
    here.pulse.plug_in("desk", "Desk Microphone");
    here.chooses("Desk Microphone");
    here.is("verified", "digital_zero");

    // The sound server hangs.
    here.pulse.stop();
    here.is_advised("unverified", "host_unavailable", "Check that sound works on your machine");
    here.pulse.go_on();
    here.is("verified", "digital_zero");

    here.pulse.plug_in("other", "Other Microphone");
    here.pulse.pull("desk");
    here.is_advised("unverified", "device_unbound", "Choose a microphone here");
    here.chooses("Other Microphone");
    here.is("verified", "digital_zero");

    // The agent was told to measure another microphone than the one that the page uses.
    here.pulse.plug_in("desk", "Desk Microphone");
    here.restarts_the_agent(&["--device", "desk"]);
    here.is_advised("unverified", "device_unbound", "choose the right microphone above");
    here.chooses("Desk Microphone");
    here.is("verified", "digital_zero");

    // Two microphones with one name.
    here.restarts_the_agent(&[]);
    here.pulse.plug_in("twin", "Other Microphone");
    here.chooses("Other Microphone");
    here.is_advised("unverified", "device_ambiguous", "Is that the microphone you use here?");
    here.ada.browser.click("[data-testid=binding-accept]");
    here.is("verified", "digital_zero");
}

in_both_modes! {
    #[cfg_attr(
        not(all(has_chromium, has_pulse)),
        ignore = "needs chromium, chromedriver, pulseaudio, sox, espeak-ng and libasound2-dev"
    )]
    in_a_created_room_an_agent_measures_for_each_participant_that_its_person_is
}

/// The agent belongs to the browser, and a participant is new at every join: the witness token brings the agent along.
fn in_a_created_room_an_agent_measures_for_each_participant_that_its_person_is(mode: Mode) {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let runner = mode.runner();
    let bob = Guest::new("Bob");
    let link = bob.creates(&runner, "Measured", &[], "");
    let ada = Guest::at(Browser::hearing(&pulse), "Ada");
    ada.joins(&link, "Measured");
    let mut here = Witnessed { runner, pulse, ada: Person::is_in(ada.browser), watch: None };
    let first = here.ada.id().to_owned();
    here.pairs();
    here.watch = Some(here.pulse.watch(&[]));
    here.is("unverified", "app_muted_device_hot");
    here.pulse.mute("desk", true);
    here.is("verified", "silent_and_flagged");
    bob.counts(&format!("[data-user-id='{first}'][data-verdict=verified][data-reason=silent_and_flagged]"), 1);

    // The same participant after a reload, and another one after leaving for good.
    here.ada.browser.refresh();
    here.is("verified", "silent_and_flagged");
    assert_eq!(shown(&here.ada.browser).id, first);
    here.ada.browser.click("[data-testid=leave]");
    here.ada.browser.wait("document.querySelector('[data-testid=join-again]') !== null");
    bob.counts("[data-testid=participant]", 1);
    rooms_page::asks(&here.ada.browser, &link, "Ada", "");
    here.is("verified", "silent_and_flagged");
    let second = shown(&here.ada.browser).id;
    assert_ne!(second, first);
    bob.counts(&format!("[data-user-id='{second}'][data-verdict=verified]"), 1);
}
