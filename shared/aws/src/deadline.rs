//! The deadline of a request. A task-local variable makes it known to all code that works for the request.

use std::time::Duration;
use tokio::time::{Instant, timeout_at};

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `work` under this deadline, or under the existing one if that is earlier. Only [`until`] cancels the work at
/// the deadline; here, calls to AWS that could not end in time are not started.
pub async fn under<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(earliest(deadline), work).await
}

/// Like [`under`], but cancels `work` at the deadline and returns `None`.
pub async fn until<F: Future>(deadline: Instant, work: F) -> Option<F::Output> {
    let deadline = earliest(deadline);
    DEADLINE.scope(deadline, timeout_at(deadline, work)).await.ok()
}

/// Whether work of this length can end before the deadline. True if there is no deadline.
pub(crate) fn leaves(time: Duration) -> bool {
    DEADLINE.try_with(|deadline| Instant::now() + time <= *deadline).unwrap_or(true)
}

fn earliest(deadline: Instant) -> Instant {
    DEADLINE.try_with(|outer| deadline.min(*outer)).unwrap_or(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn the_earlier_deadline_holds() {
        let now = Instant::now();
        under(now + 60 * SECOND, async {
            until(now + 900 * SECOND, async { assert!(leaves(SECOND) && !leaves(61 * SECOND)) }).await.unwrap();
            until(now + 30 * SECOND, async { assert!(!leaves(31 * SECOND)) }).await.unwrap();
        })
        .await;
        assert!(leaves(900 * SECOND), "no deadline any more");
    }

    #[tokio::test]
    async fn work_that_goes_beyond_it_is_given_up() {
        let now = Instant::now();
        let pending = async { until(now + 900 * SECOND, std::future::pending::<()>()).await };
        assert_eq!(under(now, pending).await, None);
    }
}
