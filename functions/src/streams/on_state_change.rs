//! The state table's stream: every change of a state is added to the ledger of its room.

use crate::State;
use state::Chain;
use state::dynamodb::{BatchOutcome, FailedRecord, Heads, StreamEvent};
use std::pin::Pin;

/// The consumer itself.
#[must_use]
pub fn run(state: State, event: StreamEvent) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>> {
    Box::pin(handle(state, event))
}

/// Works off a batch in order. At the first record that fails it stops: whoever delivers goes on from there, so an entry
/// never overtakes the one before it. A record that is delivered again changes nothing.
async fn handle(state: State, event: StreamEvent) -> BatchOutcome {
    let mut heads = Heads::default();
    for record in &event.records {
        if let Err(error) = state.ledger.append(record, &mut heads).await {
            let sequence_number = record.sequence_number();
            tracing::error!(error = %Chain(&error), sequence_number, "a change is not in the ledger yet");
            return BatchOutcome {
                batch_item_failures: vec![FailedRecord { item_identifier: sequence_number.to_owned() }],
            };
        }
    }
    BatchOutcome::default()
}
