//! Shows the progress of a command: a line that is redrawn in a terminal, and occasional lines elsewhere.

use snapshot::restore::{Progress, Step};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Width of the bar, in characters.
const WIDTH: u64 = 30;
/// Pause between two updates, in a terminal and elsewhere.
const REDRAWN_EVERY: Duration = Duration::from_millis(100);
const SAID_EVERY: Duration = Duration::from_secs(5);

/// Shows progress on standard error, because standard output holds only the result.
#[derive(Debug)]
pub struct Bar {
    terminal: bool,
    last: Option<(Step, Instant)>,
}

impl Default for Bar {
    fn default() -> Self {
        Self { terminal: io::stderr().is_terminal(), last: None }
    }
}

impl Bar {
    /// Shows the progress, unless it was shown moments ago.
    pub fn show(&mut self, progress: Progress) {
        let pause = if self.terminal { REDRAWN_EVERY } else { SAID_EVERY };
        let complete = progress.lines == progress.of;
        if self.last.is_some_and(|(step, at)| step == progress.step && at.elapsed() < pause && !complete) {
            return;
        }
        self.last = Some((progress.step, Instant::now()));
        // A closed standard error is not a failure.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{}", drawn(progress)).and_then(|()| io::stderr().flush())
        } else {
            writeln!(io::stderr(), "{}", text(progress))
        };
    }

    /// Clears the line for the following output.
    pub fn end(self) {
        if self.terminal && self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn text(Progress { step, lines, of }: Progress) -> String {
    let step = match step {
        Step::Verifying => "verified",
        Step::Writing => "written",
        Step::Comparing => "compared",
    };
    format!("{lines} of {of} items {step}")
}

fn drawn(progress: Progress) -> String {
    let done = (progress.lines * WIDTH).checked_div(progress.of).unwrap_or(WIDTH).min(WIDTH);
    let bar: String = (0..WIDTH).map(|place| if place < done { '█' } else { '░' }).collect();
    format!("{bar} {}", text(progress))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up() {
        let at = |lines, of| drawn(Progress { step: Step::Writing, lines, of });
        assert_eq!(at(0, 4), format!("{} 0 of 4 items written", "░".repeat(30)));
        assert_eq!(at(2, 4), format!("{}{} 2 of 4 items written", "█".repeat(15), "░".repeat(15)));
        assert_eq!(at(4, 4), format!("{} 4 of 4 items written", "█".repeat(30)));
        assert_eq!(at(0, 0), format!("{} 0 of 0 items written", "█".repeat(30)));
    }
}
