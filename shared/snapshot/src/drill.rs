//! A drill: restores the newest snapshot into scratch tables, reads back every item, and removes the tables. It shows
//! that the snapshot can be restored.

use crate::SnapshotError;
use crate::batch::{self, GET_MAX};
use crate::format::{Item, SnapshotId, Table, write_line};
use crate::lease::Lease;
use crate::objects::Objects;
use crate::restore::{Progress, Step, Told, Wave, damaged, latest, schemas};
use crate::tables::Tables;
use crate::verify::{Fit, Snapshot, manifest};
use domain::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use store::dynamodb::Client;

/// Name of the lease: `LEASE#drill` in the live state table.
pub const LEASE: &str = "drill";
/// Approximate limit of line bytes that are compared together.
const COMPARED_BYTES: usize = 4 << 20;
/// Lines between two renewals of the lease while nothing is written.
const LOOK_EVERY: u64 = 1000;

/// The result of a successful drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drilled {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Items that were restored and read back.
    pub items: u64,
    /// Chains that were complete.
    pub chains: u64,
}

/// The scratch tables of a stage. Their names are fixed, so that a drill needs permissions only for these tables.
#[must_use]
pub fn scratch(client: Client, stage: &str) -> Tables {
    Tables {
        client,
        state: format!("greenroom-{stage}-drill-state"),
        ledger: format!("greenroom-{stage}-drill-ledger"),
    }
}

/// A drill: source and tables.
#[derive(Debug)]
pub struct Drill<'a> {
    /// The bucket of the snapshots.
    pub objects: &'a Objects,
    /// The live tables. The drill only reads their schema and holds its lease there.
    pub live: &'a Tables,
    /// The tables that the drill creates, fills, compares and removes.
    pub scratch: &'a Tables,
    /// Reads the time.
    pub clock: fn() -> Timestamp,
    /// No other drill can be active, so the holder of an existing lease has died.
    pub alone: bool,
}

impl Drill<'_> {
    /// Runs the drill on the newest snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Leased`] while another drill is active. Any other error means that the snapshot cannot be
    /// restored, or that the drill could not find out.
    pub async fn run(&self, told: Told<'_>) -> Result<Drilled, SnapshotError> {
        let (Tables { client, state, .. }, now) = (self.live, (self.clock)());
        let mut lease = Lease::acquire(client, state, LEASE, now, self.alone).await?;
        let outcome = self.with(&mut lease, told).await;
        // If the lease is lost, another drill may use the scratch tables by now.
        let cleared = match lease.renew((self.clock)()).await {
            Ok(()) => self.clear().await,
            Err(error) => Err(error),
        };
        lease.give_back().await;
        outcome.and_then(|drilled| cleared.map(|()| drilled))
    }

    /// Removes the scratch tables of this or an interrupted drill.
    async fn clear(&self) -> Result<(), SnapshotError> {
        for table in Tables::ALL {
            self.scratch.remove(table).await?;
        }
        Ok(())
    }

    async fn with(&self, lease: &mut Lease, told: Told<'_>) -> Result<Drilled, SnapshotError> {
        let id = latest(self.objects).await?;
        let mut snapshot = Snapshot::open(self.objects, manifest(self.objects, &id).await?).await?;
        let mut fit = Fit::new(snapshot.manifest(), &schemas(self.live).await?)?;
        let of = snapshot.manifest().object.lines;
        while let Some(line) = snapshot.next().await? {
            fit.check(&line).map_err(|problem| damaged(&snapshot, &problem))?;
            if snapshot.lines().is_multiple_of(LOOK_EVERY) {
                told(Progress { step: Step::Verifying, lines: snapshot.lines(), of });
                lease.keep((self.clock)()).await?;
            }
        }
        self.clear().await?;
        for summary in &snapshot.manifest().tables {
            self.scratch.create(summary.table, &summary.schema).await?;
        }
        snapshot.rewind();
        self.write(&mut snapshot, lease, told).await?;
        snapshot.rewind();
        self.compare(&mut snapshot, &fit, lease, told).await?;
        for summary in &snapshot.manifest().tables {
            let (said, found) = (summary.items, self.scratch.count(summary.table).await?);
            if found != said {
                let table = self.scratch.name(summary.table);
                return Err(SnapshotError::Internal(format!("{table} holds {found} items instead of {said}").into()));
            }
        }
        Ok(Drilled { snapshot: id, items: of, chains: snapshot.manifest().chains.chains })
    }

    async fn write(&self, snapshot: &mut Snapshot, lease: &mut Lease, told: Told<'_>) -> Result<(), SnapshotError> {
        let of = snapshot.manifest().object.lines;
        let mut wave = Wave::default();
        while let Some(line) = snapshot.next().await? {
            wave.push(line);
            if wave.is_full() {
                wave.write(self.scratch).await?;
                told(Progress { step: Step::Writing, lines: snapshot.lines(), of });
                lease.keep((self.clock)()).await?;
            }
        }
        wave.write(self.scratch).await
    }

    /// Reads every item back and compares its line. Equal lines mean that counts, checksums and heads of chains are
    /// equal to the snapshot's, too.
    async fn compare(
        &self,
        snapshot: &mut Snapshot,
        fit: &Fit,
        lease: &mut Lease,
        told: Told<'_>,
    ) -> Result<(), SnapshotError> {
        let of = snapshot.manifest().object.lines;
        let mut batch = Vec::new();
        let (mut table, mut bytes) = (Table::Ledger, 0);
        loop {
            let line = snapshot.next().await?;
            let over = line.as_ref().is_none_or(|line| line.table != table);
            if over || batch.len() >= GET_MAX || bytes >= COMPARED_BYTES {
                self.compare_batch(table, std::mem::take(&mut batch)).await?;
                told(Progress { step: Step::Comparing, lines: snapshot.lines(), of });
                lease.keep((self.clock)()).await?;
                bytes = 0;
            }
            let Some(line) = line else { return Ok(()) };
            table = line.table;
            bytes += line.bytes;
            batch.push((fit.key(&line), line.item));
        }
    }

    async fn compare_batch(&self, table: Table, wanted: Vec<(Item, Item)>) -> Result<(), SnapshotError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let name = self.scratch.name(table);
        let text = |item: &Item| {
            let mut line = Vec::new();
            write_line(&mut line, table, item).map(|()| line).map_err(|error| SnapshotError::Internal(error.into()))
        };
        let mut expected = HashMap::new();
        for (key, item) in &wanted {
            expected.insert(text(key)?, text(item)?);
        }
        let keys: Vec<_> = wanted.into_iter().map(|(key, _)| key).collect();
        let names: Vec<_> = keys.first().map(|key| key.keys().cloned().collect()).unwrap_or_default();
        for item in batch::get(&self.scratch.client, name, keys).await? {
            let key = item.iter().filter(|(name, _)| names.contains(name));
            let key = text(&key.map(|(name, value)| (name.clone(), value.clone())).collect())?;
            if expected.get(&key) == Some(&text(&item)?) {
                expected.remove(&key);
            }
        }
        match expected.into_keys().min() {
            None => Ok(()),
            Some(key) => {
                let key = String::from_utf8_lossy(&key).trim_end().to_owned();
                Err(SnapshotError::Internal(format!("{name}: an item differs from the one written: {key}").into()))
            }
        }
    }
}
