//! Checks an exported ledger offline.

use domain::ledger::{Broken, Entry, Head, verify};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Why an export could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// The file cannot be read, or is not an export.
    #[error("{0}")]
    Unreadable(String),
    /// The chain is broken.
    #[error("{0}")]
    Broken(Broken),
}

impl Unverified {
    /// The exit code: 4 broken, 6 not readable.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Broken(_) => 4,
            Self::Unreadable(_) => 6,
        }
    }
}

/// A line of an export.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    /// A whole answer of the audit endpoint.
    Answer { entries: Vec<Entry>, head: Head },
    /// A single entry of such an answer.
    Entry(Entry),
}

/// Checks a whole chain and returns its head.
///
/// # Errors
/// See [`Unverified`].
pub fn verify_file(path: &Path) -> Result<Head, Unverified> {
    let unreadable = |problem: &dyn std::fmt::Display| Unverified::Unreadable(format!("{}: {problem}", path.display()));
    let file = BufReader::new(File::open(path).map_err(|error| unreadable(&error))?);
    let (mut entries, mut head) = (Vec::new(), None);
    for (number, line) in (1..).zip(file.lines()) {
        let line = line.map_err(|error| unreadable(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(&line) {
            Ok(Line::Answer { entries: more, head: last }) => {
                entries.extend(more);
                head = Some(last);
            }
            Ok(Line::Entry(entry)) => entries.push(entry),
            Err(_) => return Err(unreadable(&format!("line {number} is neither an answer of the audit nor an entry"))),
        }
    }
    verify(&entries, head.as_ref()).map_err(Unverified::Broken)
}
