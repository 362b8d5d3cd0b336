//! Restores a snapshot into empty tables. It is verified before the first write, and an interrupted restore can be
//! continued.

use crate::SnapshotError;
use crate::batch::{self, PUT_MAX};
use crate::format::{Item, SnapshotId, Table};
use crate::keep::{flaw, newest};
use crate::lease::Lease;
use crate::objects::Objects;
use crate::revoke::{Ending, restored};
use crate::tables::Tables;
use crate::verify::{Fit, Line, Snapshot, manifest};
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use store::dynamodb::followed_stream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Name of the lease: `LEASE#restore` in the state table. It also holds the progress of an unfinished restore.
pub const LEASE: &str = "restore";
/// Batches that are written concurrently.
const BATCHES: usize = 4;
/// Approximate limit of line bytes that are written concurrently.
const WAVE_BYTES: usize = 4 << 20;
/// Lines between two renewals of the lease while nothing is written.
const LOOK_EVERY: u64 = 1000;

/// Which snapshot to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The snapshot whose restore was interrupted; if there is none, the newest.
    Latest,
    /// This one.
    This(SnapshotId),
}

impl std::str::FromStr for Wanted {
    type Err = domain::Refused;

    fn from_str(text: &str) -> Result<Self, domain::Refused> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        text.parse().map(Self::This).map_err(|_| domain::Refused("be latest or YYYY-MM-DD-HH-MM-SS"))
    }
}

/// The current step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Reading and checking; nothing is written yet.
    Verifying,
    /// Writing.
    Writing,
    /// Reading back the written items.
    Comparing,
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The current step.
    pub step: Step,
    /// Lines done.
    pub lines: u64,
    /// Lines in total.
    pub of: u64,
}

/// A callback for the progress, called often.
pub type Told<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Lines that are in the tables, including the lines of an earlier run.
    pub lines: u64,
    /// Lines in total.
    pub of: u64,
    /// Lines that an earlier run had already written.
    pub resumed_at: u64,
    /// Whether agents were restored as they were. If not, each of them was revoked.
    pub keep_agents: bool,
    /// Whether the restore is complete. If not, the time was over; the next run continues.
    pub done: bool,
}

/// The progress that the lease holds from the first write to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    snapshot: SnapshotId,
    line_sha256: String,
    lines: u64,
    /// Versions that did not store this restored agents as they were.
    #[serde(default = "kept")]
    keep_agents: bool,
}

const fn kept() -> bool {
    true
}

/// A restore: source, target and options.
#[derive(Debug)]
pub struct Restore<'a> {
    /// Source of the snapshot.
    pub objects: &'a Objects,
    /// Target of the items.
    pub tables: &'a Tables,
    /// Reads the time.
    pub clock: fn() -> Timestamp,
    /// Whether agents, evidence, codes and leases are restored as they were. If not, every agent is revoked, because
    /// the snapshot may hold agents that were revoked after it was taken.
    pub keep_agents: bool,
    /// No other process can reach the tables, so the holder of an existing lease has died.
    pub alone: bool,
    /// When to stop; the next run continues.
    pub until: Option<Instant>,
}

