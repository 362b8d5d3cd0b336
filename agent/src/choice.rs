//! What the command line can choose: the sound system, the input, and what to go by.

use clap::{Args, ValueEnum};

/// Which sound system.
#[derive(Debug, Clone, Args)]
pub struct HostArgument {
    /// Sound system: on Linux pulseaudio (PipeWire too) or alsa, elsewhere the system's own
    #[arg(long)]
    pub host: Option<String>,
}

/// What to measure, and how.
#[derive(Debug, Clone, Args)]
pub struct Choice {
    /// Which sound system.
    #[command(flatten)]
    pub host: HostArgument,
    /// Which input, by id or name; without, the one that the page claims, or else the default one at start
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// What to go by
    // macOS unmutes its built-in microphone when somebody opens it, and an observer must not.
    #[arg(long, value_enum, default_value_t = if cfg!(target_os = "macos") { Evidence::Flag } else { Evidence::Signal })]
    pub evidence: Evidence,
}

/// What to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Evidence {
    /// What the microphone delivers, and the system's mute flag
    Signal,
    /// The system's mute flag alone: the microphone is never opened
    Flag,
}
