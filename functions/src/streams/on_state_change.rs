//! The state table's stream: every change of a state is added to the ledger of its room.

use crate::State;
use state::Chain;
use state::dynamodb::{BatchOutcome, FailedRecord, StreamEvent, StreamRecord};
use std::pin::Pin;

/// The consumer itself.
#[must_use]
pub fn run(state: State, event: StreamEvent) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>> {
    Box::pin(handle(state, event))
}

/// Works off a batch in order. At the first record that fails it stops: whoever delivers goes on from there, so an entry
/// never overtakes the one before it. A record that is delivered again changes nothing.
async fn handle(state: State, event: StreamEvent) -> BatchOutcome {
    let Err(error) = state.ledger.append(&event.records).await else { return BatchOutcome::default() };
    let sequence_number = event.records.get(error.index).map(StreamRecord::sequence_number).unwrap_or_default();
    tracing::error!(error = %Chain(&error.cause), sequence_number, "a change is not in the ledger yet");
    BatchOutcome { batch_item_failures: vec![FailedRecord { item_identifier: sequence_number.to_owned() }] }
}
