//! What each request passes through: its id, who asks, errors made whole.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{FutureExt, StreamExt};
use uuid::Builder;

use super::{
    App,
    logged::{Acted, Asked, Logged, finish},
    problem::{self, Failure},
    routes::{Need, act, need},
    shortcut,
};
use crate::{
    access::{Principal, Role, Scope, TenantId},
    audit::Record,
    error::{Code, Error, ErrorKind, Result},
    server::Peer,
    telemetry::HttpMeter,
};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How much of a body that is refused is read, and for how long.
const REFUSED_BYTES_MAX: usize = 32 << 20;
const REFUSED_FOR: Duration = Duration::from_secs(5);
pub(super) const ROUTE: HeaderName = HeaderName::from_static("pilaster-route");
const TENANT: HeaderName = HeaderName::from_static("pilaster-tenant");

/// The request's id: the client's own, or one of ours. It is also the execution's.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// Why somebody may not ask, and who it was if that is known.
struct Refusal {
    error: Error,
    principal: Option<Principal>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, principal: None }
    }
}

/// The outermost layer.
pub(super) async fn pass(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let version = request.version();
    request.extensions_mut().insert(RequestId(id.clone().into()));

    let allowed = allowed(&app, &request, route.as_deref());
    let principal = match &allowed {
        Ok(principal) => principal.clone(),
        Err(refusal) => refusal.principal.clone(),
    };
    // What the house itself answers tells of no rows.
    let scope = principal.as_ref().map_or(Scope::All, |principal| principal.scope().clone());
    let act = act(&method, route.as_deref());
    let act = if allowed.is_err() { Some("refused") } else { act };
    let mut response = match allowed {
        Ok(_) if is_too_long(&app, request.headers()) => {
            hear_out(request).await;
            Failure(from_status(StatusCode::PAYLOAD_TOO_LARGE)).into_response()
        }
        Ok(principal) => whole_way(&app, principal, request, next).await,
        Err(refusal) => Failure(refusal.error).into_response(),
    };
    let mut logged = response.extensions_mut().remove::<Logged>().unwrap_or_default();
    // Whoever is refused further in leaves a line too.
    let is_refusal = response.status() == StatusCode::FORBIDDEN;
    let act = act.or((is_refusal && logged.record.is_none()).then_some("refused"));
    if let (Some(principal), Some(act), Some(_)) = (&principal, act, &app.audit) {
        let acted = response.extensions_mut().remove::<Acted>();
        let subject = acted.as_ref().map_or(uri.path(), |acted| &acted.0);
        logged.record = Some(Record::new(act, principal).about(subject));
    }
    // HTTP/1.0 ends a body of unknown length by closing the connection, so that one which is cut would look whole.
    if version < Version::HTTP_11 && response.body().size_hint().exact().is_none() {
        let error =
            Error::new(Code::InvalidRequest, "HTTP/1.0 cannot tell a streamed reply that is cut from a whole one");
        response = Failure(error.with_hint("ask with HTTP/1.1; in nginx: proxy_http_version 1.1")).into_response();
    }
    if let Some(Failure(error)) = response.extensions_mut().remove::<Failure>() {
        log_failure(&error, &scope, &id, uri.path());
        logged.code = Some(error.code());
        response = with_problem(&problem::told(&error, &scope), &id, response);
    } else if is_bare_error(&response) {
        let error = from_status(response.status());
        logged.code = Some(error.code());
        response = with_problem(&error, &id, response);
    }
    response.extensions_mut().insert(logged);
    let meter = HttpMeter::new(route.as_deref().unwrap_or("none"), method.as_str(), response.status().as_u16());
    meter.record(started.elapsed());
    finish(&app, response, Asked { id, method, uri, started })
}

/// Who asks, if they may ask this; none where it does not matter and they are not known.
fn allowed(app: &App, request: &Request, route: Option<&str>) -> std::result::Result<Option<Principal>, Refusal> {
    check_host(app, request.headers())?;
    let need = need(request.method(), route)
        .ok_or_else(|| Error::new(Code::PermissionDenied, "nobody has been given this route"))?;
    let Need::Role(role) = need else {
        return Ok(credential(request.headers()).and_then(|credential| app.access.recognize(credential)).ok());
    };
    let from = request.extensions().get::<Peer>().map(|peer| peer.0);
    let asks = app.access.authenticate(credential(request.headers())?, from)?;
    let checked = || {
        app.access.admit(&asks)?;
        asks.require(role)?;
        if role == Role::Admin {
            asks.require_all_tenants()?;
        }
        let asks = as_tenant(asks.clone(), request.headers())?;
        flagged(app, asks, request.headers()).map(Some)
    };
    checked().map_err(|error| Refusal { error, principal: Some(asks.clone()) })
}

/// With the route that another system says, if one does.
fn flagged(app: &App, principal: Principal, headers: &HeaderMap) -> Result<Principal> {
    let mut given = headers.get_all(ROUTE).iter();
    let Some(flag) = given.next() else { return Ok(principal) };
    let flag = flag.to_str().ok().filter(|_| given.next().is_none());
    let flag = flag.ok_or_else(|| Error::new(Code::InvalidRequest, "Pilaster-Route is not one token"))?;
    app.access.flagged(principal, flag)
}

