//! Computes the cost of a deployment from the capacity that each function may use, and AWS's prices.
//!
//! The tests check that no function uses more than its budget, so `docs/cost.md` never promises too low a cost.

use domain::PING_EVERY;
use functions::DECLARED;
use functions::function::{Budget, FunctionKind, Trigger, declared};
use functions::live::RENEWALS_EVERY;
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
    match declared(name)?.function.budget() {
        Budget::Units { calls, reads, writes } => Some(Units { calls, reads, writes }),
        Budget::WholeTables => None,
    }
}

/// What the history of one change costs, if nothing else changes at the time: one item of at most a kilobyte is written,
/// and one of 32 costs a unit more because it names the people. The people of a room are in a few shards, each with a
/// consumer that looks at what the others have added (0.55 units with four). The end of a room's history, at most 12
/// units, is read only after `on_state_change` has started anew, which is reckoned as once in 120 changes.
/// `tests/api/capacity.rs` measures the writes.
pub const CHANGE: Units = Units { calls: 2, reads: 0.65, writes: 1.05 };

/// The same for a function that is known to have a budget.
fn units(name: &str) -> Units {
    budget(name).unwrap_or(Units { calls: 0, reads: f64::NAN, writes: f64::NAN })
}

/// People in a room.
pub const ROOM: usize = 25;
/// Largest log line of a function, in bytes, metrics included.
pub const LOG_LINE: usize = 850;
/// Largest line that speaks for ten routine requests, in bytes. `LogSamplePercent` is 10.
pub const LOG_LINE_OF_TEN: usize = 1100;
/// Bytes that CloudWatch Logs adds to each line.
const LINE_OVERHEAD: f64 = 26.0;
/// Bytes of a room's list per person with an agent, at most.
pub const PERSON_BYTES: usize = 1000;
/// Largest state with evidence in the table, in bytes.
pub const ITEM_BYTES: usize = 650;
/// Number of series that all alarms together evaluate; AWS charges alarms by series.
pub const ALARMED: usize = 15;
/// Number of series that one request to `/api/metrics` reads: five for each route, and those of the whole stage.
#[must_use]
pub fn series_read() -> usize {
    13 + 5 * functions::described().len()
}
/// Read units of a poll for the room itself and for whoever polls.
const LOOK: f64 = 1.0;
/// Size of a change in the ledger, in bytes: at most what one write unit writes.
const CHANGE_BYTES: f64 = 1024.0;

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
    /// Per GB in S3 for a month.
    pub(super) const OBJECTS: f64 = 0.023;
    /// Per million requests to S3 that write or list, and that read.
    pub(super) const OBJECT_WRITES: f64 = 5.0;
    pub(super) const OBJECT_READS: f64 = 0.4;
    /// Tiers of the HTTP API: millions of requests, and dollars per million.
    pub(super) const GATEWAY: &[(f64, f64)] = &[(300.0, 1.00), (f64::INFINITY, 0.90)];
    /// Per million messages over `WebSocket` connections, in each direction.
    pub(super) const MESSAGES: f64 = 1.00;
    /// Minutes of WebSocket connections.
    pub(super) const MINUTES: f64 = 0.25;
    /// Tiers of log ingestion: GB, and dollars per GB.
    pub(super) const LOGS: &[(f64, f64)] = &[(10e3, 0.50), (20e3, 0.25), (20e3, 0.10), (f64::INFINITY, 0.05)];
    /// Per GB of log stored for a month.
    pub(super) const LOGS_STORED: f64 = 0.03;
    /// Tiers of data sent to the internet: GB, and dollars per GB.
    pub(super) const SENT: &[(f64, f64)] = &[(10e3, 0.09), (40e3, 0.085), (100e3, 0.07), (f64::INFINITY, 0.05)];
    /// Per month: one series that an alarm evaluates, one custom series, one dashboard.
    pub(super) const ALARM: f64 = 0.10;
    pub(super) const METRIC: f64 = 0.30;
    pub(super) const DASHBOARD: f64 = 3.00;
    /// Per thousand series that `GetMetricData` reads.
    pub(super) const SERIES: f64 = 0.01;
}

/// What every account has free each month, for ever.
mod free {
    /// Millions of invocations, and GB-seconds.
    pub(super) const INVOKE: f64 = 1.0;
    pub(super) const GB_SECONDS: f64 = 400_000.0;
    /// GB stored in tables.
    pub(super) const STORED: f64 = 25.0;
    /// GB of log, ingested and stored together.
    pub(super) const LOGS: f64 = 5.0;
    /// GB sent to the internet.
    pub(super) const SENT: f64 = 100.0;
    /// Series in alarms of standard resolution that name their series.
    pub(super) const ALARMS: f64 = 10.0;
    /// Custom series.
    pub(super) const METRICS: f64 = 10.0;
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

/// Hours of a month.
const MONTH_HOURS: f64 = 30.4 * 24.0;
/// Hours of a month in which anybody sends a request: nine hours on 21 days.
const HOURS_WITH_REQUESTS: f64 = 9.0 * 21.0;
/// Files that the page loads when it is opened, with a warm cache or without, and their size in bytes on average.
const PAGE_FILES: f64 = 65.0;
const PAGE_FILE_BYTES: f64 = 8e3;

/// Usage in a month.
#[derive(Debug, Default, Clone, Copy)]
struct Bill {
    requests: f64,
    /// Messages over connections, in either direction, and minutes of these connections.
    messages: f64,
    minutes: f64,
    invocations: f64,
    gb_seconds: f64,
    reads: f64,
    writes: f64,
    /// GB in the tables, and in snapshots.
    stored: f64,
    objects: f64,
    object_writes: f64,
    object_reads: f64,
    /// Bytes.
    logged: f64,
    sent: f64,
    alarmed: f64,
    metrics: f64,
    series_read: f64,
}

impl Bill {
    /// Requests of one kind. `line`: bytes of our own log for each.
    fn add(&mut self, calls: f64, reads: f64, writes: f64, body: f64, line: f64) {
        self.requests += calls;
        self.invoke(calls, BILLED_MS / 1e3 * MEMORY_GB);
        self.reads += calls * reads;
        self.writes += calls * writes;
        self.sent += calls * (HEADERS + body);
        self.logged += calls * (line + ACCESS_LINE + LINE_OVERHEAD);
    }

