//! The page in rooms that somebody created, in real browsers: create, join, wait, lead, leave, end.

use crate::support::webdriver::Browser;
use crate::support::{Member, Mode, Reply, Runner, await_that};
use serde_json::{Value, json};

/// A person at the page in a browser.
pub(crate) struct Guest {
    pub(crate) browser: Browser,
    name: String,
}

impl Guest {
    /// Opens a browser. Nobody is in a room yet.
    pub(crate) fn new(name: &str) -> Self {
        Self::at(Browser::start(), name)
    }

    /// Takes a browser that already runs.
    pub(crate) fn at(browser: Browser, name: &str) -> Self {
        Self { browser, name: name.to_owned() }
    }

    /// Creates a room by the form, with these options and password, and is in it. Returns the link to it.
    pub(crate) fn creates(&self, runner: &Runner, title: &str, options: &[&str], password: &str) -> String {
        self.browser.open(&runner.url);
        self.browser.wait("document.querySelector('[data-testid=tab-create]') !== null");
        self.browser.click("[data-testid=tab-create]");
        self.browser.wait("document.querySelector('[data-testid=create-title]') !== null");
        self.browser.type_into("[data-testid=create-title]", title);
        self.browser.type_into("[data-testid=create-name]", &self.name);
        if !password.is_empty() {
            self.browser.type_into("[data-testid=create-password]", password);
        }
        for option in options {
            self.browser.click(&format!("[data-testid=create-{option}]"));
        }
        self.browser.click("[data-testid=create-submit]");
        self.is_in(title);
        self.browser.run("return location.href;").as_str().unwrap().to_owned()
    }

    /// Opens the link to a created room, and fills in the form.
    pub(crate) fn asks(&self, link: &str, password: &str) {
        asks(&self.browser, link, &self.name, password);
    }

    /// Replaces what a field holds.
    fn retypes(&self, field: &str, text: &str) {
        self.browser.run(&format!("document.querySelector('[data-testid={field}]').select();"));
        self.browser.type_into(&format!("[data-testid={field}]"), text);
    }

    /// Joins a created room by its link.
    pub(crate) fn joins(&self, link: &str, title: &str) {
        self.asks(link, "");
        self.is_in(title);
    }

    /// Waits until this person is in the room, and the server has their claim and knows their microphone.
    pub(crate) fn is_in(&self, title: &str) {
        self.shows("room-title", title);
        self.browser.wait("document.querySelector('[data-self=true]').dataset.sync === 'sent'");
        self.browser.wait("document.querySelector('[data-testid=microphone]').dataset.status === 'live'");
        self.browser.wait("document.querySelector('[data-self=true]').dataset.sync === 'sent'");
    }

    /// Waits until an element has a text that holds this one.
    #[track_caller]
    pub(crate) fn shows(&self, testid: &str, text: &str) {
        self.browser
            .wait(&format!("document.querySelector('[data-testid={testid}]').innerText.includes({})", json!(text)));
    }

    /// Waits until so many elements match.
    #[track_caller]
    pub(crate) fn counts(&self, selector: &str, count: usize) {
        self.browser.wait(&format!("document.querySelectorAll(`{selector}`).length === {count}"));
    }

    /// Waits until the stay is over for this reason.
    #[track_caller]
    fn is_over(&self, kind: &str) {
        self.browser.wait(&format!("document.querySelector('[data-testid=over]').dataset.kind === '{kind}'"));
    }

    /// What the tab keeps of the room.
    pub(crate) fn ticket(&self) -> Value {
        self.browser.run("return JSON.parse(sessionStorage.getItem('greenroom:tickets'))[0];")
    }

    /// The card of another person, as a selector.
    pub(crate) fn card_of(other: &Self) -> String {
        format!("[data-testid=participant][data-user-id=\"{}\"]", other.ticket()["participantId"].as_str().unwrap())
    }

    /// Reads the room with this person's token.
    fn room(&self, runner: &Runner) -> Reply {
        let member = Member::of(&self.ticket());
        member.get(runner, &format!("/api/rooms/{}", member.room))
    }

