//! Builds `docs/verdicts.md` by evaluating the verdict function, so that the tables cannot differ from it.

use domain::user::{MuteScope, Version};
use domain::verdict::{Claimed, MinEvidence, Policy, Value, Verdict, Verdicts, Witness};
use domain::{Binding, Condition, Evidence, Flag, Route, Signal, Timestamp};
use std::fmt::Write as _;
use std::time::Duration;

const CLAIMED_AT: Timestamp = Timestamp::from_ms(1_795_257_125_000);
const VERSION: Version = 5;
/// A time long before the claim.
const SILENT_SINCE: Timestamp = Timestamp::from_ms(CLAIMED_AT.ms() - 60_000);

/// A question to the verdict function. Its default is a muted microphone that is silent and flagged as muted.
struct Question {
    is_muted: bool,
    mute_scope: MuteScope,
    evidence: Evidence,
    binding: Binding,
    later: Duration,
}

impl Question {
    fn new() -> Self {
        Self {
            is_muted: true,
            mute_scope: MuteScope::App,
            evidence: Evidence {
                version: VERSION,
                observed_at: CLAIMED_AT,
                condition: Condition::Measured,
                flag: Flag::Muted,
                signal: Signal::DigitalZero,
                route: Route::Direct,
                device: None,
                silent_since: Some(SILENT_SINCE),
            },
            binding: Binding::Same,
            later: Duration::ZERO,
        }
    }

    fn ask(&self, min_evidence: MinEvidence) -> Verdicts {
        let claimed =
            Claimed { is_muted: self.is_muted, mute_scope: self.mute_scope, at: CLAIMED_AT, version: VERSION };
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

/// The verdict under the strictest policy, and the changes under laxer policies.
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
    let heard = [
        ("`signal`", Signal::Signal, None),
        ("`floor` for 3 s or longer", Signal::Floor, Some(SILENT_SINCE)),
        ("`floor` for less than 3 s", Signal::Floor, Some(CLAIMED_AT)),
        ("`digital_zero` for 3 s or longer", Signal::DigitalZero, Some(SILENT_SINCE)),
        ("`digital_zero` for less than 3 s", Signal::DigitalZero, Some(CLAIMED_AT)),
        ("`not_opened`", Signal::NotOpened, None),
    ];
    for (name, signal, silent_since) in heard {
        let row = |mute_scope: MuteScope| {
            let cells = Flag::ALL.iter().map(|&flag| {
                let mut question = Question { is_muted, mute_scope, ..Question::new() };
                (question.evidence.flag, question.evidence.signal) = (flag, signal);
                question.evidence.silent_since = silent_since;
                cell(&question)
            });
            cells.collect::<Vec<_>>().join(" | ")
        };
        // Scopes with the same verdicts share a row.
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
            let _ = writeln!(page, "| {name} | {scope} | {cells} |");
        }
    }
}