    fn invoke(&mut self, calls: f64, gb_seconds: f64) {
        self.invocations += calls;
        self.gb_seconds += calls * gb_seconds;
    }

    /// Changes that become entries of histories. Their invocations are counted elsewhere.
    fn write_history(&mut self, changes: f64) {
        self.reads += changes * CHANGE.reads;
        self.writes += changes * CHANGE.writes;
    }

    fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            messages: self.messages + other.messages,
            minutes: self.minutes + other.minutes,
            invocations: self.invocations + other.invocations,
            gb_seconds: self.gb_seconds + other.gb_seconds,
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            stored: self.stored + other.stored,
            objects: self.objects + other.objects,
            object_writes: self.object_writes + other.object_writes,
            object_reads: self.object_reads + other.object_reads,
            logged: self.logged + other.logged,
            sent: self.sent + other.sent,
            alarmed: self.alarmed + other.alarmed,
            metrics: self.metrics + other.metrics,
            series_read: self.series_read + other.series_read,
        }
    }
}

/// Bytes of our own log per request: of a routine one, of which a tenth get a line, and of any other.
const ROUTINE_LINE: f64 = (as_f64(LOG_LINE_OF_TEN) + LINE_OVERHEAD) / 10.0;
const EVERY_LINE: f64 = as_f64(LOG_LINE) + LINE_OVERHEAD;

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
        let reads = LOOK + (room * as_f64(ITEM_BYTES) / 4096.0).ceil() * 0.5;
        let mut bill = Bill::default();
        bill.add(polls, reads, 0.0, self.changed() * room * as_f64(PERSON_BYTES), ROUTINE_LINE);
        // If a page sees a change while everybody in the room is verified as silent, it also requests `safe`. That
        // reads the index, and then each person consistently, one unit each.
        bill.add(polls * self.changed() * SILENT, reads + room, 0.0, STATE_BODY, ROUTINE_LINE);
        bill
    }

    /// The renewals of presence. Each is a record of the stream, and no change for the history.
    fn presence(self) -> Bill {
        let mut bill = Bill::default();
        let Units { reads, writes, .. } = units("renew_presence");
        let renewals = self.people * self.hours * 3600.0 / self.lease_s;
        bill.add(renewals, reads, writes, PRESENCE_BODY, ROUTINE_LINE);
        bill.invoke(renewals, BILLED_MS / 1e3 * MEMORY_GB);
        bill
    }

    fn flips(self) -> Bill {
        let mut bill = Bill::default();
        let Units { reads, writes, .. } = units("set_mute");
        let flips = self.people * self.hours * self.flips_per_hour;
        bill.add(flips, reads, writes, STATE_BODY, EVERY_LINE);
        bill.invoke(flips, BILLED_MS / 1e3 * MEMORY_GB);
        bill.write_history(self.changes_per_flip() * flips);
        bill
    }

    /// The flip itself and, with an agent, the verdict on it.
    fn changes_per_flip(self) -> f64 {
        if self.attest_s.is_some() { 2.0 } else { 1.0 }
    }

    fn attestations(self) -> Bill {
        let mut bill = Bill::default();
        let Units { reads, writes, .. } = units("attest");
        let each = self.attest_s.map_or(0.0, |seconds| 3600.0 / seconds);
        let attestations = self.people * self.hours * each * self.attesting;
        bill.add(attestations, reads, writes, STATE_BODY, ROUTINE_LINE);
        bill.invoke(attestations, BILLED_MS / 1e3 * MEMORY_GB);
        bill
    }

    /// Meetings of an hour: a person opens the page, joins, attaches the agent and leaves.
    fn visits(self) -> Bill {
        let mut bill = Bill::default();
        let visits = self.people * self.hours;
        bill.add(visits * PAGE_FILES, 0.0, 0.0, PAGE_FILE_BYTES, EVERY_LINE);
        let agents: &[&str] = if self.attest_s.is_some() { &["attach_agent"] } else { &[] };
        for name in ["set_state", "leave_room"].iter().chain(agents) {
            let Units { reads, writes, .. } = units(name);
            bill.add(visits, reads, writes, STATE_BODY, EVERY_LINE);
            bill.invoke(visits, BILLED_MS / 1e3 * MEMORY_GB);
            bill.write_history(visits);
        }
        bill
    }

    /// The changes that histories keep, per month.
    fn changes(self) -> f64 {
        let of_visits = if self.attest_s.is_some() { 3.0 } else { 2.0 };
        self.people * self.hours * (self.flips_per_hour * self.changes_per_flip() + of_visits)
    }

    /// A month without what was stored before.
    fn month(self) -> Bill {
        let states = Bill { stored: self.people * 2.0 * (as_f64(ITEM_BYTES) + 100.0) / 1e9, ..Bill::default() };
        let history = Bill { stored: self.changes() * CHANGE_BYTES / 1e9, ..Bill::default() };
        [self.polls(), self.presence(), self.flips(), self.attestations(), self.visits(), states, history]
            .into_iter()
            .fold(Bill::default(), Bill::and)
    }
}

impl Bill {
    fn dollars(self) -> Dollars {
        Dollars {
            gateway: tiered(self.requests / 1e6, price::GATEWAY)
                + (self.messages * price::MESSAGES + self.minutes * price::MINUTES) / 1e6,
            lambda: self.invocations / 1e6 * price::INVOKE + self.gb_seconds * price::GB_SECOND,
            dynamodb: (self.reads * price::READS + self.writes * price::WRITES) / 1e6
                + self.stored * (price::STORED + price::RESTORABLE),
            logs: tiered(self.logged / 1e9, price::LOGS),
            sent: tiered(self.sent / 1e9, price::SENT),
        }
    }

