//! The data directory: locked by one process, and checked before use.

use crate::database::Database;
use crate::private;
use crate::template::{BadTemplate, Template};
use config::Config;
use dynoxide::storage::{Storage as Tables, TableMetadata};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use store::dynamodb::keys::{LEASE, LEASE_SORT};

const DATABASE: &str = "greenroom.db";
const LOCK: &str = "lock";
/// Name of the file that holds [`LAYOUT`] after the database was set up. Without it, a database that lost its tables
/// would look like a new one.
const MARKER: &str = "layout";
/// Since layout 2, histories have blocks, which older versions cannot read.
const LAYOUT: &str = "2";
/// The layout that this version takes over: the first write to a history adds a block.
const OLDER_LAYOUT: &str = "1";
/// Name of the file that holds the database's SHA-256 between an orderly stop and the next start. SQLite checks only
/// its structure and not its content: it would serve a label with a flipped bit.
const SEAL: &str = "seal";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory or a file in it cannot be created, read or written.
    #[error("data directory {path} cannot be used: {source}")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("data directory {path} is in use by process {pid}; stop it, or choose another --data-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process.
        pid: String,
    },
    /// The stored data is damaged.
    #[error("data directory {path} is damaged ({problem}); put a copy back in its place, or choose another --data-dir")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// The kind of damage.
        problem: String,
    },
    /// It holds only a part of a snapshot.
    #[error(
        "data directory {path} holds part of snapshot {snapshot}, whose restore was interrupted; \
         finish it with `greenroom restore {snapshot}{} --data-dir {path}`, or choose another --data-dir",
        if *keep_agents { " --keep-agents" } else { "" }
    )]
    HalfRestored {
        /// The directory.
        path: PathBuf,
        /// The snapshot.
        snapshot: String,
        /// Whether the restore keeps the agents as they were.
        keep_agents: bool,
    },
    /// It was written by a version with another layout.
    #[error("data directory {path} has layout {found}, this version reads layouts {OLDER_LAYOUT} and {LAYOUT}")]
    Layout {
        /// The directory.
        path: PathBuf,
        /// Its layout.
        found: String,
    },
    /// The template does not describe the tables.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// The engine does not start.
    #[error("the embedded database does not start: {0}")]
    Engine(String),
}

impl StorageError {
    /// The exit code of the process: 4 data damaged, 5 data of another version, 6 directory not usable, 7 directory in
    /// use, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Damaged { .. } | Self::HalfRestored { .. } => 4,
            Self::Layout { .. } => 5,
            Self::Unusable { .. } => 6,
            Self::Locked { .. } => 7,
            Self::Template(_) | Self::Engine(_) => 1,
        }
    }
}

/// Where the data is kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// Only in memory: it is lost when the process ends.
    Memory,
    /// In this directory.
    Directory {
        /// The directory; it is created if it does not exist.
        path: PathBuf,
        /// Whether each write waits for the disk, so that it also survives a power cut. Otherwise it survives only the
        /// end of the process.
        durable: bool,
    },
}

/// An opened store.
pub struct Storage {
    /// The engine, with all tables.
    pub database: Database,
    /// Lock on the data directory, held while the store is in use.
    pub lock: Option<File>,
}

/// Opens the store and creates the template's tables in it.
///
/// # Errors
/// See [`StorageError`].
pub fn open(location: &Location, template: &Template, config: &Config) -> Result<Storage, StorageError> {
    let store = open_to_restore(location, template, config)?;
    if let Location::Directory { path, .. } = location
        && let Some((snapshot, keep_agents)) =
            half_restored(&store.database, config).map_err(|error| damaged(path, &error))?
    {
        return Err(StorageError::HalfRestored { path: path.clone(), snapshot, keep_agents });
    }
    Ok(store)
}

