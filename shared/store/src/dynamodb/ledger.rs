//! The ledger: one append-only chain of entries per room. `docs/ledger.md` describes its content and its forms.
//!
//! All entries that a batch of changes adds to a room are one item, a block, written by one conditional call. The
//! condition says that nobody has written the same number, so a chain cannot fork. A block also holds the positions of
//! its records in the stream, so a record that comes again is recognized, by this consumer or by any other.

mod block;
mod chain;

pub use block::{LedgerItem, followed_stream};

use super::expression::{Condition, is};
use super::failed;
use super::item::{Item, recorded};
use super::keys::{self, CHANGED_BY, PK, ROOM_ID, SK, WAITING};
use super::stream::StreamRecord;
use super::table::Table;
use crate::{StoreError, random};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use block::{Stored, digest_key, entries_of, marked};
use chain::{Chain, LOOKS, Pending};
use domain::ledger::{Entry, Head, SEQ_MAX};
use domain::user::User;
use domain::verdict::Policy;
use domain::{Actor, RoomId, Timestamp, UserId};
use futures_util::StreamExt as _;
use futures_util::stream;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;

/// Records that are read before the task yields to others.
const RECORDS_AT_ONCE: usize = 16;
/// Rooms of a batch that are written at once.
const ROOMS_AT_ONCE: usize = 16;
/// Largest number of chains, and of people in them, that a consumer remembers: some 20 MB.
const CHAINS_MAX: usize = 2_000;
const PEOPLE_MAX: usize = 50_000;
/// Numbered items that one call reads from the end of a chain.
const ITEMS_AT_ONCE: i32 = 16;
/// Attempts when other consumers append to the same chain concurrently.
const APPEND_TRIES_MAX: u32 = 12;
/// Pause before the next attempt, multiplied by the number of attempts so far.
const APPEND_PAUSE: Duration = Duration::from_millis(5);

/// The `ledger` table.
#[derive(Debug, Clone)]
pub struct Ledger {
    table: Table,
    policy: Policy,
    known: Arc<Mutex<Known>>,
}

/// The chains as this process knows them. If another consumer has appended since, the write's condition fails.
#[derive(Debug, Default)]
struct Known {
    chains: HashMap<RoomId, Slot>,
    people: usize,
}

/// The entries that a record has added to a room, by the record's place in the batch.
type Added = HashMap<(usize, RoomId), Vec<Entry>>;

/// Whoever appends to a chain in this process holds its lock.
type Slot = Arc<AsyncMutex<Option<Chain>>>;

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

/// Where a chain ends, compared with what this process knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Where this process thought.
    Same,
    /// Others have added blocks, which this process knows now.
    Further,
    /// Too far away, or in another chain: it must be read anew.
    Elsewhere,
}

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

/// What a batch has done.
#[derive(Debug, Default)]
pub struct Appended {
    /// What has happened in rooms that somebody created, in the order of the records.
    pub changes: Vec<Changed>,
    /// Why not all of it is in the ledger.
    pub unfinished: Option<Unfinished>,
}

/// What a record says about a person in a room that somebody created.
#[derive(Debug)]
pub struct Changed {
    /// The record's place in the batch.
    pub index: usize,
    /// The room.
    pub room: RoomId,
    /// The person.
    pub user_id: UserId,
    /// How they were in the room before; none if they were not.
    pub old: Option<User>,
    /// How they are in the room now; none if they are not.
    pub new: Option<User>,
    /// Whether they wait in the lobby, before or now.
    pub of_lobby: bool,
    /// What it has added to the history. Empty if it was delivered before, or is nothing for the history.
    pub entries: Vec<Entry>,
    /// When it happened.
    pub at: Timestamp,
    /// Who made the change.
    pub by: String,
}

/// Whether an older version, which did not write `changedBy`, revoked the agent on behalf of the service.
fn ended_by_service(item: &Item) -> bool {
    matches!(item.get("agentRevoked"), Some(AttributeValue::S(by)) if by == "service")
}

