//! The way of a named query to Postgres: the same parameters, names and types, under a role that may only read.
//!
//! Owns: [`PostgresRoute`], what is asked there and for whom it may be, and by what its replies are known. Must not know: which query goes
//! this way.
//!
//! A tenant's query goes this way only if no row of another can come back: each table that it reads is shared, or the query itself compares
//! `$tenant`, or row level security has been seen at work (`proof`). Everything else is refused, with the reason.

mod proof;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::{Bound, NamedQuery, RawParameters, Reserved, key};
use crate::{
    access::{Scope, TenantId},
    cache::{Filling, Key},
    engine::{SourceColumn, SourceRows, TablePolicies, TablePolicy},
    error::{Code, Error, Result},
    postgres::{Opening, Parameter, Pool, Rows, quote_ident},
    sql::{ParameterType, ParameterValue, ScalarType, TableUse},
    store::TableName,
};

use proof::Proofs;

/// Output that depends on settings is the same over every connection; a pooler in between may have given us anybody's.
const OUTPUT_SETTINGS: [(&str, &str); 4] =
    [("DateStyle", "ISO, MDY"), ("IntervalStyle", "postgres"), ("extra_float_digits", "1"), ("bytea_output", "hex")];

/// Queries whose tables are remembered.
const QUERIES_MAX: u64 = 1_024;

/// What the way is made of.
#[derive(Debug)]
pub struct PostgresRouteOptions {
    /// For queries over all tenants.
    pub everyone: Option<Pool>,
    /// For queries of one tenant, under row level security.
    pub tenants: Option<Pool>,
    /// How long a reply is kept; zero for not at all.
    pub time_to_live: Duration,
    /// How long a statement may take at most.
    pub timeout: Duration,
    /// Where tables are looked for that are named without a schema.
    pub search_path: Vec<String>,
    /// What the policies of row level security read.
    pub tenant_setting: String,
    /// Whose rows tables hold.
    pub policies: TablePolicies,
    /// The type of `$tenant`.
    pub tenant_type: ScalarType,
}

/// The way to Postgres. Cheap to clone.
#[derive(Clone)]
pub struct PostgresRoute(Arc<Inner>);

struct Inner {
    options: PostgresRouteOptions,
    /// As the server reads it.
    search_path: String,
    proofs: Proofs,
    /// What tables queries name, by their fingerprints: a statement is not looked through for each request.
    tables: moka::sync::Cache<String, Arc<Vec<TableUse>>>,
}

/// A statement for Postgres, with all that its answer depends on.
pub(super) struct Question {
    pool: Pool,
    sql: String,
    parameters: Vec<Parameter>,
    tenant: Option<TenantId>,
    time_zone: String,
    /// What its answer is known by until `fresh_until`; none where it is not kept.
    pub(super) key: Option<Key>,
    pub(super) fresh_until: Option<Instant>,
}

/// How a question is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asking<'a> {
    /// An exported snapshot to ask as of; else as of now.
    pub(super) snapshot: Option<&'a str>,
    /// Whether to say which transactions were seen.
    pub(super) wants_position: bool,
}

/// What comes back.
pub(super) struct Asked {
    pub(super) filling: Filling,
    /// Which transactions were seen, if that was wanted.
    pub(super) position: Option<String>,
}

impl PostgresRoute {
    /// A way that connects when it is first taken.
    #[must_use]
    pub fn new(options: PostgresRouteOptions) -> Self {
        let quoted: Vec<String> = options.search_path.iter().map(|schema| quote_ident(schema)).collect();
        let (proofs, tables) = (Proofs::default(), moka::sync::Cache::new(QUERIES_MAX));
        Self(Arc::new(Inner { search_path: quoted.join(", "), proofs, tables, options }))
    }