    /// The items of the bill.
    fn items(self) -> Vec<Item> {
        let item = |name, amount: f64, unit, free: f64, price: &dyn Fn(f64) -> f64| Item {
            name,
            amount: format!("{} {unit}", short(amount)),
            list: price(amount),
            paid: price((amount - free).max(0.0)),
        };
        let linear = |each: f64| move |amount: f64| amount * each;
        let (logged, sent) = (self.logged / 1e9, self.sent / 1e9);
        vec![
            item("requests over the HTTP API", self.requests / 1e6, "million", 0.0, &|n| tiered(n, price::GATEWAY)),
            item("messages over WebSockets", self.messages / 1e6, "million", 0.0, &linear(price::MESSAGES)),
            item("minutes of WebSockets", self.minutes / 1e6, "million", 0.0, &linear(price::MINUTES)),
            item("calls of functions", self.invocations / 1e6, "million", free::INVOKE, &linear(price::INVOKE)),
            item("time of functions", self.gb_seconds, "GB-s", free::GB_SECONDS, &linear(price::GB_SECOND)),
            item("writes of tables", self.writes / 1e6, "million units", 0.0, &linear(price::WRITES)),
            item("reads of tables", self.reads / 1e6, "million units", 0.0, &linear(price::READS)),
            item("content of tables", self.stored, "GB", free::STORED, &linear(price::STORED)),
            item("point-in-time recovery", self.stored, "GB", 0.0, &linear(price::RESTORABLE)),
            item("snapshots in S3", self.objects, "GB", 0.0, &linear(price::OBJECTS)),
            item("S3, writes and lists", self.object_writes / 1e6, "million", 0.0, &linear(price::OBJECT_WRITES)),
            item("S3, reads", self.object_reads / 1e6, "million", 0.0, &linear(price::OBJECT_READS)),
            item("log", logged, "GB", free::LOGS, &|n| tiered(n, price::LOGS)),
            item(
                "log, kept for 14 days",
                logged * 14.0 / 30.4,
                "GB",
                (free::LOGS - logged).max(0.0),
                &linear(price::LOGS_STORED),
            ),
            item("sent to the internet", sent, "GB", free::SENT, &|n| tiered(n, price::SENT)),
            item("series in alarms", self.alarmed, "", free::ALARMS, &linear(price::ALARM)),
            item("custom series", self.metrics, "months", free::METRICS, &linear(price::METRIC)),
            item("series that `/api/metrics` reads", self.series_read / 1e3, "thousand", 0.0, &linear(price::SERIES)),
        ]
    }
}

/// An item of the bill.
struct Item {
    name: &'static str,
    amount: String,
    /// Dollars at list price, and within the free allowances.
    list: f64,
    paid: f64,
}

/// Three significant digits or whole numbers.
fn short(amount: f64) -> String {
    match amount {
        100.0.. => format!("{amount:.0}"),
        10.0.. => format!("{amount:.1}"),
        0.1.. => format!("{amount:.2}"),
        _ => format!("{amount:.4}"),
    }
}

/// Runs of the canary in a month, and those that make a change.
const RUNS: f64 = MONTH_HOURS * 60.0;
const CHANGING_RUNS: f64 = MONTH_HOURS * 6.0;
/// Read units of a run that makes no change: the count of people, the health, and the last entry of its history.
const QUIET_READS: f64 = 5.0;
/// Changes of one run: a join and a departure.
const CHANGES_OF_A_RUN: f64 = 2.0;
/// Nights and drills in a month.
const NIGHTS: f64 = 30.4;
const DRILLS: f64 = 30.4 / 7.0;
/// Days for which an object of a snapshot is charged: 7 until it is removed, and 7 until it cannot be brought back.
const SNAPSHOT_DAYS: f64 = 15.0;
/// Read units that a snapshot uses per second: a third of `MaxReadUnits`.
const SNAPSHOT_PACE: f64 = 500.0 / 3.0;
/// Memory of the snapshot functions.
const SNAPSHOT_GB: f64 = 0.5;

/// A month of a stage that nobody uses, except for what its tables hold.
fn idle() -> Bill {
    let canary = units("canary");
    let quiet = RUNS - CHANGING_RUNS;
    let mut bill = Bill {
        reads: CHANGING_RUNS * canary.reads + quiet * QUIET_READS,
        writes: CHANGING_RUNS * canary.writes,
        logged: RUNS * EVERY_LINE,
        alarmed: as_f64(ALARMED),
        metrics: Metric::regular().map(|metric| hours(metric, 0.0)).sum::<f64>() / MONTH_HOURS,
        // Each hour one list, two manifests and one look at an object; each night a dozen writes and lists.
        object_writes: MONTH_HOURS + NIGHTS * 12.0,
        object_reads: MONTH_HOURS * 3.0 + NIGHTS * 12.0,
        ..Bill::default()
    };
    // A changing run waits for its change.
    bill.invoke(quiet, 0.05 * MEMORY_GB);
    bill.invoke(CHANGING_RUNS, 0.5 * MEMORY_GB);
    bill.invoke(CHANGING_RUNS * CHANGES_OF_A_RUN, BILLED_MS / 1e3 * MEMORY_GB);
    bill.write_history(CHANGING_RUNS * CHANGES_OF_A_RUN);
    bill.invoke(MONTH_HOURS, 0.5 * SNAPSHOT_GB);
    bill
}

