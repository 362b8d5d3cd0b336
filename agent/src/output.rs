//! The program's output, for people and for programs.

use crate::exit::Failed;
use crate::fuse::State;
use domain::{AgentDevice, Condition, Flag, Route, Signal};
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Writes a line.
///
/// # Errors
/// The reader is gone.
pub fn line(text: impl std::fmt::Display) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failed::of_output(&error))
}

/// Lines that wait for a slow reader, at most.
const QUEUE_LINES_MAX: usize = 256;
/// How long the end of the program waits for the reader of its last lines.
const END_PATIENCE: Duration = Duration::from_secs(1);
const END_PAUSE: Duration = Duration::from_millis(5);

/// Writes to standard output on a thread of its own, so that a slow or stopped reader never delays a measurement. While
/// the queue is full, the newest text waits for room, and replaces the one that waited before.
#[derive(Debug)]
pub struct Printer {
    queue: Option<SyncSender<String>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    /// The newest text that found no room in the queue.
    late: Option<String>,
}

impl Printer {
    /// Starts the writing thread.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn start() -> Result<Self, Failed> {
        let (queue, texts) = sync_channel::<String>(QUEUE_LINES_MAX);
        let writer = std::thread::Builder::new().name("output".into()).spawn(move || {
            for text in texts {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
            }
            Ok(())
        });
        let writer = writer.map_err(|error| Failed::new(1, format!("cannot start a thread: {error}")))?;
        Ok(Self { queue: Some(queue), writer: Some(writer), late: None })
    }

    /// Writes this text as soon as the reader takes it, unless a newer one replaces it until then.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn print(&mut self, text: String) -> Result<(), Failed> {
        self.late = Some(text);
        self.retry()
    }

    /// Writes a line in the same way.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failed> {
        self.print(format!("{text}\n"))
    }

    /// Tries again to write the newest text, if the queue had no room for it.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn retry(&mut self) -> Result<(), Failed> {
        if let (Some(text), Some(queue)) = (self.late.take(), &self.queue)
            && let Err(TrySendError::Full(text)) = queue.try_send(text)
        {
            self.late = Some(text);
        }
        self.outcome()
    }

    /// Writes what is left and `text`, as far as the reader takes it within a second, and ends the output.
    ///
    /// # Errors
    /// The reader is gone.
    pub fn end(mut self, text: Option<String>) -> Result<(), Failed> {
        if let Some(text) = text {
            self.late.get_or_insert_default().push_str(&text);
        }
        let end = Instant::now() + END_PATIENCE;
        self.retry()?;
        while self.late.is_some() && Instant::now() < end {
            std::thread::sleep(END_PAUSE);
            self.retry()?;
        }
        self.queue = None;
        while self.writer.as_ref().is_some_and(|writer| !writer.is_finished()) && Instant::now() < end {
            std::thread::sleep(END_PAUSE);
        }
        self.outcome()
    }

    /// The failure of the writing thread, if it has ended by one.
    fn outcome(&mut self) -> Result<(), Failed> {
        match self.writer.take_if(|writer| writer.is_finished()).map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(Failed::of_output(&error)),
            _ => Ok(()),
        }
    }
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
    /// The output that shows this text; `None` if the text is shown already.
    pub fn show(&mut self, text: String) -> Option<String> {
        if text == self.shown {
            return None;
        }
        self.shown = text;
        // In a terminal: carriage return and "erase line" (ECMA-48).
        Some(if self.terminal { format!("\r\x1b[2K{}", self.shown) } else { format!("{}\n", self.shown) })
    }

    /// The output that ends the status line in a terminal.
    #[must_use]
    pub fn end(&self) -> Option<String> {
        (self.terminal && !self.shown.is_empty()).then(|| "\n".to_owned())
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
