//! The one door: [`Service::run`] takes a request in and gives a reply out, whatever protocol it came by.
//!
//! Owns: named queries, parameters, the cache's key, admission, executions, which snapshot is served.
//! Must not know: any protocol. A protocol that runs queries by itself skips limits, cache and tenancy, and is a defect.

mod admission;
mod executions;
mod key;
mod library;
mod named;
mod parameters;
mod snapshots;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::datatypes::{DataType, SchemaRef};
use chrono::{DateTime, Utc};
use futures::StreamExt;

use crate::{
    access::{Principal, Role, Scope},
    audit::{AuditLog, Record, Replay},
    cache::{Answer, AnswerSource, BatchStream, Cache, Entry, Filling, Key, Mode, Tier},
    engine::{Engine, EngineRuntime, PlanContext, Prepared, Sight},
    error::{Code, Error, Result},
    sql::{ReadOnlySql, ScalarType, StatementLimits, fingerprint},
    store::{SnapshotVersion, Store, Verification},
    telemetry,
};

pub use admission::AdmissionLimits;
pub use executions::{Executions, Registration, RunningExecution};
pub use library::{Catalog, Library};
pub use named::{Chart, NamedQuery, OPTIONS, Parameter, RESERVED};
pub use parameters::{Bound, RawParameters, Reserved};

use admission::Admission;

/// Planned statements that are kept, so that a cached reply costs no planning.
const PREPARED_MAX: u64 = 1_024;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id, unique among those that run; also the execution's.
    pub id: Arc<str>,
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub target: Target,
    /// With which values.
    pub parameters: RawParameters,
    /// From which snapshot.
    pub snapshot: Pin,
    /// An IANA name.
    pub time_zone: String,
    /// What of the cache may be used.
    pub mode: Mode,
}

impl Request {
    /// What an audit keeps of it.
    #[must_use]
    pub fn record(&self, audit: &AuditLog) -> Record {
        let record = Record::new("query", &self.principal);
        let (record, sql) = match &self.target {
            Target::Named { dashboard, name } => (record.about(&format!("{dashboard}/{name}")), None),
            Target::AdHoc(text) => (record.of_sql(&fingerprint(text)), Some(Arc::clone(text))),
        };
        match audit.keeps_replays() {
            true => {
                let mut parameters = self.parameters.to_json();
                // Those that a token has fixed, of which the request knows nothing.
                parameters.extend(self.principal.grant().into_iter().flat_map(|grant| grant.parameters.clone()));
                record.with_replay(Replay { sql, parameters, time_zone: self.time_zone.clone() })
            }
            false => record,
        }
    }
}

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file of the library.
    Named {
        /// The folder.
        dashboard: String,
        /// The file, without `.sql`.
        name: String,
    },
    /// SQL of the analyst's own.
    AdHoc(Arc<str>),
}

/// Which snapshot a request is answered from.
#[derive(Clone, Debug)]
pub enum Pin {
    /// The newest that is served.
    Newest,
    /// This version.
    Version(SnapshotVersion),
    /// The one that other queries of the same request were answered from.
    Engine(Engine),
}

/// A request that is understood: planned, typed, and identified.
pub struct Resolved {
    request: Request,
    started: Instant,
    deadline: Instant,
    prepared: Arc<Prepared>,
    bound: Bound,
    key: Option<Key>,
    label: Option<Arc<NamedQuery>>,
}

/// The answer.
pub struct Reply {
    /// The rows.
    pub body: Body,
    /// Where they come from.
    pub provenance: Provenance,
    /// What identifies the result; none where two runs may differ.
    pub key: Option<Key>,
}

/// The rows of a reply.
pub enum Body {
    /// All of them, shared with the cache.
    Entry(Arc<Entry>),
    /// As they are computed. Dropping it stops the work.
    Stream {
        /// The columns of every batch.
        schema: SchemaRef,
        /// The rows.
        batches: BatchStream,
    },
}

/// Where a reply comes from. Never part of the body, so that equal results are equal bytes.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The snapshot.
    pub snapshot: SnapshotVersion,
    /// Its instant.
    pub as_of: DateTime<Utc>,
    /// What the cache did.
    pub cache: CacheOutcome,
    /// From the request to the first row or the whole entry.
    pub elapsed: Duration,
}