    /// Ends the room by the button of a presenter.
    fn ends(&self) {
        self.browser.click("[data-testid=end]");
        self.browser.wait("document.querySelector('[data-testid=end-dialog]').open");
        self.browser.click("[data-testid=end-confirm]");
        self.is_over("ended");
    }

    /// Checks that the browser has logged no error but refusals with these statuses, which it logs by itself.
    #[track_caller]
    pub(crate) fn has_no_complaints_but(&self, statuses: &[u16]) {
        let is_known = |line: &String| statuses.iter().any(|status| line.contains(&format!("status of {status}")));
        let complaints: Vec<_> = self.browser.complaints().into_iter().filter(|line| !is_known(line)).collect();
        assert_eq!(complaints, Vec::<String>::new());
    }
}

/// Opens the link to a created room in this browser, and fills in the form.
pub(crate) fn asks(browser: &Browser, link: &str, name: &str, password: &str) {
    browser.open(link);
    browser.wait("document.querySelector('[data-testid=gate]') !== null");
    browser.run("document.querySelector('[data-testid=join-name]').select();");
    browser.type_into("[data-testid=join-name]", name);
    if !password.is_empty() {
        browser.type_into("[data-testid=join-password]", password);
    }
    browser.click("[data-testid=join-submit]");
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    three_people_meet
}