fn obstacles(page: &mut String) {
    let with = |change: fn(&mut Question)| {
        let mut question = Question::new();
        change(&mut question);
        question.ask(MinEvidence::DigitalZero)
    };
    let claimed = Claimed { is_muted: true, mute_scope: MuteScope::App, at: CLAIMED_AT, version: VERSION };
    let without =
        |witness| Verdicts::of(claimed, witness, Binding::Unbound, Policy::new(MinEvidence::DigitalZero), CLAIMED_AT);
    let rows = [
        ("no agent is attached", without(Witness::Nobody)),
        ("the agent was revoked", without(Witness::Revoked)),
        ("the agent has not attested yet", without(Witness::Paired)),
        ("its last attestation is older than 25 s", with(|question| question.later = Duration::from_millis(25_001))),
        ("the agent may not listen", with(|question| question.evidence.condition = Condition::PermissionDenied)),
        ("the sound server does not answer", with(|question| question.evidence.condition = Condition::HostUnavailable)),
        ("another program holds the device", with(|question| question.evidence.condition = Condition::DeviceBusy)),
        ("the device delivers nothing", with(|question| question.evidence.condition = Condition::NoData)),
        (
            "the measurement was made under another version of the claim",
            with(|question| question.evidence.version = VERSION - 1),
        ),
        (
            "the window ended more than 2 s before the claim",
            with(|question| question.evidence.observed_at = Timestamp::from_ms(CLAIMED_AT.ms() - 2001)),
        ),
        ("the claim names an alias, `default` or `communications`", with(|question| question.binding = Binding::Alias)),
        ("nothing binds the claimed device to the measured one", with(|question| question.binding = Binding::Unbound)),
        ("two inputs have the label of the claimed device", with(|question| question.binding = Binding::Ambiguous)),
        ("the claimed device is bound to another one", with(|question| question.binding = Binding::Other)),
        ("the claimed device is gone", with(|question| question.evidence.condition = Condition::DeviceMissing)),
        ("the system moved a stream to another device", with(|question| question.evidence.route = Route::Moved)),
        (
            "the agent's own stream is muted or turned down in the mixer",
            with(|question| question.evidence.route = Route::Silenced),
        ),
    ];
    page.push_str("| If | then both verdicts are |\n|---|---|\n");
    for (condition, verdicts) in rows {
        debug_assert_eq!(verdicts.mute, verdicts.device);
        let _ = writeln!(page, "| {condition} | {} |", words(&verdicts.mute));
    }
}

/// The text of `docs/verdicts.md`.
#[must_use]
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated by `cargo xtask docs` from shared/domain/src/verdict.rs. -->\n# Verdicts\n\n\
         A verdict is computed by one pure function of the claim, the last attestation, the binding of the two devices, the\n\
         policy and the time. It is computed at every read, so a verdict expires by itself.\n\
         [attestation.md](attestation.md) explains the terms of an attestation.\n\n\
         A verdict says no more than its evidence. A contradiction is strong. A verification is bounded and expires. Exact zeros\n\
         mean that nothing can leave the device while they last; a silent room also gives a quiet floor. A signature proves which\n\
         key attested, not that the content is true: the agent runs on the participant's own computer, and every verdict says\n\
         `self-hosted`. A person without an agent is `unverified`, and that is no penalty.\n\n\
         ## First: obstacles\n\nThe first row that applies decides both verdicts.\n\n",
    );
    obstacles(&mut page);
    page.push_str(
        "\nAn attestation names the version of the claim under which it was measured, and it can verify only that claim. An\n\
         attestation of another version can only contradict a mute, as the tables below say: by sound or an open flag that was\n\
         measured on the device claimed now, 2 s or longer after the claim.\n\n## The beginning of silence\n\n\
         A noise gate gives exact zeros between two sentences, as a muted device does. So silence without the system's mute flag\n\
         verifies a mute only after it has lasted 3 s without a break; until then the verdict is unverified `recent_signal`. The\n\
         verdict says since when the device has been silent (`since`). A gated microphone whose owner is quiet for longer is\n\
         verified too. That is correct: nothing leaves it while the zeros last, and sound ends the verdict within half a second.\n\
         `since` distinguishes it from a microphone that has been muted for an hour.\n",
    );
    page.push_str(
        "\n## Then: a person who claims to be muted\n\nThe mute verdict under `MIN_EVIDENCE=digital_zero`, the default, and the changes under `flag` and `floor`.\n\n",
    );
    matrix(&mut page, true);
    page.push_str("\n## Then: a person who claims to be open\n\n");
    matrix(&mut page, false);
    let mut unopened = Question::new();
    unopened.evidence.signal = Signal::NotOpened;
    let [opened, unopened] =
        [Question::new(), unopened].map(|question| words(&question.ask(MinEvidence::DigitalZero).device));
    let _ = write!(
        page,
        "\n## The device\n\nThe verdict on the device is {opened} if the agent opened the claimed device;\notherwise it is {unopened}.\n"
    );
    page
}
