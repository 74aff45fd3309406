//! The engine: read-only DataFusion over one snapshot.
//!
//! Owns: sessions, plans, the CPU runtime, memory and spill; the only namer of sessions.
//! Must not know: caches, flags, HTTP, Postgres connections.
//!
//! An [`Engine`] is immutable and belongs to one manifest; servers swap whole engines. What lives longer than a snapshot (memory
//! pool, footer cache, functions, threads) is in [`EngineRuntime`], shared by all engines of the process.

mod barrier;
mod catalog;
mod date_bounds;
mod derived;
mod failure;
mod float_bounds;
mod gate;
mod guard;
mod guard_plan;
mod implied;
mod interrupt;
mod interval;
mod not_constant;
mod rules;
mod run;
mod runtime;
mod seal;
mod source_rows;
mod table;
mod tenancy;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::{common::ParamValues, execution::SessionState, logical_expr::LogicalPlan, scalar::ScalarValue};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use crate::{
    access::Scope,
    error::{Code, Error, Result},
    sql::{Collation, Dialect, EnumType, ReadOnlySql, shown_name},
    store::{self, Digest, Manifest, SnapshotVersion, Store, TableName},
};

/// Tables whose footers are read at the same time.
const FOOTER_READS: usize = 8;

pub use run::{BatchStream, Execution};
pub use runtime::{EngineOptions, EngineRuntime};
pub use source_rows::{SourceColumn, SourceRows};
pub use tenancy::{Sight, TablePolicies, TablePolicy, TenantColumn};

use tenancy::{OneTenant, Shown};

/// One snapshot, ready to be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    manifest: Arc<Manifest>,
    tables: HashMap<TableName, Known>,
    /// The files that every tenant may read.
    shared_files: HashSet<Path>,
    search_path: Vec<String>,
    runtime: EngineRuntime,
    /// The source's enums, by name.
    enums: Vec<EnumType>,
    /// By the session's time zone.
    dialects: Mutex<HashMap<Tz, Arc<Dialect>>>,
}

/// A table, and what one tenant sees of it.
#[derive(Debug)]
struct Known {
    table: Arc<table::SnapshotTable>,
    shown: Shown,
}

/// A statement that has been planned against one engine, with its parameters still open.
#[derive(Clone, Debug)]
pub struct Prepared {
    plan: LogicalPlan,
    engine: Engine,
    context: PlanContext,
    schema: SchemaRef,
    facts: PlanFacts,
}

/// What a plan depends on, for the cache's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFacts {
    /// The tables that it reads, by name.
    pub tables: Vec<TableFact>,
    /// Whether it asks for the time.
    pub asks_clock: bool,
    /// Whether two runs may differ (`random()`): such replies are never kept.
    pub is_volatile: bool,
}

/// A table that a plan reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFact {
    /// Its name.
    pub name: TableName,
    /// Of its content.
    pub digest: Digest,
    /// The column that says whose a row is, where one tenant's are read.
    pub tenant_column: Option<String>,
}

/// How a statement is to be understood.
#[derive(Clone, Debug)]
pub struct PlanContext {
    /// An IANA name.
    pub time_zone: String,
    /// For whom.
    pub sight: Sight,
}

