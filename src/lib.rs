//! Pilaster: a columnar sidecar for PostgreSQL.
//!
//! Modules in reading order; dependencies point down only, and a test in `tests/it` holds that line.

pub mod config;
pub mod engine;
pub mod error;
pub mod sql;
pub mod store;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
