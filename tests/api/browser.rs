//! The page in a real browser with microphones that beep, against a real runner.
//!
//! Starting a browser takes most of the time here, so each test covers a whole story with one or two browsers. In open
//! mode, people meet in a room that is there because they name it; in strict mode, the first of them creates it.

use crate::rooms_page::Guest;
use crate::support::webdriver::Browser;
use crate::support::witness::Witness;
use crate::support::{Member, Mode, PATIENCE, Runner, await_that, sources, witness};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A person at the page in a browser, in a room.
pub(crate) struct Person {
    pub(crate) browser: Browser,
    /// The person as the API knows them.
    pub(crate) member: Member,
}

impl Person {
    /// Starts a browser and is the first in a room.
    fn joins(mode: Mode, runner: &Runner, room: &str, name: &str) -> Self {
        Self::joins_by(mode, Browser::start(), runner, room, name)
    }

    /// Is the first in a room, in a browser that already runs: in open mode by its name, in strict mode by creating it.
    pub(crate) fn joins_by(mode: Mode, browser: Browser, runner: &Runner, room: &str, name: &str) -> Self {
        match mode {
            Mode::Open => {
                browser.open(&runner.url);
                browser.type_into("[data-testid=join-room]", room);
                browser.type_into("[data-testid=join-name]", name);
                browser.click("[data-testid=join-submit]");
                Self::is_in(browser)
            }
            Mode::Strict => {
                let guest = Guest::at(browser, name);
                guest.creates(runner, room, &[], "");
                Self::is_in(guest.browser)
            }
        }
    }

    /// Starts a browser and joins the room of this person: by its name, or by its link where it was created.
    fn is_joined_by(&self, runner: &Runner, room: &str, name: &str) -> Self {
        if !self.member.has_token() {
            return Self::joins(Mode::Open, runner, room, name);
        }
        let guest = Guest::new(name);
        guest.asks(self.browser.run("return location.href;").as_str().unwrap(), "");
        Self::is_in(guest.browser)
    }

    /// Waits until the page shows the room.
    pub(crate) fn is_in(browser: Browser) -> Self {
        let person = Self { member: shown(&browser), browser };
        person.has_a_microphone();
        person
    }

    /// Leaves the room for good, by the button.
    fn leaves(&self, runner: &Runner) {
        if self.member.has_token() {
            // The last presenter cannot leave.
            let heir = self.member.brings(runner, "Heir", json!({"isMuted": true}));
            self.member.promotes(runner, &heir);
            self.browser.wait("document.querySelectorAll('[data-testid=participant-role]').length === 2");
        }
        self.browser.click("[data-testid=leave]");
        if self.member.has_token() {
            self.browser.click("[data-testid=leave-confirm]");
        }
        self.browser.wait("document.querySelector('[data-testid=join-submit], [data-testid=join-again]') !== null");
    }

    /// Joins the room that this person has left. Where rooms are created, they are another participant then.
    fn joins_again(&mut self) {
        if self.member.has_token() {
            self.browser.click("[data-testid=join-again]");
            self.browser.wait("document.querySelector('[data-testid=gate]') !== null");
        }
        self.browser.click("[data-testid=join-submit]");
        self.member = shown(&self.browser);
    }

    pub(crate) fn id(&self) -> &str {
        &self.member.id
    }

    /// Waits until the page has opened a microphone, and the server knows which one.
    fn has_a_microphone(&self) {
        self.browser.wait("document.querySelector('[data-testid=microphone]').dataset.status === 'live'");
        self.is_told();
    }

    /// Waits until the page has sent all its claims to the server.
    fn is_told(&self) {
        self.browser.wait("document.querySelector('[data-self=true]').dataset.sync === 'sent'");
    }

