//! The format of a snapshot: one object of lines, and a manifest that is written last.
//!
//! ```text
//! database-backups/audio-states-2026-11-21-03-00-00.jsonl.gz        {"table":"ledger","item":{"pk":{"S":"…"},…}} a line
//! database-backups/audio-states-2026-11-21-03-00-00.manifest.json   counts and checksums of the object
//! ```
//!
//! An item is DynamoDB's own JSON with members sorted by name, so that equal items give equal lines.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;

/// An item by the names of its attributes.
pub type Item = HashMap<String, AttributeValue>;

/// Prefix of all objects of snapshots.
pub const PREFIX: &str = "database-backups/";
/// Second part of each object's name, after [`PREFIX`].
const STEM: &str = "audio-states-";
/// Value of `format` in a manifest.
pub const FORMAT: &str = "greenroom-snapshot";
/// The schema that is written. All from 1 on are read. Since schema 2 the ledger can hold blocks.
pub const SCHEMA: u32 = 2;
/// Longest line, in bytes: an item holds at most 400 KB; base64, names and quotes make its line longer.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// A snapshot's name: the second in which it was begun, as `2026-11-21-03-00-00`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The snapshot that begins at `at`.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        let text = at.to_string();
        Self(text.chars().take(19).map(|c| if matches!(c, 'T' | ':') { '-' } else { c }).collect())
    }

    /// The second in which the snapshot was begun. `None`: the name is not a valid date and time.
    #[must_use]
    pub fn taken_at(&self) -> Option<Timestamp> {
        let (date, time) = (self.0.get(..10)?, self.0.get(11..)?);
        format!("{date}T{}Z", time.replace('-', ":")).parse().ok()
    }

    /// The snapshot to which the object with this key belongs. `None`: any other object.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        let name = key.strip_prefix(PREFIX)?.strip_prefix(STEM)?;
        let (id, rest) = name.split_once('.')?;
        matches!(rest, "manifest.json" | "jsonl.gz" | "jsonl").then(|| id.to_owned().try_into().ok()).flatten()
    }

    /// Key of the manifest.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        format!("{PREFIX}{STEM}{}.manifest.json", self.0)
    }

    /// Key of the lines.
    #[must_use]
    pub fn lines_key(&self, compression: Compression) -> String {
        let ending = match compression {
            Compression::Gzip => ".jsonl.gz",
            Compression::None => ".jsonl",
        };
        format!("{PREFIX}{STEM}{}{ending}", self.0)
    }
}

impl std::fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = domain::Refused;

    fn try_from(text: String) -> Result<Self, domain::Refused> {
        let fits = text.len() == 19
            && text.bytes().enumerate().all(|(place, byte)| match place {
                4 | 7 | 10 | 13 | 16 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if fits { Ok(Self(text)) } else { Err(domain::Refused("be YYYY-MM-DD-HH-MM-SS")) }
    }
}

impl std::str::FromStr for SnapshotId {
    type Err = domain::Refused;

    fn from_str(text: &str) -> Result<Self, domain::Refused> {
        text.to_owned().try_into()
    }
}

/// How the lines are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// Uncompressed.
    None,
}

/// A table of the stack, independent of its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// The rooms' histories. They are restored first, so that later changes from the state table's stream are added to
    /// them.
    Ledger,
    /// Users and agents.
    State,
}

/// The expected content of a snapshot's object. It is written after the object was read back and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`SCHEMA`].
    pub schema: u32,
    /// The snapshot's name.
    pub snapshot: SnapshotId,
    /// The stage it was taken from.
    pub stage: String,
    /// When the scan began, ISO 8601. Each item is as it was at some moment between this and `finishedAt`; the items
    /// are not all of the same moment.
    pub started_at: String,
    /// When the scan ended, ISO 8601.
    pub finished_at: String,
    /// The object of lines.
    pub object: ObjectSummary,
    /// The tables, each once.
    pub tables: Vec<TableSummary>,
    /// The ledger's chains.
    pub chains: ChainSummary,
}

