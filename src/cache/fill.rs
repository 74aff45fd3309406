//! From a running query to a whole entry, within a limit.
//!
//! Owns: [`collect`], which buffers a result and gives it back as a stream where it grows over the limit.
//! Must not know: who asked, where entries are stored, SQL.

use futures::{StreamExt, stream};

use super::{
    Filling,
    entry::{Entry, Retained, compact},
    key::Key,
};
use crate::error::Result;

/// A result that ended, or one that goes on.
pub(super) enum Collected {
    Whole(Entry),
    Overflow(Filling),
}

/// Buffers a result of up to `bytes_max` bytes. A larger one comes back as a stream of what was buffered, then the
/// rest, so nothing is computed twice and no more than the limit and one batch is ever held.
pub(super) async fn collect(key: Key, mut filling: Filling, bytes_max: usize) -> Result<Collected> {
    let mut buffered = Vec::new();
    let mut retained = Retained::default();
    while let Some(batch) = filling.batches.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let batch = compact(batch);
        retained.add(&batch);
        buffered.push(batch);
        if retained.bytes > bytes_max {
            let batches = stream::iter(buffered.into_iter().map(Ok)).chain(filling.batches).boxed();
            return Ok(Collected::Overflow(Filling { schema: filling.schema, batches }));
        }
    }
    Ok(Collected::Whole(Entry::new(key, filling.schema, buffered)))
}
