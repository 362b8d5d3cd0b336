//! Takes a snapshot: scan, upload, read back, and write the manifest last.

use crate::SnapshotError;
use crate::format::{
    ChainSummary, Compression, FORMAT, Item, Manifest, ObjectSummary, SCHEMA, SnapshotId, Table, write_line,
};
use crate::keep::{Removed, clean_up, newest_until, sweep};
use crate::lease::Lease;
use crate::lines::{Encoder, Summing, tables as summaries};
use crate::objects::{Listed, Objects, Upload};
use crate::pace::{Pace, Pause, sleep};
use crate::restore;
use crate::scan::{Pages, Whole};
use crate::tables::Tables;
use crate::verify::Snapshot;
use domain::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Name of the lease.
const LEASE: &str = "snapshot";
const MANIFEST_TYPE: &str = "application/json";

/// Settings for taking and keeping snapshots.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The stage, as written to the manifest.
    pub stage: String,
    /// Compression of the lines.
    pub compression: Compression,
    /// How long a snapshot is kept after it was begun.
    pub retention: Duration,
    /// Segments of a table that are read in parallel.
    pub segments: u16,
    /// Read units per second that each table serves; a snapshot takes a third of them. 0: no limit.
    pub read_units: u32,
    /// How a run waits to keep to its share.
    pub pause: Pause,
}

impl Settings {
    /// The settings that the stage's variables give.
    #[must_use]
    pub fn new(stage: &str, settings: &config::Snapshots) -> Self {
        Self {
            stage: stage.to_owned(),
            compression: if settings.gzip { Compression::Gzip } else { Compression::None },
            retention: Duration::from_hours(24) * u32::from(settings.retention_days),
            segments: settings.segments,
            read_units: settings.read_units,
            pause: sleep,
        }
    }
}

/// Takes snapshots of two tables.
#[derive(Debug, Clone)]
pub struct Snapshots<'a> {
    /// The tables to read.
    pub tables: &'a Tables,
    /// The bucket to write to.
    pub objects: &'a Objects,
    /// The settings.
    pub settings: &'a Settings,
    /// Reads the time.
    pub clock: fn() -> Timestamp,
    /// No other run can be active, so the holder of an existing lease has died.
    pub alone: bool,
}

/// The result of a run.
#[derive(Debug)]
pub struct Performed {
    /// The snapshot that was taken and verified. `None`: there was already one for this slot.
    pub taken: Option<Manifest>,
    /// The newest good snapshot after the run.
    pub newest: SnapshotId,
    /// Snapshots and leftovers that were removed.
    pub removed: Removed,
}

