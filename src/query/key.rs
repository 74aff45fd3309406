//! What a result, and what a plan, is known by.

use arrow::datatypes::DataType;

use super::Bound;
use crate::{
    access::Scope,
    cache::Key,
    engine::{Engine, PlanContext, Prepared, Sight},
    sql::ReadOnlySql,
};

/// Results of another build are not ours: a mended function must not be hidden by a reply that was computed before. Count it up with
/// every change of what a statement means.
const BUILD: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), " reply format 15");

/// The identity of a plan: engine, statement, types, time zone, and whether it is for one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlanKey([u8; 32]);

impl PlanKey {
    pub(super) fn new(engine: &Engine, sql: &ReadOnlySql, types: &[DataType], context: &PlanContext) -> Self {
        let mut parts = Parts::new("plan");
        parts.add(engine.manifest().run_id.to_string().as_bytes());
        parts.add(sql.text().as_bytes());
        for data_type in types {
            parts.add(data_type.to_string().as_bytes());
        }
        parts.add(context.time_zone.as_bytes());
        parts.add(match context.sight {
            Sight::Everything => b"everything",
            Sight::OneTenant => b"one tenant",
        });
        Self(parts.finish())
    }
}

/// The identity of a result: everything that it can depend on. None for a plan whose runs may differ.
pub(super) fn of(prepared: &Prepared, sql: &ReadOnlySql, bound: &Bound, scope: &Scope, time_zone: &str) -> Option<Key> {
    let facts = prepared.facts();
    if facts.is_volatile {
        return None;
    }
    let mut parts = Parts::of_reply("reply", sql, scope, time_zone);
    parts.add(&(facts.tables.len() as u64).to_le_bytes());
    for table in &facts.tables {
        parts.add(table.name.schema.as_bytes());
        parts.add(table.name.table.as_bytes());
        parts.add(table.digest.as_bytes());
        // Whose rows they are said to be: an empty name is no column's.
        parts.add(table.tenant_column.as_deref().unwrap_or_default().as_bytes());
    }
    for (kind, value) in &bound.0 {
        // Typed literals are unambiguous: NULL is not 'NULL', and a list is not its elements.
        parts.add(kind.to_postgres_literal(value).as_bytes());
    }
    if facts.asks_clock {
        parts.add(b"as of");
        parts.add(&prepared.engine().as_of().timestamp_micros().to_le_bytes());
    }
    Some(Key::new(parts.finish()))
}

/// What a result of Postgres's is known by, but for when: its tables change, and whoever keeps it says for how long.
pub(super) fn of_postgres(sql: &ReadOnlySql, bound: &Bound, scope: &Scope, time_zone: &str) -> [u8; 32] {
    let mut parts = Parts::of_reply("reply of postgres", sql, scope, time_zone);
    for (name, (kind, value)) in sql.names().iter().zip(&bound.0) {
        // It is another each time, as what the tables hold is.
        let value = if name == "now" { "now".to_owned() } else { kind.to_postgres_literal(value) };
        parts.add(value.as_bytes());
    }
    parts.finish()
}

/// What a named query is known by where it is said to be equal on both sides: its texts, and what the engine makes of them.
pub(super) fn of_query(sql: &ReadOnlySql, postgres: Option<&ReadOnlySql>) -> String {
    let mut parts = Parts::new("query");
    parts.add(BUILD.as_bytes());
    parts.add(sql.text().as_bytes());
    parts.add(postgres.map_or("", ReadOnlySql::text).as_bytes());
    blake3::Hash::from_bytes(parts.finish()).to_hex()[..32].to_owned()
}

/// Length-prefixed parts, so that no two lists of parts are the same bytes.
struct Parts(blake3::Hasher);

impl Parts {
    fn new(purpose: &str) -> Self {
        let mut parts = Self(blake3::Hasher::new());
        parts.add(purpose.as_bytes());
        parts
    }

    fn of_reply(purpose: &str, sql: &ReadOnlySql, scope: &Scope, time_zone: &str) -> Self {
        let mut parts = Self::new(purpose);
        parts.add(BUILD.as_bytes());
        parts.add(sql.text().as_bytes());
        parts.add(time_zone.as_bytes());
        match scope {
            Scope::All => parts.add(b"all"),
            Scope::Tenant(tenant) => {
                parts.add(b"tenant");
                parts.add(tenant.as_str().as_bytes());
            }
        }
        parts
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes()).update(part);
    }

    fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