    /// Waits until this page shows this claim of the user `whom`, and returns the text of the card.
    fn sees(&self, whom: &str, muted: bool) -> String {
        let one = format!("[data-testid=participant][data-user-id='{whom}'][data-muted='{muted}']");
        self.browser.wait(&format!("document.querySelectorAll(`{one}`).length === 1"));
        let text = self.browser.run(&format!("return document.querySelector(`{one}`).innerText;"));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until this page shows this device of the user `whom`.
    fn sees_device(&self, whom: &str, label: &str) {
        let device = format!("[data-user-id='{whom}'] [data-testid=participant-device]");
        self.browser.wait(&format!("document.querySelector(`{device}`).innerText === '{label}'"));
    }

    /// Chooses another microphone and waits until it is open.
    fn chooses(&self, label: &str) {
        self.browser.run(&format!(
            "for (const o of document.querySelectorAll('[data-testid=device-select] option')) {{
               o.id = o.label === '{label}' ? 'wanted' : '';
             }}"
        ));
        self.browser.click("#wanted");
        self.browser.wait(&format!(
            "document.querySelector('[data-self=true] [data-testid=participant-device]').innerText === '{label}'"
        ));
    }

    /// Waits until the meter shows a level that is wanted, and returns the level, from 0 to 100.
    fn level(&self, wanted: impl Fn(u64) -> bool) -> u64 {
        let level = "Number(document.querySelector('[data-testid=level-meter]').dataset.level)";
        self.browser.wait_for(level, |value| value.as_u64().is_some_and(&wanted)).as_u64().unwrap()
    }

    fn is(&self, connection: &str) {
        self.browser.wait(&format!(
            "document.querySelector('[data-testid=connection-status]').dataset.state === '{connection}'"
        ));
    }

    /// Checks that the browser has logged no error and no violation of the content policy.
    #[track_caller]
    fn has_no_complaints(&self) {
        assert_eq!(self.browser.complaints(), Vec::<String>::new());
    }
}

/// The person in the room that the page shows, as soon as it shows one.
pub(crate) fn shown(browser: &Browser) -> Member {
    browser.wait("document.querySelector('[data-self=true]') !== null");
    // The tab keeps a ticket of a room that somebody created.
    Member::of(&browser.run(
        "return JSON.parse(sessionStorage.getItem('greenroom:tickets') ?? '[]')[0] ?? {
           participantId: document.querySelector('[data-self=true]').dataset.userId,
           roomId: document.querySelector('[data-testid=room-title]').title,
         };",
    ))
}

/// Waits until the stored state of a person has these members, and returns it.
#[track_caller]
fn stored(runner: &Runner, who: &Person, wanted: &Value) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = who.member.get(runner, &format!("/api/users/{}", who.id())).json();
        if wanted.as_object().unwrap().iter().all(|(name, value)| state[name] == *value) {
            return state;
        }
        assert!(Instant::now() < deadline, "{wanted} is not in {state}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    two_people_see_what_each_claims
}