/// What the cache did for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It had the result in memory.
    Memory,
    /// It had the result in Redis.
    Redis,
    /// Somebody else's computation, under way already, made it.
    Collapsed,
    /// It was computed, and is kept now.
    Stored,
    /// It was computed, and is not kept: too large, or different each time.
    Bypassed,
}

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
    prepared: moka::sync::Cache<key::PlanKey, Arc<Prepared>>,
    statements: moka::sync::Cache<Arc<str>, Arc<ReadOnlySql>>,
}

impl Service {
    /// A service that serves nothing until [`Self::refresh`] has found a snapshot.
    #[must_use]
    pub fn new(parts: ServiceParts) -> Self {
        Self(Arc::new(Inner {
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
            prepared: moka::sync::Cache::new(PREPARED_MAX),
            statements: moka::sync::Cache::builder()
                .max_capacity(64 << 20)
                .weigher(|text: &Arc<str>, _| u32::try_from(text.len() * 8).unwrap_or(u32::MAX))
                .build(),
        }))
    }

    /// Answers a request.
    pub async fn run(&self, request: Request) -> Result<Reply> {
        let resolved = self.resolve(request).await?;
        self.answer(resolved).await
    }

    /// Understands a request without running it: finds the query, types its parameters, plans it, and says by which key its
    /// result is known. Equal keys are equal results, so a client that holds a body of this key need not be sent another.
    pub async fn resolve(&self, request: Request) -> Result<Resolved> {
        let started = Instant::now();
        let engine = self.engine(&request.snapshot).await?;
        let (sql, label) = match &request.target {
            Target::Named { dashboard, name } => {
                request.principal.require(Role::Dashboard)?;
                request.principal.require_query(dashboard, name)?;
                (None, Some(self.0.library.get(dashboard, name)?))
            }
            Target::AdHoc(text) => {
                request.principal.require(Role::Analyst)?;
                if request.principal.grant().is_some() {
                    return Err(Error::new(Code::PermissionDenied, "a token for a dashboard runs no SQL of its own"));
                }
                (Some(self.statement(text)?), None)
            }
        };
        let reserved = Reserved {
            scope: request.principal.scope(),
            tenant_type: self.0.tenant_type,
            now: engine.as_of(),
            time_zone: &request.time_zone,
        };
        let parameters = match (&label, request.principal.grant()) {
            (Some(query), Some(grant)) => Some(request.parameters.fixed(&grant.parameters, query)?),
            _ => None,
        };
        let parameters = parameters.as_ref().unwrap_or(&request.parameters);
        let bound = match (&label, &sql) {
            (Some(query), _) => parameters.bind_named(query, &query.sql, &reserved)?,
            (None, Some(sql)) => parameters.bind_ad_hoc(sql, &reserved)?,
            (None, None) => return Err(Error::internal("a request has no statement")),
        };
        let sql: &ReadOnlySql = match (&label, &sql) {
            (Some(query), _) => &query.sql,
            (None, Some(sql)) => sql,
            (None, None) => return Err(Error::internal("a request has no statement")),
        };
        let timeout = label.as_ref().and_then(|query| query.timeout).unwrap_or(self.0.limits.timeout);
        let deadline = started + timeout;
        let context =
            PlanContext { time_zone: request.time_zone.clone(), sight: Sight::from(request.principal.scope()) };
        let prepared = self.prepare(&engine, sql, &bound, context, deadline).await;
        let prepared = match &label {
            Some(query) => prepared.map_err(|error| not_for_tenants(error, request.principal.scope(), query))?,
            None => prepared?,
        };
        let key = key::of(&prepared, sql, &bound, request.principal.scope(), &request.time_zone);
        Ok(Resolved { request, started, deadline, prepared, bound, key, label })
    }

    /// Answers what [`Self::resolve`] understood: from the cache, or by running it.
    pub async fn answer(&self, resolved: Resolved) -> Result<Reply> {
        let outcome = self.try_answer(&resolved).await;
        telemetry::query_answered(
            resolved.label.as_ref().map(|query| (query.dashboard.as_str(), query.name.as_str())),
            resolved.started.elapsed(),
            outcome.as_ref().map(|reply| reply.provenance.cache.name()).map_err(Error::code),
        );
        outcome
    }