/// The room in whose lobby the person of an item waits.
fn lobby(item: &Item) -> Option<RoomId> {
    let AttributeValue::S(room) = item.get(ROOM_ID).filter(|_| item.contains_key(WAITING))? else { return None };
    room.parse().ok()
}

impl Ledger {
    /// The ledger in `table`; `policy` gives its verdicts.
    #[must_use]
    pub fn new(client: Client, table: String, policy: Policy) -> Self {
        Self { table: Table::new(client, table), policy, known: Arc::default() }
    }

    /// Appends the changes of the state table to the histories of the rooms that they concern. In each history they are
    /// in order. It is idempotent: a record that was appended before adds nothing. Records after the one that could not
    /// be appended may be in the histories of other rooms.
    ///
    /// The outcome names the first record that was not appended, and why: [`StoreError::Corrupt`] if it cannot be read, or
    /// the failure of a call.
    pub async fn append(&self, records: &[StreamRecord], now: Timestamp) -> Appended {
        let (mut pending, mut failures) = (Vec::new(), Vec::new());
        for (index, record) in records.iter().enumerate() {
            // In the runner, requests wait for this thread.
            if index % RECORDS_AT_ONCE == RECORDS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            match self.pending(index, record) {
                Ok(Some(one)) => pending.push(one),
                Ok(None) => {}
                // Whatever comes after a record that cannot be read would overtake it.
                Err(cause) => {
                    failures.push(Unfinished { index, cause });
                    break;
                }
            }
        }
        let mut rooms: Vec<(RoomId, Vec<&Pending>)> = Vec::new();
        let mut places = HashMap::new();
        for one in &pending {
            let change = one.change();
            for room in change.rooms().into_iter().filter(|room| change.concerns(room)) {
                let place = *places.entry(room.clone()).or_insert(rooms.len());
                if place == rooms.len() {
                    rooms.push((room, Vec::new()));
                }
                if let Some((_, of_room)) = rooms.get_mut(place) {
                    of_room.push(one);
                }
            }
        }
        let mut appends = Vec::with_capacity(rooms.len());
        for (room, of_room) in &rooms {
            appends.push(self.append_to(room, of_room, now));
        }
        let outcomes: Vec<_> = stream::iter(appends).buffer_unordered(ROOMS_AT_ONCE).collect().await;
        let mut added = HashMap::new();
        for (entries, outcome) in outcomes {
            failures.extend(outcome.err());
            added.extend(entries);
        }
        let changes = pending.into_iter().flat_map(|one| one.changed(&mut added)).collect();
        Appended { changes, unfinished: failures.into_iter().min_by_key(|failure| failure.index) }
    }

