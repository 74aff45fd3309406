//! A whole result, held once and served in every format.
//!
//! Owns: [`Entry`], what it weighs, and the encoded bodies kept with it.
//! Must not know: formats, transports, where the entry is stored, SQL.
//!
//! Bodies live inside the entry, not beside it: they are evicted, replaced and weighed with the batches they were made
//! from, so none can outlive the budget or be served next to a newer result.

use std::{collections::HashSet, fmt, sync::Arc};

use arc_swap::ArcSwap;
use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array},
    buffer::Buffer,
    datatypes::{DataType, SchemaRef},
};
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::key::{BodyId, Key};

/// What an entry costs besides its buffers and bodies: the map's node, the schema, the list of bodies.
const OVERHEAD_BYTES: usize = 1024;

/// What a batch costs besides its buffers, per column and per batch: array structs, `Arc`s, vectors.
const COLUMN_OVERHEAD_BYTES: usize = 192;

/// How many encodings of one result are kept. Every format with every option and coding is about twenty.
const BODIES_MAX: usize = 32;

/// A batch may pin this many bytes more than its rows need before it is copied; less is not worth a copy.
const SLACK_BYTES: usize = 4096;

/// A body that is being made, or is made. Those who ask while it is being made wait for it: a thousand callers who are
/// woken by one computation would otherwise encode its result a thousand times.
pub(super) type BodySlot = Arc<OnceCell<Bytes>>;

/// A whole result.
pub struct Entry {
    key: Key,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    bodies: ArcSwap<Vec<(BodyId, BodySlot)>>,
}

impl Entry {
    /// An entry over `batches`, which should have gone through [`compact`].
    pub(super) fn new(key: Key, schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let mut retained = Retained::default();
        for batch in &batches {
            retained.add(batch);
        }
        Self { key, schema, batches, rows, bytes: retained.bytes, bodies: ArcSwap::default() }
    }

    /// What the entry is stored under.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows, in order. None of the batches is empty; there are none when the result is.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes the batches hold in memory, each allocation once, without the bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The body kept under `body`, if it has been made. Takes no lock and allocates nothing.
    #[must_use]
    pub fn body(&self, body: BodyId) -> Option<Bytes> {
        self.bodies.load().iter().find(|(id, _)| *id == body).and_then(|(_, slot)| slot.get().cloned())
    }

    /// The slot of a body, new if there is none; `None` when the entry has as many as it may.
    pub(super) fn body_slot(&self, body: BodyId) -> Option<BodySlot> {
        let mut found = None;
        self.bodies.rcu(|bodies| {
            found = bodies.iter().find(|(id, _)| *id == body).map(|(_, slot)| Arc::clone(slot));
            if found.is_some() || bodies.len() >= BODIES_MAX {
                return Arc::clone(bodies);
            }
            let slot = BodySlot::default();
            found = Some(Arc::clone(&slot));
            Arc::new(bodies.iter().cloned().chain([(body, slot)]).collect())
        });
        found
    }

    /// Forgets a body; those who hold its slot still get it.
    pub(super) fn drop_body(&self, body: BodyId) {
        self.bodies.rcu(|bodies| bodies.iter().filter(|(id, _)| *id != body).cloned().collect::<Vec<_>>());
    }

    /// How many bytes the finished bodies hold.
    pub(super) fn body_bytes(&self) -> usize {
        self.bodies.load().iter().filter_map(|(_, slot)| slot.get()).map(Bytes::len).sum()
    }

    /// What the entry costs its tier, in bytes.
    pub(super) fn weight(&self) -> usize {
        OVERHEAD_BYTES + self.bytes + self.body_bytes()
    }
}

impl fmt::Debug for Entry {
    // Rows are somebody's data and stay out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("key", &self.key)
            .field("rows", &self.rows)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Counts what batches keep alive, each allocation once.
///
/// Arrow's own `get_array_memory_size` adds up the capacity behind every buffer, so a batch read from IPC, whose
/// columns are slices of one allocation, would weigh that allocation once per column.
#[derive(Default)]
pub(super) struct Retained {
    /// Addresses of allocations; what was added has to stay alive, or an address could come to mean another.
    seen: HashSet<usize>,
    pub(super) bytes: usize,
}

impl Retained {
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        self.bytes += COLUMN_OVERHEAD_BYTES * (1 + batch.num_columns());
        for column in batch.columns() {
            self.add_data(&column.to_data());
        }
    }

    fn add_data(&mut self, data: &ArrayData) {
        data.buffers().iter().for_each(|buffer| self.add_buffer(buffer));
        if let Some(nulls) = data.nulls() {
            self.add_buffer(nulls.buffer());
        }
        data.child_data().iter().for_each(|child| self.add_data(child));
    }

    fn add_buffer(&mut self, buffer: &Buffer) {
        if self.seen.insert(buffer.data_ptr().addr().get()) {
            self.bytes += buffer.capacity().max(buffer.len());
        }
    }
}

