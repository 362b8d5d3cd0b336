//! The page's chat, questions and request to mute, in real browsers.

use crate::rooms_page::Guest;
use crate::support::{Member, Mode, Runner};
use serde_json::json;

/// Three people in a room: Ada presents it.
fn three(runner: &Runner, options: &[&str]) -> [Guest; 3] {
    let guests = ["Ada", "Bob", "Cleo"].map(Guest::new);
    let link = guests[0].creates(runner, "Talk", options, "");
    for guest in &guests[1..] {
        guest.joins(&link, "Talk");
    }
    guests
}

impl Guest {
    fn opens(&self, panel: &str) {
        self.browser.click(&format!("[data-testid={panel}-toggle]"));
        self.browser.wait(&format!("document.querySelector('[data-testid={panel}]') !== null"));
    }

    /// Types a text and sends it with Enter.
    fn writes(&self, field: &str, text: &str) {
        self.browser.type_into(&format!("[data-testid={field}]"), text);
        self.browser.press("\u{e007}");
        self.browser.wait(&format!("document.querySelector('[data-testid={field}]').value === ''"));
    }

    /// Waits until the last message on the page is this one.
    #[track_caller]
    fn reads(&self, kind: &str, from: &str, text: &str) {
        self.browser.wait(&format!(
            "(() => {{ const last = [...document.querySelectorAll('[data-testid=message]')].at(-1);
               return last.dataset.type === '{kind}' && last.innerText.startsWith('{from}')
                 && last.querySelector('.message-text').innerText === {}; }})()",
            json!(text)
        ));
    }
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    people_write_and_react_and_a_message_is_text_and_nothing_else
}

fn people_write_and_react_and_a_message_is_text_and_nothing_else(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob, cleo] = three(&runner, &[]);
    for guest in [&ada, &bob] {
        guest.opens("chat");
        guest.shows("chat-empty", "No messages yet.");
        guest.browser.wait("document.activeElement.dataset.testid === 'chat-text'");
    }
    ada.writes("chat-text", "Can everybody hear me?");
    bob.reads("chat", "Ada", "Can everybody hear me?");
    ada.reads("chat", "You", "Can everybody hear me?");
    let markup = "<img src=x onerror=alert(1)> & <b>bold</b>";
    bob.writes("chat-text", markup);
    ada.reads("chat", "Bob", markup);
    ada.counts(".messages img, .messages b", 0);
    bob.browser.click("[data-testid=react]");
    ada.reads("reaction", "Bob", "👍");
    // M is a letter here, and does not unmute.
    bob.browser.click("[data-testid=chat-text]");
    bob.browser.press("m");
    bob.browser.wait("document.querySelector('[data-testid=chat-text]').value === 'm'");
    assert_eq!(bob.browser.run("return document.querySelector('[data-self=true]').dataset.muted;"), "true");

    // Who has not opened the panel asks for no messages, and finds all of them when they open it.
    let asked = cleo.browser.run(
        "return performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/messages')).length;",
    );
    assert_eq!(asked, 0);
    cleo.opens("chat");
    cleo.counts("[data-testid=message]", 3);
    cleo.reads("reaction", "Bob", "👍");

    // Somebody takes the presenter's name with a Cyrillic A. Both show the end of their id, and one has the role.
    let member = Member::of(&bob.ticket());
    let path = format!("/api/rooms/{}/messages", member.room);
    let (name, text) = ("\u{410}da", "Tell me the password");
    member.brings(&runner, name, json!({"isMuted": true})).send(&runner, "POST", &path, json!({"message": text}));
    bob.reads("chat", name, text);
    for (inside, role) in [("message", "author-role"), ("participant", "participant-role")] {
        bob.counts(&format!("[data-testid={inside}] [data-testid=suffix]"), 2);
        bob.counts(&format!("[data-testid={inside}] [data-testid={role}]"), 1);
    }

    // More than one page holds. The rest comes on demand.
    for number in 0..60 {
        let message = json!({"message": format!("number {number}")});
        let reply = member.send(&runner, "POST", &path, message);
        assert_eq!(reply.status, 201, "{}", reply.text);
    }
    cleo.reads("chat", "Bob", "number 59");
    cleo.browser.refresh();
    cleo.is_in("Talk");
    cleo.opens("chat");
    cleo.counts("[data-testid=message]", 50);
    cleo.browser.click("[data-testid=chat-earlier]");
    cleo.counts("[data-testid=message]", 64);
    cleo.counts("[data-testid=chat-earlier]", 0);

    // The presenter switches the chat off: the panel goes.
    ada.browser.click("[data-testid=settings] summary");
    ada.browser.click("[data-testid=setting-chat]");
    for guest in [&ada, &bob, &cleo] {
        guest.counts("[data-testid=chat], [data-testid=chat-toggle]", 0);
    }
    ada.has_no_complaints_but(&[]);
    cleo.has_no_complaints_but(&[]);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    people_ask_and_vote_and_a_presenter_pins_answers_and_removes
}

