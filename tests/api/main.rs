//! Tests of Greenroom from outside: the runner as a process over HTTP, and the real function binaries under a stand-in
//! for Lambda.
//!
//! Every test starts what it needs on free ports and leaves nothing behind, so all of them run at once.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test and its support code fail by panicking"
)]

/// Makes two tests of a story, one per mode, so that the name of a failed test says the mode. The story is a function that
/// takes a [`support::Mode`].
macro_rules! in_both_modes {
    ($(#[$attribute:meta])* $story:ident) => {
        mod $story {
            use crate::support::Mode;

            #[test]
            $(#[$attribute])*
            fn in_open_mode() {
                super::$story(Mode::Open);
            }

            #[test]
            $(#[$attribute])*
            fn in_strict_mode() {
                super::$story(Mode::Strict);
            }
        }
    };
}

mod acceptance;
mod accessibility;
mod agreement;
mod asyncapi;
mod browser;
mod capacity;
mod cloudwatch;
mod conventions;
mod documents;
mod emf;
mod keys;
mod lambda;
mod layers;
mod live;
mod live_page;
mod log;
mod matrix;
mod openapi;
mod page_and_agent;
mod privileges;
mod queries;
mod rooms_page;
mod strict;
mod support;
mod talk_page;

/// The native witness, with a real sound server and virtual microphones.
mod agent {
    automod::dir!("api/agent");
}

/// Tests with hostile clients, dying processes and damaged files. One file per fault.
mod robustness {
    automod::dir!("api/robustness");
}

/// One file per function that an operator invokes by hand.
mod commands {
    automod::dir!("api/commands");
}

/// One file per function that a schedule starts.
mod schedules {
    automod::dir!("api/schedules");
}

/// Snapshots are taken, damaged, restored and drilled.
mod snapshots {
    automod::dir!("api/snapshots");
}

/// One file per function that answers an event of the WebSocket API.
mod sockets {
    automod::dir!("api/sockets");
}

/// One file per function that follows a table's stream.
mod consumers {
    automod::dir!("api/consumers");
}

/// One file per endpoint, found by its name: the same tree as `functions/src`.
mod routes {
    mod agents {
        automod::dir!("api/routes/agents");
    }
    mod rooms {
        automod::dir!("api/routes/rooms");
    }
    mod system {
        automod::dir!("api/routes/system");
    }
    mod users {
        automod::dir!("api/routes/users");
    }
}
