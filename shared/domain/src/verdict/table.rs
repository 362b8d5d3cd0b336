//! The verdict function as tables, for `docs/verdicts.md`: asked, not retold.

use super::{Claimed, MinEvidence, Policy, Value, Verdict, Verdicts, Witness};
use crate::{Binding, Condition, DeviceId, Evidence, Flag, MuteScope, Route, Signal, Timestamp};
use std::fmt::Write as _;
use std::time::Duration;

const CLAIMED_AT: Timestamp = Timestamp::from_ms(1_795_257_125_000);

/// What is asked about: a muted microphone, silent and flagged, unless changed.
struct Question {
    is_muted: bool,
    mute_scope: MuteScope,
    device_id: Option<DeviceId>,
    evidence: Evidence,
    binding: Binding,
    later: Duration,
}

impl Question {
    fn new() -> Self {
        Self {
            is_muted: true,
            mute_scope: MuteScope::App,
            device_id: DeviceId::try_from("microphone".to_owned()).ok(),
            evidence: Evidence {
                observed_at: CLAIMED_AT,
                condition: Condition::Measured,
                flag: Flag::Muted,
                signal: Signal::DigitalZero,
                route: Route::Direct,
                device: None,
            },
            binding: Binding::Same,
            later: Duration::ZERO,
        }
    }

    fn ask(&self, min_evidence: MinEvidence) -> Verdicts {
        let claimed = Claimed {
            is_muted: self.is_muted,
            mute_scope: self.mute_scope,
            device_id: self.device_id.as_ref(),
            at: CLAIMED_AT,
        };
        let now = self.evidence.observed_at.plus(self.later);
        Verdicts::of(claimed, Witness::Attested(&self.evidence), self.binding, Policy::new(min_evidence), now)
    }
}

fn words(verdict: &Verdict) -> String {
    format!(
        "{} `{}`",
        if verdict.value == Value::Verified { "**verified**" } else { verdict.value.as_str() },
        verdict.reason
    )
}

/// The strictest policy's answer, and what a laxer one changes.
fn cell(question: &Question) -> String {
    let mut said = question.ask(MinEvidence::DigitalZero).mute;
    let mut cell = words(&said);
    for weakest in [MinEvidence::Flag, MinEvidence::Floor] {
        let laxer = question.ask(weakest).mute;
        if laxer != said {
            let _ = write!(cell, "; from `{weakest}` on {}", words(&laxer));
            said = laxer;
        }
    }
    cell
}

fn matrix(page: &mut String, is_muted: bool) {
    let scopes: &[MuteScope] =
        if is_muted { &[MuteScope::App, MuteScope::Os, MuteScope::Device] } else { &[MuteScope::App] };
    page.push_str(
        "| signal | scope of the claim | flag `muted` | flag `unmuted` | flag `unknown` |\n|---|---|---|---|---|\n",
    );
    for &signal in Signal::ALL.iter().rev() {
        let row = |mute_scope: MuteScope| {
            let cells = Flag::ALL.iter().map(|&flag| {
                let mut question = Question { is_muted, mute_scope, ..Question::new() };
                question.evidence.flag = flag;
                question.evidence.signal = signal;
                cell(&question)
            });
            cells.collect::<Vec<_>>().join(" | ")
        };
        // Scopes that make no difference share a row.
        let mut rows: Vec<(Vec<&str>, String)> = Vec::new();
        for &scope in scopes {
            let cells = row(scope);
            match rows.iter_mut().find(|(_, known)| *known == cells) {
                Some((names, _)) => names.push(scope.as_str()),
                None => rows.push((vec![scope.as_str()], cells)),
            }
        }
        for (names, cells) in &rows {
            let scope = if rows.len() == 1 { "any".to_owned() } else { names.join(", ") };
            let _ = writeln!(page, "| `{signal}` | {scope} | {cells} |");
        }
    }
}

fn obstacles(page: &mut String) {
    let with = |change: fn(&mut Question)| {
        let mut question = Question::new();
        change(&mut question);
        question.ask(MinEvidence::DigitalZero)
    };
    let claimed = Claimed { is_muted: true, mute_scope: MuteScope::App, device_id: None, at: CLAIMED_AT };
    let without =
        |witness| Verdicts::of(claimed, witness, Binding::Unbound, Policy::new(MinEvidence::DigitalZero), CLAIMED_AT);
    let rows = [
        ("no agent was ever paired", without(Witness::Nobody)),
        ("the agent was revoked", without(Witness::Revoked)),
        ("it is paired and has not attested yet", without(Witness::Paired)),
        ("its last attestation is older than 25 s", with(|question| question.later = Duration::from_millis(25_001))),
        ("it may not listen", with(|question| question.evidence.condition = Condition::PermissionDenied)),
        ("the sound server is away", with(|question| question.evidence.condition = Condition::HostUnavailable)),
        ("another program holds the device", with(|question| question.evidence.condition = Condition::DeviceBusy)),
        ("the device delivers nothing", with(|question| question.evidence.condition = Condition::NoData)),
        (
            "the window ended more than 2 s before the claim",
            with(|question| question.evidence.observed_at = Timestamp::from_ms(CLAIMED_AT.ms() - 2001)),
        ),
        ("the claimed device is gone", with(|question| question.evidence.condition = Condition::DeviceMissing)),
        ("the claimed device is bound to another one", with(|question| question.binding = Binding::Other)),
        ("the stream was moved to another device", with(|question| question.evidence.route = Route::Moved)),
        ("nothing binds the claimed device to the measured one", with(|question| question.binding = Binding::Unbound)),
        ("two inputs have its label", with(|question| question.binding = Binding::Ambiguous)),
    ];
    page.push_str("| If | then both verdicts are |\n|---|---|\n");
    for (condition, verdicts) in rows {
        debug_assert_eq!(verdicts.mute, verdicts.device);
        let _ = writeln!(page, "| {condition} | {} |", words(&verdicts.mute));
    }
}

/// `docs/verdicts.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated by `cargo xtask docs` from shared/domain/src/verdict.rs. -->\n# Verdicts\n\n\
         What Greenroom says about a claim, and why. One pure function of the claim, the last attestation, the binding of the two\n\
         devices, the policy and the time; asked at every read, so a verdict expires by itself. [attestation.md](attestation.md) says what\n\
         the words of an attestation mean.\n\n\
         A verdict says no more than its evidence. A contradiction is strong. A verification is bounded and expires. Exact zeros mean that\n\
         nothing can leave the device while they last; a quiet floor is also what a silent room gives. A signature says which key attested,\n\
         not that it is true: the agent runs on the participant's own machine, and every verdict says `self-hosted`. No agent means\n\
         `unverified`, never a penalty.\n\n## First, what stands in the way\n\nThe first row that holds.\n\n",
    );
    obstacles(&mut page);
    page.push_str(
        "\n## Then, for somebody who claims to be muted\n\nThe mute verdict under `MIN_EVIDENCE=digital_zero`, the default, and what `flag` and `floor` change.\n\n",
    );
    matrix(&mut page, true);
    page.push_str("\n## And for somebody who claims to be open\n\n");
    matrix(&mut page, false);
    let mut unopened = Question::new();
    unopened.evidence.signal = Signal::NotOpened;
    let [opened, unopened] =
        [Question::new(), unopened].map(|question| words(&question.ask(MinEvidence::DigitalZero).device));
    let _ = write!(
        page,
        "\n## The device\n\nIs the claimed device the one that is measured? If the agent opened it: {opened}. If it did not: {unopened}.\n"
    );
    page
}
