//! What all engines of a process share: threads, memory, spill, the footer cache, and the session that each query starts from.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::{
    execution::{
        SessionState, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool},
        object_store::ObjectStoreUrl,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::SessionConfig,
};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{TablePolicies, rules};
use crate::{
    error::{Code, Error, Result},
    sql::install_functions,
    store::Store,
};

/// Virtual, not resident: a page is used when a deep expression reaches it.
const STACK_BYTES: usize = 64 << 20;
/// How many of the largest consumers an out-of-memory error names, in the log.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(5).expect("five is not zero");

/// How much the engine may use.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads that compute; also the partitions of a query.
    pub threads: usize,
    /// Memory of all running queries together.
    pub memory_bytes: usize,
    /// Disk that they may spill to; 0 for none.
    pub spill_bytes: u64,
    /// Where they spill; none for the system's folder of temporary files.
    pub spill_folder: Option<PathBuf>,
    /// Parquet footers kept in memory.
    pub footer_cache_bytes: usize,
    /// Whose rows the tables hold.
    pub policies: TablePolicies,
}

/// The shared part. Cheap to clone; the threads end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct EngineRuntime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    environment: Arc<RuntimeEnv>,
    prototype: SessionState,
    policies: TablePolicies,
    threads: Threads,
}

/// The runtime of its own on which every stream is polled, so that a heavy query never delays a socket.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping a runtime waits for its tasks, which is forbidden where the last engine may be dropped: in async code.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl EngineRuntime {
    /// Starts the threads and makes the pools.
    pub fn new(options: &EngineOptions) -> Result<Self> {
        let threads = options.threads.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(32)
            .thread_stack_size(STACK_BYTES)
            .thread_name("pilaster-cpu")
            .enable_all()
            .build()
            .map_err(|error| Error::internal("cannot start the engine's threads").with_cause(error))?;

        let spill = match (options.spill_bytes, &options.spill_folder) {
            (0, _) => DiskManagerMode::Disabled,
            (_, Some(folder)) => DiskManagerMode::Directories(vec![folder.clone()]),
            (_, None) => DiskManagerMode::OsTmpDirectory,
        };
        let pool: Arc<dyn MemoryPool> =
            Arc::new(TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes), CONSUMERS_NAMED));
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(
                DiskManagerBuilder::default().with_mode(spill).with_max_temp_directory_size(options.spill_bytes),
            )
            .with_metadata_cache_limit(options.footer_cache_bytes)
            .build_arc()
            .map_err(|error| {
                Error::new(Code::InvalidConfig, format!("the engine cannot be set up: {error}"))
                    .with_hint("check engine.spill_folder and engine.memory")
                    .with_cause(error)
            })?;
        let prototype = prototype(Arc::clone(&environment), threads)
            .map_err(|error| Error::internal("the engine's functions cannot be set up").with_cause(error))?;
        let policies = options.policies.clone();
        Ok(Self(Arc::new(Inner { environment, prototype, policies, threads: Threads(Some(runtime)) })))
    }

    pub(super) fn environment(&self) -> &Arc<RuntimeEnv> {
        &self.0.environment
    }

    /// Whose rows the tables hold.
    #[must_use]
    pub fn policies(&self) -> &TablePolicies {
        &self.0.policies
    }

    /// Makes the store's files readable under its own URL.
    pub(super) fn register_store(&self, store: &Store) {
        let url = store_url(store);
        self.0.environment.register_object_store(url.as_ref(), Arc::clone(store.objects()));
    }

    /// The session that a query runs in: nothing of one query is seen by another.
    pub(super) fn session(&self, as_of: DateTime<Utc>, time_zone: &str) -> Result<SessionState> {
        let mut state = self.0.prototype.clone();
        if time_zone != "UTC" {
            let zone = zone_of(time_zone)?;
            state.config_mut().options_mut().execution.time_zone = Some(zone.name().to_owned());
        }
        let config = Arc::clone(state.config_options());
        let properties = state.execution_props_mut();
        properties.mark_start_execution(config);
        // `now()` is the instant of the data, so that replies are stable and can be certified.
        properties.query_execution_start_time = Some(as_of);
        Ok(state)
    }

    /// The session that others start from.
    pub(super) fn prototype(&self) -> &SessionState {
        &self.0.prototype
    }

    /// Runs `work` on the engine's threads.
    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.threads.0.as_ref().expect("the threads end only when the last clone is dropped").spawn(work)
    }
}

pub(super) fn zone_of(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        Error::new(Code::InvalidParameter, format!("time zone {name:?} is not known"))
            .with_sqlstate("22023")
            .with_hint("use a name of the IANA database, for example Europe/Berlin")
    })
}

/// Each store has a URL of its own, so that two stores of one process stay apart.
pub(super) fn store_url(store: &Store) -> ObjectStoreUrl {
    let hash = blake3::hash(store.url().as_str().as_bytes()).to_hex();
    ObjectStoreUrl::parse(format!("pilaster://{}", &hash.as_str()[..32])).expect("a scheme and a name are an URL")
}

fn prototype(environment: Arc<RuntimeEnv>, threads: usize) -> datafusion::common::Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    // `SELECT * FROM (SELECT … ORDER BY x) AS t LIMIT 3` is what tools send, and Postgres keeps the order.
    options.sql_parser.enable_subquery_sort_elimination = false;
    // It finds the key of an order by its name, through projections that give the name to something else.
    options.optimizer.enable_topk_aggregation = false;
    options.execution.time_zone = Some("UTC".into());
    // The engine's own plans differ now and then in whether a column may be NULL, which changes no value.
    options.execution.skip_physical_aggregate_schema_check = true;
    // Bounded memory: by default a sort that cannot be pushed down may buffer a GiB.
    options.execution.sort_pushdown_buffer_capacity = 64 << 20;
    let state =
        SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(environment).build();
    let (logical, physical) = (rules::logical(state.optimizers()), rules::physical(state.physical_optimizers()));
    let mut state = SessionStateBuilder::new_from_existing(state)
        .with_optimizer_rules(logical)
        .with_physical_optimizer_rules(physical)
        .build();
    install_functions(&mut state)?;
    Ok(state)
}
