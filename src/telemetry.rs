//! Logs and metrics: the subscriber, and every metric's name.
//!
//! Must not know: the domain. Values come in as plain numbers and words.

mod access_log;

use std::{io::IsTerminal, sync::OnceLock, time::Duration};

use chrono::{DateTime, Utc};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

pub use access_log::Access;
use access_log::AccessLog;

use crate::{
    config::{LogFormat, Telemetry},
    error::{Code, Error, Result},
};

/// Requests by query, cache outcome and error code.
pub const QUERIES_TOTAL: &str = "pilaster_queries_total";
/// Requests that were to go to the other side than their route's, because that could not answer.
pub const FALLBACKS_TOTAL: &str = "pilaster_fallbacks_total";
/// Queries that went back to Postgres by themselves.
pub const TRIPS_TOTAL: &str = "pilaster_trips_total";
/// Replies from before, where neither side could answer.
pub const STALE_TOTAL: &str = "pilaster_stale_replies_total";
/// Live requests that were asked on the other side too.
pub const SHADOWS_TOTAL: &str = "pilaster_shadow_total";
/// The change of the rollout that holds.
pub const ROLLOUT_NUMBER: &str = "pilaster_rollout_number";
/// How long they took, to the first row.
pub const QUERY_SECONDS: &str = "pilaster_query_seconds";
/// The version that is served.
pub const SNAPSHOT_VERSION: &str = "pilaster_snapshot_version";
/// The instant of the source that is served, in seconds since 1970; `time() - ` it is the age.
pub const SNAPSHOT_AS_OF_SECONDS: &str = "pilaster_snapshot_as_of_seconds";
/// Runs by outcome.
pub const SNAPSHOT_RUNS_TOTAL: &str = "pilaster_snapshot_runs_total";
/// How long runs took.
pub const SNAPSHOT_RUN_SECONDS: &str = "pilaster_snapshot_run_seconds";
/// HTTP requests by route, method and status.
pub const HTTP_REQUESTS_TOTAL: &str = "pilaster_http_requests_total";
/// How long they took, to the head of the reply.
pub const HTTP_SECONDS: &str = "pilaster_http_seconds";

/// Lines of the access log that standard error did not take in time.
pub const ACCESS_LINES_DROPPED_TOTAL: &str = "pilaster_access_lines_dropped_total";
/// Rows that queries read from snapshots, before any condition.
pub const ENGINE_ROWS_READ_TOTAL: &str = "pilaster_engine_rows_read_total";
/// Bytes that they read for them.
pub const ENGINE_BYTES_READ_TOTAL: &str = "pilaster_engine_bytes_read_total";
/// Lines of the audit log that its file did not take.
pub const AUDIT_LINES_LOST_TOTAL: &str = "pilaster_audit_lines_lost_total";
/// The access log's target, for filters.
const ACCESS: &str = "pilaster::access";

/// Where the access log is gathered, if it is JSON.
static ACCESS_LOG: OnceLock<AccessLog> = OnceLock::new();

const BUCKETS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Starts logging to standard error, by `default_filter` where no filter is configured. Once for each process.
pub fn start_logs(options: &Telemetry, default_filter: &str) -> Result<()> {
    let filter = options.log.as_deref().unwrap_or(default_filter);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Error::new(Code::InvalidConfig, format!("telemetry.log {filter:?} is not a filter: {error}"))
            .with_hint("write info, or pilaster=debug,warn")
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    let json = match options.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = if json {
        registry.with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()
    } else {
        registry.with(layer.with_ansi(is_terminal).with_target(false)).try_init()
    };
    started.map_err(|error| Error::internal("logs were started twice").with_cause(error))?;
    if json {
        let log = ACCESS_LOG.get_or_init(AccessLog::new);
        let writer = std::thread::Builder::new().name("pilaster-log".into()).spawn(|| log.keep_writing());
        writer.map_err(|error| Error::internal("cannot start the thread that writes the log").with_cause(error))?;
    }
    Ok(())
}

/// Notes a request that has been answered, at level `info`.
pub fn answered(access: &Access<'_>) {
    if !tracing::enabled!(target: ACCESS, tracing::Level::INFO) {
        return;
    }
    match ACCESS_LOG.get() {
        Some(log) => log.add(access),
        None => tracing::info!(
            target: ACCESS,
            request_id = access.request_id,
            method = access.method,
            path = access.path,
            status = access.status,
            bytes = access.bytes,
            duration_ms = access.duration_ms,
            query = access.query,
            cache = access.cache,
            snapshot = access.snapshot,
            rows = access.rows,
            complete = access.complete,
            "request"
        ),
    }
}

/// Writes what is left of the access log; for the end of the process.
pub fn flush() {
    if let Some(log) = ACCESS_LOG.get() {
        log.flush();
    }
}

