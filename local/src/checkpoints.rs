//! Copies the write-ahead log into the database's file, on a thread and a connection of its own: syncing the file takes
//! many times longer than a write.

use rusqlite::{Connection, OpenFlags};
use std::cell::Cell;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Commits between two checkpoints, at most. Pages that change often are copied once each time.
const COMMITS: u32 = 200;
/// Pages that the log grows by between two checkpoints, at most, give or take those of one group.
const PAGES: i32 = 1000;
/// Pages of the log, about 64 MB, beyond which a checkpoint also lets the log begin anew. Writes wait for that, and
/// without it the log grows as long as writes never pause.
const LOG_PAGES_MAX: i64 = 16_000;
/// How long that waits for a gap between two groups of writes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The thread. It ends when this is dropped, and its connection is closed then.
pub(crate) struct Checkpoints {
    wanted: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    commits: Cell<u32>,
    /// Pages of the log when the last checkpoint was asked for.
    asked_at: Cell<i32>,
}

thread_local! {
    /// Pages of the log after the last commit of this thread, in which a database is used by one connection.
    static LOG: Cell<i32> = const { Cell::new(0) };
}

impl Checkpoints {
    /// Starts the thread for the database in this file. Nobody else may make checkpoints then.
    pub(crate) fn start(name: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(name, flags)?;
        connection.busy_timeout(PATIENCE)?;
        let (wanted, asked) = sync_channel(1);
        let thread = std::thread::Builder::new().name("checkpoints".into()).spawn(move || run(&connection, &asked))?;
        Ok(Self { wanted: Some(wanted), thread: Some(thread), commits: Cell::default(), asked_at: Cell::default() })
    }

    /// Counts the pages of the log at each commit of this connection, and leaves the checkpoints to the thread.
    ///
    /// # Errors
    /// SQLite refuses the setting.
    pub(crate) fn count(connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // The setting above would remove the hook.
        connection.wal_hook(Some(|_, pages| {
            LOG.set(pages);
            Ok(())
        }));
        Ok(())
    }

    /// Counts a commit.
    pub(crate) fn committed(&self) {
        let (commits, pages) = (self.commits.get() + 1, LOG.get());
        // The log has begun anew.
        if pages < self.asked_at.get() {
            self.asked_at.set(0);
        }
        let due = commits >= COMMITS || pages - self.asked_at.get() >= PAGES;
        self.commits.set(if due { 0 } else { commits });
        if due && let Some(wanted) = &self.wanted {
            self.asked_at.set(pages);
            // If one is wanted already, it will do.
            let _ = wanted.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, asked: &Receiver<()>) {
    while asked.recv().is_ok() {
        let pages = match checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
            Ok(pages) if pages > LOG_PAGES_MAX => checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)"),
            done => done,
        };
        // The log holds everything until the next one succeeds.
        if let Err(error) = pages {
            tracing::warn!(%error, "failed to copy the write-ahead log into the database");
        }
    }
}

/// Makes a checkpoint, and returns the pages in the log.
fn checkpoint(connection: &Connection, statement: &str) -> rusqlite::Result<i64> {
    connection.query_row(statement, [], |row| row.get(1))
}
