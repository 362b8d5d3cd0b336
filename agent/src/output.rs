//! The program's output, for people and for programs.

use crate::exit::Failed;
use crate::fuse::State;
use domain::{AgentDevice, Condition, Flag, Route, Signal};
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _, Write as _};

/// Writes a line.
///
/// # Errors
/// The reader is gone.
pub fn line(text: impl std::fmt::Display) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failed::of_output(&error))
}

/// A status line that is redrawn in a terminal; elsewhere, one line per status.
#[derive(Debug)]
pub struct Status {
    terminal: bool,
    shown: String,
}

impl Default for Status {
    fn default() -> Self {
        Self { terminal: io::stdout().is_terminal(), shown: String::new() }
    }
}

impl Status {
    /// Shows this text if it differs from the last one.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn show(&mut self, text: String) -> Result<(), Failed> {
        if text == self.shown {
            return Ok(());
        }
        self.shown = text;
        if !self.terminal {
            return line(&self.shown);
        }
        let mut out = io::stdout().lock();
        // Carriage return and "erase line" (ECMA-48).
        let written = write!(out, "\r\x1b[2K{}", self.shown).and_then(|()| out.flush());
        written.map_err(|error| Failed::of_output(&error))
    }

    /// Ends the status line in a terminal.
    pub fn end(&self) {
        if self.terminal && !self.shown.is_empty() {
            let _ = line("");
        }
    }
}

/// The measured state in the terms of the protocol.
#[must_use]
pub fn measured(state: State, device: Option<&AgentDevice>) -> Value {
    json!({
        "condition": state.condition,
        "flag": state.flag,
        "signal": state.signal,
        "route": state.route,
        "device": device,
    })
}

/// The measured state as a sentence for people.
#[must_use]
pub fn sentence(state: State, device: Option<&AgentDevice>) -> String {
    let label = device.map_or("the microphone", |device| device.label.as_str());
    let flag = match state.flag {
        Flag::Muted => ", and the system says that it is muted",
        Flag::Unmuted => ", and the system says that it is not muted",
        Flag::Unknown => "",
    };
    let said = match (state.condition, state.route, state.signal) {
        (Condition::PermissionDenied, _, _) => {
            "may not be used by this program: allow it in the system's privacy settings"
        }
        (Condition::HostUnavailable, _, _) => {
            return "the sound system does not answer: is PulseAudio or PipeWire running?".to_owned();
        }
        (Condition::DeviceBusy, _, _) => "is held by another program: end that, or let it share the device",
        (Condition::NoData, _, _) => "is open, but delivers nothing, not even silence: it is asleep or broken",
        (Condition::DeviceMissing, _, _) => {
            return format!("{label} is not there: plug it in, or see `greenroom-agent devices`");
        }
        (Condition::Measured, Route::Moved, _) => {
            "is there, but the system has moved this program's recording or a browser's to another device"
        }
        (Condition::Measured, Route::Silenced, _) => {
            return format!(
                "nothing can be said about {label}: this program's own recording stream, greenroom-agent, is muted or \
                 turned down; set it to 100 % in the sound mixer, or restart this program{flag}"
            );
        }
        (Condition::Measured, Route::Direct, Signal::Signal) => "is heard",
        (Condition::Measured, Route::Direct, Signal::Floor) => "gives no more than its own noise: a silent room",
        (Condition::Measured, Route::Direct, Signal::DigitalZero) => "gives exact silence: nothing can leave it",
        (Condition::Measured, Route::Direct, Signal::NotOpened) => "was not listened to",
    };
    format!("{label} {said}{flag}")
}

/// The measured state, short enough for a line in a terminal.
#[must_use]
pub fn brief(state: State, device: Option<&AgentDevice>) -> String {
    let label = device.map_or("microphone", |device| device.label.as_str());
    let said = match (state.condition, state.route, state.signal) {
        (Condition::Measured, Route::Moved, _) => "the browser or this program was moved to another device",
        (Condition::Measured, Route::Silenced, _) => {
            "greenroom-agent's own stream is muted or turned down in the mixer"
        }
        (Condition::Measured, Route::Direct, Signal::Signal) => "heard",
        (Condition::Measured, Route::Direct, Signal::Floor) => "only noise",
        (Condition::Measured, Route::Direct, Signal::DigitalZero) => "exact silence",
        (Condition::Measured, Route::Direct, Signal::NotOpened) => "not listened to",
        (Condition::PermissionDenied, _, _) => "permission denied",
        (Condition::HostUnavailable, _, _) => "no sound system",
        (Condition::DeviceBusy, _, _) => "held by another program",
        (Condition::NoData, _, _) => "asleep",
        (Condition::DeviceMissing, _, _) => "not there",
    };
    let flag = if state.flag == Flag::Muted { ", muted by the system" } else { "" };
    format!("{label}: {said}{flag}")
}

/// The mute verdict in short form: `mute verified (digital_zero)`.
#[must_use]
pub fn verdict(verdict: &Value) -> String {
    let word = |member: &str| verdict["mute"][member].as_str().unwrap_or("unknown");
    format!("mute {} ({})", word("value"), word("reason"))
}
