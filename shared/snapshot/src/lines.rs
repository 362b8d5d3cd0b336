//! Encodes, decodes, counts and checks the lines of a snapshot's object, in memory that does not grow with their
//! number.

use crate::SnapshotError;
use crate::format::{ChainSummary, Compression, Item, LINE_BYTES_MAX, ObjectSummary, Table, TableSummary, hex};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ledger::{Entry, Head};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use md5::Md5;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, Read, Write as _};
use store::dynamodb::{LedgerItem, keys};

/// Bytes of lines that are decoded at once.
const STEP_BYTES: usize = 64 << 10;

/// Whether an item of the state table is left out of snapshots: [`keys::is_transient`] says which and why.
#[must_use]
pub fn is_transient(item: &Item) -> bool {
    matches!(item.get(keys::PK), Some(AttributeValue::S(key)) if keys::is_transient(key))
}

/// Counts and checksums of an object, updated as its bytes pass.
#[derive(Debug)]
struct Sums {
    key: String,
    compression: Compression,
    bytes: u64,
    md5: Md5,
    sha256: Sha256,
    lines: u64,
    line_bytes: u64,
    line_sha256: Sha256,
}

impl Sums {
    fn new(key: &str, compression: Compression) -> Self {
        let (md5, sha256, line_sha256) = (Md5::default(), Sha256::default(), Sha256::default());
        Self { key: key.to_owned(), compression, bytes: 0, md5, sha256, lines: 0, line_bytes: 0, line_sha256 }
    }

    fn stored(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.md5.update(bytes);
        self.sha256.update(bytes);
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        self.line_bytes += line.len() as u64;
        self.line_sha256.update(line);
    }

    fn finish(self) -> ObjectSummary {
        ObjectSummary {
            key: self.key,
            compression: self.compression,
            bytes: self.bytes,
            md5: hex(&self.md5.finalize()),
            sha256: hex(&self.sha256.finalize()),
            lines: self.lines,
            line_bytes: self.line_bytes,
            line_sha256: hex(&self.line_sha256.finalize()),
        }
    }
}

/// Turns lines into the bytes that are stored.
#[derive(Debug)]
pub struct Encoder {
    sums: Sums,
    packer: Packer,
}

#[derive(Debug)]
enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    None(Vec<u8>),
}

impl Encoder {
    /// For the object `key`.
    #[must_use]
    pub fn new(key: &str, compression: Compression) -> Self {
        let packer = match compression {
            Compression::Gzip => Packer::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default())),
            Compression::None => Packer::None(Vec::new()),
        };
        Self { sums: Sums::new(key, compression), packer }
    }

    /// Adds a line, with its line end.
    ///
    /// # Errors
    /// None in practice: the bytes are written to memory.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.sums.line(line);
        match &mut self.packer {
            Packer::Gzip(gzip) => gzip.write_all(line),
            Packer::None(bytes) => bytes.write_all(line),
        }
    }

    /// The bytes that are ready to be stored.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = match &mut self.packer {
            Packer::Gzip(gzip) => std::mem::take(gzip.get_mut()),
            Packer::None(bytes) => std::mem::take(bytes),
        };
        self.sums.stored(&bytes);
        bytes
    }

    /// The last bytes, and the counts and checksums of the object.
    ///
    /// # Errors
    /// None in practice: the bytes are written to memory.
    pub fn finish(mut self) -> io::Result<(Vec<u8>, ObjectSummary)> {
        let bytes = match self.packer {
            Packer::Gzip(gzip) => gzip.finish()?,
            Packer::None(bytes) => bytes,
        };
        self.sums.stored(&bytes);
        Ok((bytes, self.sums.finish()))
    }
}

/// Turns stored bytes into lines.
///
/// ```text
/// loop {
///     let part = reader.next().await?;            // None at the end
///     let ended = part.is_none();
///     decoder.push(part);
///     while let Some(line) = decoder.next_line()? { … }
///     if ended { break decoder.finish()? }        // counts and checksums of the object
/// }
/// ```
#[derive(Debug)]
pub struct Decoder {
    sums: Sums,
    source: Source,
    /// Decoded bytes; the next line starts at `begin`. There is no line end between `begin` and `searched`.
    lines: Vec<u8>,
    begin: usize,
    searched: usize,
}

