//! One instant of the source, held still: the run's lock, the tables' locks, the exported snapshot.

use chrono::{DateTime, Utc};

use super::RunOptions;
use crate::{
    error::{Code, Error, Result},
    postgres::{
        self, Client, Pooling, RelationKind, SourceConfig, TableDefinition, TableName, from_driver, quote_ident,
        sqlstate_of,
    },
    store::RunId,
};

/// The server may set any of these to end idle or long sessions; ours hold still on purpose.
const NO_TIMEOUTS: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
     SET idle_session_timeout = 0; SET lock_timeout = 0";

/// Held for the whole run, so that there is one run for each store.
pub(super) struct RunLock {
    client: Client,
    key: i64,
}

impl RunLock {
    /// Takes the lock of the store with this id, or says who holds it.
    pub(super) async fn take(source: &SourceConfig, store_id: &str, run: RunId) -> Result<Self> {
        let host = hostname();
        let name: String = format!("pilaster run {run} on {host}").chars().take(63).collect();
        let client = source.clone().with_application_name(&name).connect().await?;
        let identity = postgres::identify(&client).await?;
        if identity.pooling == Pooling::Transaction {
            return Err(Error::new(
                Code::InvalidConfig,
                "the source is reached through a pooler in transaction mode, which breaks snapshots and locks",
            )
            .with_hint("connect to Postgres itself, or to a pool in session mode"));
        }
        let failed = |error| from_driver(error, "take the run's lock");
        client.batch_execute(NO_TIMEOUTS).await.map_err(failed)?;
        let hash = blake3::hash(format!("pilaster run\0{store_id}").as_bytes());
        let key = i64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has more than eight bytes"));
        let row = client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&key]).await.map_err(failed)?;
        if row.try_get::<_, bool>(0).map_err(failed)? {
            return Ok(Self { client, key });
        }
        Err(Self::held_by_another(&client, key).await.unwrap_or_else(|error| error))
    }

    async fn held_by_another(client: &Client, key: i64) -> Result<Error> {
        let failed = |error| from_driver(error, "ask who holds the run's lock");
        let sql = "SELECT a.pid, a.application_name, a.backend_start \
             FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND ((l.classid::int8 << 32) | l.objid::int8) = $1";
        let row = client.query_opt(sql, &[&key]).await.map_err(failed)?;
        let error = |who: String| Error::new(Code::RunInProgress, format!("another run is under way: {who}"));
        let hint = "wait for it, or stop it; a server's run can be joined with POST /v1/snapshots";
        let Some(row) = row else { return Ok(error("it has just ended".into()).with_hint("try again")) };
        let pid: i32 = row.try_get(0).map_err(failed)?;
        let name: String = row.try_get(1).map_err(failed)?;
        let since: Option<DateTime<Utc>> = row.try_get(2).map_err(failed)?;
        let since = since.map(|since| format!(", since {}", since.format("%Y-%m-%d %H:%M:%S UTC"))).unwrap_or_default();
        Ok(error(format!("{name:?}, process {pid} of the source{since}")).with_hint(hint))
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Fails if the lock was lost on the way, as when the source restarted: another run may be under way by now.
    pub(super) async fn require_held(&self) -> Result<()> {
        let lost = |error| {
            from_driver(error, "check the run's lock")
                .context("the run lost its lock, and gives up rather than publish late")
        };
        // The lock lives exactly as long as this session does.
        self.client.batch_execute("SELECT 1").await.map_err(lost)
    }

    pub(super) async fn release(self) {
        // The end of the session releases it in any case.
        drop(self.client.execute("SELECT pg_catalog.pg_advisory_unlock($1)", &[&self.key]).await);
        self.client.close().await;
    }
}

/// The exported instant. While it lives, no table can be dropped, truncated or altered.
pub(super) struct Export {
    holder: Client,
    exporter: Client,
    /// Its name, for `SET TRANSACTION SNAPSHOT`.
    pub(super) snapshot: String,
    /// The instant.
    pub(super) as_of: DateTime<Utc>,
    /// The write-ahead log's position there.
    pub(super) lsn: Option<String>,
    /// Which transactions the snapshot sees.
    pub(super) transactions: String,
    /// What is copied, as of the instant.
    pub(super) tables: Vec<TableDefinition>,
}

