//! How the `ledger` table holds a chain. A block is one item with all entries that one write added. Versions before
//! blocks stored each entry as an item of its own, the chain's end as `HEAD`, and a marker for each person. Those items
//! stay as they are, and the first block of such a chain follows its last entry.

use super::super::expression::absent;
use super::super::item::{Item, bytes, integer};
use super::super::keys::{self, PK, SK};
use super::super::stream::Position;
use super::super::table::Write;
use crate::StoreError;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ledger::{DigestKey, Entry, Hash, Head};
use domain::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, HashMap};

/// The people of a room as its history knows them: those who are in it, and those who left it not long ago.
pub(super) type People = HashMap<UserId, Person>;

/// A person in a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// The position of their last record that added an entry.
    pub(super) applied: Position,
    /// When they were last known to have left the room. `None`: they are in it.
    pub(super) left_at: Option<Timestamp>,
}

/// The entries that one write added to a chain, and what the next writer must know.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The entries, at least one.
    pub(super) entries: Vec<Entry>,
    /// The key of the room's digests. Each block repeats it, so that the last block is enough to go on.
    pub(super) key: DigestKey,
    /// The positions of the last records of the people in this block.
    pub(super) applied: Vec<(UserId, Position)>,
    /// All people after this block. Only some blocks say so: it bounds how far back a new consumer must read.
    pub(super) people: Option<People>,
    /// Whether a list of this chain left out somebody who is in the room.
    pub(super) is_cut: bool,
    /// Whether the chain began in the older form, so that people can have a marker.
    pub(super) has_markers: bool,
}

/// An entry as a block holds it. The rest follows from its place.
#[derive(Serialize, Deserialize)]
struct Kept {
    at: String,
    actor: String,
    action: String,
    data: Map<String, Json>,
    hash: Hash,
}

/// The people as a block holds them, by the streams of their last records.
type KeptPeople = BTreeMap<String, BTreeMap<UserId, KeptPerson>>;

/// The number of a person's last record; of one who has left also the time, in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeptPerson {
    Here(String),
    Left(String, u64),
}

impl Block {
    /// Adds the block to its chain. The condition fails if another consumer has added the same number.
    pub(super) fn put(&self) -> Result<Write, StoreError> {
        let Some(first) = self.entries.first() else { return Err(StoreError::Corrupt { attribute: "entries" }) };
        let entries: Vec<_> = self.entries.iter().map(Kept::of).collect();
        let began = self.applied.first().map(|(_, position)| position.began().to_owned()).unwrap_or_default();
        let numbers: BTreeMap<_, _> = self.applied.iter().map(|(user, position)| (user, position.number())).collect();
        let mut write = Write::put(keys::block(&first.chain, first.seq))
            .set("entries", text(&entries)?)
            .set("prev", first.prev)
            .set("digestKey", self.key)
            .set("stream", began)
            .set("applied", text(&numbers)?)
            .when(absent(PK));
        if let Some(people) = &self.people {
            write = write.set("people", text(&kept(people))?);
        }
        if self.is_cut {
            write = write.set("isCut", true);
        }
        if self.has_markers {
            write = write.set("hasMarkers", true);
        }
        Ok(write)
    }

    /// Whether the block comes right after `head`.
    pub(super) fn follows(&self, head: &Head) -> bool {
        self.entries.first().is_some_and(|first| (first.seq, first.prev) == (head.seq + 1, head.hash))
    }

    fn read(item: &Item, chain: &str) -> Result<Self, StoreError> {
        let began = string(item, "stream")?;
        let numbers: BTreeMap<UserId, String> = json(item, "applied")?;
        let position = |(user, number): (UserId, String)| Some((user, Position::new(began, &number)?));
        let applied = numbers.into_iter().map(position).collect::<Option<_>>();
        let people = if item.contains_key("people") { Some(read_people(json(item, "people")?)?) } else { None };
        Ok(Self {
            entries: entries(item, chain)?,
            key: digest_key(item)?,
            applied: applied.ok_or(StoreError::Corrupt { attribute: "applied" })?,
            people,
            is_cut: item.contains_key("isCut"),
            has_markers: item.contains_key("hasMarkers"),
        })
    }
}

impl Kept {
    fn of(entry: &Entry) -> Self {
        let Entry { at, actor, action, data, hash, .. } = entry.clone();
        Self { at, actor, action, data, hash }
    }
}

/// The entries of a block.
fn entries(item: &Item, chain: &str) -> Result<Vec<Entry>, StoreError> {
    let (first, kept): (u64, Vec<Kept>) = (place(item)?, json(item, "entries")?);
    if kept.is_empty() {
        return Err(StoreError::Corrupt { attribute: "entries" });
    }
    let mut prev = Hash::from(bytes(item, "prev")?);
    let entry = |(seq, Kept { at, actor, action, data, hash })| {
        let entry = Entry { chain: chain.to_owned(), seq, at, actor, action, data, prev, hash };
        prev = hash;
        entry
    };
    Ok((first..).zip(kept).map(entry).collect())
}

fn kept(people: &People) -> KeptPeople {
    let mut kept = KeptPeople::new();
    for (user, Person { applied, left_at }) in people {
        let of_stream = kept.entry(applied.began().to_owned()).or_default();
        let number = applied.number().to_owned();
        let person = match left_at {
            None => KeptPerson::Here(number),
            Some(left_at) => KeptPerson::Left(number, left_at.ms()),
        };
        of_stream.insert(user.clone(), person);
    }
    kept
}

