//! PulseAudio, or PipeWire by the same protocol. One connection serves all questions, one at a time, and each recording
//! stream has its own connection.
//!
//! This module does not use cpal. cpal reports no mute, no volume and no move, and does not say which of the server's
//! streams is its own. It took 3.4 % of a core, and this module takes a fraction of that: cpal's client clears one MiB
//! for each read, and asks for the latency after each.

use crate::capture::{Ears, Failure, Guard, Listening, Shared};
use crate::layers::{Level, flag_of_device, stream_is_open};
use crate::measure::Meter;
use crate::witness::{Input, Look, OwnStream, Recording as OfOther, Unavailable, Witness};
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelVolume, Command, CreateRecordStreamReply, GetSourceInfo, Prop, ProtocolError,
    PulseError, RecordStreamParams, SampleFormat, SampleSpec, ServerInfo, SetClientNameReply, SetStreamMuteParams,
    SetStreamVolumeParams, SourceFlags, SourceInfo, SourceInfoList, SourceOutputInfo, SourceOutputInfoList,
    SourceState, Volume,
};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{BufReader, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The name of this sound system, and the beginning of every id. cpal uses the same name.
pub const HOST: &str = "pulseaudio";
/// Time limit of an answer. A sound server that takes longer counts as unavailable.
const ANSWER: Duration = Duration::from_secs(1);
/// How long to wait for a connection, and before another attempt after a failed one.
const RETRY: Duration = Duration::from_millis(250);

/// The name of this program in the sound server.
const OWN_NAME: &CStr = c"greenroom-agent";
/// The source number of a stream without a source.
const NO_SOURCE: u32 = u32::MAX;
/// No stream has this number.
const NO_STREAM: u32 = u32::MAX;
/// The server sends at most 64 KiB at once; the protocol's own limit is 16 MiB.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The witness of the sound server, and the listener to its sources.
#[must_use]
pub fn pulse() -> (Pulse, Recorder) {
    let stream = CurrentStream::default();
    (Pulse { stream: stream.clone(), link: None, connecting: None, failed: None }, Recorder { stream })
}

/// The server's number for one stream, or [`NO_STREAM`] until it is open.
type StreamNumber = Arc<AtomicU32>;

/// The stream that was requested last. Each stream writes its number to a place of its own. So a stream that opens
/// late, after a newer one was requested, never counts as the newer one.
#[derive(Debug, Clone, Default)]
struct CurrentStream(Arc<Mutex<Option<StreamNumber>>>);

impl CurrentStream {
    fn begin(&self) -> StreamNumber {
        let number = Arc::new(AtomicU32::new(NO_STREAM));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&number));
        number
    }

    fn number(&self) -> u32 {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map_or(NO_STREAM, |number| number.load(Ordering::Relaxed))
    }
}

/// The connection to the sound server for questions. After an error, it is made anew.
#[derive(Debug)]
pub struct Pulse {
    stream: CurrentStream,
    link: Option<Link>,
    /// A connection that is being made on its own thread, because connecting to a server that hangs may take any time.
    connecting: Option<Receiver<Result<Link, Unavailable>>>,
    failed: Option<(Instant, Unavailable)>,
}

#[derive(Debug)]
struct Link {
    socket: BufReader<UnixStream>,
    version: u16,
    seq: u32,
    names: Names,
}

/// The meaning of a server's numbers.
#[derive(Debug, Default)]
struct Names {
    /// The random number that the server has drawn at its start. Another server counts streams and programs from the
    /// beginning, so their numbers alone are not unique.
    server: Option<u32>,
    /// The id of each source.
    sources: HashMap<u32, String>,
}

impl Names {
    /// The recordings of other programs.
    fn others(&self, outputs: &[SourceOutputInfo]) -> Vec<OfOther> {
        outputs.iter().filter_map(|output| self.other(output)).collect()
    }

