//! The consumer of the state table's stream that follows rooms. It counts them by day, and removes the people of a room
//! that has ended, their names, and everything that they wrote.

use crate::Context;
use crate::function::{Function, ROOM_INDEX, STATE, Trigger, allow, job};
use std::pin::Pin;
use std::sync::Arc;
use store::StoreError;
use store::dynamodb::{BatchOutcome, FailedRecord, RoomChanged, StreamEvent, StreamRecord};
use telemetry::Chain;

pub(crate) const FUNCTION: Function = job(&[Trigger::Stream])
    .live()
    .may(&[
        allow(&["dynamodb:Query"], &[ROOM_INDEX]),
        allow(&["dynamodb:Query"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:GetItem"], &[STATE]).keys(&["ROOM#*"]),
        allow(&["dynamodb:UpdateItem"], &[STATE])
            .keys(&["ROOM#*", "DAYS"])
            .sparing("passwordHash present settings title"),
        allow(&["dynamodb:BatchWriteItem"], &[STATE]).keys(&["ROOM#*", "USER#p_*"]),
        allow(
            &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
            &["!GetAtt StateTable.StreamArn"],
        ),
    ])
    // A room of 25 people. Each item is removed once, and costs a write unit in the table and one in the index.
    .costs(8, 4.0, 56.0)
    .changes(&[(Some(ACTIVE), ENDED)])
    // A room may hold a thousand people and many thousand messages, of which a call removes 25.
    .properties("Timeout: 120");

const ACTIVE: &str = r#"{
    "pk": {"S": "ROOM#rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE"}, "sk": {"S": "META"}, "title": {"S": "Weekly review"},
    "present": {"N": "2"}, "createdAt": {"N": "1795257125000"}, "expiresAt": {"N": "1795303925"}
}"#;
const ENDED: &str = r#"{
    "pk": {"S": "ROOM#rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE"}, "sk": {"S": "META"}, "title": {"S": "Weekly review"},
    "present": {"N": "2"}, "createdAt": {"N": "1795257125000"}, "expiresAt": {"N": "1795260725"},
    "endedAt": {"N": "1795257126500"}
}"#;

/// Runs the consumer.
#[must_use]
pub fn run(context: Context, event: Arc<StreamEvent>) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>> {
    Box::pin(handle(context, event))
}

/// Processes a batch. A room that is delivered again is searched again, which costs two reads.
async fn handle(context: Context, event: Arc<StreamEvent>) -> BatchOutcome {
    for record in &event.records {
        let Some(changed) = record.room() else { continue };
        if let Err(error) = follow(&context, changed).await {
            let sequence_number = StreamRecord::sequence_number(record);
            tracing::error!(error = %Chain(&error), sequence_number, "a room is not counted or not cleared yet");
            let failed = FailedRecord { item_identifier: sequence_number.to_owned() };
            return BatchOutcome { batch_item_failures: vec![failed] };
        }
    }
    BatchOutcome::default()
}

async fn follow(context: &Context, changed: RoomChanged) -> Result<(), StoreError> {
    match changed {
        RoomChanged::Created(room, at) => context.rooms.count_creation(&room, at).await,
        RoomChanged::Ended(room) => {
            // The function that ended it has told everybody whose connection was open by then.
            context.tell_end(&room).await;
            // Names go first. The count changes the room, so the stream says once more that it has ended, and this runs
            // once more: it then finds nothing to remove and nothing to count.
            context.rooms.forget(&room).await?;
            context.rooms.count_end(&room, (context.clock)()).await
        }
    }
}
