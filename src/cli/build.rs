//! From settings to the parts of the house.

use std::{collections::BTreeMap, thread};

use futures::FutureExt;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    access::{AccessOptions, Authenticator, IssuerOptions, KeySource},
    alert::Alerts,
    audit::AuditLog,
    cache::{Cache, CacheConfig, RedisConfig},
    config::{self, Config, RouteName, TableAccess, Verify, key_bytes, memory_limit},
    engine::{EngineOptions, EngineRuntime, TablePolicies, TablePolicy},
    error::{Code, Error, Result},
    postgres::{OutOfRange, Pool, PoolLimits, SourceConfig},
    query::{
        AdmissionLimits, CertifyOptions, Library, PostgresRoute, PostgresRouteOptions, RolloutParts, Service,
        ServiceLimits, ServiceParts, ShadowOptions, TripLimits,
    },
    rollout::{Route, Rule},
    server::TlsFiles,
    snapshot::{ColumnRules, Gate, RunOptions, Schedule},
    sql::{ParameterType, ScalarType, StatementLimits},
    store::{PruneOptions, Store, TableName, Verification},
};

pub(super) fn source(config: &Config) -> Result<SourceConfig> {
    let Some(url) = &config.postgres.url else {
        return Err(Error::new(Code::InvalidConfig, "the source is not given")
            .with_hint("give --postgres postgresql://user:password@host/database, or set DATABASE_URL"));
    };
    SourceConfig::parse(url.expose_secret())
}

pub(super) fn store(config: &Config) -> Result<Store> {
    Store::open(&config.store.url, config.store.options.clone())
}

pub(super) fn verification(config: &Config, store: &Store) -> Verification {
    match config.store.verify {
        Verify::Full => Verification::Full,
        Verify::Footers => Verification::Footers,
        Verify::Auto if store.url().scheme() == "file" => Verification::Full,
        Verify::Auto => Verification::Footers,
    }
}

pub(super) fn schedule(config: &Config) -> Result<Option<Schedule>> {
    let pattern = config.snapshot.schedule.as_deref();
    pattern.map(|pattern| Schedule::parse(pattern, &config.snapshot.timezone)).transpose()
}

pub(super) fn run_options(config: &Config) -> Result<RunOptions> {
    let snapshot = &config.snapshot;
    Ok(RunOptions {
        schemas: snapshot.schemas.clone(),
        exclude_tables: snapshot.exclude_tables.iter().map(|name| table_name(name)).collect::<Result<_>>()?,
        tables: config
            .tables
            .iter()
            .map(|(name, table)| Ok((table_name(name)?, rules(table))))
            .collect::<Result<BTreeMap<_, _>>>()?,
        hash_key: snapshot.hash_key.as_ref().and_then(key_bytes),
        connections: snapshot.connections,
        part_bytes: snapshot.part_bytes.bytes(),
        row_group_rows: snapshot.row_group_rows,
        lock_timeout: snapshot.lock_timeout,
        timeout: snapshot.timeout,
        idle_timeout: snapshot.idle_timeout,
        prune: PruneOptions { versions_kept: config.store.versions_kept, grace: config.store.prune_grace },
    })
}

fn rules(table: &config::Table) -> ColumnRules {
    let policy = |column: &config::Column| match column.out_of_range {
        config::OutOfRange::Error => OutOfRange::Error,
        config::OutOfRange::Null => OutOfRange::Null,
        config::OutOfRange::Clamp => OutOfRange::Clamp,
        config::OutOfRange::Text => OutOfRange::Text,
    };
    ColumnRules {
        exclude: table.exclude_columns.clone(),
        include: table.include_columns.clone(),
        hash: table.hash_columns.clone(),
        // Another tenant's rows are skipped where a tenant's lie together.
        sort_by: match &table.tenant {
            Some(tenant) if table.sort_by.is_empty() => vec![tenant.clone()],
            _ => table.sort_by.clone(),
        },
        out_of_range: table.columns.iter().map(|(name, column)| (name.clone(), policy(column))).collect(),
    }
}

fn table_name(text: &str) -> Result<TableName> {
    let (schema, table) = text.split_once('.').ok_or_else(|| {
        Error::new(Code::InvalidConfig, format!("{text:?} does not name a schema")).with_hint("write schema.table")
    })?;
    Ok(TableName::new(schema, table))
}

