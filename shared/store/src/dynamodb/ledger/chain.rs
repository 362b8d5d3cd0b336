//! What a consumer knows of a chain: its end, and the people in it. From that it decides what a record adds.

use super::super::stream::Position;
use super::Changed;
use super::block::{Block, People, Person, Stored};
use domain::ledger::{Change, DigestKey, Entry, Head};
use domain::user::User;
use domain::{RoomId, Timestamp, UserId};
use std::collections::HashMap;
use std::time::Duration;

/// Most entries in one block: about 10 KB. A reader of the end of a chain reads the whole block.
pub(super) const ENTRIES_MAX: usize = 32;
/// A block says who is in the room if so many entries have come since another one said so, and at least as many as
/// people were named then: what it costs is then shared by enough entries.
const ENTRIES_BETWEEN: usize = 32;
/// How long a person is remembered who has left. A stream delivers records for 24 hours.
const REMEMBERED: Duration = Duration::from_hours(48);
/// How often a consumer looks first after another one was ahead of it. A look costs half a read unit, a refused write a
/// write unit and a read: with several consumers of a room, most writes would be refused.
pub(super) const LOOKS: u8 = 8;
/// Most people that a block names, about 250 KB with the longest ids. An item has at most 400 KB.
pub(super) const PEOPLE_MAX: usize = 1_500;

/// A record of a state, read from the stream.
#[derive(Debug)]
pub(super) struct Pending {
    /// Its place in the batch.
    pub(super) index: usize,
    /// The room in whose lobby the person waits, before or after the change.
    pub(super) lobby: Option<RoomId>,
    pub(super) user_id: UserId,
    pub(super) position: Position,
    pub(super) old: Option<User>,
    pub(super) new: Option<User>,
    pub(super) expired: bool,
    pub(super) noted_at: Timestamp,
}

impl Pending {
    pub(super) fn change(&self) -> Change<'_> {
        Change { old: self.old.as_ref(), new: self.new.as_ref(), expired: self.expired, noted_at: self.noted_at }
    }

    /// What the record says about rooms that somebody created. Takes the entries that it has added.
    pub(super) fn changed(self, added: &mut HashMap<(usize, RoomId), Vec<Entry>>) -> Vec<Changed> {
        let change = self.change();
        let mut rooms = change.rooms();
        rooms.retain(RoomId::is_created);
        if let Some(lobby) = self.lobby.as_ref().filter(|lobby| !rooms.contains(lobby)) {
            rooms.push(lobby.clone());
        }
        if rooms.is_empty() {
            return Vec::new();
        }
        let (at, by) = (change.at(), change.actor());
        let of_rooms = rooms.into_iter().map(|room| {
            let within = |user: &Option<User>| user.clone().filter(|user| user.room_id.as_ref() == Some(&room));
            Changed {
                index: self.index,
                user_id: self.user_id.clone(),
                old: within(&self.old),
                new: within(&self.new),
                of_lobby: self.lobby.as_ref() == Some(&room),
                entries: added.remove(&(self.index, room.clone())).unwrap_or_default(),
                at,
                by: by.clone(),
                room,
            }
        });
        of_rooms.collect()
    }
}

/// A chain, as its last blocks say.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) head: Head,
    key: DigestKey,
    people: People,
    /// Entries since the last block that named the people, and how many it named.
    since: usize,
    listed: usize,
    /// Whether a list left out somebody who is in the room.
    is_cut: bool,
    /// Whether the chain began in the older form, so that people can have a marker.
    pub(super) has_markers: bool,
    /// How many times this consumer looks at the end of the chain before it writes, because others append to it as well.
    pub(super) looks: u8,
    /// The begin of the stream whose records this consumer appends. Another stream means another table, perhaps a
    /// restored one, whose chain may end elsewhere.
    pub(super) began: String,
}

/// What some records add to a chain.
#[derive(Debug)]
pub(super) struct Addition {
    /// The next block. `None`: the records add nothing.
    pub(super) block: Option<Block>,
    /// For each entry of the block the place of its record in the batch.
    pub(super) sources: Vec<usize>,
    /// The people whose part changes.
    people: People,
    /// How many of the records are done with this block.
    pub(super) done: usize,
    /// Whether a person left who is not here as far as this consumer knows, so that nothing is added. Only the newest
    /// block can tell whether that is so.
    pub(super) doubts: bool,
}

impl Chain {
    /// A chain that ends with `head`, in which nobody is known.
    pub(super) fn new(head: Head, key: DigestKey, has_markers: bool, began: &str) -> Self {
        Self {
            head,
            key,
            people: People::new(),
            since: 0,
            listed: 0,
            is_cut: false,
            has_markers,
            looks: 0,
            began: began.to_owned(),
        }
    }

    /// The chain that ends with these items, of which the newest comes first. `None`: the newest is not a block.
    pub(super) fn of(newest_first: Vec<Stored>, began: &str, now: Timestamp) -> Option<Self> {
        let Some(Stored::Block(last)) = newest_first.first() else { return None };
        let mut chain = Self::new(Head::NONE, last.key, last.has_markers, began);
        for stored in newest_first.into_iter().rev() {
            if let Stored::Block(block) = stored {
                chain.follow(block, now);
            }
        }
        Some(chain)
    }

    /// Takes in the next block.
    pub(super) fn follow(&mut self, block: Block, now: Timestamp) {
        let positions: HashMap<_, _> = block.applied.iter().cloned().collect();
        for entry in &block.entries {
            let user = entry.data.get("userId").and_then(|user| user.as_str()?.parse::<UserId>().ok());
            if let Some((user, applied)) = user.and_then(|user| positions.get_key_value(&user)) {
                let left_at = (entry.action == "left").then_some(now);
                self.people.insert(user.clone(), Person { applied: applied.clone(), left_at });
            }
        }
        self.end_with(block);
    }

