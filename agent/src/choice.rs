//! The choices on the command line: sound system, input and kind of evidence.

use clap::{Args, ValueEnum};

/// The sound system.
#[derive(Debug, Clone, Args)]
pub struct HostArgument {
    /// Sound system: on Linux pulseaudio (PipeWire too) or alsa, elsewhere the system's own
    #[arg(long)]
    pub host: Option<String>,
}

/// What to measure, and how.
#[derive(Debug, Clone, Args)]
pub struct Choice {
    /// The sound system.
    #[command(flatten)]
    pub host: HostArgument,
    /// Input to measure, by id or name; without this option, the input that the page claims, or else the default input
    /// at start
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Kind of evidence
    // On macOS, opening the built-in microphone unmutes it, and an observer must not do that.
    #[arg(long, value_enum, default_value_t = if cfg!(target_os = "macos") { Evidence::Flag } else { Evidence::Signal })]
    pub evidence: Evidence,
}

/// The kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Evidence {
    /// The microphone's signal and the system's mute flag
    Signal,
    /// Only the system's mute flag: the microphone is never opened
    Flag,
}
