//! The command line.

use crate::choice::{Choice, HostArgument};
use crate::exit::{self, Failed};
use crate::key::{self, KeyError, PairingFile};
use crate::server::ServerUrl;
use crate::{client, output};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use domain::{PairingCode, UserId};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures this computer's microphone and attests the measurement to Greenroom. It listens and never records: neither
/// sound nor levels are stored, sent or shown.
#[derive(Debug, Parser)]
#[command(name = "greenroom-agent", version, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Write JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// File of the pairing, instead of greenroom/agent.json in the configuration directory
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the inputs of this computer
    Devices(HostArgument),
    /// Measure once and show the result
    Check {
        #[command(flatten)]
        choice: Choice,
        /// How long to listen, in seconds
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
        seconds: u64,
    },
    /// Pair this computer with a person; the page shows the code
    #[command(visible_alias = "enrol")]
    Enroll {
        /// The server: https:// and its name, or http:// and this computer
        #[arg(long)]
        url: ServerUrl,
        /// The person, as the page names them
        #[arg(long)]
        user: UserId,
        /// The code that the page shows: 16 letters and digits
        #[arg(long, value_parser = code)]
        code: PairingCode,
    },
    /// Measure until stopped, and attest every change
    Watch {
        #[command(flatten)]
        choice: Choice,
        /// Only show what would be attested, and attest nothing
        #[arg(long)]
        offline: bool,
    },
    /// Find out why the microphone is not heard
    Doctor(Choice),
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        Err(error) if error.use_stderr() => return exit::code(Err(Failed::new(2, usage(&error)))),
        Err(help) => help.exit(),
    };
    exit::code(command(arguments))
}

fn command(Arguments { command, json, config }: Arguments) -> Result<u8, Failed> {
    let path = || config.clone().map_or_else(key::default_path, Ok).map_err(|error| Failed::new(4, error));
    match command {
        Command::Devices(host) => capture::devices(&host, json),
        Command::Check { choice, seconds } => capture::check(&choice, seconds, json),
        Command::Enroll { url, user, code } => {
            let place = PairingFile::prepare(&path()?).map_err(unusable)?;
            let key = key::generate().map_err(|error| Failed::new(1, format!("no random numbers: {error}")))?;
            let pairing = client::enrol(url, user, code, key).map_err(refused)?;
            place.keep(&pairing).map_err(unusable)?;
            let (agent, user, path) = (&pairing.agent_id, &pairing.user_id, path()?);
            output::line(if json {
                serde_json::json!({"agentId": agent, "userId": user, "url": pairing.url.to_string(), "config": path})
                    .to_string()
            } else {
                format!("paired with {user} as {agent}; the key is in {}. Next: greenroom-agent watch", path.display())
            })?;
            Ok(0)
        }
        Command::Watch { choice, offline } => {
            let pairing = if offline { None } else { Some(key::load(&path()?).map_err(unusable)?) };
            capture::watch(&choice, pairing, json)
        }
        Command::Doctor(choice) => capture::doctor(&choice, key::load(&path()?), json),
    }
}

fn unusable(error: KeyError) -> Failed {
    Failed::new(4, error)
}

fn refused(error: client::CallError) -> Failed {
    match error {
        client::CallError::Refused(refusal) if refusal.code == "code_invalid" => Failed::new(
            6,
            "the server refused the code: it is wrong, used, expired, or another person's; ask your page for a new one",
        ),
        client::CallError::Refused(_) => Failed::new(6, error),
        client::CallError::Unreachable { .. } | client::CallError::Garbled(_) => Failed::new(5, error),
    }
}

fn code(text: &str) -> Result<PairingCode, String> {
    PairingCode::try_from(text.to_owned()).map_err(|refused| refused.to_string())
}

/// The first paragraph of clap's error text, as one line.
fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; see --help", line.trim_start_matches("error: "))
}

#[cfg(feature = "capture")]
use crate::listen as capture;

/// Replaces the commands that need a microphone in a program that was built without `capture`.
#[cfg(not(feature = "capture"))]
mod capture {
    use crate::choice::{Choice, HostArgument};
    use crate::exit::Failed;
    use crate::key::{KeyError, Pairing};

    const HOW: &str = "built without capture, so it cannot measure; build it with `cargo build --release -p agent --features capture` \
        (on Debian this needs `apt-get install libasound2-dev pkg-config`)";

    pub(super) fn devices(_: &HostArgument, _: bool) -> Result<u8, Failed> {
        Err(Failed::new(3, HOW))
    }

    pub(super) fn check(_: &Choice, _: u64, _: bool) -> Result<u8, Failed> {
        Err(Failed::new(3, HOW))
    }

    pub(super) fn watch(_: &Choice, _: Option<Pairing>, _: bool) -> Result<u8, Failed> {
        Err(Failed::new(3, HOW))
    }

    pub(super) fn doctor(_: &Choice, _: Result<Pairing, KeyError>, _: bool) -> Result<u8, Failed> {
        Err(Failed::new(3, HOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_alternative_spelling_of_enroll_works() {
        let line = "greenroom-agent enrol --url https://a --user ada --code 7k3mq2xd9vtab4nc";
        assert!(Arguments::try_parse_from(line.split(' ')).is_ok());
    }
}