#[derive(Debug)]
enum Source {
    Gzip(Box<GzDecoder<Stored>>),
    None(Stored),
}

/// Stored bytes that are not decoded yet.
#[derive(Debug, Default)]
struct Stored {
    bytes: Vec<u8>,
    next: usize,
    ended: bool,
}

impl Stored {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.next..]
    }

    fn push(&mut self, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) if self.rest().is_empty() => (self.bytes, self.next) = (bytes, 0),
            Some(bytes) => self.bytes.extend_from_slice(&bytes),
            None => self.ended = true,
        }
    }
}

impl Read for Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() && !self.ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(self.rest()) }
    }

    fn consume(&mut self, bytes: usize) {
        self.next += bytes;
    }
}

impl Decoder {
    /// For the object `key`.
    #[must_use]
    pub fn new(key: &str, compression: Compression) -> Self {
        let source = match compression {
            Compression::Gzip => Source::Gzip(Box::new(GzDecoder::new(Stored::default()))),
            Compression::None => Source::None(Stored::default()),
        };
        Self { sums: Sums::new(key, compression), source, lines: Vec::new(), begin: 0, searched: 0 }
    }

    /// Adds stored bytes. `None`: there are no more. Take all lines before you push again.
    pub fn push(&mut self, bytes: Option<Vec<u8>>) {
        self.sums.stored(bytes.as_deref().unwrap_or_default());
        self.stored().push(bytes);
    }

    fn stored(&mut self) -> &mut Stored {
        match &mut self.source {
            Source::Gzip(gzip) => gzip.get_mut(),
            Source::None(stored) => stored,
        }
    }

    /// The next line, with its line end. `None`: more stored bytes are needed, or all lines were returned.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if the bytes are not a gzip stream, or a line is too long.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, SnapshotError> {
        let found = loop {
            if let Some(end) = self.lines[self.searched..].iter().position(|byte| *byte == b'\n') {
                break Some(self.searched + end + 1);
            }
            self.lines.drain(..self.begin);
            (self.begin, self.searched) = (0, self.lines.len());
            if self.lines.len() > LINE_BYTES_MAX || !self.step()? {
                break None;
            }
        };
        let begin = self.begin;
        if found.unwrap_or(self.lines.len()) - begin > LINE_BYTES_MAX {
            return Err(self.damaged(format!("a line has more than {LINE_BYTES_MAX} bytes")));
        }
        let Some(end) = found else { return Ok(None) };
        (self.begin, self.searched) = (end, end);
        let line = &self.lines[begin..end];
        self.sums.line(line);
        Ok(Some(line))
    }

    /// Decodes some more bytes. `false`: no bytes are available for now.
    fn step(&mut self) -> Result<bool, SnapshotError> {
        let kept = self.lines.len();
        self.lines.resize(kept + STEP_BYTES, 0);
        let read = match &mut self.source {
            Source::Gzip(gzip) => gzip.read(&mut self.lines[kept..]),
            Source::None(stored) => stored.read(&mut self.lines[kept..]),
        };
        self.lines.truncate(kept + read.as_ref().copied().unwrap_or_default());
        match read {
            Ok(0) if self.stored().rest().is_empty() => Ok(false),
            Ok(0) => Err(self.damaged("bytes follow the end of the gzip stream".to_owned())),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.damaged(format!("the gzip stream is incomplete or invalid: {error}"))),
        }
    }

    /// The counts and checksums of the object, after its last line.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if the last line has no end.
    pub fn finish(self) -> Result<ObjectSummary, SnapshotError> {
        if self.begin < self.lines.len() {
            return Err(self.damaged("the last line is incomplete".to_owned()));
        }
        Ok(self.sums.finish())
    }

    fn damaged(&self, problem: String) -> SnapshotError {
        SnapshotError::Damaged { object: self.sums.key.clone(), problem }
    }
}

/// Counts items and checks that each chain is complete: entries from 1 on, each with the hash of its predecessor. A
/// chain of blocks ends where the next chain begins: its items come one after the other. A chain of single entries, the
/// older form, ends with its head, and items of other chains may come in between. Only chains that have not ended are
/// remembered.
#[derive(Debug, Default)]
pub struct Summing {
    items: BTreeMap<Table, u64>,
    open: HashMap<String, Head>,
    /// The open chain whose last item was a block.
    of_blocks: Option<String>,
    chains: u64,
    entries: u64,
    heads: Sum,
}

