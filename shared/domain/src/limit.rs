//! Limits on calls, and the rules of the buckets that keep them.
//!
//! A bucket holds as many calls as its limit allows in a window, and fills again evenly. Its whole state is one time:
//! when it will be full again. Each call moves that time by one step, and a call is refused if the time would come to
//! lie more than a window ahead. (Networks know this form of a token bucket as GCRA, ITU-T I.371.)

use crate::Timestamp;
use crate::evidence::words;
use std::time::Duration;

words! {
    /// A class of calls. All calls of a class by one subject share a bucket.
    Limit {
        /// Creates a room.
        CreateRoom = "create_room",
        /// Joins a room.
        Join = "join",
        /// Posts a message.
        Message = "message",
        /// Renews presence, or ends it.
        Presence = "presence",
        /// Any other call that changes something.
        Other = "other",
        /// Tries a password of a room. The subject is an address in one room.
        WrongPassword = "wrong_password",
    }
}

/// What a call does to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// The bucket is full. The call takes its first token: the bucket will be full one step from now.
    First,
    /// The bucket is partly full. The call takes a token: the bucket will be full one step later than before.
    Next,
    /// The bucket is empty. The call is refused; there is a token after this time.
    Wait(Duration),
    /// The stored time is further ahead than any call can move it, so a clock was wrong. The call is refused, and the
    /// bucket counts as empty from now on: a clock that jumps back refills nothing, and locks nobody out for long.
    Reset(Duration),
}

impl Limit {
    /// The time in which an empty bucket fills.
    pub const WINDOW: Duration = Duration::from_mins(15);
    /// How far the clocks of two machines may differ. A bucket that is this much further ahead is empty, and not a sign
    /// of a wrong clock.
    pub const SKEW: Duration = Duration::from_secs(30);

    /// Calls in a window; also the calls that a full bucket allows at once.
    #[must_use]
    pub const fn calls(self) -> u16 {
        match self {
            Self::CreateRoom | Self::WrongPassword => 10,
            Self::Join => 50,
            Self::Other => 100,
            Self::Message => 200,
            Self::Presence => 400,
        }
    }

    /// The time in which a bucket gains one token.
    #[must_use]
    pub fn step(self) -> Duration {
        Self::WINDOW / u32::from(self.calls())
    }

    /// Whether calls pass while the buckets are out of reach. What costs much or guesses a secret does not.
    #[must_use]
    pub const fn fails_open(self) -> bool {
        match self {
            Self::Message | Self::Presence | Self::Other => true,
            Self::CreateRoom | Self::Join | Self::WrongPassword => false,
        }
    }

    /// The latest time at which a bucket may be full again for a call to take a token from it now.
    #[must_use]
    pub fn edge(self, now: Timestamp) -> Timestamp {
        now.plus(Self::WINDOW.saturating_sub(self.step()))
    }

    /// The latest time at which a bucket can be full again, by any clock that is not wrong.
    #[must_use]
    pub fn horizon(now: Timestamp) -> Timestamp {
        now.plus(Self::WINDOW + Self::SKEW)
    }