fn two_people_see_what_each_claims(mode: Mode) {
    let runner = mode.runner();
    let ada = Person::joins(mode, &runner, "Weekly Sync", "Ada");
    let kind = if mode.is_open() { "u_" } else { "p_" };
    assert!(ada.id().starts_with(kind) && ada.id().len() == 28, "an id holds nothing of a name: {}", ada.id());
    let card = ada.sees(ada.id(), true);
    assert!(card.contains("You") && card.contains("Says muted") && card.contains("claimed, not verified"), "{card}");
    let room = if mode.is_open() { "weekly-sync" } else { &ada.member.room };
    let joined = stored(&runner, &ada, &json!({"isMuted": true, "roomId": room, "name": "Ada"}));
    let first = joined["deviceLabel"].as_str().unwrap().to_owned();
    ada.level(|level| level == 0);

    let bob = ada.is_joined_by(&runner, "weekly-sync", "Bob");
    ada.sees(bob.id(), true);
    bob.sees(ada.id(), true);
    bob.sees_device(ada.id(), &first);
    let name = "[data-self=false] .person-name";
    // Nobody else has a name that looks like hers, so no end of an id stands behind it.
    bob.browser.wait(&format!("document.querySelector('{name}').innerText.trim() === 'Ada'"));
    let age = format!("[data-user-id='{}'] [data-testid=participant-age]", ada.id());
    bob.browser.wait(&format!("/^[1-9][0-9]* s ago$/.test(document.querySelector(`{age}`).innerText)"));

    // Ada unmutes with the button, and the meter shows her microphone.
    ada.browser.click("[data-testid=mute-toggle]");
    ada.sees(ada.id(), false);
    stored(&runner, &ada, &json!({"isMuted": false}));
    assert!(bob.sees(ada.id(), false).contains("Says unmuted"));
    let loud = ada.level(|level| level > 20);
    ada.level(|level| level != loud);

    // Ada mutes with the key, and the meter shows nothing.
    ada.browser.press("m");
    ada.sees(ada.id(), true);
    stored(&runner, &ada, &json!({"isMuted": true}));
    bob.sees(ada.id(), true);
    ada.level(|level| level == 0);

    // A switch to another microphone keeps the mute as it is.
    let others = ada
        .browser
        .run("return [...document.querySelectorAll('[data-testid=device-select] option')].map((o) => o.label)");
    let others: Vec<_> = others.as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    let [second, third] = others.iter().filter(|label| **label != first).collect::<Vec<_>>()[..] else {
        panic!("three microphones, of which {first} is open: {others:?}")
    };
    ada.chooses(second);
    stored(&runner, &ada, &json!({"deviceLabel": second, "isMuted": true}));
    bob.sees_device(ada.id(), second);
    bob.sees(ada.id(), true);
    ada.level(|level| level == 0);
    ada.browser.press("M");
    ada.sees(ada.id(), false);
    ada.chooses(third);
    stored(&runner, &ada, &json!({"deviceLabel": third, "isMuted": false}));
    bob.sees_device(ada.id(), third);
    bob.sees(ada.id(), false);
    ada.level(|level| level > 20);

    let address = ada.browser.run("return location.search;");
    let room = ada.browser.run("return new URLSearchParams(location.search).get('room');");
    assert!(room.as_str().unwrap().starts_with("weekly-sync"), "{address}");
    // After a refresh the person, the room and the microphone are the same, and the person is muted: nobody is heard
    // because a page was opened.
    for muted in [false, true] {
        let before = stored(&runner, &ada, &json!({"isMuted": muted}));
        ada.browser.refresh();
        ada.sees(ada.id(), true);
        ada.has_a_microphone();
        ada.sees_device(ada.id(), third);
        ada.level(|level| level == 0);
        assert_eq!(ada.browser.run("return location.search;"), address);
        let members = ["deviceId", "deviceLabel", "roomId", "createdAt", "name"];
        let mut wanted: serde_json::Map<_, _> =
            members.iter().map(|name| ((*name).to_owned(), before[name].clone())).collect();
        wanted.insert("isMuted".to_owned(), true.into());
        stored(&runner, &ada, &wanted.into());
    }

    ada.leaves(&runner);
    bob.browser.wait(&format!("document.querySelector(`[data-user-id='{}']`) === null", ada.id()));
    // The state of a person who has left is removed, or it is not theirs any more.
    let left = ada.member.get(&runner, &format!("/api/users/{}", ada.id()));
    assert_eq!(left.status, if mode.is_open() { 404 } else { 401 }, "{}", left.text);
    ada.has_no_complaints();
    bob.has_no_complaints();
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    changes_made_while_the_server_is_away_are_sent_once_it_is_back
}

