//! PulseAudio, and PipeWire in its place: one connection, asked in turn.
//!
//! Beside cpal, because cpal knows no mute, no volume and no move; not by the client of the `pulseaudio` crate, because that does not
//! list source outputs, by which alone a moved stream is noticed.

use crate::witness::{Attached, Input, Look, Unavailable, Witness};
use domain::Flag;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ClientInfoList, Command, GetSourceInfo, Prop, ProtocolError, PulseError, ServerInfo,
    SetClientNameReply, SourceInfo, SourceInfoList, SourceOutputInfoList, SourceState, Volume,
};
use std::ffi::{CStr, CString};
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The name of cpal's host, which begins every id.
pub const HOST: &str = "pulseaudio";
/// A sound server that takes longer than this to answer is as good as gone.
const ANSWER: Duration = Duration::from_secs(1);
/// How long to wait for a connection, and after a failed one.
const RETRY: Duration = Duration::from_millis(250);

/// The sound server, connected as long as it lives.
#[derive(Debug, Default)]
pub struct Pulse {
    link: Option<Link>,
    /// A connection that is being made, on a thread of its own: to a server that hangs this may take without limit.
    connecting: Option<Receiver<Result<Link, Unavailable>>>,
    failed: Option<(Instant, Unavailable)>,
}

#[derive(Debug)]
struct Link {
    socket: BufReader<UnixStream>,
    version: u16,
    seq: u32,
    /// The server's number for the client by which cpal listens.
    listener: Option<u32>,
}

impl Witness for Pulse {
    fn inputs(&mut self, _fresh: bool) -> Result<Vec<Input>, Unavailable> {
        self.ask(|link| {
            let server: ServerInfo = link.ask(&Command::GetServerInfo)?;
            let sources: SourceInfoList = link.ask(&Command::GetSourceInfoList)?;
            Ok(sources.into_iter().map(|source| input(&source, server.default_source_name.as_deref())).collect())
        })
    }

    fn look(&mut self, id: &str) -> Result<Option<Look>, Unavailable> {
        let name = id.strip_prefix(HOST).and_then(|rest| rest.strip_prefix(':')).unwrap_or(id);
        let Ok(name) = CString::new(name) else { return Ok(None) };
        self.ask(|link| {
            let by_name = GetSourceInfo { index: None, name: Some(name) };
            let source: SourceInfo = match link.ask(&Command::GetSourceInfo(by_name)) {
                Err(ProtocolError::ServerError(PulseError::NoEntity)) => return Ok(None),
                answer => answer?,
            };
            let attached = match link.attached_to()? {
                None => Attached::Nowhere,
                Some(index) if index == source.index => Attached::Here,
                Some(_) => Attached::Elsewhere,
            };
            Ok(Some(Look { flag: flag(&source), attached, suspended: source.state == SourceState::Suspended }))
        })
    }
}

impl Pulse {
    fn ask<T>(&mut self, question: impl FnOnce(&mut Link) -> Result<T, ProtocolError>) -> Result<T, Unavailable> {
        if self.link.is_none() {
            if let Some((at, why)) = &self.failed
                && at.elapsed() < RETRY
            {
                return Err(why.clone());
            }
            let connecting = self.connecting.get_or_insert_with(|| {
                let (connected, connecting) = channel();
                std::thread::spawn(move || connected.send(Link::connect()));
                connecting
            });
            let Ok(outcome) = connecting.recv_timeout(RETRY) else {
                return Err(Unavailable("the sound server does not answer".to_owned()));
            };
            self.connecting = None;
            self.link = match outcome {
                Ok(link) => Some(link),
                Err(why) => return Err(self.fail(why)),
            };
        }
        let Some(link) = &mut self.link else { return Err(Unavailable("not connected".to_owned())) };
        // After any error the answers may no longer belong to the questions.
        question(link).map_err(|error| self.fail(Unavailable(format!("the sound server failed to answer: {error}"))))
    }

