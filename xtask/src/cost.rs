//! Computes the cost of a deployment from the capacity that each function may use, and AWS's prices.
//!
//! The tests check that no function uses more than its budget, so `docs/cost.md` never promises too low a cost.

use functions::DECLARED;
use functions::function::{Budget, FunctionKind, Trigger, declared};
use std::fmt::Write as _;
use telemetry::metrics::Metric;

/// Upper limits of one call's use of the tables, index included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Units {
    /// Requests to DynamoDB.
    pub calls: usize,
    /// Read request units.
    pub reads: f64,
    /// Write request units.
    pub writes: f64,
}

/// The declared budget of a function. `None`: there is no such function, or it reads whole tables.
#[must_use]
pub fn budget(name: &str) -> Option<Units> {
    match declared(name)?.function.budget {
        Budget::Units { calls, reads, writes } => Some(Units { calls, reads, writes }),
        Budget::WholeTables => None,
    }
}

/// The same for a function that is known to have a budget.
fn units(name: &str) -> Units {
    budget(name).unwrap_or(Units { calls: 0, reads: f64::NAN, writes: f64::NAN })
}

/// People in a room.
pub const ROOM: usize = 25;
/// Largest log line of a function, in bytes, metrics included.
pub const LOG_LINE: usize = 850;
/// Bytes of a room's list per person with an agent, at most.
pub const PERSON_BYTES: usize = 900;
/// Number of series that all alarms together evaluate; AWS charges alarms by series.
pub const ALARMED: usize = 15;
/// Number of series that one request to `/api/metrics` reads: five for each route, and those of the whole stage.
#[must_use]
pub fn series_read() -> usize {
    13 + 5 * functions::described().len()
}
/// Largest state with evidence in the table, in bytes.
const ITEM_BYTES: f64 = 600.0;
/// Typical size of an entry in the ledger, in bytes.
const ENTRY_BYTES: f64 = 500.0;

/// List prices of us-east-1 in US dollars, without free allowances.
mod price {
    /// Per million write request units of 1 KB.
    pub(super) const WRITES: f64 = 0.625;
    /// Per million read request units of 4 KB.
    pub(super) const READS: f64 = 0.125;
    /// Per million invocations.
    pub(super) const INVOKE: f64 = 0.20;
    /// Per GB-second on arm64.
    pub(super) const GB_SECOND: f64 = 0.000_013_333_4;
    /// Per GB stored in a table for a month.
    pub(super) const STORED: f64 = 0.25;
    /// Per GB of point-in-time recovery for a month.
    pub(super) const RESTORABLE: f64 = 0.20;
    /// Tiers of the HTTP API: millions of requests, and dollars per million.
    pub(super) const GATEWAY: &[(f64, f64)] = &[(300.0, 1.00), (f64::INFINITY, 0.90)];
    /// Per million messages over `WebSocket` connections, in each direction.
    pub(super) const MESSAGES: f64 = 1.00;
    /// Tiers of log ingestion: GB, and dollars per GB.
    pub(super) const LOGS: &[(f64, f64)] = &[(10e3, 0.50), (20e3, 0.25), (20e3, 0.10), (f64::INFINITY, 0.05)];
    /// Tiers of data sent to the internet: GB, and dollars per GB.
    pub(super) const SENT: &[(f64, f64)] = &[(10e3, 0.09), (40e3, 0.085), (100e3, 0.07), (f64::INFINITY, 0.05)];
    /// Per month: one series that an alarm evaluates, one custom series.
    pub(super) const ALARM: f64 = 0.10;
    pub(super) const METRIC: f64 = 0.30;
    /// Per thousand series that `GetMetricData` reads.
    pub(super) const SERIES: f64 = 0.01;
}

/// Billed milliseconds per call at 128 MB: two or three of our own, and DynamoDB's answer.
const BILLED_MS: f64 = 10.0;
const MEMORY_GB: f64 = 0.125;
/// Bytes of the gateway's own log line per request.
const ACCESS_LINE: f64 = 220.0;
/// Bytes of an answer's headers, and of a body that holds one state.
const HEADERS: f64 = 500.0;
const STATE_BODY: f64 = 700.0;
/// Bytes of the answer to a renewal of presence.
const PRESENCE_BODY: f64 = 80.0;