/// Three people meet: one leads, one may speak after asking, one is removed. A reload keeps everybody's place.
fn three_people_meet(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob, cleo] = ["Ada", "Bob", "Cleo"].map(Guest::new);
    let link = ada.creates(&runner, "Weekly review", &["moderated"], "sesame");
    assert!(link.contains("/?room=weekly-review-"), "{link}");

    // A wrong password is refused beside its field, and the field keeps the focus.
    bob.asks(&link, "wrong");
    bob.shows("join-password-hint", "This is not the room’s password.");
    bob.browser.wait("document.activeElement.dataset.testid === 'join-password'");
    for guest in [&bob, &cleo] {
        guest.asks(&link, "sesame");
        guest.is_in("Weekly review");
    }
    for guest in [&ada, &bob, &cleo] {
        guest.counts("[data-testid=participant]", 3);
        guest.counts("[data-testid=participant-role]", 1);
        guest.counts("[data-muted=false]", 0);
    }
    let note = "document.querySelector('[data-testid=open-note]') !== null";
    if mode.is_open() {
        ada.browser.wait(note);
    }
    assert_eq!(bob.browser.run(&format!("return {note};")), mode.is_open(), "who may act for whom");
    // Only a presenter has tools.
    let tools = "[data-testid=person-tools], [data-testid=end], [data-testid=mute-all], [data-testid=settings]";
    bob.counts(tools, 0);
    ada.counts(tools, 5);

    // Bob may not unmute until he is allowed to.
    bob.browser.press("m");
    bob.shows("mute-state", "a presenter must allow it first");
    bob.browser.click("[data-testid=hand]");
    bob.browser.wait("document.querySelector('[data-testid=hand]').getAttribute('aria-pressed') === 'true'");
    let card = Guest::card_of(&bob);
    ada.counts(&format!("{card} [data-testid=participant-hand]"), 1);
    ada.shows("announcer", "Bob raises a hand.");
    ada.browser.click(&format!("{card} [data-testid=allow]"));
    bob.counts("[data-self=true] [data-testid=participant-permission]", 1);
    ada.counts(&format!("{card} [data-testid=participant-hand]"), 0);
    assert_eq!(bob.browser.run("return document.querySelector('[data-self=true]').dataset.muted;"), "true");
    bob.browser.press("m");
    ada.counts(&format!("{card}[data-muted=false]"), 1);
    cleo.counts(&format!("{card}[data-muted=false]"), 1);
    // The permission is taken back, and Bob's page mutes.
    ada.browser.click(&format!("{card} [data-testid=allow]"));
    bob.browser.wait("document.querySelector('[data-self=true]').dataset.muted === 'true'");
    ada.counts(&format!("{card}[data-muted=true]"), 1);

    // A reload is the same participant, muted.
    ada.browser.click(&format!("{card} [data-testid=allow]"));
    bob.counts("[data-self=true] [data-testid=participant-permission]", 1);
    bob.browser.press("m");
    ada.counts(&format!("{card}[data-muted=false]"), 1);
    let before = bob.ticket();
    bob.browser.refresh();
    bob.is_in("Weekly review");
    assert_eq!(bob.ticket()["participantId"], before["participantId"]);
    ada.counts(&format!("{card}[data-muted=true]"), 1);
    ada.counts("[data-testid=participant]", 3);
    ada.browser.refresh();
    ada.is_in("Weekly review");
    ada.counts("[data-testid=end]", 1);

    // Cleo is removed, is told so, and may come back as another participant.
    let card = Guest::card_of(&cleo);
    let removed = cleo.ticket();
    ada.counts(&card, 1);
    ada.browser.click(&format!("{card} [data-testid=remove]"));
    ada.browser.wait("document.querySelector('dialog[open]') !== null");
    ada.browser.click("dialog[open] [data-testid=remove-confirm]");
    cleo.is_over("removed");
    ada.counts("[data-testid=participant]", 2);
    cleo.browser.click("[data-testid=join-again]");
    cleo.browser.wait("document.querySelector('[data-testid=gate]') !== null");
    cleo.browser.type_into("[data-testid=join-password]", "sesame");
    cleo.browser.click("[data-testid=join-submit]");
    cleo.is_in("Weekly review");
    assert_ne!(cleo.ticket()["participantId"], removed["participantId"]);

    // Ada ends the room: everybody is told so, and she sees what happened, also after a reload.
    ada.ends();
    for guest in [&bob, &cleo] {
        guest.is_over("ended");
        guest.counts("[data-testid=stats]", 0);
    }
    for _ in 0..2 {
        ada.shows("stats-totalParticipants", "4");
        ada.shows("stats-maxConcurrentParticipants", "3");
        ada.browser.refresh();
    }
    cleo.browser.open(&link);
    cleo.is_over("ended");

    // No address holds a token.
    for guest in [&ada, &bob] {
        let loaded = guest.browser.run("return performance.getEntriesByType('resource').map((e) => e.name).join(' ');");
        assert!(!loaded.as_str().unwrap().contains(removed["token"].as_str().unwrap().split('.').next().unwrap()));
    }
    ada.has_no_complaints_but(&[]);
    bob.has_no_complaints_but(&[401, 410]);
    cleo.has_no_complaints_but(&[401, 410]);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_person_in_the_lobby_is_heard_by_nobody_until_a_presenter_lets_them_in
}