impl Export {
    /// The connection inside the snapshot.
    pub(super) fn exporter(&self) -> &Client {
        &self.exporter
    }

    /// The very server that holds the snapshot.
    pub(super) fn server(&self) -> &SourceConfig {
        self.exporter.server()
    }

    /// Gives the source its freedom back.
    pub(super) async fn end(self) {
        self.exporter.close().await;
        self.holder.close().await;
    }

    /// What a worker runs before it copies: the same instant, and locks of its own that it never waits for.
    pub(super) fn worker_setup(&self) -> String {
        let locks = lock_statements(&self.tables, " NOWAIT");
        format!(
            "{NO_TIMEOUTS}; SET row_security = off; SET synchronize_seqscans = off; \
             SET max_parallel_workers_per_gather = 0; SET lock_timeout = '1s'; \
             BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'; {locks}",
            self.snapshot
        )
    }
}

/// Takes the locks, then the instant, then looks whether the tables are still those that were locked.
pub(super) async fn begin(server: &SourceConfig, options: &RunOptions) -> Result<Export> {
    let holder = server.connect().await?;
    let failed = |error| from_driver(error, "lock the tables");
    // Before the first look: a table's size is not told either while somebody holds the table.
    let timeout_ms = options.lock_timeout.as_millis();
    let settings = format!("{NO_TIMEOUTS}; SET row_security = off; SET lock_timeout = {timeout_ms}");
    holder.batch_execute(&settings).await.map_err(failed)?;
    let before = chosen(&holder, options).await.map_err(held_by_a_statement)?;
    require_lockable(server.user(), &before)?;
    let locks = lock_statements(&before, "");
    holder
        .batch_execute(&format!("BEGIN; {locks}"))
        .await
        .map_err(|error| held_by_a_statement(from_driver(error, "lock the tables")))?;

    let exporter = server.connect().await?;
    let failed = |error| from_driver(error, "export the snapshot");
    // The holder has every table, so only DDL that has queued up behind it can be in the exporter's way. It waits for
    // us and the application waits for it: give way soon.
    exporter
        .batch_execute(&format!(
            "{NO_TIMEOUTS}; SET row_security = off; SET lock_timeout = '1s'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        ))
        .await
        .map_err(failed)?;
    // The transaction's snapshot is taken before its first statement runs, so the clock is read right after it.
    let row = exporter
        .query_one(
            "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.clock_timestamp(), \
             CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
             ELSE pg_catalog.pg_current_wal_lsn() END::text, pg_catalog.pg_current_snapshot()::text",
            &[],
        )
        .await
        .map_err(failed)?;
    let tables = chosen(&exporter, options).await?;
    if fingerprints(&before) != fingerprints(&tables) {
        return Err(Error::new(Code::Conflict, "the tables' definitions changed while they were being locked"));
    }
    Ok(Export {
        snapshot: row.try_get(0).map_err(failed)?,
        as_of: row.try_get(1).map_err(failed)?,
        lsn: row.try_get(2).map_err(failed)?,
        transactions: row.try_get(3).map_err(failed)?,
        tables,
        holder,
        exporter,
    })
}

/// Says what to do when a table was not free in time.
fn held_by_a_statement(error: Error) -> Error {
    match sqlstate_of(&error) {
        Some("55P03") => error.with_hint(
            "a statement such as ALTER TABLE or VACUUM FULL holds a table; wait for it, or raise snapshot.lock_timeout",
        ),
        _ => error,
    }
}

/// `LOCK TABLE` needs a grant on the whole table, and would name only the first that lacks it, and not the mend.
fn require_lockable(role: &str, tables: &[TableDefinition]) -> Result<()> {
    let is_lockable = |table: &TableDefinition| {
        // A materialized view is not locked but read, for which a grant on one column suffices.
        let is_view = table.kind == RelationKind::MaterializedView;
        table.is_lockable || (is_view && table.columns.iter().any(|column| column.is_select_allowed))
    };
    let missing: Vec<&TableDefinition> =
        tables.iter().filter(|table| !table.is_schema_usable || !is_lockable(table)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let role_name = quote_ident(role);
    let mut grants = Vec::new();
    for table in &missing {
        let usage = format!("GRANT USAGE ON SCHEMA {} TO {role_name};", quote_ident(&table.name.schema));
        if !table.is_schema_usable && !grants.contains(&usage) {
            grants.push(usage);
        }
        if !is_lockable(table) {
            grants.push(format!("GRANT SELECT ON {} TO {role_name};", table.name.quoted()));
        }
    }
    let names: Vec<String> = missing.iter().map(|table| table.name.to_string()).collect();
    let count = match names.len() {
        1 => "1 table".to_owned(),
        count => format!("{count} tables"),
    };
    Err(Error::new(
        Code::PermissionDenied,
        format!("role {role:?} may not read {count} of the source: {}", names.join(", ")),
    )
    .with_hint(grants.join(" ")))
}

/// Whether another attempt may succeed: DDL came between, or a replica cancelled us.
pub(super) fn may_start_over(error: &Error) -> bool {
    let disturbed = matches!(
        sqlstate_of(error),
        // lock not available, serialization failure, undefined table, query cancelled by recovery, deadlock
        Some("55P03" | "40001" | "42P01" | "40P01" | "72000")
    );
    disturbed || error.code() == Code::Conflict
}

async fn chosen(client: &Client, options: &RunOptions) -> Result<Vec<TableDefinition>> {
    let mut tables = postgres::inspect(client, &options.schemas).await?;
    let excluded = |name: &TableName| {
        options.exclude_tables.iter().any(|other| other.schema == name.schema && other.table == name.name)
    };
    tables.retain(|table| !excluded(&table.name));
    let foreign = |table: &&TableDefinition| {
        table.kind == RelationKind::Foreign || table.relations.iter().any(|part| part.kind == RelationKind::Foreign)
    };
    if let Some(table) = tables.iter().find(foreign) {
        return Err(Error::new(
            Code::InvalidConfig,
            format!(
                "table {} is, or contains, a foreign table, whose rows no snapshot of this server covers",
                table.name
            ),
        )
        .with_hint(format!("leave it out: snapshot.exclude_tables = [\"{}\"]", table.name)));
    }
    if let Some(table) = tables.iter().find(|table| !table.is_populated) {
        return Err(Error::new(
            Code::InvalidConfig,
            format!("materialized view {} has never been refreshed and cannot be read", table.name),
        )
        .with_hint("refresh it, or leave it out with snapshot.exclude_tables"));
    }
    Ok(tables)
}

fn fingerprints(tables: &[TableDefinition]) -> Vec<(u32, String)> {
    tables.iter().map(|table| (table.oid, table.fingerprint())).collect()
}

/// `LOCK` for tables. What cannot be locked so (a materialized view, or a table of which only columns are granted) is read
/// instead: a SELECT takes the same lock.
fn lock_statements(tables: &[TableDefinition], wait: &str) -> String {
    let quoted =
        |table: &TableDefinition| format!("{}.{}", quote_ident(&table.name.schema), quote_ident(&table.name.name));
    let is_touched = |table: &&TableDefinition| table.kind == RelationKind::MaterializedView || !table.is_lockable;
    let lockable: Vec<String> = tables.iter().filter(|table| !is_touched(table)).map(quoted).collect();
    let mut statements = String::new();
    if !lockable.is_empty() {
        statements.push_str(&format!("LOCK TABLE {} IN ACCESS SHARE MODE{wait}; ", lockable.join(", ")));
    }
    for table in tables.iter().filter(is_touched) {
        statements.push_str(&format!("SELECT FROM {} LIMIT 0; ", quoted(table)));
    }
    statements
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}
