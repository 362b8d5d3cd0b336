//! What can go wrong with a snapshot.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a snapshot could not be taken, verified or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There are items where a snapshot would be restored to.
    #[error("{table} is not empty; restore into empty tables")]
    NotEmpty {
        /// The table's name.
        table: String,
    },
    /// What is stored is not what the manifest describes, or the manifest cannot be read.
    #[error("{object} is damaged: {problem}")]
    Damaged {
        /// Key of the object.
        object: String,
        /// What does not agree, with both values where there are two.
        problem: String,
    },
    /// The snapshot is of a schema that this program does not know.
    #[error("{object} has schema {found}; this program reads schema {known}")]
    Schema {
        /// Key of the manifest.
        object: String,
        /// The snapshot's schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The tables hold part of another snapshot.
    #[error("the restore of snapshot {snapshot} was interrupted; restore it again to finish it, or empty the tables")]
    Begun {
        /// Whose restore was begun.
        snapshot: String,
    },
    /// The tables hold part of this snapshot, and the run before did otherwise with its agents.
    #[error(
        "the restore of snapshot {snapshot} was begun {} --keep-agents; finish it in the same way, or empty the tables",
        if *kept { "with" } else { "without" }
    )]
    OtherAgents {
        /// Whose restore was begun.
        snapshot: String,
        /// Whether agents were restored as they were.
        kept: bool,
    },
    /// A table of the snapshot is found by another key than the table it would be restored to.
    #[error("{object} has a {table:?} table with another key than the one there is")]
    Key {
        /// Key of the manifest.
        object: String,
        /// Which table.
        table: crate::format::Table,
    },
    /// The histories have followed a stream that is newer than the one of the table they would be restored beside.
    #[error(
        "the stream of {table} began at {began}, before the one that the histories followed ({followed}): no change would \
         be added to them; switch it off and on, or restore into new tables"
    )]
    Stream {
        /// The state table's name.
        table: String,
        /// When its stream began.
        began: String,
        /// When the other one did.
        followed: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {0}")]
    NotFound(String),
    /// An object of that name is there already, and is another one.
    #[error("there is an object {0} already")]
    Exists(String),
    /// The table or the bucket cannot be reached, or refuses.
    #[error("the store cannot be reached: {0}")]
    Unreachable(#[source] Source),
    /// Another run is at work.
    #[error("another run holds the lease until {until}")]
    Leased {
        /// When it ends by itself.
        until: domain::Timestamp,
    },
    /// A defect of this program.
    #[error("{0}")]
    Internal(#[source] Source),
}

impl SnapshotError {
    /// The exit code of a command: 3 target not empty or of an older stream, 4 damaged or not there, 5 schema not
    /// supported, 6 store not reachable, 7 another run holds the lease, 1 anything else.
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