fn changes_made_while_the_server_is_away_are_sent_once_it_is_back(mode: Mode) {
    let directory = TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let runner = Runner::start(&[&["--data-dir", data], &mode.args()[..]].concat());
    let port = runner.url.rsplit(':').next().unwrap().to_owned();
    let ada = Person::joins(mode, &runner, "demo", "Ada");
    let before = stored(&runner, &ada, &json!({"isMuted": true}));
    ada.has_no_complaints();
    runner.kill();

    ada.is("reconnecting");
    let banner = ada.browser.run("return document.querySelector('[data-testid=connection-banner]').innerText;");
    assert!(banner.as_str().unwrap().contains("This page shows the room as it was"), "{banner}");
    for muted in [false, true, false] {
        ada.browser.press("m");
        ada.sees(ada.id(), muted);
    }
    ada.level(|level| level > 20);
    ada.browser.wait("document.querySelector('[data-testid=mute-state]').innerText.includes('not sent yet')");

    let runner = Runner::start(&[&["--data-dir", data, "--port", &port], &mode.args()[..]].concat());
    ada.is("online");
    ada.is_told();
    ada.browser.wait("document.querySelector('[data-testid=connection-banner]') === null");
    let after = stored(&runner, &ada, &json!({"isMuted": false}));
    assert_eq!(after["version"], before["version"].as_u64().unwrap() + 1, "one change, not three");
    // The log is in order, so all changes are logged before the line of this request.
    runner.log_of(&runner.get("/api/health"));
    let is_change = |line: &Value| {
        line["isCriticalEndpoint"] == true && !line["path"].as_str().is_some_and(|path| path.ends_with("/presence"))
    };
    let changes: Vec<_> = runner.log().into_iter().filter(is_change).collect();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!(changes[0]["path"], format!("/api/users/{}/mute", ada.id()));
    let complaints = ada.browser.complaints();
    let unreached = |line: &String| line.contains("net::ERR_");
    assert!(complaints.iter().all(unreached), "{complaints:#?}");
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_person_who_closes_the_page_leaves_the_room_and_comes_back_muted
}

fn a_person_who_closes_the_page_leaves_the_room_and_comes_back_muted(mode: Mode) {
    let runner = mode.runner();
    let ada = Person::joins(mode, &runner, "Комната 1", "Ада");
    stored(&runner, &ada, &json!({"isMuted": true, "name": "Ада", "roomId": ada.member.room}));
    assert_ne!(ada.member.room, "1", "a name in another script gives a room of its own");
    // Presses the key marked M on a keyboard without Latin letters.
    let press = "window.dispatchEvent(new KeyboardEvent('keydown', { key: 'ь', code: 'KeyM', bubbles: true }));";
    ada.browser.run(press);
    ada.sees(ada.id(), false);
    ada.is_told();
    assert_eq!(ada.member.listed(&runner), [ada.id()]);

    let link = ada.browser.run("return location.href;");
    ada.browser.open("about:blank");
    await_that("a closed page lets its person go", || ada.member.listed(&runner).is_empty());

    ada.browser.open(link.as_str().unwrap());
    ada.browser.wait("document.querySelector('[data-self=true]') !== null");
    ada.sees(ada.id(), true);
    ada.has_a_microphone();
    stored(&runner, &ada, &json!({"isMuted": true, "roomId": ada.member.room, "name": "Ада"}));
    await_that("a person who comes back is listed again", || ada.member.listed(&runner) == [ada.id()]);
    ada.has_no_complaints();
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_person_who_joins_again_before_the_leaving_is_over_stays_listed
}

