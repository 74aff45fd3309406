//! What tables the source has.
//!
//! Owns: [`TableDefinition`] and everything in it, names and their quoting. Must not know: how columns travel, which
//! tables are wanted, locks. Run it inside the export's transaction to see what the export sees.
//!
//! Source: PostgreSQL documentation, "System Catalogs".

mod queries;

use std::fmt;

pub use self::queries::inspect;
use super::types::BaseType;
use crate::error::{Code, Error, Result};

/// A name as SQL needs it: in double quotes, those within doubled.
#[must_use]
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL needs it, whatever `standard_conforming_strings` says.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Schema and name of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema, unquoted.
    pub schema: String,
    /// The table, unquoted.
    pub name: String,
}

impl TableName {
    /// From its two parts, unquoted.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// As SQL needs it.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// What kind of relation a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// An ordinary table, also one that others inherit from.
    Table,
    /// A partitioned table; its partitions are its relations, not tables of their own.
    Partitioned,
    /// A materialized view, which LOCK TABLE refuses.
    MaterializedView,
    /// A foreign table, whose rows no snapshot of this server covers.
    Foreign,
}

impl RelationKind {
    fn from_catalog(relkind: &str) -> Self {
        match relkind {
            "p" => Self::Partitioned,
            "m" => Self::MaterializedView,
            "f" => Self::Foreign,
            _ => Self::Table,
        }
    }
}

/// One relation that a SELECT from the table reads: itself, its partitions, its inheritance children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// Its kind: a partition may be partitioned again, or foreign.
    pub kind: RelationKind,
    /// Changes when the table is rewritten or truncated; none without storage.
    pub filenode: Option<u32>,
    /// Of the main fork, at this instant.
    pub pages: u64,
}

/// Whether and how a column is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generated {
    /// It is not.
    No,
    /// On write.
    Stored,
    /// On read (PostgreSQL 18).
    Virtual,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// `attnum`, which survives renaming.
    pub number: i16,
    /// `pg_type.typname` of the declared type, which may be a domain.
    pub type_name: String,
    /// The declared type as SQL writes it, for example `numeric(10,2)`.
    pub type_text: String,
    /// The type behind domains, and the modifier that applies.
    pub base: BaseType,
    /// The server promises that there is no NULL in it, in any relation of the table.
    pub is_not_null: bool,
    /// Whether it is generated.
    pub generated: Generated,
    /// Its collation, `schema.name`, unless it is its type's default.
    pub collation: Option<String>,
    /// The labels of an enum in their sort order.
    pub enum_labels: Option<Vec<String>>,
    /// The role may read it.
    pub is_select_allowed: bool,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Columns of this table.
    pub columns: Vec<String>,
    /// The table that they point to.
    pub table: TableName,
    /// Columns there, in the same order.
    pub referenced: Vec<String>,
}

/// One table of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDefinition {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// Its kind.
    pub kind: RelationKind,
    /// Row security is enabled, so a role that does not bypass it gets an error under `row_security = off`.
    pub has_row_security: bool,
    /// False for a materialized view that was never refreshed, which cannot be read.
    pub is_populated: bool,
    /// The role may use the schema.
    pub is_schema_usable: bool,
    /// The role may `LOCK TABLE … IN ACCESS SHARE MODE`, for which grants on columns do not suffice.
    pub is_lockable: bool,
    /// `reltuples` of all relations; none before the first ANALYZE or VACUUM.
    pub rows_estimate: Option<u64>,
    /// What a SELECT from it reads, by oid.
    pub relations: Vec<Relation>,
    /// In order of `attnum`, without the dropped.
    pub columns: Vec<ColumnDefinition>,
    /// Columns of the primary key in their order; empty if there is none.
    pub primary_key: Vec<String>,
    /// Columns of each further unique index that covers all rows.
    pub unique_keys: Vec<Vec<String>>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
}

impl TableDefinition {
    /// Pages of all relations.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.relations.iter().map(|relation| relation.pages).sum()
    }

    /// Pages of the largest relation. A range of `ctid` applies to each relation by itself, so ranges must reach this
    /// far, and the last must be open.
    #[must_use]
    pub fn pages_max(&self) -> u64 {
        self.relations.iter().map(|relation| relation.pages).max().unwrap_or(0)
    }

    /// Equal when nothing that matters to an export has changed: definition, relations, and what holds their rows.
    /// TRUNCATE and rewriting change it; writing rows, ANALYZE and grants do not.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let relations: Vec<_> = self
            .relations
            .iter()
            .map(|relation| (relation.oid, &relation.name, relation.kind, relation.filenode))
            .collect();
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let types = (&column.type_name, &column.type_text, &column.base, &column.enum_labels);
                (&column.name, column.number, types, column.is_not_null, column.generated, &column.collation)
            })
            .collect();
        let flags = (self.has_row_security, self.is_populated);
        let keys = (&self.primary_key, &self.unique_keys, &self.foreign_keys);
        let whole = format!("{:?}", (self.oid, &self.name, self.kind, flags, relations, columns, keys));
        blake3::hash(whole.as_bytes()).to_hex().to_string()
    }
}

/// Requires that the role may read these columns of these tables.
///
/// # Errors
/// [`Code::PermissionDenied`] that lists every table that lacks a grant, with the statements that mend it as the hint.
pub fn require_select(role: &str, chosen: &[(&TableDefinition, Vec<&str>)]) -> Result<()> {
    let mut missing = Vec::new();
    let mut grants = Vec::new();
    for (table, columns) in chosen {
        let is_allowed = |name: &str| {
            table.columns.iter().find(|column| column.name == name).is_none_or(|column| column.is_select_allowed)
        };
        if !table.is_schema_usable {
            let grant = format!("GRANT USAGE ON SCHEMA {} TO {};", quote_ident(&table.name.schema), quote_ident(role));
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        let are_columns_allowed = columns.iter().all(|name| is_allowed(name));
        if !are_columns_allowed {
            grants.push(format!("GRANT SELECT ON {} TO {};", table.name.quoted(), quote_ident(role)));
        }
        if !table.is_schema_usable || !are_columns_allowed {
            missing.push(table.name.to_string());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let count = missing.len();
    let tables = if count == 1 { "table" } else { "tables" };
    Err(Error::new(
        Code::PermissionDenied,
        format!("role {role:?} may not read {count} {tables} of the source: {}", missing.join(", ")),
    )
    .with_hint(grants.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote_ident("we\"ird"), "\"we\"\"ird\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b'"), " E'a\\\\b'''");
        assert_eq!(TableName::new("public", "Users").quoted(), "\"public\".\"Users\"");
    }
}
