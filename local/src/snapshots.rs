//! The commands about snapshots. They work on a data directory, even if a runner has it open, or on AWS.

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

/// Timeout of a command that only reads, while another process uses the snapshots.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit for closing the database.
const CLOSING: Duration = Duration::from_secs(5);

/// The tables and the snapshots to work on.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Directory that keeps the data [default: .greenroom]
    #[arg(long, default_value_os_t = config::runner::data_dir(), hide_default_value = true)]
    pub data_dir: PathBuf,
    /// Directory that keeps the snapshots [default: snapshots in the data directory]
    #[arg(long)]
    pub snapshot_dir: Option<PathBuf>,
    /// Work on AWS, with the region and the credentials of the environment
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

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The client for AWS cannot be created.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The data directory does not exist.
    #[error("there is no data directory {0}; choose another --data-dir")]
    NoData(PathBuf),
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The snapshot directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The embedded template is not usable.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// The work itself failed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There is a key that signs tokens already.
    #[error("there is a key already; `greenroom keys rotate` makes another one")]
    HasKeys,
    /// The table cannot be read or written.
    #[error("{}", telemetry::Chain(.0))]
    Store(#[from] store::StoreError),
    /// The system refuses to start a thread.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl CommandError {
    /// The exit code: 2 invalid setting, 3 target not empty, 4 data damaged or missing, 5 data of another version, 6
    /// data unreachable, 7 data in use, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_) | Self::Connect(_) => 2,
            Self::NoData(_)
            | Self::Directory(DirectoryError::Unusable { .. })
            | Self::Store(store::StoreError::Unavailable(_)) => 6,
            Self::Directory(DirectoryError::Locked { .. }) => 7,
            Self::Storage(error) => error.exit_code(),
            Self::Snapshot(error) => error.exit_code(),
            Self::HasKeys => 3,
            Self::Store(store::StoreError::Corrupt { .. }) => 4,
            Self::Template(_) | Self::System(_) | Self::Store(_) => 1,
        }
    }
}

/// Default directory for the snapshots of a data directory.
#[must_use]
pub fn default_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshots")
}

/// Opened tables and snapshots.
pub struct Opened {
    /// The tables.
    pub tables: Tables,
    /// The snapshots.
    pub objects: Objects,
    /// The location of the snapshots, as text for people.
    pub kept_in: String,
    /// No other run can be active, because only one process at a time can use the snapshot directory.
    pub alone: bool,
    engine: Option<Running>,
}

/// An engine in this process: its thread, its data and the lock on the data.
type Running = (JoinHandle<()>, Location, Option<std::fs::File>);

impl Source {
    /// The directory that keeps the snapshots.
    #[must_use]
    pub fn snapshot_dir(&self) -> PathBuf {
        let given = self.snapshot_dir.clone().or_else(config::runner::snapshot_dir);
        given.unwrap_or_else(|| default_directory(&self.data_dir))
    }

    /// Opens the tables and the snapshots. If another process uses the snapshots, it waits for at most `patience`.
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
                let (engine, thread) = Engine::start(store.database)?;
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
    /// The tables of a data directory and the snapshots of a locked directory. `engine` is set if this process has
    /// started the engine.
    pub(crate) fn new(tables: Tables, objects: Objects, directory: &Path, engine: Option<Running>) -> Self {
        Self { tables, objects, kept_in: directory.display().to_string(), alone: true, engine }
    }

    /// Closes the database and seals the data directory, if this process has opened it.
    pub async fn close(self) {
        let Self { tables, objects, engine, .. } = self;
        drop((tables, objects));
        let Some((thread, location, lock)) = engine else { return };
        let closed = tokio::task::spawn_blocking(move || {
            if thread.join().is_ok()
                && let Err(error) = storage::seal(&location)
            {
                tracing::warn!(%error, "failed to seal the data directory");
            }
            drop(lock);
        });
        // The process ends anyway, so a timeout does no harm.
        let _ = tokio::time::timeout(CLOSING, closed).await;
    }
}

/// Takes and verifies a snapshot. Returns a summary for people.
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
        let _ = write!(text, "\nremoved {removed}, which was older than the retention");
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

/// Lists all snapshots, one per line, the oldest first.
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
        let note = flaw(&objects, &listed).await?.map(|flaw| format!("  not a snapshot: {flaw}")).unwrap_or_default();
        lines.push(format!("{}  {} bytes{note}", listed.snapshot, listed.bytes));
    }
    Ok(if lines.is_empty() { "no snapshots".to_owned() } else { lines.join("\n") })
}