/// Hours of a month in which a metric has values. `requests`: hours in which anybody sends a request.
fn hours(metric: Metric, requests: f64) -> f64 {
    match metric {
        Metric::CanaryFailed | Metric::ConcurrentUsers | Metric::BackupAgeHours | Metric::RestoreDrillAgeHours => {
            MONTH_HOURS
        }
        Metric::SnapshotFailed => NIGHTS,
        Metric::RestoreDrillFailed => DRILLS,
        // The last one is reckoned as if one function refused somebody in each of these hours.
        Metric::ApiResponseTime
        | Metric::ApiErrorRate
        | Metric::MemoryUsedMb
        | Metric::AttestationRejected
        | Metric::RouteErrors => requests,
        // Only while something goes wrong.
        Metric::RouteFailures | Metric::TableThrottled => 0.0,
    }
}

/// What the metrics cost because of requests.
fn metrics_of_requests() -> Bill {
    let more = |metric: &Metric| hours(*metric, HOURS_WITH_REQUESTS) - hours(*metric, 0.0);
    Bill { metrics: Metric::ALL.iter().map(more).sum::<f64>() / MONTH_HOURS, ..Bill::default() }
}

/// An hour with `/ops` open, which reads the figures once a minute.
fn an_hour_of_ops() -> Bill {
    Bill { series_read: 60.0 * as_f64(series_read()), ..Bill::default() }
}

/// What it costs in a month to keep this many changes: storage, nightly snapshots and weekly drills.
fn kept(changes: f64) -> Bill {
    let gb = changes * CHANGE_BYTES / 1e9;
    let units = gb * 1e9 / 4096.0;
    let mut bill = Bill {
        // A snapshot reads everything; a drill writes each item and reads it back by its key.
        reads: NIGHTS * units + DRILLS * changes,
        writes: DRILLS * changes * CHANGE.writes,
        stored: gb,
        // The lines of a snapshot, compressed, are reckoned as large as their items.
        objects: gb * SNAPSHOT_DAYS,
        ..Bill::default()
    };
    bill.gb_seconds += (NIGHTS + DRILLS) * units / SNAPSHOT_PACE * SNAPSHOT_GB;
    bill
}

/// Ten people with agents.
const TEN: Use = Use { people: 10.0, ..USUAL };

/// The bill of ten people with agents, in the month after this many months.
fn bill_of_ten(months: f64) -> Bill {
    let changes = TEN.changes() + CHANGING_RUNS * CHANGES_OF_A_RUN;
    let parts = [TEN.month(), idle(), metrics_of_requests(), an_hour_of_ops(), kept(months * changes)];
    parts.into_iter().fold(Bill::default(), Bill::and)
}

/// Dollars per million mute flips, with both of their changes in the history, and what it costs to keep these changes
/// for a month.
fn million_flips() -> (f64, f64) {
    let once = Use { people: 1.0, hours: 1.0, flips_per_hour: 1e6, ..USUAL };
    let kept = Bill { stored: 1e6 * once.changes_per_flip() * CHANGE_BYTES / 1e9, ..Bill::default() };
    (once.flips().dollars().sum(), kept.dollars().sum())
}

/// The people of the meeting that is reckoned whole: its presenter, and those who join. Nobody has an agent.
const JOINS: f64 = 10.0;
const MEETING: Use = Use { people: 1.0 + JOINS, hours: 1.0, attest_s: None, ..USUAL };
/// What they write in its hour.
const MESSAGES: f64 = 60.0;
const QUESTIONS: f64 = 10.0;
const VOTES: f64 = 40.0;
/// Seconds between two reads of messages or questions, as `web/session/feed.js` has it. Each page shows one of the two.
const FEED_S: f64 = 2.5;
/// Bytes of a message and of a question in an answer: a sentence or two, the author's name and the ids.
const TEXT_BYTES: f64 = 400.0;
/// Messages in one answer.
const PAGE: f64 = 50.0;
/// Seconds between two pings of a connection, and between two messages about what was renewed in a room.
const PINGS_S: f64 = PING_EVERY.as_secs_f64();
const RENEWALS_S: f64 = RENEWALS_EVERY.as_secs_f64();
/// Reads of the room until a page is live, and milliseconds in which everybody is told of something.
const READS_TO_BE_LIVE: f64 = 3.0;
const TOLD_MS: f64 = 20.0;
/// Write units of the consumer for a new room: the mark in its item and the day's count, in one transaction.
const CREATION_COUNTED: f64 = 4.0;

/// Requests to a function at the price of its declaration.
fn requests(name: &str, calls: f64, body: f64) -> Bill {
    let mut bill = Bill::default();
    let Units { reads, writes, .. } = units(name);
    bill.add(calls, reads, writes, body, line_of(name));
    bill
}

/// Changes of people's states: calls of the history's consumer. `changes`: those that the history keeps.
fn followed(records: f64, changes: f64) -> Bill {
    let mut bill = Bill::default();
    bill.invoke(records, BILLED_MS / 1e3 * MEMORY_GB);
    bill.write_history(changes);
    bill
}