fn a_person_in_the_lobby_is_heard_by_nobody_until_a_presenter_lets_them_in(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob, cleo] = ["Ada", "Bob", "Cleo"].map(Guest::new);
    let link = ada.creates(&runner, "Interview", &["lobby"], "");
    for guest in [&bob, &cleo] {
        guest.asks(&link, "");
        guest.shows("lobby", "Waiting to be let in");
    }
    ada.counts("[data-testid=waiting-person]", 2);
    ada.shows("waiting", "Waiting to be let in (2)");
    ada.counts("[data-testid=participant]", 1);
    // A reload goes on waiting: it is the same person.
    bob.browser.refresh();
    bob.shows("lobby", "Waiting to be let in");
    ada.counts("[data-testid=waiting-person]", 2);

    let first = "[data-testid=waiting-person]:first-child";
    ada.browser.click(&format!("{first} [data-testid=admit]"));
    bob.is_in("Interview");
    assert_eq!(bob.browser.run("return document.querySelector('[data-self=true]').dataset.muted;"), "true");
    bob.counts("[data-testid=waiting]", 0);
    ada.counts("[data-testid=waiting-person]", 1);
    ada.browser.click(&format!("{first} [data-testid=turn-away]"));
    cleo.is_over("turned-away");
    ada.counts("[data-testid=waiting]", 0);

    // Without the lobby, Cleo walks in. She does not want to wait any longer, and leaves.
    ada.browser.click("[data-testid=settings] summary");
    ada.browser.click("[data-testid=setting-lobby]");
    await_that("the lobby is off", || ada.room(&runner).json()["room"]["settings"]["lobby"] == false);
    // The room gets another title and a password. A size that no room can have is refused beside its field.
    ada.browser.click("[data-testid=room-change]");
    ada.browser.wait("document.activeElement.dataset.testid === 'change-title'");
    ada.retypes("change-title", "Second interview");
    ada.retypes("change-size", "1");
    ada.retypes("change-password", "sesame");
    ada.browser.click("[data-testid=change-save]");
    ada.shows("change-size-hint", "Enter a whole number from 2 to 1000.");
    ada.browser.wait("document.activeElement.dataset.testid === 'change-size'");
    ada.retypes("change-size", "3");
    ada.browser.click("[data-testid=change-save]");
    ada.counts("[data-testid=change-save]", 0);
    ada.browser.wait("document.activeElement.innerText === 'Settings'");
    for guest in [&ada, &bob] {
        guest.shows("room-title", "Second interview");
    }
    cleo.asks(&link, "sesame");
    cleo.is_in("Second interview");
    // What somebody else changes is shown in the form.
    ada.browser.click("[data-testid=settings] summary");
    ada.browser.click("[data-testid=room-change]");
    ada.retypes("change-size", "7");
    let ticket = ada.ticket();
    let bearer = format!("Bearer {}", ticket["token"].as_str().unwrap());
    let path = format!("/api/rooms/{}", ticket["roomId"].as_str().unwrap());
    let reply = runner.send_json("PATCH", &path, &[("authorization", &bearer)], json!({"maxParticipants": 5}));
    assert_eq!(reply.status, 200, "{}", reply.text);
    ada.shows("change-size-hint", "Somebody else has changed this meanwhile.");
    ada.browser.wait("document.querySelector('[data-testid=change-size]').value === '5'");
    ada.browser.click("[data-testid=change-open]");
    ada.browser.click("[data-testid=change-save]");
    await_that("the password is gone", || ada.room(&runner).json()["room"]["hasPassword"] == false);
    cleo.browser.click("[data-testid=leave]");
    cleo.is_over("left");
    ada.counts("[data-testid=participant]", 2);

    // Bob is removed. While his page asks whether the room goes on, no key opens his microphone.
    bob.browser.run(
        "window.opened = 0;
         const { mediaDevices } = navigator;
         const open = mediaDevices.getUserMedia.bind(mediaDevices);
         mediaDevices.getUserMedia = (wanted) => { window.opened += 1; return open(wanted); };
         const ask = window.fetch;
         window.fetch = async (url, options) => {
           if (!options.headers.authorization) await new Promise((done) => setTimeout(done, 1500));
           return ask(url, options);
         };",
    );
    ada.browser.click("[data-testid=remove]");
    ada.browser.click("dialog[open] [data-testid=remove-confirm]");
    bob.browser.wait("document.querySelector('[data-testid=looking]') !== null");
    bob.browser.press("m");
    bob.is_over("removed");
    bob.browser.press("m");
    assert_eq!(bob.browser.run("return window.opened;"), 0);
    ada.has_no_complaints_but(&[]);
    // The browser logs the answers that mean "wait", and those that mean "go".
    bob.has_no_complaints_but(&[401, 403]);
    cleo.has_no_complaints_but(&[401, 403]);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_closed_tab_leaves_at_once_and_a_restored_one_is_the_same_person_muted
}

