//! Verifies a snapshot before a restore writes anything: does the object match its manifest, and would the tables
//! accept its items?

use crate::SnapshotError;
use crate::format::{FORMAT, Item, Manifest, SCHEMA, SnapshotId, Table, read_line, write_line};
use crate::keys::Keys;
use crate::lines::{Decoder, Summing, is_transient};
use crate::objects::{Objects, Reader};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};
use store::dynamodb::keys;
use store::dynamodb::keys::PK;

/// Longest accepted manifest, in bytes. A real one has about 2 000, independent of the tables' size.
const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// Number of keys that are remembered to find duplicates, at 16 bytes each: about 35 MB. Beyond that number, the count
/// after the restore finds a duplicate.
const KEYS_MAX: usize = 1 << 20;

/// Allowed prefixes of partition keys. A restore refuses all other items, because IAM lets the restoring function write
/// no other keys.
const STATE_KEYS: &[&str] = &[keys::USER, keys::AGENT, keys::WITNESS];
const LEDGER_KEYS: &[&str] = &[keys::ROOM_HISTORY];

/// Lines that are read before the task yields to others.
const LINES_AT_ONCE: u64 = 64;

/// Reads the manifest of a snapshot.
///
/// # Errors
/// [`SnapshotError::NotFound`] if there is no manifest; [`SnapshotError::Damaged`] if it cannot be read or belongs to
/// another snapshot; [`SnapshotError::Schema`]; [`SnapshotError::Unreachable`].
pub async fn manifest(objects: &Objects, id: &SnapshotId) -> Result<Manifest, SnapshotError> {
    /// The members that a manifest has in every schema version.
    #[derive(Deserialize)]
    struct Version {
        format: String,
        schema: u32,
    }
    let key = id.manifest_key();
    let damaged = |problem: String| SnapshotError::Damaged { object: key.clone(), problem };
    let bytes = match objects.read(&key, MANIFEST_BYTES_MAX).await {
        Err(SnapshotError::NotFound(_)) => return Err(SnapshotError::NotFound(id.to_string())),
        bytes => bytes?.ok_or_else(|| damaged(format!("it is longer than {MANIFEST_BYTES_MAX} bytes")))?,
    };
    let no_manifest = |error: serde_json::Error| damaged(format!("it is not a manifest: {error}"));
    let Version { format, schema } = serde_json::from_slice(&bytes).map_err(no_manifest)?;
    if format != FORMAT {
        return Err(damaged(format!("its format is {format:?} and should be {FORMAT:?}")));
    }
    if !(1..=SCHEMA).contains(&schema) {
        return Err(SnapshotError::Schema { object: key, found: schema, known: SCHEMA });
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(no_manifest)?;
    if manifest.snapshot != *id {
        return Err(damaged(format!("it is the manifest of {}", manifest.snapshot)));
    }
    if manifest.object.key != id.lines_key(manifest.object.compression) {
        return Err(damaged(format!("its object is {}", manifest.object.key)));
    }
    let mut tables: Vec<_> = manifest.tables.iter().map(|summary| summary.table).collect();
    tables.sort_unstable();
    if tables != [Table::Ledger, Table::State] {
        return Err(damaged("it does not have each table once".to_owned()));
    }
    Ok(manifest)
}

/// An item of a snapshot.
#[derive(Debug)]
pub struct Line {
    /// Its table.
    pub table: Table,
    /// The item.
    pub item: Item,
    /// Bytes of its line.
    pub bytes: usize,
}

/// A snapshot that is read item by item. After [`Snapshot::rewind`] it reads the same object again. A caller that has
/// read it to its end knows that it matches its manifest.
#[derive(Debug)]
pub struct Snapshot {
    manifest: Manifest,
    reader: Reader,
    pass: Pass,
}

/// The state of one pass through the object.
#[derive(Debug)]
struct Pass {
    decoder: Decoder,
    summing: Summing,
    /// Table of the last line.
    table: Table,
    lines: u64,
    /// All stored bytes were read.
    drained: bool,
    /// All lines were read and compared with the manifest.
    ended: bool,
    /// The last line, encoded again from its item.
    again: Vec<u8>,
}

impl Pass {
    fn new(manifest: &Manifest) -> Self {
        Self {
            decoder: Decoder::new(&manifest.object.key, manifest.object.compression),
            summing: Summing::default(),
            table: Table::Ledger,
            lines: 0,
            drained: false,
            ended: false,
            again: Vec::new(),
        }
    }
}

impl Snapshot {
    /// Opens the object that a manifest describes.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`] if it does not exist; [`SnapshotError::Damaged`] if it has another length;
    /// [`SnapshotError::Unreachable`].
    pub async fn open(objects: &Objects, manifest: Manifest) -> Result<Self, SnapshotError> {
        let reader = objects.open(&manifest.object.key).await?;
        let pass = Pass::new(&manifest);
        let snapshot = Self { manifest, reader, pass };
        let (found, said) = (snapshot.reader.bytes(), snapshot.manifest.object.bytes);
        if found == said {
            Ok(snapshot)
        } else {
            Err(snapshot.damaged(format!("it has {found} bytes and should have {said}")))
        }
    }

    /// The manifest that the object is compared with.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Lines read since the beginning.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.pass.lines
    }

    /// Goes back to the beginning of the same object.
    pub fn rewind(&mut self) {
        self.reader.rewind();
        self.pass = Pass::new(&self.manifest);
    }

    /// The next item; the ledger's items come first. `None`: the end was reached, and the snapshot matches its
    /// manifest.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] at the first difference; [`SnapshotError::NotFound`] if the object was removed;
    /// [`SnapshotError::Unreachable`].
    pub async fn next(&mut self) -> Result<Option<Line>, SnapshotError> {
        while !self.pass.ended {
            if let Some(line) = self.line()? {
                // One part holds many lines, and in the runner other tasks wait for this thread.
                if self.pass.lines.is_multiple_of(LINES_AT_ONCE) {
                    tokio::task::yield_now().await;
                }
                return Ok(Some(line));
            }
            if self.pass.drained {
                self.end()?;
            } else {
                let bytes = self.reader.next().await?;
                self.pass.drained = bytes.is_none();
                self.pass.decoder.push(bytes);
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Line>, SnapshotError> {
        let Pass { decoder, summing, table: last, lines, again, .. } = &mut self.pass;
        let Some(line) = decoder.next_line()? else { return Ok(None) };
        *lines += 1;
        let damaged = |problem: String| SnapshotError::Damaged {
            object: self.manifest.object.key.clone(),
            problem: format!("line {lines}: {problem}"),
        };
        if *lines > self.manifest.object.lines {
            return Err(damaged(format!("there should be {} lines", self.manifest.object.lines)));
        }
        let (table, item) = read_line(line).map_err(&damaged)?;
        // A line that differs from our own encoding was not written by us: a repeated member, another order, blanks.
        again.clear();
        write_line(again, table, &item).map_err(|error| damaged(error.to_string()))?;
        if again != line {
            return Err(damaged("it is not in the encoding that a snapshot uses".to_owned()));
        }
        if table < *last {
            return Err(damaged("an item of the ledger follows an item of the state table".to_owned()));
        }
        *last = table;
        summing.add(table, &item).map_err(damaged)?;
        Ok(Some(Line { table, item, bytes: line.len() }))
    }

    /// Compares the totals with the manifest.
    fn end(&mut self) -> Result<(), SnapshotError> {
        let Pass { decoder, summing, .. } = std::mem::replace(&mut self.pass, Pass::new(&self.manifest));
        self.pass.ended = true;
        let object = decoder.finish()?;
        self.pass.lines = object.lines;
        let (items, chains) = summing.finish().map_err(|problem| self.damaged(problem))?;
        let mut differences = vec![difference(&object, &self.manifest.object)];
        for summary in &self.manifest.tables {
            let (found, said) = (items.get(&summary.table).copied().unwrap_or_default(), summary.items);
            let name = format!("items of the {:?} table", summary.table).to_lowercase();
            differences.push((found != said).then(|| format!("{name}: {found} found, {said} expected")));
        }
        differences.push(difference(&chains, &self.manifest.chains));
        match differences.into_iter().flatten().next() {
            Some(problem) => Err(self.damaged(problem)),
            None => Ok(()),
        }
    }

    fn damaged(&self, problem: String) -> SnapshotError {
        SnapshotError::Damaged { object: self.manifest.object.key.clone(), problem }
    }
}

/// The first member in which two summaries differ.
fn difference<T: Serialize>(found: &T, said: &T) -> Option<String> {
    let [found, said] = [found, said].map(|summary| serde_json::to_value(summary).unwrap_or_default());
    let members = said.as_object()?.iter();
    let mut different = members.filter(|(name, said)| found[name.as_str()] != **said);
    different.next().map(|(name, said)| format!("{name} is {} and should be {said}", found[name.as_str()]))
}

/// Checks that the target tables would accept the items, and that no item occurs twice.
#[derive(Debug)]
pub struct Fit {
    keys: BTreeMap<Table, Keys>,
    seen: HashSet<[u8; 16]>,
}

impl Fit {
    /// For the tables with these schemas.
    ///
    /// # Errors
    /// [`SnapshotError::Key`] if a table of the snapshot and the existing table have different keys.
    pub fn new(manifest: &Manifest, schemas: &BTreeMap<Table, Value>) -> Result<Self, SnapshotError> {
        let mut keys = BTreeMap::new();
        for summary in &manifest.tables {
            let other = || SnapshotError::Key { object: manifest.snapshot.manifest_key(), table: summary.table };
            let theirs = Keys::of(&summary.schema).ok_or_else(other)?;
            let ours = schemas.get(&summary.table).and_then(Keys::of).filter(|ours| ours.same_key(&theirs));
            keys.insert(summary.table, ours.ok_or_else(other)?);
        }
        Ok(Self { keys, seen: HashSet::new() })
    }

    /// The key of an item.
    #[must_use]
    pub fn key(&self, line: &Line) -> Item {
        self.keys.get(&line.table).map(|keys| keys.key(&line.item)).unwrap_or_default()
    }

    /// Checks an item.
    ///
    /// # Errors
    /// The text says what is wrong with the item.
    pub fn check(&mut self, line: &Line) -> Result<(), String> {
        if is_transient(&line.item) {
            return Err("a snapshot must not hold leases or connections".to_owned());
        }
        let Some(keys) = self.keys.get(&line.table) else {
            return Err("its table is not in the manifest".to_owned());
        };
        keys.check(&line.item)?;
        let known = if line.table == Table::State { STATE_KEYS } else { LEDGER_KEYS };
        if let Some(AttributeValue::S(key)) = line.item.get(PK)
            && !known.iter().any(|prefix| key.starts_with(prefix))
        {
            return Err(format!("{key:?} is not a key of this table"));
        }
        if self.seen.len() < KEYS_MAX {
            let mut key = Vec::new();
            write_line(&mut key, line.table, &keys.key(&line.item)).map_err(|error| error.to_string())?;
            let digest: [u8; 32] = Sha256::digest(&key).into();
            let mut short = [0; 16];
            short.copy_from_slice(&digest[..16]);
            if !self.seen.insert(short) {
                return Err("the item occurs twice".to_owned());
            }
        }
        Ok(())
    }
}
