//! Runs inside a server: the first by itself, then by schedule, or when somebody asks; one node of many takes each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::build;
use crate::{
    config::Config,
    error::{Code, Error, Result},
    postgres::SourceConfig,
    query::Service,
    server::{FinishedRun, RunState, RunningRun, RunsDriver},
    snapshot::{self, Event, Progress, RunOptions, RunReport, Schedule},
    store::Store,
    telemetry,
};

/// How long to wait before the first snapshot is tried again.
const RETRY_FIRST_AFTER: Duration = Duration::from_secs(10);
/// A clock may jump, and machines sleep: the schedule is looked at this often whatever the timer says.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(30);

pub(super) struct Runner {
    source: SourceConfig,
    store: Store,
    options: RunOptions,
    schedule: Option<Schedule>,
}

/// Why a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// There is no snapshot at all.
    First,
    /// The schedule says so; the time that it was due.
    Due(DateTime<Utc>),
    /// Somebody asked.
    Asked,
}

impl Runner {
    pub(super) fn new(config: &Config, store: Store) -> Result<Self> {
        Ok(Self {
            source: build::source(config)?,
            store,
            options: build::run_options(config)?,
            schedule: build::schedule(config)?,
        })
    }

    pub(super) async fn drive(self, service: Service, mut driver: RunsDriver, shutdown: CancellationToken) {
        let mut retry_at: Option<Instant> = None;
        loop {
            let next_at = self.schedule.as_ref().and_then(|schedule| schedule.next_after(Utc::now()));
            driver.state.send_modify(|state| state.next_at = next_at);
            let reason = if service.newest().is_none() && retry_at.is_none_or(|at| at <= Instant::now()) {
                Reason::First
            } else {
                let retry = retry_at.filter(|_| service.newest().is_none());
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    asked = driver.requests.recv() => match asked {
                        Some(()) => Reason::Asked,
                        None => return,
                    },
                    () = until(next_at) => match next_at {
                        Some(due) => Reason::Due(due),
                        None => continue,
                    },
                    () = until_instant(retry) => continue,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.run(reason, &service, &driver.state) => {}
            }
            retry_at = Some(Instant::now() + RETRY_FIRST_AFTER);
        }
    }

    async fn run(&self, reason: Reason, service: &Service, state: &watch::Sender<RunState>) {
        if let Reason::Due(due) = reason
            && self.is_done_since(due).await
        {
            tracing::info!("the scheduled snapshot has been taken by another node");
            return;
        }
        tracing::info!(?reason, source = %self.source.redacted(), "a snapshot run begins");
        let started = Instant::now();
        let progress = Arc::new(Watched { state: state.clone() });
        state.send_modify(|state| {
            state.running =
                Some(RunningRun { started_at: Utc::now(), version: None, rows: 0, tables_done: 0, tables: None });
        });
        let gate = build::certifying_gate(service.clone());
        let outcome = snapshot::take(&self.source, &self.store, &self.options, progress.as_ref(), gate).await;
        let elapsed = started.elapsed();
        let outcome = match outcome {
            Ok(report) => {
                log_success(&report);
                // Served before it is called done, so that whoever waited for the run can ask it.
                match service.refresh().await {
                    Ok(_) => Ok(report.manifest.version),
                    Err(error) => {
                        tracing::error!(error = %error.chain(), "the new snapshot cannot be opened; the one before is served");
                        Err(error)
                    }
                }
            }
            Err(error) if error.code() == Code::RunInProgress => {
                tracing::info!(reason = error.message(), "another node takes the snapshot");
                Err(error)
            }
            Err(error) => {
                log_failure(&error);
                Err(error)
            }
        };
        if !matches!(&outcome, Err(error) if error.code() == Code::RunInProgress) {
            telemetry::snapshot_run_ended(outcome.is_ok(), elapsed);
        }
        state.send_modify(|state| {
            state.running = None;
            state.last = Some(FinishedRun { ended_at: Utc::now(), elapsed, outcome });
        });
    }

    /// Whether some node has published since the time was due: clocks differ by a little.
    async fn is_done_since(&self, due: DateTime<Utc>) -> bool {
        let Ok(versions) = self.store.versions().await else { return false };
        let Some(newest) = versions.first() else { return false };
        self.store.manifest(*newest).await.is_ok_and(|manifest| manifest.as_of >= due)
    }
}

fn log_success(report: &RunReport) {
    let manifest = &report.manifest;
    let pruned = report.pruned.as_ref().map_or(0, |pruned| pruned.files);
    tracing::info!(
        snapshot = %manifest.version,
        rows = manifest.row_count(),
        bytes = manifest.bytes(),
        tables = manifest.tables.len(),
        duration_ms = manifest.duration_ms,
        pruned,
        "a snapshot was published"
    );
    for omitted in &report.omitted {
        tracing::warn!(table = %omitted.table, column = omitted.column, "a column that looks like a secret was left out");
    }
    for text in &report.as_text {
        tracing::info!(table = %text.table, column = text.column, r#type = text.declared_type, "a column was copied as text");
    }
}

fn log_failure(error: &Error) {
    tracing::error!(
        code = %error.code(),
        error = %error.chain(),
        detail = error.detail(),
        hint = error.hint(),
        "a snapshot run failed; the snapshot before is still served"
    );
}

/// Tells the server how the run goes.
struct Watched {
    state: watch::Sender<RunState>,
}

impl Progress for Watched {
    fn report(&self, event: Event<'_>) {
        let change = |run: &mut RunningRun| match event {
            Event::Started { version, .. } => run.version = Some(version),
            Event::Exporting { tables, .. } => {
                run.tables = Some(tables.len());
                run.rows = 0;
                run.tables_done = 0;
            }
            Event::Copied { rows, .. } => run.rows += rows,
            Event::TableDone { .. } => run.tables_done += 1,
            Event::StartedOver { .. } | Event::AtGate | Event::Published { .. } => {}
        };
        self.state.send_modify(|state| {
            if let Some(run) = &mut state.running {
                change(run);
            }
        });
        if let Event::StartedOver { reason } = event {
            tracing::warn!(reason, "the run starts over");
        }
    }
}

/// Waits until a time of the wall clock; for ever when there is none.
async fn until(time: Option<DateTime<Utc>>) {
    let Some(time) = time else { return std::future::pending().await };
    while let Ok(left) = (time - Utc::now()).to_std() {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AT_CLOCK_EVERY)).await;
    }
}

async fn until_instant(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
