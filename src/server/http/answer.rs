//! From a request to its reply: ask the one door, say where the rows come from, send them.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use axum::{
    body::Body as HttpBody,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::SecondsFormat;
use futures::{StreamExt, TryStreamExt};

use super::{
    App, body,
    logged::{Logged, Unanswered},
    negotiation::{Encoding, Wishes},
    problem::Failure,
    request::ROUTE,
    shortcut::Meaning,
};
use crate::{
    cache::Key,
    output::{Format, Numbers, StreamEncoder},
    query::{Body, CacheOutcome, Provenance, Request, Target},
    rollout::{Route, Side},
};

pub(super) const SNAPSHOT: HeaderName = HeaderName::from_static("pilaster-snapshot");
pub(super) const AS_OF: HeaderName = HeaderName::from_static("pilaster-as-of");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
pub(super) const HIT_IN_MEMORY: &str = "Pilaster; hit; detail=memory";
/// Replies depend on who asks; a browser may keep one, and must ask whether it still holds.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const VARY: HeaderValue = HeaderValue::from_static("accept, accept-encoding, pilaster-tenant, authorization, origin");

/// Answers one query, and says of it what an audit keeps.
pub(super) async fn answer(
    app: &App,
    request: Request,
    wishes: &Wishes,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let asked = Unanswered::new(app, &request.id, |audit| request.record(audit));
    let mut response = match answered(app, request, wishes, headers).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    };
    if let Some(record) = asked.and_then(Unanswered::answered) {
        let mut logged = response.extensions_mut().remove::<Logged>().unwrap_or_default();
        logged.record = Some(match logged.side {
            Some(side) => record.answered_by(side, logged.cache.unwrap_or("client"), logged.snapshot),
            None => record,
        });
        response.extensions_mut().insert(logged);
    }
    Ok(response)
}

async fn answered(app: &App, request: Request, wishes: &Wishes, headers: &HeaderMap) -> Result<Response, Failure> {
    let name = match &request.target {
        Target::Named { name, .. } => name.clone(),
        Target::AdHoc(_) => "query".to_owned(),
    };
    let query: std::sync::Arc<str> = match &request.target {
        Target::Named { dashboard, name } => format!("{dashboard}/{name}").into(),
        Target::AdHoc(_) => "ad hoc".into(),
    };
    let resolved = app.service.resolve(request).await?;
    // Equal keys are equal results, so that a client that has the body needs no computation at all.
    if let Some(key) = resolved.key() {
        let held = [wishes.encoding, Encoding::Identity].map(|encoding| etag(key, wishes, encoding));
        if let Some(tag) = held.iter().find(|tag| if_none_match(headers, tag)) {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            let made = resolved.provenance(CacheOutcome::Memory);
            let out = response.headers_mut();
            where_from(out, &made);
            insert(out, header::ETAG, tag);
            out.insert(header::CACHE_CONTROL, PRIVATE);
            out.insert(header::VARY, VARY);
            let snapshot = made.snapshot.map(|(version, _)| version.get());
            let logged = Logged { query: Some(query), side: Some(made.side.name()), snapshot, ..Logged::default() };
            response.extensions_mut().insert(logged);
            return Ok(response);
        }
    }

    let label = resolved.label().cloned();
    let reply = app.service.answer(resolved).await?;
    let mut logged = Logged {
        query: Some(query),
        side: Some(reply.provenance.side.name()),
        cache: Some(reply.provenance.cache.name()),
        snapshot: reply.provenance.snapshot.map(|(version, _)| version.get()),
        ..Logged::default()
    };
    let mut meaning = None;
    let (body, encoding) = match reply.body {
        Body::Entry(entry) => {
            logged.rows = Some(entry.rows() as u64);
            let (bytes, encoding) = body::of_entry(app.service.cache(), &entry, wishes).await?;
            meaning = reply.key.filter(|_| !app.service.shadows_engine()).map(|key| Meaning {
                key,
                body: body::body_id(wishes.format, wishes.options, encoding),
                query: label.clone(),
            });
            (HttpBody::from(bytes), encoding)
        }
        Body::Stream { schema, batches } => {
            let encoder = StreamEncoder::new(wishes.format, wishes.options, &schema)?;
            let rows = std::sync::Arc::new(AtomicU64::new(0));
            logged.streamed = Some(std::sync::Arc::clone(&rows));
            let count = move |batch: &RecordBatch| {
                rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            };
            let batches = batches.inspect_ok(count).boxed();
            (body::of_stream(encoder, batches, wishes.encoding)?, wishes.encoding)
        }
    };
    let mut response = Response::new(body);
    let out = response.headers_mut();
    provenance(out, &reply.provenance);
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(wishes.format.content_type()));
    out.insert(header::CACHE_CONTROL, PRIVATE);
    out.insert(header::VARY, VARY);
    if let Some(key) = &reply.key {
        insert(out, header::ETAG, &etag(key, wishes, encoding));
    }
    if encoding != Encoding::Identity {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    if wishes.download || matches!(wishes.format, Format::Csv | Format::Parquet) {
        let name: String =
            name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).collect();
        insert(
            out,
            header::CONTENT_DISPOSITION,
            &format!("attachment; filename=\"{name}.{}\"", wishes.format.file_extension()),
        );
    }
    response.extensions_mut().insert(logged);
    if let Some(meaning) = meaning {
        response.extensions_mut().insert(meaning);
    }
    Ok(response)
}