impl Snapshots<'_> {
    /// Takes and verifies a snapshot, unless there is a good one that was begun at or after `slot`. Removes the
    /// leftovers of interrupted runs, and snapshots older than the retention.
    ///
    /// # Errors
    /// [`SnapshotError::Leased`] while another run is active; [`SnapshotError::Begun`] while the tables hold only a
    /// part of a restored snapshot; [`SnapshotError::Damaged`] if a chain in the table is incomplete, or the object
    /// read back differs from the one written; [`SnapshotError::Unreachable`]. No snapshot was taken then, unless only
    /// the removal failed.
    pub async fn perform(&self, slot: Option<Timestamp>) -> Result<Performed, SnapshotError> {
        let (client, table, now) = (&self.tables.client, &self.tables.state, (self.clock)());
        let mut lease = Lease::acquire(client, table, LEASE, now, self.alone).await?;
        let outcome = self.with_lease(&mut lease, slot).await;
        lease.give_back().await;
        outcome
    }

    async fn with_lease(&self, lease: &mut Lease, slot: Option<Timestamp>) -> Result<Performed, SnapshotError> {
        self.refuse_half_of_another().await?;
        let listed = self.objects.list().await?;
        let leftovers = clean_up(self.objects, &listed, (self.clock)()).await?;
        let done = match slot {
            Some(slot) => {
                let of_slot = |newest: &SnapshotId| newest.taken_at().is_some_and(|at| at >= slot);
                newest_until(self.objects, (self.clock)()).await?.filter(of_slot)
            }
            None => None,
        };
        let (newest, taken) = if let Some(done) = done {
            (done, None)
        } else {
            let manifest = self.take(lease, &listed).await?;
            (manifest.snapshot.clone(), Some(manifest))
        };
        let swept = sweep(self.objects, self.settings.retention, (self.clock)()).await?;
        Ok(Performed { taken, newest, removed: Removed { leftovers, ..swept } })
    }

    /// Refuses tables that an unfinished restore has filled in part: a snapshot of them must not become the newest one.
    async fn refuse_half_of_another(&self) -> Result<(), SnapshotError> {
        match restore::begun(self.tables).await? {
            Some(snapshot) => Err(SnapshotError::Begun { snapshot }),
            None => Ok(()),
        }
    }

    async fn take(&self, lease: &mut Lease, listed: &[Listed]) -> Result<Manifest, SnapshotError> {
        let started_at = (self.clock)();
        let id = free_id(started_at, listed);
        let key = id.lines_key(self.settings.compression);
        let mut upload = self.objects.upload(&key, content_type(self.settings.compression));
        let written = self.upload(&key, &mut upload, lease).await;
        let (Contents { object, items, chains }, existed) = match written {
            Ok(written) => written,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        let finished_at = (self.clock)();
        let mut schemas = BTreeMap::new();
        for table in Tables::ALL {
            schemas.insert(table, self.tables.schema(table).await?);
        }
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            schema: SCHEMA,
            snapshot: id,
            stage: self.settings.stage.clone(),
            started_at: started_at.to_string(),
            finished_at: finished_at.to_string(),
            tables: summaries(&items, &schemas),
            object,
            chains,
        };
        match self.read_back(&manifest, lease).await {
            // The object existed before and was not written by this run.
            Err(SnapshotError::Damaged { .. }) if existed => return Err(SnapshotError::Exists(key)),
            outcome => outcome?,
        }
        // Another run may have removed the object if this run has lost the lease, so the manifest must not be written
        // then.
        lease.renew((self.clock)()).await?;
        // A restore may have begun in the meantime.
        self.refuse_half_of_another().await?;
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| SnapshotError::Internal(error.into()))?;
        self.objects.put_new(&manifest.snapshot.manifest_key(), text, MANIFEST_TYPE).await?;
        Ok(manifest)
    }

    /// Writes the tables to an object. The second value says whether an object of that name already existed.
    async fn upload(
        &self,
        key: &str,
        upload: &mut Upload,
        lease: &mut Lease,
    ) -> Result<(Contents, bool), SnapshotError> {
        let mut writer = Writer { encoder: Encoder::new(key, self.settings.compression), summing: Summing::default() };
        let pace = Pace::new(self.settings.read_units, self.settings.pause);
        let whole = Whole { tables: self.tables, pace: &pace };
        for table in Tables::ALL {
            let mut pages = Pages::read(self.tables, table, self.settings.segments, &pace);
            while let Some(page) = pages.next().await? {
                for item in page {
                    let items =
                        if table == Table::Ledger { whole.with(item, &writer.summing).await? } else { vec![item] };
                    writer.add(table, &items).map_err(|problem| whole.damaged(problem))?;
                }
                upload.write(&writer.encoder.take()).await?;
                lease.keep((self.clock)()).await?;
            }
            let open: Vec<_> = writer.summing.open().map(str::to_owned).collect();
            for chain in open {
                let items = whole.rest(&chain, &writer.summing).await?;
                writer.add(table, &items).map_err(|problem| whole.damaged(problem))?;
            }
        }
        let (last, object) = writer.encoder.finish().map_err(|error| SnapshotError::Internal(error.into()))?;
        upload.write(&last).await?;
        let existed = match upload.finish().await {
            Ok(()) => false,
            // It may be this run's object, if the answer to its upload was lost. Reading it back will show that.
            Err(SnapshotError::Exists(_)) => true,
            Err(error) => return Err(error),
        };
        let (items, chains) = writer.summing.finish().map_err(|problem| whole.damaged(problem))?;
        Ok((Contents { object, items, chains }, existed))
    }

    /// Reads the object from its first byte to its last and compares it, as a restore does.
    async fn read_back(&self, manifest: &Manifest, lease: &mut Lease) -> Result<(), SnapshotError> {
        let mut snapshot = Snapshot::open(self.objects, manifest.clone()).await?;
        let mut lines = 0_u32;
        while snapshot.next().await?.is_some() {
            lines = lines.wrapping_add(1);
            if lines.is_multiple_of(LINES_AT_ONCE) {
                // One part holds many lines, and other tasks wait for this thread.
                tokio::task::yield_now().await;
                lease.keep((self.clock)()).await?;
            }
        }
        Ok(())
    }
}

/// Lines that are read back before the task yields to others.
const LINES_AT_ONCE: u32 = 256;

/// The contents of an object, summed up.
struct Contents {
    object: ObjectSummary,
    items: BTreeMap<Table, u64>,
    chains: ChainSummary,
}

struct Writer {
    encoder: Encoder,
    summing: Summing,
}

impl Writer {
    fn add(&mut self, table: Table, items: &[Item]) -> Result<(), String> {
        let mut line = Vec::new();
        for item in items {
            line.clear();
            self.summing.add(table, item)?;
            write_line(&mut line, table, item).map_err(|error| error.to_string())?;
            self.encoder.line(&line).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn content_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "application/gzip",
        Compression::None => "application/jsonl",
    }
}

/// The name of the first second from now on that no snapshot has yet.
fn free_id(now: Timestamp, listed: &[Listed]) -> SnapshotId {
    let mut at = now;
    loop {
        let id = SnapshotId::at(at);
        if listed.iter().all(|one| one.snapshot != id) {
            return id;
        }
        at = at.plus(Duration::from_secs(1));
    }
}