impl Engine {
    /// Makes an engine of a snapshot that has been verified. Reads nothing: statistics come from the manifest.
    pub fn open(store: &Store, manifest: Arc<Manifest>, runtime: &EngineRuntime) -> Result<Self> {
        runtime.register_store(store);
        let mut tables = HashMap::with_capacity(manifest.tables.len());
        let mut search_path: Vec<String> = Vec::new();
        let mut shared_files = HashSet::new();
        for table in &manifest.tables {
            if !search_path.contains(&table.name.schema) {
                search_path.push(table.name.schema.clone());
            }
            let provider = table::SnapshotTable::new(store, table, runtime)
                .map_err(|error| error.context(format!("table {}", table.name)))?;
            let shown = Shown::of(table, runtime.policies());
            if shown == Shown::Everything {
                shared_files.extend(table.files.iter().map(|file| store.file_path(&file.path)));
            }
            tables.insert(table.name.clone(), Known { table: Arc::new(provider), shown });
        }
        // As Postgres's default search path: public before others.
        search_path.sort_by_key(|schema| schema != "public");
        let mut enums: Vec<EnumType> = Vec::new();
        for column in manifest.tables.iter().flat_map(|table| &table.columns) {
            if !column.enum_labels.is_empty() && !enums.iter().any(|had| had.name == column.postgres_type) {
                enums.push(EnumType { name: column.postgres_type.clone(), labels: column.enum_labels.clone().into() });
            }
        }
        let (runtime, dialects) = (runtime.clone(), Mutex::default());
        Ok(Self(Arc::new(Inner { manifest, tables, shared_files, search_path, runtime, enums, dialects })))
    }

    /// The snapshot.
    #[must_use]
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.0.manifest
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> SnapshotVersion {
        self.0.manifest.version
    }

    /// The instant of the source that it shows.
    #[must_use]
    pub fn as_of(&self) -> DateTime<Utc> {
        self.0.manifest.as_of
    }

    /// Reads every file's footer into the cache, so that the first queries do not.
    pub async fn warm(&self) -> Result<()> {
        let tables: Vec<_> = self.0.tables.values().map(|known| Arc::clone(&known.table)).collect();
        let work = self.0.runtime.spawn(async move {
            futures::stream::iter(tables)
                .map(|table| async move { table.read_footers().await })
                .buffer_unordered(FOOTER_READS)
                .try_collect::<()>()
                .await
        });
        work.await.map_err(|error| Error::internal("the engine stopped unexpectedly").with_cause(error))?
    }

    /// Plans `sql`, whose parameters have `parameter_types` in the order of [`ReadOnlySql::names`].
    ///
    /// Runs on the engine's own threads, whose stacks are deep enough for long statements, until `deadline`.
    pub async fn prepare(
        &self,
        sql: &ReadOnlySql,
        parameter_types: Vec<DataType>,
        context: &PlanContext,
        deadline: Instant,
    ) -> Result<Prepared> {
        let engine = self.clone();
        let sql = sql.clone();
        let context = context.clone();
        let work = self.0.runtime.spawn(async move { engine.plan(&sql, parameter_types, &context) });
        run::within(deadline, work).await?
    }

    fn plan(&self, sql: &ReadOnlySql, parameter_types: Vec<DataType>, context: &PlanContext) -> Result<Prepared> {
        let failed = |error| failure::from_datafusion(error, Some(sql.text()));
        let state = self.0.runtime.session(self.as_of(), &context.time_zone)?;
        let fields = parameter_types
            .into_iter()
            .enumerate()
            .map(|(index, data_type)| Arc::new(Field::new(format!("${}", index + 1), data_type, true)))
            .collect();
        let dialect = self.dialect(&context.time_zone)?;
        let plan = catalog::plan(self, &state, &dialect, sql.statement().clone(), fields, context.sight)
            .and_then(implied::unasked)
            .and_then(|plan| dialect.settled(plan))
            .and_then(catalog::without_keys)
            .and_then(Dialect::regrouped)
            .map_err(failed)?;
        gate::allow(&plan)?;
        let facts = gate::facts(&plan, self, context.sight)?;
        // Types settle in analysis: literals, coercions and our own rules.
        let analyzed =
            state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {}).map_err(failed)?;
        let schema = shown(analyzed.schema().inner());
        Ok(Prepared { plan, engine: self.clone(), context: context.clone(), schema, facts })
    }

    /// Postgres's SQL as the source speaks it.
    fn dialect(&self, time_zone: &str) -> Result<Arc<Dialect>> {
        let zone = runtime::zone_of(time_zone)?;
        let mut dialects = self.0.dialects.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let source = &self.0.manifest.source.collation;
            let collation = Collation::of_database(&source.provider, &source.locale);
            Arc::new(Dialect::new(zone, collation, &self.0.enums, self.0.runtime.prototype()))
        };
        Ok(Arc::clone(dialects.entry(zone).or_insert_with(make)))
    }

    fn resolve(&self, schema: Option<&str>, table: &str) -> Option<&Known> {
        let find = |schema: &str| self.0.tables.get(&TableName::new(schema, table));
        match schema {
            Some(schema) => find(schema),
            None => self.0.search_path.iter().find_map(|schema| find(schema)),
        }
    }

    /// The tables of which somebody who sees this much sees something, by name.
    pub fn tables(&self, sight: impl Into<Sight>) -> impl Iterator<Item = &store::Table> {
        let sight = sight.into();
        let is_shown = move |table: &&store::Table| match sight {
            Sight::Everything => true,
            Sight::OneTenant => self.0.tables.get(&table.name).is_some_and(|known| known.shown != Shown::Nothing),
        };
        self.0.manifest.tables.iter().filter(is_shown)
    }
}

