//! Exit codes of the program, and the line about a failure.

use crate::fuse::State;
use domain::{Condition, Route, Signal};
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The exit codes for `--help`; [`Failed`] and [`of_state`] define them.
pub const HELP: &str = "\
Exit codes:
  0  done; stopped by a signal; check: the microphone is heard
  1  anything else            2  bad arguments
  3  built without capture    4  not paired, or the pairing file is not usable
  5  server not reachable     6  the server refused, or this agent was revoked
141  the reader of the output is gone
check and doctor report what they measured:
 10  no more than noise      11  digital zero: muted
 12  not listened to         13  a stream was moved to another device
 14  the agent's own stream is muted or turned down
 20  permission denied       21  no sound system
 22  device busy             23  no data: device asleep
 24  device missing";

/// 128 plus 13, the number of SIGPIPE. A shell reports this code for a program whose reader is gone.
const READER_GONE: u8 = 141;

/// Why the program failed: one line, which also says what to do.
#[derive(Debug)]
pub struct Failed {
    /// The line; empty if there is nothing to report.
    pub line: String,
    /// The exit code.
    pub code: u8,
}

impl Failed {
    /// A failure with this code.
    pub fn new(code: u8, line: impl std::fmt::Display) -> Self {
        Self { line: line.to_string(), code }
    }

    /// Standard output cannot be written. If the reader has closed it, as `head` does after its last line, that is not
    /// reported.
    #[must_use]
    pub fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { line: String::new(), code: READER_GONE },
            _ => Self::new(1, format!("cannot write: {error}")),
        }
    }
}

/// The exit code of `check` and `doctor` for a measured state.
#[must_use]
pub fn of_state(state: State) -> u8 {
    match (state.condition, state.route, state.signal) {
        (Condition::PermissionDenied, _, _) => 20,
        (Condition::HostUnavailable, _, _) => 21,
        (Condition::DeviceBusy, _, _) => 22,
        (Condition::NoData, _, _) => 23,
        (Condition::DeviceMissing, _, _) => 24,
        (Condition::Measured, Route::Moved, _) => 13,
        (Condition::Measured, Route::Silenced, _) => 14,
        (Condition::Measured, Route::Direct, Signal::Signal) => 0,
        (Condition::Measured, Route::Direct, Signal::Floor) => 10,
        (Condition::Measured, Route::Direct, Signal::DigitalZero) => 11,
        (Condition::Measured, Route::Direct, Signal::NotOpened) => 12,
    }
}

/// The program's exit code; a failure is also written to standard error.
#[must_use]
pub fn code(outcome: Result<u8, Failed>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            if !failed.line.is_empty() {
                // Standard error may be closed, too.
                let _ = writeln!(io::stderr(), "greenroom-agent: {}", failed.line);
            }
            ExitCode::from(failed.code)
        }
    }
}