/// Where a reply comes from is in its headers, never in its body.
pub(super) fn provenance(headers: &mut HeaderMap, provenance: &Provenance) {
    where_from(headers, provenance);
    // RFC 9211.
    let status = match provenance.cache {
        CacheOutcome::Memory => HIT_IN_MEMORY,
        CacheOutcome::Redis => "Pilaster; hit; detail=redis",
        CacheOutcome::Collapsed => "Pilaster; fwd=miss; collapsed",
        CacheOutcome::Stored => "Pilaster; fwd=miss; stored",
        CacheOutcome::Bypassed => "Pilaster; fwd=bypass",
    };
    match provenance.time_to_live.filter(|_| provenance.cache != CacheOutcome::Bypassed) {
        Some(left) => insert(headers, CACHE_STATUS, &format!("{status}; ttl={}", left.as_secs())),
        None => drop(headers.insert(CACHE_STATUS, HeaderValue::from_static(status))),
    }
    server_timing(headers, provenance.elapsed);
}

/// Who answered; and of which instant, where that is one snapshot's.
fn where_from(headers: &mut HeaderMap, provenance: &Provenance) {
    if let Some((version, as_of)) = provenance.snapshot {
        headers.insert(SNAPSHOT, HeaderValue::from(version.get()));
        insert(headers, AS_OF, &as_of.to_rfc3339_opts(SecondsFormat::Micros, true));
    }
    let route = match (provenance.side, provenance.is_fallback, provenance.route) {
        (Side::Engine, ..) if provenance.stale.is_some() => "engine; stale",
        (Side::Postgres, ..) if provenance.stale.is_some() => "postgres; stale",
        (Side::Engine, true, _) => "engine; fallback",
        (Side::Postgres, true, _) => "postgres; fallback",
        (Side::Engine, false, _) => "engine",
        (Side::Postgres, false, Route::Shadow) => "shadow",
        (Side::Postgres, false, _) => "postgres",
    };
    headers.insert(ROUTE, HeaderValue::from_static(route));
    if let Some(age) = provenance.stale {
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
}

/// How long it took until the reply was known.
pub(super) fn server_timing(headers: &mut HeaderMap, elapsed: std::time::Duration) {
    insert(headers, SERVER_TIMING, &format!("total;dur={:.3}", elapsed.as_secs_f64() * 1e3));
}

/// A strong tag: equal tags are equal bytes.
fn etag(key: &Key, wishes: &Wishes, encoding: Encoding) -> String {
    let numbers = match wishes.options.numbers {
        Numbers::Native => "",
        Numbers::String => "-s",
    };
    format!("\"{}-{}{numbers}-{}\"", &key.to_hex()[..32], wishes.format.name(), encoding.name())
}

/// `If-None-Match`, by weak comparison as RFC 9110 asks.
fn if_none_match(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The common part of every request to the one door.
pub(super) fn request(
    id: &super::request::RequestId,
    principal: crate::access::Principal,
    target: Target,
    parameters: crate::query::RawParameters,
    wishes: &Wishes,
) -> Request {
    Request {
        id: std::sync::Arc::clone(&id.0),
        principal,
        target,
        parameters,
        snapshot: wishes.snapshot.clone(),
        time_zone: wishes.time_zone.clone(),
        mode: wishes.mode,
    }
}