fn a_person_who_joins_again_before_the_leaving_is_over_stays_listed(mode: Mode) {
    let runner = mode.runner();
    let mut ada = Person::joins(mode, &runner, "demo", "Ada");
    // The network delays the request that ends the first stay.
    ada.browser.run(
        "const ask = window.fetch;
         window.fetch = async (url, options) => {
           const isLeaving = options?.method === 'DELETE' || url.endsWith('/leave');
           if (isLeaving) await new Promise((done) => setTimeout(done, 1000));
           return ask(url, options);
         };",
    );
    ada.leaves(&runner);
    ada.joins_again();
    let [leaves, joins] = match mode {
        Mode::Open => ["DELETE /api/users/{userId}", "POST /api/users/{userId}/state"],
        Mode::Strict => ["POST /api/rooms/{room}/leave", "POST /api/rooms/{room}/join"],
    };
    // The log is in order, so what has been answered is logged before the line of this request.
    runner.log_of(&runner.get("/api/health"));
    // In strict mode, the join before the leaving is that of the other presenter.
    let log = runner.log();
    let left = log.iter().position(|line| line["route"] == leaves).unwrap();
    let joined = |lines: &[Value]| lines.iter().filter(|line| line["route"] == joins).count();
    assert!(joined(&log[..left]) == 1 && joined(&log[left..]) > 0, "{log:#?}");
    assert!(ada.member.listed(&runner).contains(&ada.member.id), "{:?}", ada.member);
    ada.has_no_complaints();
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_duplicated_tab_is_another_person_and_neither_mutes_nor_removes_the_first
}

fn a_duplicated_tab_is_another_person_and_neither_mutes_nor_removes_the_first(mode: Mode) {
    let runner = mode.runner();
    let ada = Person::joins(mode, &runner, "demo", "Ada");
    ada.browser.press("m");
    ada.sees(ada.id(), false);
    ada.is_told();
    let first = stored(&runner, &ada, &json!({"isMuted": false}));

    ada.browser.duplicate();
    // The copy has the session of the first tab, and must not use its id.
    ada.browser.wait("document.querySelector('[data-testid=join-submit]') !== null");
    assert_eq!(stored(&runner, &ada, &json!({}))["version"], first["version"]);
    ada.browser.click("[data-testid=join-submit]");
    ada.browser.wait("document.querySelector('[data-self=true]') !== null");
    let second = ada.browser.run("return document.querySelector('[data-self=true]').dataset.userId;");
    assert_ne!(second, ada.id());
    ada.sees(ada.id(), false);

    ada.browser.close_tab();
    await_that("the first tab alone stays", || ada.member.listed(&runner) == [ada.id()]);
    assert_eq!(stored(&runner, &ada, &json!({"isMuted": false}))["version"], first["version"]);
    ada.browser.press("m");
    ada.sees(ada.id(), true);
    stored(&runner, &ada, &json!({"isMuted": true}));
    ada.has_no_complaints();
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    an_agent_measures_for_the_person_whose_browser_holds_the_token
}

fn an_agent_measures_for_the_person_whose_browser_holds_the_token(mode: Mode) {
    let runner = mode.runner();
    let mut ada = Person::joins(mode, &runner, "demo", "Ada");
    ada.browser.click("[data-testid=pairing-start]");
    let code = ada.browser.wait_for("document.querySelector('[data-testid=pairing-code]').innerText", |text| {
        text.as_str().is_some_and(|text| text.contains('-') && text.len() < 24)
    });
    let stage = |ada: &Person, stage: &str| {
        ada.browser.wait(&format!("document.querySelector('[data-testid=pairing]').dataset.stage === '{stage}'"));
    };
    stage(&ada, "code");
    let key = witness::fresh_key();
    let reply = witness::enroll(&runner, &key, &witness::enrolment(ada.id(), code.as_str().unwrap(), &key));
    assert_eq!(reply.status, 201, "{}", reply.text);
    // Enrolment attaches no agent. The page attaches it by itself, because the person requested the code on this page.
    stage(&ada, "paired");
    let agent = stored(&runner, &ada, &json!({}))["agent"]["agentId"].clone();
    assert!(agent.is_string(), "{agent}");

    // Leaving detaches the agent, and joining again attaches it.
    ada.leaves(&runner);
    ada.joins_again();
    stage(&ada, "paired");
    ada.browser.refresh();
    stage(&ada, "paired");
    assert_eq!(stored(&runner, &ada, &json!({}))["agent"]["agentId"], agent);

    ada.browser.click("[data-testid=pairing-stop]");
    ada.browser.click("[data-testid=pairing-stop-confirm]");
    stage(&ada, "revoked");
    // The browser has deleted the token, so a refresh attaches no agent.
    ada.browser.refresh();
    stage(&ada, "none");
    ada.has_a_microphone();
    assert_eq!(stored(&runner, &ada, &json!({}))["agent"], Value::Null);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    the_page_shows_since_when_a_microphone_is_silent_until_it_is_heard
}

