//! The page of a created room hears what happens over its WebSocket, and asks nothing, in real browsers.

use crate::rooms_page::Guest;
use crate::support::{Mode, Runner};
use serde_json::json;
use std::time::Duration;

impl Guest {
    /// Waits until the page is live: it has read the room since its socket was opened, and polls no more.
    #[track_caller]
    fn is_live(&self) {
        self.browser.wait("document.querySelector('[data-testid=updates]').dataset.live === 'true'");
    }

    /// How many requests the page has sent to the server so far, but those that keep the person present.
    fn requests(&self) -> u64 {
        let count = "return performance.getEntriesByType('resource')
            .filter(({ name, initiatorType }) => initiatorType === 'fetch' && name.includes('/api/') && !name.endsWith('/presence')).length;";
        self.browser.run(count).as_u64().unwrap()
    }
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_live_page_hears_everything_and_asks_nothing
}

fn a_live_page_hears_everything_and_asks_nothing(mode: Mode) {
    let runner = mode.runner();
    let [ada, bob] = ["Ada", "Bob"].map(Guest::new);
    let link = ada.creates(&runner, "Weekly review", &[], "");
    bob.joins(&link, "Weekly review");
    for guest in [&ada, &bob] {
        guest.counts("[data-testid=participant]", 2);
        guest.is_live();
    }
    // Whatever was asked before has been answered.
    std::thread::sleep(Duration::from_secs(1));
    let before = ada.requests();
    let card = Guest::card_of(&bob);
    bob.browser.press("m");
    ada.counts(&format!("{card}[data-muted=false]"), 1);
    bob.browser.press("m");
    ada.counts(&format!("{card}[data-muted=true]"), 1);
    bob.browser.click("[data-testid=hand]");
    ada.counts(&format!("{card} [data-testid=participant-hand]"), 1);
    bob.browser.click("[data-testid=chat-toggle]");
    bob.browser.type_into("[data-testid=chat-text]", "Hello");
    bob.browser.press("\u{e007}");
    ada.browser.wait("document.querySelector('[data-testid=chat-toggle]').innerText.includes('1 new')");
    // Longer than four polls.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(ada.requests(), before, "the page asked for something");
    assert_eq!(ada.browser.run("return document.querySelector('[data-testid=updates]').innerText;"), json!("Live"));

    // Closing a tab is heard, and so is a removal.
    let cleo = Guest::new("Cleo");
    cleo.joins(&link, "Weekly review");
    ada.counts("[data-testid=participant]", 3);
    let card = Guest::card_of(&cleo);
    ada.browser.click(&format!("{card} [data-testid=remove]"));
    ada.browser.wait("document.querySelector('dialog[open]') !== null");
    ada.browser.click("dialog[open] [data-testid=remove-confirm]");
    cleo.browser.wait("document.querySelector('[data-testid=over]').dataset.kind === 'removed'");
    for guest in [&ada, &bob] {
        guest.counts("[data-testid=participant]", 2);
    }
    for guest in [&ada, &bob] {
        guest.has_no_complaints_but(&[]);
    }
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    after_the_server_was_killed_the_page_is_live_again
}

/// A server that is killed takes the sockets with it. The page says so, and is live again with the next server.
fn after_the_server_was_killed_the_page_is_live_again(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let [auth, value] = mode.args();
    let options = ["--data-dir", directory.path().to_str().unwrap(), auth, value];
    let runner = Runner::start(&options);
    let port = runner.url.rsplit_once(':').unwrap().1.to_owned();
    let ada = Guest::new("Ada");
    ada.creates(&runner, "Weekly review", &[], "");
    ada.is_live();
    runner.kill();
    ada.browser.wait("document.querySelector('[data-testid=updates]') === null");
    let _next = Runner::start(&[&options[..], &["--port", &port]].concat());
    ada.is_live();
}
