//! Limits on calls, as handlers use them. [`Function::limited`](crate::function::Function::limited) declares the same
//! limits.

use crate::auth::Caller;
use crate::{Address, ApiError, Context, Request};
use aws::deadline;
use domain::{Limit, RoomId, Timestamp};
use lambda_http::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::dynamodb::Subject;
use store::{Kind, Refusal, StoreError};
use tokio::time::Instant;

/// 429: the caller has made too many such calls.
const RATE_LIMITED: Refusal = Refusal::new(Kind::Limited, "rate_limited", "too many calls; wait before the next one");
/// The two headers of draft-ietf-httpapi-ratelimit-headers: what is left, and the rule.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Time for a bucket, and for the day's secret if the process does not have it yet. One attempt takes up to 1.5 s, so
/// there is time for one that hangs, or for several that are throttled, and most of the request's time is left for its
/// work.
const BUCKET_TIME: Duration = Duration::from_secs(2);

/// Whether the last bucket was out of reach, so that an outage is logged once and not with every request.
static OUT_OF_REACH: AtomicBool = AtomicBool::new(false);

/// Counts a call under a limit. Call it when the caller is known and may act, and before the first work on the tables.
///
/// # Errors
/// 429 if the caller has made too many such calls. 503 if the bucket is out of reach and the limit does not
/// [fail open](Limit::fails_open).
pub(crate) async fn within(
    context: &Context,
    request: &Request,
    caller: &Caller,
    limit: Limit,
) -> Result<(), ApiError> {
    let now = (context.clock)();
    let spending = async {
        let subject = match caller.subject() {
            Some(name) => Subject::caller(&name),
            None => anonymous(context, request, now).await?,
        };
        in_time(context.limits.spend(limit, &subject, now)).await
    };
    match spending.await {
        Err(error) if limit.fails_open() => {
            note(&error);
            Ok(())
        }
        outcome => passed(limit, outcome),
    }
}

/// A guess of a room's password that has been counted as a wrong one.
#[must_use = "a right password gives its token back"]
pub(crate) struct Guess(Subject);

/// Counts a guess of a room's password as a wrong one, before the password is hashed, so that no more guesses are
/// hashed than the limit allows, however many arrive at once. It counts for the address in that room, whatever token the
/// caller has.
///
/// # Errors
/// 429 after too many wrong passwords; 503 if the bucket is out of reach.
pub(crate) async fn guess(context: &Context, request: &Request, room: &RoomId) -> Result<Guess, ApiError> {
    let now = (context.clock)();
    let spending = async {
        let subject = anonymous(context, request, now).await?.within(room);
        let spent = in_time(context.limits.spend(Limit::WrongPassword, &subject, now)).await?;
        Ok(spent.map(|()| subject))
    };
    passed(Limit::WrongPassword, spending.await).map(Guess)
}

impl Guess {
    /// The password was right: it does not count. If the bucket is out of reach, it counts nevertheless.
    pub(crate) async fn was_right(self, context: &Context) {
        if let Err(error) = in_time(context.limits.give_back(Limit::WrongPassword, &self.0)).await {
            note(&error);
        }
    }
}

/// The subject of the client's address. There is none if somebody has invoked the function by hand.
pub(crate) async fn anonymous(context: &Context, request: &Request, now: Timestamp) -> Result<Subject, StoreError> {
    let address = request.extensions().get().map(|Address(address)| *address);
    in_time(context.limits.anonymous(address, now)).await
}

/// Work within [`BUCKET_TIME`]. It is boxed, because a call of the database would make every handler's future large.
fn in_time<'a, T: 'a>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> impl Future<Output = Result<T, StoreError>> + Send + 'a {
    let work = Box::pin(work);
    async move {
        let late = || Err(StoreError::Unavailable("the time for the bucket is over".into()));
        deadline::until(Instant::now() + BUCKET_TIME, work).await.unwrap_or_else(late)
    }
}

/// What a call gets from its bucket, or its refusal.
fn passed<T>(limit: Limit, outcome: Result<Result<T, Duration>, StoreError>) -> Result<T, ApiError> {
    let spent = outcome?;
    OUT_OF_REACH.store(false, Ordering::Relaxed);
    spent.map_err(|wait| limited(limit, wait))
}

/// Logs that a bucket is out of reach, unless the last one was as well.
fn note(error: &StoreError) {
    if !OUT_OF_REACH.swap(true, Ordering::Relaxed) {
        tracing::warn!(error = %telemetry::Chain(error), "the limits are out of reach");
    }
}

/// The refusal of a call, with the time in whole seconds after which another one may pass.
fn limited(limit: Limit, wait: Duration) -> ApiError {
    let (seconds, window) = (wait.as_secs(), Limit::WINDOW.as_secs());
    let mut refusal = ApiError::from(RATE_LIMITED).with_header(RETRY_AFTER, seconds.into());
    for (name, value) in [
        (RATE_LIMIT, format!("\"{limit}\";r=0;t={seconds}")),
        (RATE_LIMIT_POLICY, format!("\"{limit}\";q={};w={window}", limit.calls())),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            refusal = refusal.with_header(name, value);
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_out_of_reach_refuses_what_costs_much_or_guesses() {
        for limit in Limit::ALL.iter().copied().filter(|limit| !limit.fails_open()) {
            let outcome = passed::<()>(limit, Err(StoreError::Unavailable("a fault of the test".into())));
            assert_eq!(outcome.unwrap_err().status(), 503, "{limit}");
        }
        let closed: Vec<_> = Limit::ALL.iter().filter(|limit| !limit.fails_open()).collect();
        assert_eq!(closed, [&Limit::CreateRoom, &Limit::Join, &Limit::WrongPassword]);
    }

    #[test]
    fn a_refusal_says_how_long_to_wait_and_what_the_rule_is() {
        let refused = limited(Limit::Join, Duration::from_secs(18)).response("id");
        let header = |name: &str| refused.headers()[name].to_str().unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(header("retry-after"), "18");
        assert_eq!(header("ratelimit"), "\"join\";r=0;t=18");
        assert_eq!(header("ratelimit-policy"), "\"join\";q=50;w=900");
    }
}