    /// Understands a named query for Postgres, without asking it.
    pub(super) async fn question(
        &self,
        query: &NamedQuery,
        parameters: &RawParameters,
        scope: &Scope,
        time_zone: &str,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Result<Question> {
        let options = &self.0.options;
        let sql = query.for_postgres();
        let reserved = Reserved { scope, tenant_type: options.tenant_type, now, time_zone };
        if matches!(scope, Scope::Tenant(_)) {
            // The policies of row level security see it as it is written, of which there is one way.
            reserved.value_of("tenant")?;
        }
        let bound = parameters.bind_named(query, sql, &reserved)?;
        let pool = match scope {
            Scope::All => options.everyone.as_ref().ok_or_else(|| {
                Error::new(Code::Unavailable, "queries over all tenants do not run on PostgreSQL here")
                    .with_hint("set postgres.url to a role that sees all rows")
            })?,
            Scope::Tenant(_) => self.pool_for_tenants(query, deadline).await?,
        };
        let (key, fresh_until) = match options.time_to_live {
            Duration::ZERO => (None, None),
            time_to_live => {
                let (key, left) = epoch(key::of_postgres(sql, &bound, scope, time_zone), time_to_live);
                (Some(key), Some(Instant::now() + left))
            }
        };
        Ok(Question {
            pool: pool.clone(),
            sql: sql.render(|_, number| format!("${number}")),
            parameters: sent(&bound),
            tenant: match scope {
                Scope::All => None,
                Scope::Tenant(tenant) => Some(tenant.clone()),
            },
            time_zone: time_zone.to_owned(),
            key,
            fresh_until,
        })
    }

    /// Asks it. What comes back holds its connection until its last row.
    pub(super) async fn ask(&self, question: &Question, asking: Asking<'_>, deadline: Instant) -> Result<Asked> {
        let options = &self.0.options;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut settings: Vec<(&str, &str)> = OUTPUT_SETTINGS.to_vec();
        settings.push(("search_path", &self.0.search_path));
        settings.push(("TimeZone", &question.time_zone));
        match &question.tenant {
            Some(tenant) => settings.push((&options.tenant_setting, tenant.as_str())),
            // A policy that would hide rows from a query over all of them is an error, and not a wrong sum.
            None => settings.push(("row_security", "off")),
        }
        let opening = Opening {
            settings: &settings,
            statement_timeout: Some(left.min(options.timeout)),
            snapshot: asking.snapshot,
        };
        let asked = async {
            let mut transaction = question.pool.begin(&opening, deadline).await?;
            let position = match asking.wants_position {
                true => transaction.value("SELECT pg_catalog.pg_current_snapshot()::text").await?,
                false => None,
            };
            Ok((transaction.ask(&question.sql, &question.parameters).await?, position))
        };
        let asked = tokio::time::timeout_at(deadline.into(), asked).await;
        let (rows, position) = asked.unwrap_or_else(|_| Err(super::too_late()))?;
        let columns = rows.columns().iter();
        let types: Vec<_> = columns.clone().map(|column| column.kind.arrow_type()).collect();
        let columns = columns.zip(&types).map(|(column, data_type)| SourceColumn {
            name: &column.name,
            postgres_type: &column.postgres_type,
            data_type,
        });
        let shape = SourceRows::new(columns, &question.time_zone);
        let schema = Arc::clone(shape.schema());
        let batches = futures::stream::unfold(Some((rows, shape)), move |state| async move {
            let (mut rows, shape) = state?;
            let next = tokio::time::timeout_at(deadline.into(), next(&mut rows, &shape)).await;
            match next.unwrap_or_else(|_| Err(super::too_late())) {
                Ok(Some(batch)) => Some((Ok(batch), Some((rows, shape)))),
                Ok(None) => {
                    // Nobody who waits for the rows need wait for the end of the transaction.
                    tokio::spawn(async move {
                        if let Ok(transaction) = rows.into_transaction() {
                            transaction.end().await;
                        }
                    });
                    None
                }
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Asked { filling: Filling { schema, batches: batches.boxed() }, position })
    }

    /// Whether a query of a tenant's may go this way.
    pub(super) async fn allows_tenants(&self, query: &NamedQuery, deadline: Instant) -> Result<()> {
        self.pool_for_tenants(query, deadline).await.map(drop)
    }

    /// The connections over which a query of a tenant may go, or why there are none.
    async fn pool_for_tenants(&self, query: &NamedQuery, deadline: Instant) -> Result<&Pool> {
        let options = &self.0.options;
        let mut unlimited = Vec::new();
        for used in self.tables_used(query).iter() {
            let name = self.resolved(used);
            match options.policies.get(&name) {
                Some(TablePolicy::Shared) => {}
                Some(TablePolicy::Tenant(column)) if !used.is_bound => unlimited.push((name, column.clone())),
                Some(TablePolicy::Tenant(_)) => {}
                Some(TablePolicy::Denied) | None => {
                    let error = Error::new(Code::InvalidSql, format!("table {name} is not shown to tenants"));
                    return Err(super::not_for_tenants(error.with_sqlstate("42P01"), query));
                }
            }
        }
        let refused = |why: String| {
            let message = format!("tenants are not routed to PostgreSQL for {}", query.path());
            Error::new(Code::NotRouted, message).with_cause(Error::new(Code::NotRouted, why))
        };
        if unlimited.is_empty() {
            let pool = options.tenants.as_ref().or(options.everyone.as_ref());
            return pool.ok_or_else(|| Error::internal("the way to PostgreSQL leads nowhere"));
        }
        let Some(pool) = &options.tenants else {
            let (table, column) = &unlimited[0];
            return Err(refused(format!(
                "it does not compare {table}.{column} with $tenant, and there is no role under row level security: set rollout.postgres_url"
            )));
        };
        for (table, column) in &unlimited {
            self.0.proofs.of(self, pool, table, column, deadline).await.map_err(&refused)?;
        }
        Ok(pool)
    }

    fn tables_used(&self, query: &NamedQuery) -> Arc<Vec<TableUse>> {
        let tenant_column = |schema: Option<&str>, table: &str| {
            let name = TableUse { schema: schema.map(str::to_owned), table: table.to_owned(), is_bound: false };
            match self.0.options.policies.get(&self.resolved(&name)) {
                Some(TablePolicy::Tenant(column)) => Some(column.clone()),
                _ => None,
            }
        };
        let look = || Arc::new(query.for_postgres().tables_used(tenant_column));
        self.0.tables.get_with_by_ref(&query.fingerprint, look)
    }

    /// A table named alone is in the first schema of the search path, or it is none that something is said of: in which of several it is, Postgres
    /// finds out anew each time, and what is said of one says nothing of the others.
    fn resolved(&self, used: &TableUse) -> TableName {
        let first = self.0.options.search_path.first().map_or("public", String::as_str);
        TableName::new(used.schema.as_deref().unwrap_or(first), &used.table)
    }
}

async fn next(rows: &mut Rows, shape: &SourceRows) -> Result<Option<arrow::array::RecordBatch>> {
    rows.next().await?.map(|batch| shape.convert(&batch)).transpose()
}

/// Which stretch of time we are in, each as long as a reply is kept, and how much of it is left. Each key has stretches of its own, so that
/// not all replies end at once.
fn epoch(base: [u8; 32], time_to_live: Duration) -> (Key, Duration) {
    let length = u64::try_from(time_to_live.as_millis()).unwrap_or(u64::MAX).max(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let [a, b, c, d, e, f, ..] = base;
    let phase = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) % length;
    let at = now.saturating_add(phase);
    let key = blake3::Hasher::new().update(&base).update(&(at / length).to_le_bytes()).finalize();
    (Key::new(*key.as_bytes()), Duration::from_millis(length - at % length))
}

/// The parameters as the protocol has them.
fn sent(bound: &Bound) -> Vec<Parameter> {
    bound.0.iter().map(|(kind, value)| (type_oid(*kind), text_of(value))).collect()
}

/// `pg_type.oid`, which these types have in every database.
fn type_oid(kind: ParameterType) -> u32 {
    let (scalar, list) = match kind.scalar {
        ScalarType::Bool => (16, 1000),
        ScalarType::Int4 => (23, 1007),
        ScalarType::Int8 => (20, 1016),
        ScalarType::Float8 => (701, 1022),
        ScalarType::Numeric => (1700, 1231),
        ScalarType::Text => (25, 1009),
        ScalarType::Date => (1082, 1182),
        ScalarType::Timestamp => (1114, 1115),
        ScalarType::Timestamptz => (1184, 1185),
        ScalarType::Uuid => (2950, 2951),
    };
    if kind.is_list { list } else { scalar }
}

fn text_of(value: &ParameterValue) -> Option<String> {
    match value {
        ParameterValue::Null => None,
        ParameterValue::List(items) => {
            let item = |item: &ParameterValue| match item {
                ParameterValue::Null => "NULL".to_owned(),
                item => format!("\"{}\"", item.to_string().replace('\\', "\\\\").replace('"', "\\\"")),
            };
            Some(format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(",")))
        }
        one => Some(one.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sent_as_postgres_reads_them() {
        let text = |text: &str| ParameterValue::Text(text.to_owned());
        let check = |value: ParameterValue, expect: Option<&str>| {
            assert_eq!(text_of(&value).as_deref(), expect, "{value:?}");
        };
        check(ParameterValue::Null, None);
        check(text("a\"b\\"), Some("a\"b\\"));
        check(ParameterValue::List(vec![]), Some("{}"));
        let list = vec![text("a\"b\\"), text("NULL"), ParameterValue::Null, text("x,y"), text("")];
        check(ParameterValue::List(list), Some("{\"a\\\"b\\\\\",\"NULL\",NULL,\"x,y\",\"\"}"));
        check(ParameterValue::List(vec![ParameterValue::Int8(-7)]), Some("{\"-7\"}"));
    }

    #[test]
    fn a_key_lasts_as_long_as_the_reply() {
        let (first, left) = epoch([7; 32], Duration::from_secs(3600));
        assert!(left <= Duration::from_secs(3600) && !left.is_zero());
        if left > Duration::from_secs(5) {
            assert_eq!(epoch([7; 32], Duration::from_secs(3600)).0, first);
        }
        assert_ne!(epoch([8; 32], Duration::from_secs(3600)).0, first);
        let (short, left) = epoch([7; 32], Duration::from_millis(20));
        std::thread::sleep(left + Duration::from_millis(1));
        assert_ne!(epoch([7; 32], Duration::from_millis(20)).0, short);
    }
}
