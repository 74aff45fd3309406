//! The precision and scale of numerics that declare none.
//!
//! Owns: the one scan that measures all such columns of a table. Must not know: what earlier snapshots measured; the
//! run keeps that, and only widens. The scan must run inside the export's snapshot, or later rows may not fit.

use tokio_postgres::types::Type;

use super::{
    failure::from_driver,
    inspect::{TableName, quote_ident},
    types::{Kind, PlannedKind},
};
use crate::error::{Error, Result};

/// PostgreSQL allows 1,664 expressions in a SELECT; each column takes five.
const COLUMNS_PER_SCAN: usize = 300;

/// How many digits the values of a column need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumericWidth {
    /// Before the point, at least 1.
    pub integer_digits: u32,
    /// After the point.
    pub scale: u32,
}

impl Default for NumericWidth {
    /// The narrowest, for a column without values.
    fn default() -> Self {
        Self { integer_digits: 1, scale: 0 }
    }
}

impl NumericWidth {
    /// Room for the values of both.
    #[must_use]
    pub fn widened(self, other: Self) -> Self {
        Self { integer_digits: self.integer_digits.max(other.integer_digits), scale: self.scale.max(other.scale) }
    }

    /// How such a column travels: as a decimal up to 76 digits, else as its text, with a note.
    #[must_use]
    pub fn planned(self) -> PlannedKind {
        let precision = self.integer_digits.saturating_add(self.scale);
        match (u8::try_from(precision), u8::try_from(self.scale)) {
            (Ok(precision @ 1..=76), Ok(scale)) => {
                PlannedKind::Known { kind: Kind::Numeric { precision, scale }, note: None }
            }
            _ => PlannedKind::Known {
                kind: Kind::AsText,
                note: Some(format!("its numerics need {precision} digits, more than 76, and travel as text")),
            },
        }
    }
}

/// What one column of bare numerics holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The column's name.
    pub column: String,
    /// Of its finite values; none if it has none.
    pub width: Option<NumericWidth>,
    /// Rows with NaN.
    pub nan_count: u64,
    /// Rows with infinity.
    pub positive_infinity_count: u64,
    /// Rows with minus infinity.
    pub negative_infinity_count: u64,
}

/// The query that measures columns of a table in one scan: five `int8` expressions for each, in order (scale, integer
/// digits, count of NaN, of infinity, of minus infinity).
#[must_use]
pub fn measure_sql(table: &TableName, columns: &[&str]) -> String {
    let expressions: Vec<String> = columns
        .iter()
        .map(|column| {
            let column = quote_ident(column);
            // NaN is greater than infinity in PostgreSQL, so the first comparison keeps it out as well.
            let finite = format!("FILTER (WHERE {column} < 'Infinity'::numeric AND {column} > '-Infinity'::numeric)");
            format!(
                "(pg_catalog.max(pg_catalog.scale({column})) {finite})::int8, \
                 pg_catalog.length(pg_catalog.trunc(pg_catalog.max(pg_catalog.abs({column})) {finite})::text)::int8, \
                 pg_catalog.count(*) FILTER (WHERE {column} = 'NaN'::numeric), \
                 pg_catalog.count(*) FILTER (WHERE {column} = 'Infinity'::numeric), \
                 pg_catalog.count(*) FILTER (WHERE {column} = '-Infinity'::numeric)"
            )
        })
        .collect();
    format!("SELECT {} FROM {}", expressions.join(", "), table.quoted())
}

/// Measures columns of a table, in their order.
///
/// # Errors
/// The server's, such as a missing grant.
pub async fn measure(client: &tokio_postgres::Client, table: &TableName, columns: &[&str]) -> Result<Vec<Measured>> {
    let mut measured = Vec::with_capacity(columns.len());
    for group in columns.chunks(COLUMNS_PER_SCAN) {
        let doing = || format!("measure the numerics of table {table}");
        let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[];
        let row = client
            .query_typed_one(&measure_sql(table, group), parameters)
            .await
            .map_err(|error| from_driver(error, doing()))?;
        for (index, column) in group.iter().enumerate() {
            let value = |offset: usize| -> Result<Option<u32>> {
                let value: Option<i64> =
                    row.try_get(index * 5 + offset).map_err(|error| from_driver(error, doing()))?;
                value.map(u32::try_from).transpose().map_err(|_| Error::internal(format!("{}: no width", doing())))
            };
            let count = |offset: usize| -> Result<u64> {
                let count: i64 = row.try_get(index * 5 + offset).map_err(|error| from_driver(error, doing()))?;
                u64::try_from(count).map_err(|_| Error::internal(format!("{}: negative count", doing())))
            };
            let width = match (value(0)?, value(1)?) {
                (Some(scale), Some(integer_digits)) => Some(NumericWidth { integer_digits, scale }),
                _ => None,
            };
            measured.push(Measured {
                column: (*column).to_owned(),
                width,
                nan_count: count(2)?,
                positive_infinity_count: count(3)?,
                negative_infinity_count: count(4)?,
            });
        }
    }
    Ok(measured)
}