    /// Reads a record. `None`: its item is not a state.
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
        let lobby = [&old, &new].into_iter().flatten().find_map(lobby);
        Ok(Some(Pending {
            index,
            lobby,
            user_id,
            position: record.position()?,
            old: image(old)?,
            new: image(new)?,
            expired: record.expired(),
            noted_at: record.noted_at(),
        }))
    }

    /// Appends records to the history of one room, in order. Returns also the entries that it has added to a room that
    /// somebody created.
    async fn append_to(&self, room: &RoomId, records: &[&Pending], now: Timestamp) -> (Added, Result<(), Unfinished>) {
        let slot = self.slot(room);
        let mut slot = slot.lock().await;
        let before = slot.as_ref().map_or(0, Chain::size);
        let mut added = Added::new();
        let outcome = self.append_locked(room, records, now, &mut slot, &mut added).await;
        self.changed_by(before, slot.as_ref().map_or(0, Chain::size));
        (added, outcome)
    }

    async fn append_locked(
        &self,
        room: &RoomId,
        mut records: &[&Pending],
        now: Timestamp,
        slot: &mut Option<Chain>,
        added: &mut Added,
    ) -> Result<(), Unfinished> {
        let name = keys::chain(room);
        let (mut tries, mut has_looked) = (1, false);
        while let [record, ..] = records {
            let failed = |cause| Unfinished { index: record.index, cause };
            let began = record.position.began();
            let chain = match slot {
                Some(chain) if chain.began == began => chain,
                _ => slot.insert(self.load(room, began, now).await.map_err(failed)?),
            };
            if chain.looks > 0 && !has_looked {
                has_looked = true;
                match self.follow(chain, &name, now, false).await.map_err(failed)? {
                    End::Same => chain.looks -= 1,
                    End::Further => chain.looks = LOOKS,
                    End::Elsewhere => {
                        *slot = None;
                        continue;
                    }
                }
            }
            self.mark(chain, &name, records).await.map_err(failed)?;
            let addition = chain.add(room, &name, records, now);
            // A stored block shows that this process knew the end of the chain. Without one it must look.
            if addition.doubts && addition.block.is_none() {
                match self.follow(chain, &name, now, true).await.map_err(failed)? {
                    End::Same => {}
                    End::Further => continue,
                    End::Elsewhere => {
                        *slot = None;
                        continue;
                    }
                }
            }
            if let Some(block) = &addition.block
                && self.table.write(block.put().map_err(failed)?).await.map_err(failed)?.is_err()
            {
                // Another consumer has appended. Its blocks say which of these records it has taken.
                if tries == APPEND_TRIES_MAX {
                    let cause = "other consumers kept appending to the same chain".into();
                    return Err(failed(StoreError::Unavailable(cause)));
                }
                (chain.looks, has_looked) = (LOOKS, true);
                if self.follow(chain, &name, now, true).await.map_err(failed)? == End::Elsewhere {
                    *slot = None;
                }
                tokio::time::sleep(APPEND_PAUSE * (tries - 1)).await;
                tries += 1;
                continue;
            }
            records = records.get(addition.done..).unwrap_or_default();
            let entries = chain.commit(addition);
            if room.is_created() {
                entries.for_each(|(index, entry)| added.entry((index, room.clone())).or_default().push(entry));
            }
            tries = 1;
        }
        Ok(())
    }

    /// The place in which this process remembers a chain.
    fn slot(&self, room: &RoomId) -> Slot {
        let mut known = self.known();
        if let Some(slot) = known.chains.get(room) {
            return Arc::clone(slot);
        }
        if known.chains.len() >= CHAINS_MAX || known.people >= PEOPLE_MAX {
            *known = Known::default();
        }
        Arc::clone(known.chains.entry(room.clone()).or_default())
    }

    /// Notes how many people of a chain were remembered before, and are now.
    fn changed_by(&self, before: usize, now: usize) {
        let mut known = self.known();
        known.people = (known.people + now).saturating_sub(before);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the end of a chain, back to the last block that names the people.
    async fn load(&self, room: &RoomId, began: &str, now: Timestamp) -> Result<Chain, StoreError> {
        let name = keys::chain(room);
        let (mut newest_first, mut start) = (Vec::new(), None);
        'chain: loop {
            let request = self.numbered(&name, 1, SEQ_MAX).scan_index_forward(false).limit(ITEMS_AT_ONCE);
            let output = request.set_exclusive_start_key(start.take()).send().await.map_err(failed)?;
            for item in output.items.unwrap_or_default() {
                let stored = Stored::read(&item, &name)?;
                let ends = !matches!(&stored, Stored::Block(block) if block.people.is_none());
                newest_first.push(stored);
                if ends {
                    break 'chain;
                }
            }
            start = output.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                break;
            }
        }
        if let Some(Stored::Entry(last)) = newest_first.first() {
            // The chain has no block yet.
            let head = self.table.get_now(keys::head(&name)).await?.ok_or(StoreError::Corrupt { attribute: "HEAD" })?;
            return Ok(Chain::new(last.head(), digest_key(&head)?, true, began));
        }
        match Chain::of(newest_first, began, now) {
            Some(chain) => Ok(chain),
            None => Ok(Chain::new(Head::NONE, random::<32>()?.into(), false, began)),
        }
    }

    /// Takes in the blocks that others have added to a chain. A read that is not `consistent` can miss the last ones.
    async fn follow(&self, chain: &mut Chain, name: &str, now: Timestamp, consistent: bool) -> Result<End, StoreError> {
        let known = chain.head;
        let request = self.numbered(name, chain.head.seq + 1, SEQ_MAX).consistent_read(consistent);
        let output = request.send().await.map_err(failed)?;
        for item in output.items.unwrap_or_default() {
            match Stored::read(&item, name)? {
                Stored::Block(block) if block.follows(&chain.head) => chain.follow(block, now),
                _ => return Ok(End::Elsewhere),
            }
        }
        let is_whole = output.last_evaluated_key.is_none_or(|key| key.is_empty());
        Ok(match is_whole {
            false => End::Elsewhere,
            true if chain.head == known => End::Same,
            true => End::Further,
        })
    }

    /// Reads the markers of the people of whom the chain's blocks say nothing.
    async fn mark(&self, chain: &mut Chain, name: &str, records: &[&Pending]) -> Result<(), StoreError> {
        if !chain.has_markers {
            return Ok(());
        }
        let unknown: HashSet<&UserId> =
            records.iter().map(|record| &record.user_id).filter(|user| chain.is_unknown(user)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let markers = unknown.into_iter().map(|user| keys::member(name, user)).collect();
        for marker in self.table.get_all_now(markers).await? {
            let (user, applied) = marked(&marker)?;
            chain.mark(user, applied);
        }
        Ok(())
    }

    /// The items of a chain with numbers from `from` to `to`, by number, in a consistent read.
    fn numbered(&self, chain: &str, from: u64, to: u64) -> QueryFluentBuilder {
        let wanted = Condition::Between(SK, [from, to].map(keys::place));
        self.table.query(is(PK, keys::partition(chain)).and(wanted), None).consistent_read(true)
    }

    /// The entries of the item with the highest number up to `until`. A read that is not `consistent` can miss the last
    /// ones.
    async fn last(&self, chain: &str, until: u64, consistent: bool) -> Result<Vec<Entry>, StoreError> {
        let request = self.numbered(chain, 1, until).scan_index_forward(false).limit(1).consistent_read(consistent);
        let items = request.send().await.map_err(failed)?.items.unwrap_or_default();
        items.first().map_or_else(|| Ok(Vec::new()), |item| entries_of(item, chain))
    }

    /// The number of a room's last entry; 0 if there is none. Eventually consistent.
    ///
    /// # Errors
    /// A failure of the table.
    pub async fn last_number(&self, room: &RoomId) -> Result<u64, StoreError> {
        let newest = self.last(&keys::chain(room), SEQ_MAX, false).await?;
        Ok(newest.last().map_or(0, |last| last.seq))
    }

    /// At most `limit` entries of a room after number `since`. The end of the chain is read first: an entry up to it can
    /// only be missing if it was deleted.
    ///
    /// # Errors
    /// A failure of the table.
    pub async fn read(&self, room: &RoomId, since: u64, limit: u16) -> Result<Part, StoreError> {
        let name = keys::chain(room);
        let newest = self.last(&name, SEQ_MAX, true).await?;
        let head = newest.last().map_or(Head::NONE, Entry::head);
        if since >= head.seq {
            return Ok(Part { entries: Vec::new(), head, has_more: false });
        }
        let mut entries = newest;
        if entries.first().is_none_or(|first| first.seq > since + 1) {
            let to = head.seq.min(since.saturating_add(u64::from(limit)));
            let items = self.numbered(&name, since + 1, to).send().await.map_err(failed)?.items.unwrap_or_default();
            let within = items.iter().map(|item| entries_of(item, &name)).collect::<Result<Vec<_>, _>>()?;
            // A block that begins earlier may hold the first wanted entries.
            let begun = within.first().and_then(|first| first.first()).is_none_or(|first| first.seq > since + 1);
            entries = if begun { self.last(&name, since + 1, true).await? } else { Vec::new() };
            entries.extend(within.into_iter().flatten());
        }
        entries.retain(|entry| entry.seq > since);
        entries.truncate(usize::from(limit));
        let has_more = entries.last().is_some_and(|last| last.seq < head.seq);
        Ok(Part { entries, head, has_more })
    }
}