/// Assumptions about the use of the service.
#[derive(Debug, Clone, Copy)]
struct Use {
    people: f64,
    /// Hours in meetings, per person and month.
    hours: f64,
    flips_per_hour: f64,
    poll_s: f64,
    lease_s: f64,
    /// `None`: nobody has an agent.
    attest_s: Option<f64>,
    /// Share of the meeting time in which the agent attests.
    attesting: f64,
}

const USUAL: Use = Use {
    people: 1000.0,
    hours: 42.0,
    flips_per_hour: 20.0,
    poll_s: 1.5,
    lease_s: 12.0,
    attest_s: Some(10.0),
    attesting: 1.0,
};

/// Usage in a month.
#[derive(Debug, Default, Clone, Copy)]
struct Bill {
    requests: f64,
    reads: f64,
    writes: f64,
    sent: f64,
}

impl Bill {
    fn add(&mut self, calls: f64, reads: f64, writes: f64, body: f64) {
        self.requests += calls;
        self.reads += calls * reads;
        self.writes += calls * writes;
        self.sent += calls * (HEADERS + body);
    }
}

/// Cost in dollars per month.
#[derive(Debug, Clone, Copy)]
struct Dollars {
    gateway: f64,
    lambda: f64,
    dynamodb: f64,
    logs: f64,
    sent: f64,
}

/// Assumed share of a meeting in which all microphones are muted and verified.
const SILENT: f64 = 0.1;

impl Dollars {
    fn sum(self) -> f64 {
        self.gateway + self.lambda + self.dynamodb + self.logs + self.sent
    }
}

impl Use {
    fn room(self) -> f64 {
        self.people.min(as_f64(ROOM))
    }

    /// Share of polls that find a change in the room. Changes are assumed to be random, and each attestation is a
    /// change.
    fn changed(self) -> f64 {
        let attests = self.attest_s.map_or(0.0, |seconds| self.attesting / seconds);
        let per_second = self.room() * (attests + self.flips_per_hour / 3600.0);
        1.0 - (-per_second * self.poll_s).exp()
    }

    fn polls(self) -> Bill {
        let (polls, room) = (self.people * self.hours * 3600.0 / self.poll_s, self.room());
        let reads = (room * ITEM_BYTES / 4096.0).ceil() * 0.5;
        let mut bill = Bill::default();
        bill.add(polls, reads, 0.0, self.changed() * room * as_f64(PERSON_BYTES));
        // If a page sees a change while everybody in the room is verified as silent, it also requests `safe`. That
        // reads the index, and then each person consistently, one unit each.
        bill.add(polls * self.changed() * SILENT, reads + room, 0.0, STATE_BODY);
        bill
    }

    /// The renewals of presence.
    fn presence(self) -> Bill {
        let mut bill = Bill::default();
        let Units { reads, writes, .. } = units("renew_presence");
        bill.add(self.people * self.hours * 3600.0 / self.lease_s, reads, writes, PRESENCE_BODY);
        bill
    }

    fn flips(self) -> Bill {
        let mut bill = Bill::default();
        let Units { reads, writes, .. } = units("set_mute");
        bill.add(self.people * self.hours * self.flips_per_hour, reads, writes, STATE_BODY);
        bill
    }

    fn attestations(self) -> Bill {
        let mut bill = Bill::default();
        let Units { reads, writes, .. } = units("attest");
        let each = self.attest_s.map_or(0.0, |seconds| 3600.0 / seconds);
        bill.add(self.people * self.hours * each * self.attesting, reads, writes, STATE_BODY);
        bill
    }

