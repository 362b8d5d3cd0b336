//! Runs what follows from a table's stream on Lambda, as `endpoint.rs` runs what follows from a request.

use crate::{Error, State, endpoint};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::service_fn;
use state::dynamodb::{BatchOutcome, StreamEvent};
use std::convert::Infallible;
use std::pin::Pin;

/// A consumer of a stream. A plain function pointer, as an [`Entry`](crate::Entry) is.
pub type Consumer = fn(State, StreamEvent) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>>;

/// Runs one consumer on Lambda until the environment is taken away.
///
/// # Errors
/// A setting that cannot be used, or a runtime API that cannot be reached: Lambda reports the start as failed.
#[inline(never)]
pub fn consume(consumer: Consumer) -> Result<(), Error> {
    endpoint::start(async |state| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<StreamEvent>| {
            let work = consumer(state.clone(), event.payload);
            async move { Ok::<_, Infallible>(work.await) }
        }))
        .await
    })
}