pub(super) fn statement_limits(config: &Config) -> StatementLimits {
    StatementLimits {
        bytes_max: config.engine.statement_bytes_max.len(),
        tokens_max: config.engine.statement_tokens_max,
    }
}

fn threads(config: &Config) -> usize {
    match config.engine.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

pub(super) fn engine_runtime(config: &Config) -> Result<EngineRuntime> {
    let engine = &config.engine;
    let spare = memory_limit().saturating_sub(config.cache.memory.bytes()).saturating_sub(engine.footer_cache.bytes());
    let memory_bytes = engine.memory.map_or(spare / 2, config::ByteSize::bytes);
    EngineRuntime::new(&EngineOptions {
        threads: threads(config),
        memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
        spill_bytes: engine.spill.bytes(),
        spill_folder: engine.spill_folder.clone(),
        footer_cache_bytes: engine.footer_cache.len(),
        policies: policies(config)?,
    })
}

/// Whose rows the tables hold.
pub(super) fn policies(config: &Config) -> Result<TablePolicies> {
    let policy = |table: &config::Table| match (&table.tenant, table.access) {
        (Some(column), _) => Some(TablePolicy::Tenant(column.clone())),
        (None, Some(TableAccess::Shared)) => Some(TablePolicy::Shared),
        (None, Some(TableAccess::Denied)) => Some(TablePolicy::Denied),
        (None, None) => None,
    };
    let said = config.tables.iter().filter_map(|(name, table)| Some((name, policy(table)?)));
    said.map(|(name, policy)| Ok((table_name(name)?, policy))).collect()
}

fn cache(config: &Config) -> Result<Cache> {
    let cache = &config.cache;
    let redis = cache.redis_url.as_ref().map(|url| {
        let mut redis = RedisConfig::new(url.clone(), cache.hmac_key.clone());
        redis.namespace.clone_from(&cache.redis_prefix);
        redis.timeout = cache.redis_timeout;
        redis.time_to_live = cache.redis_ttl;
        redis.lease = cache.lease;
        redis
    });
    Cache::new(CacheConfig {
        memory_bytes: cache.memory.bytes(),
        // Without memory nothing is kept; the limit follows.
        entry_bytes_max: cache.entry_bytes_max.len().min(cache.memory.len() / 4),
        time_to_idle: None,
        redis,
    })
}

/// The other side, where there is to be one.
pub(super) fn rollout(config: &Config) -> Result<Option<RolloutParts>> {
    let rollout = &config.rollout;
    if !rollout.enabled {
        return Ok(None);
    }
    let limits = PoolLimits {
        connections_max: rollout.postgres_connections,
        waiting_max: rollout.postgres_queue_max,
        wait_max: rollout.postgres_queue_timeout,
    };
    let pool = |url: &Option<SecretString>| {
        let source = url.as_ref().map(|url| SourceConfig::parse(url.expose_secret())).transpose()?;
        Ok(source.map(|source| Pool::new(source.with_application_name("pilaster route"), limits)))
    };
    let (everyone, tenants) = (pool(&config.postgres.url)?, pool(&rollout.postgres_url)?);
    if everyone.is_none() && tenants.is_none() {
        return Err(Error::new(Code::InvalidConfig, "rollout.enabled is true, and no PostgreSQL is given")
            .with_hint("set postgres.url, rollout.postgres_url, or both"));
    }
    let route = match rollout.default {
        RouteName::Postgres => Route::Postgres,
        RouteName::Shadow => Route::Shadow,
        RouteName::Engine => Route::Engine,
    };
    Ok(Some(RolloutParts {
        postgres: PostgresRoute::new(PostgresRouteOptions {
            everyone,
            tenants,
            time_to_live: rollout.postgres_ttl,
            timeout: rollout.postgres_timeout,
            search_path: rollout.search_path.clone(),
            tenant_setting: rollout.tenant_setting.clone(),
            policies: policies(config)?,
            tenant_type: tenant_type(config)?,
        }),
        default: Rule::of(route),
        snapshot_age_max: rollout.snapshot_age_max,
        certify: CertifyOptions {
            is_required: rollout.require_certificate,
            releases: rollout.certificate_releases,
            timeout: rollout.certify_timeout,
            connections: rollout.certify_connections,
            tenants: rollout.certify_tenants,
        },
        shadow: ShadowOptions {
            percent: rollout.shadow_percent,
            engine_percent: rollout.shadow_engine_percent,
            queue_max: rollout.shadow_queue_max,
        },
        trip: TripLimits {
            window: rollout.trip_window,
            answers_min: rollout.trip_answers_min,
            error_percent: rollout.trip_error_percent,
            p95: rollout.trip_p95,
        },
        alerts: Alerts { webhook: rollout.alert_webhook.clone(), command: rollout.alert_command.clone() },
        alert_again: rollout.alert_again,
        stale_max: rollout.stale_max,
    }))
}

/// The service over a store, serving nothing yet.
pub(super) fn service(config: &Config, store: Store, rollout: Option<RolloutParts>) -> Result<Service> {
    let limits = ServiceLimits {
        statement: statement_limits(config),
        admission: AdmissionLimits {
            running_max: match config.engine.queries_max {
                0 => 2 * threads(config),
                most => most,
            },
            waiting_max: config.engine.queue_max,
            wait_max: config.engine.queue_timeout,
        },
        timeout: config.engine.timeout,
    };
    Ok(Service::new(ServiceParts {
        verification: verification(config, &store),
        store,
        runtime: engine_runtime(config)?,
        cache: cache(config)?,
        library: Library::open(config.queries.folder.clone(), limits.statement),
        limits,
        tenant_type: tenant_type(config)?,
        rollout,
    }))
}

/// A gate at which both sides are compared. What cannot be found out holds up no snapshot; what differs is held by itself.
pub(super) fn certifying_gate(service: Service) -> Gate {
    Box::new(move |manifest, snapshot| {
        async move {
            if let Err(error) = service.certify(manifest, snapshot).await {
                tracing::error!(error = %error.chain(), "the snapshot is published without a certificate");
            }
            Ok(())
        }
        .boxed()
    })
}

/// Where it is written down who asks what, if anywhere.
pub(super) fn audit(config: &Config) -> Result<Option<AuditLog>> {
    let file = config.audit.file.as_deref();
    file.map(|file| AuditLog::open(file, config.audit.replay_file.as_deref())).transpose()
}

/// Whom to believe.
pub(super) fn access(config: &Config) -> Result<Authenticator> {
    let access = &config.access;
    Authenticator::new(AccessOptions {
        keys: access.keys_file.clone(),
        issuers: access.issuers.iter().map(issuer).collect::<Result<_>>()?,
        embed_secret: access.embed_secret.clone(),
        flag_secret: config.rollout.flag_secret.clone().filter(|_| config.rollout.enabled),
        requests_per_second: access.requests_per_second,
        requests_burst: access.requests_burst,
        failures_per_minute: access.failures_per_minute,
    })
}

fn issuer(issuer: &config::Issuer) -> Result<IssuerOptions> {
    let wrong = |what: String| Error::new(Code::InvalidConfig, format!("access.issuers: {}: {what}", issuer.issuer));
    let keys = match issuer {
        config::Issuer { secret: Some(secret), .. } => KeySource::Secret(secret.clone()),
        config::Issuer { secret_file: Some(path), .. } => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| wrong(format!("{} cannot be read: {error}", path.display())).with_cause(error))?;
            KeySource::Secret(text.trim().to_owned().into())
        }
        config::Issuer { public_key_file: Some(path), .. } => KeySource::PublicKey(path.clone()),
        config::Issuer { jwks_file: Some(path), .. } => KeySource::JwksFile(path.clone()),
        config::Issuer { jwks_url: Some(url), .. } => KeySource::JwksUrl(url.clone()),
        _ => return Err(wrong("its keys are missing".into())),
    };
    let role = |(said, role): (&String, &String)| Ok((said.clone(), role.parse()?));
    Ok(IssuerOptions {
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        algorithms: issuer.algorithms.clone(),
        keys,
        role_claim: issuer.role_claim.clone(),
        roles: issuer.roles.iter().map(role).collect::<Result<_>>()?,
        tenant_claim: issuer.tenant_claim.clone(),
        all_tenants_claim: issuer.all_tenants_claim.clone(),
        leeway: issuer.leeway,
    })
}

/// The certificate, where there is one.
pub(super) fn tls(config: &Config) -> Result<Option<TlsFiles>> {
    match (&config.server.tls_certificate_file, &config.server.tls_key_file) {
        (Some(certificate), Some(key)) => TlsFiles::open(certificate.clone(), key.clone()).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn tenant_type(config: &Config) -> Result<ScalarType> {
    Ok(config.access.tenant_type.parse::<ParameterType>()?.scalar)
}