    /// The cost of the ledger, with each change in a batch of its own. At worst, a mute flip gives two entries: its
    /// own, and one for its verdict. An attestation gives none if it repeats the last one, and neither does a renewal
    /// of presence. Entries are kept forever.
    fn history(self) -> Dollars {
        let flips = self.flips().requests;
        let on_state_change = units("on_state_change");
        let records = flips + self.attestations().requests + self.presence().requests;
        let writes = flips * (on_state_change.writes / 2.0 + 2.0);
        let stored = flips * 2.0 * ENTRY_BYTES / 1e9;
        Dollars {
            gateway: 0.0,
            lambda: records * invocation(),
            dynamodb: (flips * on_state_change.reads * price::READS + writes * price::WRITES) / 1e6
                + stored * (price::STORED + price::RESTORABLE),
            logs: 0.0,
            sent: 0.0,
        }
    }

    fn month(self) -> Dollars {
        let bill = [self.polls(), self.presence(), self.flips(), self.attestations()].into_iter().fold(
            Bill::default(),
            |sum, part| Bill {
                requests: sum.requests + part.requests,
                reads: sum.reads + part.reads,
                writes: sum.writes + part.writes,
                sent: sum.sent + part.sent,
            },
        );
        let history = self.history();
        let stored = self.people * 2.0 * (ITEM_BYTES + 100.0) / 1e9;
        let mut dollars = bill.dollars();
        dollars.lambda += history.lambda;
        dollars.dynamodb += stored * (price::STORED + price::RESTORABLE) + history.dynamodb;
        dollars
    }
}

impl Bill {
    fn dollars(self) -> Dollars {
        Dollars {
            gateway: tiered(self.requests / 1e6, price::GATEWAY),
            lambda: self.requests * invocation(),
            dynamodb: (self.reads * price::READS + self.writes * price::WRITES) / 1e6,
            logs: tiered(self.requests * (as_f64(LOG_LINE) + ACCESS_LINE) / 1e9, price::LOGS),
            sent: tiered(self.sent / 1e9, price::SENT),
        }
    }
}

/// Dollars for one invocation.
fn invocation() -> f64 {
    price::INVOKE / 1e6 + BILLED_MS / 1e3 * MEMORY_GB * price::GB_SECOND
}

fn tiered(amount: f64, tiers: &[(f64, f64)]) -> f64 {
    let mut left = amount;
    tiers
        .iter()
        .map(|(size, price)| {
            let taken = left.min(*size);
            left -= taken;
            taken * price
        })
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "small constants")]
const fn as_f64(n: usize) -> f64 {
    n as f64
}

/// Formats an amount with thousands separators.
fn dollars(amount: f64) -> String {
    let text = format!("{amount:.2}");
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{cents}")
}

fn row(page: &mut String, name: &str, cost: Dollars, per: f64) {
    let Dollars { gateway, lambda, dynamodb, logs, sent } = cost;
    let cells = [gateway, lambda, dynamodb, logs, sent].map(dollars).join(" | ");
    let _ = writeln!(page, "| {name} | {cells} | **{}** | {:.3} |", dollars(cost.sum()), cost.sum() / per);
}

/// Adds a row for each function, ordered by name.
fn calls(page: &mut String) {
    page.push_str("\n## Cost of a call\n\n| Function | DynamoDB calls | Read units | Write units | DynamoDB, $ per million | All, $ per million |\n|---|---|---|---|---|---|\n");
    let mut functions: Vec<_> = DECLARED.iter().collect();
    functions.sort_by_key(|declared| declared.name);
    for declared in functions {
        let Budget::Units { calls, reads, writes } = declared.function.budget else { continue };
        let function = declared.name;
        let table = reads * price::READS + writes * price::WRITES;
        let lines = as_f64(LOG_LINE) * price::LOGS[0].1 / 1e3;
        let gateway = match declared.kind {
            FunctionKind::Endpoint => price::GATEWAY[0].1 + ACCESS_LINE * price::LOGS[0].1 / 1e3,
            // A message, and its answer if it has one.
            FunctionKind::Socket => {
                let answers = |trigger: &Trigger| matches!(trigger, Trigger::Message { answers: true, .. });
                let messages = if declared.function.triggers.iter().any(answers) { 2.0 } else { 1.0 };
                messages * price::MESSAGES + ACCESS_LINE * price::LOGS[0].1 / 1e3
            }
            FunctionKind::Consumer | FunctionKind::Job => 0.0,
        };
        let all = gateway + invocation() * 1e6 + table + lines;
        let _ = writeln!(page, "| `{function}` | {calls} | {reads} | {writes} | {table:.3} | {all:.2} |");
    }
}

