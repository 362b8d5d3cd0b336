//! `greenroom`: the whole stack on one machine.

use clap::{Parser, Subcommand};
use local::restore;
use local::runner::{Options, run};
use local::snapshots::{self, CommandError, Source};
use local::store::Place;
use local::verify::verify_file;
use snapshot::restore::Wanted;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The engine and AWS's client allocate a lot of small values; this takes a tenth off every request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves Greenroom's whole stack on this machine: page, API and database.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 stopped by a signal, 2 bad setting, 3 port taken, 4 data damaged, \
    5 data of another version, 6 data directory not usable, 7 data directory in use, 1 anything else.\n\
    More settings come from the environment: docs/environment.md."
)]
struct Arguments {
    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 3001)]
    port: u16,
    /// Address to listen on; anything but a loopback address opens the API to the network
    #[arg(long, env = "HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Directory that keeps the data
    #[arg(long, env = "GREENROOM_DATA_DIR", default_value = ".greenroom")]
    data_dir: PathBuf,
    /// Keep nothing: data lives in memory
    #[arg(long, conflicts_with_all = ["data_dir", "durable"])]
    ephemeral: bool,
    /// Sync every write to disk, so that it survives a power cut; without, it survives the end of the process
    #[arg(long)]
    durable: bool,
    /// Also serve the embedded database as DynamoDB on this port of 127.0.0.1; 0 takes a free one
    #[arg(long, env = "GREENROOM_DYNAMODB_PORT")]
    dynamodb_port: Option<u16>,
    /// Directory that keeps the snapshots, taken each night at 03:00 UTC [default: snapshots in the data directory; none
    /// with --ephemeral]
    #[arg(long, env = "GREENROOM_SNAPSHOT_DIR")]
    snapshot_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take and verify a snapshot now, or list those there are
    #[command(after_help = SNAPSHOT_HELP)]
    Snapshot {
        #[command(flatten)]
        source: Source,
        /// List the snapshots there are
        #[arg(long)]
        list: bool,
    },
    /// Restore a snapshot into a new data directory
    #[command(after_help = RESTORE_HELP)]
    Restore {
        /// Which one: its name as `snapshot --list` shows it, or latest
        #[arg(default_value = "latest")]
        snapshot: Wanted,
        #[command(flatten)]
        source: Source,
    },
    /// Restore the newest snapshot into scratch tables, compare every item, and remove them again
    #[command(after_help = DRILL_HELP)]
    Drill {
        #[command(flatten)]
        source: Source,
    },
    /// Check an exported room history: names the first entry that was altered, is missing or out of order
    #[command(
        after_help = "Each line of FILE is an answer of GET /api/rooms/{room}/audit, or one of its entries, from entry 1 on.\n\
        Exit codes: 0 the history is whole, 2 bad usage, 4 an entry was altered, is missing or out of order, \
        6 FILE cannot be read or is no export."
    )]
    VerifyLedger {
        /// The export
        file: PathBuf,
    },
}

const SNAPSHOT_HELP: &str = "Works beside a runner that uses the data directory, and without one.\n\
    Exit codes: 0 done, 2 bad usage, 4 the tables or what was read back are damaged, 5 data of another version, 6 tables \
    or snapshots cannot be reached, 7 another run is at work, 1 anything else.\n\
    How snapshots are stored and how long they are kept is set by the environment: docs/environment.md.";

const RESTORE_HELP: &str = "Everything is verified before anything is written. The tables must be empty. A run that was \
    interrupted is finished by the same command; until then no runner serves the data directory.\n\
    Exit codes: 0 done, 2 bad usage, 3 the tables are not empty, or their stream is too old, 4 the snapshot is \
    damaged or not there, 5 a schema that this version does not know, 6 tables or snapshots cannot be reached, 7 another \
    run or a runner is at work, 1 anything else.";

const DRILL_HELP: &str = "Works beside a runner that uses the data directory, and without one.\n\
    Exit codes: 0 every item came back, 2 bad usage, 4 the snapshot is damaged or not there, 5 a schema that this version \
    does not know, 6 tables or snapshots cannot be reached, 7 another run is at work, 1 anything else.";

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return failed(&usage(&error), 2),
        Err(help) => help.exit(),
    };
    let done = match arguments.command {
        None => None,
        Some(Command::VerifyLedger { file }) => Some(match verify_file(&file) {
            Ok(head) => Ok(format!("whole: {} entries, the last one has hash {}", head.seq, head.hash)),
            Err(error) => Err((error.to_string(), error.exit_code())),
        }),
        Some(Command::Snapshot { source, list: true }) => Some(run_command(snapshots::list(&source))),
        Some(Command::Snapshot { source, list: false }) => Some(run_command(snapshots::take(&source))),
        Some(Command::Restore { snapshot, source }) => Some(run_command(restore::restore(&source, &snapshot))),
        Some(Command::Drill { source }) => Some(run_command(restore::drill(&source))),
    };
    match done {
        Some(Ok(summary)) => return said(&summary),
        Some(Err((line, code))) => return failed(&line, code),
        None => {}
    }
    let snapshot_dir = arguments
        .snapshot_dir
        .or_else(|| (!arguments.ephemeral).then(|| snapshots::default_directory(&arguments.data_dir)));
    let place = if arguments.ephemeral {
        Place::Memory
    } else {
        Place::Directory { path: arguments.data_dir, durable: arguments.durable }
    };
    let options = Options {
        host: arguments.host,
        port: arguments.port,
        dynamodb_port: arguments.dynamodb_port,
        place,
        snapshot_dir,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(options));
            // Requests that did not finish in time must not hold up the exit.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string(), error.exit_code()),
    }
}

/// Runs a command that speaks to the tables: a summary for people, or what went wrong and the exit code.
fn run_command(work: impl Future<Output = Result<String, CommandError>>) -> Result<String, (String, u8)> {
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(work);
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    outcome.map_err(|error| (error.to_string(), error.exit_code()))
}

#[expect(clippy::print_stdout, reason = "what the command was asked for")]
fn said(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "the one line a failed start must say")]
fn failed(line: &str, code: u8) -> ExitCode {
    eprintln!("greenroom: {line}");
    ExitCode::from(code)
}

/// What is wrong with the arguments, in one line: the first paragraph of what clap has to say.
fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; see --help", line.trim_start_matches("error: "))
}