/// The parts of an hour's meeting in a room that somebody created.
fn meeting() -> Vec<(&'static str, Bill)> {
    let Use { people, hours, poll_s, lease_s, .. } = MEETING;
    let seconds = people * hours * 3600.0;
    // The share of reads that bring something new, if `changes` are spread over the hour.
    let new = |changes: f64, every_s: f64| 1.0 - (-changes * every_s / 3600.0).exp();
    let consumer = |calls: f64, reads: f64, writes: f64| {
        let mut bill = Bill { reads, writes, ..Bill::default() };
        bill.invoke(calls, BILLED_MS / 1e3 * MEMORY_GB);
        bill
    };
    let renewals = seconds / lease_s;
    // Each of a panel's two lists is open for half of the time.
    let reads_of_a_list = seconds / FEED_S / 2.0;
    let messages = new(MESSAGES, FEED_S) * MESSAGES.min(PAGE) * TEXT_BYTES;
    let questions = new(QUESTIONS + VOTES, FEED_S) * QUESTIONS * TEXT_BYTES;
    // The end is a record of the room, and counting it is another one. Its people are records that the history keeps. The
    // declared cost of the consumer is that of a room of 25 without texts; each text costs one unit to remove.
    let Units { reads, writes, .. } = units("on_room_change");
    let texts = MESSAGES + QUESTIONS + VOTES + 2.0;
    vec![
        (
            "creating the room",
            requests("create_room", 1.0, STATE_BODY).and(consumer(1.0, 0.0, CREATION_COUNTED)).and(followed(1.0, 1.0)),
        ),
        ("ten joins", requests("join_room", JOINS, STATE_BODY).and(followed(JOINS, JOINS))),
        ("renewing presence", requests("renew_presence", renewals, PRESENCE_BODY).and(followed(renewals, 0.0))),
        ("polling the room", requests("get_room", seconds / poll_s, MEETING.changed() * people * as_f64(PERSON_BYTES))),
        (
            "polling messages and questions",
            requests("list_messages", reads_of_a_list, messages).and(requests(
                "list_questions",
                reads_of_a_list,
                questions,
            )),
        ),
        ("60 messages", requests("post_message", MESSAGES, TEXT_BYTES)),
        ("10 questions", requests("ask_question", QUESTIONS, TEXT_BYTES)),
        ("40 votes", requests("cast_vote", VOTES, PRESENCE_BODY)),
        (
            "asking everybody to mute, and ten who do",
            requests("mute_all", 1.0, STATE_BODY)
                .and(requests("set_mute", JOINS, STATE_BODY))
                .and(followed(JOINS, JOINS)),
        ),
        (
            "the end, and forgetting everything",
            requests("end_room", 1.0, STATE_BODY)
                .and(consumer(2.0, 2.0 * reads, writes + texts))
                .and(followed(people, people)),
        ),
    ]
}

/// What replaces the polls of that meeting if everybody is connected.
fn connected() -> Vec<(&'static str, Bill)> {
    let Use { people, hours, .. } = MEETING;
    let beats = people * hours * 3600.0 / PINGS_S;
    let messages = |messages: f64| Bill { messages, ..Bill::default() };
    // An event is sent to everybody. Its function waits until they are told.
    let told = |events: f64| {
        let mut bill = messages(events * people);
        bill.gb_seconds = events * TOLD_MS / 1e3 * MEMORY_GB;
        bill
    };
    let pings = {
        let Units { reads, writes, .. } = units("ping_socket");
        let logged = beats * line_of("ping_socket");
        let mut bill = Bill { reads: beats * reads, writes: beats * writes, logged, ..messages(2.0 * beats) };
        bill.invoke(beats, BILLED_MS / 1e3 * MEMORY_GB);
        bill
    };
    let opened = {
        let [open, close] = ["connect_socket", "disconnect_socket"].map(units);
        let mut bill = Bill {
            reads: people * open.reads,
            writes: people * (open.writes + close.writes),
            minutes: people * hours * 60.0,
            logged: people * 2.0 * EVERY_LINE,
            ..messages(2.0 * people)
        };
        bill.invoke(2.0 * people, BILLED_MS / 1e3 * MEMORY_GB);
        bill.and(requests("get_room", people * READS_TO_BE_LIVE, people * as_f64(PERSON_BYTES)))
    };
    // The consumer looks for connections; the other functions have that in their declarations.
    let looks = |events: f64| Bill { reads: events, ..Bill::default() };
    let changes = people * MEETING.flips_per_hour;
    let renewals = hours * 3600.0 / RENEWALS_S;
    vec![
        ("opening connections, and reading the room", opened),
        ("pings", pings),
        ("telling of changes of people", told(changes).and(looks(changes))),
        ("telling of renewed presence", told(renewals).and(looks(renewals))),
        ("telling of messages, questions and votes", told(MESSAGES + QUESTIONS + VOTES + 2.0)),
    ]
}

/// Adds the cost of that meeting.
fn a_meeting(page: &mut String) {
    let parts = meeting();
    let all = parts.iter().map(|(_, bill)| *bill).fold(Bill::default(), Bill::and);
    let _ = write!(
        page,
        "\n## A meeting of an hour\n\n\
         | | Requests | Read units | Write units | Sent, MB | List price, $ | Within what is free for ever, $ |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (name, bill) in &parts {
        meeting_row(page, name, *bill);
    }
    meeting_row(page, "**an hour with eleven people, all in**", all);
    let (list, paid) = sums(all);
    let _ = writeln!(
        page,
        "{MEETING_TEXT}A month with 21 such hours costs {} at list price and {} within what is free.",
        dollars(21.0 * list),
        dollars(21.0 * paid)
    );
    page.push_str(
        "\nThe same hour, if everybody is connected by a WebSocket:\n\n\
         | | Messages | Read units | Write units | List price, $ | Within what is free for ever, $ |\n\
         |---|---|---|---|---|---|\n",
    );
    let polls = parts.iter().filter(|(name, _)| name.starts_with("polling"));
    let polls = polls.map(|(_, bill)| *bill).fold(Bill::default(), Bill::and);
    let rest = parts.iter().filter(|(name, _)| !name.starts_with("polling"));
    let rest = rest.map(|(_, bill)| *bill).fold(Bill::default(), Bill::and);
    let row = |page: &mut String, name: &str, bill: Bill| {
        let (list, paid) = sums(bill);
        let Bill { messages, reads, writes, .. } = bill;
        let _ = writeln!(page, "| {name} | {messages:.0} | {reads:.0} | {writes:.0} | {list:.4} | {paid:.4} |");
    };
    row(page, "all of the above but polls", rest);
    let mut told = Bill::default();
    for (name, bill) in connected() {
        row(page, name, bill);
        told = told.and(bill);
    }
    row(page, "**the hour over WebSockets, all in**", rest.and(told));
    let presence = parts.iter().find(|(name, _)| *name == "renewing presence").map_or(0.0, |(_, bill)| sums(*bill).0);
    let thousand = |list: f64| dollars(list / MEETING.people * 1000.0);
    let _ = writeln!(
        page,
        "\nWatching costs {} $ for each 1 000 hours of a person over WebSockets, and {} by polling: at list price, renewals of\n\
         presence included. The aim of 1.20 is not reached: a ping and a renewal say nearly the same, and could be one call.",
        thousand(sums(told).0 + presence),
        thousand(sums(polls).0 + presence)
    );
}

