//! Snapshots: which there are, how runs go, and asking for one.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App,
    catalogue::{Tables, tables_of},
    problem::{Failure, Problem, problem},
};
use crate::{
    access::{Principal, Role},
    error::{Code, Error},
    server::runs::{FinishedRun, RunState, RunningRun},
    store::{Manifest, SnapshotVersion},
};

/// Snapshots listed, newest first, at most so many.
const LISTED_MAX: usize = 50;

/// The snapshots, and how runs go.
#[derive(Serialize, ToSchema)]
pub(super) struct Snapshots {
    /// The version that is served; null before the first.
    served: Option<u64>,
    snapshots: Vec<Snapshot>,
    run: Run,
}

/// One snapshot.
#[derive(Serialize, ToSchema)]
pub(super) struct Snapshot {
    version: u64,
    /// The instant of the source.
    as_of: String,
    published_at: String,
    duration_ms: u64,
    tables: usize,
    rows: u64,
    bytes: u64,
    /// Whether its files are still there, so that `?snapshot=` can ask it.
    readable: bool,
}

/// How runs go on this node.
#[derive(Serialize, ToSchema)]
pub(super) struct Run {
    running: Option<Running>,
    last: Option<Finished>,
    /// When the next begins by itself.
    next_at: Option<String>,
}

/// A run under way.
#[derive(Serialize, ToSchema)]
pub(super) struct Running {
    started_at: String,
    version: Option<u64>,
    rows: u64,
    tables_done: usize,
    tables: Option<usize>,
}

/// A run that ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Finished {
    ended_at: String,
    elapsed_ms: u64,
    /// What it published; null if it failed.
    version: Option<u64>,
    /// Why it failed.
    problem: Option<Problem>,
}

/// Lists the snapshots and tells how runs go.
#[utoipa::path(
    get, path = "/v1/snapshots", operation_id = "list_snapshots", tag = "snapshots",
    responses((status = 200, body = Snapshots), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Snapshots>, Failure> {
    principal.require_all_tenants()?;
    let store = app.service.store();
    let mut snapshots = Vec::new();
    for version in store.versions().await?.into_iter().take(LISTED_MAX) {
        match store.manifest(version).await {
            Ok(manifest) => snapshots.push(snapshot_of(&manifest, store.is_readable(&manifest).await)),
            Err(error) if error.code() == Code::CorruptStore => {
                tracing::warn!(%version, error = %error.chain(), "a manifest cannot be read");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let served = app.service.newest().map(|engine| engine.version().get());
    Ok(Json(Snapshots { served, snapshots, run: run_of(&app.runs.state()) }))
}

/// Tells what one snapshot holds.
#[utoipa::path(
    get, path = "/v1/snapshots/{version}", tag = "snapshots", params(("version" = u64, Path)),
    responses((status = 200, body = Tables), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(version): Path<String>,
) -> Result<Json<Tables>, Failure> {
    principal.require_all_tenants()?;
    let number = version.parse().ok().and_then(SnapshotVersion::new).ok_or_else(|| {
        Error::new(Code::InvalidRequest, format!("{version:?} is not a snapshot's version"))
            .with_hint("use a number from 1")
    })?;
    let manifest = app.service.store().manifest(number).await?;
    Ok(Json(tables_of(&manifest, manifest.tables.iter(), true)))
}

/// Begins a run, or joins the one under way.
#[utoipa::path(
    post, path = "/v1/snapshots", tag = "snapshots",
    responses((status = 202, body = Run), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn start(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<(StatusCode, Json<Run>), Failure> {
    principal.require(Role::Admin)?;
    let state = app.runs.start().await?;
    Ok((StatusCode::ACCEPTED, Json(run_of(&state))))
}

fn snapshot_of(manifest: &Manifest, readable: bool) -> Snapshot {
    Snapshot {
        version: manifest.version.get(),
        as_of: manifest.as_of.to_rfc3339_opts(SecondsFormat::Micros, true),
        published_at: manifest.published_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        duration_ms: manifest.duration_ms,
        tables: manifest.tables.len(),
        rows: manifest.row_count(),
        bytes: manifest.bytes(),
        readable,
    }
}

fn run_of(state: &RunState) -> Run {
    let running = |run: &RunningRun| Running {
        started_at: run.started_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        version: run.version.map(SnapshotVersion::get),
        rows: run.rows,
        tables_done: run.tables_done,
        tables: run.tables,
    };
    let finished = |run: &FinishedRun| Finished {
        ended_at: run.ended_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        elapsed_ms: u64::try_from(run.elapsed.as_millis()).unwrap_or(u64::MAX),
        version: run.outcome.as_ref().ok().map(|version| version.get()),
        problem: run.outcome.as_ref().err().map(|error| problem(error, None)),
    };
    Run {
        running: state.running.as_ref().map(running),
        last: state.last.as_ref().map(finished),
        next_at: state.next_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true)),
    }
}
