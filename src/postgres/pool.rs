//! Questions to the source: read-only statements, each in a transaction of its own, over a few connections that are kept.
//!
//! Owns: [`Pool`], [`Transaction`], [`Rows`]; how many run and wait; the types of what a statement returns; what its failures mean to
//! whoever asked. Must not know: who asks, for which tenant, or what becomes of the rows.
//!
//! One statement is prepared without a name, within its transaction, so that a pooler in transaction mode may stand between.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::types::{Kind as DriverKind, Type};

use super::{
    connect::SourceConfig,
    decode::{ColumnPlan, CopyDecoder},
    failure::asked,
    inspect::quote_literal,
    types::{BaseType, Kind, OutOfRange, PlannedKind, plan_column},
    wire::{CopyConnection, Progress, ResultColumn, ValueFormat},
};
use crate::error::{Code, Error, Result};

/// A connection that nobody used for so long is closed, not kept.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// A batch is handed on once it has so many bytes or rows.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_ROWS: usize = 8_192;

/// Bounds on what runs on the source at once.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Connections, and with them statements that run.
    pub connections_max: usize,
    /// Statements that wait for one.
    pub waiting_max: usize,
    /// How long one waits.
    pub wait_max: Duration,
}

/// A few connections to the source, for one role. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    source: SourceConfig,
    limits: PoolLimits,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Vec<(Instant, CopyConnection)>>,
    /// Types that this build does not know by number, by `pg_type.oid`.
    types: Mutex<HashMap<u32, BaseType>>,
}

/// How a transaction begins.
#[derive(Clone, Debug, Default)]
pub struct Opening<'a> {
    /// Settings that hold for the transaction alone; names with a dot are the application's own.
    pub settings: &'a [(&'a str, &'a str)],
    /// After how long the server stops a statement by itself.
    pub statement_timeout: Option<Duration>,
    /// An exported snapshot to see the database as of; else the moment of the first statement.
    pub snapshot: Option<&'a str>,
}

/// A parameter: `pg_type.oid`, and the value as text.
pub type Parameter = (u32, Option<String>);

/// A read-only transaction, REPEATABLE READ. Dropping it stops what runs.
pub struct Transaction {
    /// None once it has been given back.
    connection: Option<CopyConnection>,
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

/// A column of a statement's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowColumn {
    /// Its name; several may have the same.
    pub name: String,
    /// `pg_type.typname`: `int4`, `_text`, an enum's own name.
    pub postgres_type: String,
    /// How it travels: the batches have [`Kind::arrow_type`]. A numeric comes as its text, since only the type of a table's column says
    /// how many digits it has.
    pub kind: Kind,
}

/// The rows of a statement, as they arrive.
pub struct Rows {
    transaction: Transaction,
    columns: Vec<RowColumn>,
    decoder: CopyDecoder,
    is_done: bool,
}