    fn fail(&mut self, why: Unavailable) -> Unavailable {
        self.link = None;
        self.failed = Some((Instant::now(), why.clone()));
        why
    }
}

impl Link {
    fn connect() -> Result<Self, Unavailable> {
        let path = pulseaudio::socket_path_from_env().ok_or_else(|| {
            Unavailable("no PulseAudio or PipeWire socket in PULSE_SERVER or XDG_RUNTIME_DIR".to_owned())
        })?;
        let unavailable = |error: &dyn std::fmt::Display| {
            let cookie = if pulseaudio::cookie_path_from_env().is_some() {
                ""
            } else {
                "; it may want a cookie: set PULSE_COOKIE"
            };
            Unavailable(format!("the sound server at {} does not answer: {error}{cookie}", path.display()))
        };
        let socket = UnixStream::connect(&path).map_err(|error| unavailable(&error))?;
        let bounded = socket.set_read_timeout(Some(ANSWER)).and_then(|()| socket.set_write_timeout(Some(ANSWER)));
        bounded.map_err(|error| unavailable(&error))?;
        let mut link = Self { socket: BufReader::new(socket), version: protocol::MAX_VERSION, seq: 0, listener: None };
        link.greet().map_err(|error| unavailable(&error))?;
        Ok(link)
    }

    fn greet(&mut self) -> Result<(), ProtocolError> {
        let cookie = pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let auth = AuthParams { version: protocol::MAX_VERSION, supports_shm: false, supports_memfd: false, cookie };
        let reply: AuthReply = self.ask(&Command::Auth(auth))?;
        self.version = reply.version.min(protocol::MAX_VERSION);
        let mut props = protocol::Props::new();
        props.set(Prop::ApplicationName, c"greenroom-agent");
        let _: SetClientNameReply = self.ask(&Command::SetClientName(props))?;
        Ok(())
    }

    fn ask<R: protocol::CommandReply>(&mut self, command: &Command) -> Result<R, ProtocolError> {
        self.seq += 1;
        protocol::write_command_message(self.socket.get_mut(), self.seq, command, self.version)?;
        let (seq, reply) = protocol::read_reply_message(&mut self.socket, self.version)?;
        if seq == self.seq {
            Ok(reply)
        } else {
            Err(ProtocolError::Invalid("an answer to another question".to_owned()))
        }
    }

    /// The source that hears for this program, whatever source it once asked for.
    fn attached_to(&mut self) -> Result<Option<u32>, ProtocolError> {
        let outputs: SourceOutputInfoList = self.ask(&Command::GetSourceOutputInfoList)?;
        let of = |client: Option<u32>| {
            let own = outputs.iter().filter(|output| client.is_some() && output.client_index == client);
            own.max_by_key(|output| output.index).map(|output| output.source_index)
        };
        if let Some(source) = of(self.listener) {
            return Ok(Some(source));
        }
        // cpal's own name for its connection; this program has another one and only asks.
        let name = format!("cpal-pulseaudio-{}", std::process::id());
        let clients: ClientInfoList = self.ask(&Command::GetClientInfoList)?;
        let named = clients.iter().filter(|client| client.name.to_bytes() == name.as_bytes());
        self.listener = named.map(|client| client.index).max();
        Ok(of(self.listener))
    }
}

fn input(source: &SourceInfo, default: Option<&CStr>) -> Input {
    let text = |text: &CStr| text.to_string_lossy().into_owned();
    Input {
        id: format!("{HOST}:{}", text(&source.name)),
        label: text(source.description.as_deref().unwrap_or(&source.name)),
        default: default == Some(source.name.as_c_str()),
        monitor: source.monitor_of_sink_index.is_some(),
    }
}

fn flag(source: &SourceInfo) -> Flag {
    let silent = source.cvolume.channels().iter().all(|volume| *volume == Volume::MUTED);
    if source.muted || silent { Flag::Muted } else { Flag::Unmuted }
}
