//! `[tables]`: what is special about a table.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::units;

/// `[tables."schema.table"]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// The column that says which tenant's a row is; the table's rows are ordered by it unless `sort_by` says otherwise.
    pub tenant: Option<String>,
    /// What tenants see of a table whose rows are nobody's.
    pub access: Option<TableAccess>,
    /// Columns that are left out.
    #[serde(deserialize_with = "units::list")]
    pub exclude_columns: Vec<String>,
    /// Columns that are copied although they look like secrets.
    #[serde(deserialize_with = "units::list")]
    pub include_columns: Vec<String>,
    /// Columns that travel as a keyed hash.
    #[serde(deserialize_with = "units::list")]
    pub hash_columns: Vec<String>,
    /// Columns that rows are ordered by within each part, so that filters on them skip row groups.
    #[serde(deserialize_with = "units::list")]
    pub sort_by: Vec<String>,
    /// By column.
    pub columns: BTreeMap<String, Column>,
}

/// What tenants see of a table whose rows are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableAccess {
    /// Every row.
    Shared,
    /// None, as of a table that nothing is said of.
    Denied,
}

/// `[tables."schema.table".columns.name]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Column {
    /// What becomes of values that the snapshot's format cannot hold.
    pub out_of_range: OutOfRange,
}

/// What becomes of NaN and infinity in numerics, infinite dates, and dates beyond the format's range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// The run fails and says where.
    #[default]
    Error,
    /// They become NULL, counted.
    Null,
    /// They become the nearest value that can be held, counted.
    Clamp,
    /// The whole column travels as text.
    Text,
}
