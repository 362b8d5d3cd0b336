//! The consumer of the state table's stream. It adds every change of a state to the ledger of its room, and tells the
//! people who are connected.

use crate::Context;
use crate::function::{Function, LEDGER, Trigger, allow, job};
use std::pin::Pin;
use std::sync::Arc;
use store::dynamodb::{Appended, BatchOutcome, FailedRecord, StreamEvent, StreamRecord};
use telemetry::Chain;

pub(crate) const FUNCTION: Function = job(&[Trigger::Stream])
    .live()
    .may(&[
        allow(&["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"], &[LEDGER])
            .keys(&["CHAIN#room:*"]),
        allow(
            &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
            &["!GetAtt StateTable.StreamArn"],
        ),
        allow(&["sqs:SendMessage"], &["!GetAtt StateChangeFailures.Arn"]),
    ])
    // The example is a join and a mute in one batch: one block of two entries, at the most one that names the people.
    // The read is that of a new consumer in a room of 25: it reads the chain back to the last block that names them.
    .costs(3, 12.0, 2.0)
    .changes(&[(None, UNMUTED), (Some(UNMUTED), MUTED)])
    // A batch has up to a hundred records, at most as many rooms, and two calls of about 10 ms for each of them.
    .properties("Timeout: 30");

const UNMUTED: &str = r#"{
    "pk": {"S": "USER#demo-user"}, "sk": {"S": "STATE"}, "roomId": {"S": "demo-room"}, "isMuted": {"BOOL": false},
    "deviceId": {"S": "default"}, "deviceLabel": {"S": "Built-in Microphone"}, "version": {"N": "1"},
    "lastUpdated": {"N": "1795257125000"}, "createdAt": {"N": "1795257125000"}, "expiresAt": {"N": "1797849125"}
}"#;
const MUTED: &str = r#"{
    "pk": {"S": "USER#demo-user"}, "sk": {"S": "STATE"}, "roomId": {"S": "demo-room"}, "isMuted": {"BOOL": true},
    "deviceId": {"S": "default"}, "deviceLabel": {"S": "Built-in Microphone"}, "version": {"N": "2"},
    "lastUpdated": {"N": "1795257126500"}, "createdAt": {"N": "1795257125000"}, "expiresAt": {"N": "1797849125"}
}"#;

/// Runs the consumer.
#[must_use]
pub fn run(context: Context, event: Arc<StreamEvent>) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>> {
    Box::pin(handle(context, event))
}

/// Processes a batch. In each room, an entry never overtakes an earlier one. The stream delivers again from the first
/// record that failed, and a record that is delivered again changes nothing.
async fn handle(context: Context, event: Arc<StreamEvent>) -> BatchOutcome {
    let Appended { mut changes, unfinished } = context.ledger.append(&event.records, (context.clock)()).await;
    // The others come again.
    changes.retain(|changed| unfinished.as_ref().is_none_or(|failed| changed.index < failed.index));
    context.tell_changes(&changes).await;
    let Some(error) = unfinished else { return BatchOutcome::default() };
    let sequence_number = event.records.get(error.index).map(StreamRecord::sequence_number).unwrap_or_default();
    tracing::error!(error = %Chain(&error.cause), sequence_number, "a change is not in the ledger yet");
    BatchOutcome { batch_item_failures: vec![FailedRecord { item_identifier: sequence_number.to_owned() }] }
}
