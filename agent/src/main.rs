//! `greenroom-agent`: measures a microphone and attests what it measured.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cli::run()
}
