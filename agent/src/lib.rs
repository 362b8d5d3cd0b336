//! The native witness: it measures a microphone and attests the measurement to Greenroom.
//!
//! It observes and never switches hardware. Samples never leave the audio callback, and levels never leave this
//! process: only one of three classes comes out. The feature `capture` adds cpal, which on Linux needs ALSA's headers.

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
pub mod others;
#[cfg(feature = "capture")]
pub mod plain;
