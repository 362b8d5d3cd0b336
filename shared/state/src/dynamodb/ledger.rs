//! The ledger: a chain of entries per room, only ever added to. `docs/ledger.md` is about what it says.

use super::failed;
use super::item::{Item, binary, bytes, integer, number, recorded};
use super::keys::{PK, SK};
use super::stream::StreamRecord;
use crate::{StateError, random};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use domain::ledger::{Change, DigestKey, Entry, Hash, Head, canonical};
use domain::{Policy, RoomId, Timestamp, User, UserId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a chain's partition key begins with.
const PREFIX: &str = "CHAIN#";
/// Sort key of a chain's last number, its hash and the key of its digests.
const HEAD: &str = "HEAD";
/// Items that one transaction takes at most.
const ITEMS_MAX: usize = 100;
/// The highest number that 12 digits hold.
const SEQ_MAX: u64 = 999_999_999_999;
/// Chains whose ends are remembered.
const HEADS_MAX: usize = 1_000;
/// Tries when another consumer added to the same chain in between.
const APPEND_TRIES_MAX: u32 = 12;
/// Pause before another try, times the number of tries so far.
const APPEND_PAUSE: Duration = Duration::from_millis(5);

/// The `ledger` table.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: Client,
    table: String,
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

/// Where the next entry of a chain goes.
#[derive(Debug, Clone, Copy)]
struct Link {
    head: Head,
    key: DigestKey,
}

/// The chains' ends as this process knows them; another consumer may have gone on since, which a condition then finds.
type Heads = HashMap<RoomId, Link>;

/// Records of which the ledger now has all but the last ones.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Unfinished {
    /// The first one that it does not have.
    pub index: usize,
    /// Why.
    #[source]
    pub cause: StateError,
}

/// A record that means something to a room, still to be added.
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

/// What one transaction adds of a user to a chain: the positions of the first and the last record.
struct Marker<'a> {
    room: RoomId,
    user_id: &'a UserId,
    first: &'a str,
    last: &'a str,
    joins: bool,
}

/// What one transaction adds to a chain.
struct Addition {
    room: RoomId,
    before: Link,
    head: Head,
    entries: Vec<Entry>,
}

/// What became of an attempt to add to the chains.
enum Attempt {
    Done,
    /// The chains have these entries already.
    Repeated,
    /// The chain has never heard of this person: their entry must be the one of somebody who joins.
    Unknown,
    /// Another consumer came between.
    Raced,
}

fn chain(room: &RoomId) -> String {
    format!("room:{room}")
}

fn partition(room: &RoomId) -> AttributeValue {
    AttributeValue::S(format!("{PREFIX}{}", chain(room)))
}

fn place(seq: u64) -> AttributeValue {
    AttributeValue::S(format!("{:012}", seq.min(SEQ_MAX)))
}

impl Ledger {
    /// The ledger in `table`; verdicts are those of `policy`.
    #[must_use]
    pub fn new(client: Client, table: String, policy: Policy) -> Self {
        Self { client, table, policy, heads: Arc::default() }
    }

