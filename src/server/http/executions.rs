//! What runs now, and stopping it.

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
    problem::{Failure, Problem},
};
use crate::{
    access::Principal,
    error::{Code, Error},
};

/// All requests that are being answered.
#[derive(Serialize, ToSchema)]
pub(super) struct Executions {
    executions: Vec<Execution>,
}

/// One request that is being answered.
#[derive(Serialize, ToSchema)]
pub(super) struct Execution {
    id: String,
    principal: String,
    /// `dashboard/name`; null for SQL of their own.
    query: Option<String>,
    started_at: String,
    elapsed_ms: u64,
}

/// Lists what runs now, the longest-running first.
#[utoipa::path(
    get, path = "/v1/executions", operation_id = "list_executions", tag = "executions",
    responses((status = 200, body = Executions), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn list(State(app): State<App>, Extension(principal): Extension<Principal>) -> Json<Executions> {
    let sees_all = principal.is_admin_of_all();
    let executions = app
        .service
        .executions()
        .list()
        .into_iter()
        .filter(|execution| sees_all || execution.principal == principal.name())
        .map(|execution| Execution {
            id: execution.id.to_string(),
            principal: execution.principal,
            query: execution.query,
            started_at: execution.started_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            elapsed_ms: u64::try_from(execution.elapsed.as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    Json(Executions { executions })
}

/// Stops one.
#[utoipa::path(
    delete, path = "/v1/executions/{id}", tag = "executions", params(("id" = String, Path)),
    responses((status = 204, description = "It is being stopped"), (status = "default", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn stop(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let may_stop = |owner: &str| principal.is_admin_of_all() || owner == principal.name();
    if app.service.executions().stop(&id, may_stop) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Error::new(Code::NotFound, format!("no execution {id:?} is running"))
        .with_hint("GET /v1/executions lists what runs; an execution's id is its request's X-Request-Id")
        .into())
}
