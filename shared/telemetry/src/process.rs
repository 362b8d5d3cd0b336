//! Figures of this process: memory, processor time, age.

use domain::Timestamp;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

static START: OnceLock<(Instant, Timestamp)> = OnceLock::new();

/// Stores the start time. Only the first call counts; on Lambda it happens during init.
pub fn started() {
    START.get_or_init(|| (Instant::now(), SystemTime::now().into()));
}

/// Time since [`started`] was first called.
#[must_use]
pub fn uptime() -> Duration {
    START.get().map(|(start, _)| start.elapsed()).unwrap_or_default()
}

/// Memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous memory in use: heap and stacks.
    pub heap_used: u64,
    /// Resident set: the heap and the pages of the program that are loaded.
    pub rss: u64,
    /// Memory limit of this process: the function's memory, the container's limit, or the machine's memory.
    pub limit: u64,
}

impl Memory {
    /// Share of the limit that the resident set takes, in percent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a percentage with two decimals")]
    pub fn used_percent(self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.rss as f64 * 100.0 / self.limit as f64 }
    }
}

/// Reads this process's memory. `None`: the system has no `/proc`.
#[must_use]
pub fn memory() -> Option<Memory> {
    let status = status()?;
    let rss = kilobytes(&status, "VmRSS:")?;
    let heap_used = kilobytes(&status, "RssAnon:").unwrap_or(rss);
    Some(Memory { heap_used, rss, limit: memory_limit() })
}

/// How long a peak counts as current. To let the kernel write its text costs as much as a twentieth of a request.
const PEAK_AGE: Duration = Duration::from_secs(1);

/// Peak resident memory in bytes, as it was at most a second ago. `None`: the system has no `/proc`.
#[must_use]
pub fn memory_peak() -> Option<u64> {
    static PEAK: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let mut known = PEAK.lock().unwrap_or_else(PoisonError::into_inner);
    match *known {
        Some((read, peak)) if read.elapsed() < PEAK_AGE => Some(peak),
        _ => {
            let peak = kilobytes(&status()?, "VmHWM:")?;
            *known = Some((Instant::now(), peak));
            Some(peak)
        }
    }
}

/// The kernel's description of this process, which has about 1.5 KB.
fn status() -> Option<String> {
    let (mut text, mut end) = ([0; 4096], 0);
    let mut file = File::open("/proc/self/status").ok()?;
    while let read @ 1.. = file.read(text.get_mut(end..)?).ok()? {
        end += read;
    }
    Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
}

fn memory_limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let function = std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok();
        if let Some(megabytes) = function.and_then(|text| text.parse::<u64>().ok()) {
            return megabytes << 20;
        }
        let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
        let container = container.and_then(|text| text.trim().parse::<u64>().ok());
        let machine = std::fs::read_to_string("/proc/meminfo").ok();
        let machine = machine.and_then(|text| kilobytes(&text, "MemTotal:"));
        container.into_iter().chain(machine).min().unwrap_or(0)
    })
}

/// The value of a `Name:  123 kB` line, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb << 10)
}

/// Processor time of this process, as (user, system). `None`: the system has no `/proc`.
#[must_use]
pub fn cpu() -> Option<(Duration, Duration)> {
    // Linux has counted in hundredths of a second (USER_HZ) on every architecture we build for.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command name may hold spaces; fields are counted after its closing parenthesis: utime is the 12th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((TICK * ticks()?, TICK * ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_in_bytes() {
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t  1024 kB\n", "VmRSS:"), Some(1 << 20));
        assert_eq!(kilobytes("VmRSS:", "VmRSS:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory_and_time() {
        let memory = memory().unwrap();
        assert!(memory.heap_used > 0 && memory.rss >= memory.heap_used && memory.limit > memory.rss);
        let peak = memory_peak().unwrap();
        assert!(peak > memory.heap_used / 2 && memory_peak() >= Some(peak));
        assert!(cpu().is_some());
    }
}