/// The text of `docs/cost.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    calls(&mut page);
    page.push_str(CALLS);

    let hours = USUAL.people * USUAL.hours;
    let _ = write!(
        page,
        "\n## Usage per person and hour\n\nIn a room of {ROOM} people who all have an agent:\n\n| | Requests | Read units | Write units | Sent, MB | $ per 1 000 hours |\n|---|---|---|---|---|---|\n"
    );
    for (name, bill) in [
        ("polling", USUAL.polls()),
        ("presence", USUAL.presence()),
        ("attestations", USUAL.attestations()),
        ("mute flips", USUAL.flips()),
    ] {
        let Bill { requests, reads, writes, sent } = bill;
        let _ = writeln!(
            page,
            "| {name} | {:.0} | {:.0} | {:.0} | {:.1} | {} |",
            requests / hours,
            reads / hours,
            writes / hours,
            sent / hours / 1e6,
            dollars(bill.dollars().sum() / hours * 1e3)
        );
    }
    page.push_str(HOUR);

    page.push_str("\n## A month\n\n| | Gateway | Lambda | DynamoDB | Logs | Data out | **$ a month** | $ per person |\n|---|---|---|---|---|---|---|---|\n");
    for (name, people) in [("10 people", 10.0), ("1 000 people", 1e3), ("1 000 000 people", 1e6)] {
        let used = Use { people, ..USUAL };
        row(&mut page, &format!("{name}, with agents"), used.month(), people);
        row(&mut page, &format!("{name}, without"), Use { attest_s: None, ..used }.month(), people);
    }
    page.push_str(MONTH);

    let runs = 30.4 * 24.0 * 60.0;
    // The canary's writes also appear in the ledger, as a join and a departure.
    let (canary, history) = (units("canary"), units("on_state_change"));
    let reads = canary.reads + history.reads;
    let writes = canary.writes + history.writes;
    let canary_run = 2.0 * invocation()
        + (reads * price::READS + writes * price::WRITES) / 1e6
        + as_f64(LOG_LINE) * price::LOGS[0].1 / 1e9;
    let fixed = [
        ("series that the ten alarms evaluate", as_f64(ALARMED), price::ALARM, 10.0),
        ("custom series", as_f64(Metric::regular().count()), price::METRIC, 10.0),
        ("runs of the canary", runs, canary_run, 0.0),
    ];
    page.push_str("\n## Fixed cost of a stage\n\nThis is the cost of a stage without users.\n\n| | Count | List price, $ a month | With the free allowance of an account: ten series in alarms, ten custom series |\n|---|---|---|---|\n");
    let (mut list, mut free) = (0.0, 0.0);
    for (name, count, each, included) in fixed {
        let cost = count * each;
        let paid = (count - included).max(0.0) * each;
        list += cost;
        free += paid;
        let _ = writeln!(page, "| {name} | {count:.0} | {} | {} |", dollars(cost), dollars(paid));
    }
    let _ = writeln!(page, "| **together** | | **{}** | **{}** |", dollars(list), dollars(free));
    let series = as_f64(series_read());
    let _ = write!(
        page,
        "\nThe table includes snapshots. Without them, a stage has one alarm with four series and four custom series fewer.
A run of the canary is calculated with the default limit
of ten people: it counts to one more than the limit, at half a read unit for every six or seven people. With a
`ConcurrentUserLimit` of 100 000 and as many people, the canary would cost about {} $ a month.

**Reading the metrics costs, too.** `/api/metrics` reads {series:.0} series at 0.01 $ per thousand, at most once a
minute for each copy of its function: {:.5} $ per reading, {} $ for a month with one reading per minute. The
dashboard's graphs cause no such cost.
",
        dollars(runs * 100_000.0 * ITEM_BYTES / 4096.0 * 0.5 * price::READS / 1e6),
        series * price::SERIES / 1e3,
        dollars(runs * series * price::SERIES / 1e3),
    );

    let _ = write!(
        page,
        "\n## Possible savings\n\n1 000 people with agents, everything else as above. None of these changes is implemented.\n\n| | Gateway | Lambda | DynamoDB | Logs | Data out | **$ a month** | $ per person |\n|---|---|---|---|---|---|---|---|\n"
    );
    for (name, used) in [
        ("as it is", USUAL),
        ("an attestation every 20 s, fresh for 50 s", Use { attest_s: Some(20.0), ..USUAL }),
        ("an attestation every 30 s, fresh for 75 s", Use { attest_s: Some(30.0), ..USUAL }),
        ("no attestations while their person is unmuted, which is half of the time", Use { attesting: 0.5, ..USUAL }),
        ("a poll every 3 s", Use { poll_s: 3.0, ..USUAL }),
        ("a poll every 3 s and an attestation every 30 s", Use { poll_s: 3.0, attest_s: Some(30.0), ..USUAL }),
    ] {
        row(&mut page, name, used.month(), used.people);
    }
    page.push_str(SAVINGS);
    page
}

