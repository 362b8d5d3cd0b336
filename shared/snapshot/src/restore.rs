//! A snapshot back into empty tables: verified before the first write, gone on with after an interruption.

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

/// What the lease is called: `LEASE#restore` in the state table, with the progress of a restore that is not done.
pub const LEASE: &str = "restore";
/// Batches that are on their way at once.
const BATCHES: usize = 4;
/// Bytes of lines that are on their way at once, about.
const WAVE_BYTES: usize = 4 << 20;
/// Lines between two looks at the clock while nothing is written.
const LOOK_EVERY: u64 = 1000;

/// Which snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The one whose restore was interrupted; the newest if there is none.
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

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Reading, nothing is written yet.
    Verifying,
    /// Writing.
    Writing,
    /// Reading back what was written.
    Comparing,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// In what.
    pub step: Step,
    /// Lines done.
    pub lines: u64,
    /// Lines there are.
    pub of: u64,
}

/// Told how far a run is, often.
pub type Told<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// What came of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Lines that are in the tables, those of an earlier run included.
    pub lines: u64,
    /// Lines there are.
    pub of: u64,
    /// Lines that an earlier run had written.
    pub resumed_at: u64,
    /// Whether agents are as they were. If not, each of them is revoked.
    pub keep_agents: bool,
    /// Whether all of it is there. If not, time was over: run it again.
    pub done: bool,
}

/// What is noted in the lease from the first write to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    snapshot: SnapshotId,
    line_sha256: String,
    lines: u64,
    /// A version that did not note it restored agents as they were.
    #[serde(default = "kept")]
    keep_agents: bool,
}

const fn kept() -> bool {
    true
}

/// From where to where, and how.
#[derive(Debug)]
pub struct Restore<'a> {
    /// From here.
    pub objects: &'a Objects,
    /// To these.
    pub tables: &'a Tables,
    /// Reads the time.
    pub clock: fn() -> Timestamp,
    /// Whether agents, evidence, codes and leases come back as they were. Otherwise every agent is revoked, because one that
    /// was revoked since would come back as well.
    pub keep_agents: bool,
    /// Nobody else can reach the tables, so that a lease in them is one of a run that has died.
    pub alone: bool,
    /// When to stop, and leave the rest to the next run.
    pub until: Option<Instant>,
}

impl Restore<'_> {
    /// Restores a snapshot, or goes on with it. Run again after whatever interrupted it, it ends in the same tables.
    ///
    /// # Errors
    /// Before anything is written: [`SnapshotError::NotEmpty`], [`SnapshotError::Begun`] with another snapshot,
    /// [`SnapshotError::OtherAgents`],
    /// [`SnapshotError::Stream`], [`SnapshotError::NotFound`], [`SnapshotError::Damaged`], [`SnapshotError::Schema`],
    /// [`SnapshotError::Key`], [`SnapshotError::Leased`]. At any time [`SnapshotError::Unreachable`].
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
                let problem = "it is another one than the one whose restore was begun".to_owned();
                return Err(SnapshotError::Damaged { object: object.key.clone(), problem });
            }
            done.lines = begun.lines;
        }
        self.verify(&mut snapshot, lease, told).await?;
        // From here on the tables hold what is not whole.
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
                // Before the states: what follows from them is added to the ledger.
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
                // What an earlier run has written is only read.
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

    /// A line as it is written: always the same, so that a run after an interrupted one changes nothing that stands there.
    fn prepared(&self, mut line: Line) -> Line {
        if line.table == Table::State {
            restored(&mut line.item);
            if !self.keep_agents {
                Ending::of(&line.item).apply(&mut line.item);
            }
        }
        line
    }

    /// Finds out whether a table holds as many items as it must, at least: others may be at work by now.
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

/// Of which snapshot the tables hold a part: its restore is at work, or was interrupted.
///
/// # Errors
/// [`SnapshotError::Unreachable`]; [`SnapshotError::Internal`] if what was noted of it cannot be read.
pub async fn begun(tables: &Tables) -> Result<Option<String>, SnapshotError> {
    let progress = Lease::progress_of(&tables.client, &tables.state, LEASE).await?;
    Ok(progress.as_ref().map(read).transpose()?.map(|begun| begun.snapshot.into()))
}

fn read(progress: &Value) -> Result<Begun, SnapshotError> {
    let unreadable = |error| SnapshotError::Internal(format!("the note of the interrupted restore: {error}").into());
    Begun::deserialize(progress).map_err(unreadable)
}

async fn note(lease: &mut Lease, now: Timestamp, done: &Begun) -> Result<(), SnapshotError> {
    let progress = serde_json::to_value(done).map_err(|error| SnapshotError::Internal(error.into()))?;
    lease.note(now, progress).await
}

/// The newest snapshot.
///
/// # Errors
/// [`SnapshotError::NotFound`] if there is none, with what is wrong with the newest entry; [`SnapshotError::Unreachable`].
pub async fn latest(objects: &Objects) -> Result<SnapshotId, SnapshotError> {
    if let Some(newest) = newest(objects).await? {
        return Ok(newest);
    }
    let none = match objects.list().await?.last() {
        Some(last) => {
            let flaw = flaw(objects, last).await?.unwrap_or_default();
            format!("at all; {} is none: {flaw}", last.snapshot)
        }
        None => "at all".to_owned(),
    };
    Err(SnapshotError::NotFound(none))
}

/// The schemas of the tables there are.
pub(crate) async fn schemas(tables: &Tables) -> Result<BTreeMap<Table, Value>, SnapshotError> {
    let mut schemas = BTreeMap::new();
    for table in Tables::ALL {
        schemas.insert(table, tables.schema(table).await?);
    }
    Ok(schemas)
}

/// The line that was read last is wrong.
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

    /// Writes all of them, and is empty then.
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