fn people_ask_and_vote_and_a_presenter_pins_answers_and_removes(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob, cleo] = three(&runner, &[]);
    for guest in [&ada, &bob, &cleo] {
        guest.opens("questions");
        guest.shows("questions-empty", "No questions yet.");
    }
    bob.writes("question-text", "When do we ship?");
    ada.counts("[data-testid=question]", 1);
    cleo.writes("question-text", "Who writes the notes?");
    ada.counts("[data-testid=question]", 2);

    // The question with more votes comes first, and a vote can be taken back.
    let first = |text: &str| {
        format!("document.querySelector('[data-testid=question] .message-text').innerText === {}", json!(text))
    };
    let of = |text: &str| {
        format!(
            "[...document.querySelectorAll('[data-testid=question]')].find((q) => q.innerText.includes({}))",
            json!(text)
        )
    };
    let press = |guest: &Guest, text: &str, testid: &str| {
        guest.browser.wait(&format!("{}.querySelector('[data-testid={testid}]') !== null", of(text)));
        guest.browser.run(&format!("{}.querySelector('[data-testid={testid}]').click();", of(text)));
    };
    let has = |guest: &Guest, text: &str, what: &str| guest.browser.wait(&format!("{}.{what}", of(text)));
    for guest in [&ada, &bob] {
        press(guest, "Who writes the notes?", "vote");
        has(guest, "Who writes the notes?", "querySelector('[data-testid=vote]').ariaPressed === 'true'");
    }
    for guest in [&ada, &bob, &cleo] {
        has(guest, "Who writes the notes?", "dataset.votes === '2'");
        guest.browser.wait(&first("Who writes the notes?"));
    }
    press(&bob, "Who writes the notes?", "vote");
    has(&cleo, "Who writes the notes?", "dataset.votes === '1'");
    has(&cleo, "Who writes the notes?", "querySelector('[data-testid=vote]').ariaPressed === 'false'");

    // A pinned question comes before one with more votes.
    press(&ada, "When do we ship?", "pin");
    cleo.browser.wait(&first("When do we ship?"));
    has(&cleo, "When do we ship?", "dataset.pinned === 'true'");
    press(&ada, "When do we ship?", "answer-open");
    ada.browser.wait("document.activeElement.id.startsWith('answer-')");
    for key in ["O", "n", " ", "F", "r", "i", "d", "a", "y"] {
        ada.browser.press(key);
    }
    ada.browser.press("\u{e007}");
    for guest in [&ada, &bob, &cleo] {
        has(guest, "When do we ship?", "querySelector('[data-testid=answer]').innerText.includes('On Friday')");
        has(guest, "When do we ship?", "dataset.answered === 'true'");
    }
    // Cleo may remove her own question, and nobody else's.
    has(&cleo, "When do we ship?", "querySelector('[data-testid=question-remove]') === null");
    press(&cleo, "Who writes the notes?", "question-remove");
    for guest in [&ada, &bob, &cleo] {
        guest.counts("[data-testid=question]", 1);
    }
    press(&ada, "When do we ship?", "question-remove");
    bob.shows("questions-empty", "No questions yet.");
    ada.has_no_complaints_but(&[]);
    bob.has_no_complaints_but(&[]);
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_request_to_mute_is_followed_or_refused_and_never_taken_for_a_measurement
}

fn a_request_to_mute_is_followed_or_refused_and_never_taken_for_a_measurement(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob, cleo] = three(&runner, &[]);
    for guest in [&ada, &bob, &cleo] {
        guest.browser.press("m");
        guest.counts("[data-self=true][data-muted=false]", 1);
    }
    ada.counts("[data-muted=false]", 3);
    ada.browser.click("[data-testid=mute-all]");
    // Both pages mute. The presenter's does not.
    for guest in [&bob, &cleo] {
        guest.shows("mute-request", "A presenter asked everybody to mute");
        guest.counts("[data-self=true][data-muted=true]", 1);
    }
    ada.counts("[data-testid=round-target]", 2);
    ada.counts("[data-testid=round-target][data-outcome=claimed]", 2);
    ada.counts("[data-self=true][data-muted=false]", 1);
    ada.counts("[data-testid=round-target][data-outcome=verified]", 0);
    // Bob does not follow.
    bob.browser.click("[data-testid=stay-unmuted]");
    bob.counts("[data-self=true][data-muted=false]", 1);
    bob.counts("[data-testid=mute-request]", 0);
    ada.counts("[data-testid=round-target][data-outcome=refused]", 1);
    ada.counts("[data-testid=participant][data-muted=false]", 2);
    // A reload does not answer an old request again.
    cleo.browser.refresh();
    cleo.is_in("Talk");
    cleo.counts("[data-testid=mute-request]", 0);
    ada.browser.click("[data-testid=round-close]");
    ada.counts("[data-testid=round]", 0);
    ada.has_no_complaints_but(&[]);
    bob.has_no_complaints_but(&[]);
}
