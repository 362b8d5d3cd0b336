//! The data directory: locked by one process, checked before use.

use crate::private;
use crate::records;
use crate::template::{BadTemplate, Template};
use config::Config;
use dynoxide::Database;
use dynoxide::errors::DynoxideError;
use dynoxide::storage::TableMetadata;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use store::dynamodb::keys::{LEASE, LEASE_SORT};

const DATABASE: &str = "greenroom.db";
const LOCK: &str = "lock";
/// Holds [`LAYOUT`] once the database has been set up, so that a database which lost its tables is not mistaken for a
/// new one.
const MARKER: &str = "layout";
const LAYOUT: &str = "1";
/// Holds the database's SHA-256 from an orderly stop to the next start. `SQLite` checks its structure and no content: a
/// flipped bit in a label would be served.
const SEAL: &str = "seal";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("data directory {path} cannot be used: {source}")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
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
    /// What is stored is damaged.
    #[error("data directory {path} is damaged ({problem}); put a copy back in its place, or choose another --data-dir")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// It holds part of a snapshot.
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
        /// Whether its agents are restored as they were.
        keep_agents: bool,
    },
    /// Written by a version that lays out its data in another way.
    #[error("data directory {path} has layout {found}, this version reads layout {LAYOUT}")]
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
    /// The exit code of who wanted to use it: 4 damaged, 5 of another version, 6 not to be used, 7 in use, 1 anything else.
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

/// Where data is kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// Nowhere: it is gone with the process.
    Memory,
    /// In this directory.
    Directory {
        /// The directory; made if missing.
        path: PathBuf,
        /// Whether each write waits for the disk, so that it survives a power cut and not just the end of the process.
        durable: bool,
    },
}

/// An open store.
pub struct Storage {
    /// The engine, with all tables.
    pub database: Database,
    /// A second connection to the same data, for the records of the stream.
    pub stream: Connection,
    /// Held for as long as the store is in use.
    pub lock: Option<File>,
}

/// Opens the store and makes the tables of the template in it.
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

/// Which snapshot's restore has begun and is not done, and whether it keeps agents.
fn half_restored(database: &Database, config: &Config) -> Result<Option<(String, bool)>, String> {
    let request = serde_json::json!({
        "TableName": config.state_table,
        "Key": {"pk": {"S": format!("{LEASE}{}", snapshot::restore::LEASE)}, "sk": {"S": LEASE_SORT}},
    });
    let request = serde_json::from_value(request).map_err(|error| error.to_string())?;
    let answer = database.get_item(request).map_err(|error| error.to_string())?;
    let answer = serde_json::to_value(answer).map_err(|error| error.to_string())?;
    let progress = &answer["Item"]["progress"]["S"];
    let Some(progress) = progress.as_str() else { return Ok(None) };
    let begun: serde_json::Value = serde_json::from_str(progress).map_err(|error| error.to_string())?;
    let keep_agents = begun["keepAgents"].as_bool().unwrap_or(true);
    Ok(begun["snapshot"].as_str().map(|snapshot| (snapshot.to_owned(), keep_agents)))
}

