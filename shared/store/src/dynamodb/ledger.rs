//! The ledger: one append-only chain of entries per room. `docs/ledger.md` describes its content.

use super::expression::{Condition, absent, below, is};
use super::failed;
use super::item::{Item, bytes, integer, recorded};
use super::keys::{self, CHANGED_BY, PK, SK};
use super::stream::StreamRecord;
use super::table::{Reason, Table, Write};
use crate::{StoreError, random};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ledger::{Change, DigestKey, Entry, Hash, Head, canonical};
use domain::user::User;
use domain::verdict::Policy;
use domain::{Actor, RoomId, Timestamp, UserId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Largest number of items in one transaction.
const ITEMS_MAX: usize = 100;
/// Largest number of chain heads that are cached.
const HEADS_MAX: usize = 1_000;
/// Attempts when another consumer appends to the same chain concurrently.
const APPEND_TRIES_MAX: u32 = 12;
/// Pause before the next attempt, multiplied by the number of attempts so far.
const APPEND_PAUSE: Duration = Duration::from_millis(5);

/// The `ledger` table.
#[derive(Debug, Clone)]
pub struct Ledger {
    table: Table,
    policy: Policy,
    heads: Arc<Mutex<Heads>>,
}

/// Part of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The entries, by number.
    pub entries: Vec<Entry>,
    /// The chain's last entry.
    pub head: Head,
    /// Whether there are entries after these.
    pub has_more: bool,
}

/// The end of a chain, to which the next entry is linked.
#[derive(Debug, Clone, Copy)]
struct Link {
    head: Head,
    key: DigestKey,
}

/// The heads of chains as this process knows them. If another consumer has appended since, the write's condition fails.
type Heads = HashMap<RoomId, Link>;

/// An append that broke off: the records before `index` are in the ledger.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Unfinished {
    /// Index of the first record that is missing.
    pub index: usize,
    /// Why it could not be added.
    #[source]
    pub cause: StoreError,
}

/// A record that concerns at least one room and is not added yet.
struct Pending {
    index: usize,
    user_id: UserId,
    position: String,
    old: Option<User>,
    new: Option<User>,
    expired: bool,
    noted_at: Timestamp,
}

impl Pending {
    fn change(&self) -> Change<'_> {
        Change { old: self.old.as_ref(), new: self.new.as_ref(), expired: self.expired, noted_at: self.noted_at }
    }

    fn rooms(&self) -> Vec<RoomId> {
        let change = self.change();
        change.rooms().into_iter().filter(|room| change.concerns(room)).collect()
    }

    fn joins(&self, room: &RoomId) -> bool {
        self.old.as_ref().is_none_or(|old| old.room_id.as_ref() != Some(room))
    }
}

/// The marker of a user in a chain, as one transaction writes it: the positions of the user's first and last record.
struct Marker<'a> {
    room: RoomId,
    user_id: &'a UserId,
    first: &'a str,
    last: &'a str,
    joins: bool,
}

/// The entries that one transaction adds to a chain.
struct Addition {
    room: RoomId,
    before: Link,
    head: Head,
    entries: Vec<Entry>,
}

/// The result of an attempt to append.
enum Attempt {
    Done,
    /// The chains already hold these entries.
    Repeated,
    /// The chain does not know this person, so the entry must record a join.
    Unknown,
    /// Another consumer appended in the meantime.
    Raced,
}

/// Whether an older version, which did not write `changedBy`, revoked the agent on behalf of the service.
fn ended_by_service(item: &Item) -> bool {
    matches!(item.get("agentRevoked"), Some(AttributeValue::S(by)) if by == "service")
}

impl Ledger {
    /// The ledger in `table`; `policy` gives its verdicts.
    #[must_use]
    pub fn new(client: Client, table: String, policy: Policy) -> Self {
        Self { table: Table::new(client, table), policy, heads: Arc::default() }
    }

