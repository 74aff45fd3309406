//! A run: every chosen table of the source, as of one instant, published as one snapshot.
//!
//! Owns: the order of locks and snapshots, which columns travel and how, files and their checks, the schedule.
//! Must not know: the engine, the server. What must happen before publishing comes in as a [`Gate`].
//!
//! The order matters; each slip loses rows or hangs:
//!
//! 1. one run for each store at a time, by an advisory lock on the source;
//! 2. the tables are inspected, then locked by a connection that has read nothing, against TRUNCATE, ALTER and DROP;
//! 3. the exporter takes the snapshot, inspects again, and starts over if anything differs: DDL may have come between;
//! 4. workers import the snapshot and lock the tables for themselves without waiting, since a worker that waits behind a queued
//!    ALTER, which waits for us, would wait for ever;
//! 5. files are written, counted against the server's own count, read back, and only then named by a manifest.

mod columns;
mod copy;
mod export;
mod file;
mod schedule;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::{
    error::{Code, Error, Result},
    postgres::{self, LocaleProvider, SourceConfig},
    store::{Collation, Manifest, PruneOptions, Pruned, RunId, SnapshotVersion, SourceIdentity, Store, TableName},
};

pub use columns::{ColumnRules, OmittedColumn, TextColumn};
pub use schedule::Schedule;

/// Tries at an export that DDL or a replica's conflicts keep disturbing.
const ATTEMPTS_MAX: u32 = 5;

/// What a run does, and how.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The schemas whose tables are copied.
    pub schemas: Vec<String>,
    /// Tables that are left out.
    pub exclude_tables: Vec<TableName>,
    /// What is special about some tables' columns.
    pub tables: BTreeMap<TableName, ColumnRules>,
    /// The key of hashed columns.
    pub hash_key: Option<[u8; 32]>,
    /// Connections that copy at the same time.
    pub connections: usize,
    /// Tables larger than this are split.
    pub part_bytes: u64,
    /// The most rows of a row group.
    pub row_group_rows: usize,
    /// How long to wait for locks.
    pub lock_timeout: Duration,
    /// How long the whole run may take.
    pub timeout: Duration,
    /// How long the source may be silent in the middle of a copy.
    pub idle_timeout: Duration,
    /// What is kept of older snapshots.
    pub prune: PruneOptions,
}

/// What must hold before a snapshot is published. It is given the manifest that is about to be, and the name of the exported
/// snapshot that other connections may import until it returns.
pub type Gate = Box<dyn for<'a> FnOnce(&'a Manifest, &'a str) -> BoxFuture<'a, Result<()>> + Send>;

/// A gate that lets everything through.
#[must_use]
pub fn open_gate() -> Gate {
    Box::new(|_, _| Box::pin(async { Ok(()) }))
}

/// Who is told how a run goes: a terminal, a log, a server's status.
pub trait Progress: Send + Sync {
    /// Something has happened. Called often and from many threads; must be quick.
    fn report(&self, event: Event<'_>);
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The run has its lock, and its version if it succeeds.
    Started {
        /// The run.
        run: RunId,
        /// The version that it will publish.
        version: SnapshotVersion,
    },
    /// The instant is taken; these tables will be copied, with the source's estimate of their rows.
    Exporting {
        /// Tables and estimates.
        tables: &'a [(TableName, Option<u64>)],
        /// The instant.
        as_of: DateTime<Utc>,
    },
    /// An attempt was given up; the next begins.
    StartedOver {
        /// Why.
        reason: &'a str,
    },
    /// More rows of a table have been copied.
    Copied {
        /// The table.
        table: &'a TableName,
        /// How many more.
        rows: u64,
    },
    /// A table is complete and checked.
    TableDone {
        /// The table.
        table: &'a TableName,
        /// Its rows.
        rows: u64,
        /// Its files' bytes.
        bytes: u64,
    },
    /// Everything is copied; the gate decides.
    AtGate,
    /// The snapshot is published.
    Published {
        /// It.
        manifest: &'a Manifest,
    },
}

/// What a run has done.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The snapshot.
    pub manifest: Arc<Manifest>,
    /// Columns that were left out because they look like secrets and no setting names them.
    pub omitted: Vec<OmittedColumn>,
    /// Columns that travel as text because their type has no columnar form here.
    pub as_text: Vec<TextColumn>,
    /// What was pruned after publishing; an error there does not undo the run.
    pub pruned: Result<Pruned>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Takes a snapshot of `source` into `store`.
///
/// Killed at any moment, it leaves the snapshot before it served. Fails with [`Code::RunInProgress`] while another run for the
/// same store is under way.
pub async fn take(
    source: &SourceConfig,
    store: &Store,
    options: &RunOptions,
    progress: &dyn Progress,
    gate: Gate,
) -> Result<RunReport> {
    let started = Instant::now();
    let run = RunId::generate();
    let outcome = tokio::time::timeout(options.timeout, run_once(run, source, store, options, progress, gate)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Error::new(Code::DeadlineExceeded, format!("the run did not finish in {} s", options.timeout.as_secs()))
            .with_hint("raise snapshot.timeout, or give it more snapshot.connections"))
    });
    let done = match outcome {
        Ok(done) => done,
        Err(error) => {
            store.discard_run(run).await;
            return Err(error);
        }
    };
    progress.report(Event::Published { manifest: &done.manifest });
    let pruned = store.prune(options.prune).await;
    if let Err(error) = &pruned {
        tracing::warn!(error = %error.chain(), "the snapshot is published, but old files cannot be pruned");
    }
    let copy::Copied { omitted, as_text, .. } = done.copied;
    Ok(RunReport { manifest: Arc::new(done.manifest), omitted, as_text, pruned, elapsed: started.elapsed() })
}

