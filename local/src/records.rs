//! The records of a table's stream in the engine's own table of records: read in batches, and removed after they are
//! processed.

use domain::Timestamp;
use rusqlite::Connection;
use std::fmt::Write as _;
use store::dynamodb::stream_began;

/// A batch of records.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The ids of the records, in order.
    pub ids: Vec<i64>,
    /// The event that Lambda would build from them, as JSON.
    pub event: String,
    /// When the first one was written, to the second.
    pub oldest: Timestamp,
}

/// The oldest records of a table's stream, at most `limit`. `None`: there are no records.
///
/// # Errors
/// The database cannot be read.
pub fn read(stream: &Connection, table: &str, limit: u32) -> rusqlite::Result<Option<Batch>> {
    let mut query = stream.prepare_cached(
        "SELECT id, keys_json, new_image, old_image, created_at, user_identity, \
         (SELECT stream_label FROM _tables WHERE table_name = ?1) \
         FROM _stream_records WHERE table_name = ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut batch = Batch { ids: Vec::new(), event: String::new(), oldest: Timestamp::default() };
    let mut rows = query.query((table, limit))?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let written: i64 = row.get(4)?;
        if batch.ids.is_empty() {
            batch.oldest = Timestamp::from_ms(u64::try_from(written).unwrap_or_default().saturating_mul(1000));
        }
        batch.ids.push(id);
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let image = |column| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
        let begin = if batch.event.is_empty() { "{\"Records\":[" } else { "," };
        // The number is the row's id, because the engine's own number could go back with the clock.
        let number = 100_000_000_000_000_000_000_i128 + i128::from(id);
        // The engine has stored these values as JSON. They are copied as text, because parsing them would delay
        // requests.
        let (new, old) = (image(2)?, image(3)?);
        let name = match (new, old) {
            (Some(_), None) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (None, _) => "REMOVE",
        };
        let _ = write!(
            batch.event,
            r#"{begin}{{"eventID":"{id}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","#
        );
        let _ = write!(
            batch.event,
            r#""awsRegion":"local","eventSourceARN":"arn:aws:dynamodb:local:000000000000:table/{table}/stream/{}","#,
            stream_began(text(6)?)
        );
        if image(5)?.is_some() {
            batch.event.push_str(r#""userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"#);
        }
        let _ = write!(
            batch.event,
            r#""dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{},"SequenceNumber":"{number:021}""#,
            written,
            text(1)?
        );
        for (name, image) in [("NewImage", new), ("OldImage", old)] {
            if let Some(image) = image {
                let _ = write!(batch.event, r#","{name}":{image}"#);
            }
        }
        batch.event.push_str(r#","StreamViewType":"NEW_AND_OLD_IMAGES"}}"#);
    }
    if batch.ids.is_empty() {
        return Ok(None);
    }
    batch.event.push_str("]}");
    Ok(Some(batch))
}

/// Removes the records of a table's stream up to and including `last`. Returns an upper bound for the number that is
/// left.
///
/// # Errors
/// The database cannot be written.
pub fn remove(stream: &Connection, table: &str, last: i64) -> rusqlite::Result<usize> {
    let mut statement = stream.prepare_cached("DELETE FROM _stream_records WHERE table_name = ?1 AND id <= ?2")?;
    statement.execute((table, last))?;
    // The difference of ids is enough, because counting the records would read all of them.
    let mut newest = stream.prepare_cached("SELECT COALESCE(MAX(id), ?1) - ?1 FROM _stream_records")?;
    newest.query_row((last,), |row| row.get::<_, i64>(0)).map(|left| usize::try_from(left).unwrap_or(0))
}
