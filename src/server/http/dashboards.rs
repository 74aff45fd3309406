//! A whole dashboard in one request: all its queries from one snapshot, each as it finishes.

use axum::{
    Extension,
    body::{Body as HttpBody, Bytes},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    App,
    answer::{self, request},
    body,
    logged::Unanswered,
    negotiation::{Encoding, Wishes, wishes},
    problem::{Failure, Problem, problem, told},
    queries::object,
    request::{RequestId, log_failure},
};
use crate::{
    access::Principal,
    audit::Ending,
    error::{Code, Error, Result},
    output::{Format, StreamEncoder},
    query::{Body, NamedQuery, Pin, Provenance, RawParameters, Request, Target},
};

/// One line of the reply.
#[derive(Serialize)]
struct Line<'a> {
    query: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Runs all queries of a dashboard against one snapshot.
///
/// Parameters go to each query that declares them. The reply is NDJSON, one line for each query as it finishes:
/// `{"query": "mrr", "status": 200, "result": {"meta": …, "data": …, "rows": …}}`, or `"error"` with a problem.
#[utoipa::path(
    post, path = "/v1/dashboards/{dashboard}", tag = "queries",
    params(("dashboard" = String, Path)),
    request_body(content = Object, description = "Parameters by name", content_type = "application/json"),
    responses(
        (status = 200, description = "One line for each query", content_type = "application/x-ndjson"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Extension(principal): Extension<Principal>,
    Path(dashboard): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> std::result::Result<Response, Failure> {
    let (mut wishes, pairs) = wishes(query.as_deref(), &headers)?;
    wishes.format = Format::Json;
    wishes.encoding = Encoding::Identity;
    let mut given = RawParameters::from_pairs(pairs);
    given.extend(RawParameters::from_json(object(&body)?));

    let catalog = app.service.library().catalog();
    let mut queries = catalog.dashboard(&dashboard);
    if let (Some(grant), Some(query)) = (principal.grant(), queries.first()) {
        principal.require_query(&dashboard, grant.query.as_deref().unwrap_or(&query.name))?;
        queries.retain(|query| grant.covers(&dashboard, &query.name));
    }
    if queries.is_empty() {
        let error = Error::new(Code::NotFound, format!("there is no dashboard {dashboard}"));
        // A page that shows one need not know of others.
        let error = match principal.grant() {
            Some(_) => error,
            None => error.with_hint(format!("the dashboards are {}", catalog.dashboards().join(", "))),
        };
        return Err(error.into());
    }
    let declared = |name: &str| queries.iter().any(|query| query.parameter(name).is_some());
    if let Some(unknown) = given.names().find(|name| !declared(name)) {
        return Err(Error::new(
            Code::UnknownParameter,
            format!("no query of dashboard {dashboard} has a parameter {unknown:?}"),
        )
        .with_hint("GET /v1/queries lists what each takes")
        .into());
    }
    // One engine for all, whatever is published meanwhile. Without a snapshot, the other side may answer.
    let engine = match app.service.engine(&wishes.snapshot).await {
        Ok(engine) => Some(engine),
        Err(error) if error.code() == Code::SnapshotPending && app.service.has_postgres() => None,
        Err(error) => return Err(error.into()),
    };
    if let (Some(engine), Pin::Newest) = (&engine, &wishes.snapshot) {
        wishes.snapshot = Pin::Engine(engine.clone());
    }

    let running: FuturesUnordered<_> = queries
        .into_iter()
        .map(|query| {
            let parameters = given.only(|name| query.parameter(name).is_some());
            let target = Target::Named { dashboard: query.dashboard.clone(), name: query.name.clone() };
            let id = RequestId(format!("{}/{}", id.0, query.name).into());
            let request = request(&id, principal.clone(), target, parameters, &wishes);
            line(app.clone(), std::sync::Arc::clone(query), request, wishes.clone())
        })
        .collect();
    let mut response = Response::new(HttpBody::from_stream(running.map(Ok::<_, std::convert::Infallible>)));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(Format::NdJson.content_type()));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if let Some(engine) = engine {
        out.insert(answer::SNAPSHOT, HeaderValue::from(engine.version().get()));
        let as_of = engine.as_of().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        if let Ok(value) = HeaderValue::from_str(&as_of) {
            out.insert(answer::AS_OF, value);
        }
    }
    Ok(response)
}

/// A query that fails is a line that says so; the others go on.
async fn line(app: App, query: std::sync::Arc<NamedQuery>, request: Request, wishes: Wishes) -> Bytes {
    let (id, scope) = (std::sync::Arc::clone(&request.id), request.principal.scope().clone());
    let started = std::time::Instant::now();
    let asked = Unanswered::new(&app, &id, |audit| request.record(audit));
    let mut answered_by = None;
    let (mut outcome, mut rows) = ("ok", None);
    let made = match result(&app, request, &wishes).await {
        Ok((bytes, provenance, row_count)) => {
            rows = Some(row_count);
            let snapshot = provenance.snapshot.map(|(version, _)| version.get());
            answered_by = Some((provenance.side.name(), provenance.cache.name(), snapshot));
            encode_line(&Line {
                query: &query.name,
                status: 200,
                result: serde_json::from_slice(&bytes).ok(),
                error: None,
            })
        }
        Err(error) => {
            outcome = error.code().as_str();
            log_failure(&error, &scope, &id, &query.name);
            let problem = problem(&told(&error, &scope), Some(&id));
            encode_line(&Line {
                query: &query.name,
                status: super::problem::status(error.code()).as_u16(),
                result: None,
                error: Some(problem),
            })
        }
    };
    if let (Some(audit), Some(mut record)) = (&app.audit, asked.and_then(Unanswered::answered)) {
        if let Some((side, cache, snapshot)) = answered_by {
            record = record.answered_by(side, cache, snapshot);
        }
        let (bytes, elapsed) = (made.len() as u64, started.elapsed());
        audit.write(&record, Ending { request_id: &id, outcome, rows, bytes, elapsed });
    }
    made.into()
}

async fn result(app: &App, request: Request, wishes: &Wishes) -> Result<(Bytes, Provenance, u64)> {
    let reply = app.service.run(request).await?;
    let mut rows = 0;
    let bytes = match reply.body {
        Body::Entry(entry) => {
            rows = entry.rows() as u64;
            body::of_entry(app.service.cache(), &entry, wishes).await?.0
        }
        // A panel of a dashboard is small; one that is not would hold up the others' lines.
        Body::Stream { schema, mut batches } => {
            let mut encoder = StreamEncoder::new(Format::Json, wishes.options, &schema)?;
            let mut bytes = Vec::new();
            while let Some(batch) = batches.try_next().await? {
                rows += batch.num_rows() as u64;
                bytes.extend_from_slice(&encoder.batch(&batch)?);
                if bytes.len() > LINE_BYTES_MAX {
                    return Err(Error::new(Code::ResultTooLarge, "the result is too large for a line of a dashboard")
                        .with_hint("ask for this query alone, which streams, or aggregate more"));
                }
            }
            bytes.extend_from_slice(&encoder.finish()?);
            bytes.into()
        }
    };
    Ok((bytes, reply.provenance, rows))
}

/// No panel shows more than this.
const LINE_BYTES_MAX: usize = 64 << 20;

fn encode_line(line: &Line<'_>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("a line is plain data");
    bytes.push(b'\n');
    bytes
}
