//! The native witness: measures a microphone, and attests to Greenroom what it measured.
//!
//! It observes and never switches hardware. Samples never leave the audio callback and levels never leave this process: what comes out is
//! one of three classes. The feature `capture` brings cpal, and with it, on Linux, the need for ALSA's headers.

pub mod choice;
pub mod cli;
pub mod client;
pub mod clock;
pub mod exit;
pub mod fuse;
pub mod key;
pub mod layers;
pub mod measure;
pub mod output;
pub mod server;
pub mod witness;

#[cfg(feature = "capture")]
pub mod capture;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub mod linux;
#[cfg(feature = "capture")]
pub mod listen;
#[cfg(feature = "capture")]
pub mod observe;
#[cfg(feature = "capture")]
pub mod plain;
