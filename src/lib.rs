//! Pilaster: a columnar sidecar for PostgreSQL.
//!
//! Modules in reading order; dependencies point down only, and a test in `tests/it` holds that line.

pub mod cache;
pub mod error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
