//! Named queries and SQL of the analyst's own.

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, header},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    App,
    answer::{answer, request},
    negotiation::wishes,
    problem::{Failure, Problem},
    request::RequestId,
};
use crate::{
    access::Principal,
    error::{Code, Error, Result},
    query::{RawParameters, Target},
};

type Answer = std::result::Result<Response, Failure>;

/// Runs a named query.
///
/// Parameters are in the query string; repeat a key for a list.
#[utoipa::path(
    get, path = "/v1/queries/{dashboard}/{name}", tag = "queries",
    params(("dashboard" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "The rows, in the format that Accept or ?format= asks for"),
        (status = 304, description = "The client has this body already"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_named(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Extension(principal): Extension<Principal>,
    Path((dashboard, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let (wishes, pairs) = wishes(query.as_deref(), &headers)?;
    let parameters = RawParameters::from_pairs(pairs);
    let request = request(&id, principal, Target::Named { dashboard, name }, parameters, &wishes);
    answer(&app, request, &wishes, &headers).await
}

/// Runs a named query with parameters in a JSON object.
#[utoipa::path(
    post, path = "/v1/queries/{dashboard}/{name}", tag = "queries",
    params(("dashboard" = String, Path), ("name" = String, Path)),
    request_body(content = Object, description = "Parameters by name", content_type = "application/json"),
    responses(
        (status = 200, description = "The rows, in the format that Accept or ?format= asks for"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_named(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Extension(principal): Extension<Principal>,
    Path((dashboard, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (wishes, pairs) = wishes(query.as_deref(), &headers)?;
    let mut parameters = RawParameters::from_pairs(pairs);
    parameters.extend(RawParameters::from_json(object(&body)?));
    let request = request(&id, principal, Target::Named { dashboard, name }, parameters, &wishes);
    answer(&app, request, &wishes, &headers).await
}

/// SQL of the analyst's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    /// One SELECT.
    sql: String,
    /// Values of its `$name` parameters.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
}

/// Runs SQL.
///
/// The body is JSON, or the SQL itself as text/plain with parameters in the query string.
#[utoipa::path(
    post, path = "/v1/sql", tag = "sql",
    request_body(content((SqlRequest = "application/json"), (String = "text/plain"))),
    responses(
        (status = 200, description = "The rows, in the format that Accept or ?format= asks for"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_sql(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (wishes, pairs) = wishes(query.as_deref(), &headers)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut parameters = RawParameters::from_pairs(pairs);
    let sql = match kind.as_str() {
        "text/plain" | "application/sql" => text(&body)?.to_owned(),
        "application/json" | "" => {
            let parsed: SqlRequest =
                serde_json::from_slice(&body).map_err(|error| not_json(&error, "{\"sql\": \"SELECT 1\"}"))?;
            parameters.extend(RawParameters::from_json(parsed.params));
            parsed.sql
        }
        other => {
            return Err(Error::new(Code::InvalidRequest, format!("content type {other:?} is not understood"))
                .with_hint("send application/json as {\"sql\": …, \"params\": {…}}, or the SQL as text/plain")
                .into());
        }
    };
    let request = request(&id, principal, Target::AdHoc(sql.into()), parameters, &wishes);
    answer(&app, request, &wishes, &headers).await
}

/// A JSON object; an empty body is an empty one.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::new(Code::InvalidRequest, "the body is JSON, but not an object")
            .with_hint("send parameters by name, for example {\"from\": \"2026-01-01\"}")),
        Err(error) => Err(not_json(&error, "{\"from\": \"2026-01-01\"}")),
    }
}

fn text(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body)
        .map_err(|error| Error::new(Code::InvalidRequest, "the body is not UTF-8").with_cause(error))
}

fn not_json(error: &serde_json::Error, example: &str) -> Error {
    Error::new(Code::InvalidRequest, format!("the body is not the JSON that is wanted: {error}"))
        .with_hint(format!("for example {example}"))
}
