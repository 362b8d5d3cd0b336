//! The log: one line per request or run, with its metrics, and diagnostics.

mod diagnostics;
mod emf;
mod job;
mod lambda;
mod line;

pub use diagnostics::diagnostics;
pub(crate) use job::{progress, publish};
pub(crate) use lambda::LambdaLog;
pub use lambda::ROUTINE;
pub(crate) use line::Seconds;
pub use line::{Observer, RequestLine};

use serde::Serialize;
use std::io::Write as _;

/// Writes a whole line to standard output.
fn write(line: &impl Serialize) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        // A log that cannot be written must not fail the request.
        let _ = std::io::stdout().lock().write_all(&text);
    }
}
