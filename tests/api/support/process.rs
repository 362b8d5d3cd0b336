//! A program under test. Its output is read while it runs, and it does not outlive its owner.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A running program that logs JSON lines. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    output: Arc<Output>,
}

/// The output of a program so far.
#[derive(Default)]
struct Output {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Default)]
struct Text {
    lines: Vec<String>,
    errors: String,
    ended: bool,
}

impl Process {
    /// Starts a program with these environment variables and no other.
    pub(crate) fn start(command: &mut Command, env: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::<Output>::default();
        let errors = child.stderr.take().unwrap();
        let error_reader = std::thread::spawn({
            let output = Arc::clone(&output);
            move || output.read(errors, |text, line| text.errors.extend([line.as_str(), "\n"]))
        });
        let lines = child.stdout.take().unwrap();
        std::thread::spawn({
            let output = Arc::clone(&output);
            move || {
                output.read(lines, |text, line| text.lines.push(line));
                let _ = error_reader.join();
                output.edit(|text| text.ended = true);
            }
        });
        Self { child, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.output.lock().lines.iter().map(|line| parse(line)).collect()
    }

    /// Waits for the first line that `wanted` accepts, and returns it.
    pub(crate) fn await_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = 0;
        self.await_text(|text| {
            let found = text.lines[seen..].iter().map(|line| parse(line)).find(|line| wanted(line));
            seen = text.lines.len();
            assert!(found.is_some() || !text.ended, "the program ended instead: {}{:#?}", text.errors, text.lines);
            found
        })
    }

    /// The last lines of the program, for the message of a test that gets no answer.
    pub(crate) fn said(&self) -> String {
        // The output about a failure may arrive a moment after the failure.
        std::thread::sleep(Duration::from_millis(100));
        let text = self.output.lock();
        let last = text.lines.len().saturating_sub(5);
        let is = if text.ended { "it has ended" } else { "it runs" };
        format!("{is}, and said last: {:#?}\n{}", &text.lines[last..], text.errors)
    }

    /// Waits until the program ends by itself. Returns its exit code and its standard error.
    pub(crate) fn wait(&mut self) -> (i32, String) {
        let errors = self.await_text(|text| text.ended.then(|| text.errors.clone()));
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| panic!("it was ended by {status}"));
        (code, errors)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.output.lock().ended
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn await_text<T>(&self, mut look: impl FnMut(&Text) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.output.lock();
        loop {
            if let Some(found) = look(&text) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain: {}{:#?}", text.errors, text.lines);
            text = self.output.wait(text, left);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Text> {
        // A failed assertion poisons the lock. A second panic here would hide it.
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, text: MutexGuard<'a, Text>, at_most: Duration) -> MutexGuard<'a, Text> {
        let waited = self.changed.wait_timeout(text, at_most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn edit(&self, change: impl FnOnce(&mut Text)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn read(&self, from: impl Read, add: impl Fn(&mut Text, String)) {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            self.edit(|text| add(text, line));
        }
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("a line of the log is not JSON ({error}): {line}"))
}
