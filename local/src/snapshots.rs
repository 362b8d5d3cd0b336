//! The commands about snapshots: on a data directory, whether a runner has it open or not, or on AWS.

use crate::client::client;
use crate::engine::Engine;
use crate::objects::{BUCKET, Directory, DirectoryError};
use crate::socket::{self, Socket};
use crate::storage::{self, Location, StorageError};
use crate::template::{BadTemplate, TEMPLATE, Template};
use aws::ConnectError;
use clap::Args;
use config::BadSetting;
use config::Config;
use domain::Timestamp;
use snapshot::SnapshotError;
use snapshot::format::{Manifest, Table};
use snapshot::keep::flaw;
use snapshot::objects::Objects;
use snapshot::tables::Tables;
use snapshot::take::{Settings, Snapshots};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use store::dynamodb;

/// How long a command that only reads waits for one that writes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the database may take to close.
const CLOSING: Duration = Duration::from_secs(5);

/// Which tables and which snapshots.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Directory that keeps the data [default: .greenroom]
    #[arg(long, default_value_os_t = config::runner::data_dir(), hide_default_value = true)]
    pub data_dir: PathBuf,
    /// Directory that keeps the snapshots [default: snapshots in the data directory]
    #[arg(long)]
    pub snapshot_dir: Option<PathBuf>,
    /// Work on AWS, with the region and the credentials that stand in the environment
    #[arg(long)]
    pub aws: bool,
    /// Bucket that keeps the snapshots
    #[arg(long, requires = "aws")]
    pub bucket: Option<String>,
    /// Table of users and agents
    #[arg(long, requires = "aws")]
    pub state_table: Option<String>,
    /// Table of histories
    #[arg(long, requires = "aws")]
    pub ledger_table: Option<String>,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// AWS cannot be spoken to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no data directory.
    #[error("there is no data directory {0}; choose another --data-dir")]
    NoData(PathBuf),
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The snapshot directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The template this program was built with is not usable.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// The work itself failed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The system refuses threads.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl CommandError {
    /// The exit code: 2 setting, 3 target not empty, 4 damaged or not there, 5 of another version, 6 not to be reached,
    /// 7 somebody else is at work, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_) | Self::Connect(_) => 2,
            Self::NoData(_) | Self::Directory(DirectoryError::Unusable { .. }) => 6,
            Self::Directory(DirectoryError::Locked { .. }) => 7,
            Self::Storage(error) => error.exit_code(),
            Self::Snapshot(error) => error.exit_code(),
            Self::Template(_) | Self::System(_) => 1,
        }
    }
}

/// Where a runner or a command keeps the snapshots of a data directory, unless it is told otherwise.
#[must_use]
pub fn default_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshots")
}

/// Tables and snapshots, open.
pub struct Opened {
    /// The tables.
    pub tables: Tables,
    /// The snapshots.
    pub objects: Objects,
    /// Where the snapshots are, for people.
    pub kept_in: String,
    /// No other run can be at work: the snapshots are in a directory that only one process uses.
    pub alone: bool,
    engine: Option<Running>,
}

/// An engine of this process: its thread, its data and their lock.
type Running = (JoinHandle<()>, Location, Option<std::fs::File>);

impl Source {
    /// The directory that keeps the snapshots.
    #[must_use]
    pub fn snapshot_dir(&self) -> PathBuf {
        let given = self.snapshot_dir.clone().or_else(config::runner::snapshot_dir);
        given.unwrap_or_else(|| default_directory(&self.data_dir))
    }

    /// Opens the tables and the snapshots; waits for a process that uses the snapshots for at most `patience`.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn open(&self, config: &Config, patience: Duration) -> Result<Opened, CommandError> {
        if self.aws {
            return self.open_aws(config).await;
        }
        if !self.data_dir.is_dir() {
            return Err(CommandError::NoData(self.data_dir.clone()));
        }
        let directory = self.snapshot_dir();
        let objects = Objects::new(Directory::open(&directory, patience)?.client(), BUCKET);
        let location = Location::Directory { path: self.data_dir.clone(), durable: false };
        let (client, engine) = match storage::open(&location, &Template::parse(TEMPLATE)?, config) {
            Ok(store) => {
                let (engine, thread) = Engine::start(store.database, store.stream)?;
                (client(engine), Some((thread, location, store.lock)))
            }
            Err(error @ StorageError::Locked { .. }) => {
                if !self.data_dir.join(socket::NAME).exists() {
                    return Err(error.into());
                }
                (client(Socket { directory: self.data_dir.clone() }), None)
            }
            Err(error) => return Err(error.into()),
        };
        let (state, ledger) = (config.state_table.clone(), config.ledger_table.clone());
        let tables = Tables { client, state, ledger };
        Ok(Opened::new(tables, objects, &directory, engine))
    }

    async fn open_aws(&self, config: &Config) -> Result<Opened, CommandError> {
        let settings = config::Snapshots::from_env()?;
        let bucket = self.bucket.clone().unwrap_or(settings.bucket);
        let objects = Objects::new(snapshot::objects::connect_from_env()?, &bucket);
        let tables = Tables {
            client: dynamodb::connect_from_env().await?,
            state: self.state_table.clone().unwrap_or_else(|| config.state_table.clone()),
            ledger: self.ledger_table.clone().unwrap_or_else(|| config.ledger_table.clone()),
        };
        let objects = objects.with_storage_class(settings.storage_class.as_str().into());
        Ok(Opened { tables, objects, kept_in: format!("s3://{bucket}"), alone: false, engine: None })
    }
}