impl Summing {
    /// Adds an item.
    ///
    /// # Errors
    /// The text says what is wrong with the item or its chain.
    pub fn add(&mut self, table: Table, item: &Item) -> Result<(), String> {
        if table == Table::Ledger {
            match LedgerItem::read(item).map_err(|error| error.to_string())? {
                LedgerItem::Entry(entry) => self.entry(&entry)?,
                LedgerItem::Block(entries) => {
                    entries.iter().try_for_each(|entry| self.entry(entry))?;
                    self.of_blocks = entries.into_iter().next().map(|first| first.chain);
                }
                LedgerItem::Head { chain, head } => self.head(&chain, head)?,
                LedgerItem::Other => {}
            }
        }
        *self.items.entry(table).or_default() += 1;
        Ok(())
    }

    /// The last entry of a chain that has not ended.
    #[must_use]
    pub fn last(&self, chain: &str) -> Head {
        self.open.get(chain).copied().unwrap_or(Head::NONE)
    }

    /// Whether the last item of a chain that has not ended was a block.
    #[must_use]
    pub fn is_of_blocks(&self, chain: &str) -> bool {
        self.of_blocks.as_deref() == Some(chain)
    }

    /// The chains whose head has not been read yet, and that need one.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        self.open.keys().map(String::as_str).filter(|chain| !self.is_of_blocks(chain))
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        if !self.is_of_blocks(&entry.chain) {
            self.end_blocks();
        }
        let (chain, last) = (&entry.chain, self.last(&entry.chain));
        if entry.seq != last.seq + 1 {
            return Err(format!("{chain}: entry {} comes after entry {}", entry.seq, last.seq));
        }
        if entry.hash != entry.digest() {
            return Err(format!("{chain}: entry {} does not match its hash", entry.seq));
        }
        if entry.prev != last.hash {
            return Err(format!("{chain}: entry {} does not follow entry {}", entry.seq, last.seq));
        }
        self.open.insert(chain.clone(), entry.head());
        self.entries += 1;
        Ok(())
    }

    fn head(&mut self, chain: &str, head: Head) -> Result<(), String> {
        let last = self.last(chain);
        // Blocks follow the entry that the head of the older form names.
        let fits = if self.is_of_blocks(chain) { head.seq < last.seq } else { head == last };
        if !fits || head.seq == 0 {
            return Err(format!("{chain}: the head names entry {}, but the last entry is {}", head.seq, last.seq));
        }
        self.end_blocks();
        self.end(chain);
        Ok(())
    }

    fn end_blocks(&mut self) {
        if let Some(chain) = self.of_blocks.take() {
            self.end(&chain);
        }
    }

    fn end(&mut self, chain: &str) {
        let Some(last) = self.open.remove(chain) else { return };
        self.chains += 1;
        let digest = Sha256::digest(format!("{chain} {} {}", last.seq, last.hash));
        self.heads.add(digest.into());
    }

    /// The number of items of each table, and the summary of the chains.
    ///
    /// # Errors
    /// The name of a chain whose head is missing.
    pub fn finish(mut self) -> Result<(BTreeMap<Table, u64>, ChainSummary), String> {
        self.end_blocks();
        if let Some(chain) = self.open.into_keys().min() {
            return Err(format!("{chain}: its head is missing"));
        }
        let heads = hex(&self.heads.0);
        Ok((self.items, ChainSummary { chains: self.chains, entries: self.entries, heads }))
    }
}

/// The tables of a manifest with their numbers of items and schemas, in order.
#[must_use]
pub fn tables(items: &BTreeMap<Table, u64>, schemas: &BTreeMap<Table, Value>) -> Vec<TableSummary> {
    let summary = |(table, schema): (&Table, &Value)| TableSummary {
        table: *table,
        items: items.get(table).copied().unwrap_or_default(),
        schema: schema.clone(),
    };
    schemas.iter().map(summary).collect()
}

/// A sum modulo 2^256, the most significant byte first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum([u8; 32]);

impl Sum {
    fn add(&mut self, other: [u8; 32]) {
        let mut carry = false;
        for (byte, more) in self.0.iter_mut().zip(other).rev() {
            let (sum, over) = byte.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, over || over_again);
        }
    }
}

#[cfg(test)]
mod tests;
