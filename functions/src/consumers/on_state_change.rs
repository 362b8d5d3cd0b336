//! The consumer of the state table's stream. It adds every change of a state to the ledger of its room.

use crate::Context;
use crate::function::{Function, LEDGER, Trigger, allow, job};
use std::pin::Pin;
use store::dynamodb::{BatchOutcome, FailedRecord, StreamEvent, StreamRecord};
use telemetry::Chain;

pub(crate) const FUNCTION: Function = job(&[Trigger::Stream])
    .may(&[
        allow(&["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], &[LEDGER]).keys(&["CHAIN#room:*"]),
        allow(
            &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
            &["!GetAtt StateTable.StreamArn"],
        ),
        allow(&["sqs:SendMessage"], &["!GetAtt StateChangeFailures.Arn"]),
    ])
    // The example is a join and a mute in one batch: one read of the chain's head, and two transactions of marker,
    // entry and head, in which each write counts double.
    .costs(3, 1.0, 12.0)
    .changes(&[(None, UNMUTED), (Some(UNMUTED), MUTED)])
    // A batch has up to a hundred records; each takes a read and a transaction of about 20 ms.
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
pub fn run(context: Context, event: StreamEvent) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>> {
    Box::pin(handle(context, event))
}

/// Processes a batch in order and stops at the first record that fails. The stream delivers from that record again, so
/// an entry never overtakes an earlier one. A record that is delivered again changes nothing.
async fn handle(context: Context, event: StreamEvent) -> BatchOutcome {
    let Err(error) = context.ledger.append(&event.records).await else { return BatchOutcome::default() };
    let sequence_number = event.records.get(error.index).map(StreamRecord::sequence_number).unwrap_or_default();
    tracing::error!(error = %Chain(&error.cause), sequence_number, "a change is not in the ledger yet");
    BatchOutcome { batch_item_failures: vec![FailedRecord { item_identifier: sequence_number.to_owned() }] }
}