/// An object, as stored and as lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSummary {
    /// Its key.
    pub key: String,
    /// How it is stored.
    pub compression: Compression,
    /// Bytes as stored.
    pub bytes: u64,
    /// MD5 of the bytes as stored, hexadecimal.
    pub md5: String,
    /// SHA-256 of the bytes as stored, hexadecimal.
    pub sha256: String,
    /// Number of lines.
    pub lines: u64,
    /// Bytes of the uncompressed lines, line ends included.
    pub line_bytes: u64,
    /// SHA-256 of the uncompressed lines, hexadecimal.
    pub line_sha256: String,
}

/// A table's part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableSummary {
    /// Which table.
    pub table: Table,
    /// Number of its items.
    pub items: u64,
    /// Its schema in the form of `CreateTable`: `KeySchema`, `AttributeDefinitions` and, if there are any,
    /// `GlobalSecondaryIndexes`.
    pub schema: Value,
}

/// A summary of the ledger's chains. Its size does not depend on their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainSummary {
    /// Number of chains; each has one head.
    pub chains: u64,
    /// Entries of all chains.
    pub entries: u64,
    /// The sum modulo 2^256 of SHA-256(`<chain> <seq> <hash>`) over all heads, hexadecimal. It does not depend on the
    /// order of the heads.
    pub heads: String,
}

/// Appends an item's line, with its line end.
///
/// # Errors
/// [`Unknown`] if DynamoDB has got a new type of attribute.
pub fn write_line(line: &mut Vec<u8>, table: Table, item: &Item) -> Result<(), Unknown> {
    let item: Map<String, Value> =
        item.iter().map(|(name, value)| Ok((name.clone(), to_json(value)?))).collect::<Result<_, Unknown>>()?;
    line.extend_from_slice(json!({"table": table, "item": item}).to_string().as_bytes());
    line.push(b'\n');
    Ok(())
}

/// An attribute of a type that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attribute has a type that this program does not know")]
pub struct Unknown;

/// Reads an item's line, with or without its line end.
///
/// # Errors
/// The line does not have the form that [`write_line`] writes; the text says where.
pub fn read_line(line: &[u8]) -> Result<(Table, Item), String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        table: Table,
        item: Map<String, Value>,
    }
    let Line { table, item } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let item = item
        .into_iter()
        .map(|(name, value)| match from_json(value) {
            Some(value) => Ok((name, value)),
            None => Err(format!("attribute {name} is not DynamoDB JSON")),
        })
        .collect::<Result<_, _>>()?;
    Ok((table, item))
}

fn to_json(value: &AttributeValue) -> Result<Value, Unknown> {
    let base64 = |blob: &Blob| BASE64.encode(blob.as_ref());
    // A set has no order, and equal sets must give equal lines.
    let sorted = |mut values: Vec<String>| {
        values.sort_unstable();
        values
    };
    Ok(match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::B(blob) => json!({"B": base64(blob)}),
        AttributeValue::Bool(value) => json!({"BOOL": value}),
        AttributeValue::Null(value) => json!({"NULL": value}),
        AttributeValue::Ss(texts) => json!({"SS": sorted(texts.clone())}),
        AttributeValue::Ns(numbers) => json!({"NS": sorted(numbers.clone())}),
        AttributeValue::Bs(blobs) => json!({"BS": sorted(blobs.iter().map(base64).collect())}),
        AttributeValue::L(values) => json!({"L": values.iter().map(to_json).collect::<Result<Vec<_>, _>>()?}),
        AttributeValue::M(values) => {
            let values = values.iter().map(|(name, value)| Ok((name.clone(), to_json(value)?)));
            json!({"M": values.collect::<Result<Map<_, _>, Unknown>>()?})
        }
        _ => return Err(Unknown),
    })
}