    /// Adds what changes of the state table mean for the rooms they concern, in order and as many as fit per transaction. A
    /// record that was added before adds nothing.
    ///
    /// # Errors
    /// The first record that is not added, and why: [`StateError::Corrupt`] if it cannot be read; whatever keeps the table
    /// from writing.
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
                // Which of them the chains have already, or who came between, shows one by one.
                for pending in &mut group {
                    let index = pending.index;
                    self.append_one(pending).await.map_err(|cause| Unfinished { index, cause })?;
                }
            }
            index = end;
        }
        Ok(())
    }

    /// The records from `start` on that fit into one transaction, and the first that is not among them.
    fn group(&self, records: &[StreamRecord], start: usize) -> Result<(Vec<Pending>, usize), Unfinished> {
        let (mut group, mut chains, mut markers, mut items) = (Vec::new(), HashSet::new(), HashSet::new(), 0);
        for (index, record) in records.iter().enumerate().skip(start) {
            let pending = match self.pending(index, record) {
                Ok(Some(pending)) => pending,
                Ok(None) => continue,
                // First what stands before it.
                Err(_) if index > start => return Ok((group, index)),
                Err(cause) => return Err(Unfinished { index, cause }),
            };
            for room in pending.rooms() {
                items += pending.change().facts(&room, &DigestKey::from([0; 32])).len();
                items += usize::from(markers.insert((room.clone(), pending.user_id.clone())));
                items += usize::from(chains.insert(room));
            }
            // One transaction moves each marker once, and only forward.
            let rises = group.last().is_none_or(|last: &Pending| last.position < pending.position);
            if items > ITEMS_MAX || !rises {
                return Ok((group, index));
            }
            group.push(pending);
        }
        Ok((group, records.len()))
    }

    /// What a record means; none if it means nothing to any room.
    fn pending(&self, index: usize, record: &StreamRecord) -> Result<Option<Pending>, StateError> {
        let Some(user_id) = record.user_id() else { return Ok(None) };
        let image = |image: Option<Item>| image.map(|image| recorded(image, self.policy)).transpose();
        let pending = Pending {
            index,
            user_id,
            position: record.position()?,
            old: image(record.old_image()?)?,
            new: image(record.new_image()?)?,
            expired: record.expired(),
            noted_at: record.noted_at(),
        };
        Ok((!pending.rooms().is_empty()).then_some(pending))
    }

    async fn append_one(&self, pending: &mut Pending) -> Result<(), StateError> {
        for tries in 1..=APPEND_TRIES_MAX {
            match self.attempt(std::slice::from_ref(pending)).await? {
                // Whoever is in a room without having joined it was there before its history began.
                Attempt::Unknown if pending.new.is_some() => pending.old = None,
                Attempt::Done | Attempt::Repeated | Attempt::Unknown => return Ok(()),
                Attempt::Raced => tokio::time::sleep(APPEND_PAUSE * tries).await,
            }
            if pending.rooms().is_empty() {
                return Ok(());
            }
        }
        Err(StateError::Unavailable("other consumers kept winning".into()))
    }

    /// One transaction: all of these records, or none of them.
    async fn attempt(&self, group: &[Pending]) -> Result<Attempt, StateError> {
        let mut markers: Vec<Marker<'_>> = Vec::new();
        let mut additions: Vec<Addition> = Vec::new();
        for pending in group {
            let (change, actor) = (pending.change(), pending.change().actor());
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
                let chain = chain(&room);
                for fact in change.facts(&room, &addition.before.key) {
                    let entry = Entry::after(&addition.head, &chain, change.at(), &actor, &fact);
                    addition.head = entry.head();
                    addition.entries.push(entry);
                }
            }
        }
        let mut request = self.client.transact_write_items();
        // The markers stand first, so that the reasons of a refusal can be told apart by their place.
        for marker in &markers {
            request = request.transact_items(self.marker(marker)?);
        }
        for addition in &additions {
            for entry in &addition.entries {
                request = request.transact_items(self.entry(&addition.room, entry)?);
            }
            request = request.transact_items(self.advance(addition)?);
        }
        match request.send().await {
            Ok(_) => {
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
            Err(SdkError::ServiceError(context)) if context.err().is_transaction_canceled_exception() => {
                {
                    let mut heads = self.heads();
                    for addition in &additions {
                        heads.remove(&addition.room);
                    }
                }
                let TransactWriteItemsError::TransactionCanceledException(refusal) = context.into_err() else {
                    return Ok(Attempt::Raced);
                };
                Ok(cause(refusal.cancellation_reasons(), markers.len()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn before(&self, room: &RoomId) -> Result<Link, StateError> {
        let known = self.heads().get(room).copied();
        if let Some(link) = known {
            return Ok(link);
        }
        match self.link(room).await? {
            Some(link) => Ok(link),
            None => Ok(Link { head: Head::NONE, key: random::<32>()?.into() }),
        }
    }

    /// Notes the last record of a user that this chain holds, on condition that the first one is newer than all before. Who
    /// does not join has to be known.
    fn marker(&self, marker: &Marker<'_>) -> Result<TransactWriteItem, StateError> {
        let Marker { room, user_id, first, last, joins } = marker;
        let unknown = if *joins { "attribute_not_exists(applied) OR " } else { "" };
        let update = Update::builder()
            .table_name(&self.table)
            .key(PK, partition(room))
            .key(SK, AttributeValue::S(format!("USER#{user_id}")))
            .update_expression("SET applied = :last")
            .condition_expression(format!("{unknown}applied < :first"))
            .expression_attribute_values(":first", AttributeValue::S((*first).to_owned()))
            .expression_attribute_values(":last", AttributeValue::S((*last).to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| StateError::Internal(error.into()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn entry(&self, room: &RoomId, entry: &Entry) -> Result<TransactWriteItem, StateError> {
        let put = Put::builder()
            .table_name(&self.table)
            .item(PK, partition(room))
            .item(SK, place(entry.seq))
            .item("at", AttributeValue::S(entry.at.clone()))
            .item("actor", AttributeValue::S(entry.actor.clone()))
            .item("action", AttributeValue::S(entry.action.clone()))
            .item("data", AttributeValue::S(canonical(&entry.data.clone().into())))
            .item("prev", binary(entry.prev.as_bytes()))
            .item("hash", binary(entry.hash.as_bytes()))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(|error| StateError::Internal(error.into()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Moves a chain's head from where it was to where it is.
    fn advance(&self, addition: &Addition) -> Result<TransactWriteItem, StateError> {
        let Addition { room, before, head: after, .. } = addition;
        let update = Update::builder()
            .table_name(&self.table)
            .key(PK, partition(room))
            .key(SK, AttributeValue::S(HEAD.to_owned()))
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_values(":seq", number(after.seq))
            .expression_attribute_values(":hash", binary(after.hash.as_bytes()));
        let update = if before.head.seq == 0 {
            update
                .update_expression("SET seq = :seq, #hash = :hash, digestKey = :key")
                .condition_expression("attribute_not_exists(pk)")
                .expression_attribute_values(":key", binary(before.key.as_bytes()))
        } else {
            update
                .update_expression("SET seq = :seq, #hash = :hash")
                .condition_expression("seq = :before AND #hash = :prev")
                .expression_attribute_values(":before", number(before.head.seq))
                .expression_attribute_values(":prev", binary(before.head.hash.as_bytes()))
        };
        let update = update.build().map_err(|error| StateError::Internal(error.into()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    async fn link(&self, room: &RoomId) -> Result<Option<Link>, StateError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, partition(room))
            .key(SK, AttributeValue::S(HEAD.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed)?;
        output
            .item
            .map(|item| {
                let head = Head { seq: integer(&item, "seq")?, hash: Hash::from(bytes(&item, "hash")?) };
                Ok(Link { head, key: DigestKey::from(bytes(&item, "digestKey")?) })
            })
            .transpose()
    }

    /// At most `limit` entries of a room after number `since`. The head is read first: whatever it names is there, so
    /// nothing is missing before it unless somebody took it out.
    ///
    /// # Errors
    /// Whatever keeps the table from answering.
    pub async fn read(&self, room: &RoomId, since: u64, limit: u16) -> Result<Part, StateError> {
        let head = self.link(room).await?.map_or(Head::NONE, |link| link.head);
        if since >= head.seq {
            return Ok(Part { entries: Vec::new(), head, has_more: false });
        }
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :chain AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":chain", partition(room))
            .expression_attribute_values(":from", place(since + 1))
            .expression_attribute_values(":to", place(head.seq))
            .limit(i32::from(limit))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed)?;
        let chain = chain(room);
        let items = output.items.unwrap_or_default().into_iter();
        let entries = items.map(|item| entry(&item, &chain)).collect::<Result<Vec<_>, _>>()?;
        let has_more = entries.last().is_some_and(|last| last.seq < head.seq);
        Ok(Part { entries, head, has_more })
    }
}

/// What an item of the `ledger` table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerItem {
    /// An entry of a chain.
    Entry(Entry),
    /// A chain's last entry, as its writer knows it.
    Head {
        /// The chain.
        chain: String,
        /// Its last entry.
        head: Head,
    },
    /// Anything else that stands beside a chain.
    Other,
}

impl LedgerItem {
    /// Reads an item of the `ledger` table.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] if it is an entry or a head that cannot be read.
    pub fn read(item: &Item) -> Result<Self, StateError> {
        let key = |name: &'static str| match item.get(name) {
            Some(AttributeValue::S(text)) => Ok(text.as_str()),
            _ => Err(StateError::Corrupt { attribute: name }),
        };
        let (Some(chain), sort) = (key(PK)?.strip_prefix(PREFIX), key(SK)?) else { return Ok(Self::Other) };
        if sort == HEAD {
            let head = Head { seq: integer(item, "seq")?, hash: Hash::from(bytes(item, "hash")?) };
            Ok(Self::Head { chain: chain.to_owned(), head })
        } else if sort.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self::Entry(entry(item, chain)?))
        } else {
            Ok(Self::Other)
        }
    }
}

/// When the stream began whose records a marker remembers; none if the item is no marker, or one that does not say.
#[must_use]
pub fn followed_stream(item: &Item) -> Option<&str> {
    match item.get("applied") {
        Some(AttributeValue::S(position)) => position.split_once('/').map(|(began, _)| began),
        _ => None,
    }
}

/// Why a transaction was refused. `markers` of its items are markers, the first ones.
fn cause(reasons: &[CancellationReason], markers: usize) -> Attempt {
    let refused = |reason: &&CancellationReason| reason.code() == Some("ConditionalCheckFailed");
    let marked: Vec<_> = reasons.iter().take(markers).filter(refused).collect();
    if marked.is_empty() {
        Attempt::Raced
    } else if marked.iter().all(|reason| reason.item().is_none_or(HashMap::is_empty)) {
        Attempt::Unknown
    } else {
        Attempt::Repeated
    }
}

fn entry(item: &Item, chain: &str) -> Result<Entry, StateError> {
    let text = |attribute: &'static str| match item.get(attribute) {
        Some(AttributeValue::S(text)) => Ok(text.clone()),
        _ => Err(StateError::Corrupt { attribute }),
    };
    Ok(Entry {
        chain: chain.to_owned(),
        seq: text(SK)?.parse().map_err(|_| StateError::Corrupt { attribute: SK })?,
        at: text("at")?,
        actor: text("actor")?,
        action: text("action")?,
        data: serde_json::from_str(&text("data")?).map_err(|_| StateError::Corrupt { attribute: "data" })?,
        prev: Hash::from(bytes(item, "prev")?),
        hash: Hash::from(bytes(item, "hash")?),
    })
}
