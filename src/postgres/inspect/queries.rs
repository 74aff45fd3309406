//! The questions to the catalogs.
//!
//! Owns: SQL over `pg_catalog`, and putting its rows together. Must not know: what the definitions are used for.

use std::collections::HashMap;

use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

use super::{ColumnDefinition, ForeignKey, Generated, Relation, RelationKind, TableDefinition, TableName};
use crate::{
    error::{Code, Error, Result},
    postgres::{failure::from_driver, types::BaseType},
};

const SCHEMAS: &str = "
SELECT nspname::text FROM pg_catalog.pg_namespace
WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' ORDER BY 1";

/// Partitions are parts of their parent, wherever they are.
///
/// What asks for privileges looks at the catalogs of this moment, not of the transaction's snapshot, and gives NULL for what has just
/// been dropped: that counts as allowed here, and whoever locks the table finds that it is gone.
const TABLES: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relrowsecurity, c.relispopulated,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true),
       coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), true)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
  AND c.relpersistence <> 't'
ORDER BY n.nspname, c.relname";

const RELATIONS: &str = "
WITH RECURSIVE tree (root, oid) AS (
    SELECT oid, oid FROM pg_catalog.unnest($1::oid[]) AS root (oid)
    UNION
    SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT tree.root, c.oid, n.nspname::text, c.relname::text, c.relkind::text, pg_catalog.pg_relation_filenode(c.oid),
       CASE WHEN c.relkind IN ('r', 'm')
            THEN coalesce(pg_catalog.pg_relation_size(c.oid, 'main')
                          / pg_catalog.current_setting('block_size')::int8, c.relpages)
            ELSE 0 END::int8,
       c.reltuples::float8
FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY tree.root, c.oid";

/// A domain has no modifier of its own: that of the innermost applies. A NOT NULL that is not validated (PostgreSQL 18)
/// promises nothing.
const COLUMNS: &str = "
WITH RECURSIVE base (declared, oid, modifier) AS (
    SELECT DISTINCT atttypid, atttypid, -1 FROM pg_catalog.pg_attribute
    WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT base.declared, t.typbasetype, t.typtypmod
    FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype = 'd'
)
SELECT a.attrelid, a.attname::text, a.attnum, declared.typname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       n.nspname::text, t.typname::text, t.typtype::text,
       CASE WHEN declared.typtype = 'd' THEN base.modifier ELSE a.atttypmod END,
       a.attnotnull AND NOT EXISTS (
           SELECT 1 FROM pg_catalog.pg_constraint k
           WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey)),
       a.attgenerated::text,
       (SELECT cn.nspname || '.' || co.collname FROM pg_catalog.pg_collation co
        JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
        WHERE co.oid = a.attcollation AND a.attcollation <> declared.typcollation),
       (SELECT pg_catalog.array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
       coalesce(pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'), true)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type declared ON declared.oid = a.atttypid
JOIN base ON base.declared = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = base.oid AND t.typtype <> 'd'
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum";

/// Indexes rather than constraints, since a unique index need not be one. Partial indexes and those on expressions say
/// nothing about the table's columns.
const KEYS: &str = "
SELECT i.indrelid, i.indisprimary,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts)
FROM pg_catalog.pg_index i
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, i.indexrelid";

const FOREIGN_KEYS: &str = "
SELECT k.conrelid, n.nspname::text, c.relname::text,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.place)
        FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.place)
        FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.conrelid = ANY ($1::oid[]) AND k.contype = 'f' AND k.conparentid = 0
ORDER BY k.conrelid, k.conname";