    /// Appends the changes of the state table to the histories of the rooms that they concern, in order, with as many
    /// as fit in each transaction. It is idempotent: a record that was appended before adds nothing.
    ///
    /// # Errors
    /// The first record that was not appended, and why: [`StoreError::Corrupt`] if it cannot be read, or the failure of
    /// a write.
    pub async fn append(&self, records: &[StreamRecord]) -> Result<(), Unfinished> {
        let mut index = 0;
        while index < records.len() {
            let (mut group, end) = self.group(records, index)?;
            let outcome = match group.as_slice() {
                [] => Ok(Attempt::Done),
                group => self.attempt(group).await,
            };
            let together = outcome.map_err(|cause| Unfinished { index, cause })?;
            if !matches!(together, Attempt::Done) {
                // The group was refused. Appending its records one by one shows which of them exist already, or lost a
                // race.
                for pending in &mut group {
                    let index = pending.index;
                    self.append_one(pending).await.map_err(|cause| Unfinished { index, cause })?;
                }
            }
            index = end;
        }
        Ok(())
    }

    /// The records from `start` on that fit into one transaction, and the index of the first record after them.
    fn group(&self, records: &[StreamRecord], start: usize) -> Result<(Vec<Pending>, usize), Unfinished> {
        let (mut group, mut chains, mut markers, mut items) = (Vec::new(), HashSet::new(), HashSet::new(), 0);
        for (index, record) in records.iter().enumerate().skip(start) {
            let pending = match self.pending(index, record) {
                Ok(Some(pending)) => pending,
                Ok(None) => continue,
                // Append the records before it first.
                Err(_) if index > start => return Ok((group, index)),
                Err(cause) => return Err(Unfinished { index, cause }),
            };
            for room in pending.rooms() {
                items += pending.change().facts(&room, &DigestKey::from([0; 32])).len();
                items += usize::from(markers.insert((room.clone(), pending.user_id.clone())));
                items += usize::from(chains.insert(room));
            }
            // One transaction can move each marker only once, and only forward.
            let rises = group.last().is_none_or(|last: &Pending| last.position < pending.position);
            if items > ITEMS_MAX || !rises {
                return Ok((group, index));
            }
            group.push(pending);
        }
        Ok((group, records.len()))
    }

    /// Reads a record. `None`: it concerns no room.
    fn pending(&self, index: usize, record: &StreamRecord) -> Result<Option<Pending>, StoreError> {
        let Some(user_id) = record.user_id() else { return Ok(None) };
        let image = |image: Option<Item>| image.map(|image| recorded(image, self.policy)).transpose();
        let (old, mut new) = (record.old_image()?, record.new_image()?);
        if let (Some(old), Some(new)) = (&old, &mut new)
            && ended_by_service(new)
            && !ended_by_service(old)
        {
            new.entry(CHANGED_BY.to_owned()).or_insert_with(|| AttributeValue::S(Actor::Service.to_string()));
        }
        let pending = Pending {
            index,
            user_id,
            position: record.position()?,
            old: image(old)?,
            new: image(new)?,
            expired: record.expired(),
            noted_at: record.noted_at(),
        };
        Ok((!pending.rooms().is_empty()).then_some(pending))
    }

    async fn append_one(&self, pending: &mut Pending) -> Result<(), StoreError> {
        for tries in 1..=APPEND_TRIES_MAX {
            match self.attempt(std::slice::from_ref(pending)).await? {
                // A person who is in a room without having joined was there before its history began.
                Attempt::Unknown if pending.new.is_some() => pending.old = None,
                Attempt::Done | Attempt::Repeated | Attempt::Unknown => return Ok(()),
                Attempt::Raced => tokio::time::sleep(APPEND_PAUSE * tries).await,
            }
            if pending.rooms().is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("other consumers kept appending to the same chain".into()))
    }