/// The same for one who finishes a restore: others must not take part of a snapshot for all of it.
///
/// # Errors
/// See [`StorageError`].
pub fn open_to_restore(location: &Location, template: &Template, config: &Config) -> Result<Storage, StorageError> {
    let tables = [("StateTable", config.state_table.as_str()), ("LedgerTable", config.ledger_table.as_str())];
    let engine = |error: DynoxideError| StorageError::Engine(error.to_string());
    let Location::Directory { path, durable } = location else {
        // Two connections of one process share what is in memory under a name; nobody else can open it.
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let name = format!("file:greenroom-{}?mode=memory&cache=shared", OPENED.fetch_add(1, Ordering::Relaxed));
        let database = Database::new(&name).map_err(engine)?;
        let stream = follow(&name).map_err(|error| StorageError::Engine(error.to_string()))?;
        for (logical_id, table) in tables {
            create_table(&database, template, logical_id, table)?;
        }
        return Ok(Storage { database, stream, lock: None });
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

/// The highest directory that must be made so that this one can be.
fn missing(path: &Path) -> Option<&Path> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && std::fs::symlink_metadata(path).is_err();
    path.ancestors().take_while(missing).last()
}

/// Removes a directory that this process has made, and those above it up to `top`: nothing is left of a start that failed.
fn remove_made(path: &Path, top: &Path) {
    // What cannot be removed does no harm.
    let _ = std::fs::remove_dir_all(path);
    for above in path.ancestors().skip(1).take_while(|above| above.starts_with(top)) {
        let _ = std::fs::remove_dir(above);
    }
}

fn open_directory(path: &Path, durable: bool, template: &Template, config: &Config) -> Result<Storage, StorageError> {
    let tables = [("StateTable", config.state_table.as_str()), ("LedgerTable", config.ledger_table.as_str())];
    let engine = |error: DynoxideError| StorageError::Engine(error.to_string());
    let unusable = |source| StorageError::Unusable { path: path.to_owned(), source };
    let directory = private::directory(path).map_err(unusable)?;
    let lock = lock(path)?;
    let set_up = is_set_up(path)?;
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
    // A new database that cannot be opened is not damaged.
    let failed = |error: &dyn std::fmt::Display| {
        if set_up { damaged(path, error) } else { unusable(io::Error::other(error.to_string())) }
    };
    let database = Database::new(&name).map_err(|error| failed(&error))?;
    if !durable {
        // The engine's one public way from synchronous=FULL to NORMAL: leaving bulk mode.
        database.enable_bulk_loading().and_then(|()| database.disable_bulk_loading()).map_err(engine)?;
    }
    if set_up && database.table_count().map_err(|error| damaged(path, &error))? == 0 {
        return Err(damaged(path, &"its tables are gone"));
    }
    let stream = follow(&name).map_err(|error| failed(&error))?;
    for (logical_id, table) in tables {
        let found = database.get_table_metadata(table).map_err(|error| damaged(path, &error))?;
        match found {
            None => create_table(&database, template, logical_id, table)?,
            Some(found) => complete_table(&database, template, logical_id, &found)?,
        }
    }
    if !set_up {
        let marker = path.join(MARKER);
        private::write(&marker, LAYOUT).map_err(|source| StorageError::Unusable { path: marker, source })?;
    }
    Ok(Storage { database, stream, lock: Some(lock) })
}

/// The database's name for `SQLite`: absolute, because it takes `file:…` for a URI.
fn database_name(path: &Path, directory: &File) -> io::Result<String> {
    let absolute = std::path::absolute(path)?.join(DATABASE);
    match absolute.into_os_string().into_string() {
        Ok(name) => Ok(name),
        // The engine takes text alone; the system resolves this to the directory's own name, whatever bytes that has.
        Err(_) if cfg!(target_os = "linux") => Ok(format!("/proc/self/fd/{}/{DATABASE}", directory.as_raw_fd())),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8")),
    }
}

fn follow(name: &str) -> rusqlite::Result<Connection> {
    let stream = Connection::open(name)?;
    records::prepare(&stream)?;
    Ok(stream)
}

/// Gives a table the stream and the time to live that it lacks, because a version that left them out made it, or a run that
/// was killed in between.
fn complete_table(
    database: &Database,
    template: &Template,
    logical_id: &str,
    found: &TableMetadata,
) -> Result<(), StorageError> {
    let engine = |error: &dyn std::fmt::Display| StorageError::Engine(error.to_string());
    let (request, ttl) = template.table(logical_id, &found.table_name)?;
    if !found.ttl_enabled {
        start_expiry(database, &found.table_name, ttl.as_deref())?;
    }
    if found.stream_enabled || request["StreamSpecification"].is_null() {
        return Ok(());
    }
    let request = serde_json::json!({
        "TableName": found.table_name, "StreamSpecification": request["StreamSpecification"],
    });
    let request = serde_json::from_value(request).map_err(|error| engine(&error))?;
    database.update_table(request).map(drop).map_err(|error| engine(&error))
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

fn is_set_up(directory: &Path) -> Result<bool, StorageError> {
    let path = directory.join(MARKER);
    match private::read(&path).map(String::from_utf8) {
        Ok(Ok(found)) if found == LAYOUT => Ok(true),
        Ok(Ok(found)) => Err(StorageError::Layout { path: directory.to_owned(), found: format!("{found:.20?}") }),
        Ok(Err(_)) => Err(damaged(directory, &"its layout file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StorageError::Unusable { path, source }),
    }
}

/// Notes what a closed database holds, so that the next start can tell whether it is still the same.
///
/// # Errors
/// A file in the data directory cannot be read or written. There is no seal then.
pub fn seal(location: &Location) -> io::Result<()> {
    let Location::Directory { path, .. } = location else { return Ok(()) };
    if has_log(path) {
        // Not closed by its last user: part of it stands elsewhere.
        return Ok(());
    }
    let draft = path.join("seal.new");
    private::write(&draft, digest(&path.join(DATABASE))?)?;
    std::fs::rename(draft, path.join(SEAL))
}

/// Compares the database with its seal, if there is one, and removes the seal: from here on the database changes.
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
        return Err(damaged(directory, &format!("{DATABASE} is not as it was when it was closed")));
    }
    // On disk before the first change is: a seal that came back after a power cut would accuse a sound database.
    std::fs::remove_file(&seal).and_then(|()| File::open(directory)?.sync_all()).map_err(unusable)
}

fn has_log(directory: &Path) -> bool {
    std::fs::metadata(directory.join(format!("{DATABASE}-wal"))).is_ok_and(|log| log.len() > 0)
}

/// Bytes of the database that are hashed at once.
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

/// First bytes of a write-ahead log, but for the lowest bit (<https://www.sqlite.org/fileformat2.html#walformat>).
const LOG_MAGIC: [u8; 4] = [0x37, 0x7f, 0x06, 0x82];

/// Whether there is a write-ahead log that is none: `SQLite` would leave it out without a word, and all that stood in it.
fn log_is_strange(directory: &Path) -> bool {
    let mut begin = Vec::new();
    let log = private::open(OpenOptions::new().read(true), &directory.join(format!("{DATABASE}-wal")));
    let read = log.and_then(|log| log.take(4).read_to_end(&mut begin));
    // A power cut may leave zeros where nothing had been written yet.
    read.is_ok() && begin.iter().zip(LOG_MAGIC).any(|(byte, magic)| *byte != 0 && byte & !1 != magic & !1)
}

/// Reads the whole file once: the engine would serve what is left of a damaged one without a word.
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

fn create_table(database: &Database, template: &Template, logical_id: &str, name: &str) -> Result<(), StorageError> {
    let engine = |error: &dyn std::fmt::Display| StorageError::Engine(error.to_string());
    let (request, ttl) = template.table(logical_id, name)?;
    let request = serde_json::from_value(request).map_err(|error| engine(&error))?;
    database.create_table(request).map_err(|error| engine(&error))?;
    start_expiry(database, name, ttl.as_deref())
}

/// Has the engine remove items whose time, which stands in this attribute, is over.
fn start_expiry(database: &Database, table: &str, attribute: Option<&str>) -> Result<(), StorageError> {
    let engine = |error: &dyn std::fmt::Display| StorageError::Engine(error.to_string());
    let Some(attribute) = attribute else { return Ok(()) };
    let request = serde_json::json!({
        "TableName": table, "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": true},
    });
    let request = serde_json::from_value(request).map_err(|error| engine(&error))?;
    database.update_time_to_live(request).map(drop).map_err(|error| engine(&error))
}