async fn whole_way(app: &App, principal: Option<Principal>, mut request: Request, next: Next) -> Response {
    // Before the request is understood: what changes meanwhile must not be taken for what it means now.
    let generation = app.service.generation();
    let asked = principal.as_ref().filter(|_| shortcut::is_plain(&request));
    let asked = asked.and_then(|principal| shortcut::asked(&request, principal));
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        return Failure(Error::internal("the request's handler stopped unexpectedly")).into_response();
    };
    if let Some(asked) = asked {
        app.shortcuts.learn(&app.service, asked, generation, &response);
    }
    response
}

/// The error's body in a reply that keeps its own status and headers (CORS among them).
fn with_problem(error: &Error, id: &str, old: Response) -> Response {
    let mut response = problem::response(error, old.status(), id);
    for (name, value) in old.headers() {
        if !response.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// Whether the body says itself that it is longer than is read.
fn is_too_long(app: &App, headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|length| length > app.body_bytes_max)
}

/// A client that is still sending would see its connection break instead of the reply: it is heard out, within bounds. One that
/// asks before it sends need not send.
async fn hear_out(request: Request) {
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let heard = async {
        let mut left = REFUSED_BYTES_MAX;
        let mut chunks = request.into_body().into_data_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    };
    drop(tokio::time::timeout(REFUSED_FOR, heard).await);
}

/// An error that the framework made by itself, in plain text.
fn is_bare_error(response: &Response) -> bool {
    let is_ours =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/"));
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    is_error && !is_ours && response.extensions().get::<Logged>().is_none()
}

fn from_status(status: StatusCode) -> Error {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Error::new(Code::StatementTooLarge, "the request's body is too large")
            .with_hint("server.body_bytes_max is the limit"),
        StatusCode::NOT_FOUND => Error::new(Code::NotFound, "there is nothing here"),
        status if status.is_client_error() => {
            let reason = status.canonical_reason().unwrap_or("the request is malformed").to_lowercase();
            Error::new(Code::InvalidRequest, reason).with_hint("/docs says what each route takes")
        }
        _ => Error::internal("the request failed"),
    }
}

/// Once, where it is handled: what a person must act on as an error, the rest for whoever looks.
pub(super) fn log_failure(error: &Error, scope: &Scope, id: &str, path: &str) {
    let chain = error.chain();
    match error.kind() {
        ErrorKind::Internal => {
            tracing::error!(request_id = id, path, code = %error.code(), error = %chain, "request failed")
        }
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted => {
            tracing::warn!(request_id = id, path, code = %error.code(), error = %chain, "request failed");
        }
        // What a tenant is not told, somebody else must be able to find.
        _ if *scope != Scope::All && error.is_of_run() => {
            tracing::info!(request_id = id, path, code = %error.code(), error = %chain, "request refused");
        }
        _ => tracing::debug!(request_id = id, path, code = %error.code(), error = %chain, "request refused"),
    }
}

pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let plain = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
    };
    given.filter(plain).map_or_else(new_id, str::to_owned)
}

/// Ordered by time, and told apart by chance: an id is no secret, so that the kernel need not be asked for its bits.
fn new_id() -> String {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    let mut chance = [0; 10];
    fastrand::fill(&mut chance);
    Builder::from_unix_timestamp_millis(milliseconds, &chance).into_uuid().to_string()
}

/// Where nobody is asked, whoever reaches this machine's loopback is local; a web page that points its own name here must not.
pub(super) fn check_host(app: &App, headers: &HeaderMap) -> Result<()> {
    if app.access.asks() {
        return Ok(());
    }
    // HTTP/2 has no Host header, and no browser speaks it without TLS.
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback || app.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Error::new(Code::PermissionDenied, format!("this server is not called {name:?}"))
        .with_hint("ask it as localhost, or list the name in server.allowed_hosts"))
}

/// What the request shows of who asks.
pub(super) fn credential(headers: &HeaderMap) -> Result<Option<&str>> {
    let wrong = |what: &str| {
        Err(Error::new(Code::Unauthenticated, what)
            .with_hint("send an API key or a token, as in Authorization: Bearer plk_…"))
    };
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return wrong("Authorization is given twice");
    }
    let Some((scheme, credential)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return wrong("Authorization is not understood");
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return wrong("Authorization is not of the scheme Bearer");
    }
    Ok(Some(credential.trim()))
}

/// The principal, or the tenant whom it wants to see as.
pub(super) fn as_tenant(asks: Principal, headers: &HeaderMap) -> Result<Principal> {
    let mut tenants = headers.get_all(TENANT).iter();
    match (tenants.next(), tenants.next()) {
        (None, _) => Ok(asks),
        (Some(tenant), None) => {
            let text = std::str::from_utf8(tenant.as_bytes())
                .map_err(|_| Error::new(Code::InvalidRequest, "Pilaster-Tenant is not UTF-8"))?;
            asks.view_as(TenantId::new(text)?)
        }
        (Some(_), Some(_)) => Err(Error::new(Code::InvalidRequest, "Pilaster-Tenant is given twice")),
    }
}
