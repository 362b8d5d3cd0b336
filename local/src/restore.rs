//! The commands that restore a snapshot, into a data directory, into AWS's tables, or as a drill into scratch tables.

use crate::client::client;
use crate::engine::Engine;
use crate::objects::{BUCKET, Directory};
use crate::progress::Bar;
use crate::snapshots::{CommandError, Opened, Source};
use crate::storage::{self, Location};
use crate::template::{TEMPLATE, Template};
use config::Config;
use domain::Timestamp;
use snapshot::SnapshotError;
use snapshot::drill::{Drill, scratch};
use snapshot::objects::Objects;
use snapshot::restore::{Restore, Wanted, begun};
use snapshot::revoke::{Revoked, revoke_all};
use snapshot::tables::Tables;
use std::time::{Duration, Instant, SystemTime};

/// Timeout while another process uses the snapshots.
const PATIENCE: Duration = Duration::from_secs(10);

/// Restores a snapshot with its agents, or with all agents revoked. Returns a summary for people.
///
/// # Errors
/// See [`CommandError`]. After a failed or killed run, the same command finishes the restore; until then no runner
/// serves the data.
pub async fn restore(source: &Source, wanted: &Wanted, keep_agents: bool) -> Result<String, CommandError> {
    let config = Config::of_runner_from_env()?;
    let new = !source.aws && !source.data_dir.exists();
    let opened = if source.aws { source.open(&config, PATIENCE).await? } else { open(source, &config)? };
    let began = Instant::now();
    let mut bar = Bar::default();
    let outcome = {
        let Opened { tables, objects, alone, .. } = &opened;
        let restore = Restore { objects, tables, clock, keep_agents, alone: *alone, until: None };
        restore.run(wanted, &mut |progress| bar.show(progress)).await
    };
    bar.end();
    let untouched = outcome.is_err() && matches!(begun(&opened.tables).await, Ok(None));
    opened.close().await;
    if new && untouched {
        // A directory that stays empty could be mistaken for a restored one.
        let _ = std::fs::remove_dir_all(&source.data_dir);
    }
    let restored = outcome?;
    let resumed = match restored.resumed_at {
        0 => String::new(),
        lines => format!(", {lines} of them by a run before"),
    };
    let agents =
        if keep_agents { "agents are as they were" } else { "every agent is revoked and has to be paired again" };
    Ok(format!(
        "snapshot {} is restored: {} items{resumed}, in {:.1} s\n{agents}",
        restored.snapshot,
        restored.lines,
        began.elapsed().as_secs_f64()
    ))
}

/// Revokes every agent, for tables that were rolled back in another way than by a restore. Returns a summary for
/// people.
///
/// # Errors
/// See [`CommandError`].
pub async fn revoke_agents(source: &Source) -> Result<String, CommandError> {
    let config = Config::of_runner_from_env()?;
    let opened = source.open(&config, PATIENCE).await?;
    let revoked = revoke_all(&opened.tables).await;
    opened.close().await;
    let Revoked { agents, states } = revoked?;
    Ok(format!("{agents} agents are revoked, in the states of {states} people; they have to be paired again"))
}

/// Opens a data directory that is new, empty, or left by an interrupted restore, and the snapshots.
fn open(source: &Source, config: &Config) -> Result<Opened, CommandError> {
    let directory = source.snapshot_dir();
    if !directory.is_dir() {
        return Err(SnapshotError::NotFound(format!("in {}", directory.display())).into());
    }
    let objects = Objects::new(Directory::open(&directory, PATIENCE)?.client(), BUCKET);
    let location = Location::Directory { path: source.data_dir.clone(), durable: false };
    let store = storage::open_to_restore(&location, &Template::parse(TEMPLATE)?, config)?;
    let (engine, thread) = Engine::start(store.database)?;
    let tables =
        Tables { client: client(engine), state: config.state_table.clone(), ledger: config.ledger_table.clone() };
    Ok(Opened::new(tables, objects, &directory, Some((thread, location, store.lock))))
}

/// Restores the newest snapshot into scratch tables, compares it and removes the tables. Returns a summary for people.
///
/// # Errors
/// See [`CommandError`].
pub async fn drill(source: &Source) -> Result<String, CommandError> {
    let config = Config::of_runner_from_env()?;
    let opened = source.open(&config, PATIENCE).await?;
    let began = Instant::now();
    let mut bar = Bar::default();
    let outcome = {
        let Opened { tables, objects, alone, .. } = &opened;
        let scratch = scratch(tables.client.clone(), &config.stage);
        let drill = Drill { objects, live: tables, scratch: &scratch, clock, alone: *alone };
        drill.run(&mut |progress| bar.show(progress)).await
    };
    bar.end();
    opened.close().await;
    let drilled = outcome?;
    Ok(format!(
        "snapshot {} can be restored: {} items and {} rooms came back as they were, in {:.1} s",
        drilled.snapshot,
        drilled.items,
        drilled.chains,
        began.elapsed().as_secs_f64()
    ))
}

fn clock() -> Timestamp {
    SystemTime::now().into()
}
