//! `greenroom-agent`: measures a microphone and attests the measurement.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cli::run()
}
