//! What the cache tells the operator.
//!
//! Owns: the names of the cache's metrics, and handles to them that are made once.
//! Must not know: who collects them.
//!
//! Looking a counter up by name takes as long as a memory hit; the handles are therefore made in `Cache::new`, and the
//! process's recorder has to be installed before.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Look-ups by `tier` (`memory`, `redis`) and `outcome` (`hit`, `miss`).
pub const REQUESTS_TOTAL: &str = "pilaster_cache_requests_total";
/// Computations by `outcome`: `stored`, `too_large`, `failed`, `abandoned` (the last caller went away).
pub const FILLS_TOTAL: &str = "pilaster_cache_fills_total";
/// Callers who waited for a computation that another caller had started.
pub const JOINED_TOTAL: &str = "pilaster_cache_joined_total";
/// Entries thrown out of memory for want of room.
pub const EVICTIONS_TOTAL: &str = "pilaster_cache_evictions_total";
/// Bytes in memory, entries and their encoded bodies.
pub const MEMORY_BYTES: &str = "pilaster_cache_memory_bytes";
/// Entries in memory.
pub const MEMORY_ENTRIES: &str = "pilaster_cache_memory_entries";
/// Redis calls that failed or were skipped, by `reason`.
pub const REDIS_ERRORS_TOTAL: &str = "pilaster_cache_redis_errors_total";
/// Values from Redis that were not believed, by `reason`.
pub const REDIS_REJECTED_TOTAL: &str = "pilaster_cache_redis_rejected_total";
/// Results written to Redis, by `outcome`: `stored`, `too_large`, `dropped` (too many at once), `unencodable`,
/// `refused` (full, read-only), `failed`.
pub const REDIS_WRITES_TOTAL: &str = "pilaster_cache_redis_writes_total";
/// 1 while Redis answers, 0 while its calls are skipped, by `link` (`reads`, `writes`).
pub const REDIS_UP: &str = "pilaster_cache_redis_up";

/// Handles to the metrics of the hot path.
pub(super) struct Meters {
    pub(super) memory_hits: Counter,
    pub(super) memory_misses: Counter,
    pub(super) redis_hits: Counter,
    pub(super) redis_misses: Counter,
    pub(super) joined: Counter,
    pub(super) stored: Counter,
    pub(super) too_large: Counter,
    pub(super) failed: Counter,
    pub(super) abandoned: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        describe_counter!(REQUESTS_TOTAL, "Cache look-ups by tier and outcome.");
        describe_counter!(FILLS_TOTAL, "Computations by outcome.");
        describe_counter!(JOINED_TOTAL, "Callers who waited for somebody else's computation.");
        describe_counter!(EVICTIONS_TOTAL, "Entries evicted from memory for want of room.");
        describe_gauge!(MEMORY_BYTES, metrics::Unit::Bytes, "Bytes held by entries and their encoded bodies.");
        describe_gauge!(MEMORY_ENTRIES, "Entries held in memory.");
        describe_counter!(REDIS_ERRORS_TOTAL, "Redis calls that failed or were skipped, by reason.");
        describe_counter!(REDIS_REJECTED_TOTAL, "Values from Redis that were not believed, by reason.");
        describe_counter!(REDIS_WRITES_TOTAL, "Results written to Redis by outcome.");
        describe_gauge!(REDIS_UP, "1 while Redis answers, 0 while its calls are skipped.");
        Self {
            memory_hits: counter!(REQUESTS_TOTAL, "tier" => "memory", "outcome" => "hit"),
            memory_misses: counter!(REQUESTS_TOTAL, "tier" => "memory", "outcome" => "miss"),
            redis_hits: counter!(REQUESTS_TOTAL, "tier" => "redis", "outcome" => "hit"),
            redis_misses: counter!(REQUESTS_TOTAL, "tier" => "redis", "outcome" => "miss"),
            joined: counter!(JOINED_TOTAL),
            stored: counter!(FILLS_TOTAL, "outcome" => "stored"),
            too_large: counter!(FILLS_TOTAL, "outcome" => "too_large"),
            failed: counter!(FILLS_TOTAL, "outcome" => "failed"),
            abandoned: counter!(FILLS_TOTAL, "outcome" => "abandoned"),
        }
    }
}

/// The gauges of the memory tier.
pub(super) struct MemoryGauges {
    pub(super) bytes: Gauge,
    pub(super) entries: Gauge,
}

impl MemoryGauges {
    pub(super) fn new() -> Self {
        Self { bytes: gauge!(MEMORY_BYTES), entries: gauge!(MEMORY_ENTRIES) }
    }
}

/// Counts a Redis call that failed or was skipped. Never on the hot path, so it looks the counter up.
pub(super) fn redis_error(reason: &'static str) {
    counter!(REDIS_ERRORS_TOTAL, "reason" => reason).increment(1);
}

/// Counts a value that was not believed.
pub(super) fn redis_rejected(reason: &'static str) {
    counter!(REDIS_REJECTED_TOTAL, "reason" => reason).increment(1);
}

/// Counts a write.
pub(super) fn redis_write(outcome: &'static str) {
    counter!(REDIS_WRITES_TOTAL, "outcome" => outcome).increment(1);
}

/// Shows whether Redis answers.
pub(super) fn redis_up(link: &'static str, up: bool) {
    gauge!(REDIS_UP, "link" => link).set(if up { 1.0 } else { 0.0 });
}
