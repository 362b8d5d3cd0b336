//! The embedded DynamoDB engine as the HTTP client of AWS's SDK: requests reach it inside the process.

use crate::database::{Answer, Database, failed, joins, writes};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

/// A handle to the engine's thread.
///
/// The engine is one synchronous SQLite connection. Its own thread keeps this work off the async threads, and answers
/// whatever waits in its queue in groups with one commit each.
#[derive(Debug, Clone)]
pub struct Engine {
    queue: mpsc::Sender<Job>,
    answers: Arc<Answers>,
    /// The queue of a handle with priority.
    ahead: Option<mpsc::Sender<Job>>,
    /// Whether each write through this handle waits for admission.
    admission: bool,
    /// Whether a scan through this handle is split into small pages.
    pieces: bool,
    /// The priority queue, kept here for handles that are created later.
    to_ahead: mpsc::Sender<Job>,
}

enum Job {
    /// An operation of the `DynamoDB` API.
    Call { operation: String, body: Vec<u8>, pieces: bool, reply: oneshot::Sender<Answer> },
    /// Other work that needs exclusive access to the database.
    Work(Work),
    /// Wakes the thread, which then looks into the priority queue.
    Look,
}

type Work = Box<dyn FnOnce(&Database) + Send>;

/// The number of permits that means "no limit". It is half of a semaphore's maximum, because refused writes return
/// their permits in addition.
pub const UNLIMITED: usize = Semaphore::MAX_PERMITS / 2;

/// How long a write waits for the ledger's backlog to shrink before it is refused.
pub const ADMISSION_PATIENCE: Duration = Duration::from_secs(5);

/// Operations that share a commit. More would leave the callers' thread without work until the commit.
pub const GROUP_MAX: usize = 8;

/// DynamoDB's answer when it throttles.
const THROTTLED: &[u8] = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"the ledger lags behind; try again"}"#;

/// Prefix of `X-Amz-Target`, before the operation's name.
pub const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Answers on their way from the engine's thread to the callers.
///
/// Waking a task from another thread is a system call. So one task collects all finished answers and distributes them
/// on the callers' thread, where a wake-up costs almost nothing.
#[derive(Debug)]
struct Answers {
    ready: Mutex<Vec<(oneshot::Sender<Answer>, Answer)>>,
    ended: AtomicBool,
    more: Notify,
    /// Whether there was a write since the last distribution.
    changed: AtomicBool,
    written: Notify,
    /// Number of calls so far.
    calls: AtomicU64,
    /// Permits for writes that may still begin.
    admitted: Semaphore,
}

impl Answers {
    fn new() -> Self {
        Self {
            ready: Mutex::default(),
            ended: AtomicBool::default(),
            more: Notify::default(),
            changed: AtomicBool::default(),
            written: Notify::default(),
            calls: AtomicU64::default(),
            admitted: Semaphore::new(UNLIMITED),
        }
    }

    fn push(&self, answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).append(answers);
        self.more.notify_one();
    }

    fn changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.more.notify_one();
    }

    async fn hand_out(self: Arc<Self>) {
        loop {
            self.more.notified().await;
            let ended = self.ended.load(Ordering::Acquire);
            let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
            if self.changed.swap(false, Ordering::AcqRel) {
                self.written.notify_one();
            }
            for (reply, answer) in ready {
                // The caller may have gone away.
                let _ = reply.send(answer);
            }
            if ended {
                return;
            }
        }
    }
}

