//! The source: connect to PostgreSQL, look at it, and read its tables into Arrow.
//!
//! Owns: connection strings and TLS ([`SourceConfig`]), what a database and its tables are ([`identify`], [`inspect`]),
//! how each type travels ([`Kind`], [`plan_column`]), and the export's hot path: a frontend of our own for COPY
//! ([`CopyConnection`]) that feeds a decoder from COPY BINARY to Arrow ([`CopyDecoder`]); and over the same way, statements of named queries
//! ([`Pool`]).
//! Must not know: Parquet, the store, the cache, the engine, HTTP. The order of locks and snapshots is the run's
//! business.
//!
//! Reading order: `connect` (with `tls` and `transport` beneath it), `failure`, `inspect`, `types`, `measure`, `wire`,
//! `decode`, `pool`.

mod cancel;
mod connect;
mod decode;
mod dsn;
mod failure;
mod identify;
mod inspect;
mod measure;
mod pool;
mod tls;
mod transport;
mod types;
mod wire;

pub use cancel::CancelToken;
pub use connect::{Client, SourceConfig};
pub use decode::{ColumnCounts, ColumnPlan, CopyDecoder};
pub use failure::{ServerError, from_driver, sqlstate_of};
pub use identify::{Identity, LocaleProvider, Pooling, identify};
pub use inspect::{
    ColumnDefinition, ForeignKey, Generated, Relation, RelationKind, TableDefinition, TableName, inspect, quote_ident,
    quote_literal, require_select,
};
pub use measure::{Measured, NumericWidth, measure, measure_sql};
pub use pool::{Opening, Parameter, Pool, PoolLimits, RowColumn, Rows, Transaction};
pub use types::{BaseType, Kind, OutOfRange, PlannedKind, plan_column};
pub use wire::{CopyConnection, Progress};
