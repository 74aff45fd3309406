//! Probes and metrics. They carry no data.

use std::sync::atomic::Ordering;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;

use super::App;

#[derive(Serialize)]
pub(super) struct Ready {
    ready: bool,
    reason: &'static str,
    snapshot: Option<u64>,
}

/// The process is alive: it answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// The process serves a snapshot, or has PostgreSQL to ask, and is not stopping. Nothing else makes it unready: Redis and the source may be
/// down.
pub(super) async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let snapshot = app.service.newest().map(|engine| engine.version().get());
    let (ready, reason) = match snapshot {
        _ if app.stopping.load(Ordering::Relaxed) => (false, "stopping"),
        // PostgreSQL answers until there is one.
        None if app.service.has_postgres() => (true, "serving from PostgreSQL"),
        None => (false, "no snapshot yet"),
        Some(_) => (true, "serving"),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, reason, snapshot }))
}

/// What Prometheus scrapes.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
