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
use domain::{Policy, RoomId, UserId};
use std::collections::HashMap;
use std::time::Duration;

/// What a chain's partition key begins with.
const PREFIX: &str = "CHAIN#";
/// Sort key of a chain's last number, its hash and the key of its digests.
const HEAD: &str = "HEAD";
/// The highest number that 12 digits hold.
const SEQ_MAX: u64 = 999_999_999_999;
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

/// The chains' ends as this batch knows them; another consumer may have gone on since, which a condition then finds.
#[derive(Debug, Default)]
pub struct Heads(HashMap<RoomId, Link>);

/// Where the next entry of a chain goes.
#[derive(Debug, Clone, Copy)]
struct Link {
    head: Head,
    key: DigestKey,
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
        Self { client, table, policy }
    }

    /// Adds what a change of the state table means for the rooms it concerns: one transaction, or nothing if there is
    /// nothing to add or it was added before.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] if the record cannot be read; whatever keeps the table from writing.
    pub async fn append(&self, record: &StreamRecord, heads: &mut Heads) -> Result<(), StateError> {
        let Some(user_id) = record.user_id() else { return Ok(()) };
        let position = record.position()?;
        let old = record.old_image()?.map(|image| recorded(image, self.policy)).transpose()?;
        let new = record.new_image()?.map(|image| recorded(image, self.policy)).transpose()?;
        let mut change =
            Change { old: old.as_ref(), new: new.as_ref(), expired: record.expired(), noted_at: record.noted_at() };
        for tries in 1..=APPEND_TRIES_MAX {
            let rooms: Vec<_> = change.rooms().into_iter().filter(|room| change.concerns(room)).collect();
            if rooms.is_empty() {
                return Ok(());
            }
            match self.attempt(&change, &rooms, &user_id, &position, heads).await? {
                // Whoever is in a room without having joined it was there before its history began.
                Attempt::Unknown if change.new.is_some() => change.old = None,
                Attempt::Done | Attempt::Repeated | Attempt::Unknown => return Ok(()),
                Attempt::Raced => tokio::time::sleep(APPEND_PAUSE * tries).await,
            }
        }
        Err(StateError::Unavailable("other consumers kept winning".into()))
    }

    async fn attempt(
        &self,
        change: &Change<'_>,
        rooms: &[RoomId],
        user_id: &UserId,
        position: &str,
        heads: &mut Heads,
    ) -> Result<Attempt, StateError> {
        let mut request = self.client.transact_write_items();
        let mut links = Vec::with_capacity(rooms.len());
        // The markers stand first, so that the reasons of a refusal can be told apart by their place.
        for room in rooms {
            let joins = change.old.is_none_or(|old| old.room_id.as_ref() != Some(room));
            request = request.transact_items(self.marker(room, user_id, position, joins)?);
        }
        for room in rooms {
            let known = match heads.0.get(room) {
                Some(link) => Some(*link),
                None => self.link(room).await?,
            };
            let link = match known {
                Some(link) => link,
                None => Link { head: Head::NONE, key: random::<32>()?.into() },
            };
            let (chain, at, actor) = (chain(room), change.at(), change.actor());
            let mut head = link.head;
            for fact in change.facts(room, &link.key) {
                let entry = Entry::after(&head, &chain, at, &actor, &fact);
                head = entry.head();
                request = request.transact_items(self.entry(room, &entry)?);
            }
            request = request.transact_items(self.advance(room, link, head)?);
            links.push((room.clone(), Link { head, key: link.key }));
        }
        match request.send().await {
            Ok(_) => {
                heads.0.extend(links);
                Ok(Attempt::Done)
            }
            Err(SdkError::ServiceError(context)) if context.err().is_transaction_canceled_exception() => {
                for room in rooms {
                    heads.0.remove(room);
                }
                let TransactWriteItemsError::TransactionCanceledException(refusal) = context.into_err() else {
                    return Ok(Attempt::Raced);
                };
                Ok(cause(refusal.cancellation_reasons(), rooms.len()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Notes the last record of a user that this chain holds, on condition that it is newer than the one before. Who does
    /// not join has to be known.
    fn marker(
        &self,
        room: &RoomId,
        user: &UserId,
        position: &str,
        joins: bool,
    ) -> Result<TransactWriteItem, StateError> {
        let unknown = if joins { "attribute_not_exists(applied) OR " } else { "" };
        let update = Update::builder()
            .table_name(&self.table)
            .key(PK, partition(room))
            .key(SK, AttributeValue::S(format!("USER#{user}")))
            .update_expression("SET applied = :position")
            .condition_expression(format!("{unknown}applied < :position"))
            .expression_attribute_values(":position", AttributeValue::S(position.to_owned()))
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
    fn advance(&self, room: &RoomId, before: Link, after: Head) -> Result<TransactWriteItem, StateError> {
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