/// The snapshot whose restore is unfinished, and whether that restore keeps the agents.
fn half_restored(database: &Database, config: &Config) -> Result<Option<(String, bool)>, String> {
    let request = serde_json::json!({
        "TableName": config.state_table,
        "Key": {"pk": {"S": format!("{LEASE}{}", snapshot::restore::LEASE)}, "sk": {"S": LEASE_SORT}},
    });
    let (status, answer) = database.call("GetItem", request.to_string().as_bytes(), false);
    if status != 200 {
        return Err(String::from_utf8_lossy(&answer).into_owned());
    }
    let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    let progress = &answer["Item"]["progress"]["S"];
    let Some(progress) = progress.as_str() else { return Ok(None) };
    let begun: serde_json::Value = serde_json::from_str(progress).map_err(|error| error.to_string())?;
    let keep_agents = begun["keepAgents"].as_bool().unwrap_or(true);
    Ok(begun["snapshot"].as_str().map(|snapshot| (snapshot.to_owned(), keep_agents)))
}

/// Like [`open`], but also opens a store that holds only a part of a snapshot. Only a restore may use it, to finish.
///
/// # Errors
/// See [`StorageError`].
pub fn open_to_restore(location: &Location, template: &Template, config: &Config) -> Result<Storage, StorageError> {
    let tables = [("StateTable", config.state_table.as_str()), ("LedgerTable", config.ledger_table.as_str())];
    let Location::Directory { path, durable } = location else {
        let engine = |error: &dyn std::fmt::Display| StorageError::Engine(error.to_string());
        let tables_in_memory = Tables::memory().map_err(|error| engine(&error))?;
        let database = Database::new(tables_in_memory).map_err(|error| engine(&error))?;
        for (logical_id, table) in tables {
            prepare_table(&database, template, logical_id, table)?;
        }
        return Ok(Storage { database, lock: None });
    };
    let made = missing(path);
    let opened = open_directory(path, *durable, template, config);
    if let Some(top) = made
        && opened.as_ref().is_err_and(|error| !matches!(error, StorageError::Locked { .. }))
    {
        remove_made(path, top);
    }
    opened
}

/// The topmost missing directory of a path.
fn missing(path: &Path) -> Option<&Path> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && std::fs::symlink_metadata(path).is_err();
    path.ancestors().take_while(missing).last()
}

/// Removes a directory that this process has created, and its created parents up to `top`, so that a failed start
/// leaves nothing behind.
fn remove_made(path: &Path, top: &Path) {
    // A directory that cannot be removed does no harm.
    let _ = std::fs::remove_dir_all(path);
    for above in path.ancestors().skip(1).take_while(|above| above.starts_with(top)) {
        let _ = std::fs::remove_dir(above);
    }
}

fn open_directory(path: &Path, durable: bool, template: &Template, config: &Config) -> Result<Storage, StorageError> {
    let tables = [("StateTable", config.state_table.as_str()), ("LedgerTable", config.ledger_table.as_str())];
    let unusable = |source| StorageError::Unusable { path: path.to_owned(), source };
    let directory = private::directory(path).map_err(unusable)?;
    let lock = lock(path)?;
    let found = layout(path)?;
    let set_up = found.is_some();
    let file = path.join(DATABASE);
    let name = database_name(path, &directory).map_err(unusable)?;
    for ending in ["", "-wal", "-shm", "-journal"] {
        let file = path.join(format!("{DATABASE}{ending}"));
        private::refuse_link(&file).map_err(|source| StorageError::Unusable { path: file.clone(), source })?;
    }
    if set_up {
        break_seal(path, &file)?;
        check(path, &name)?;
    }
    // If a new database cannot be opened, it is not damaged.
    let failed = |error: &dyn std::fmt::Display| {
        if set_up { damaged(path, error) } else { unusable(io::Error::other(error.to_string())) }
    };
    let stored = Tables::new(&name).map_err(|error| failed(&error))?;
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    stored.conn().pragma_update(None, "synchronous", synchronous).map_err(|error| failed(&error))?;
    if set_up && stored.table_count().map_err(|error| damaged(path, &error))? == 0 {
        return Err(damaged(path, &"its tables are missing"));
    }
    let mut database = Database::new(stored).map_err(|error| failed(&error))?;
    database.start_checkpoints(&name).map_err(|error| failed(&error))?;
    for (logical_id, table) in tables {
        database.storage().get_table_metadata(table).map_err(|error| damaged(path, &error))?;
        prepare_table(&database, template, logical_id, table)?;
    }
    if found != Some(LAYOUT) {
        replace(path, MARKER, LAYOUT).map_err(|source| StorageError::Unusable { path: path.join(MARKER), source })?;
    }
    Ok(Storage { database, lock: Some(lock) })
}

