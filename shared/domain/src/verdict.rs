//! What Greenroom says about a claim after comparing it with what was measured.

use crate::Timestamp;
use serde::Serialize;

/// The outcome of comparing a claim with the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Nothing independent has been measured, or not enough to say.
    Unverified,
}

/// Who vouches for the evidence. An agent runs on the participant's own machine, and every verdict says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Assurance {
    /// Measured, if at all, by software on the participant's machine.
    #[serde(rename = "self-hosted")]
    SelfHosted,
}

/// One verdict, with its reason and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The outcome.
    pub value: Value,
    /// Stable reason code, for example `no_agent`.
    pub reason: &'static str,
    /// When the evidence was measured; absent without evidence.
    pub observed_at: Option<Timestamp>,
    /// When the verdict turns stale by itself; absent without evidence.
    pub expires_at: Option<Timestamp>,
    /// Who vouches for the evidence.
    pub assurance: Assurance,
}

/// The two verdicts of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Is the microphone as muted as claimed?
    pub mute: Verdict,
    /// Is the claimed device the one in use?
    pub device: Verdict,
}

impl Verdicts {
    /// Nobody has measured this person's microphone: a claim stands alone, and is never shown as more.
    #[must_use]
    pub const fn without_agent() -> Self {
        const NO_AGENT: Verdict = Verdict {
            value: Value::Unverified,
            reason: "no_agent",
            observed_at: None,
            expires_at: None,
            assurance: Assurance::SelfHosted,
        };
        Self { mute: NO_AGENT, device: NO_AGENT }
    }
}
