//! Systems of which only cpal is asked: macOS, Windows, and ALSA without a sound server. Their mute flag is honestly unknown.
//!
//! The capture switch and volume of an ALSA card are the device's own: what they silence is silent for every program, and its zeros verify
//! a mute when they have lasted. The flag would verify noise too, and it is not read: a card has several capture elements, ALSA does not say
//! which of them an input goes through, and a wrong `muted` would be a false verdict.

use crate::capture::Host;
use crate::witness::{Input, Look, OwnStream, Unavailable, Witness};
use domain::Flag;

/// A sound system seen by cpal alone.
#[derive(Debug)]
pub struct Plain {
    host: Host,
    inputs: Vec<Input>,
}

impl Plain {
    /// Inputs of this host.
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
        // Without a sound server nobody moves a stream, and it has neither mute nor volume of its own; a device that is pulled ends it
        // with an error.
        let look = Look { flag: Flag::Unknown, stream: OwnStream::Open, suspended: false };
        Ok(self.inputs(false)?.iter().any(|input| input.id == id).then_some(look))
    }
}
