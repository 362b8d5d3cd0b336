//! Retention of snapshots, the age of the newest one, and the leftovers of interrupted runs.

use crate::SnapshotError;
use crate::format::SnapshotId;
use crate::objects::{Listed, Objects};
use crate::verify::manifest;
use domain::Timestamp;
use std::time::Duration;

/// Minimum age of a leftover before it is removed. The run that removes it holds the lease, so the run that wrote it
/// has lost the lease. A function that was frozen in between can continue for at most 15 minutes, and notices the loss
/// before it writes a manifest.
pub const LEFTOVER_AGE: Duration = Duration::from_hours(1);

/// How far a snapshot's time may be ahead of the clock of the process that reads it.
const AHEAD_MAX: Duration = Duration::from_hours(1);

/// The snapshots and leftovers that a run has removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Snapshots past the retention.
    pub snapshots: Vec<SnapshotId>,
    /// Objects and uploads that interrupted runs left behind.
    pub leftovers: usize,
}

/// Why a listed entry is not a snapshot. `None`: it is a snapshot, because its manifest can be read and the object that
/// the manifest names exists with the right length. All code that looks for the newest snapshot uses this function, so
/// that it always finds the same one.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub async fn flaw(objects: &Objects, listed: &Listed) -> Result<Option<String>, SnapshotError> {
    if !listed.has_manifest {
        return Ok(Some("it has no manifest".to_owned()));
    }
    if listed.snapshot.taken_at().is_none() {
        return Ok(Some("its name is not a valid date and time".to_owned()));
    }
    let object = match manifest(objects, &listed.snapshot).await {
        Ok(manifest) => manifest.object,
        // A snapshot of another schema version counts as a snapshot. The restore reports which schema it has.
        Err(SnapshotError::Schema { .. }) => return Ok(None),
        Err(error @ (SnapshotError::Damaged { .. } | SnapshotError::NotFound(_))) => {
            return Ok(Some(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    Ok(match listed.lines.get(&object.key) {
        Some(bytes) if *bytes == object.bytes => None,
        Some(bytes) => Some(format!("{} has {bytes} bytes of {}", object.key, object.bytes)),
        None => Some(format!("{} is missing", object.key)),
    })
}

/// All snapshots, the oldest first. Entries with a flaw are left out.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub async fn snapshots(objects: &Objects) -> Result<Vec<SnapshotId>, SnapshotError> {
    let mut found = Vec::new();
    for listed in objects.list().await? {
        if flaw(objects, &listed).await?.is_none() {
            found.push(listed.snapshot);
        }
    }
    Ok(found)
}

/// The newest snapshot.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub async fn newest(objects: &Objects) -> Result<Option<SnapshotId>, SnapshotError> {
    newest_of(objects, &objects.list().await?, |_| true).await
}

/// The newest snapshot whose time is not ahead of the clock. A later one was taken by a clock that was wrong, and says
/// nothing about today.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub(crate) async fn newest_until(objects: &Objects, now: Timestamp) -> Result<Option<SnapshotId>, SnapshotError> {
    let limit = now.plus(AHEAD_MAX);
    newest_of(objects, &objects.list().await?, |id| id.taken_at().is_some_and(|at| at <= limit)).await
}

async fn newest_of(
    objects: &Objects,
    listed: &[Listed],
    is_wanted: impl Fn(&SnapshotId) -> bool,
) -> Result<Option<SnapshotId>, SnapshotError> {
    for listed in listed.iter().rev().filter(|listed| is_wanted(&listed.snapshot)) {
        if flaw(objects, listed).await?.is_none() {
            return Ok(Some(listed.snapshot.clone()));
        }
    }
    Ok(None)
}

/// Age of the newest good snapshot that is not ahead of the clock, counted from its begin. `None`: there is none.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub async fn age(objects: &Objects, now: Timestamp) -> Result<Option<Duration>, SnapshotError> {
    let taken_at = newest_until(objects, now).await?.and_then(|newest| newest.taken_at());
    Ok(taken_at.map(|at| Duration::from_millis(now.ms().saturating_sub(at.ms()))))
}

/// Removes objects without a manifest and unfinished uploads that are older than [`LEFTOVER_AGE`], and returns how many
/// it removed. The caller must hold the lease.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub(crate) async fn clean_up(objects: &Objects, listed: &[Listed], now: Timestamp) -> Result<usize, SnapshotError> {
    let mut removed = 0;
    let old = |at: Timestamp| at.plus(LEFTOVER_AGE) < now;
    for leftover in listed.iter().filter(|listed| !listed.has_manifest && old(listed.last_modified)) {
        for key in leftover.lines.keys() {
            objects.delete(key).await?;
            removed += 1;
        }
    }
    for upload in objects.unfinished().await?.iter().filter(|upload| old(upload.begun)) {
        objects.give_up(upload).await?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes snapshots that were begun longer ago than the retention, but never the newest good one. The manifest goes
/// first: an interrupted removal then leaves a leftover, which cannot be mistaken for a whole snapshot.
///
/// # Errors
/// [`SnapshotError::Unreachable`].
pub(crate) async fn sweep(objects: &Objects, retention: Duration, now: Timestamp) -> Result<Removed, SnapshotError> {
    let listed = objects.list().await?;
    let newest = newest_of(objects, &listed, |_| true).await?;
    let mut snapshots = Vec::new();
    for old in listed.iter().filter(|listed| listed.has_manifest && Some(&listed.snapshot) != newest.as_ref()) {
        if old.snapshot.taken_at().is_none_or(|at| at.plus(retention) >= now) {
            continue;
        }
        objects.delete(&old.snapshot.manifest_key()).await?;
        for key in old.lines.keys() {
            objects.delete(key).await?;
        }
        snapshots.push(old.snapshot.clone());
    }
    Ok(Removed { snapshots, leftovers: 0 })
}
