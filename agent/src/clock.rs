//! Detects gaps in time, in which the machine slept and nothing was measured.

use std::time::{Duration, Instant, SystemTime};

/// Largest accepted difference between the two clocks. If it is exceeded, the machine has slept, or somebody has set a
/// clock.
const APART: Duration = Duration::from_secs(1);

/// A moment on both clocks of this machine. The steady clock stops while the machine sleeps; the wall clock can be set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time of the steady clock.
    pub steady: Instant,
    wall: SystemTime,
}

impl Moment {
    /// The current moment; `steady` is the current time of the steady clock.
    #[must_use]
    pub fn at(steady: Instant) -> Self {
        Self { steady, wall: SystemTime::now() }
    }

    /// Whether the machine has slept since `before`. Setting a clock looks the same; starting again is right in that
    /// case as well.
    #[must_use]
    pub fn has_slept_since(self, before: Self) -> bool {
        let steady = self.steady.saturating_duration_since(before.steady);
        let apart = match self.wall.duration_since(before.wall) {
            Ok(wall) => wall.abs_diff(steady),
            Err(set_back) => set_back.duration().saturating_add(steady),
        };
        apart > APART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_and_a_clock_that_was_set_are_noticed_and_ordinary_time_is_not() {
        let before = Moment::at(Instant::now());
        let after = |steady_ms: u64, wall_ms: i64| {
            let wall = Duration::from_millis(wall_ms.unsigned_abs());
            let wall = if wall_ms < 0 { before.wall - wall } else { before.wall + wall };
            Moment { steady: before.steady + Duration::from_millis(steady_ms), wall }.has_slept_since(before)
        };
        assert!(!after(0, 0) && !after(50, 50) && !after(60_000, 60_900) && !after(60_000, 59_100));
        assert!(after(50, 3_600_000), "slept for an hour");
        assert!(after(50, 1_100), "slept for a second");
        assert!(after(50, -3_600_000) && after(5_000, 3_500), "set back");
    }
}
