//! `pilaster serve`

use std::{process::ExitCode, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{ServeArguments, TakeSnapshots},
    build, runner,
};
use crate::{
    access::Authenticator,
    config::Config,
    error::{Code, Error, Result},
    query::Service,
    server::{self, HttpParts, TlsFiles},
    telemetry,
};

/// How often the store is asked for a newer snapshot, and the folder of queries for changed files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const METRICS_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(config: Config, arguments: ServeArguments) -> Result<ExitCode> {
    let metrics = telemetry::start_metrics()?;
    let store = build::store(&config)?;
    let takes_runs = arguments.snapshot == TakeSnapshots::Auto && config.postgres.url.is_some();
    let runner = if takes_runs { Some(runner::Runner::new(&config, store.clone())?) } else { None };
    let service = build::service(&config, store, build::rollout(&config)?)?;
    let (access, tls) = (build::access(&config)?, build::tls(&config)?);
    let audit = build::audit(&config)?;
    let listener = bind(config.server.listen).await?;
    let ops = match config.server.ops_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let address =
        listener.local_addr().map_err(|error| Error::internal("a listener has no address").with_cause(error))?;

    service.refresh().await?;
    service.refresh_rollout().await?;
    let (runs, driver) = server::runs(takes_runs);
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    let looking = tokio::spawn(look(service.clone(), access.clone(), tls.clone(), shutdown.clone()));
    let shadowing = tokio::spawn({
        let service = service.clone();
        async move { service.keep_shadowing().await }
    });
    let fetching = tokio::spawn({
        let access = access.clone();
        async move { access.keep_keys().await }
    });
    let keeping = tokio::spawn(keep_up(metrics.clone()));
    let running = runner.map(|runner| tokio::spawn(runner.drive(service.clone(), driver, shutdown.clone())));
    if service.newest().is_none() && !takes_runs {
        tracing::warn!("the store has no snapshot yet; waiting for another node to publish one");
    }
    if !access.asks() {
        tracing::warn!("nobody is asked who they are: whoever reaches the port is an administrator");
    } else if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!("credentials and answers cross the network in the clear, unless something in front speaks TLS");
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!(url = %format!("{scheme}://{address}"), store = %service.store().url(), takes_snapshots = takes_runs, "listening");

    let parts = HttpParts {
        service: service.clone(),
        access,
        audit,
        tls,
        runs,
        metrics,
        cors_origins: config.server.cors_origins.clone(),
        allowed_hosts: config.server.allowed_hosts.clone(),
        body_bytes_max: config.server.body_bytes_max.len(),
        shutdown_timeout: config.server.shutdown_timeout,
    };
    let served = server::run(parts, listener, ops, shutdown.clone()).await;
    shutdown.cancel();
    looking.abort();
    keeping.abort();
    fetching.abort();
    shadowing.abort();
    if let Some(running) = running {
        // A run that is under way is given up: nothing names what it wrote, and a later run prunes it.
        drop(tokio::time::timeout(Duration::from_secs(5), running).await);
    }
    telemetry::flush();
    served?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(Code::InvalidConfig, format!("cannot listen on {address}: {error}"))
            .with_hint("another process may be using the port; choose one with --listen 127.0.0.1:PORT")
            .with_cause(error)
    })
}

/// A histogram keeps every sample until somebody counts them into its buckets; a server that nobody scrapes must not grow.
async fn keep_up(metrics: PrometheusHandle) {
    let mut every = tokio::time::interval(METRICS_EVERY);
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

/// A newer snapshot may come from this node or another, and a changed file from anybody.
async fn look(service: Service, access: Authenticator, tls: Option<TlsFiles>, shutdown: CancellationToken) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failing, mut failing_rollout) = (false, false);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        match service.refresh().await {
            Ok(_) => failing = false,
            // Once for each spell: the snapshot that is served stays served.
            Err(error) if !failing => {
                failing = true;
                tracing::error!(error = %error.chain(), "cannot look for a newer snapshot");
            }
            Err(_) => {}
        }
        match service.refresh_rollout().await {
            Ok(()) => failing_rollout = false,
            Err(error) if !failing_rollout => {
                failing_rollout = true;
                tracing::error!(error = %error.chain(), "cannot look for changes of the rollout");
            }
            Err(_) => {}
        }
        reload_secrets(&access, tls.as_ref());
        let reloading = service.clone();
        let reloaded = tokio::task::spawn_blocking(move || reloading.library().reload()).await;
        if matches!(reloaded, Ok(true)) {
            tracing::info!(queries = service.library().catalog().queries.len(), "the named queries were read again");
        }
    }
}

/// What is wrong with a changed file is said once, and what was before it stays.
fn reload_secrets(access: &Authenticator, tls: Option<&TlsFiles>) {
    for (path, read) in access.reload() {
        match read {
            Ok(()) => tracing::info!(path = %path.display(), "keys were read again"),
            Err(error) => tracing::error!(error = %error.chain(), "keys cannot be read again"),
        }
    }
    match tls.map(TlsFiles::reload) {
        Some(Ok(true)) => tracing::info!("the certificate was read again"),
        Some(Err(error)) => tracing::error!(error = %error.chain(), "the certificate cannot be read again"),
        _ => {}
    }
}

async fn stop_on_signal(shutdown: CancellationToken) {
    let mut terminate = match tokio::signal::unix::signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be listened for");
            return;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping: no new connections, requests in flight finish");
    shutdown.cancel();
}