/// Every table of the schemas, by schema and name.
///
/// Reads the catalogs in several statements: run it in one REPEATABLE READ transaction, or compare fingerprints later.
///
/// # Errors
/// [`Code::NotFound`] when a schema does not exist, listing those that do; the server's errors.
pub async fn inspect(client: &tokio_postgres::Client, schemas: &[String]) -> Result<Vec<TableDefinition>> {
    require_schemas(client, schemas).await?;
    let tables = ask(client, TABLES, &schemas, Type::TEXT_ARRAY).await?;
    let mut definitions = tables.iter().map(table).collect::<Result<Vec<_>>>()?;
    let oids: Vec<u32> = definitions.iter().map(|definition| definition.oid).collect();
    let place: HashMap<u32, usize> = oids.iter().enumerate().map(|(place, oid)| (*oid, place)).collect();
    let mut of = |row: &Row, add: &mut dyn FnMut(&mut TableDefinition) -> Result<()>| -> Result<()> {
        let oid: u32 = get(row, 0)?;
        place.get(&oid).and_then(|place| definitions.get_mut(*place)).map_or(Ok(()), add)
    };
    for row in &ask(client, RELATIONS, &oids, Type::OID_ARRAY).await? {
        of(row, &mut |definition| {
            definition.relations.push(relation(row)?);
            let tuples: f64 = get(row, 7)?;
            if tuples >= 0.0 {
                // Saturates; an estimate of 2^64 rows is not one.
                *definition.rows_estimate.get_or_insert(0) += tuples as u64;
            }
            Ok(())
        })?;
    }
    for row in &ask(client, COLUMNS, &oids, Type::OID_ARRAY).await? {
        of(row, &mut |definition| {
            let mut column = column(row)?;
            // A plain inheritance child need not share its parent's NOT NULL.
            column.is_not_null &= definition.kind != RelationKind::Table || definition.relations.len() == 1;
            // A foreign server promises nothing to us.
            column.is_not_null &= definition.relations.iter().all(|relation| relation.kind != RelationKind::Foreign);
            definition.columns.push(column);
            Ok(())
        })?;
    }
    for row in &ask(client, KEYS, &oids, Type::OID_ARRAY).await? {
        of(row, &mut |definition| {
            let columns: Vec<String> = get(row, 2)?;
            if get(row, 1)? {
                definition.primary_key = columns;
            } else {
                definition.unique_keys.push(columns);
            }
            Ok(())
        })?;
    }
    for row in &ask(client, FOREIGN_KEYS, &oids, Type::OID_ARRAY).await? {
        of(row, &mut |definition| {
            let table = TableName::new(get::<String>(row, 1)?, get::<String>(row, 2)?);
            definition.foreign_keys.push(ForeignKey { columns: get(row, 3)?, table, referenced: get(row, 4)? });
            Ok(())
        })?;
    }
    Ok(definitions)
}

async fn require_schemas(client: &tokio_postgres::Client, schemas: &[String]) -> Result<()> {
    let rows = client.query_typed(SCHEMAS, &[]).await.map_err(failed)?;
    let existing = rows.iter().map(|row| get::<String>(row, 0)).collect::<Result<Vec<_>>>()?;
    let is_catalog = |schema: &str| schema.starts_with("pg_") || schema == "information_schema";
    let missing: Vec<_> =
        schemas.iter().filter(|schema| !existing.contains(schema) || is_catalog(schema)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (noun, verb) = if missing.len() == 1 { ("schema", "does") } else { ("schemas", "do") };
    Err(Error::new(Code::NotFound, format!("{noun} {} of the source {verb} not exist", missing.join(", ")))
        .with_hint(format!("there are: {}", existing.join(", "))))
}

async fn ask<P: ToSql + Sync>(
    client: &tokio_postgres::Client,
    sql: &str,
    parameter: &P,
    kind: Type,
) -> Result<Vec<Row>> {
    client.query_typed(sql, &[(parameter, kind)]).await.map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> Error {
    from_driver(error, "inspect the source")
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(failed)
}

fn table(row: &Row) -> Result<TableDefinition> {
    Ok(TableDefinition {
        oid: get(row, 0)?,
        name: TableName::new(get::<String>(row, 1)?, get::<String>(row, 2)?),
        kind: RelationKind::from_catalog(get(row, 3)?),
        has_row_security: get(row, 4)?,
        is_populated: get(row, 5)?,
        is_schema_usable: get(row, 6)?,
        is_lockable: get(row, 7)?,
        rows_estimate: None,
        relations: Vec::new(),
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
    })
}

fn relation(row: &Row) -> Result<Relation> {
    let filenode: Option<u32> = get(row, 5)?;
    let pages: i64 = get(row, 6)?;
    Ok(Relation {
        oid: get(row, 1)?,
        name: TableName::new(get::<String>(row, 2)?, get::<String>(row, 3)?),
        kind: RelationKind::from_catalog(get(row, 4)?),
        filenode: filenode.filter(|filenode| *filenode != 0),
        pages: u64::try_from(pages).unwrap_or(0),
    })
}

fn column(row: &Row) -> Result<ColumnDefinition> {
    let class: &str = get(row, 7)?;
    Ok(ColumnDefinition {
        name: get(row, 1)?,
        number: get(row, 2)?,
        type_name: get(row, 3)?,
        type_text: get(row, 4)?,
        base: BaseType {
            schema: get(row, 5)?,
            name: get(row, 6)?,
            class: class.chars().next().unwrap_or('b'),
            modifier: get(row, 8)?,
        },
        is_not_null: get(row, 9)?,
        generated: match get(row, 10)? {
            "s" => Generated::Stored,
            "v" => Generated::Virtual,
            _ => Generated::No,
        },
        collation: get(row, 11)?,
        enum_labels: get(row, 12)?,
        is_select_allowed: get(row, 13)?,
    })
}
