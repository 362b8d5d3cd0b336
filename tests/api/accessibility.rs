//! The page for everybody: axe-core finds nothing on any screen, in either scheme, on a desktop and on a phone.
//!
//! <https://github.com/dequelabs/axe-core/blob/develop/doc/API.md>

use crate::rooms_page::Guest;
use crate::support::Mode;
use serde_json::{Value, json};
use std::{env, fs};

/// axe-core's rules for WCAG 2.2 A and AA, and its best practices.
const CHECK: &str = "return axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} ${node.failureSummary}`).join('; ')}`));";

/// Looks at what this person sees now, in both schemes and on both screens.
#[track_caller]
fn is_clean(guest: &Guest, screen: &str) {
    // A page keeps the script until it is loaded anew.
    if guest.browser.run("return window.axe === undefined;") == true {
        let axe = env::var("AXE_CORE").expect("AXE_CORE is set, as when this test was built");
        guest.browser.run(&fs::read_to_string(axe).unwrap());
    }
    for (width, height, phone) in [(1280, 900, false), (390, 844, true)] {
        guest.browser.resize(width, height, phone);
        for scheme in ["light", "dark"] {
            guest.browser.prefer(scheme);
            guest.browser.wait(&format!("matchMedia('(prefers-color-scheme: {scheme})').matches"));
            // A transition changes colours for a moment.
            guest
                .browser
                .wait("document.getAnimations().every((one) => one.effect.getTiming().iterations === Infinity)");
            let found = guest.browser.run(CHECK);
            assert_eq!(found, json!([]), "{screen}, {scheme}, {width} px");
            let spills = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(guest.browser.run(&format!("return {spills};")), false, "{screen} is too wide for {width} px");
        }
    }
    guest.browser.resize(1280, 900, false);
}

in_both_modes! {
    #[cfg_attr(not(has_axe), ignore = "needs chromium, chromedriver and axe-core; .ci/run fetches it")]
    every_screen_outside_a_room_is_accessible
}

fn every_screen_outside_a_room_is_accessible(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob] = ["Ada", "Bob"].map(Guest::new);
    bob.browser.open(&runner.url);
    bob.browser.wait("document.querySelector('[data-testid=join-room]') !== null");
    is_clean(&bob, "the form to join");
    // The check works: it finds a picture without a text, and letters that hardly differ from their ground.
    bob.browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<main><img src=/favicon.svg><p class=age>faint</p></main>');
         document.body.lastElementChild.lastElementChild.style.color = 'var(--line)';",
    );
    let found = bob.browser.run(CHECK).to_string();
    assert!(found.contains("image-alt") && found.contains("color-contrast"), "{found}");
    bob.browser.run("document.body.lastElementChild.remove();");
    bob.browser.click("[data-testid=join-submit]");
    bob.shows("join-room-hint", "Enter a room name");
    is_clean(&bob, "the form to join, refused");
    // The tabs answer to the keyboard.
    bob.browser.run("document.querySelector('[data-testid=tab-join]').focus();");
    bob.browser.press("\u{e014}");
    bob.browser.wait("document.activeElement.dataset.testid !== 'tab-join'");
    bob.browser.wait("document.querySelector('[data-testid=create-title]') !== null");
    is_clean(&bob, "the form to create");
    bob.browser.click("[data-testid=create-submit]");
    bob.shows("create-title-hint", "Enter a title");
    is_clean(&bob, "the form to create, refused");
    bob.browser.click("[data-testid=help]");
    is_clean(&bob, "the help");

    let link = ada.creates(&runner, "Weekly review", &["lobby"], "sesame");
    bob.asks(&link, "wrong");
    bob.shows("join-password-hint", "This is not the room’s password.");
    is_clean(&bob, "the gate, refused");
    bob.asks(&link, "sesame");
    bob.shows("lobby", "Waiting to be let in");
    is_clean(&bob, "the lobby");
    ada.counts("[data-testid=waiting-person]", 1);
    is_clean(&ada, "the room with somebody in the lobby");
    ada.browser.click("[data-testid=turn-away]");
    bob.browser.wait("document.querySelector('[data-testid=over]') !== null");
    is_clean(&bob, "the end of a stay");
    ada.browser.click("[data-testid=end]");
    ada.browser.wait("document.querySelector('[data-testid=end-dialog]').open");
    is_clean(&ada, "the question before the end");
    ada.browser.click("[data-testid=end-confirm]");
    ada.browser.wait("document.querySelector('[data-testid=stats]') !== null");
    is_clean(&ada, "the figures");
}

