//! Replies that have been given before, found by the bytes of the request: what need not be understood again is not.
//!
//! A dashboard asks the same few questions all day. The way from a query string to the cache's key (options, parameters, types,
//! plan, digests) gives the same key each time, until another snapshot is served or a query's file changes; so the key is kept
//! with the request's bytes, and with the head that was sent. Whatever is not the plainest of hits goes the whole way.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    response::Response,
};

use super::{
    App, answer,
    logged::{self, Logged},
    request,
};
use crate::{
    access::{Principal, Scope},
    cache::{BodyId, Key},
    query::{NamedQuery, Service},
    telemetry::{HttpMeter, QueryMeter},
};

/// Of all requests that are kept together, with their heads.
const BYTES_MAX: u64 = 16 << 20;
/// Requests longer than this are rare, and are understood each time.
const ASKED_BYTES_MAX: usize = 4 << 10;
/// What a head takes, about.
const KNOWN_BYTES: usize = 2 << 10;
/// Headers that change what is answered, in the order in which they are part of a request's bytes.
const TELLING: [header::HeaderName; 2] = [header::ACCEPT, header::ACCEPT_ENCODING];
/// Headers that ask for more than the plainest of hits.
const SPECIAL: [header::HeaderName; 5] =
    [header::CACHE_CONTROL, header::IF_NONE_MATCH, header::RANGE, header::ORIGIN, request::ROUTE];
const PREFIX: &str = "/v1/queries/";
const ROUTE: &str = "/v1/queries/{dashboard}/{name}";

/// What requests were found to mean.
pub(super) struct Shortcuts(moka::sync::Cache<Asked, Arc<Known>>);

/// Everything of a request that its answer depends on.
pub(super) type Asked = Box<[u8]>;

/// What an answered request is known by.
#[derive(Clone)]
pub(super) struct Meaning {
    pub(super) key: Key,
    pub(super) body: BodyId,
    pub(super) query: Option<Arc<NamedQuery>>,
}

struct Known {
    /// Of the service, when the request was understood.
    generation: u64,
    key: Key,
    body: BodyId,
    head: HeaderMap,
    logged: Logged,
    query: QueryMeter,
    http: HttpMeter,
}

/// Whether a request may take a shortcut: a named query, asked plainly, over a version of HTTP that has keep-alive by default.
pub(super) fn is_plain(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.version() > Version::HTTP_10
        && request.uri().path().starts_with(PREFIX)
        && SPECIAL.iter().all(|name| !headers.contains_key(name))
}

/// The whole reply, if this was asked before, means the same still, and is in memory; else the request again. Who asks is checked as
/// on the whole way.
pub(super) async fn take(app: &App, request: Request) -> Result<Response, Request> {
    let started = Instant::now();
    let Some((known, principal)) = known(app, &request) else { return Err(request) };
    let Some(entry) = app.service.cache().get(&known.key).await else { return Err(request) };
    let Some(body) = entry.body(known.body) else { return Err(request) };
    // What is over its quota goes the whole way, where it is said.
    if app.access.admit(&principal).is_err() {
        return Err(request);
    }
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = known.head.clone();
    let elapsed = started.elapsed();
    answer::server_timing(response.headers_mut(), elapsed);
    known.query.record(elapsed);
    response.extensions_mut().insert(known.logged.clone());
    let id = request::request_id(request.headers());
    known.http.record(started.elapsed());
    let asked = logged::Asked { id, method: Method::GET, uri: request.uri().clone(), started };
    Ok(logged::finish(app, response, asked))
}

fn known(app: &App, request: &Request) -> Option<(Arc<Known>, Principal)> {
    request::check_host(app, request.headers()).ok()?;
    let principal = app.access.recognize(request::credential(request.headers()).ok()?).ok()?;
    let principal = request::as_tenant(principal, request.headers()).ok()?;
    let asked = asked(request, &principal)?;
    let known = app.shortcuts.0.get(&asked).filter(|known| known.generation == app.service.generation())?;
    Some((known, principal))
}

impl Shortcuts {
    pub(super) fn new() -> Self {
        let weigh = |asked: &Asked, _: &Arc<Known>| u32::try_from(asked.len() + KNOWN_BYTES).unwrap_or(u32::MAX);
        Self(moka::sync::Cache::builder().weigher(weigh).max_capacity(BYTES_MAX).build())
    }

    /// Keeps what a request meant, if its answer says so.
    pub(super) fn learn(&self, service: &Service, asked: Asked, generation: u64, response: &Response) {
        let parts = (response.extensions().get::<Meaning>(), response.extensions().get::<Logged>());
        let (Some(meaning), Some(logged), StatusCode::OK) = (parts.0, parts.1, response.status()) else { return };
        let mut head = response.headers().clone();
        head.insert(answer::CACHE_STATUS, HeaderValue::from_static(answer::HIT_IN_MEMORY));
        let mut logged = Logged { cache: Some("memory"), ..logged.clone() };
        logged.record = logged.record.map(|record| record.answered_by("engine", "memory", logged.snapshot));
        let http = HttpMeter::new(ROUTE, Method::GET.as_str(), StatusCode::OK.as_u16());
        let query = service.hit_meter(meaning.query.as_deref());
        let known = Known { generation, key: meaning.key, body: meaning.body, head, logged, query, http };
        self.0.insert(asked, Arc::new(known));
    }
}

/// The bytes of a request that is plain.
pub(super) fn asked(request: &Request, principal: &Principal) -> Option<Asked> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = uri.path_and_query()?.as_str();
    let mut bytes = Vec::with_capacity(target.len() + 256);
    // Each part says how long it is, so that no two requests are the same bytes.
    let mut part = |part: &[u8]| {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(part);
    };
    part(target.as_bytes());
    part(principal.name().as_bytes());
    part(principal.role().to_string().as_bytes());
    part(if principal.views_as() { b"views" } else { b"" });
    match principal.scope() {
        Scope::All => part(b""),
        Scope::Tenant(tenant) => part(tenant.as_str().as_bytes()),
    }
    for name in &TELLING {
        let mut values = headers.get_all(name).iter();
        part(values.next().map_or(&b""[..], HeaderValue::as_bytes));
        if values.next().is_some() {
            return None;
        }
    }
    (bytes.len() <= ASKED_BYTES_MAX).then(|| bytes.into_boxed_slice())
}
