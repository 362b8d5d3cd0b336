//! How far a command is: one line that is written over in a terminal, a line now and then elsewhere.

use snapshot::restore::{Progress, Step};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Characters of the bar.
const WIDTH: u64 = 30;
/// Between two lines, in a terminal and elsewhere.
const REDRAWN_EVERY: Duration = Duration::from_millis(100);
const SAID_EVERY: Duration = Duration::from_secs(5);

/// Shows progress on standard error, so that standard output holds the result alone.
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
    /// Shows how far it is, unless it has just done so.
    pub fn show(&mut self, progress: Progress) {
        let pause = if self.terminal { REDRAWN_EVERY } else { SAID_EVERY };
        let complete = progress.lines == progress.of;
        if self.last.is_some_and(|(step, at)| step == progress.step && at.elapsed() < pause && !complete) {
            return;
        }
        self.last = Some((progress.step, Instant::now()));
        // Nobody may be looking.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{}", drawn(progress)).and_then(|()| io::stderr().flush())
        } else {
            writeln!(io::stderr(), "{}", text(progress))
        };
    }

    /// Leaves the line to what comes next.
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