/// The database's file name for SQLite. It is absolute, because SQLite would read `file:…` as a URI.
fn database_name(path: &Path, directory: &File) -> io::Result<String> {
    let absolute = std::path::absolute(path)?.join(DATABASE);
    match absolute.into_os_string().into_string() {
        Ok(name) => Ok(name),
        // The engine accepts only text. The system resolves this path to the directory, even if the directory's name is
        // not text.
        Err(_) if cfg!(target_os = "linux") => Ok(format!("/proc/self/fd/{}/{DATABASE}", directory.as_raw_fd())),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8")),
    }
}

/// Creates a table, or adds the stream and the time to live to a table that lacks them, because an older version or an
/// interrupted run created it. From then on the stream is written.
fn prepare_table(database: &Database, template: &Template, logical_id: &str, name: &str) -> Result<(), StorageError> {
    let engine = |error: &dyn std::fmt::Display| StorageError::Engine(error.to_string());
    let found = || database.storage().get_table_metadata(name).map_err(|error| engine(&error));
    let (request, ttl) = template.table(logical_id, name)?;
    let stream = request["StreamSpecification"].clone();
    match found()? {
        None => {
            let request = serde_json::from_value(request).map_err(|error| engine(&error))?;
            database.create_table(request).map_err(|error| engine(&error))?;
            start_expiry(database, name, ttl.as_deref())?;
        }
        Some(table) => {
            if !table.ttl_enabled {
                start_expiry(database, name, ttl.as_deref())?;
            }
            if !has_stream(&table) && !stream.is_null() {
                let request = serde_json::json!({"TableName": name, "StreamSpecification": stream});
                let request = serde_json::from_value(request).map_err(|error| engine(&error))?;
                database.update_table(request).map_err(|error| engine(&error))?;
            }
        }
    }
    match found()? {
        Some(table) if has_stream(&table) => database.follow(&table).map_err(|error| engine(&error)),
        _ => Ok(()),
    }
}

/// Whether a table has a stream. The engine keeps the label of a stream that it does not write itself.
fn has_stream(table: &TableMetadata) -> bool {
    table.stream_label.is_some()
}

fn damaged(path: &Path, problem: &dyn std::fmt::Display) -> StorageError {
    StorageError::Damaged { path: path.to_owned(), problem: problem.to_string() }
}