    async fn try_answer(&self, resolved: &Resolved) -> Result<Reply> {
        let provenance = |cache| Provenance {
            snapshot: resolved.prepared.engine().version(),
            as_of: resolved.prepared.engine().as_of(),
            cache,
            elapsed: resolved.started.elapsed(),
        };
        // The fast path allocates nothing and registers nothing: there is nothing to stop.
        if let (Some(key), Mode::Default) = (&resolved.key, resolved.request.mode)
            && let Some(entry) = self.0.cache.get(key).await
        {
            return Ok(Reply {
                body: Body::Entry(entry),
                provenance: provenance(CacheOutcome::Memory),
                key: resolved.key,
            });
        }

        let request = &resolved.request;
        let label = resolved.label.as_ref().map(|query| format!("{}/{}", query.dashboard, query.name));
        let registration = self.0.executions.register(&request.id, request.principal.name(), label);
        let (key, mode) = match resolved.key {
            Some(key) => (key, request.mode),
            None => (Key::new(*blake3::hash(request.id.as_bytes()).as_bytes()), Mode::Bypass),
        };
        let fill = {
            let inner = Arc::clone(&self.0);
            let (prepared, bound, deadline) =
                (Arc::clone(&resolved.prepared), resolved.bound.clone(), resolved.deadline);
            let scope = request.principal.scope().clone();
            move || async move { inner.fill(&prepared, &bound, &scope, deadline).await }
        };
        let answer = tokio::select! {
            biased;
            () = registration.stop.cancelled() => return Err(cancelled()),
            answer = tokio::time::timeout_at(resolved.deadline.into(), self.0.cache.get_or_fill(key, mode, fill)) => {
                answer.unwrap_or_else(|_| Err(too_late()))?
            }
        };
        let (body, cache) = match answer {
            Answer::Entry { entry, source } => (Body::Entry(entry), CacheOutcome::from(source)),
            Answer::Stream(Filling { schema, batches }) => {
                (Body::Stream { schema, batches: stoppable(batches, registration) }, CacheOutcome::Bypassed)
            }
        };
        Ok(Reply { body, provenance: provenance(cache), key: resolved.key })
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
        let types: Vec<DataType> = bound.0.iter().map(|(kind, value)| kind.arrow_type_of(value)).collect();
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
        prepared.map_err(|error| not_for_tenants(error, scope, query))
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
        telemetry::QueryMeter::new(name, Ok(CacheOutcome::Memory.name()))
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

impl Inner {
    /// Runs a plan under a permit, which is held until its last batch.
    async fn fill(&self, prepared: &Prepared, bound: &Bound, scope: &Scope, deadline: Instant) -> Result<Filling> {
        let permit = self.admission.enter(deadline).await?;
        let values = bound.0.iter().map(|(kind, value)| kind.to_scalar(value)).collect();
        let execution = prepared.execute(values, scope, deadline).await?;
        let batches = execution.batches.map(move |batch| {
            let _held = &permit;
            batch
        });
        Ok(Filling { schema: execution.schema, batches: batches.boxed() })
    }
}

impl Resolved {
    /// What identifies the result; none where two runs may differ.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The named query that it is for.
    #[must_use]
    pub fn label(&self) -> Option<&Arc<NamedQuery>> {
        self.label.as_ref()
    }

    /// The snapshot that it will be answered from.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.prepared.engine()
    }
}

impl CacheOutcome {
    /// For metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Collapsed => "collapsed",
            Self::Stored => "miss",
            Self::Bypassed => "bypass",
        }
    }
}

impl From<AnswerSource> for CacheOutcome {
    fn from(source: AnswerSource) -> Self {
        match source {
            AnswerSource::Hit(Tier::Memory) => Self::Memory,
            AnswerSource::Hit(Tier::Redis) => Self::Redis,
            AnswerSource::Joined => Self::Collapsed,
            AnswerSource::Filled => Self::Stored,
        }
    }
}

/// A stream that ends with an error when somebody asks for a stop, and keeps its request listed until it ends.
fn stoppable(batches: BatchStream, registration: Registration) -> BatchStream {
    let stream = futures::stream::unfold(Some((batches, registration)), |state| async move {
        let (mut batches, registration) = state?;
        let batch = tokio::select! {
            biased;
            () = registration.stop.cancelled() => return Some((Err(cancelled()), None)),
            batch = batches.next() => batch?,
        };
        let rest = batch.is_ok().then_some((batches, registration));
        Some((batch, rest))
    });
    stream.boxed()
}

/// A dashboard that reads what no tenant is shown is no fault of who looks at it.
fn not_for_tenants(error: Error, scope: &Scope, query: &NamedQuery) -> Error {
    if *scope == Scope::All || error.sqlstate() != Some("42P01") {
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