    /// Makes a stored block the end of the chain, after its people were taken in. Gives back its entries.
    fn end_with(&mut self, block: Block) -> Vec<Entry> {
        self.since += block.entries.len();
        if let Some(last) = block.entries.last() {
            self.head = last.head();
        }
        // Of two consumers that begin a chain, the one whose block was stored has chosen its key.
        (self.key, self.is_cut, self.has_markers) = (block.key, block.is_cut, block.has_markers);
        if let Some(people) = block.people {
            (self.listed, self.since, self.people) = (people.len(), 0, people);
        }
        block.entries
    }

    /// Number of people that this consumer remembers for the chain.
    pub(super) fn size(&self) -> usize {
        self.people.len()
    }

    /// Whether the chain's blocks tell nothing about a person.
    pub(super) fn is_unknown(&self, user: &UserId) -> bool {
        !self.people.contains_key(user)
    }

    /// Adds what a marker of the older form says about a person. Only a record of somebody who is in the room needs it.
    pub(super) fn mark(&mut self, user: UserId, applied: Position) {
        self.people.entry(user).or_insert(Person { applied, left_at: None });
    }

    /// What the first of these records add: as many as fit into one block.
    pub(super) fn add(&self, room: &RoomId, name: &str, records: &[&Pending], now: Timestamp) -> Addition {
        let (mut entries, mut sources, mut people, mut head) = (Vec::new(), Vec::new(), People::new(), self.head);
        let (mut done, mut doubts) = (0, false);
        for record in records {
            // A block has positions of one stream.
            if record.position.began() != self.began {
                break;
            }
            let known = people.get(&record.user_id).or_else(|| self.people.get(&record.user_id));
            if let Some(known) = known.filter(|known| known.applied >= record.position) {
                // The stream still delivers this record, so it must not be forgotten yet.
                if known.left_at.is_some() {
                    let again = Person { left_at: Some(now), ..known.clone() };
                    people.insert(record.user_id.clone(), again);
                }
                done += 1;
                continue;
            }
            let mut change = record.change();
            // Whom the lists left out is in the room if the record says so.
            let is_here = known.map_or(self.is_cut, |known| known.left_at.is_none());
            if !is_here && change.old.is_some_and(|old| old.room_id.as_ref() == Some(room)) {
                // A person who is in a room without having joined was there before its history began.
                change.old = None;
            }
            let facts = change.facts(room, &self.key);
            if !entries.is_empty() && entries.len() + facts.len() > ENTRIES_MAX {
                break;
            }
            done += 1;
            let Some(last) = facts.last() else {
                doubts = true;
                continue;
            };
            let left_at = matches!(last, domain::ledger::Fact::Left { .. }).then_some(now);
            let actor = change.actor();
            for fact in &facts {
                let entry = Entry::after(&head, name, change.at(), &actor, change.request_id(), fact);
                head = entry.head();
                entries.push(entry);
                sources.push(record.index);
            }
            people.insert(record.user_id.clone(), Person { applied: record.position.clone(), left_at });
        }
        Addition { block: self.block(entries, &people, now), sources, people, done, doubts }
    }

    fn block(&self, entries: Vec<Entry>, changed: &People, now: Timestamp) -> Option<Block> {
        if entries.is_empty() {
            return None;
        }
        // A person whose record only came again has no entry here.
        let is_new =
            |user, person: &Person| self.people.get(user).is_none_or(|known: &Person| known.applied < person.applied);
        let applied = changed.iter().filter(|(user, person)| is_new(*user, person));
        let applied = applied.map(|(user, person)| (user.clone(), person.applied.clone())).collect();
        let (mut people, mut is_cut) = (None, self.is_cut);
        if self.since + entries.len() >= ENTRIES_BETWEEN.max(self.listed) {
            let mut all = self.people.clone();
            all.extend(changed.iter().map(|(user, person)| (user.clone(), person.clone())));
            is_cut |= cut(&mut all, now);
            people = Some(all);
        }
        Some(Block { entries, key: self.key, applied, people, is_cut, has_markers: self.has_markers })
    }

    /// Takes in an addition whose block is stored. Gives back its entries, each with the place of its record in the batch.
    pub(super) fn commit(&mut self, addition: Addition) -> impl Iterator<Item = (usize, Entry)> + use<> {
        let Addition { block, sources, people, .. } = addition;
        self.people.extend(people);
        let entries = block.map(|block| self.end_with(block)).unwrap_or_default();
        sources.into_iter().zip(entries)
    }
}

/// Reduces people to those whom a block names: without those who left long ago, and at most [`PEOPLE_MAX`]. Whoever left
/// goes first, then whoever is in the room, in the order of their last records. Returns whether anybody of the room went.
fn cut(people: &mut People, now: Timestamp) -> bool {
    people.retain(|_, person| person.left_at.is_none_or(|left_at| left_at.plus(REMEMBERED) > now));
    let too_many = people.len().saturating_sub(PEOPLE_MAX);
    if too_many == 0 {
        return false;
    }
    let is_here = |person: &Person| person.left_at.is_none();
    let mut order: Vec<_> = people.drain().collect();
    order.sort_unstable_by(|(_, a), (_, b)| (is_here(a), &a.applied).cmp(&(is_here(b), &b.applied)));
    let is_cut = order.drain(..too_many).any(|(_, person)| is_here(&person));
    people.extend(order);
    is_cut
}

#[cfg(test)]
mod tests;
