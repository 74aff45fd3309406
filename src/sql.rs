//! Where the engine is made to speak Postgres.
//!
//! Owns: what a statement is ([`ReadOnlySql`]), the types and values of parameters, the functions and operators that the engine
//! offers, and the mapping of SQL types.
//! Must not know: files, networks, sessions; it plans nothing and runs nothing.

mod aggregates;
mod alike;
mod arithmetic;
mod array_agg;
mod array_key;
mod branches;
mod collation;
mod decorrelate;
mod dependencies;
mod dialect;
pub mod differences;
mod elements;
mod enums;
mod extremes;
mod fingerprint;
mod float_key;
mod forms;
mod function;
mod functions;
mod grouping_keys;
mod interval_sum;
mod keyed;
mod labels;
mod library;
mod literal;
mod marks;
mod min_max;
mod narrow_sum;
mod ntile;
mod operators;
mod order;
mod parameter;
mod percentile;
mod set_all;
mod shape;
mod shared_texts;
mod shown_order;
mod signed;
mod single;
mod size;
mod spread;
mod statement;
mod strict;
mod string_agg;
mod tables_used;
mod temporal;
mod tokens;
mod type_names;
mod type_planner;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

pub use collation::{COLLATION_KEY, Collation};
pub use dialect::{Dialect, Typing};
pub use enums::EnumType;
pub use fingerprint::fingerprint;
pub use functions::{install_functions, is_aggregate, is_window};
pub use labels::shown_name;
pub use parameter::{Numeric, ParameterType, ParameterValue, ScalarType};
pub use shown_order::{OrderKey, ShownOrder};
pub use size::{logical_bytes, own_elements, padded_to};
pub use statement::{Placeholder, ReadOnlySql, StatementLimits, quote_literal};
pub use tables_used::TableUse;

/// Field metadata that names a column's Postgres type (`pg_type.typname`) where the Arrow type does not say it all: `uuid`,
/// `jsonb`, `varchar`, an enum's own name.
pub const PG_TYPE_KEY: &str = "pg_type";

/// Field metadata of a `char(n)` column: its length in characters. Its spaces at the end mean nothing to comparisons, lengths and
/// casts, so that its values are held without them, and shown with them.
pub const CHAR_LENGTH_KEY: &str = "pg_char_length";

/// The type of an array column whose elements are `element` (`pg_type.typname`) and that is declared as `declared`, and the function that
/// makes it of Postgres's text; none for elements that queries see as text.
#[must_use]
pub fn array_column(element: &str, declared: &str) -> Option<(DataType, Arc<ScalarUDF>)> {
    function::array_reader(element, declared)
}
