//! Errors of snapshots, by kind.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a snapshot could not be taken, verified or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The target tables are not empty.
    #[error("{table} is not empty; restore into empty tables")]
    NotEmpty {
        /// The table's name.
        table: String,
    },
    /// The stored object does not match its manifest, or the manifest cannot be read.
    #[error("{object} is damaged: {problem}")]
    Damaged {
        /// Key of the object.
        object: String,
        /// The first difference, with both values if there are two.
        problem: String,
    },
    /// The snapshot has a schema version that this program does not know.
    #[error("{object} has schema {found}; this program reads schemas up to schema {known}")]
    Schema {
        /// Key of the manifest.
        object: String,
        /// The snapshot's schema version.
        found: u32,
        /// The schema version that this program reads.
        known: u32,
    },
    /// The tables hold a part of another snapshot.
    #[error("the restore of snapshot {snapshot} was interrupted; restore that snapshot to finish, or empty the tables")]
    Begun {
        /// The snapshot whose restore was begun.
        snapshot: String,
    },
    /// The tables hold a part of this snapshot, and the earlier run was begun with the other choice for agents.
    #[error(
        "the restore of snapshot {snapshot} was begun {} --keep-agents; finish it in the same way, or empty the tables",
        if *kept { "with" } else { "without" }
    )]
    OtherAgents {
        /// The snapshot whose restore was begun.
        snapshot: String,
        /// Whether agents were restored as they were.
        kept: bool,
    },
    /// A table of the snapshot and the target table have different keys.
    #[error("{object} has a {table:?} table whose key differs from that of the existing table")]
    Key {
        /// Key of the manifest.
        object: String,
        /// Which table.
        table: crate::format::Table,
    },
    /// The restored histories have followed a stream that is newer than the stream of the target's state table.
    #[error(
        "the stream of {table} began at {began}, before the stream that the histories followed ({followed}), so no change \
         would be added to them; switch it off and on, or restore into new tables"
    )]
    Stream {
        /// The state table's name.
        table: String,
        /// When its stream began.
        began: String,
        /// When the other one did.
        followed: String,
    },
    /// The snapshot does not exist.
    #[error("there is no snapshot {0}")]
    NotFound(String),
    /// There is already a different object of that name.
    #[error("object {0} already exists")]
    Exists(String),
    /// The table or the bucket cannot be reached, or refuses the request.
    #[error("the store cannot be reached: {0}")]
    Unreachable(#[source] Source),
    /// Another run holds the lease.
    #[error("another run holds the lease until {until}")]
    Leased {
        /// When that lease expires.
        until: domain::Timestamp,
    },
    /// A bug in this program.
    #[error("{0}")]
    Internal(#[source] Source),
}

impl SnapshotError {
    /// The exit code of a command: 3 target not empty or its stream too old, 4 snapshot damaged or missing, 5 schema
    /// not supported, 6 store unreachable, 7 another run holds the lease, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotEmpty { .. } | Self::Begun { .. } | Self::OtherAgents { .. } | Self::Stream { .. } => 3,
            Self::Damaged { .. } | Self::NotFound(_) => 4,
            Self::Schema { .. } | Self::Key { .. } => 5,
            Self::Unreachable(_) => 6,
            Self::Leased { .. } => 7,
            Self::Exists(_) | Self::Internal(_) => 1,
        }
    }
}