/// This test holds the agents' keys, so it decides what they attest.
fn the_page_shows_since_when_a_microphone_is_silent_until_it_is_heard(mode: Mode) {
    let runner = mode.runner();
    let ada = Person::joins(mode, &runner, "demo", "Ada");
    let claim = json!({"isMuted": true, "deviceId": "e3b0", "deviceLabel": "Desk Mic"});
    let bob = ada.member.brings(&runner, "bob", claim);
    let mut agents = [&ada.member, &bob].map(|member| Witness::paired_by(&runner, member));
    ada.browser.wait("document.querySelector('[data-testid=pairing]').dataset.stage === 'paired'");
    // The first device may be an alias, for which no agent can verify a claim.
    let listed = "return [...document.querySelectorAll('[data-testid=device-select] option')].map((o) => o.label);";
    let listed = ada.browser.run(listed);
    let plain = listed.as_array().unwrap().iter().filter_map(Value::as_str).rfind(|label| !label.contains("Default"));
    let plain = plain.unwrap();
    ada.chooses(plain);
    ada.is_told();
    let labels = [stored(&runner, &ada, &json!({}))["deviceLabel"].clone(), json!("Desk Mic")];
    let shown = format!(
        "return ['[data-testid=pairing-silence]', `[data-user-id='{}'] [data-testid=participant-silence]`,
                 `[data-user-id='{}'] [data-testid=participant-silence]`]
            .map((place) => document.querySelector(place)?.innerText ?? null);",
        ada.id(),
        bob.id
    );
    let mut is = |say: &dyn Fn() -> Value, wanted: &dyn Fn(&Value) -> bool| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            bob.stays(&runner);
            for (agent, label) in agents.iter_mut().zip(&labels) {
                let mut says = say();
                says["device"] = json!({"id": "pulseaudio:mic", "label": label, "unique": true});
                // The page may have sent a new claim in the meantime.
                if agent.attest(&runner, says).status != 200 {
                    agent.begin(&runner);
                }
            }
            let shown = ada.browser.run(&shown);
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{shown}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let begun = witness::now_ms() - 240_000;
    let silent =
        is(&|| json!({"silentSinceMs": begun}), &|shown| shown.as_array().unwrap().iter().all(Value::is_string));
    let says = |place: usize, words: &str| {
        let text = silent[place].as_str().unwrap();
        assert!(text.starts_with(words), "{text}");
    };
    says(0, "for 4 min, since ");
    says(1, "silent for 4 min");
    says(2, "silent for 4 min");
    is(&|| json!({"flag": "unmuted", "signal": "signal"}), &|shown| *shown == json!([null, null, null]));
    ada.has_no_complaints();
}

