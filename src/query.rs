//! The one door: [`Service::run`] takes a request in and gives a reply out, whatever protocol it came by.
//!
//! Owns: named queries, parameters, the cache's key, admission, executions, which snapshot is served, which side answers.
//! Must not know: any protocol. A protocol that runs queries by itself skips limits, cache and tenancy, and is a defect.

mod admission;
mod answering;
mod certify;
mod executions;
mod fallback;
mod hot;
mod key;
mod library;
mod named;
mod parameters;
mod postgres_route;
mod request;
mod rollouts;
mod shadow;
mod snapshots;
mod trip;
mod windows;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::datatypes::DataType;

use crate::{
    access::Scope,
    cache::Cache,
    engine::{Engine, EngineRuntime, PlanContext, Prepared, Sight},
    error::{Code, Error, Result},
    sql::{ReadOnlySql, ScalarType, StatementLimits},
    store::{Store, Verification},
    telemetry,
};

pub use admission::AdmissionLimits;
pub use answering::Resolved;
pub use certify::CertifyOptions;
pub use executions::{Executions, Registration, RunningExecution};
pub use library::{Catalog, Library};
pub use named::{Chart, NamedQuery, OPTIONS, Parameter, RESERVED};
pub use parameters::{Bound, RawParameters, Reserved};
pub use postgres_route::{PostgresRoute, PostgresRouteOptions};
pub use request::{Body, CacheOutcome, Pin, Provenance, Reply, Request, Target};
pub use rollouts::RolloutParts;
pub use shadow::{ShadowCounts, ShadowOptions};
pub use windows::TripLimits;

use admission::Admission;

/// Planned statements that are kept, so that a cached reply costs no planning.
const PREPARED_MAX: u64 = 1_024;

/// What the service is made of.
pub struct ServiceParts {
    /// Where snapshots are.
    pub store: Store,
    /// How far they are verified before they are served.
    pub verification: Verification,
    /// Threads and memory.
    pub runtime: EngineRuntime,
    /// Replies.
    pub cache: Cache,
    /// Named queries.
    pub library: Library,
    /// Bounds.
    pub limits: ServiceLimits,
    /// The type of `$tenant`.
    pub tenant_type: ScalarType,
    /// The other side; without it the engine answers everything.
    pub rollout: Option<RolloutParts>,
}

/// Bounds on what one request may ask for.
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// Of a statement.
    pub statement: StatementLimits,
    /// How many run and wait.
    pub admission: AdmissionLimits,
    /// How long a query may take that does not say.
    pub timeout: Duration,
}

/// The one door. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    store: Store,
    verification: Verification,
    runtime: EngineRuntime,
    cache: Cache,
    library: Library,
    limits: ServiceLimits,
    tenant_type: ScalarType,
    admission: Admission,
    executions: Executions,
    snapshots: snapshots::Served,
    rollouts: Option<rollouts::Rollouts>,
    hot: hot::Hot,
    prepared: moka::sync::Cache<key::PlanKey, Arc<Prepared>>,
    statements: moka::sync::Cache<Arc<str>, Arc<ReadOnlySql>>,
}

impl Service {
    /// A service that serves nothing until [`Self::refresh`] has found a snapshot.
    #[must_use]
    pub fn new(parts: ServiceParts) -> Self {
        Self(Arc::new(Inner {
            rollouts: parts.rollout.map(|rollout| rollouts::Rollouts::new(rollout, &parts.store)),
            store: parts.store,
            verification: parts.verification,
            runtime: parts.runtime,
            cache: parts.cache,
            library: parts.library,
            limits: parts.limits,
            tenant_type: parts.tenant_type,
            admission: Admission::new(parts.limits.admission),
            executions: Executions::default(),
            snapshots: snapshots::Served::default(),
            hot: hot::Hot::default(),
            prepared: moka::sync::Cache::new(PREPARED_MAX),
            statements: moka::sync::Cache::builder()
                .max_capacity(64 << 20)
                .weigher(|text: &Arc<str>, _| u32::try_from(text.len() * 8).unwrap_or(u32::MAX))
                .build(),
        }))
    }