impl Prepared {
    /// The columns of the result.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the plan depends on.
    #[must_use]
    pub fn facts(&self) -> &PlanFacts {
        &self.facts
    }

    /// The engine that it was planned against.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs the plan with `values` in place of its parameters for whoever has this scope, until `deadline`.
    ///
    /// Returns when the plan is running and its columns are known; the rows follow in the stream. Dropping the stream stops
    /// the work.
    pub async fn execute(&self, values: Vec<ScalarValue>, scope: &Scope, deadline: Instant) -> Result<Execution> {
        if Sight::from(scope) != self.context.sight {
            return Err(Error::internal("a plan is executed for somebody else"));
        }
        let plan = self.plan.clone();
        let mut state = self.engine.0.runtime.session(self.engine.as_of(), &self.context.time_zone)?;
        let check = match scope {
            Scope::All => None,
            Scope::Tenant(tenant) => {
                OneTenant::set(&mut state, tenant);
                Some(barrier::Check { tenant: tenant.clone(), engine: self.engine.clone() })
            }
        };
        let make = move || -> Result<(LogicalPlan, SessionState)> {
            if values.is_empty() {
                return Ok((plan, state));
            }
            let bound = plan.with_param_values(ParamValues::from(values));
            Ok((bound.map_err(|error| failure::from_datafusion(error, None))?, state))
        };
        run::start(&self.engine.0.runtime, Arc::clone(&self.schema), make, check, deadline).await
    }
}

/// The columns as a client sees them: under the names that are shown.
///
/// Batches are made so when they leave, not by a projection on top of the plan: one that computes is spread over the threads, and
/// the order of the rows below it is lost.
fn shown(schema: &SchemaRef) -> SchemaRef {
    let is_shown = |field: &Arc<Field>| shown_name(field.name()).len() == field.name().len();
    if schema.fields().iter().all(is_shown) {
        return Arc::clone(schema);
    }
    let show = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_name(shown_name(field.name())));
    let fields: Vec<_> = schema.fields().iter().map(show).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn no_such_table(engine: &Engine, sight: Sight, name: &str) -> Error {
    let bare = name.rsplit('.').next().unwrap_or(name);
    let distance =
        |candidate: &&TableName| datafusion::common::utils::datafusion_strsim::levenshtein(&candidate.table, bare);
    let names = engine.tables(sight).map(|table| &table.name);
    let nearest = names.filter(|candidate| distance(candidate) <= 3).min_by_key(distance);
    let error = Error::new(Code::InvalidSql, format!("table {name:?} is not in the snapshot")).with_sqlstate("42P01");
    match nearest {
        Some(nearest) => error.with_hint(format!("did you mean {nearest}?")),
        None => error.with_hint("GET /v1/tables lists the tables that are"),
    }
}
