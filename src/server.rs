//! Protocol servers: decode, ask the one door, encode.
//!
//! Owns: listeners, connections, routes, wire types. The only place that knows HTTP.
//! Must not know: how anything is answered. Everything goes through [`crate::query::Service`].

mod http;
mod runs;
mod tls;

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::Request, response::Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Authenticator,
    audit::AuditLog,
    error::{Error, Result},
    query::Service,
};

pub use tls::TlsFiles;

pub use runs::{FinishedRun, RunState, RunningRun, Runs, RunsDriver, runs};

/// How long a client may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What the HTTP server is made of.
pub struct HttpParts {
    /// The one door.
    pub service: Service,
    /// Who asks.
    pub access: Authenticator,
    /// Where it is written down.
    pub audit: Option<AuditLog>,
    /// The certificate, where HTTP is HTTPS.
    pub tls: Option<TlsFiles>,
    /// Snapshot runs.
    pub runs: Runs,
    /// What `/metrics` renders.
    pub metrics: PrometheusHandle,
    /// Origins that browsers may call from; `*` for any.
    pub cors_origins: Vec<String>,
    /// Names by which browsers may reach this server, besides those of this machine.
    pub allowed_hosts: Vec<String>,
    /// How many bytes of a request's body are read.
    pub body_bytes_max: usize,
    /// How long requests in flight may take to finish after a stop.
    pub shutdown_timeout: Duration,
}

/// Serves until `shutdown`, then lets requests in flight finish, within the deadline.
///
/// The caller owns the ports and the signal. With an `ops` listener, probes and metrics are served there and not on `listener`.
/// When one of the listeners ends, so does the server.
pub async fn run(
    parts: HttpParts,
    listener: TcpListener,
    ops: Option<TcpListener>,
    shutdown: CancellationToken,
) -> Result<()> {
    let shutdown_timeout = parts.shutdown_timeout;
    let stopping = Arc::new(AtomicBool::new(false));
    let tls = parts.tls.clone();
    let (public, probes) = http::routers(parts, Arc::clone(&stopping), ops.is_some())?;
    let signal = shutdown.clone();
    let flag = async move {
        signal.cancelled().await;
        stopping.store(true, Ordering::Relaxed);
    };
    let public = accept(listener, tls, public, shutdown.clone(), shutdown_timeout);
    match ops {
        None => {
            let (served, ()) = tokio::join!(public, flag);
            served
        }
        // Probes answer until the last request has.
        Some(ops) => {
            let probes_end = CancellationToken::new();
            let probes = accept(ops, None, probes, probes_end.clone(), Duration::from_secs(1));
            let public = async {
                let served = public.await;
                probes_end.cancel();
                served
            };
            let (served, probed, ()) = tokio::join!(public, probes, flag);
            served.and(probed)
        }
    }
}

/// Where a request came from, in its extensions.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

async fn accept<S>(
    listener: TcpListener,
    tls: Option<TlsFiles>,
    service: S,
    shutdown: CancellationToken,
    shutdown_timeout: Duration,
) -> Result<()>
where
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(20));
    let connections = GracefulShutdown::new();
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    // Out of file descriptors, most likely: those in use will be given back.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        // A reply's last packet must not wait for the client's acknowledgement of the one before.
        drop(stream.set_nodelay(true));
        let service = Placed { inner: service.clone(), from: Peer(from.ip()) };
        match &tls {
            None => drop(tokio::spawn(serve(builder.clone(), stream, service, connections.watcher()))),
            Some(files) => {
                let (acceptor, builder, watcher) = (files.acceptor(), builder.clone(), connections.watcher());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve(builder, stream, service, watcher).await,
                        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                        Err(_) => tracing::debug!("a TLS handshake took too long"),
                    }
                });
            }
        }
    }
    drop(listener);
    tokio::time::timeout(shutdown_timeout, connections.shutdown()).await.map_err(|_| {
        Error::internal(format!(
            "requests were still running {} s after the stop, and were cut",
            shutdown_timeout.as_secs()
        ))
    })
}

async fn serve<IO, S>(builder: Builder<TokioExecutor>, stream: IO, service: S, watcher: Watcher)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// A service that tells where each request came from.
#[derive(Clone)]
struct Placed<S> {
    inner: S,
    from: Peer,
}

impl<S: tower::Service<Request<Incoming>>> tower::Service<Request<Incoming>> for Placed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.from);
        self.inner.call(request)
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