fn a_closed_tab_leaves_at_once_and_a_restored_one_is_the_same_person_muted(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob] = ["Ada", "Bob"].map(Guest::new);
    let link = ada.creates(&runner, "Restored", &[], "");
    bob.joins(&link, "Restored");
    bob.browser.press("m");
    let card = Guest::card_of(&bob);
    ada.counts(&format!("{card}[data-muted=false]"), 1);
    let before = bob.ticket();

    // The closing report carries a token, and is accepted. Without it, Bob would be listed for 35 s.
    bob.browser.open("about:blank");
    runner.await_log(|line| line["route"] == "POST /api/rooms/{room}/leave" && line["statusCode"] == 200);
    await_that("Bob is not listed", || ada.room(&runner).json()["participants"].as_array().unwrap().len() == 1);
    ada.counts("[data-testid=participant]", 1);

    bob.browser.back();
    bob.is_in("Restored");
    assert_eq!(bob.ticket()["participantId"], before["participantId"]);
    ada.counts(&format!("{card}[data-muted=true]"), 1);

    // A duplicated tab has the ticket, and does not use it.
    bob.browser.duplicate();
    bob.browser.wait("document.querySelector('[data-testid=gate]') !== null");
    bob.browser.click("[data-testid=join-submit]");
    bob.is_in("Restored");
    assert_ne!(bob.ticket()["participantId"], before["participantId"]);
    ada.counts("[data-testid=participant]", 3);
    bob.browser.close_tab();
    ada.counts("[data-testid=participant]", 2);
    ada.has_no_complaints_but(&[]);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_presenter_who_leaves_is_asked_and_a_room_may_have_two
}

fn a_presenter_who_leaves_is_asked_and_a_room_may_have_two(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob] = ["Ada", "Bob"].map(Guest::new);
    let link = ada.creates(&runner, "Handover", &[], "");
    bob.joins(&link, "Handover");
    let card = Guest::card_of(&bob);
    ada.counts(&card, 1);
    // Escape closes the dialog, and the focus is where it was.
    ada.browser.click("[data-testid=leave]");
    ada.shows("leave-dialog", "You are the only presenter here.");
    ada.browser.press("\u{e00c}");
    ada.browser.wait("!document.querySelector('[data-testid=leave-dialog]').open");
    ada.browser.wait("document.activeElement.dataset.testid === 'leave'");

    ada.browser.click(&format!("{card} [data-testid=make-presenter]"));
    bob.counts("[data-testid=end]", 1);
    bob.shows("announcer", "You are a presenter now.");
    ada.counts(&format!("{card} [data-testid=participant-role]"), 1);
    ada.browser.click("[data-testid=leave]");
    ada.shows("leave-dialog", "The room goes on.");
    ada.browser.click("[data-testid=leave-confirm]");
    ada.is_over("left");
    bob.counts("[data-testid=participant]", 1);
    bob.ends();
    bob.shows("stats-totalParticipants", "2");
    ada.browser.click("[data-testid=join-again]");
    ada.is_over("ended");
    bob.has_no_complaints_but(&[]);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_link_that_leads_nowhere_says_so_and_a_link_can_be_pasted
}

fn a_link_that_leads_nowhere_says_so_and_a_link_can_be_pasted(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob] = ["Ada", "Bob"].map(Guest::new);
    let link = ada.creates(&runner, "Комната", &[], "");
    // In open mode, any other name leads to a room that is there as soon as somebody joins it.
    let names: &[_] = if mode.is_open() { &[] } else { &["demo", "weekly-review-4f7k2m9q3x8tn"] };
    for nowhere in names.iter().chain(&["rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE"]) {
        bob.browser.open(&format!("{}/?room={nowhere}", runner.url));
        bob.shows("join-room-hint", "There is no such room.");
        bob.browser.wait("document.activeElement.dataset.testid === 'join-room'");
    }
    bob.browser.open(&runner.url);
    bob.browser.wait("document.querySelector('[data-testid=join-room]') !== null");
    bob.browser.type_into("[data-testid=join-room]", &link);
    bob.browser.type_into("[data-testid=join-name]", "Bob");
    bob.browser.click("[data-testid=join-submit]");
    bob.is_in("Комната");
    ada.counts("[data-testid=participant]", 2);
    bob.has_no_complaints_but(&[401, 404]);
}
