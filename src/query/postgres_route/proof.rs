//! Whether row level security is at work on a table, seen and not believed.
//!
//! A policy may be missing, forgotten by a role that owns the table, or say something else than it should. So the role itself is asked, as
//! tenants that cannot be: whoever sees a row then sees a row of somebody's. What has been seen holds for a minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::PostgresRoute;
use crate::{
    error::Result,
    postgres::{Opening, Pool, quote_ident, quote_literal},
    sql::ScalarType,
    store::TableName,
};

/// How long a table that was seen to be protected is taken for protected.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long one that was not is taken for unprotected.
const BAD_FOR: Duration = Duration::from_secs(5);
/// How long the server may take to say that there is no row, which an index on the tenant's column makes short.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Proofs(Mutex<HashMap<TableName, Seen>>);

struct Seen {
    at: Instant,
    outcome: Result<(), String>,
}

impl Proofs {
    /// Whether the role of `pool` sees no rows of `table` but its tenant's; else why that is not known.
    pub(super) async fn of(
        &self,
        route: &PostgresRoute,
        pool: &Pool,
        table: &TableName,
        column: &str,
        deadline: Instant,
    ) -> Result<(), String> {
        let known = {
            let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = |seen: &&Seen| seen.at.elapsed() < if seen.outcome.is_ok() { GOOD_FOR } else { BAD_FOR };
            seen.get(table).filter(fresh).map(|seen| seen.outcome.clone())
        };
        if let Some(known) = known {
            return known;
        }
        let outcome = look(route, pool, table, column, deadline).await;
        let seen = Seen { at: Instant::now(), outcome: outcome.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), seen);
        outcome
    }
}

async fn look(
    route: &PostgresRoute,
    pool: &Pool,
    table: &TableName,
    column: &str,
    deadline: Instant,
) -> Result<(), String> {
    let unknown =
        |error: crate::error::Error| format!("row level security of {table} cannot be checked: {}", error.chain());
    let options = &route.0.options;
    let quoted = format!("{}.{}", quote_ident(&table.schema), quote_ident(&table.table));
    for nobody in nobodies(options.tenant_type) {
        let settings = [(options.tenant_setting.as_str(), nobody.as_str())];
        let opening = Opening { settings: &settings, statement_timeout: Some(TIMEOUT), snapshot: None };
        let mut transaction = pool.begin(&opening, deadline).await.map_err(unknown)?;
        let active = format!("SELECT pg_catalog.row_security_active({})", quote_literal(&quoted));
        if transaction.value(&active).await.map_err(unknown)?.as_deref() != Some("t") {
            return Err(format!(
                "row level security of {table} does not hold for the role of rollout.postgres_url: enable and force it, with a policy on {column}"
            ));
        }
        let any = format!("SELECT EXISTS (SELECT FROM {quoted})");
        match transaction.value(&any).await {
            Ok(seen) if seen.as_deref() == Some("f") => transaction.end().await,
            Ok(_) => {
                return Err(format!(
                    "row level security of {table} shows rows to a tenant that there is not: a policy must compare {column} with \
                     current_setting('{}')",
                    options.tenant_setting
                ));
            }
            Err(error) => return Err(unknown(error)),
        }
    }
    Ok(())
}

/// Tenants that there are not: the least and the greatest of their type, so that a policy that compares by `<` or `>` is found out.
fn nobodies(tenant_type: ScalarType) -> [String; 2] {
    match tenant_type {
        ScalarType::Int4 => [i32::MIN.to_string(), i32::MAX.to_string()],
        ScalarType::Uuid => [uuid::Uuid::nil().to_string(), uuid::Uuid::max().to_string()],
        ScalarType::Text => ["!pilaster asks as nobody".into(), "\u{10fffd}pilaster asks as nobody".into()],
        _ => [i64::MIN.to_string(), i64::MAX.to_string()],
    }
}
