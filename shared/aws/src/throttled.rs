//! Counts the calls of `DynamoDB` that were throttled during an invocation, also those that a retry has made good.

use hyper::StatusCode;
use std::cell::Cell;

tokio::task_local! {
    static COUNT: Cell<u32>;
}

/// Runs `work`, and counts the throttled calls in it.
pub async fn counted<F: Future>(work: F) -> F::Output {
    COUNT.scope(Cell::new(0), work).await
}

/// The number of throttled calls so far. 0 outside of [`counted`].
#[must_use]
pub fn count() -> u32 {
    COUNT.try_with(Cell::get).unwrap_or_default()
}

/// Counts an answer if it says that the call was throttled. `target` is the call's `x-amz-target`.
pub(crate) fn note(target: &[u8], status: StatusCode, body: &[u8]) {
    if is_throttled(target, status, body) {
        // Nobody asks for the count outside of `counted`.
        let _ = COUNT.try_with(|count| count.set(count.get().saturating_add(1)));
    }
}

/// The errors of a throttled call, and the reasons of a transaction that was cancelled because of one.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const ERRORS: [&[u8]; 4] =
    [b"ProvisionedThroughputExceeded", b"ThrottlingException", b"ThrottlingError", b"RequestLimitExceeded"];

fn is_throttled(target: &[u8], status: StatusCode, body: &[u8]) -> bool {
    if !target.starts_with(b"DynamoDB_") {
        return false;
    }
    match status {
        StatusCode::BAD_REQUEST => ERRORS.iter().any(|error| holds(body, error)),
        // A batch succeeds if one of its items does. It names the others as unprocessed.
        StatusCode::OK if target.ends_with(b".BatchGetItem") => is_left_over(body, b"\"UnprocessedKeys\":{"),
        StatusCode::OK if target.ends_with(b".BatchWriteItem") => is_left_over(body, b"\"UnprocessedItems\":{"),
        _ => false,
    }
}

/// Whether the member of the answer that begins with `name` holds anything.
fn is_left_over(body: &[u8], name: &[u8]) -> bool {
    // Most answers end with the empty member, and then the items before it need not be searched.
    let is_empty = body.strip_suffix(b"}}").is_some_and(|body| body.ends_with(name));
    !is_empty && body.windows(name.len() + 1).any(|part| part.starts_with(name) && !part.ends_with(b"}"))
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(operation: &str, status: u16, body: &str) -> bool {
        let target = format!("DynamoDB_20120810.{operation}");
        is_throttled(target.as_bytes(), StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn every_way_to_be_throttled_is_recognized() {
        for error in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] {
            let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{error}","message":"later"}}"#);
            assert!(throttled("UpdateItem", 400, &body), "{error}");
        }
        for reason in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
            let body = format!(
                r#"{{"__type":"x#TransactionCanceledException","CancellationReasons":[{{"Code":"{reason}"}}]}}"#
            );
            assert!(throttled("TransactWriteItems", 400, &body), "{reason}");
        }
        assert!(throttled("BatchGetItem", 200, r#"{"UnprocessedKeys":{"t":{"Keys":[]}},"Responses":{}}"#));
        assert!(throttled("BatchGetItem", 200, r#"{"Responses":{},"UnprocessedKeys":{"t":{"Keys":[]}}}"#));
        assert!(throttled("BatchWriteItem", 200, r#"{"UnprocessedItems":{"t":[]}}"#));
    }

    #[test]
    fn other_answers_are_not_counted() {
        for (operation, status, body) in [
            ("UpdateItem", 400, r#"{"__type":"x#ConditionalCheckFailedException"}"#),
            ("UpdateItem", 500, r#"{"__type":"x#InternalServerError"}"#),
            ("GetItem", 200, r#"{"Item":{"name":{"S":"ThrottlingException"}}}"#),
            ("BatchGetItem", 200, r#"{"Responses":{"t":[]},"UnprocessedKeys":{}}"#),
            ("BatchGetItem", 200, r#"{"UnprocessedKeys":{},"Responses":{"t":[]}}"#),
        ] {
            assert!(!throttled(operation, status, body), "{operation} {status} {body}");
        }
        let monitoring = b"GraniteServiceVersion20100801.GetMetricData";
        assert!(!is_throttled(monitoring, StatusCode::BAD_REQUEST, b"ThrottlingException"), "another service");
    }

    #[tokio::test]
    async fn each_invocation_counts_its_own() {
        let refused = || note(b"DynamoDB_20120810.GetItem", StatusCode::BAD_REQUEST, b"ThrottlingException");
        refused();
        let counts = async |calls| {
            counted(async {
                (0..calls).for_each(|_| refused());
                count()
            })
            .await
        };
        assert_eq!((counts(2).await, counts(0).await, count()), (2, 0, 0));
    }
}
