//! Builds `docs/endpoints.md`: all functions on one page.

use functions::DECLARED;
use functions::function::{Budget, Callers, Declared, FunctionKind, Trigger, route_key};
use std::fmt::Write as _;

const INTRODUCTION: &str = "<!-- Written by `cargo xtask docs` from the declarations in functions/src. -->
# Functions

Each function is a file of its own. [openapi.json](openapi.json) is the exact contract of the endpoints.

* *Callers*, in strict mode: **anybody**; **visitor**, who is anybody, but the token of somebody in the room shows more;
  **oneself**, the participant whose own things these are; **member**, who is in the room; **presenter** of the room;
  **administrator**, who is nobody yet; **self-proving**, whose body is signed or holds a code. In open mode, a call
  without a token may do all of that, except in rooms that somebody created.
* *Throttle*: the class whose rate and burst in `template.yaml` bound the routes.
* *Limit*: the class of calls in which a caller may make so many in 15 minutes; [limits.md](limits.md).
* *Calls, reads, writes*: what one call may use of DynamoDB at most, in requests and in request units. A limit's write
  is among them.
* A refusal is a problem document (RFC 9457) with a stable `code`.
* `If-Match: \"<version>\"` on a write makes it fail with 412 when the state has another version.
* `If-None-Match` on a read answers 304 when nothing has changed.
* `Idempotency-Key` on a request that creates something lets it take effect once; [idempotency.md](idempotency.md).
* `seq` in a body numbers a client's changes, so that a late change never overwrites a newer one.
";

/// The purpose of a function: the first sentences of its file, without its route or trigger.
#[must_use]
pub(crate) fn purpose(source: &str) -> Option<String> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let text = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let purpose = match text.strip_prefix('`') {
        Some(rest) => rest.split_once("`: ")?.1.to_owned(),
        None => text,
    };
    let mut letters = purpose.chars();
    let first = letters.next()?;
    Some(first.to_uppercase().chain(letters).collect())
}

/// The text of the page. `purpose` gives a sentence about a function.
///
/// # Errors
/// Those of `purpose`.
pub(crate) fn markdown(purpose: impl Fn(&Declared) -> Result<String, String>) -> Result<String, String> {
    let mut page = INTRODUCTION.to_owned();
    for (title, kind) in [
        ("Endpoints", FunctionKind::Endpoint),
        ("WebSocket events", FunctionKind::Socket),
        ("Consumers of a stream", FunctionKind::Consumer),
        ("Jobs", FunctionKind::Job),
    ] {
        let _ = write!(
            page,
            "\n## {title}\n\n| Function | Started by | Callers | Throttle | Limit | Calls | Reads | Writes | What it does |\n|---|---|---|---|---|---|---|---|---|\n"
        );
        for declared in DECLARED.iter().filter(|declared| declared.kind == kind) {
            let Declared { group, name, function, .. } = declared;
            let started: Vec<_> = function.triggers.iter().map(started).collect();
            let started = if started.is_empty() { "hand".to_owned() } else { started.join(", ") };
            let callers = match function.callers {
                Callers::Anybody => "anybody",
                Callers::Visitor => "visitor",
                Callers::SelfProving(_) => "self-proving",
                Callers::Oneself => "oneself",
                Callers::Member => "member",
                Callers::Presenter => "presenter",
                Callers::Administrator => "administrator",
                Callers::Service => "AWS",
            };
            let throttle = if kind == FunctionKind::Endpoint { function.class().parameter() } else { "" };
            let limits = function.limits.iter().map(|limit| format!("{limit} {}", limit.calls()));
            let limits = limits.collect::<Vec<_>>().join(", ");
            let units = match function.budget() {
                Budget::Units { calls, reads, writes } => format!("{calls} | {reads} | {writes}"),
                Budget::WholeTables => "whole tables | | ".to_owned(),
            };
            let _ = writeln!(
                page,
                "| [`{name}`](../functions/src/{group}/{name}.rs) | {started} | {callers} | {throttle} | {limits} | {units} | {} |",
                purpose(declared)?
            );
        }
    }
    Ok(page)
}

fn started(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Route { method, path } => format!("`{}`", route_key(method, path)),
        Trigger::Schedule { when, .. } => format!("`{when}`"),
        Trigger::Message { route, .. } => format!("`{route}`"),
        Trigger::Stream => "the state table's stream".to_owned(),
    }
}