struct Done {
    manifest: Manifest,
    copied: copy::Copied,
}

async fn run_once(
    run: RunId,
    source: &SourceConfig,
    store: &Store,
    options: &RunOptions,
    progress: &dyn Progress,
    gate: Gate,
) -> Result<Done> {
    let started = Instant::now();
    store.probe().await?;
    let lock = export::RunLock::take(source, &store.id().await?, run).await?;
    // Chosen under the lock and not later: a run that was stopped, lost its lock and went on finds its version taken.
    let version = store.versions().await?.first().map_or(SnapshotVersion::FIRST, |newest| newest.next());
    let previous = store.versions().await?;
    let previous = match previous.first() {
        Some(newest) => store.manifest(*newest).await.ok(),
        None => None,
    };
    progress.report(Event::Started { run, version });
    let identity = postgres::identify(lock.client()).await?;

    let mut attempt = 1;
    let (export, copied) = loop {
        let error = match attempt_copy(run, &lock, store, options, previous.as_ref(), progress).await {
            Ok(done) => break done,
            Err(error) => error,
        };
        if attempt == ATTEMPTS_MAX || !export::may_start_over(&error) {
            return Err(error);
        }
        progress.report(Event::StartedOver { reason: error.message() });
        store.discard_run(run).await;
        tokio::time::sleep(Duration::from_millis(200) * attempt).await;
        attempt += 1;
    };

    let manifest = Manifest {
        format: Manifest::FORMAT,
        version,
        run_id: run,
        as_of: export.as_of,
        published_at: Utc::now(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        source: source_identity(identity, &export),
        tables: copied.tables.clone(),
    };
    progress.report(Event::AtGate);
    gate(&manifest, &export.snapshot).await?;
    export.end().await;
    lock.require_held().await?;
    store.publish(&manifest).await?;
    lock.release().await;
    Ok(Done { manifest, copied })
}

async fn attempt_copy(
    run: RunId,
    lock: &export::RunLock,
    store: &Store,
    options: &RunOptions,
    previous: Option<&Manifest>,
    progress: &dyn Progress,
) -> Result<(export::Export, copy::Copied)> {
    let export = export::begin(lock.client().server(), options).await?;
    let estimates: Vec<(TableName, Option<u64>)> =
        export.tables.iter().map(|table| (columns::store_name(&table.name), table.rows_estimate)).collect();
    progress.report(Event::Exporting { tables: &estimates, as_of: export.as_of });
    let plans = columns::plan(&export, options, previous).await?;
    let copied = copy::copy_tables(run, &export, plans, store, options, progress).await?;
    Ok((export, copied))
}

fn source_identity(identity: postgres::Identity, export: &export::Export) -> SourceIdentity {
    let (provider, locale) = match identity.locale_provider {
        LocaleProvider::Libc => ("libc", identity.collation.clone()),
        LocaleProvider::Icu => ("icu", identity.locale.clone().unwrap_or(identity.collation.clone())),
        LocaleProvider::Builtin => ("builtin", identity.locale.clone().unwrap_or(identity.collation.clone())),
    };
    SourceIdentity {
        system_identifier: identity.system_identifier.map(|identifier| identifier.to_string()).unwrap_or_default(),
        database: identity.database,
        server_version: identity.server_version,
        encoding: identity.encoding,
        collation: Collation { provider: provider.to_owned(), locale, version: identity.collation_version },
        lsn: export.lsn.clone(),
        transactions: Some(export.transactions.clone()),
    }
}