const INTRODUCTION: &str = "<!-- Generated by `cargo xtask docs` from xtask/src/cost.rs. -->
# Cost

The prices are list prices of us-east-1 in US dollars, without the free allowances of an account. They were noted on
2026-11-21 and not compared with AWS's own pages that day. The request units are budgets; the tests check that no
function uses more. The usage is assumed, and each assumption is stated where it matters. No figure has been
compared with a bill.

| | |
|---|---|
| DynamoDB on demand | 0.625 per million write units (1 KB), 0.125 per million read units (4 KB, half for an eventual read); 0.25 per GB-month stored, 0.20 restorable |
| Lambda, arm64, 128 MB | 0.20 per million calls, 0.0000133334 per GB-second; calculated with 10 ms a call |
| HTTP API | 1.00 per million up to 300 million, then 0.90 |
| CloudWatch Logs | 0.50 per GB up to 10 TB, then 0.25, 0.10, 0.05; at most 850 bytes of ours and 220 of the gateway's per request |
| Data out | 0.09 per GB up to 10 TB, then 0.085, 0.07, 0.05 |
";

const CALLS: &str = "
The costs of lists assume a room of 25 people with agents, and a table without other people. `list_users` reads the
whole table for every page, so its cost grows with the table: half a read unit for every five people and their
agents. `enroll_agent` and `attach_agent` write in one transaction, which counts double. `get_room_safe` reads each
person consistently, at one read unit each. A message over a WebSocket costs 1.00 per million in each direction. AWS
does not document whether opening and closing a connection is charged; the table counts each as a message.
Connection minutes cost 0.25 per million.

`snapshot_tables` is not listed. It reads both tables completely once a night: one read unit per 4 KB, which is 0.03
per GB and night, and one or two write units for its lease. `restore` and, once a week, `restore_drill` write all
items: one write unit per KB of each item, and twice that for people and agents because of the index, which is 0.6
to 1.3 per million items. The drill also reads the items back.
";

const HOUR: &str = "
A page polls every 1.5 s and renews its presence every 12 s. A person flips the mute 20 times an hour, and an agent
attests every 10 s. **Attestations and presence cause nearly all writes; polling causes most of the cost.**
Attestations contribute to the cost of polling: each one changes the room's list, so few polls are answered by 304,
and each answer carries 25 people. A page that sees everybody silent also requests `safe`; this is assumed for a
tenth of the time.
";

const MONTH: &str = "
Each person is in meetings for 42 hours a month, in rooms of 25 (or all ten). An agent that also runs outside of
meetings attests about 263 000 times a month instead of 15 120, so stop it with the meeting. A million people are
far above the default limits of an account (10 000 requests per second at the gateway, 1 000 copies of functions)
and above `ThrottleRate`; these rows only show which costs grow.
";

const SAVINGS: &str = "
With a longer interval, a verdict appears and expires later: today it expires 25 s after the last measurement, with
attestations every 30 s it would be 75 s. An agent that pauses while its person is unmuted saves its writes during
that time, but then no verdict contradicts an unmuted claim (`silent_device`). Polling offers the larger saving.
Push would replace it, but this version has no push.
";