/// Counts one that waits, until dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// A pool that connects when it is first asked.
    #[must_use]
    pub fn new(source: SourceConfig, limits: PoolLimits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            source,
            limits,
            permits,
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            types: Mutex::default(),
        }))
    }

    /// The role, host and database, for messages.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.0.source.redacted()
    }

    /// Begins a transaction, on a connection that is kept or a new one.
    ///
    /// # Errors
    /// [`Code::ServerFull`] when too many run and wait; [`Code::Unavailable`] when the source cannot be reached; [`Code::DeadlineExceeded`].
    pub async fn begin(&self, opening: &Opening<'_>, deadline: Instant) -> Result<Transaction> {
        let permit = self.enter(deadline).await?;
        let sql = opening.sql();
        let begun = tokio::time::timeout_at(deadline.into(), self.connection(&sql)).await;
        let connection = begun.unwrap_or_else(|_| Err(too_late()))?;
        Ok(Transaction { connection: Some(connection), pool: self.clone(), _permit: permit })
    }

    async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let limits = self.0.limits;
        if let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place(&self.0.waiting);
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) >= limits.waiting_max {
            return Err(full("every place in the queue for PostgreSQL is taken"));
        }
        let until = deadline.min(Instant::now() + limits.wait_max);
        let permit = tokio::time::timeout_at(until.into(), Arc::clone(&self.0.permits).acquire_owned()).await;
        drop(place);
        match permit {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) if Instant::now() >= deadline => Err(too_late()),
            Err(_) => Err(full("no query on PostgreSQL finished in time for this one to start")),
        }
    }

    /// A connection in a transaction that has begun.
    async fn connection(&self, begin: &str) -> Result<CopyConnection> {
        while let Some(mut connection) = self.idle() {
            match connection.execute(begin).await {
                Ok(()) => return Ok(connection),
                // The server may have restarted since: the next may be younger.
                Err(error) if error.code() == Code::Unavailable => {}
                Err(error) => return Err(asked(error)),
            }
        }
        let mut connection = self.0.source.connect_copy().await.map_err(unreachable)?;
        connection.execute(begin).await.map_err(asked)?;
        Ok(connection)
    }

    fn idle(&self) -> Option<CopyConnection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, _)| since.elapsed() < IDLE_MAX);
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: CopyConnection) {
        if connection.is_worth_keeping() {
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), connection));
        }
    }

    fn known(&self, oid: u32) -> Option<BaseType> {
        if let Some(known) = Type::from_oid(oid) {
            let class = match known.kind() {
                DriverKind::Enum(_) => 'e',
                DriverKind::Pseudo => 'p',
                DriverKind::Range(_) => 'r',
                DriverKind::Multirange(_) => 'm',
                DriverKind::Composite(_) => 'c',
                _ => 'b',
            };
            let (schema, name) = (known.schema().to_owned(), known.name().to_owned());
            return Some(BaseType { schema, name, class, modifier: -1 });
        }
        self.0.types.lock().unwrap_or_else(PoisonError::into_inner).get(&oid).cloned()
    }
}

impl Opening<'_> {
    fn sql(&self) -> String {
        let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
        if let Some(snapshot) = self.snapshot {
            sql.push_str(&format!("; SET TRANSACTION SNAPSHOT {}", quote_literal(snapshot)));
        }
        if let Some(timeout) = self.statement_timeout {
            sql.push_str(&format!("; SET LOCAL statement_timeout = {}", timeout.as_millis().clamp(1, 2_147_483_647)));
        }
        for (name, value) in self.settings {
            // A function, and not SET, since names of the application's own settings need no quotes there.
            let (name, value) = (quote_literal(name), quote_literal(value));
            sql.push_str(&format!("; SELECT pg_catalog.set_config({name}, {value}, true)"));
        }
        sql
    }
}

impl Transaction {
    /// Asks one statement, with its parameters as `$1`, `$2`, …
    ///
    /// # Errors
    /// What the statement does wrong, with its SQLSTATE; [`Code::Unavailable`]; [`Code::DeadlineExceeded`] when the server stopped it.
    pub async fn ask(mut self, sql: &str, parameters: &[Parameter]) -> Result<Rows> {
        let types: Vec<u32> = parameters.iter().map(|(oid, _)| *oid).collect();
        let values: Vec<Option<String>> = parameters.iter().map(|(_, value)| value.clone()).collect();
        let described = self.connection()?.prepare(sql, &types).await.map_err(asked)?;
        if self.learn_types(&described).await? {
            // To ask for a type ended what was prepared.
            self.connection()?.prepare(sql, &types).await.map_err(asked)?;
        }
        let columns = described.iter().map(|column| self.column(column)).collect::<Result<Vec<_>>>()?;
        let formats: Vec<ValueFormat> = columns.iter().map(|column| format_of(column.kind)).collect();
        let plans: Vec<ColumnPlan> = columns.iter().map(RowColumn::plan).collect();
        let decoder = CopyDecoder::new("of the result", &plans, None)?;
        self.connection()?.run_prepared(&values, &formats).await.map_err(asked)?;
        Ok(Rows { transaction: self, columns, decoder, is_done: false })
    }