impl Opened {
    /// Tables of a data directory, whose engine this process may have started, and the snapshots of a directory that it
    /// holds.
    pub(crate) fn new(tables: Tables, objects: Objects, directory: &Path, engine: Option<Running>) -> Self {
        Self { tables, objects, kept_in: directory.display().to_string(), alone: true, engine }
    }

    /// Closes the database, if this process had it open, as a runner does when it stops.
    pub async fn close(self) {
        let Self { tables, objects, engine, .. } = self;
        drop((tables, objects));
        let Some((thread, location, lock)) = engine else { return };
        let closed = tokio::task::spawn_blocking(move || {
            if thread.join().is_ok()
                && let Err(error) = storage::seal(&location)
            {
                tracing::warn!(%error, "the data directory is not sealed");
            }
            drop(lock);
        });
        // The process ends anyway.
        let _ = tokio::time::timeout(CLOSING, closed).await;
    }
}

/// Takes and verifies a snapshot: a summary for people.
///
/// # Errors
/// See [`CommandError`].
pub async fn take(source: &Source) -> Result<String, CommandError> {
    let (config, settings) = (Config::of_runner_from_env()?, config::Snapshots::from_env()?);
    let opened = source.open(&config, Duration::ZERO).await?;
    let settings = Settings::new(&config.stage, &settings);
    let began = Instant::now();
    let performed = {
        let Opened { tables, objects, alone, .. } = &opened;
        let clock = || Timestamp::from(SystemTime::now());
        Snapshots { tables, objects, settings: &settings, clock, alone: *alone }.perform(None).await
    };
    let kept_in = opened.kept_in.clone();
    opened.close().await;
    let performed = performed?;
    let mut text = match &performed.taken {
        Some(manifest) => summary(manifest, began.elapsed()),
        None => format!("snapshot {} was there already", performed.newest),
    };
    let _ = write!(text, "\nkept in {kept_in}");
    for removed in &performed.removed.snapshots {
        let _ = write!(text, "\nremoved {removed}, which is past its time");
    }
    Ok(text)
}

fn summary(manifest: &Manifest, took: Duration) -> String {
    let items = |wanted| {
        let found = manifest.tables.iter().find(|summary| summary.table == wanted);
        found.map(|summary| summary.items).unwrap_or_default()
    };
    format!(
        "snapshot {} is taken and verified\n{} items of users and agents, {} of histories: {} rooms with {} entries\n\
         {} bytes, SHA-256 {}, in {:.1} s",
        manifest.snapshot,
        items(Table::State),
        items(Table::Ledger),
        manifest.chains.chains,
        manifest.chains.entries,
        manifest.object.bytes,
        manifest.object.sha256,
        took.as_secs_f64(),
    )
}

/// The snapshots there are, the oldest first, a line for each.
///
/// # Errors
/// See [`CommandError`].
pub async fn list(source: &Source) -> Result<String, CommandError> {
    let config = Config::of_runner_from_env()?;
    let objects = if source.aws {
        source.open(&config, PATIENCE).await?.objects
    } else {
        let directory = source.snapshot_dir();
        if !directory.is_dir() {
            return Ok("no snapshots".to_owned());
        }
        Objects::new(Directory::open(&directory, PATIENCE)?.client(), BUCKET)
    };
    let mut lines = Vec::new();
    for listed in objects.list().await? {
        let note = flaw(&objects, &listed).await?.map(|flaw| format!("  no snapshot: {flaw}")).unwrap_or_default();
        lines.push(format!("{}  {} bytes{note}", listed.snapshot, listed.bytes));
    }
    Ok(if lines.is_empty() { "no snapshots".to_owned() } else { lines.join("\n") })
}
