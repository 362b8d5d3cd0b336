//! Listens to a microphone. Samples stay in the audio callback; only the class of each block leaves it.
//!
//! It uses cpal, except with a sound server on Linux, where [`crate::linux`] listens.

use crate::layers::is_alsa_card;
use crate::measure::{Blocks, Class, Meter};
use crate::witness::Input;
use cpal::traits::{DeviceTrait as _, HostTrait as _, StreamTrait as _};
use cpal::{BufferSize, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A stream without a callback for this long counts as dead; callbacks come every 50 ms.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);
/// Time limit for a stream to begin: a source that wakes up takes up to two seconds. A source that is kept asleep never
/// begins, and reports no error.
const BEGIN: Duration = Duration::from_secs(3);

/// Why listening failed, sorted by the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The system does not let this program listen.
    #[error("the system does not let this program use the microphone")]
    Denied,
    /// Another program holds the device.
    #[error("another program holds the microphone")]
    Busy,
    /// The device does not exist any more.
    #[error("the microphone is gone")]
    Missing,
    /// The sound system does not answer.
    #[error("the sound system does not answer")]
    HostUnavailable,
    /// Anything else.
    #[error("the microphone cannot be opened")]
    Other,
}

impl From<cpal::Error> for Failure {
    fn from(error: cpal::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => Self::Denied,
            ErrorKind::DeviceBusy => Self::Busy,
            ErrorKind::DeviceNotAvailable => Self::Missing,
            ErrorKind::HostUnavailable | ErrorKind::StreamInvalidated => Self::HostUnavailable,
            _ => Self::Other,
        }
    }
}

/// A host of cpal. The connection is kept and reused, because on some systems a connection is expensive.
#[derive(Clone)]
pub struct Host {
    id: cpal::HostId,
    connected: Arc<Mutex<Option<Arc<cpal::Host>>>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Host").field(&self.id).finish()
    }
}

impl Host {
    /// The host with this name, as in `--host`. `None`: this program has no such host.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(Self { id: name.parse().ok()?, connected: Arc::default() })
    }

    /// The names of all hosts.
    pub fn names() -> impl Iterator<Item = String> {
        cpal::ALL_HOSTS.iter().map(ToString::to_string)
    }

    fn connect(&self) -> Result<Arc<cpal::Host>, Failure> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*connected {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(cpal::host_from_id(self.id)?);
        Ok(Arc::clone(connected.insert(host)))
    }

    /// All inputs. Of ALSA's list, only the cards themselves count as inputs.
    ///
    /// # Errors
    /// The host does not answer.
    pub fn inputs(&self) -> Result<Vec<Input>, Failure> {
        let host = self.connect()?;
        let default = host.default_input_device().and_then(|device| device.id().ok());
        let mut inputs = Vec::new();
        for device in host.input_devices()? {
            let (Ok(id), Ok(description)) = (device.id(), device.description()) else { continue };
            if is_device(&id) {
                let label = description.name().to_owned();
                inputs.push(Input {
                    label,
                    default: Some(&id) == default.as_ref(),
                    monitor: false,
                    id: id.to_string(),
                });
            }
        }
        Ok(inputs)
    }

    fn open(&self, id: &str, shared: &Arc<Shared>) -> Result<cpal::Stream, Failure> {
        let mut devices = self.connect()?.input_devices()?;
        let device = devices.find(|device| device.id().is_ok_and(|found| found.to_string() == id && is_device(&found)));
        let device = device.ok_or(Failure::Missing)?;
        // The native rate and channels, because resampling could turn samples that are not zero into zeros.
        let native = device.default_input_config()?;
        let config = StreamConfig {
            channels: native.channels(),
            sample_rate: native.sample_rate(),
            // 50 ms: half a block. A shorter buffer would wake the processor more often.
            buffer_size: BufferSize::Fixed(native.sample_rate() / 20),
        };
        match native.sample_format() {
            SampleFormat::I16 => stream::<i16>(&device, config, shared),
            // All other formats convert to f32 without loss.
            _ => stream::<f32>(&device, config, shared),
        }
    }
}

impl Ears for Host {
    fn listen(&self, id: &str) -> Listening {
        let (host, id) = (self.clone(), id.to_owned());
        Listening::begin(move |shared, opened| {
            let outcome = host.open(&id, shared).map(Arc::new);
            let stream = outcome.clone().ok();
            // If the receiver is gone, the stream ends here.
            if opened.send(outcome.map(|stream| Box::new(Closing(Some(stream))) as Guard)).is_err() {
                return;
            }
            if let Some(Err(error)) = stream.map(|stream| stream.play()) {
                shared.fail(error.into());
            }
        })
    }