    /// Appends all of these records, or none of them, by one transaction.
    async fn attempt(&self, group: &[Pending]) -> Result<Attempt, StoreError> {
        let mut markers: Vec<Marker<'_>> = Vec::new();
        let mut additions: Vec<Addition> = Vec::new();
        for pending in group {
            let change = pending.change();
            let actor = change.actor();
            for room in pending.rooms() {
                match markers.iter_mut().find(|marker| marker.room == room && *marker.user_id == pending.user_id) {
                    Some(marker) => marker.last = &pending.position,
                    None => markers.push(Marker {
                        joins: pending.joins(&room),
                        room: room.clone(),
                        user_id: &pending.user_id,
                        first: &pending.position,
                        last: &pending.position,
                    }),
                }
                if !additions.iter().any(|addition| addition.room == room) {
                    let before = self.before(&room).await?;
                    additions.push(Addition { room: room.clone(), before, head: before.head, entries: Vec::new() });
                }
                let Some(addition) = additions.iter_mut().find(|addition| addition.room == room) else { continue };
                let chain = keys::chain(&room);
                for fact in change.facts(&room, &addition.before.key) {
                    let entry = Entry::after(&addition.head, &chain, change.at(), &actor, change.request_id(), &fact);
                    addition.head = entry.head();
                    addition.entries.push(entry);
                }
            }
        }
        // The markers come first, so that their position tells which reason of a refusal belongs to a marker.
        let mut writes: Vec<_> = markers.iter().map(Marker::write).collect();
        for addition in &additions {
            writes.extend(addition.entries.iter().map(added));
            writes.push(addition.advance());
        }
        match self.table.transact(writes).await? {
            Ok(()) => {
                let links = additions
                    .into_iter()
                    .map(|addition| (addition.room, Link { head: addition.head, key: addition.before.key }));
                let mut heads = self.heads();
                if heads.len() > HEADS_MAX {
                    heads.clear();
                }
                heads.extend(links);
                Ok(Attempt::Done)
            }
            Err(reasons) => {
                let mut heads = self.heads();
                for addition in &additions {
                    heads.remove(&addition.room);
                }
                Ok(cause(&reasons, markers.len()))
            }
        }
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn before(&self, room: &RoomId) -> Result<Link, StoreError> {
        let known = self.heads().get(room).copied();
        if let Some(link) = known {
            return Ok(link);
        }
        match self.link(room).await? {
            Some(link) => Ok(link),
            None => Ok(Link { head: Head::NONE, key: random::<32>()?.into() }),
        }
    }

    async fn link(&self, room: &RoomId) -> Result<Option<Link>, StoreError> {
        let item = self.table.get_now(keys::head(&keys::chain(room))).await?;
        let link = |item| Ok(Link { head: head(&item)?, key: DigestKey::from(bytes(&item, "digestKey")?) });
        item.map(link).transpose()
    }

    /// At most `limit` entries of a room after number `since`. The head is read first: an entry up to the head's number
    /// can only be missing if it was deleted.
    ///
    /// # Errors
    /// A failure of the table.
    pub async fn read(&self, room: &RoomId, since: u64, limit: u16) -> Result<Part, StoreError> {
        let head = self.link(room).await?.map_or(Head::NONE, |link| link.head);
        if since >= head.seq {
            return Ok(Part { entries: Vec::new(), head, has_more: false });
        }
        let chain = keys::chain(room);
        let wanted = Condition::Between(SK, [since + 1, head.seq].map(keys::place));
        let request = self.table.query(is(PK, keys::partition(&chain)).and(wanted), None);
        let request = request.limit(i32::from(limit)).consistent_read(true);
        let output = request.send().await.map_err(failed)?;
        let items = output.items.unwrap_or_default().into_iter();
        let entries = items.map(|item| entry(&item, &chain)).collect::<Result<Vec<_>, _>>()?;
        let has_more = entries.last().is_some_and(|last| last.seq < head.seq);
        Ok(Part { entries, head, has_more })
    }
}

impl Marker<'_> {
    /// Stores the position of the user's last record in this chain, on condition that the first one is newer than the
    /// stored position. A user who does not join must already have a marker.
    fn write(&self) -> Write {
        let is_newer = below("applied", self.first);
        let is_newer = if self.joins { absent("applied").or(is_newer) } else { is_newer };
        let write = Write::update(keys::member(&keys::chain(&self.room), self.user_id)).set("applied", self.last);
        write.when(is_newer).showing_old()
    }
}

