//! The deadline of a request: known to everything that is done for it, without being passed along.

use std::time::Duration;
use tokio::time::{Instant, timeout_at};

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Does `work` under this deadline, or under the one that already holds if that comes first. [`until`] ends what goes
/// beyond it, and no call of AWS begins that could not end before it.
pub async fn under<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(earliest(deadline), work).await
}

/// The same, but `work` is given up at the deadline: `None`.
pub async fn until<F: Future>(deadline: Instant, work: F) -> Option<F::Output> {
    let deadline = earliest(deadline);
    DEADLINE.scope(deadline, timeout_at(deadline, work)).await.ok()
}

/// Whether something that takes this long would end before the deadline. Without a deadline it would.
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
