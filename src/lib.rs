//! Pilaster: a columnar sidecar for PostgreSQL.
//!
//! Modules in reading order; dependencies point down only, and a test in `tests/it` holds that line.

pub mod access;
pub mod alert;
pub mod audit;
pub mod benchmark;
pub mod cache;
pub mod cli;
pub mod config;
pub mod engine;
pub mod error;
pub mod output;
pub mod postgres;
pub mod query;
pub mod rollout;
pub mod server;
pub mod snapshot;
pub mod sql;
pub mod store;
pub mod telemetry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