impl Addition {
    /// Moves a chain's head from `before` to `head`.
    fn advance(&self) -> Write {
        let Self { room, before, head: after, .. } = self;
        let write = Write::update(keys::head(&keys::chain(room))).set("seq", after.seq).set("hash", after.hash);
        if before.head.seq == 0 {
            write.set("digestKey", before.key).when(absent(PK))
        } else {
            write.when(is("seq", before.head.seq).and(is("hash", before.head.hash)))
        }
    }
}

/// Adds an entry to its chain.
fn added(entry: &Entry) -> Write {
    Write::put(keys::entry(&entry.chain, entry.seq))
        .set("at", &entry.at)
        .set("actor", &entry.actor)
        .set("action", &entry.action)
        .set("data", canonical(&entry.data.clone().into()))
        .set("prev", entry.prev)
        .set("hash", entry.hash)
        .when(absent(PK))
}

/// Reads the head of a chain.
fn head(item: &Item) -> Result<Head, StoreError> {
    Ok(Head { seq: integer(item, "seq")?, hash: Hash::from(bytes(item, "hash")?) })
}

/// An item of the `ledger` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerItem {
    /// An entry of a chain.
    Entry(Entry),
    /// A chain's head: its last entry, as the writer stored it.
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
    /// [`StoreError::Corrupt`] if it is an entry or a head that cannot be read.
    pub fn read(item: &Item) -> Result<Self, StoreError> {
        let key = |name: &'static str| match item.get(name) {
            Some(AttributeValue::S(text)) => Ok(text.as_str()),
            _ => Err(StoreError::Corrupt { attribute: name }),
        };
        let (Some(chain), sort) = (key(PK)?.strip_prefix(keys::CHAIN), key(SK)?) else { return Ok(Self::Other) };
        if sort == keys::HEAD {
            Ok(Self::Head { chain: chain.to_owned(), head: head(item)? })
        } else if sort.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self::Entry(entry(item, chain)?))
        } else {
            Ok(Self::Other)
        }
    }
}

/// When the stream began to which a marker's last record belongs. `None`: the item is not a marker, or its position
/// does not say.
#[must_use]
pub fn followed_stream(item: &Item) -> Option<&str> {
    match item.get("applied") {
        Some(AttributeValue::S(position)) => position.split_once('/').map(|(began, _)| began),
        _ => None,
    }
}

/// Why a transaction was refused. Its first `markers` items are markers.
fn cause(reasons: &[Reason], markers: usize) -> Attempt {
    let marked: Vec<_> = reasons.iter().take(markers).filter(|reason| reason.refused).collect();
    if marked.is_empty() {
        Attempt::Raced
    } else if marked.iter().all(|reason| reason.old.is_empty()) {
        Attempt::Unknown
    } else {
        Attempt::Repeated
    }
}

fn entry(item: &Item, chain: &str) -> Result<Entry, StoreError> {
    let text = |attribute: &'static str| match item.get(attribute) {
        Some(AttributeValue::S(text)) => Ok(text.clone()),
        _ => Err(StoreError::Corrupt { attribute }),
    };
    Ok(Entry {
        chain: chain.to_owned(),
        seq: text(SK)?.parse().map_err(|_| StoreError::Corrupt { attribute: SK })?,
        at: text("at")?,
        actor: text("actor")?,
        action: text("action")?,
        data: serde_json::from_str(&text("data")?).map_err(|_| StoreError::Corrupt { attribute: "data" })?,
        prev: Hash::from(bytes(item, "prev")?),
        hash: Hash::from(bytes(item, "hash")?),
    })
}
