//! PulseAudio, and PipeWire in its place: one connection, asked in turn.
//!
//! Listened to directly, not by cpal: cpal knows no mute, no volume and no move, does not say which stream of the server's is its own, and
//! took 3.4 % of a core where this takes a fraction (its client clears a MiB per read, and asks for the latency after each).

use crate::capture::{Ears, Failure, Guard, Listening, Shared};
use crate::measure::Meter;
use crate::witness::{Attached, Input, Look, Unavailable, Witness};
use domain::Flag;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, Command, CreateRecordStreamReply, GetSourceInfo, Prop, ProtocolError, PulseError,
    RecordStreamParams, SampleFormat, SampleSpec, ServerInfo, SetClientNameReply, SourceInfo, SourceInfoList,
    SourceOutputInfo, SourceState, Volume,
};
use std::ffi::{CStr, CString};
use std::io::{BufReader, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The name of this sound system, which begins every id; cpal calls it so too.
pub const HOST: &str = "pulseaudio";
/// A sound server that takes longer than this to answer is as good as gone.
const ANSWER: Duration = Duration::from_secs(1);
/// How long to wait for a connection, and after a failed one.
const RETRY: Duration = Duration::from_millis(250);

/// No stream has this number.
const NO_STREAM: u32 = u32::MAX;
/// The server sends at most 64 KiB at once; the protocol's own limit is 16 MiB.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// What says how the sources are, and what listens to them.
#[must_use]
pub fn pulse() -> (Pulse, Recorder) {
    let stream = Arc::new(AtomicU32::new(NO_STREAM));
    (Pulse { stream: Arc::clone(&stream), link: None, connecting: None, failed: None }, Recorder { stream })
}

/// The sound server, connected as long as it lives.
#[derive(Debug)]
pub struct Pulse {
    /// The server's number for the stream by which this program listens, or [`NO_STREAM`].
    stream: Arc<AtomicU32>,
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
        let name = name_of(id);
        let stream = self.stream.load(Ordering::Relaxed);
        self.ask(|link| {
            let source = match link.source(name) {
                Err(ProtocolError::ServerError(PulseError::NoEntity)) => return Ok(None),
                answer => answer?,
            };
            let attached = match link.attached_to(stream)? {
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
        let mut link = Self { socket: BufReader::new(socket), version: protocol::MAX_VERSION, seq: 0 };
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

    fn source(&mut self, name: &str) -> Result<SourceInfo, ProtocolError> {
        let name = CString::new(name).map_err(|_| ProtocolError::ServerError(PulseError::NoEntity))?;
        self.ask(&Command::GetSourceInfo(GetSourceInfo { index: None, name: Some(name) }))
    }

    /// The source that this program's stream hears now, whatever source it was opened on.
    fn attached_to(&mut self, stream: u32) -> Result<Option<u32>, ProtocolError> {
        if stream == NO_STREAM {
            return Ok(None);
        }
        match self.ask::<SourceOutputInfo>(&Command::GetSourceOutputInfo(stream)) {
            Ok(output) => Ok(Some(output.source_index)),
            Err(ProtocolError::ServerError(PulseError::NoEntity)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Listens to sources of the sound server.
#[derive(Debug)]
pub struct Recorder {
    stream: Arc<AtomicU32>,
}

impl Ears for Recorder {
    fn listen(&self, id: &str) -> Listening {
        self.stream.store(NO_STREAM, Ordering::Relaxed);
        let (name, stream) = (name_of(id).to_owned(), Arc::clone(&self.stream));
        Listening::begin(move |shared, opened| match Recording::open(&name, &stream) {
            Ok((recording, guard)) => {
                if opened.send(Ok(guard)).is_ok() {
                    shared.fail(recording.run(shared));
                }
            }
            Err(failure) => drop(opened.send(Err(failure))),
        })
    }
}

/// A stream from a source, on a connection of its own: closing that ends it, whatever the server does.
struct Recording {
    link: Link,
    channel: u32,
    spec: SampleSpec,
}

/// Ends the connection, and with it the thread that reads from it.
struct Shutdown(UnixStream);

impl Drop for Shutdown {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl Recording {
    fn open(name: &str, stream: &AtomicU32) -> Result<(Self, Guard), Failure> {
        let mut link = Link::connect().map_err(|_| Failure::HostUnavailable)?;
        let source = link.source(name).map_err(failure)?;
        // The rate and the channels that the source itself has: resampling would make zeros of what is not zero.
        let native = source.sample_spec;
        let is_short = native.format == SampleFormat::S16Le;
        let spec =
            SampleSpec { format: if is_short { SampleFormat::S16Le } else { SampleFormat::Float32Le }, ..native };
        let frame_bytes = u32::from(spec.channels) * if is_short { 2 } else { 4 };
        let mut params = RecordStreamParams {
            sample_spec: spec,
            channel_map: source.channel_map,
            source_index: Some(source.index),
            ..RecordStreamParams::default()
        };
        // 50 ms: half a block. The server's own choice is two seconds.
        params.buffer_attr.fragment_size = spec.sample_rate / 20 * frame_bytes;
        params.buffer_attr.max_length = u32::MAX;
        params.flags.adjust_latency = true;
        params.props.set(Prop::MediaName, c"measuring whether this microphone is muted");
        let reply: CreateRecordStreamReply = link.ask(&Command::CreateRecordStream(params)).map_err(failure)?;
        stream.store(reply.stream_index, Ordering::Relaxed);
        // A source that sleeps says nothing for as long as it likes.
        link.socket.get_ref().set_read_timeout(None).map_err(|_| Failure::HostUnavailable)?;
        let guard = link.socket.get_ref().try_clone().map_err(|_| Failure::HostUnavailable)?;
        Ok((Self { link, channel: reply.channel, spec: reply.sample_spec }, Box::new(Shutdown(guard))))
    }

    /// Reads until the stream ends, and says why it did.
    fn run(mut self, shared: &Shared) -> Failure {
        let mut meter = Meter::new(self.spec.sample_rate, self.spec.channels.into());
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let Ok(head) = protocol::read_descriptor(&mut self.link.socket) else { return Failure::HostUnavailable };
            let length = usize::try_from(head.length).unwrap_or(usize::MAX);
            let Some(body) = message.get_mut(..length) else { return Failure::HostUnavailable };
            if self.link.socket.read_exact(body).is_err() {
                return Failure::HostUnavailable;
            }
            if head.channel == self.channel {
                shared.blocks.count_callback();
                measure(self.spec.format, body, &mut meter, shared);
            } else if let Ok((_, Command::RecordStreamKilled(_))) =
                Command::read_tag_prefixed(&mut &*body, self.link.version)
            {
                return Failure::Missing;
            }
        }
    }
}

/// The callback: nothing of what it reads leaves it but classes.
fn measure(format: SampleFormat, bytes: &[u8], meter: &mut Meter, shared: &Shared) {
    let said = |class| shared.blocks.write(class);
    if format == SampleFormat::S16Le {
        let samples = bytes.as_chunks().0.iter().map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32768.0);
        meter.push(samples, said);
    } else {
        meter.push(bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)), said);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failure(error: ProtocolError) -> Failure {
    match error {
        ProtocolError::ServerError(PulseError::AccessDenied | PulseError::AuthKey) => Failure::Denied,
        ProtocolError::ServerError(PulseError::Busy) => Failure::Busy,
        ProtocolError::ServerError(PulseError::NoEntity) => Failure::Missing,
        ProtocolError::ServerError(_) => Failure::Other,
        _ => Failure::HostUnavailable,
    }
}

fn name_of(id: &str) -> &str {
    id.strip_prefix(HOST).and_then(|rest| rest.strip_prefix(':')).unwrap_or(id)
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
