//! `greenroom`: the whole stack on one machine.

use clap::{Parser, Subcommand};
use config::{AuthMode, BadSetting};
use local::keys;
use local::private;
use local::restore;
use local::runner::{Options, run};
use local::snapshots::{self, CommandError, Source};
use local::storage::Location;
use local::verify::verify_file;
use snapshot::restore::Wanted;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The engine and AWS's client allocate many small values; this allocator makes every request a tenth faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves Greenroom's whole stack on this machine: page, API and database.
#[expect(clippy::doc_markdown, reason = "clap shows it in a terminal as it is")]
#[derive(Debug, Parser)]
#[command(
    name = "greenroom",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 stopped by a signal, 2 bad setting, 3 port taken, 4 data damaged, \
    5 data of another version, 6 data directory not usable, 7 data directory in use, 1 anything else.\n\
    More settings come from the environment: docs/environment.md."
)]
struct Arguments {
    /// Port to listen on; 0 takes a free one [env: PORT] [default: 3001]
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on; anything but a loopback address opens the API to the network [env: HOST] [default: 127.0.0.1]
    #[arg(long, value_parser = config::runner::parse_host)]
    host: Option<IpAddr>,
    /// Origin under which people open the page, if a proxy passes it on, such as https://meet.example
    /// [env: GREENROOM_PUBLIC_URL]
    #[arg(long, value_parser = config::public_url)]
    public_url: Option<String>,
    /// Directory that keeps the data [env: GREENROOM_DATA_DIR] [default: .greenroom]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Who may call: open, anybody for anybody, or strict, only with tokens [env: AUTH_MODE] [default: open]
    #[arg(long, value_parser = auth_mode)]
    auth: Option<AuthMode>,
    /// Keep data only in memory
    #[arg(long, conflicts_with_all = ["data_dir", "durable"])]
    ephemeral: bool,
    /// Sync every write to disk, so that it survives a power cut; without this option it survives only the end of the
    /// process
    #[arg(long)]
    durable: bool,
    /// Also serve the embedded database as DynamoDB on this port of 127.0.0.1; 0 takes a free one
    /// [env: GREENROOM_DYNAMODB_PORT]
    #[arg(long)]
    dynamodb_port: Option<u16>,
    /// Directory that keeps the snapshots, taken each night at 03:00 UTC [env: GREENROOM_SNAPSHOT_DIR] [default: snapshots in
    /// the data directory; none with --ephemeral]
    #[arg(long)]
    snapshot_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take and verify a snapshot now, or list the existing ones
    #[command(after_help = SNAPSHOT_HELP)]
    Snapshot {
        #[command(flatten)]
        source: Source,
        /// List the existing snapshots
        #[arg(long)]
        list: bool,
    },
    /// Restore a snapshot into a new data directory
    #[command(after_help = RESTORE_HELP)]
    Restore {
        /// Name of the snapshot as `snapshot --list` shows it, or latest
        #[arg(default_value = "latest")]
        snapshot: Wanted,
        /// Restore agents, evidence, codes and leases as they were; without this option every agent is revoked, because
        /// agents that were revoked after the snapshot would come back
        #[arg(long)]
        keep_agents: bool,
        #[command(flatten)]
        source: Source,
    },
    /// Revoke every agent, after the tables were rolled back in another way than by restore
    #[command(after_help = REVOKE_HELP)]
    RevokeAgents {
        #[command(flatten)]
        source: Source,
    },
    /// Restore the newest snapshot into scratch tables, compare every item, and remove them again
    #[command(after_help = DRILL_HELP)]
    Drill {
        #[command(flatten)]
        source: Source,
    },
    /// Make or rotate the key that signs tokens
    #[command(after_help = KEYS_HELP)]
    Keys {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Check an exported room history; reports the first entry that was altered, is missing or is out of order
    #[command(
        after_help = "Each line of FILE is an answer of GET /api/rooms/{room}/audit, or one of its entries, from entry 1 on.\n\
        Exit codes: 0 the history is whole, 2 bad usage, 4 an entry was altered, is missing or out of order, \
        6 FILE cannot be read or is not an export."
    )]
    VerifyLedger {
        /// The export
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Make the first key, and print what to deploy
    New {
        #[command(flatten)]
        source: Source,
    },
    /// Make another key, and print what to deploy; the one before it still verifies
    Rotate {
        #[command(flatten)]
        source: Source,
    },
}

const KEYS_HELP: &str = "A runner makes its first key by itself.\n\
    Exit codes: 0 done, 2 bad usage, 3 there is a key already, 4 the data is damaged, 5 data of another version, 6 tables \
    cannot be reached, 7 data directory in use, 1 anything else.";

const SNAPSHOT_HELP: &str = "Works beside a runner that uses the data directory, and without one.\n\
    Exit codes: 0 done, 2 bad usage, 4 the tables or what was read back are damaged, 5 data of another version, 6 tables \
    or snapshots cannot be reached, 7 another run is at work, 1 anything else.\n\
    How snapshots are stored and how long they are kept is set by the environment: docs/environment.md.";

