//! Systems that only cpal observes: macOS, Windows, and ALSA without a sound server. Their mute flag is always
//! `unknown`.
//!
//! The capture switch and volume of an ALSA card belong to the device: if they silence it, it is silent for every
//! program, and its zeros verify a mute after they have lasted. The switch is not read as a flag, because a flag would
//! also verify noise: a card has several capture elements, ALSA does not say which of them an input uses, and a wrong
//! `muted` would give a false verdict.

use crate::capture::Host;
use crate::witness::{Input, Look, OwnStream, Unavailable, Witness};
use domain::Flag;

/// A sound system that only cpal observes.
#[derive(Debug)]
pub struct Plain {
    host: Host,
    inputs: Vec<Input>,
}

impl Plain {
    /// Observes the inputs of this host.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host, inputs: Vec::new() }
    }
}

impl Witness for Plain {
    fn inputs(&mut self, fresh: bool) -> Result<Vec<Input>, Unavailable> {
        if fresh || self.inputs.is_empty() {
            self.inputs = self.host.inputs().map_err(|failure| Unavailable(failure.to_string()))?;
        }
        Ok(self.inputs.clone())
    }

    fn look(&mut self, id: &str) -> Result<Option<Look>, Unavailable> {
        // Without a sound server, a stream cannot be moved and has no mute or volume of its own. If the device is
        // unplugged, the stream ends with an error.
        let look = Look { flag: Flag::Unknown, stream: OwnStream::Open, suspended: false, others: Vec::new() };
        Ok(self.inputs(false)?.iter().any(|input| input.id == id).then_some(look))
    }
}