    /// Plans a statement, or finds that it has been planned against this snapshot before.
    async fn prepare(
        &self,
        engine: &Engine,
        sql: &ReadOnlySql,
        bound: &Bound,
        context: PlanContext,
        deadline: Instant,
    ) -> Result<Arc<Prepared>> {
        let types: Vec<DataType> =
            bound.0.iter().map(|(kind, value)| kind.arrow_type_of(value, &context.time_zone)).collect();
        let key = key::PlanKey::new(engine, sql, &types, &context);
        if let Some(prepared) = self.0.prepared.get(&key) {
            return Ok(prepared);
        }
        let prepared = Arc::new(engine.prepare(sql, types, &context, deadline).await?);
        self.0.prepared.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }

    /// Plans a named query for its columns, for those who see what this scope does.
    pub async fn describe(&self, query: &NamedQuery, scope: &Scope) -> Result<Arc<Prepared>> {
        let engine = self.engine(&Pin::Newest).await?;
        let types = query
            .sql
            .names()
            .iter()
            .map(|name| {
                let kind = query
                    .parameter(name)
                    .map(|parameter| parameter.kind)
                    .or_else(|| named::reserved_type(name, self.0.tenant_type))
                    .ok_or_else(|| Error::internal(format!("parameter {name} has no type")))?;
                Ok((kind, crate::sql::ParameterValue::Null))
            })
            .collect::<Result<Vec<_>>>()?;
        let deadline = Instant::now() + self.0.limits.timeout;
        let context = PlanContext { time_zone: "UTC".into(), sight: Sight::from(scope) };
        let prepared = self.prepare(&engine, &query.sql, &Bound(types), context, deadline).await;
        prepared.map_err(|error| if *scope == Scope::All { error } else { not_for_tenants(error, query) })
    }

    fn statement(&self, text: &Arc<str>) -> Result<Arc<ReadOnlySql>> {
        if let Some(sql) = self.0.statements.get(text) {
            return Ok(sql);
        }
        let sql = Arc::new(ReadOnlySql::parse(text, self.0.limits.statement)?);
        self.0.statements.insert(Arc::clone(text), Arc::clone(&sql));
        Ok(sql)
    }

    /// The named queries.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    /// What runs now.
    #[must_use]
    pub fn executions(&self) -> &Executions {
        &self.0.executions
    }

    /// What counts a query's hits in memory, for a protocol that finds them by itself.
    #[must_use]
    pub fn hit_meter(&self, query: Option<&NamedQuery>) -> telemetry::QueryMeter {
        let name = query.map(|query| (query.dashboard.as_str(), query.name.as_str()));
        telemetry::QueryMeter::new(name, "engine", Ok(CacheOutcome::Memory.name()))
    }

    /// The replies that are kept; for the bodies that protocols keep with them.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// Where snapshots are.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The type of `$tenant`.
    #[must_use]
    pub fn tenant_type(&self) -> ScalarType {
        self.0.tenant_type
    }
}

/// A dashboard that reads what no tenant is shown is no fault of who looks at it.
fn not_for_tenants(error: Error, query: &NamedQuery) -> Error {
    if error.sqlstate() != Some("42P01") {
        return error;
    }
    let message = format!("the query {}/{} is not for tenants", query.dashboard, query.name);
    Error::new(Code::PermissionDenied, message)
        .with_hint("pilaster check says which of its tables are not classified")
        .with_cause(error)
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the query was stopped").with_sqlstate("57014")
}

fn too_late() -> Error {
    Error::new(Code::DeadlineExceeded, "the query did not finish in time")
        .with_sqlstate("57014")
        .with_hint("ask for less, or give it more with -- @timeout or engine.timeout")
}