    /// The first column of the last row of one statement without parameters, as text.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let row = self.connection()?.query(sql).await.map_err(asked)?;
        Ok(row.and_then(|row| row.into_iter().next().flatten()))
    }

    /// Ends it, and keeps the connection for the next.
    pub async fn end(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // A connection that cannot end its transaction is not kept.
        if connection.execute("ROLLBACK").await.is_ok() {
            self.pool.keep(connection);
        }
    }

    fn connection(&mut self) -> Result<&mut CopyConnection> {
        self.connection.as_mut().ok_or_else(|| Error::internal("a transaction was used after its end"))
    }

    /// Asks the catalog for types that nobody has met yet; says whether there were some.
    async fn learn_types(&mut self, columns: &[ResultColumn]) -> Result<bool> {
        let mut has_asked = false;
        for column in columns {
            if self.pool.known(column.type_oid).is_some() {
                continue;
            }
            let sql = format!(
                "SELECT n.nspname, t.typname, t.typtype FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = {}",
                column.type_oid
            );
            let row = self.connection()?.query(&sql).await.map_err(asked)?.unwrap_or_default();
            let Ok([Some(schema), Some(name), Some(class)]) = <[Option<String>; 3]>::try_from(row) else {
                return Err(Error::internal(format!("type {} of a result is not in pg_type", column.type_oid)));
            };
            let found = BaseType { schema, name, class: class.chars().next().unwrap_or('b'), modifier: -1 };
            self.pool.0.types.lock().unwrap_or_else(PoisonError::into_inner).insert(column.type_oid, found);
            has_asked = true;
        }
        Ok(has_asked)
    }

    fn column(&self, column: &ResultColumn) -> Result<RowColumn> {
        let base = self.pool.known(column.type_oid);
        let base = base.ok_or_else(|| Error::internal("the type of a result was forgotten"))?;
        let base = BaseType { modifier: column.modifier, ..base };
        let (kind, postgres_type) = match plan_column(&base, OutOfRange::Error) {
            // Its spaces are part of what is shown.
            PlannedKind::Known { kind: Kind::Trimmed, .. } => (Kind::Text, base.name),
            // What has no form but its text is text to whoever reads it, as in a snapshot; arrays are put together again.
            PlannedKind::Known { kind: Kind::AsText, .. } if !base.name.starts_with('_') => {
                (Kind::AsText, "text".to_owned())
            }
            PlannedKind::Known { kind, .. } => (kind, base.name),
            PlannedKind::Unmeasured => (Kind::AsText, base.name),
        };
        Ok(RowColumn { name: column.name.clone(), postgres_type, kind })
    }
}

impl RowColumn {
    fn plan(&self) -> ColumnPlan {
        let (name, kind) = (self.name.clone(), self.kind);
        ColumnPlan { name, kind, out_of_range: OutOfRange::Error, is_nullable: true }
    }
}

impl Rows {
    /// The columns of every batch.
    #[must_use]
    pub fn columns(&self) -> &[RowColumn] {
        &self.columns
    }

    /// The next batch; none when all rows have been given.
    ///
    /// # Errors
    /// As [`Transaction::ask`], and [`Code::UnrepresentableValue`] for infinite dates and the like.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.is_done {
            let is_enough = |decoder: &CopyDecoder| {
                decoder.bytes_buffered() >= BATCH_BYTES || decoder.rows_buffered() >= BATCH_ROWS
            };
            if is_enough(&self.decoder) {
                break;
            }
            let connection = self.transaction.connection()?;
            let progress = connection.next_rows(&mut self.decoder).await.map_err(asked)?;
            self.is_done = matches!(progress, Progress::Done { .. });
        }
        self.decoder.take_batch()
    }

    /// Gives the transaction back, for another statement or its end. What has not been read of the rows stops.
    ///
    /// # Errors
    /// When rows are left: the connection cannot be used before they have been read.
    pub fn into_transaction(self) -> Result<Transaction> {
        match self.is_done {
            true => Ok(self.transaction),
            false => Err(Error::internal("a transaction was to go on before all rows were read")),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").field("source", &self.redacted()).field("limits", &self.0.limits).finish()
    }
}

/// Text where the binary form is not known, and where the digits of a numeric are not known beforehand.
fn format_of(kind: Kind) -> ValueFormat {
    match kind {
        Kind::AsText => ValueFormat::Text,
        _ => ValueFormat::Binary,
    }
}

fn full(why: &str) -> Error {
    Error::new(Code::ServerFull, format!("the server is busy: {why}"))
        .with_retry_after(Duration::from_secs(1))
        .with_hint("ask again in a moment; rollout.postgres_connections and rollout.postgres_queue_max are the limits")
}

fn too_late() -> Error {
    Error::new(Code::DeadlineExceeded, "PostgreSQL did not answer in time").with_sqlstate("57014")
}

/// A source that cannot be reached is not the fault of who asks, whatever the reason.
fn unreachable(error: Error) -> Error {
    Error::new(Code::Unavailable, "PostgreSQL cannot be reached").with_cause(error)
}
