//! The first tier: results in this process, weighed in bytes.
//!
//! Owns: [`Memory`], the byte budget and what is thrown out first; which keys are known to be too large.
//! Must not know: flights, Redis, SQL.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use moka::{future::Cache, notification::RemovalCause, ops::compute::Op, policy::EvictionPolicy};

use super::{
    entry::Entry,
    key::{BodyId, DigestHasher, Key},
    metric::{EVICTIONS_TOTAL, MemoryGauges},
};

/// How many keys are remembered as too large, and for how long. To forget one costs one more collapsed attempt.
const TOO_LARGE_KEYS_MAX: u64 = 4096;
const TOO_LARGE_FOR: Duration = Duration::from_secs(300);

/// An entry with its bodies may take this part of the budget, so that no single result can push out all others.
pub(super) const SHARE_OF_ONE: u64 = 4;

pub(super) struct Memory {
    entries: Cache<Key, Arc<Entry>, DigestHasher>,
    too_large: Cache<Key, (), DigestHasher>,
    weight_max: usize,
    gauges: MemoryGauges,
}

impl Memory {
    /// A tier of `bytes` in total.
    pub(super) fn new(bytes: u64, time_to_idle: Option<Duration>) -> Self {
        let evictions = counter!(EVICTIONS_TOTAL);
        // LRU, not moka's TinyLFU: a new snapshot changes the keys of all tables that changed, and TinyLFU would then
        // keep the often used but dead entries and refuse the new ones until each had been computed several times.
        let mut entries = Cache::builder()
            .name("results")
            .max_capacity(bytes)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.increment(1);
                }
            });
        if let Some(idle) = time_to_idle {
            entries = entries.time_to_idle(idle);
        }
        let too_large = Cache::builder().max_capacity(TOO_LARGE_KEYS_MAX).time_to_live(TOO_LARGE_FOR);
        Self {
            entries: entries.build_with_hasher(DigestHasher::default()),
            too_large: too_large.build_with_hasher(DigestHasher::default()),
            weight_max: usize::try_from(bytes / SHARE_OF_ONE).unwrap_or(usize::MAX),
            gauges: MemoryGauges::new(),
        }
    }

    pub(super) async fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key).await
    }

    /// Puts an entry in. Evicts before it returns: moka would by itself let up to 64 inserts queue, and 64 large
    /// results are many times a budget.
    pub(super) async fn insert(&self, entry: Arc<Entry>) {
        self.entries.insert(*entry.key(), entry).await;
        self.settle().await;
    }

    /// Weighs an entry anew after `body` was made, or forgets the body where it takes too much.
    pub(super) async fn keep_body(&self, entry: Arc<Entry>, body: BodyId) {
        if entry.weight() > self.weight_max {
            entry.drop_body(body);
            return;
        }
        // Only if this very entry is still in: to insert one that was evicted or replaced would bring it back. moka
        // runs these one at a time per key, so the last weight that it records includes every body.
        let key = *entry.key();
        self.entries
            .entry(key)
            .and_compute_with(|current| {
                let current = current.map(moka::Entry::into_value);
                let op = match current {
                    Some(current) if Arc::ptr_eq(&current, &entry) => Op::Put(current),
                    _ => Op::Nop,
                };
                std::future::ready(op)
            })
            .await;
        self.settle().await;
    }

    pub(super) fn is_too_large(&self, key: &Key) -> bool {
        self.too_large.contains_key(key)
    }

    pub(super) async fn remember_too_large(&self, key: Key) {
        self.too_large.insert(key, ()).await;
    }

    /// Bytes and entries that are in.
    pub(super) async fn usage(&self) -> (u64, u64) {
        self.settle().await;
        (self.entries.weighted_size(), self.entries.entry_count())
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; bytes in memory stay far below 2^53")]
    async fn settle(&self) {
        self.entries.run_pending_tasks().await;
        self.gauges.bytes.set(self.entries.weighted_size() as f64);
        self.gauges.entries.set(self.entries.entry_count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    };
    use bytes::Bytes;

    use super::*;

    fn entry(id: u8, rows: usize) -> Arc<Entry> {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let column = Arc::new(Int64Array::from(vec![1; rows]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        Arc::new(Entry::new(Key::new([id; 32]), schema, vec![batch]))
    }

    fn body(entry: &Entry, id: u64, bytes: usize) -> BodyId {
        entry.body_slot(BodyId::new(id)).unwrap().set(Bytes::from(vec![b' '; bytes])).unwrap();
        BodyId::new(id)
    }

    #[tokio::test]
    async fn the_budget_holds_entries_and_bodies() {
        let memory = Memory::new(1 << 20, None);
        for id in 0..100 {
            let entry = entry(id, 4096);
            memory.insert(Arc::clone(&entry)).await;
            let body = body(&entry, 1, 64 * 1024);
            memory.keep_body(entry, body).await;
            let (bytes, entries) = memory.usage().await;
            assert!(bytes <= 1 << 20, "{bytes} bytes in {entries} entries");
        }
        let (bytes, entries) = memory.usage().await;
        assert!(entries >= 9 && bytes > 900 * 1024, "{bytes} bytes in {entries} entries");
        assert!(memory.get(&Key::new([99; 32])).await.is_some(), "the newest stays");
        assert!(memory.get(&Key::new([0; 32])).await.is_none(), "the oldest goes");
    }

    #[tokio::test]
    async fn a_body_that_takes_too_much_is_not_kept() {
        let memory = Memory::new(1 << 20, None);
        let entry = entry(1, 16);
        memory.insert(Arc::clone(&entry)).await;
        let large = body(&entry, 1, 300 * 1024);
        memory.keep_body(Arc::clone(&entry), large).await;
        assert_eq!(entry.body(large), None);
        assert!(memory.usage().await.0 < 4096);
    }

    #[tokio::test]
    async fn a_body_does_not_bring_an_entry_back() {
        let memory = Memory::new(1 << 20, None);
        let old = entry(1, 16);
        let new = entry(1, 16);
        memory.insert(Arc::clone(&old)).await;
        memory.insert(Arc::clone(&new)).await;
        let late = body(&old, 1, 10);
        memory.keep_body(old, late).await;
        assert!(Arc::ptr_eq(&memory.get(&Key::new([1; 32])).await.unwrap(), &new));
    }
}
