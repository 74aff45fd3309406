//! Where the engine is made to speak Postgres.
//!
//! Owns: what a statement is ([`ReadOnlySql`]), the types and values of parameters, the functions and operators that the engine
//! offers, and the mapping of SQL types.
//! Must not know: files, networks, sessions; it plans nothing and runs nothing.

mod aggregates;
mod arithmetic;
mod forms;
mod functions;
mod labels;
mod literal;
mod operators;
mod parameter;
mod percentile;
mod rounding;
mod shape;
mod statement;
mod temporal;
mod to_char;
mod type_names;
mod type_planner;

pub use functions::install_functions;
pub use labels::shown_name;
pub use operators::PostgresOperators;
pub use parameter::{Numeric, ParameterType, ParameterValue, ScalarType};
pub use statement::{Placeholder, ReadOnlySql, StatementLimits, quote_literal};
pub use type_planner::PostgresTypes;

/// Field metadata that names a column's Postgres type (`pg_type.typname`) where the Arrow type does not say it all: `uuid`,
/// `jsonb`, `varchar`, an enum's own name.
pub const PG_TYPE_KEY: &str = "pg_type";

/// Field metadata of a `char(n)` column: its length in characters. Its spaces at the end mean nothing to comparisons, lengths and
/// casts, so that its values are held without them, and shown with them.
pub const CHAR_LENGTH_KEY: &str = "pg_char_length";