/// Starts collecting metrics; the handle renders them. Once for each process.
pub fn start_metrics() -> Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), BUCKETS)
        .map_err(|error| Error::internal("the metrics' buckets are wrong").with_cause(error))?;
    let handle =
        builder.install_recorder().map_err(|error| Error::internal("metrics were started twice").with_cause(error))?;
    describe_counter!(QUERIES_TOTAL, "Queries by dashboard, query, side that answered, cache outcome and error code");
    describe_histogram!(QUERY_SECONDS, Unit::Seconds, "From a query's request to its first row");
    describe_gauge!(SNAPSHOT_VERSION, "The snapshot version that is served");
    describe_gauge!(SNAPSHOT_AS_OF_SECONDS, Unit::Seconds, "The instant of the source that is served, since 1970");
    describe_counter!(
        FALLBACKS_TOTAL,
        "Requests that were to go to the other side, by failed side, error code and outcome"
    );
    describe_counter!(TRIPS_TOTAL, "Queries that went back to Postgres by themselves, by reason");
    describe_counter!(STALE_TOTAL, "Replies from before, where neither side could answer");
    describe_counter!(SHADOWS_TOTAL, "Live requests asked on the other side too, by query and outcome");
    describe_gauge!(ROLLOUT_NUMBER, "The number of the rollout's change that holds");
    describe_counter!(SNAPSHOT_RUNS_TOTAL, "Snapshot runs by outcome");
    describe_histogram!(SNAPSHOT_RUN_SECONDS, Unit::Seconds, "How long snapshot runs took");
    describe_counter!(ACCESS_LINES_DROPPED_TOTAL, "Lines of the access log that standard error did not take in time");
    describe_counter!(ENGINE_ROWS_READ_TOTAL, "Rows that queries read from snapshots, before any condition");
    describe_counter!(ENGINE_BYTES_READ_TOTAL, Unit::Bytes, "Bytes that queries read from snapshots");
    describe_counter!(AUDIT_LINES_LOST_TOTAL, "Lines of the audit log that its file did not take");
    describe_counter!(HTTP_REQUESTS_TOTAL, "HTTP requests by route, method and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "From an HTTP request to the head of its reply");
    Ok(handle)
}

/// Counts a query. Labels are bounded: queries are files, and SQL of their own is one label.
pub fn query_answered(
    query: Option<(&str, &str)>,
    side: &'static str,
    elapsed: Duration,
    outcome: std::result::Result<&'static str, Code>,
) {
    QueryMeter::new(query, side, outcome).record(elapsed);
}

/// What counts one query's answers of one kind; made once where there are many.
#[derive(Clone, Debug)]
pub struct QueryMeter {
    total: Counter,
    seconds: Histogram,
}

impl QueryMeter {
    /// For a query, as dashboard and name, or SQL of their own; for the side that answered; and for what the cache did, or the error.
    #[must_use]
    pub fn new(
        query: Option<(&str, &str)>,
        side: &'static str,
        outcome: std::result::Result<&'static str, Code>,
    ) -> Self {
        let (dashboard, name) = query.unwrap_or(("", "ad hoc"));
        let (cache, error) = match outcome {
            Ok(cache) => (cache, ""),
            Err(code) => ("", code.as_str()),
        };
        let labels = [
            ("dashboard", dashboard.to_owned()),
            ("query", name.to_owned()),
            ("side", side.to_owned()),
            ("cache", cache.to_owned()),
            ("error", error.to_owned()),
        ];
        Self { total: counter!(QUERIES_TOTAL, &labels), seconds: histogram!(QUERY_SECONDS, &labels[..4]) }
    }

    /// Counts one that took `elapsed` to its first row.
    pub fn record(&self, elapsed: Duration) {
        self.total.increment(1);
        self.seconds.record(elapsed.as_secs_f64());
    }
}

/// Notes which snapshot is served.
pub fn snapshot_served(version: u64, as_of: DateTime<Utc>) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!(SNAPSHOT_VERSION).set(version as f64);
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats, and seconds since 1970 fit")]
    gauge!(SNAPSHOT_AS_OF_SECONDS).set(as_of.timestamp_millis() as f64 / 1e3);
}

/// Notes which change of the rollout holds.
pub fn rollout_changed(number: u64) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!(ROLLOUT_NUMBER).set(number as f64);
}

/// A query went back to Postgres by itself.
pub fn tripped(reason: &'static str) {
    counter!(TRIPS_TOTAL, "reason" => reason).increment(1);
}

/// A reply was one from before, since neither side could answer.
pub fn answered_stale() {
    counter!(STALE_TOTAL).increment(1);
}

/// Counts a live request that was asked on the other side too, or was to be.
pub fn shadow_judged(dashboard: &str, query: &str, outcome: &'static str) {
    counter!(SHADOWS_TOTAL, "dashboard" => dashboard.to_owned(), "query" => query.to_owned(), "outcome" => outcome)
        .increment(1);
}

/// Counts a request that was to go to the other side.
pub fn fell_back(from: &'static str, error: Code, could: bool) {
    let outcome = if could { "tried" } else { "impossible" };
    counter!(FALLBACKS_TOTAL, "from" => from, "error" => error.as_str(), "outcome" => outcome).increment(1);
}

/// Counts a snapshot run.
pub fn snapshot_run_ended(succeeded: bool, elapsed: Duration) {
    counter!(SNAPSHOT_RUNS_TOTAL, "outcome" => if succeeded { "published" } else { "failed" }).increment(1);
    histogram!(SNAPSHOT_RUN_SECONDS).record(elapsed.as_secs_f64());
}

/// What counts the HTTP requests of one kind.
#[derive(Clone, Debug)]
pub struct HttpMeter {
    total: Counter,
    seconds: Histogram,
}

impl HttpMeter {
    /// `route` is the pattern, not the path.
    #[must_use]
    pub fn new(route: &str, method: &str, status: u16) -> Self {
        let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        Self { total: counter!(HTTP_REQUESTS_TOTAL, &labels), seconds: histogram!(HTTP_SECONDS, &labels[..2]) }
    }

    /// Counts one that took `elapsed` to the head of its reply.
    pub fn record(&self, elapsed: Duration) {
        self.total.increment(1);
        self.seconds.record(elapsed.as_secs_f64());
    }
}
/// A query has read so much.
pub fn engine_read(rows: u64, bytes: u64) {
    counter!(ENGINE_ROWS_READ_TOTAL).increment(rows);
    counter!(ENGINE_BYTES_READ_TOTAL).increment(bytes);
}

/// A line of the audit log is lost.
pub fn audit_line_lost() {
    counter!(AUDIT_LINES_LOST_TOTAL).increment(1);
}
