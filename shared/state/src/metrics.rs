//! The last requests of this process, counted.

use domain::UserId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Durations kept for percentiles (seed 000: "last 1000 samples").
const SAMPLES_MAX: usize = 1000;
/// A user counts as current for this long after the last successful request that names them.
const ACTIVE_FOR: Duration = Duration::from_mins(5);
/// Users tracked at once; beyond it, idle ones are dropped and newcomers are not counted until there is room.
const ACTIVE_MAX: usize = 100_000;
/// Idle users are dropped at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What one request adds to the counts.
#[derive(Debug)]
pub struct Sample<'a> {
    /// The route template, such as `PATCH /api/users/{userId}/mute`.
    pub route: &'a str,
    /// How long the answer took.
    pub duration: Duration,
    /// Whether the answer's status was 400 or above.
    pub is_error: bool,
    /// Why it was refused, if it was.
    pub code: Option<&'static str>,
    /// The user in the path, if any.
    pub user: Option<&'a UserId>,
}

/// Counts since the start, and the last 1 000 durations.
#[derive(Debug, Default)]
pub struct Window(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: u64,
    errors: u64,
    recent: Vec<Duration>,
    next: usize,
    routes: HashMap<Box<str>, Route>,
    active: HashMap<UserId, Instant>,
    peak: usize,
    swept: Option<Instant>,
}

/// One route's counts since the start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Route {
    /// Requests.
    pub count: u64,
    /// Answers with a status of 400 or above.
    pub errors: u64,
    /// Sum of all durations.
    pub total: Duration,
    /// Refusals by code.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The counts at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests since the start.
    pub total: u64,
    /// Answers with a status of 400 or above since the start.
    pub errors: u64,
    /// The last durations, shortest first.
    pub recent: Vec<Duration>,
    /// Per route.
    pub routes: BTreeMap<Box<str>, Route>,
    /// Users seen in the last five minutes.
    pub users: usize,
    /// The most users seen within five minutes.
    pub users_peak: usize,
}

impl Window {
    /// Counts one answered request.
    pub fn record(&self, sample: &Sample<'_>) {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total += 1;
        counts.errors += u64::from(sample.is_error);
        if counts.recent.len() < SAMPLES_MAX {
            counts.recent.push(sample.duration);
        } else {
            let at = counts.next;
            counts.recent[at] = sample.duration;
            counts.next = (at + 1) % SAMPLES_MAX;
        }
        if !counts.routes.contains_key(sample.route) {
            counts.routes.insert(sample.route.into(), Route::default());
        }
        if let Some(route) = counts.routes.get_mut(sample.route) {
            route.count += 1;
            route.errors += u64::from(sample.is_error);
            route.total += sample.duration;
            if let Some(code) = sample.code {
                *route.refused.entry(code).or_default() += 1;
            }
        }
        if let Some(user) = sample.user.filter(|_| !sample.is_error) {
            counts.see(user, now);
        }
    }

    /// The counts now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sweep(Instant::now());
        let mut recent = counts.recent.clone();
        recent.sort_unstable();
        Summary {
            total: counts.total,
            errors: counts.errors,
            recent,
            routes: counts.routes.iter().map(|(name, route)| (name.clone(), route.clone())).collect(),
            users: counts.active.len(),
            users_peak: counts.peak,
        }
    }
}

impl Counts {
    fn see(&mut self, user: &UserId, now: Instant) {
        if let Some(seen) = self.active.get_mut(user) {
            *seen = now;
            return;
        }
        if self.swept.is_none_or(|swept| now.duration_since(swept) > SWEEP_EVERY) {
            self.sweep(now);
        }
        if self.active.len() < ACTIVE_MAX {
            self.active.insert(user.clone(), now);
            self.peak = self.peak.max(self.active.len());
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.active.retain(|_, seen| now.duration_since(*seen) < ACTIVE_FOR);
        self.swept = Some(now);
    }
}

impl Summary {
    /// The shortest duration that at least `share` of the recent requests did not exceed (nearest rank).
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among at most a thousand"
    )]
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (share * self.recent.len() as f64).ceil() as usize;
        self.recent.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(window: &Window, ms: u64, user: &str, is_error: bool) {
        let user = user.parse().unwrap();
        let duration = Duration::from_millis(ms);
        window.record(&Sample {
            route: "GET /x",
            duration,
            is_error,
            code: is_error.then_some("x"),
            user: Some(&user),
        });
    }

    #[test]
    fn percentiles_are_nearest_ranks_of_the_last_thousand() {
        let window = Window::default();
        for ms in 0..=1000 {
            record(&window, ms, "ada", false);
        }
        let summary = window.summary();
        assert_eq!((summary.total, summary.recent.len()), (1001, 1000));
        let ms = |share| summary.percentile(share).as_millis();
        assert_eq!((ms(0.5), ms(0.95), ms(0.99), ms(1.0)), (500, 950, 990, 1000));
        assert_eq!(summary.recent[0].as_millis(), 1, "the oldest sample made room");
    }

    #[test]
    fn errors_count_but_do_not_make_a_user_present() {
        let window = Window::default();
        record(&window, 1, "ada", false);
        record(&window, 1, "bob", true);
        let summary = window.summary();
        assert_eq!((summary.errors, summary.users, summary.users_peak), (1, 1, 1));
        let refused = [("x", 1)].into();
        let route = Route { count: 2, errors: 1, total: Duration::from_millis(2), refused };
        assert_eq!(summary.routes[&Box::from("GET /x")], route);
    }

    #[test]
    fn an_empty_window_has_zero_percentiles() {
        assert_eq!(Window::default().summary().percentile(0.95), Duration::ZERO);
    }
}
