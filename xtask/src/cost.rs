//! What a deployment costs: the capacity that each function may use, and what AWS takes for it.
//!
//! The tests hold every function to its budget, so `docs/cost.md` cannot promise less than is used.

use functions::DECLARED;
use functions::function::{Budget, FunctionKind, Trigger, declared};
use std::fmt::Write as _;
use telemetry::metrics::Metric;

/// What one call of a function may use of the table, index included, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Units {
    /// Calls of DynamoDB.
    pub calls: usize,
    /// Read request units.
    pub reads: f64,
    /// Write request units.
    pub writes: f64,
}

/// What a function declares. None: there is no such function, or it reads whole tables.
#[must_use]
pub fn budget(name: &str) -> Option<Units> {
    match declared(name)?.function.budget {
        Budget::Units { calls, reads, writes } => Some(Units { calls, reads, writes }),
        Budget::WholeTables => None,
    }
}

/// The same for a function that is known to have one.
fn units(name: &str) -> Units {
    budget(name).unwrap_or(Units { calls: 0, reads: f64::NAN, writes: f64::NAN })
}

/// People in a room.
pub const ROOM: usize = 25;
/// Bytes of a function's log line, its metrics included, at most.
pub const LOG_LINE: usize = 850;
/// Bytes that a room's list takes per person with an agent, at most.
pub const PERSON_BYTES: usize = 900;
/// Series that all alarms together look at, which is what they are billed by.
pub const ALARMED: usize = 22;
/// Series that one look at `/api/metrics` reads: five for each route, and those of the whole stage.
#[must_use]
pub fn series_read() -> usize {
    13 + 5 * functions::described().len()
}
/// Bytes of a state with evidence in the table, at most.
const ITEM_BYTES: f64 = 600.0;
/// Bytes of an entry in the ledger, about.
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
    /// Per GB that is kept for a month in the table.
    pub(super) const STORED: f64 = 0.25;
    /// Per GB that is kept for a month to restore from.
    pub(super) const RESTORABLE: f64 = 0.20;
    /// Millions of requests through the HTTP API, and dollars per million.
    pub(super) const GATEWAY: &[(f64, f64)] = &[(300.0, 1.00), (f64::INFINITY, 0.90)];
    /// A million messages over `WebSocket` connections, in each direction.
    pub(super) const MESSAGES: f64 = 1.00;
    /// GB of logs.
    pub(super) const LOGS: &[(f64, f64)] = &[(10e3, 0.50), (20e3, 0.25), (20e3, 0.10), (f64::INFINITY, 0.05)];
    /// GB sent to the internet.
    pub(super) const SENT: &[(f64, f64)] = &[(10e3, 0.09), (40e3, 0.085), (100e3, 0.07), (f64::INFINITY, 0.05)];
    /// A month of one key, one series that an alarm looks at, one of our own, one dashboard.
    pub(super) const KEY: f64 = 1.00;
    pub(super) const ALARM: f64 = 0.10;
    pub(super) const METRIC: f64 = 0.30;
    pub(super) const DASHBOARD: f64 = 3.00;
    /// A thousand series read by `GetMetricData`.
    pub(super) const SERIES: f64 = 0.01;
}

/// Milliseconds that are billed for a call: two or three of ours and the answer of DynamoDB, at 128 MB.
const BILLED_MS: f64 = 10.0;
const MEMORY_GB: f64 = 0.125;
/// Bytes of the gateway's own line per request.
const ACCESS_LINE: f64 = 330.0;
/// Bytes of headers per answer, and of a body that is one state.
const HEADERS: f64 = 500.0;
const STATE_BODY: f64 = 700.0;
/// Bytes of the answer to a page that says it is still open.
const PRESENCE_BODY: f64 = 80.0;

/// How people use it.
#[derive(Debug, Clone, Copy)]
struct Use {
    people: f64,
    /// Of a meeting per person and month.
    hours: f64,
    flips_per_hour: f64,
    poll_s: f64,
    lease_s: f64,
    /// None: nobody has an agent.
    attest_s: Option<f64>,
    /// Share of the time in which the agent attests.
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

/// What is used up in a month.
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

/// Dollars a month.
#[derive(Debug, Clone, Copy)]
struct Dollars {
    gateway: f64,
    lambda: f64,
    dynamodb: f64,
    logs: f64,
    sent: f64,
}

/// The share of a meeting in which nobody is heard, all microphones being muted and verified. Assumed.
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