    /// The recording of another program. `None`: the stream belongs to the server itself or to an agent, or it only
    /// shows levels, as a mixer does.
    fn other(&self, output: &SourceOutputInfo) -> Option<OfOther> {
        let program = output.client_index?;
        let is = |prop: &CStr, value: &CStr| {
            output.props.get_bytes(prop).is_some_and(|found| text(found) == value.to_bytes())
        };
        let shows_levels = output.resample_method.as_deref() == Some(c"peaks") || is(c"resample.peaks", c"true");
        if shows_levels || is(c"application.name", OWN_NAME) {
            return None;
        }
        let server = u64::from(self.server.unwrap_or_default()) << 32;
        Some(OfOther {
            stream: server | u64::from(output.index),
            program: server | u64::from(program),
            input: self.sources.get(&output.source_index).cloned(),
            paused: output.corked,
        })
    }
}

/// A property without the zero at its end.
fn text(property: &[u8]) -> &[u8] {
    property.strip_suffix(&[0]).unwrap_or(property)
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
        let stream = self.stream.number();
        self.ask(|link| {
            let source = match link.source(name) {
                Err(ProtocolError::ServerError(PulseError::NoEntity)) => return Ok(None),
                answer => answer?,
            };
            let outputs = link.outputs()?;
            let stream = own_stream(outputs.iter().find(|output| output.index == stream), &source);
            let others = link.names.others(&outputs);
            let flag = flag_of_device(source.muted, source.cvolume.channels().iter().map(Volume::as_u32));
            Ok(Some(Look { flag, stream, suspended: source.state == SourceState::Suspended, others }))
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
        // After an error, an answer may belong to an earlier question.
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
                "; it may require a cookie: set PULSE_COOKIE"
            };
            Unavailable(format!("the sound server at {} does not answer: {error}{cookie}", path.display()))
        };
        let socket = UnixStream::connect(&path).map_err(|error| unavailable(&error))?;
        let bounded = socket.set_read_timeout(Some(ANSWER)).and_then(|()| socket.set_write_timeout(Some(ANSWER)));
        bounded.map_err(|error| unavailable(&error))?;
        let mut link =
            Self { socket: BufReader::new(socket), version: protocol::MAX_VERSION, seq: 0, names: Names::default() };
        link.greet().map_err(|error| unavailable(&error))?;
        Ok(link)
    }

    fn greet(&mut self) -> Result<(), ProtocolError> {
        let cookie = cookie_of(pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok()));
        let auth = AuthParams { version: protocol::MAX_VERSION, supports_shm: false, supports_memfd: false, cookie };
        let reply: AuthReply = self.ask(&Command::Auth(auth))?;
        self.version = reply.version.min(protocol::MAX_VERSION);
        let mut props = protocol::Props::new();
        props.set(Prop::ApplicationName, OWN_NAME);
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
            Err(ProtocolError::Invalid("the answer belongs to another question".to_owned()))
        }
    }

    /// Sends a command that is only acknowledged.
    fn tell(&mut self, command: &Command) -> Result<(), ProtocolError> {
        self.seq += 1;
        protocol::write_command_message(self.socket.get_mut(), self.seq, command, self.version)?;
        protocol::read_ack_message(&mut self.socket).map(drop)
    }

    fn is_pipewire(&mut self) -> Result<bool, ProtocolError> {
        let server: ServerInfo = self.ask(&Command::GetServerInfo)?;
        Ok(server.server_name.is_some_and(|name| name.to_string_lossy().contains("PipeWire")))
    }

    fn source(&mut self, name: &str) -> Result<SourceInfo, ProtocolError> {
        let name = CString::new(name).map_err(|_| ProtocolError::ServerError(PulseError::NoEntity))?;
        self.ask(&Command::GetSourceInfo(GetSourceInfo { index: None, name: Some(name) }))
    }

    /// All recording streams: the source, the mute and the volume of each, from one answer.
    fn outputs(&mut self) -> Result<Vec<SourceOutputInfo>, ProtocolError> {
        if self.names.server.is_none() {
            let server: ServerInfo = self.ask(&Command::GetServerInfo)?;
            self.names.server = Some(server.cookie);
        }
        let outputs: SourceOutputInfoList = self.ask(&Command::GetSourceOutputInfoList)?;
        let is_new = |output: &SourceOutputInfo| {
            output.source_index != NO_SOURCE && !self.names.sources.contains_key(&output.source_index)
        };
        if outputs.iter().any(is_new) {
            let sources: SourceInfoList = self.ask(&Command::GetSourceInfoList)?;
            self.names.sources = sources.iter().map(|source| (source.index, id_of(&source.name))).collect();
        }
        Ok(outputs)
    }
}