fn meeting_row(page: &mut String, name: &str, bill: Bill) {
    let (list, paid) = sums(bill);
    let Bill { requests, reads, writes, sent, .. } = bill;
    let _ = writeln!(
        page,
        "| {name} | {requests:.0} | {reads:.0} | {writes:.0} | {:.1} | {list:.4} | {paid:.4} |",
        sent / 1e6
    );
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

/// Whether only a tenth of the successes of a function get a line.
fn is_routine(name: &str) -> bool {
    functions::described().iter().any(|(binary, route)| binary == name && functions::ROUTINE.contains(&&**route))
}

/// Bytes that a success of a function adds to the log.
fn line_of(name: &str) -> f64 {
    if is_routine(name) { ROUTINE_LINE } else { EVERY_LINE }
}

/// Adds a row for each function, ordered by name.
fn calls(page: &mut String) {
    page.push_str(
        "\n## Cost of a call\n\n\
         | Function | DynamoDB calls | Read units | Write units | DynamoDB, $ per million | All, $ per million |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut functions: Vec<_> = DECLARED.iter().collect();
    functions.sort_by_key(|declared| declared.name);
    for declared in functions {
        let Budget::Units { calls, reads, writes } = declared.function.budget() else { continue };
        let function = declared.name;
        let table = reads * price::READS + writes * price::WRITES;
        let per_million = |bytes: f64| bytes * price::LOGS[0].1 / 1e3;
        let line = line_of(function);
        let gateway = match declared.kind {
            FunctionKind::Endpoint => price::GATEWAY[0].1 + per_million(line + ACCESS_LINE + LINE_OVERHEAD),
            // A message, and its answer if it has one. Its API has no access log unless an operator wants one.
            FunctionKind::Socket => {
                let answers = |trigger: &Trigger| matches!(trigger, Trigger::Message { answers: true, .. });
                let messages = if declared.function.triggers.iter().any(answers) { 2.0 } else { 1.0 };
                messages * price::MESSAGES + per_million(line)
            }
            FunctionKind::Job => per_million(line),
            // It logs only what fails.
            FunctionKind::Consumer => 0.0,
        };
        let all = gateway + invocation() * 1e6 + table;
        let _ = writeln!(page, "| `{function}` | {calls} | {reads} | {writes} | {table:.3} | {all:.2} |");
    }
}

/// Adds a table of items, without those that cost nothing at list price, and their sum. `sum` names it.
fn items(page: &mut String, bill: Bill, sum: &str) {
    page.push_str(
        "\n| | Amount | List price, $ a month | Within what is free for ever, $ a month |\n|---|---|---|---|\n",
    );
    let items = bill.items();
    for Item { name, amount, list, paid } in items.iter().filter(|item| item.list > 0.0) {
        let _ = writeln!(page, "| {name} | {} | {list:.2} | {paid:.2} |", amount.trim_end());
    }
    let list: f64 = items.iter().map(|item| item.list).sum();
    let paid: f64 = items.iter().map(|item| item.paid).sum();
    let _ = writeln!(page, "| **{sum}** | | **{list:.2}** | **{paid:.2}** |");
}

/// The sums of a bill: at list price, and within what is free.
fn sums(bill: Bill) -> (f64, f64) {
    bill.items().iter().fold((0.0, 0.0), |(list, paid), item| (list + item.list, paid + item.paid))
}

/// The head of a table with a column for each service.
const SERVICES: &str = "| | Gateway | Lambda | DynamoDB | Logs | Data out | **$ a month** | $ per person |\n\
                        |---|---|---|---|---|---|---|---|\n";

/// The text of `docs/cost.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    the_bill(&mut page);
    calls(&mut page);
    page.push_str(CALLS);
    an_hour(&mut page);
    a_meeting(&mut page);

    let _ = write!(page, "\n## A month\n\n{SERVICES}");
    for (name, people) in [("10 people", 10.0), ("1 000 people", 1e3), ("1 000 000 people", 1e6)] {
        let used = Use { people, ..USUAL };
        row(&mut page, &format!("{name}, with agents"), used.month().dollars(), people);
        row(&mut page, &format!("{name}, without"), Use { attest_s: None, ..used }.month().dollars(), people);
    }
    page.push_str(MONTH);

    page.push_str("\n## A stage that nobody uses\n");
    items(&mut page, idle(), "together");
    let _ = write!(page, "\n{}", idle_text());

    let _ = write!(
        page,
        "\n## Possible savings\n\n\
         1 000 people with agents, everything else as above. None of these changes is implemented.\n\n{SERVICES}"
    );
    for (name, used) in [
        ("as it is", USUAL),
        ("an attestation every 20 s, fresh for 50 s", Use { attest_s: Some(20.0), ..USUAL }),
        ("an attestation every 30 s, fresh for 75 s", Use { attest_s: Some(30.0), ..USUAL }),
        ("no attestations while their person is unmuted, which is half of the time", Use { attesting: 0.5, ..USUAL }),
        ("a poll every 3 s", Use { poll_s: 3.0, ..USUAL }),
        ("a poll every 3 s and an attestation every 30 s", Use { poll_s: 3.0, attest_s: Some(30.0), ..USUAL }),
    ] {
        row(&mut page, name, used.month().dollars(), used.people);
    }
    page.push_str(SAVINGS);
    page
}

/// The months that the histories have grown before the month of the bill.
const MONTHS_BEFORE: f64 = 11.0;

/// Adds the bill of ten people.
fn the_bill(page: &mut String) {
    page.push_str(BILL);
    items(page, bill_of_ten(MONTHS_BEFORE), "ten people with agents, all in");
    let ((first, first_paid), (twelfth, twelfth_paid)) = (sums(bill_of_ten(0.0)), sums(bill_of_ten(MONTHS_BEFORE)));
    let yearly = 12.0 / MONTHS_BEFORE;
    let (flips, kept) = million_flips();
    let _ = write!(
        page,
        "
In the first month it is {first:.2} and {first_paid:.2}. Each further year adds {:.2} and {:.2} a month, because
histories are kept for ever, and each weekly drill writes all of them once more. Strangers who send a request in every
hour of the month, and not only in working hours, add {:.2} at list price by the four series that then have values.

| | $ |
|---|---|
| **a million mute flips with their history** | **{flips:.2}** |
| to keep this history, each month | {kept:.2} |

A flip counts with the change of its verdict, and with its log lines and the bytes of its answer.
",
        (twelfth - first) * yearly,
        (twelfth_paid - first_paid) * yearly,
        // Response time, error rate, memory, and the errors of `no_route`.
        4.0 * (1.0 - HOURS_WITH_REQUESTS / MONTH_HOURS) * price::METRIC,
    );
    page.push_str(NOTHING_FOR);
}

/// Adds the usage per person and hour.
fn an_hour(page: &mut String) {
    let hours = USUAL.people * USUAL.hours;
    let _ = write!(
        page,
        "\n## Usage per person and hour\n\nIn a room of {ROOM} people who all have an agent:\n\n\
         | | Requests | Read units | Write units | Sent, MB | $ per 1 000 hours |\n|---|---|---|---|---|---|\n"
    );
    for (name, bill) in [
        ("polling", USUAL.polls()),
        ("presence", USUAL.presence()),
        ("attestations", USUAL.attestations()),
        ("mute flips, with history", USUAL.flips()),
        ("opening the page, joining, leaving", USUAL.visits()),
    ] {
        let Bill { requests, reads, writes, sent, .. } = bill;
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
}

/// What the table of an idle stage does not say.
fn idle_text() -> String {
    let series = as_f64(series_read());
    format!(
        "The table includes snapshots. Without them, a stage has one alarm with four series and two series of its own
less. It has no dashboard: with `DashboardEnabled` one costs {:.2} $ a month for the hours in which it exists. The three
that an account has free may refer to 50 series each, and this one refers to more. A run of the canary is calculated
with the default limit of ten people: it counts to one more than the limit, at half a read unit for every six or seven
people. With a `ConcurrentUserLimit` of 100 000 and as many people, the canary would cost about {} $ a month.

**Reading the metrics costs, too.** `/api/metrics` reads {series:.0} series at 0.01 $ per thousand, at most once a
minute for each copy of its function: {:.5} $ per reading, {} $ for a month with one reading per minute. The
dashboard's graphs cause no such cost.
",
        price::DASHBOARD,
        dollars(RUNS * 100_000.0 * as_f64(ITEM_BYTES) / 4096.0 * 0.5 * price::READS / 1e6),
        series * price::SERIES / 1e3,
        dollars(RUNS * series * price::SERIES / 1e3),
    )
}

const INTRODUCTION: &str = "<!-- Generated by `cargo xtask docs` from xtask/src/cost.rs. -->
# Cost

The prices are list prices of us-east-1 in US dollars. They and the allowances were noted on 2026-11-29 and not compared
with AWS's own pages of that day: the allowances of [1], [2], [3] and [5] were read in older copies of the pages that
are named, and the price of arm64, [4], [6] and the charge by the hour in what others quote from them. The request units
are budgets; the tests check that no function uses more. The usage is assumed, and each assumption is stated where it
matters. No figure has been compared with a bill.

| | List price | Free for ever, in every account, each month |
|---|---|---|
| DynamoDB on demand | 0.625 per million write units (1 KB), 0.125 per million read units (4 KB, half for an eventual read); 0.25 per GB-month stored, 0.20 restorable | 25 GB stored; provisioned units are free, those on demand are not [1] |
| Lambda, arm64, 128 MB | 0.20 per million calls, 0.0000133334 per GB-second; calculated with 10 ms a call | a million calls, 400 000 GB-seconds [2] |
| HTTP API | 1.00 per million up to 300 million, then 0.90 | nothing: its million calls end after 12 months [3] |
| S3 Standard | 0.023 per GB-month; 5.00 per million writes and lists, 0.40 per million reads | nothing [4] |
| CloudWatch Logs | 0.50 per GB up to 10 TB, then 0.25, 0.10, 0.05; 0.03 per GB-month kept; 26 bytes more than each line has | 5 GB, ingested and kept together [5] |
| CloudWatch | 0.10 per series in an alarm, 0.30 per custom series, for each hour in which it has a value; 3.00 per dashboard; 0.01 per thousand series that are read | ten series in alarms, ten custom series, three dashboards of 50 series [5] |
| Data out | 0.09 per GB up to 10 TB, then 0.085, 0.07, 0.05 | 100 GB [6] |
| Mails of SNS, messages of SQS, schedules of EventBridge, reading a table's stream by Lambda | | more than a stage uses |

Sources: [1] aws.amazon.com/dynamodb/pricing and …/on-demand; [2] aws.amazon.com/lambda/pricing and AWS's \"How AWS
Pricing Works\"; [3] aws.amazon.com/api-gateway/pricing; [4] aws.amazon.com/s3/pricing; [5]
aws.amazon.com/cloudwatch/pricing, also for the charges by series and by the hour; [6]
aws.amazon.com/ec2/pricing/on-demand.
";

const BILL: &str = "
## The bill of ten people

Ten people with agents meet for 42 hours a month in one room. It is the twelfth month of the stage: the histories of
the eleven before are kept, and so are 15 nightly snapshots of everything. Requests arrive in nine hours of 21 days. An
operator has `/ops` open for an hour. A thing that is free for twelve months, or as credit, counts in full.
";

const NOTHING_FOR: &str = "
What was paid for nothing before, and what is still paid:

* **The alarms' topic has no key of its own:** 1.00 a month for messages that hold no data of people. AWS's own key does
  not work there.
* **`table-throttled` looks at one series** that the functions write when DynamoDB throttles them, and not at eight of
  DynamoDB's. `snapshots` still has four: one series in their place would cost 0.30 and save 0.30. `api-slow`,
  `api-near-timeout` and `api-busy` have one each; `api-failing` and `history` ask two questions with two.
* **One line for ten polls, renewals of presence, attestations and pings** that succeed. The line carries the
  measurements of all ten, so no metric loses one. What fails, is slow or is done by a person has a line of its own.
  The gateway cannot leave out lines; its own are shorter.
* **The canary makes a change every ten minutes, not every minute.** Its history would have been five times that of the
  ten people, and each drill would have written it again: nearly 5 $ a month after a year.
* **A dashboard is made when somebody wants one.** It shows the time before, too.
* **Counting the people in rooms** costs the canary half a read unit a minute, which is less than a cent a month, and a
  series. `/api/metrics` needs it.
* **Attestations and renewals of presence call `on_state_change`,** although they are no change for the history: a
  filter of the stream sees one record and cannot compare the item before with the item after.
";

const CALLS: &str = "
The costs of lists assume a room of 25 people with agents, and a table without other people. `list_users` reads the
whole table for every page, so its cost grows with the table: half a read unit for every five people and their
agents. `enroll_agent` and `attach_agent` write in one transaction, which counts double. `get_room_safe` reads each
person consistently, at one read unit each. `on_state_change` is budgeted for two changes at once. A message over a
WebSocket costs 1.00 per million in each direction. AWS does not document whether opening and closing a connection is
charged; the table counts each as a message. Connection minutes cost 0.25 per million.

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
tenth of the time. A person comes and goes once an hour; opening the page loads 65 files of 8 KB on average.
";

const MEETING_TEXT: &str = "
Somebody creates a room, ten people join it, and all eleven stay for an hour without agents; in the end the presenter
ends the room. Every call counts with its declared cost: a call that takes an `Idempotency-Key` counts as if it had one,
and a poll counts as that of a room of 25 people with agents. A page polls its room every 1.5 s and, while one of the
two lists is open, messages or questions every 2.5 s, as without a WebSocket: each for half of the time. A poll of the
room finds a change as often as if each person changed something 20 times an hour, but only the ten mutes that follow
the request are counted as writes. Opening the page and keeping the history are not counted. **Polling causes most of
the cost,** and what people write nearly nothing. The last column holds as long as a month stays within what is free.
";

const MONTH: &str = "
Each person is in meetings for 42 hours a month, in rooms of 25 (or all ten). The table has no stage and no history of
earlier months. An agent that also runs outside of meetings attests about 263 000 times a month instead of 15 120, so
stop it with the meeting. A million people are far above the default limits of an account (10 000 requests per second
at the gateway, 1 000 copies of functions) and above `ThrottleRate`; these rows only show which costs grow.
";

const SAVINGS: &str = "
With a longer interval, a verdict appears and expires later: today it expires 25 s after the last measurement, with
attestations every 30 s it would be 75 s. An agent that pauses while its person is unmuted saves its writes during
that time, but then no verdict contradicts an unmuted claim (`silent_device`). Polling offers the larger saving.
Push would replace it, but this version has no push.

A drill once a month, and not each week, would save three quarters of what a year of history adds to the writes.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_a_bill_add_up_to_its_services() {
        let bill = TEN.month();
        let items = bill.items();
        let list: f64 = items.iter().map(|item| item.list).sum();
        let kept = bill.logged / 1e9 * 14.0 / 30.4 * price::LOGS_STORED;
        assert!((list - kept - bill.dollars().sum()).abs() < 1e-9, "{list} {:?}", bill.dollars());
        assert!(items.iter().all(|item| item.paid <= item.list));
    }

    /// What people write in the meeting is counted call by call, at the declared price.
    #[test]
    fn a_meeting_writes_what_its_functions_declare() {
        let writes: f64 = meeting().iter().map(|(_, bill)| bill.writes).sum();
        let renewals = 11.0 * 3600.0 / 12.0;
        let of = |name: &str, calls: f64| units(name).writes * calls;
        let declared = of("create_room", 1.0)
            + of("join_room", 10.0)
            + of("renew_presence", renewals)
            + of("post_message", 60.0)
            + of("ask_question", 10.0)
            + of("cast_vote", 40.0)
            + of("mute_all", 1.0)
            + of("set_mute", 10.0)
            + of("end_room", 1.0)
            + of("on_room_change", 1.0);
        // A text is removed by one unit: messages, questions, votes, the request and its notice. 32 changes are history.
        let counted = 4.0 + 112.0 + 32.0 * CHANGE.writes;
        assert!((writes - declared - counted).abs() < 1e-6, "{writes} is not {}", declared + counted);
    }

    /// Each custom series that has values all the time counts as a whole one.
    #[test]
    fn the_custom_series_are_within_the_free_ones_even_if_requests_never_stop() {
        let months: f64 = Metric::regular().map(|metric| hours(metric, MONTH_HOURS)).sum::<f64>() / MONTH_HOURS;
        assert!(months <= free::METRICS, "{months}");
    }

    #[test]
    fn the_canary_is_reckoned_with_its_own_interval() {
        let between = functions::schedules::canary::CHANGE_EVERY.as_secs_f64();
        assert!((CHANGING_RUNS * between - MONTH_HOURS * 3600.0).abs() < 1.0);
    }

    #[test]
    fn the_requests_that_are_reckoned_with_few_lines_have_few() {
        for name in ["attest", "get_room_safe", "list_room_users", "renew_presence"] {
            assert!(is_routine(name), "{name}");
        }
        assert!(!is_routine("set_mute") && !is_routine("canary"));
    }
}