/// Finds everything that looks verified: elements that are marked as verified, texts that say "verified" without a
/// "not", check marks, and colours in which green exceeds red and blue by 15 %. The help is left out: it shows an
/// example of each mark.
const LOOKS_VERIFIED: &str = r"
    const found = [];
    for (const one of document.querySelectorAll('[data-verdict=verified], [data-safe=true], .chip-verified, .is-safe')) {
        if (!one.closest('dialog')) found.push(one.outerHTML.slice(0, 80));
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode;
        if (parentElement.closest('dialog')) continue;
        const rest = data.replace(/\b(not|nothing here is|un-?)\s*verified/gi, '');
        if (/verified|trusted|secure|[\u2705\u2713\u2714\u2611\u{1F7E2}\u{1F512}]/iu.test(rest)) found.push(data);
    }
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const parts = ['color', 'backgroundColor', 'borderTopColor', 'outlineColor', 'fill', 'stroke', 'accentColor'];
    for (const element of document.body.querySelectorAll('*')) {
        if (element.closest('dialog')) continue;
        for (const part of parts) {
            const colour = getComputedStyle(element)[part];
            if (!CSS.supports('color', colour)) continue;
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
            if (g > 1.15 * r && g > 1.15 * b) found.push(`${element.outerHTML.slice(0, 80)}: ${part} ${colour}`);
        }
    }
    return found;";

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    without_an_agent_nothing_on_the_page_looks_verified
}

fn without_an_agent_nothing_on_the_page_looks_verified(mode: Mode) {
    let runner = mode.runner();
    let ada = Person::joins(mode, &runner, "demo", "Ada");
    let claims =
        [("bob", json!({"isMuted": true, "deviceLabel": "USB", "deviceId": "1"})), ("eve", json!({"isMuted": false}))];
    let [bob, eve] = claims.map(|(name, claim)| ada.member.brings(&runner, name, claim));
    ada.sees(&bob.id, true);
    ada.sees(&eve.id, false);
    for scheme in ["light", "dark"] {
        ada.browser.prefer(scheme);
        ada.browser.wait(&format!("matchMedia('(prefers-color-scheme: {scheme})').matches"));
        assert_eq!(ada.browser.run(LOOKS_VERIFIED), json!([]), "{scheme}");
    }
    // The search works: it finds a card that looks verified.
    ada.browser.run(&format!(
        "const card = document.querySelector(`[data-user-id='{}']`).cloneNode(); card.dataset.verdict = 'verified';
         card.innerHTML = '<span class=\"chip chip-verified\">Muted, verified</span>'; document.body.append(card);",
        bob.id
    ));
    let found = ada.browser.run(LOOKS_VERIFIED);
    assert!(found.as_array().unwrap().len() > 3, "found by mark, class, text and colour: {found}");
    ada.browser.run("document.body.lastElementChild.remove();");

    let claims = "[...document.querySelectorAll('[data-testid=participant-claim]')].map((claim) => claim.innerText)";
    let claims = ada.browser.run(&format!("return {claims};"));
    for claim in claims.as_array().unwrap() {
        let claim = claim.as_str().unwrap();
        assert!(claim.starts_with("Says ") && claim.contains("not verified"), "{claim}");
    }
    let room = ada.browser.run("return document.querySelector('[data-testid=room-safe]').innerText;");
    let room = room.as_str().unwrap();
    assert!(room.contains("Not safe to assume silence: 1 unmuted, 2 not verified") && room.contains("eve"), "{room}");
    let note = ada.browser.run("return document.querySelector('.heading').innerText;");
    assert!(note.as_str().unwrap().contains("Nothing here is verified."), "{note}");

    ada.browser.click("[data-testid=help]");
    ada.browser.wait("document.querySelector('[data-testid=help-dialog]').open");
    let help = ada.browser.run("return document.querySelector('[data-testid=help-dialog]').innerText;");
    assert!(help.as_str().unwrap().contains("Without an agent nothing is verified."), "{help}");
    ada.browser.press("m");
    ada.sees(ada.id(), true);
    ada.browser.click("[data-testid=help-close]");

    // The page has loaded every file from this runner, with a content policy.
    let loaded = ada.browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name);");
    let loaded: BTreeSet<_> = loaded.as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    let files: Vec<_> = loaded.iter().filter(|url| !url.contains("/api/")).collect();
    assert!(files.len() > 10, "{files:?}");
    for url in files {
        let path = url.strip_prefix(&runner.url).unwrap_or_else(|| panic!("{url} is of another host"));
        let reply = runner.get(path);
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    ada.has_no_complaints();
}