const RESTORE_HELP: &str = "Everything is verified before anything is written. The tables must be empty. A run that was \
    interrupted is finished by the same command; until then no runner serves the data directory.\n\
    Exit codes: 0 done, 2 bad usage, 3 the tables are not empty, or their stream is too old, 4 the snapshot is \
    damaged or not there, 5 a schema that this version does not know, 6 tables or snapshots cannot be reached, 7 another \
    run or a runner is at work, 1 anything else.";

const REVOKE_HELP: &str = "For a data directory that was copied back, or tables of AWS's point-in-time recovery: an agent \
    that was revoked since would attest again. Works beside a runner and without one; run again, it changes what is left.\n\
    Exit codes: 0 done, 2 bad usage, 4 the data is damaged, 5 data of another version, 6 tables or snapshots cannot be \
    reached, 7 another run is at work, 1 anything else.";

const DRILL_HELP: &str = "Works beside a runner that uses the data directory, and without one.\n\
    Exit codes: 0 every item came back, 2 bad usage, 4 the snapshot is damaged or not there, 5 a schema that this version \
    does not know, 6 tables or snapshots cannot be reached, 7 another run is at work, 1 anything else.";

fn main() -> ExitCode {
    private::restrict_new_files();
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return failed(&usage(&error), 2),
        Err(help) => help.exit(),
    };
    let done = match arguments.command.take() {
        None => None,
        Some(Command::VerifyLedger { file }) => Some(match verify_file(&file) {
            Ok(head) => Ok(format!("whole: {} entries, the last one has hash {}", head.seq, head.hash)),
            Err(error) => Err((error.to_string(), error.exit_code())),
        }),
        Some(Command::Snapshot { source, list: true }) => Some(run_command(snapshots::list(&source))),
        Some(Command::Snapshot { source, list: false }) => Some(run_command(snapshots::take(&source))),
        Some(Command::Restore { snapshot, keep_agents, source }) => {
            Some(run_command(restore::restore(&source, &snapshot, keep_agents)))
        }
        Some(Command::RevokeAgents { source }) => Some(run_command(restore::revoke_agents(&source))),
        Some(Command::Keys { action: KeyAction::New { source } }) => Some(run_command(keys::new(&source))),
        Some(Command::Keys { action: KeyAction::Rotate { source } }) => Some(run_command(keys::rotate(&source))),
        Some(Command::Drill { source }) => Some(run_command(restore::drill(&source))),
    };
    match done {
        Some(Ok(summary)) => return said(&summary),
        Some(Err((line, code))) => return failed(&line, code),
        None => {}
    }
    let options = match options(arguments) {
        Ok(options) => options,
        Err(error) => return failed(&error.to_string(), 2),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(options));
            // Requests that are still running must not delay the exit.
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

/// The options of the runner. An option on the command line overrides its variable.
fn options(arguments: Arguments) -> Result<Options, BadSetting> {
    use config::runner;
    let data_dir = arguments.data_dir.unwrap_or_else(runner::data_dir);
    let snapshot_dir = arguments.snapshot_dir.or_else(runner::snapshot_dir);
    Ok(Options {
        host: arguments.host.map_or_else(runner::host, Ok)?,
        port: arguments.port.map_or_else(runner::port, Ok)?,
        public_url: arguments.public_url.map_or_else(runner::public_url, |url| Ok(Some(url)))?,
        dynamodb_port: arguments.dynamodb_port.map_or_else(runner::dynamodb_port, |port| Ok(Some(port)))?,
        auth_mode: arguments.auth,
        snapshot_dir: snapshot_dir.or_else(|| (!arguments.ephemeral).then(|| snapshots::default_directory(&data_dir))),
        location: if arguments.ephemeral {
            Location::Memory
        } else {
            Location::Directory { path: data_dir, durable: arguments.durable }
        },
    })
}

fn auth_mode(text: &str) -> Result<AuthMode, &'static str> {
    match text {
        "open" => Ok(AuthMode::Open),
        "strict" => Ok(AuthMode::Strict),
        _ => Err("be open or strict"),
    }
}

/// Runs a command on the tables. Returns a summary for people, or an error line and the exit code.
fn run_command(work: impl Future<Output = Result<String, CommandError>>) -> Result<String, (String, u8)> {
    // A failure that does not end the command, such as a lease that could not be given back.
    functions::diagnostics(tracing::Level::WARN, io::stderr);
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

/// Writes the command's result. It is not a failure if the reader has closed the pipe.
fn said(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot write to standard output: {error}"), 1),
    }
}

/// Writes the line about a failure. Nobody may be reading it.
fn failed(line: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "greenroom: {line}");
    ExitCode::from(code)
}

/// The first paragraph of clap's error text, as one line.
fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; see --help", line.trim_start_matches("error: "))
}