/// The batch, copied if it keeps far more alive than its rows need.
///
/// Ten rows that LIMIT cut from a batch would otherwise hold that whole batch, be it a page of Parquet or a table of an
/// old snapshot in memory, for as long as they are cached.
pub(super) fn compact(batch: RecordBatch) -> RecordBatch {
    let mut retained = Retained::default();
    retained.add(&batch);
    let Some(needed) = batch.columns().iter().map(needed_bytes).sum::<Option<usize>>() else {
        return batch;
    };
    if retained.bytes <= 2 * needed + SLACK_BYTES {
        return batch;
    }
    let columns = batch.columns().iter().map(copy).collect();
    // The same types and lengths as before cannot fail; if they did, the batch as it was is right too.
    RecordBatch::try_new_with_options(
        batch.schema(),
        columns,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
    .unwrap_or(batch)
}

/// The bytes that the array's own rows need; `None` if Arrow cannot say.
fn needed_bytes(array: &ArrayRef) -> Option<usize> {
    let data = array.to_data();
    let long_values = match array.data_type() {
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used(),
        _ => 0,
    };
    data.get_slice_memory_size().ok().map(|bytes| bytes + long_values)
}

fn copy(array: &ArrayRef) -> ArrayRef {
    // Copying a view array shares the values, and `gc` shares the null bitmap, so views need both.
    let array = match array.data_type() {
        DataType::Utf8View => &(Arc::new(array.as_string_view().gc()) as ArrayRef),
        DataType::BinaryView => &(Arc::new(array.as_binary_view().gc()) as ArrayRef),
        _ => array,
    };
    let data = array.to_data();
    let mut copied = MutableArrayData::new(vec![&data], false, data.len());
    // Offsets that fit before fit again; if Arrow says otherwise, the array as it was is right too.
    match copied.try_extend(0, 0, data.len()) {
        Ok(()) => make_array(copied.freeze()),
        Err(_) => Arc::clone(array),
    }
}

/// The bytes in an allocation of their own size, because spare room is memory that the weight does not show.
pub(super) fn exact(body: Bytes) -> Bytes {
    match body.try_into_mut() {
        Ok(body) if body.capacity() <= body.len() + body.len() / 8 => body.freeze(),
        Ok(body) => Bytes::copy_from_slice(&body),
        // Somebody else holds the allocation too, or it is static; a copy is the only way to know its size.
        Err(body) => Bytes::copy_from_slice(&body),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, StringViewArray},
        datatypes::{Field, Schema},
    };

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8View, true),
        ]));
        let names = (0..rows).map(|row| (row % 7 != 0).then(|| format!("a name that is not inlined {row}")));
        let ids = Int64Array::from_iter_values(0..rows);
        RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(names.collect::<StringViewArray>())]).unwrap()
    }

    #[test]
    fn a_slice_does_not_hold_its_origin() {
        let origin = batch(100_000);
        let compacted = compact(origin.slice(500, 10));
        assert_eq!(compacted, origin.slice(500, 10));
        let entry = Entry::new(Key::new([0; 32]), origin.schema(), vec![compacted]);
        assert!(entry.bytes() < 8 * 1024, "ten rows weigh {}", entry.bytes());
        assert_eq!(entry.rows(), 10);
    }

    #[test]
    fn a_batch_that_fills_its_buffers_is_not_copied() {
        let origin = compact(batch(100_000));
        let column = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
        assert_eq!(column(&origin), column(&compact(origin.clone())));
    }

    #[test]
    fn shared_allocations_weigh_once() {
        let origin = batch(100_000);
        let one = Entry::new(Key::new([0; 32]), origin.schema(), vec![origin.clone()]).bytes();
        let halves = vec![origin.slice(0, 50_000), origin.slice(50_000, 50_000)];
        let two = Entry::new(Key::new([0; 32]), origin.schema(), halves).bytes();
        assert!(two < one + 2048, "{two} against {one}");
    }

    #[test]
    fn bodies_are_weighed_and_bounded() {
        let entry = Entry::new(Key::new([0; 32]), batch(1).schema(), vec![]);
        let empty = entry.weight();
        assert_eq!(entry.body(BodyId::new(7)), None);
        entry.body_slot(BodyId::new(7)).unwrap().set(Bytes::from_static(b"[]")).unwrap();
        assert_eq!(entry.body(BodyId::new(7)).unwrap(), "[]");
        assert_eq!(entry.weight(), empty + 2);
        for id in 0..1000 {
            entry.body_slot(BodyId::new(id));
        }
        assert!(entry.body_slot(BodyId::new(1000)).is_none());
        entry.drop_body(BodyId::new(7));
        assert_eq!(entry.weight(), empty);
    }

    #[test]
    fn spare_capacity_is_not_kept() {
        let mut roomy = Vec::with_capacity(1 << 20);
        roomy.extend_from_slice(b"abc");
        let kept = exact(Bytes::from(roomy));
        assert_eq!(kept, "abc");
        assert!(kept.try_into_mut().unwrap().capacity() < 64);
    }
}