impl Restore<'_> {
    /// Restores a snapshot, or continues an interrupted restore. It is idempotent: any number of interrupted runs end
    /// in the same tables.
    ///
    /// # Errors
    /// Before anything is written: [`SnapshotError::NotEmpty`], [`SnapshotError::Begun`] if another snapshot's restore
    /// is unfinished, [`SnapshotError::OtherAgents`], [`SnapshotError::Stream`], [`SnapshotError::NotFound`],
    /// [`SnapshotError::Damaged`], [`SnapshotError::Schema`], [`SnapshotError::Key`], [`SnapshotError::Leased`]. At any
    /// time: [`SnapshotError::Unreachable`].
    pub async fn run(&self, wanted: &Wanted, told: Told<'_>) -> Result<Restored, SnapshotError> {
        let now = (self.clock)();
        let Tables { client, state, .. } = self.tables;
        let mut lease = Lease::acquire(client, state, LEASE, now, self.alone).await?;
        let outcome = self.with(&mut lease, wanted, told).await;
        let nothing_written = lease.progress().is_none();
        if outcome.as_ref().is_ok_and(|restored| restored.done) || nothing_written {
            lease.give_back().await;
        } else {
            lease.pause().await;
        }
        outcome
    }

    async fn with(&self, lease: &mut Lease, wanted: &Wanted, told: Told<'_>) -> Result<Restored, SnapshotError> {
        let begun = lease.progress().map(read).transpose()?;
        let id = match (&begun, wanted) {
            (Some(begun), Wanted::This(id)) if begun.snapshot != *id => {
                return Err(SnapshotError::Begun { snapshot: begun.snapshot.to_string() });
            }
            (Some(begun), _) => begun.snapshot.clone(),
            (None, Wanted::This(id)) => id.clone(),
            (None, Wanted::Latest) => latest(self.objects).await?,
        };
        if begun.is_none() {
            for table in Tables::ALL {
                if !self.tables.is_empty(table).await? {
                    return Err(SnapshotError::NotEmpty { table: self.tables.name(table).to_owned() });
                }
            }
        }
        let mut snapshot = Snapshot::open(self.objects, manifest(self.objects, &id).await?).await?;
        let object = &snapshot.manifest().object;
        let (line_sha256, keep_agents) = (object.line_sha256.clone(), self.keep_agents);
        let mut done = Begun { snapshot: id, line_sha256, lines: 0, keep_agents };
        if let Some(begun) = begun {
            if begun.keep_agents != keep_agents {
                return Err(SnapshotError::OtherAgents { snapshot: begun.snapshot.into(), kept: begun.keep_agents });
            }
            if begun.line_sha256 != done.line_sha256 {
                let problem = "its lines differ from those of the interrupted restore".to_owned();
                return Err(SnapshotError::Damaged { object: object.key.clone(), problem });
            }
            done.lines = begun.lines;
        }
        self.verify(&mut snapshot, lease, told).await?;
        // From here on the tables can hold a part of the snapshot.
        note(lease, (self.clock)(), &done).await?;
        self.write(&mut snapshot, lease, done, told).await
    }

    async fn verify(&self, snapshot: &mut Snapshot, lease: &mut Lease, told: Told<'_>) -> Result<(), SnapshotError> {
        let mut fit = Fit::new(snapshot.manifest(), &schemas(self.tables).await?)?;
        let of = snapshot.manifest().object.lines;
        let began = self.tables.stream_began().await?;
        while let Some(line) = snapshot.next().await? {
            fit.check(&line).map_err(|problem| damaged(snapshot, &problem))?;
            if let (Some(began), Some(followed)) = (&began, followed_stream(&line.item))
                && line.table == Table::Ledger
                && followed > began.as_str()
            {
                let (table, began, followed) = (self.tables.state.clone(), began.clone(), followed.to_owned());
                return Err(SnapshotError::Stream { table, began, followed });
            }
            if snapshot.lines().is_multiple_of(LOOK_EVERY) {
                told(Progress { step: Step::Verifying, lines: snapshot.lines(), of });
                lease.keep((self.clock)()).await?;
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        snapshot: &mut Snapshot,
        lease: &mut Lease,
        mut done: Begun,
        told: Told<'_>,
    ) -> Result<Restored, SnapshotError> {
        let (resumed_at, of) = (done.lines, snapshot.manifest().object.lines);
        let (mut wave, mut last) = (Wave::default(), Table::Ledger);
        snapshot.rewind();
        loop {
            let line = snapshot.next().await?;
            let table = line.as_ref().map_or(Table::State, |line| line.table);
            let new = snapshot.lines() > resumed_at;
            if wave.is_full() || line.is_none() || table != last {
                let written = wave.lines > 0;
                wave.write(self.tables).await?;
                done.lines = done.lines.max(snapshot.lines() - u64::from(line.is_some()));
                if written {
                    note(lease, (self.clock)(), &done).await?;
                    told(Progress { step: Step::Writing, lines: done.lines, of });
                }
                // Check the ledger before any state is written: the stream adds entries to it as soon as states are
                // written.
                if table != last && new {
                    self.count(snapshot, Table::Ledger).await?;
                }
                last = table;
            }
            let Some(line) = line else { break };
            if new {
                if self.until.is_some_and(|until| Instant::now() >= until) && wave.lines == 0 {
                    return Ok(self.restored(done, (of, resumed_at), false));
                }
                wave.push(self.prepared(line));
            } else if snapshot.lines().is_multiple_of(LOOK_EVERY) {
                // Lines that an earlier run has written are read and not written again.
                lease.keep((self.clock)()).await?;
            }
        }
        self.count(snapshot, Table::State).await?;
        done.lines = of;
        Ok(self.restored(done, (of, resumed_at), true))
    }

    fn restored(&self, begun: Begun, (of, resumed_at): (u64, u64), done: bool) -> Restored {
        let Begun { snapshot, lines, .. } = begun;
        Restored { snapshot, lines, of, resumed_at, keep_agents: self.keep_agents, done }
    }

    /// A line as it is written. It does not depend on the run, so that writing it twice changes nothing.
    fn prepared(&self, mut line: Line) -> Line {
        if line.table == Table::State {
            restored(&mut line.item);
            if !self.keep_agents {
                Ending::of(&line.item).apply(&mut line.item);
            }
        }
        line
    }

    /// Checks that a table holds at least the expected number of items. Other writers may already have added more.
    async fn count(&self, snapshot: &Snapshot, table: Table) -> Result<(), SnapshotError> {
        let said = snapshot.manifest().tables.iter().find(|summary| summary.table == table);
        let (said, found) = (said.map_or(0, |summary| summary.items), self.tables.count(table).await?);
        if found >= said {
            return Ok(());
        }
        let problem = format!("{} holds {found} items and should hold {said}", self.tables.name(table));
        Err(SnapshotError::Internal(problem.into()))
    }
}

/// The snapshot of which the tables hold only a part, because its restore is running or was interrupted.
///
/// # Errors
/// [`SnapshotError::Unreachable`]; [`SnapshotError::Internal`] if the stored progress cannot be read.
pub async fn begun(tables: &Tables) -> Result<Option<String>, SnapshotError> {
    let progress = Lease::progress_of(&tables.client, &tables.state, LEASE).await?;
    Ok(progress.as_ref().map(read).transpose()?.map(|begun| begun.snapshot.into()))
}

fn read(progress: &Value) -> Result<Begun, SnapshotError> {
    let unreadable =
        |error| SnapshotError::Internal(format!("unreadable progress of the interrupted restore: {error}").into());
    Begun::deserialize(progress).map_err(unreadable)
}

async fn note(lease: &mut Lease, now: Timestamp, done: &Begun) -> Result<(), SnapshotError> {
    let progress = serde_json::to_value(done).map_err(|error| SnapshotError::Internal(error.into()))?;
    lease.note(now, progress).await
}

/// The newest snapshot.
///
/// # Errors
/// [`SnapshotError::NotFound`] if there is no good snapshot; its text says what is wrong with the newest entry.
/// [`SnapshotError::Unreachable`].
pub async fn latest(objects: &Objects) -> Result<SnapshotId, SnapshotError> {
    if let Some(newest) = newest(objects).await? {
        return Ok(newest);
    }
    let none = match objects.list().await?.last() {
        Some(last) => {
            let flaw = flaw(objects, last).await?.unwrap_or_default();
            format!("at all; {} is not a snapshot: {flaw}", last.snapshot)
        }
        None => "at all".to_owned(),
    };
    Err(SnapshotError::NotFound(none))
}

/// The schemas of the existing tables.
pub(crate) async fn schemas(tables: &Tables) -> Result<BTreeMap<Table, Value>, SnapshotError> {
    let mut schemas = BTreeMap::new();
    for table in Tables::ALL {
        schemas.insert(table, tables.schema(table).await?);
    }
    Ok(schemas)
}

/// An error about the line that was read last.
pub(crate) fn damaged(snapshot: &Snapshot, problem: &str) -> SnapshotError {
    let object = snapshot.manifest().object.key.clone();
    SnapshotError::Damaged { object, problem: format!("line {}: {problem}", snapshot.lines()) }
}

/// Items that are written together.
#[derive(Debug, Default)]
pub(crate) struct Wave {
    batches: Vec<(Table, Vec<Item>)>,
    bytes: usize,
    lines: usize,
}

impl Wave {
    pub(crate) fn push(&mut self, line: Line) {
        self.bytes += line.bytes;
        self.lines += 1;
        match self.batches.last_mut() {
            Some((table, items)) if *table == line.table && items.len() < PUT_MAX => items.push(line.item),
            _ => self.batches.push((line.table, vec![line.item])),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lines >= BATCHES * PUT_MAX || self.bytes >= WAVE_BYTES
    }

    /// Writes all items and empties the wave.
    pub(crate) async fn write(&mut self, tables: &Tables) -> Result<(), SnapshotError> {
        let mut writers = JoinSet::new();
        for (table, items) in std::mem::take(self).batches {
            let (client, name) = (tables.client.clone(), tables.name(table).to_owned());
            writers.spawn(async move { batch::put(&client, &name, items).await });
        }
        while let Some(outcome) = writers.join_next().await {
            outcome.map_err(|error| SnapshotError::Internal(error.into()))??;
        }
        Ok(())
    }
}