impl Engine {
    /// Moves `database` to a new thread. The thread ends and closes it when all handles are dropped.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    ///
    /// # Panics
    /// Outside of a tokio runtime, because a task distributes the answers.
    pub fn start(database: Database) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let answers = Arc::new(Answers::new());
        tokio::spawn(Arc::clone(&answers).hand_out());
        let (to_ahead, ahead) = mpsc::channel::<Job>();
        let engine =
            Self { queue, answers: Arc::clone(&answers), ahead: None, admission: true, pieces: false, to_ahead };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let mut group = Group { database, answers, unanswered: Vec::with_capacity(GROUP_MAX), wrote: false };
            while let Ok(job) = jobs.recv() {
                let mut first = Some(job);
                while let Some(job) = ahead.try_recv().ok().or_else(|| first.take()).or_else(|| jobs.try_recv().ok()) {
                    group.take(job);
                }
                group.finish();
            }
            group.answers.end();
        })?;
        Ok((engine, thread))
    }

    /// A handle with priority, whose writes never wait for admission. The stream's consumer uses it to work off the
    /// backlog.
    #[must_use]
    pub fn ahead(&self) -> Self {
        Self { ahead: Some(self.to_ahead.clone()), admission: false, ..self.clone() }
    }

    /// A handle for requests. The gateway has already waited for their [`Engine::admission`], and scans are split into
    /// small pages so that other calls need not wait for a whole scan.
    #[must_use]
    pub fn admitted(&self) -> Self {
        Self { admission: false, pieces: true, ..self.clone() }
    }

    /// Waits until one more write may begin, for at most [`ADMISSION_PATIENCE`]. A dropped permit is returned, so a
    /// caller that has written must [forget](SemaphorePermit::forget) it. `None`: the wait took too long.
    pub async fn admission(&self) -> Option<SemaphorePermit<'_>> {
        timeout(ADMISSION_PATIENCE, self.answers.admitted.acquire()).await.ok()?.ok()
    }

    fn send(&self, job: Job) -> Option<()> {
        let job = match &self.ahead {
            None => job,
            Some(ahead) => {
                ahead.send(job).ok()?;
                Job::Look
            }
        };
        self.queue.send(job).ok()
    }

    /// Allows this many further writes in all, or [`UNLIMITED`]. Writes beyond that wait.
    pub fn admit(&self, writes: usize) {
        let available = self.answers.admitted.available_permits();
        match writes.checked_sub(available) {
            Some(more) => self.answers.admitted.add_permits(more),
            None => drop(self.answers.admitted.forget_permits(available - writes)),
        }
    }

    /// Number of calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.answers.calls.load(Ordering::Relaxed)
    }

    /// Reports that the database was changed in another way than by a call.
    pub fn wake(&self) {
        self.answers.written.notify_one();
    }

    /// Waits until there may have been a write since the last wait.
    pub async fn written(&self) {
        self.answers.written.notified().await;
    }

    /// Runs work that is not an operation of DynamoDB's API with exclusive access to the database. `None`: the engine
    /// has stopped.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce(&Database) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |database| drop(reply.send(work(database))));
        self.send(Job::Work(work))?;
        answer.await.ok()
    }

    /// Executes one operation of DynamoDB's API, given by its name and JSON body. `None`: the engine has stopped.
    pub async fn call(&self, operation: String, body: Vec<u8>) -> Option<Answer> {
        if self.admission && writes(&operation) {
            match self.admission().await {
                Some(admission) => admission.forget(),
                None => return Some((400, THROTTLED.to_vec())),
            }
        }
        let (reply, answer) = oneshot::channel();
        self.send(Job::Call { operation, body, pieces: self.pieces, reply })?;
        answer.await.ok()
    }
}

/// What the engine's thread has executed and not answered yet.
struct Group {
    database: Database,
    answers: Arc<Answers>,
    unanswered: Vec<(oneshot::Sender<Answer>, Answer)>,
    wrote: bool,
}

impl Group {
    fn take(&mut self, job: Job) {
        match job {
            Job::Call { operation, body, pieces, reply } => {
                if !joins(&operation) {
                    self.finish();
                }
                self.wrote |= writes(&operation);
                let answer = self.database.perform(&operation, &body, pieces);
                self.unanswered.push((reply, answer));
                // What is not part of a group must not share the fate of the next one.
                if self.unanswered.len() == GROUP_MAX || !joins(&operation) {
                    self.finish();
                }
            }
            Job::Work(work) => {
                self.finish();
                // If the work panics, its caller notices that the answer is missing.
                drop(catch_unwind(AssertUnwindSafe(|| work(&self.database))));
            }
            Job::Look => {}
        }
    }

    /// Commits the group, and answers all of it.
    fn finish(&mut self) {
        if self.unanswered.is_empty() {
            return;
        }
        if !self.database.commit() {
            // An answer to a read may show a write that has not happened.
            self.unanswered.iter_mut().for_each(|(_, answer)| *answer = failed());
        }
        self.answers.calls.fetch_add(self.unanswered.len() as u64, Ordering::Relaxed);
        if std::mem::take(&mut self.wrote) {
            self.answers.changed();
        }
        self.answers.push(&mut self.unanswered);
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or(target).to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let engine = self.clone();
        HttpConnectorFuture::new(async move {
            let answer = Engine::call(&engine, operation, body).await;
            let (status, body) =
                answer.ok_or_else(|| ConnectorError::other("the embedded engine has stopped".into(), None))?;
            let status = status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl HttpClient for Engine {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
