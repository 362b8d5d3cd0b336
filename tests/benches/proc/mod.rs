//! The system's figures of a process, and code that the benchmarks share.

use std::time::Duration;

/// The unit of CPU times in `/proc`: Linux shows every program hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Whether this is `cargo bench`. `cargo test --all-targets` starts benchmarks too, and they must measure nothing then.
pub(crate) fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// User and system time of a process so far, all threads.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold spaces; utime and stime are the 14th and 15th field of the line.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    let ticks: u32 = fields.take(2).map(|field| field.parse::<u32>().unwrap()).sum();
    TICK * ticks
}

/// The CPU time that a process has used since [`cpu`] returned `before`.
pub(crate) fn cpu_since(pid: u32, before: Duration) -> Duration {
    cpu(pid).saturating_sub(before)
}

/// A line of `/proc/<pid>/status` that counts kilobytes, such as `VmHWM`, in MiB.
pub(crate) fn mib(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Sorts these times, and returns the percentile.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