    /// The share of polls that find the room changed: changes fall at random, and each attestation is one.
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
        // A page that sees a change in a room in which everybody is silent for sure asks whether it is safe.
        // That reads the index, and then everybody consistently: a unit each.
        bill.add(polls * self.changed() * SILENT, reads + room, 0.0, STATE_BODY);
        bill
    }

    /// What says that a page is still open.
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

    /// What follows from the stream, each change in a batch of its own: at worst two entries for a flip, the verdict's being
    /// the second, and none for an attestation that says what the one before said, or for a page that is still open. Entries
    /// stay for ever.
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

/// With thousands separators.
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

/// A row for each function, by name.
fn calls(page: &mut String) {
    page.push_str("\n## What a call costs\n\n| Function | DynamoDB calls | Read units | Write units | DynamoDB, $ per million | All, $ per million |\n|---|---|---|---|---|---|\n");
    let mut functions: Vec<_> = DECLARED.iter().collect();
    functions.sort_by_key(|declared| declared.name);
    for declared in functions {
        let Budget::Units { calls, reads, writes } = declared.function.budget else { continue };
        let function = declared.name;
        let table = reads * price::READS + writes * price::WRITES;
        let lines = as_f64(LOG_LINE) * price::LOGS[0].1 / 1e3;
        let gateway = match declared.kind {
            FunctionKind::Endpoint => price::GATEWAY[0].1 + ACCESS_LINE * price::LOGS[0].1 / 1e3,
            // Each message, and its answer if there is one.
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

/// `docs/cost.md`
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    calls(&mut page);
    page.push_str(CALLS);

    let hours = USUAL.people * USUAL.hours;
    let _ = write!(
        page,
        "\n## What a person's hour is made of\n\nIn a room of {ROOM}, everybody with an agent:\n\n| | Requests | Read units | Write units | Sent, MB | $ per 1 000 hours |\n|---|---|---|---|---|---|\n"
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
    // What it writes has its place in the history: a join and a departure.
    let (canary, history) = (units("canary"), units("on_state_change"));
    let reads = canary.reads + history.reads;
    let writes = canary.writes + history.writes;
    let canary_run = 2.0 * invocation()
        + (reads * price::READS + writes * price::WRITES) / 1e6
        + as_f64(LOG_LINE) * price::LOGS[0].1 / 1e9;
    let fixed = [
        ("the key of the alarms' topic", 1.0, price::KEY, 0.0),
        ("series that the ten alarms look at", as_f64(ALARMED), price::ALARM, 10.0),
        ("series of our own", as_f64(Metric::of_the_stage().count()), price::METRIC, 10.0),
        ("the dashboard", 1.0, price::DASHBOARD, 3.0),
        ("runs of the canary", runs, canary_run, 0.0),
    ];
    page.push_str("\n## What a stage costs that nobody uses\n\n| | Count | List price, $ a month | While the account's free ten series in alarms, ten of our own and three dashboards last |\n|---|---|---|---|\n");
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
        "\nWith snapshots; without, an alarm with four series and four series of our own fewer. Eight of the series in alarms are those of
`table-throttled`. A run of the canary is reckoned with the default limit of ten people: it counts to one more than that, half a read unit for
every six or seven. With `ConcurrentUserLimit` at 100 000 and as many people that would be some {} $ a month.

**Looking costs as well.** `/api/metrics` reads {series:.0} series at 0.01 $ per thousand, at most once a minute for each copy of its function:
{:.5} $ a look, {} $ for a month of looking each minute. The dashboard's graphs are free of that.
",
        dollars(runs * 100_000.0 * ITEM_BYTES / 4096.0 * 0.5 * price::READS / 1e6),
        series * price::SERIES / 1e3,
        dollars(runs * series * price::SERIES / 1e3),
    );

    let _ = write!(
        page,
        "\n## What would save\n\n1 000 people with agents, everything else as above. Nothing of it is built.\n\n| | Gateway | Lambda | DynamoDB | Logs | Data out | **$ a month** | $ per person |\n|---|---|---|---|---|---|---|---|\n"
    );
    for (name, used) in [
        ("as it is", USUAL),
        ("an attestation every 20 s, fresh for 50 s", Use { attest_s: Some(20.0), ..USUAL }),
        ("an attestation every 30 s, fresh for 75 s", Use { attest_s: Some(30.0), ..USUAL }),
        ("no attestation while its person is unmuted, half of the time", Use { attesting: 0.5, ..USUAL }),
        ("a poll every 3 s", Use { poll_s: 3.0, ..USUAL }),
        ("a poll every 3 s and an attestation every 30 s", Use { poll_s: 3.0, attest_s: Some(30.0), ..USUAL }),
    ] {
        row(&mut page, name, used.month(), used.people);
    }
    page.push_str(SAVINGS);
    page
}

const INTRODUCTION: &str = "<!-- Generated by `cargo xtask docs` from xtask/src/cost.rs. -->
# What it costs

List prices of us-east-1 in US dollars, noted on 2026-11-21 and not compared with AWS's own pages that day, without what an account has free.
The request units are budgets that the tests hold every function to; how people use it is assumed, and is said where it counts. Nothing of this has been
compared with a bill.

| | |
|---|---|
| DynamoDB on demand | 0.625 per million write units (1 KB), 0.125 per million read units (4 KB, half for an eventual read); 0.25 per GB-month stored, 0.20 restorable |
| Lambda, arm64, 128 MB | 0.20 per million calls, 0.0000133334 per GB-second; reckoned with 10 ms a call |
| HTTP API | 1.00 per million up to 300 million, then 0.90 |
| CloudWatch Logs | 0.50 per GB up to 10 TB, then 0.25, 0.10, 0.05; at most 850 bytes of ours and 330 of the gateway's per request |
| Data out | 0.09 per GB up to 10 TB, then 0.085, 0.07, 0.05 |
";

const CALLS: &str = "
For lists: a room of 25 people with agents, and a table that holds no others. `list_users` reads the whole table for every page, so its
cost grows with the table: half a read unit for every five people and their agents. `enroll_agent` and `attach_agent` write in one
transaction, which counts double. `get_room_safe` reads each person as they are now, a read unit each. A message over a
WebSocket costs 1.00 per million in each direction; whether AWS charges for opening and closing one is not documented, and reckoned
as a message. Minutes of connections cost 0.25 per million.

Not listed is `snapshot_tables`, which reads all of both tables once a night: a read unit per 4 KB, 0.03 a GB and night, and a write unit or two for its lease.
`restore` and, once a week, `restore_drill` write all of it: a write unit per KB of each item, twice that for people and agents because of the index, 0.6 to 1.3 per
million items; the drill reads it back as well.
";

const HOUR: &str = "
A page polls every 1.5 s, says every 12 s that it is still open, and a flip is one of 20 an hour. An agent attests every 10 s. **Attestations and presence are
nearly all the writes; polling is most of the money**, and attestations are part of why: each one changes the room's list, so hardly any poll is answered by 304, and each answer carries 25 people. A page
that sees everybody silent asks for `safe` as well; reckoned with a tenth of the time.
";

const MONTH: &str = "
42 hours of meetings a month for each person, in rooms of 25 (or all ten). An agent that also runs outside of meetings attests some 263 000 times
a month instead of 15 120; stop it with the meeting. A million people are far above the default limits of an account (10 000 requests a second at the gateway, 1 000 copies of
functions) and above `ThrottleRate`; the row is there to show what grows.
";

const SAVINGS: &str = "
A longer interval makes a verdict appear and lapse later: 25 s after the last measurement today, 75 s with attestations every 30 s. An agent that
pauses while its person is unmuted saves its writes in that time, and a contradiction of an unmuted claim (`silent_device`) is then not seen. Polling
is the larger lever; the one that ends it is push, which this version does not have.
";
