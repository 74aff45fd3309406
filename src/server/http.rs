//! HTTP: every route, and what each request passes through.

mod answer;
mod body;
mod catalogue;
mod dashboards;
mod embed;
mod executions;
mod logged;
mod negotiation;
mod openapi;
mod ops;
mod problem;
mod queries;
mod request;
mod rollout;
mod routes;
mod shortcut;
mod snapshots;

use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware,
    response::{Redirect, Response},
    routing::{delete, get, post, put},
};
use futures::{FutureExt, future::BoxFuture};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{HttpParts, Runs};
use crate::{
    access::Authenticator,
    audit::AuditLog,
    error::{Code, Error, Result},
    query::Service,
};

/// What handlers share.
type App = Arc<Shared>;

struct Shared {
    service: Service,
    access: Authenticator,
    audit: Option<AuditLog>,
    runs: Runs,
    metrics: PrometheusHandle,
    stopping: Arc<AtomicBool>,
    allowed_hosts: Arc<[String]>,
    body_bytes_max: usize,
    shortcuts: shortcut::Shortcuts,
    openapi: openapi::Document,
}

/// The public router, in front of which the plainest of hits are answered.
#[derive(Clone)]
pub(super) struct Public {
    app: App,
    router: Router,
}

impl tower::Service<Request<Incoming>> for Public {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let request = request.map(Body::new);
        let mut router = self.router.clone();
        if !shortcut::is_plain(&request) {
            return router.call(request).boxed();
        }
        let app = Arc::clone(&self.app);
        async move {
            match shortcut::take(&app, request).await {
                Ok(response) => Ok(response),
                Err(request) => router.call(request).await,
            }
        }
        .boxed()
    }
}

/// The public service, and the router of probes and metrics; without `apart`, the public one has those too.
pub(super) fn routers(parts: HttpParts, stopping: Arc<AtomicBool>, apart: bool) -> Result<(Public, Router)> {
    let app = Arc::new(Shared {
        service: parts.service,
        access: parts.access,
        audit: parts.audit,
        runs: parts.runs,
        metrics: parts.metrics,
        stopping,
        allowed_hosts: parts.allowed_hosts.into(),
        body_bytes_max: parts.body_bytes_max,
        shortcuts: shortcut::Shortcuts::new(),
        openapi: openapi::Document::default(),
    });
    let probes = Router::new()
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics));
    let routes = Router::new()
        .route("/v1/queries", get(catalogue::queries))
        .route("/v1/queries/{dashboard}/{name}", get(queries::get_named).post(queries::post_named))
        .route("/v1/queries/{dashboard}/{name}/definition", get(catalogue::definition))
        .route("/v1/dashboards", get(catalogue::dashboards))
        .route("/v1/dashboards/{dashboard}", post(dashboards::post))
        .route("/v1/sql", post(queries::post_sql))
        .route("/v1/tables", get(catalogue::tables))
        .route("/v1/snapshots", get(snapshots::list).post(snapshots::start))
        .route("/v1/snapshots/{version}", get(snapshots::one))
        .route("/v1/rollout", get(rollout::list))
        .route("/v1/rollout/changes", get(rollout::changes))
        .route("/v1/rollout/switch", put(rollout::switch))
        .route("/v1/rollout/default", put(rollout::set_default))
        .route("/v1/rollout/{dashboard}/{name}", get(rollout::one).put(rollout::set).delete(rollout::forget))
        .route("/v1/rollout/{dashboard}/{name}/acknowledgement", put(rollout::acknowledge))
        .route("/v1/snapshots/{version}/certificate", get(rollout::certificate))
        .route("/v1/embed", post(embed::post))
        .route("/v1/executions", get(executions::list))
        .route("/v1/executions/{id}", delete(executions::stop))
        .route("/openapi.json", get(openapi::document))
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
        .merge(openapi::pages());
    let routes = if apart { routes } else { routes.merge(probes.clone()) };
    let public = routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(parts.body_bytes_max))
        .layer(middleware::from_fn_with_state(app.clone(), request::pass));
    // Outermost, so that a browser may read errors of every kind.
    let public = match parts.cors_origins.as_slice() {
        [] => public,
        origins => public.layer(cors(origins)?),
    };
    let probes = probes.fallback(problem::not_found);
    Ok((Public { router: public.with_state(app.clone()), app: app.clone() }, probes.with_state(app)))
}

fn cors(origins: &[String]) -> Result<CorsLayer> {
    let exposed = ["etag", "content-disposition", "cache-status", "server-timing", "retry-after", "x-request-id"]
        .into_iter()
        .chain(["pilaster-snapshot", "pilaster-as-of", "pilaster-route"])
        .map(HeaderName::from_static);
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("pilaster-tenant"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers(exposed.collect::<Vec<_>>())
        .max_age(Duration::from_secs(3600));
    if origins.iter().any(|origin| origin == "*") {
        return Ok(layer.allow_origin(AllowOrigin::any()));
    }
    let origins = origins
        .iter()
        .map(|origin| {
            let hint = "write scheme://host, as browsers send it, for example https://app.example.com, or *";
            let parsed = url::Url::parse(origin).ok().filter(|url| url.origin().ascii_serialization() == *origin);
            parsed.and_then(|_| HeaderValue::from_str(origin).ok()).ok_or_else(|| {
                Error::new(Code::InvalidConfig, format!("server.cors_origins: {origin:?} is not an origin"))
                    .with_hint(hint)
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(layer.allow_origin(origins))
}