fn lock(directory: &Path) -> Result<File, StorageError> {
    let unusable = |path: &Path, source| StorageError::Unusable { path: path.to_owned(), source };
    let path = directory.join(LOCK);
    let options = &mut OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = private::open(options, &path).map_err(|source| unusable(&path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.is_empty() { "unknown".to_owned() } else { pid };
            return Err(StorageError::Locked { path: directory.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(&path, source)),
    }
    let note = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .and_then(|()| file.flush());
    note.map_err(|source| unusable(&path, source))?;
    Ok(file)
}

/// The layout of a directory. `None`: it is not set up.
fn layout(directory: &Path) -> Result<Option<&'static str>, StorageError> {
    let path = directory.join(MARKER);
    match private::read(&path).map(String::from_utf8) {
        Ok(Ok(found)) if found == LAYOUT => Ok(Some(LAYOUT)),
        Ok(Ok(found)) if found == OLDER_LAYOUT => Ok(Some(OLDER_LAYOUT)),
        Ok(Ok(found)) => Err(StorageError::Layout { path: directory.to_owned(), found: format!("{found:.20?}") }),
        Ok(Err(_)) => Err(damaged(directory, &"its layout file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError::Unusable { path, source }),
    }
}

/// Stores the checksum of a closed database, so that the next start can detect a change.
///
/// # Errors
/// A file in the data directory cannot be read or written. No seal exists then.
pub fn seal(location: &Location) -> io::Result<()> {
    let Location::Directory { path, .. } = location else { return Ok(()) };
    if has_log(path) {
        // The last user did not close the database, so a part of it is still in the write-ahead log.
        return Ok(());
    }
    replace(path, SEAL, digest(&path.join(DATABASE))?)
}

/// Writes a file of the directory by way of a draft, so that it has its old content or the new one.
fn replace(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
    let draft = directory.join(format!("{name}.new"));
    private::write(&draft, content)?;
    std::fs::rename(draft, directory.join(name))
}

/// Compares the database with its seal, if there is one, and removes the seal, because the database changes from now
/// on.
fn break_seal(directory: &Path, file: &Path) -> Result<(), StorageError> {
    let seal = directory.join(SEAL);
    let unusable = |source| StorageError::Unusable { path: seal.clone(), source };
    let sealed = match private::read(&seal) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unusable(source)),
    };
    let found = digest(file).map_err(|error| damaged(directory, &format!("{DATABASE}: {error}")))?;
    if found != sealed || has_log(directory) {
        return Err(damaged(directory, &format!("{DATABASE} has changed since it was closed")));
    }
    // The removal must reach the disk before the first change: after a power cut, an old seal would make a sound
    // database look damaged.
    std::fs::remove_file(&seal).and_then(|()| File::open(directory)?.sync_all()).map_err(unusable)
}

fn has_log(directory: &Path) -> bool {
    std::fs::metadata(directory.join(format!("{DATABASE}-wal"))).is_ok_and(|log| log.len() > 0)
}

/// Bytes of the database that are hashed at a time.
const READ_BYTES: usize = 64 * 1024;

fn digest(file: &Path) -> io::Result<Vec<u8>> {
    let mut digest = Sha256::new();
    let mut file = io::BufReader::with_capacity(READ_BYTES, private::open(OpenOptions::new().read(true), file)?);
    while let part @ [_, ..] = file.fill_buf()? {
        digest.update(part);
        let read = part.len();
        file.consume(read);
    }
    Ok(digest.finalize().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect())
}

/// First bytes of a write-ahead log, except for the lowest bit (<https://www.sqlite.org/fileformat2.html#walformat>).
const LOG_MAGIC: [u8; 4] = [0x37, 0x7f, 0x06, 0x82];

/// Whether the write-ahead log is not valid. SQLite would silently ignore it and all its changes.
fn log_is_strange(directory: &Path) -> bool {
    let mut begin = Vec::new();
    let log = private::open(OpenOptions::new().read(true), &directory.join(format!("{DATABASE}-wal")));
    let read = log.and_then(|log| log.take(4).read_to_end(&mut begin));
    // A power cut may leave zeros where nothing was written yet.
    read.is_ok() && begin.iter().zip(LOG_MAGIC).any(|(byte, magic)| *byte != 0 && byte & !1 != magic & !1)
}

/// Reads the whole file once, because the engine would silently serve the rest of a damaged file.
fn check(directory: &Path, name: &str) -> Result<(), StorageError> {
    if log_is_strange(directory) {
        return Err(damaged(directory, &"its write-ahead log"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let verdict: Result<String, rusqlite::Error> = Connection::open_with_flags(name, flags)
        .and_then(|connection| connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(problem) => Err(damaged(directory, &problem.replace('\n', " "))),
        Err(error) => Err(damaged(directory, &error)),
    }
}

/// Makes the engine remove expired items; this attribute holds their time of expiry.
fn start_expiry(database: &Database, table: &str, attribute: Option<&str>) -> Result<(), StorageError> {
    let engine = |error: &dyn std::fmt::Display| StorageError::Engine(error.to_string());
    let Some(attribute) = attribute else { return Ok(()) };
    let request = serde_json::json!({
        "TableName": table, "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": true},
    });
    let request = serde_json::from_value(request).map_err(|error| engine(&error))?;
    database.update_time_to_live(request).map_err(|error| engine(&error))
}