    /// What a call does now to a bucket that will be full at that time. `None`: there is no bucket yet.
    #[must_use]
    pub fn draw(self, full_at: Option<Timestamp>, now: Timestamp) -> Draw {
        let Some(full_at) = full_at.filter(|full_at| *full_at > now) else { return Draw::First };
        if full_at > Self::horizon(now) {
            return Draw::Reset(self.step());
        }
        match full_at.ms().checked_sub(self.edge(now).ms()) {
            None | Some(0) => Draw::Next,
            Some(wait) => Draw::Wait(Duration::from_millis(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bucket in memory.
    #[derive(Default)]
    struct Bucket(Option<Timestamp>);

    impl Bucket {
        /// Whether a call passes.
        fn call(&mut self, limit: Limit, now: Timestamp) -> Result<(), Duration> {
            match limit.draw(self.0, now) {
                Draw::First => self.0 = Some(now.plus(limit.step())),
                Draw::Next => self.0 = self.0.map(|full_at| full_at.plus(limit.step())),
                Draw::Wait(wait) => return Err(wait),
                Draw::Reset(wait) => {
                    self.0 = Some(now.plus(Limit::WINDOW));
                    return Err(wait);
                }
            }
            Ok(())
        }

        /// Calls that pass at one moment.
        fn burst(&mut self, limit: Limit, now: Timestamp) -> usize {
            (0..2000).take_while(|_| self.call(limit, now).is_ok()).count()
        }
    }

    const START: Timestamp = Timestamp::from_ms(1_795_261_458_082);

    fn limits() -> impl Strategy<Value = Limit> {
        proptest::sample::select(Limit::ALL)
    }

    #[test]
    fn a_full_bucket_allows_its_calls_at_once_and_then_one_a_step() {
        for limit in Limit::ALL.iter().copied() {
            let mut bucket = Bucket::default();
            assert_eq!(bucket.burst(limit, START), usize::from(limit.calls()), "{limit}");
            assert_eq!(bucket.call(limit, START), Err(limit.step()), "{limit}");
            assert_eq!(bucket.burst(limit, START.plus(limit.step())), 1, "{limit}");
            let later = START.plus(limit.step() + Limit::WINDOW);
            assert_eq!(bucket.burst(limit, later), usize::from(limit.calls()), "{limit}");
        }
    }

    #[test]
    fn the_steps_of_a_window_are_whole_milliseconds() {
        for limit in Limit::ALL.iter().copied() {
            assert_eq!(limit.step() * u32::from(limit.calls()), Limit::WINDOW, "{limit}");
            assert_eq!(limit.step().subsec_nanos() % 1_000_000, 0, "{limit}");
        }
    }

    proptest! {
        /// A window holds the calls of a full bucket and those by which it fills meanwhile.
        #[test]
        fn no_window_holds_more_than_twice_the_calls(
            limit in limits(),
            pauses in proptest::collection::vec(0_u64..=60_000, 1..600),
        ) {
            let (mut bucket, mut now, mut passed) = (Bucket::default(), START, Vec::new());
            for pause in pauses {
                now = now.plus(Duration::from_millis(pause));
                for _ in 0..3 {
                    if bucket.call(limit, now).is_ok() {
                        passed.push(now);
                    }
                }
            }
            for (first, from) in passed.iter().enumerate() {
                let within = passed[first..].iter().filter(|at| **at < from.plus(Limit::WINDOW)).count();
                prop_assert!(within <= 2 * usize::from(limit.calls()), "{limit}: {within}");
            }
        }

        #[test]
        fn who_waits_as_told_passes(limit in limits(), spent in 0_usize..500, pause in 0_u64..900_000) {
            let mut bucket = Bucket::default();
            for _ in 0..spent {
                let _ = bucket.call(limit, START);
            }
            let now = START.plus(Duration::from_millis(pause));
            bucket.burst(limit, now);
            let wait = bucket.call(limit, now).unwrap_err();
            prop_assert!(wait <= limit.step() && !wait.is_zero());
            prop_assert_eq!(bucket.call(limit, now.plus(wait)), Ok(()));
        }

        /// However far it jumps, what was spent stays spent, and a token comes within a step or the clocks' skew.
        #[test]
        fn a_clock_that_jumps_back_refills_nothing_and_locks_nobody_out(
            limit in limits(),
            spent in 0_usize..400,
            back in 0_u64..10_000_000_000,
        ) {
            let mut bucket = Bucket::default();
            let spent = (0..spent).take_while(|_| bucket.call(limit, START).is_ok()).count();
            let now = Timestamp::from_ms(START.ms() - back);
            prop_assert!(spent + bucket.burst(limit, now) <= usize::from(limit.calls()));
            if let Err(wait) = bucket.call(limit, now) {
                prop_assert!(wait <= limit.step() + Limit::SKEW);
                prop_assert_eq!(bucket.call(limit, now.plus(wait)), Ok(()));
            }
        }
    }
}