fn read_people(kept: KeptPeople) -> Result<People, StoreError> {
    let mut people = People::new();
    for (began, of_stream) in kept {
        for (user, person) in of_stream {
            let (number, left_at) = match person {
                KeptPerson::Here(number) => (number, None),
                KeptPerson::Left(number, ms) => (number, Some(Timestamp::from_ms(ms))),
            };
            let applied = Position::new(&began, &number).ok_or(StoreError::Corrupt { attribute: "people" })?;
            people.insert(user, Person { applied, left_at });
        }
    }
    Ok(people)
}

/// A numbered item of a chain, with what a consumer needs.
#[derive(Debug)]
pub(super) enum Stored {
    /// An entry of the older form.
    Entry(Entry),
    /// A block.
    Block(Block),
}

impl Stored {
    pub(super) fn read(item: &Item, chain: &str) -> Result<Self, StoreError> {
        if is_block(item) { Block::read(item, chain).map(Self::Block) } else { entry(item, chain).map(Self::Entry) }
    }
}

/// The entries of a numbered item of a chain.
pub(super) fn entries_of(item: &Item, chain: &str) -> Result<Vec<Entry>, StoreError> {
    if is_block(item) { entries(item, chain) } else { Ok(vec![entry(item, chain)?]) }
}

/// The key of the room's digests, which a block holds, and the `HEAD` of the older form.
pub(super) fn digest_key(item: &Item) -> Result<DigestKey, StoreError> {
    Ok(DigestKey::from(bytes(item, "digestKey")?))
}

/// The person of a marker, and the position of their last record in the older form.
pub(super) fn marked(marker: &Item) -> Result<(UserId, Position), StoreError> {
    let user = string(marker, SK)?.strip_prefix(keys::USER).and_then(|user| user.parse().ok());
    // The first versions did not store when the stream began.
    let (began, number) = string(marker, "applied")?.split_once('/').unwrap_or(("", string(marker, "applied")?));
    let position = Position::new(began, number);
    Ok((
        user.ok_or(StoreError::Corrupt { attribute: SK })?,
        position.ok_or(StoreError::Corrupt { attribute: "applied" })?,
    ))
}

/// An item of the `ledger` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerItem {
    /// An entry of a chain, in the older form.
    Entry(Entry),
    /// Entries that follow each other, at least one.
    Block(Vec<Entry>),
    /// The last entry of a chain in the older form, as its writer stored it. Blocks may follow that entry.
    Head {
        /// The chain.
        chain: String,
        /// Its last entry.
        head: Head,
    },
    /// Any other item of a chain, such as a marker.
    Other,
}

impl LedgerItem {
    /// Reads an item of the `ledger` table.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is a block, an entry or a head that cannot be read.
    pub fn read(item: &Item) -> Result<Self, StoreError> {
        let (Some(chain), sort) = (string(item, PK)?.strip_prefix(keys::CHAIN), string(item, SK)?) else {
            return Ok(Self::Other);
        };
        if sort == keys::HEAD {
            let head = Head { seq: integer(item, "seq")?, hash: Hash::from(bytes(item, "hash")?) };
            Ok(Self::Head { chain: chain.to_owned(), head })
        } else if !sort.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self::Other)
        } else if is_block(item) {
            // A block that no consumer could go on from is as bad as one with unreadable entries.
            Ok(Self::Block(Block::read(item, chain)?.entries))
        } else {
            Ok(Self::Entry(entry(item, chain)?))
        }
    }
}

/// When the stream began to which the last record of a block or of a marker belongs. `None`: the item is neither, or its
/// position does not say.
#[must_use]
pub fn followed_stream(item: &Item) -> Option<&str> {
    let text = |attribute| if let Some(AttributeValue::S(text)) = item.get(attribute) { Some(text) } else { None };
    match text("stream") {
        Some(began) => Some(began),
        None => text("applied")?.split_once('/').map(|(began, _)| began),
    }
}

fn is_block(item: &Item) -> bool {
    item.contains_key("entries")
}

/// An entry of the older form.
fn entry(item: &Item, chain: &str) -> Result<Entry, StoreError> {
    let text = |attribute| string(item, attribute).map(str::to_owned);
    Ok(Entry {
        chain: chain.to_owned(),
        seq: place(item)?,
        at: text("at")?,
        actor: text("actor")?,
        action: text("action")?,
        data: json(item, "data")?,
        prev: Hash::from(bytes(item, "prev")?),
        hash: Hash::from(bytes(item, "hash")?),
    })
}

fn place(item: &Item) -> Result<u64, StoreError> {
    string(item, SK)?.parse().map_err(|_| StoreError::Corrupt { attribute: SK })
}

fn string<'a>(item: &'a Item, attribute: &'static str) -> Result<&'a str, StoreError> {
    match item.get(attribute) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(StoreError::Corrupt { attribute }),
    }
}

fn json<T: for<'a> Deserialize<'a>>(item: &Item, attribute: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(string(item, attribute)?).map_err(|_| StoreError::Corrupt { attribute })
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal(error.into()))
}
