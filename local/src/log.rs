//! The runner's log: JSON lines, or a readable form if standard output is a terminal.

use functions::{Observer, RequestLine};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that wait for a slow reader, at most; further lines are dropped and counted.
const QUEUE_LINES_MAX: usize = 16_384;
/// The same limit in bytes, because clients influence the length of some lines.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// How long lines are collected before they are written together, so that a busy server makes few system calls.
const COLLECT_FOR: Duration = Duration::from_millis(5);

/// Writes lines to standard output from a thread of its own, so that a slow or missing reader never delays a request.
#[derive(Clone)]
pub struct Log {
    queue: mpsc::SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
    waiting_bytes: Arc<AtomicUsize>,
    people: bool,
}

impl Log {
    /// Starts the writing thread, which ends when all handles are dropped.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn start() -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, lines) = mpsc::sync_channel::<Vec<u8>>(QUEUE_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicU64::new(0));
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let (lost, handled, handled_bytes) = (Arc::clone(&dropped), Arc::clone(&waiting), Arc::clone(&waiting_bytes));
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            let mut batch = Vec::new();
            while let Ok(first) = lines.recv() {
                batch.extend(first);
                std::thread::sleep(COLLECT_FOR);
                let mut count = 1;
                for line in lines.try_iter().take(QUEUE_LINES_MAX) {
                    batch.extend(line);
                    count += 1;
                }
                let mut out = std::io::stdout().lock();
                if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                    lost.fetch_add(count, Ordering::Relaxed);
                }
                handled.fetch_sub(count, Ordering::Relaxed);
                handled_bytes.fetch_sub(batch.len(), Ordering::Relaxed);
                batch.clear();
            }
        })?;
        Ok((Self { queue, dropped, waiting, waiting_bytes, people: std::io::stdout().is_terminal() }, thread))
    }

    /// Whether standard output is a terminal.
    #[must_use]
    pub fn for_people(&self) -> bool {
        self.people
    }

    /// Number of lines that were not written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, but at most for `patience`, because the reader may be gone.
    pub async fn written(&self, patience: Duration) {
        let drained = async {
            while self.waiting.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(COLLECT_FOR).await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
    }

    /// Logs an event of the server itself, such as `shutdown_initiated`, with additional members.
    pub fn event(&self, event: &str, members: Value) {
        let now = domain::Timestamp::from(std::time::SystemTime::now());
        if self.people {
            let members = members.as_object().into_iter().flatten();
            let members = members.map(|(name, value)| match value {
                Value::String(text) => format!(" {name}: {text}"),
                other => format!(" {name}: {other}"),
            });
            self.line(format!("\x1b[2m{}\x1b[0m \x1b[1m{event}\x1b[0m{}\n", time(now), members.collect::<String>()));
            return;
        }
        let mut line = json!({"timestamp": now, "event": event});
        if let (Value::Object(line), Value::Object(members)) = (&mut line, members) {
            line.extend(members);
        }
        self.line(format!("{line}\n"));
    }

    fn line(&self, line: impl Into<Vec<u8>>) {
        let line = line.into();
        let bytes = line.len();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting_bytes = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting_bytes > QUEUE_BYTES_MAX || self.queue.try_send(line).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for Log {
    fn answered(&self, line: &RequestLine<'_>) {
        if self.people {
            let colour = match line.status_code {
                0..400 => 32,
                400..500 => 33,
                _ => 31,
            };
            self.line(format!(
                "\x1b[2m{}\x1b[0m \x1b[{colour}m{}\x1b[0m {:<6} {} \x1b[2m{:.1} ms{}\x1b[0m\n",
                time(line.timestamp),
                line.status_code,
                line.method,
                line.path.escape_debug(),
                line.duration_seconds.0.as_secs_f64() * 1e3,
                if line.is_slow_request { " slow" } else { "" },
            ));
        } else if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            self.line(text);
        }
    }
}

/// The time of day, for people.
fn time(at: domain::Timestamp) -> String {
    at.to_string().get(11..23).unwrap_or_default().to_owned()
}

/// Receives the diagnostics of `tracing` and adds them to the same queue.
impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
