//! Reads a stage's figures from CloudWatch: the metrics that its functions publish, and Lambda's own counts for each
//! function.

mod queries;

use aws::{ConnectError, Environment, retries, time_outs};
use aws_sdk_cloudwatch::config::{BehaviorVersion, StalledStreamProtectionConfig};
use aws_sdk_cloudwatch::error::SdkError;
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataError;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{ScanBy, StatusCode};
use aws_sdk_cloudwatch::{Client, Config};
use aws_smithy_async::rt::sleep::TokioSleep;
use domain::Timestamp;
use queries::{HOUR, Query, Series};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use telemetry::Chain;
use telemetry::metrics::{Degraded, Figures, Reading, Source, Window};
use tokio::sync::Mutex;

/// How long an answer is cached. CloudWatch charges each series that is read.
const FRESH_FOR: Duration = Duration::from_mins(1);
/// Pause before the next reading after a failed or incomplete one.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Maximum age of cached figures that are shown while CloudWatch cannot be read.
const STALE_AFTER: Duration = Duration::from_mins(15);
/// Time limit of all calls, attempts and pauses of one reading: half of a function's own limit.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pages of one answer, at most. Our queries fit into one page, but CloudWatch may send several.
const PAGES_MAX: usize = 10;
/// How far back the last runs of jobs are searched. The rarest job runs weekly.
const JOBS: Duration = Duration::from_hours(8 * 24);

/// A client that reads one stage's figures from CloudWatch.
#[derive(Debug)]
pub struct CloudWatch {
    client: Client,
    stage: String,
    functions: Vec<Function>,
    cache: Mutex<Option<Cached>>,
}

/// A function that answers a route.
#[derive(Debug)]
pub struct Function {
    /// The name of its binary, such as `set_mute`.
    pub binary: String,
    /// The route, such as `PATCH /api/users/{userId}/mute`.
    pub route: Box<str>,
}

#[derive(Debug)]
struct Cached {
    figures: Figures,
    until: Timestamp,
}

/// Why CloudWatch could not be read.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("CloudWatch refused or did not answer")]
    Call(#[from] Box<SdkError<GetMetricDataError>>),
    #[error("CloudWatch did not answer within {} s", PATIENCE.as_secs())]
    Time,
}

impl CloudWatch {
    /// A client for the CloudWatch of the environment's region, or at `AWS_ENDPOINT_URL_CLOUDWATCH`.
    ///
    /// # Errors
    /// As [`Environment::read`].
    pub fn from_env(stage: &str, functions: Vec<Function>) -> Result<Self, ConnectError> {
        let endpoint = std::env::var("AWS_ENDPOINT_URL_CLOUDWATCH").ok();
        Ok(Self::new(Environment::read("monitoring", endpoint)?, stage, functions))
    }

    /// A client with these settings.
    #[must_use]
    pub fn new(environment: Environment, stage: &str, functions: Vec<Function>) -> Self {
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(environment.http)
            .sleep_impl(TokioSleep::new())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries())
            .timeout_config(time_outs())
            .region(environment.region)
            .credentials_provider(environment.credentials);
        config.set_endpoint_url(environment.endpoint);
        let client = Client::from_conf(config.build());
        Self { client, stage: stage.to_owned(), functions, cache: Mutex::default() }
    }

    async fn fetch(&self, now: Timestamp) -> Result<Figures, Failure> {
        // Ends at a full minute, so that the current minute is included.
        let end = Timestamp::from_ms(now.ms() / 60_000 * 60_000 + 60_000);
        let before = |range: Duration| Timestamp::from_ms(end.ms().saturating_sub(range.as_secs() * 1000));
        let (hour, jobs) = (queries::of_the_hour(&self.stage, &self.functions), queries::of_the_jobs(&self.stage));
        let series = tokio::time::timeout(PATIENCE, async {
            tokio::try_join!(self.ask(&hour, before(HOUR), end), self.ask(&jobs, before(JOBS), end))
        });
        let ((hour, first), (jobs, second)) = series.await.map_err(|_| Failure::Time)??;
        let mut figures = queries::figures(&hour, &jobs, &self.functions, before(HOUR), now);
        figures.degraded = (!first || !second).then_some(Degraded::Partial);
        Ok(figures)
    }

    /// Reads the series, by their ids. The second value says whether all of them are complete.
    async fn ask(
        &self,
        queries: &[Query],
        start: Timestamp,
        end: Timestamp,
    ) -> Result<(HashMap<String, Series>, bool), Failure> {
        let mut series: HashMap<String, Series> = HashMap::new();
        // The series that have not arrived, or not completely.
        let mut missing: HashSet<String> = queries.iter().map(|query| query.id.clone()).collect();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let request = self
                .client
                .get_metric_data()
                .set_metric_data_queries(Some(queries.iter().map(Query::data_query).collect()))
                .start_time(instant(start))
                .end_time(instant(end))
                .scan_by(ScanBy::TimestampDescending)
                .set_next_token(token);
            let page = request.send().await.map_err(Box::new)?;
            for result in page.metric_data_results() {
                let id = result.id().unwrap_or_default();
                let points = result.timestamps().iter().zip(result.values());
                let points = points.map(|(at, value)| (timestamp(at), *value));
                series.entry(id.to_owned()).or_default().extend(points);
                match result.status_code() {
                    Some(StatusCode::Complete) => missing.remove(id),
                    _ => missing.insert(id.to_owned()),
                };
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        if !missing.is_empty() || token.is_some() {
            tracing::warn!(?missing, cut = token.is_some(), "some series are incomplete");
        }
        Ok((series, missing.is_empty() && token.is_none()))
    }
}

impl Source for CloudWatch {
    fn read<'a>(&'a self, window: &'a Window, now: Timestamp) -> Reading<'a> {
        Box::pin(async move {
            let mut cache = self.cache.lock().await;
            if let Some(cached) = cache.as_ref().filter(|cached| now < cached.until) {
                return cached.figures.clone();
            }
            let figures = match self.fetch(now).await {
                Ok(figures) => figures,
                Err(failure) => {
                    tracing::error!(error = %Chain(&failure), "failed to read the stage's figures");
                    let known = cache.take().map(|cached| cached.figures);
                    let stage = |figures: &Figures| figures.degraded != Some(Degraded::Unavailable);
                    match known.filter(|figures| stage(figures) && now < figures.at.plus(STALE_AFTER)) {
                        Some(figures) => Figures { degraded: Some(Degraded::Stale), ..figures },
                        None => Figures { degraded: Some(Degraded::Unavailable), ..window.figures(now) },
                    }
                }
            };
            let fresh_for = if figures.degraded.is_none() { FRESH_FOR } else { AGAIN_AFTER };
            cache.insert(Cached { figures, until: now.plus(fresh_for) }).figures.clone()
        })
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a timestamp ends with the year 9999")]
fn instant(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.ms() as i64)
}

fn timestamp(at: &DateTime) -> Timestamp {
    Timestamp::from_ms(at.to_millis().ok().and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default())
}