    fn forget(&self) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Closes a stream on a thread of its own, because the host may hang during the close.
struct Closing(Option<Arc<cpal::Stream>>);

impl Drop for Closing {
    fn drop(&mut self) {
        let stream = self.0.take();
        std::thread::spawn(move || drop(stream));
    }
}

fn is_device(id: &cpal::DeviceId) -> bool {
    id.host().to_string() != "alsa" || is_alsa_card(id.id())
}

fn stream<T>(device: &cpal::Device, config: StreamConfig, shared: &Arc<Shared>) -> Result<cpal::Stream, Failure>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let mut meter = Meter::new(config.sample_rate, config.channels);
    let (ears, errors) = (Arc::clone(shared), Arc::clone(shared));
    let on_data = move |samples: &[T], _: &cpal::InputCallbackInfo| {
        ears.blocks.count_callback();
        meter.push(samples.iter().map(|sample| f32::from_sample_(*sample)), |class| ears.blocks.write(class));
    };
    let on_error = move |error: cpal::Error| match error.kind() {
        // The stream continues after these errors.
        ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
        _ => errors.fail(error.into()),
    };
    Ok(device.build_input_stream(config, on_data, on_error, Some(BEGIN))?)
}

/// The data that the callbacks write and [`Listening`] reads.
#[derive(Debug, Default)]
pub struct Shared {
    /// The classes of the blocks.
    pub blocks: Blocks,
    failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Shared {
    /// Ends the stream with an error. It waits for a lock, so the data callback must not call it.
    pub fn fail(&self, failure: Failure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        self.failed.store(true, Ordering::Release);
    }
}

/// A listener to inputs.
pub trait Ears {
    /// Starts to listen to the input with this id.
    fn listen(&self, id: &str) -> Listening;

    /// Drops a broken connection.
    fn forget(&self) {}
}

/// A value that ends a stream when it is dropped.
pub type Guard = Box<dyn std::any::Any + Send>;

/// A stream that is being opened or is open. Dropping it ends it.
pub struct Listening {
    shared: Arc<Shared>,
    opening: Receiver<Result<Guard, Failure>>,
    guard: Option<Guard>,
    began: Instant,
    callbacks: u64,
    heard: Option<Instant>,
    seen: u64,
}

/// The state of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has not begun yet.
    Opening,
    /// Callbacks come.
    Alive,
    /// It is open, but no callbacks come.
    Silent,
    /// It has ended.
    Failed(Failure),
}

impl Listening {
    /// Opens a stream on a thread of its own, because opening may take any length of time.
    #[must_use]
    pub fn begin(open: impl FnOnce(&Arc<Shared>, &Sender<Result<Guard, Failure>>) + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let (opened, opening) = channel();
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || open(&for_thread, &opened));
        Self { shared, opening, guard: None, began: Instant::now(), callbacks: 0, heard: None, seen: 0 }
    }

    /// Passes the new blocks to `take`. Returns whether no block was lost.
    pub fn read(&mut self, take: impl FnMut(Class)) -> bool {
        self.shared.blocks.read(&mut self.seen, take)
    }

    /// The current state of the stream.
    pub fn life(&mut self, now: Instant) -> Life {
        if self.guard.is_none() {
            match self.opening.try_recv() {
                Ok(Ok(guard)) => self.guard = Some(guard),
                Ok(Err(failure)) => return Life::Failed(failure),
                Err(TryRecvError::Disconnected) => return Life::Failed(Failure::Other),
                Err(TryRecvError::Empty) => {}
            }
        }
        if self.shared.failed.load(Ordering::Acquire) {
            let failure = *self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            return Life::Failed(failure.unwrap_or(Failure::Other));
        }
        let callbacks = self.shared.blocks.callbacks();
        if callbacks != self.callbacks {
            self.callbacks = callbacks;
            self.heard = Some(now);
        }
        match self.heard {
            Some(heard) if now.saturating_duration_since(heard) < SIGN_OF_LIFE => Life::Alive,
            None if now.saturating_duration_since(self.began) < BEGIN => Life::Opening,
            _ => Life::Silent,
        }
    }
}