/// In open mode alone: in strict mode nobody may read the figures, which the next test checks.
#[test]
#[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
fn the_operators_page_shows_the_figures_of_the_server() {
    let runner = Mode::Open.runner();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    // So many that they stay more than one in twenty, however often the page and this test ask.
    for _ in 0..20 {
        runner.patch("/api/users/nobody/mute", json!({"isMuted": true}));
    }
    runner.post("/api/rooms", json!({"title": "Weekly review", "presenterName": "Ada"}));
    // The page reads the rooms once a minute, so they are counted before it is opened.
    await_that("the room is counted", || runner.get("/api/analytics?days=1").json()["days"][0]["roomsCreated"] == 1);
    let browser = Browser::start();
    browser.open(&format!("{}/ops", runner.url));
    browser.wait("document.querySelectorAll('.chart path.line').length >= 8");
    browser.wait("[...document.querySelectorAll('path.line')].every((line) => line.getAttribute('d') !== '')");
    browser.wait("document.querySelectorAll('[data-testid=objective]').length === 4");
    browser.wait(
        "[...document.querySelectorAll('[data-testid=job]')].map((job) => job.dataset.met).join() === 'null,null'",
    );
    browser.wait("document.querySelector('[data-testid=rooms-created]')?.innerText === '1'");
    // Days without rooms are drawn as well, and no duration is known where no room ended.
    let bars = "[...document.querySelector('.rooms .chart').querySelectorAll('.bar')].map((bar) => bar.dataset.value)";
    browser.wait(&format!("{bars}.join() === '{}1'", "0,".repeat(29)));
    browser.wait("document.querySelector('[data-testid=rooms-minutes]').innerText === '–'");
    let text = browser.run("return document.body.innerText;");
    let text = text.as_str().unwrap();
    for shown in
        ["user_not_found", "PATCH /api/users/{userId}/mute", "unverified", "basic: p95 met", "basic: errors missed"]
    {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
    let words = browser.run("return document.querySelector('svg[role=img]').getAttribute('aria-label');");
    assert!(words.as_str().unwrap().starts_with("Response time, the last "), "{words}");
    runner.kill();
    browser.wait("document.querySelector('[data-testid=connection]')?.dataset.state === 'reconnecting'");
    browser.wait("document.querySelector('[data-testid=problem]')?.innerText.includes('does not answer')");
}

/// In strict mode alone: in open mode it shows the figures.
#[test]
#[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
fn the_operators_page_says_that_a_strict_server_shows_it_nothing() {
    let runner = Mode::Strict.runner();
    let browser = Browser::start();
    browser.open(&format!("{}/ops", runner.url));
    for problem in ["problem", "rooms-problem"] {
        browser.wait(&format!("document.querySelector('[data-testid={problem}]')?.innerText.includes('strict')"));
    }
}

#[test]
fn every_test_with_a_browser_runs_in_both_modes_or_says_why() {
    let mut explained = Vec::new();
    for (file, text) in sources("tests/api") {
        for (at, _) in text.match_indices("#[test]\n") {
            let (attributes, rest) = text[at..].split_once("fn ").unwrap();
            if ["has_chromium", "has_axe"].iter().any(|tool| attributes.contains(tool)) {
                let name = rest.split('(').next().unwrap();
                let comment = text[..at].rsplit("\n\n").next().unwrap();
                let why = ["/// In open mode alone: ", "/// In strict mode alone: "];
                let is_explained = why.iter().any(|why| comment.contains(why));
                assert!(
                    is_explained,
                    "{file}: {name} needs `in_both_modes!`, or a comment that begins with one of {why:?}"
                );
                explained.push(name.to_owned());
            }
        }
    }
    assert_eq!(explained.len(), 2, "the search finds those of the operators' page: {explained:?}");
}