in_both_modes! {
    #[cfg_attr(not(has_axe), ignore = "needs chromium, chromedriver and axe-core; .ci/run fetches it")]
    a_room_is_accessible
}

fn a_room_is_accessible(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob] = ["Ada", "Bob"].map(Guest::new);
    let link = ada.creates(&runner, "Weekly review", &["moderated"], "");
    is_clean(&ada, "a room with one person");
    bob.browser.open(&format!("{}/ops", runner.url));
    if mode.is_open() {
        bob.browser.wait("document.querySelectorAll('.chart path.line').length > 0");
        bob.browser.wait("document.querySelectorAll('.rooms svg').length === 3");
    } else {
        bob.browser.wait("document.querySelector('[data-testid=rooms-problem]') !== null");
    }
    is_clean(&bob, "the operator's page");
    bob.joins(&link, "Weekly review");
    bob.browser.press("m");
    bob.shows("mute-state", "a presenter must allow it first");
    bob.browser.click("[data-testid=hand]");
    ada.counts("[data-testid=participant-hand]", 1);
    is_clean(&bob, "an attendee with a raised hand");
    is_clean(&ada, "a presenter with a raised hand before them");
    ada.browser.click("[data-self=false] [data-testid=remove]");
    is_clean(&ada, "the question before somebody is removed");
    ada.browser.press("\u{e00c}");
    ada.browser.click("[data-testid=settings] summary");
    is_clean(&ada, "the settings");
    ada.browser.click("[data-testid=room-change]");
    ada.browser.run("document.querySelector('[data-testid=change-size]').select();");
    ada.browser.type_into("[data-testid=change-size]", "1\u{e007}");
    ada.shows("change-size-hint", "Enter a whole number");
    is_clean(&ada, "the form to change a room, refused");
    ada.browser.press("\u{e00c}");
    ada.browser.wait("document.activeElement.innerText === 'Settings'");
    ada.browser.press("\u{e00c}");
    ada.browser.wait("document.activeElement.innerText === 'Settings'");

    // The panels, with something in them.
    for guest in [&ada, &bob] {
        guest.browser.click("[data-testid=chat-toggle]");
        guest.shows("chat-empty", "No messages yet.");
    }
    is_clean(&bob, "an empty chat");
    ada.browser.type_into("[data-testid=chat-text]", "Can everybody hear me?\u{e007}");
    bob.browser.click("[data-testid=react]");
    bob.counts("[data-testid=message]", 2);
    is_clean(&bob, "the chat");
    bob.browser.run("document.querySelector('[data-testid=questions-toggle]').click();");
    bob.shows("questions-empty", "No questions yet.");
    bob.browser.type_into("[data-testid=question-text]", "When do we ship?\u{e007}");
    bob.counts("[data-testid=question]", 1);
    ada.browser.click("[data-testid=questions-toggle]");
    ada.counts("[data-testid=question]", 1);
    ada.browser.click("[data-testid=vote]");
    ada.browser.wait("document.querySelector('[data-testid=vote]').ariaPressed === 'true'");
    ada.browser.click("[data-testid=pin]");
    ada.counts("[data-testid=pinned]", 1);
    ada.browser.click("[data-testid=answer-open]");
    ada.browser.wait("document.activeElement.id.startsWith('answer-')");
    is_clean(&ada, "a question that is being answered");
    ada.browser.run("scrollTo(0, 0);");
    ada.browser.click("[data-testid=mute-all]");
    ada.counts("[data-testid=round-target]", 1);
    is_clean(&ada, "a request to mute, at the presenter");
    bob.shows("mute-request", "A presenter asked everybody to mute");
    is_clean(&bob, "a request to mute, at an attendee");

    // The page can be used by keyboard alone: every control is reached, and shows that it has the focus.
    let outlines = "return [...document.querySelectorAll('button, summary, select')].filter((e) => e.checkVisibility()).map((e) => {
        e.focus({ focusVisible: true }); return [e.innerText, getComputedStyle(e).outlineStyle, document.activeElement === e]; })
        .filter(([, style, focused]) => style === 'none' || !focused);";
    assert_eq!(ada.browser.run(outlines), Value::Array(vec![]));
}