/// Listens to sources of the sound server.
#[derive(Debug)]
pub struct Recorder {
    stream: CurrentStream,
}

impl Ears for Recorder {
    fn listen(&self, id: &str) -> Listening {
        let (name, stream) = (name_of(id).to_owned(), self.stream.begin());
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

/// A recording stream on its own connection. Closing the connection ends the stream, whatever the server does.
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

/// How long after a stream was opened `WirePlumber` may restore the values of the program's last stream.
const RESTORED: Duration = Duration::from_millis(500);

/// Sets this program's new stream to full, once, if `WirePlumber` has restored other values: up to version 0.4.13 it
/// takes every `state.restore-props` of a client for true. PulseAudio needs no such thing, because a stream begins with
/// its own values there.
fn undo_restore(name: &str, index: u32) {
    let opened = Instant::now();
    let Ok(mut link) = Link::connect() else { return };
    while opened.elapsed() < RESTORED {
        let (Ok(source), Ok(outputs)) = (link.source(name), link.outputs()) else { return };
        let Some(output) = outputs.iter().find(|output| output.index == index) else { return };
        if own_stream(Some(output), &source) == OwnStream::Silenced {
            let volume = ChannelVolume::norm(output.sample_spec.channels);
            // Whatever the server answers, the next look says whether the stream is open now.
            let _ = link.tell(&Command::SetSourceOutputVolume(SetStreamVolumeParams { index, volume }));
            let _ = link.tell(&Command::SetSourceOutputMute(SetStreamMuteParams { index, mute: false }));
            return;
        }
        std::thread::sleep(RESTORED / 10);
    }
}

impl Recording {
    fn open(name: &str, stream: &AtomicU32) -> Result<(Self, Guard), Failure> {
        let mut link = Link::connect().map_err(|_| Failure::HostUnavailable)?;
        let source = link.source(name).map_err(failure)?;
        // The native rate and channels, because resampling could turn samples that are not zero into zeros.
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
        // 50 ms: half a block. The server's default is two seconds.
        params.buffer_attr.fragment_size = spec.sample_rate / 20 * frame_bytes;
        params.buffer_attr.max_length = u32::MAX;
        params.flags.adjust_latency = true;
        // The sound server applies the mute and the volume of a program's last stream, unless the new stream sets its
        // own. The volume is relative, because with flat volumes an absolute one would change the source's volume.
        params.flags.start_muted = Some(false);
        params.cvolume = Some(ChannelVolume::norm(spec.channels));
        params.flags.relative_volume = true;
        params.props.set(Prop::MediaName, c"measuring whether this microphone is muted");
        // WirePlumber's property for the same purpose: PipeWire restores the remembered values after a stream was made.
        params.props.set_bytes(c"state.restore-props", c"false".to_bytes_with_nul());
        let is_pipewire = link.is_pipewire().map_err(failure)?;
        let reply: CreateRecordStreamReply = link.ask(&Command::CreateRecordStream(params)).map_err(failure)?;
        stream.store(reply.stream_index, Ordering::Relaxed);
        if is_pipewire {
            let (name, index) = (name.to_owned(), reply.stream_index);
            std::thread::spawn(move || undo_restore(&name, index));
        }
        // A sleeping source may send nothing for any length of time.
        link.socket.get_ref().set_read_timeout(None).map_err(|_| Failure::HostUnavailable)?;
        let guard = link.socket.get_ref().try_clone().map_err(|_| Failure::HostUnavailable)?;
        Ok((Self { link, channel: reply.channel, spec: reply.sample_spec }, Box::new(Shutdown(guard))))
    }

    /// Reads until the stream ends, and returns the reason.
    fn run(mut self, shared: &Shared) -> Failure {
        let mut meter = Meter::new(self.spec.sample_rate, self.spec.channels.into());
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let Ok(head) = protocol::read_descriptor(&mut self.link.socket) else {
                return Failure::HostUnavailable;
            };
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

/// Measures a message of samples. Only the classes of blocks leave this function.
fn measure(format: SampleFormat, bytes: &[u8], meter: &mut Meter, shared: &Shared) {
    let said = |class| shared.blocks.write(class);
    if format == SampleFormat::S16Le {
        let samples = bytes.as_chunks().0.iter().map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32768.0);
        meter.push(samples, said);
    } else {
        meter.push(bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)), said);
    }
}

/// Bytes of a cookie in PulseAudio's protocol.
const COOKIE_BYTES: usize = 256;

/// This computer's cookie, or one of zeros. A server that identifies the user by the socket accepts any cookie. But
/// PipeWire refuses a cookie of another length, and only PulseAudio's own library ever writes the file.
fn cookie_of(file: Option<Vec<u8>>) -> Vec<u8> {
    file.filter(|cookie| cookie.len() == COOKIE_BYTES).unwrap_or_else(|| vec![0; COOKIE_BYTES])
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

fn id_of(name: &CStr) -> String {
    format!("{HOST}:{}", name.to_string_lossy())
}

fn name_of(id: &str) -> &str {
    id.strip_prefix(HOST).and_then(|rest| rest.strip_prefix(':')).unwrap_or(id)
}

fn input(source: &SourceInfo, default: Option<&CStr>) -> Input {
    Input {
        id: id_of(&source.name),
        label: source.description.as_deref().unwrap_or(&source.name).to_string_lossy().into_owned(),
        default: default == Some(source.name.as_c_str()),
        monitor: source.monitor_of_sink_index.is_some(),
    }
}

/// The state of a stream that was opened on this source and has the source's channels.
fn own_stream(output: Option<&SourceOutputInfo>, source: &SourceInfo) -> OwnStream {
    let Some(output) = output else { return OwnStream::Absent };
    if output.source_index != source.index {
        return OwnStream::Moved;
    }
    // With flat volumes, a stream's volume is absolute, and the source's own volume is full. Otherwise it is relative
    // to the source's volume, and 100 % is full.
    let is_flat = source.flags.contains(SourceFlags::FLAT_VOLUME);
    let full = |channel: usize| match source.cvolume.channels().get(channel) {
        Some(volume) if is_flat => volume.as_u32(),
        _ => Volume::NORM.as_u32(),
    };
    let volumes = if output.has_volume { output.cvolume.channels() } else { &[] };
    let levels = volumes.iter().enumerate().map(|(at, volume)| Level { volume: volume.as_u32(), full: full(at) });
    if stream_is_open(output.muted, levels) { OwnStream::Open } else { OwnStream::Silenced }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_always_has_256_bytes() {
        let own = vec![7; COOKIE_BYTES];
        assert_eq!(cookie_of(Some(own.clone())), own);
        for file in [None, Some(Vec::new()), Some(vec![7; 16])] {
            assert_eq!(cookie_of(file), vec![0; COOKIE_BYTES]);
        }
    }

    fn volumes(percents: &[u32]) -> ChannelVolume {
        let mut volume = ChannelVolume::empty();
        for percent in percents {
            volume.push(Volume::from_u32_clamped(Volume::NORM.as_u32() * percent / 100));
        }
        volume
    }

    fn source(percents: &[u32], flags: SourceFlags) -> SourceInfo {
        SourceInfo { index: 7, cvolume: volumes(percents), flags, ..SourceInfo::default() }
    }

    fn output(percents: &[u32]) -> SourceOutputInfo {
        SourceOutputInfo {
            source_index: 7,
            cvolume: volumes(percents),
            has_volume: true,
            ..SourceOutputInfo::default()
        }
    }

    #[test]
    fn a_stream_that_opens_late_never_counts_as_the_newer_one() {
        let current = CurrentStream::default();
        let (late, newer) = (current.begin(), current.begin());
        assert_eq!(current.number(), NO_STREAM);
        newer.store(2, Ordering::Relaxed);
        late.store(1, Ordering::Relaxed);
        assert_eq!(current.number(), 2);
    }

    #[test]
    fn a_streams_volume_is_relative_to_the_sources_volume() {
        let source = source(&[60, 60], SourceFlags::empty());
        assert_eq!(own_stream(Some(&output(&[100, 100])), &source), OwnStream::Open);
        assert_eq!(own_stream(Some(&output(&[60, 60])), &source), OwnStream::Silenced);
        assert_eq!(own_stream(Some(&output(&[100, 1])), &source), OwnStream::Silenced);
        assert_eq!(own_stream(Some(&output(&[0, 0])), &source), OwnStream::Silenced);
    }

    #[test]
    fn with_flat_volumes_a_streams_volume_is_absolute() {
        let source = source(&[60, 30], SourceFlags::FLAT_VOLUME);
        assert_eq!(own_stream(Some(&output(&[60, 30])), &source), OwnStream::Open);
        assert_eq!(own_stream(Some(&output(&[100, 100])), &source), OwnStream::Open);
        assert_eq!(own_stream(Some(&output(&[59, 30])), &source), OwnStream::Silenced);
        assert_eq!(own_stream(Some(&output(&[60, 1])), &source), OwnStream::Silenced);
    }

    #[test]
    fn a_mute_counts_even_without_a_volume() {
        let source = source(&[100], SourceFlags::empty());
        let of = |muted| SourceOutputInfo { muted, has_volume: false, ..output(&[0]) };
        assert_eq!(own_stream(Some(&of(false)), &source), OwnStream::Open);
        assert_eq!(own_stream(Some(&of(true)), &source), OwnStream::Silenced);
    }

    #[test]
    fn only_programs_that_record_samples_count_as_others() {
        let names = Names { server: Some(1), sources: HashMap::from([(7, "pulseaudio:desk".to_owned())]) };
        let of_program = || SourceOutputInfo { index: 3, client_index: Some(5), ..output(&[100]) };
        let other = names.other(&of_program()).unwrap();
        assert_eq!((other.input.as_deref(), other.paused), (Some("pulseaudio:desk"), false));
        assert!(names.other(&SourceOutputInfo { corked: true, ..of_program() }).unwrap().paused);
        assert_eq!(names.other(&SourceOutputInfo { client_index: None, ..of_program() }), None, "a server module");
        let shows_levels = SourceOutputInfo { resample_method: Some(c"peaks".into()), ..of_program() };
        assert_eq!(names.other(&shows_levels), None, "a mixer that shows levels");
        let unattached = SourceOutputInfo { source_index: NO_SOURCE, ..of_program() };
        assert_eq!(names.other(&unattached).unwrap().input, None);
        let mut own = of_program();
        own.props.set(Prop::ApplicationName, OWN_NAME);
        assert_eq!(names.other(&own), None, "an agent");
    }

    #[test]
    fn two_servers_never_give_the_same_number() {
        let of = |server| Names { server: Some(server), sources: HashMap::from([(7, "pulseaudio:desk".to_owned())]) };
        let output = SourceOutputInfo { index: 3, client_index: Some(5), ..output(&[100]) };
        let numbers = |server| of(server).other(&output).map(|other| (other.stream, other.program)).unwrap();
        assert_ne!(numbers(1).0, numbers(2).0);
        assert_ne!(numbers(1).1, numbers(2).1);
    }

    #[test]
    fn a_moved_stream_is_moved_even_if_it_is_muted_and_a_missing_stream_is_absent() {
        let source = source(&[100], SourceFlags::empty());
        let moved = SourceOutputInfo { source_index: 8, muted: true, ..output(&[100]) };
        assert_eq!(own_stream(Some(&moved), &source), OwnStream::Moved);
        assert_eq!(own_stream(None, &source), OwnStream::Absent);
    }
}