fn from_json(value: Value) -> Option<AttributeValue> {
    let Value::Object(value) = value else { return None };
    let mut members = value.into_iter();
    let (kind, value) = members.next()?;
    if members.next().is_some() {
        return None;
    }
    let blob = |text: String| BASE64.decode(text).ok().map(Blob::new);
    let texts = |values: Vec<Value>| {
        let texts = values.into_iter().map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        texts.collect::<Option<Vec<_>>>()
    };
    Some(match (kind.as_str(), value) {
        ("S", Value::String(text)) => AttributeValue::S(text),
        ("N", Value::String(number)) => AttributeValue::N(number),
        ("B", Value::String(text)) => AttributeValue::B(blob(text)?),
        ("BOOL", Value::Bool(value)) => AttributeValue::Bool(value),
        ("NULL", Value::Bool(value)) => AttributeValue::Null(value),
        ("SS", Value::Array(values)) => AttributeValue::Ss(texts(values)?),
        ("NS", Value::Array(values)) => AttributeValue::Ns(texts(values)?),
        ("BS", Value::Array(values)) => {
            AttributeValue::Bs(texts(values)?.into_iter().map(blob).collect::<Option<_>>()?)
        }
        ("L", Value::Array(values)) => AttributeValue::L(values.into_iter().map(from_json).collect::<Option<_>>()?),
        ("M", Value::Object(values)) => {
            let values = values.into_iter().map(|(name, value)| Some((name, from_json(value)?)));
            AttributeValue::M(values.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = AttributeValue> {
        let set = || proptest::collection::btree_set(any::<Vec<u8>>(), 1..4);
        let leaf = prop_oneof![
            any::<String>().prop_map(AttributeValue::S),
            any::<i64>().prop_map(|number| AttributeValue::N(number.to_string())),
            any::<Vec<u8>>().prop_map(|bytes| AttributeValue::B(Blob::new(bytes))),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null(true)),
            proptest::collection::btree_set(any::<String>(), 1..4)
                .prop_map(|texts| AttributeValue::Ss(texts.into_iter().collect())),
            set().prop_map(|blobs| {
                let mut texts: Vec<_> = blobs.iter().map(|bytes| BASE64.encode(bytes)).collect();
                texts.sort_unstable();
                AttributeValue::Bs(texts.iter().flat_map(|text| BASE64.decode(text)).map(Blob::new).collect())
            }),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
                proptest::collection::hash_map(any::<String>(), inner, 0..4).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_item_comes_back_from_its_line(item in proptest::collection::hash_map(any::<String>(), value(), 0..6)) {
            let mut line = Vec::new();
            write_line(&mut line, Table::State, &item).unwrap();
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            let (table, read) = read_line(&line).unwrap();
            let mut again = Vec::new();
            write_line(&mut again, table, &read).unwrap();
            prop_assert_eq!(line, again);
            prop_assert_eq!((table, read), (Table::State, item));
        }

        #[test]
        fn no_line_is_a_panic(line in any::<Vec<u8>>()) {
            let _ = read_line(&line);
        }
    }

    #[test]
    fn an_object_belongs_to_its_snapshot() {
        let id = SnapshotId::at(Timestamp::from_ms(1_795_257_125_007));
        assert_eq!(id.to_string(), "2026-11-21-10-32-05");
        assert_eq!(id.lines_key(Compression::Gzip), "database-backups/audio-states-2026-11-21-10-32-05.jsonl.gz");
        assert_eq!(SnapshotId::of_key(&id.lines_key(Compression::Gzip)), Some(id.clone()));
        assert_eq!(SnapshotId::of_key(&id.lines_key(Compression::None)), Some(id.clone()));
        assert_eq!(id.taken_at(), Some(Timestamp::from_ms(1_795_257_125_000)));
        assert_eq!("2026-99-21-10-32-05".parse::<SnapshotId>().unwrap().taken_at(), None);
        assert_eq!(SnapshotId::of_key(&id.manifest_key()), Some(id));
        for key in [
            "",
            "database-backups/",
            "database-backups/audio-states-x.jsonl",
            "other/audio-states-2026-11-21-10-32-05.jsonl",
        ] {
            assert_eq!(SnapshotId::of_key(key), None, "{key}");
        }
    }
}
