//! Batches become one Parquet file, on a blocking thread.

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{self, SortColumn, SortOptions},
    datatypes::SchemaRef,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use tokio::sync::mpsc;

use crate::{
    error::{Code, Error, Result},
    store::{DataFileWriter, FinishedFile},
};

/// A fixed name, so that equal rows make equal bytes whatever build wrote them.
const CREATED_BY: &str = "pilaster";
/// A row group is closed at this size even if it could have more rows: wide rows must not fill the memory.
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Rows of a page, the grain in which a filter can skip.
const PAGE_ROWS: usize = 8_192;
/// Rows that are handed to the writer at once; a page is a whole number of steps.
const STEP_ROWS: usize = PAGE_ROWS;
const STEP_BYTES_MAX: usize = 64 << 20;

/// How a file is written.
#[derive(Clone, Debug)]
pub(super) struct FileOptions {
    pub(super) row_group_rows: usize,
    /// Indexes of the columns that rows are ordered by; none keeps the order that they come in.
    pub(super) sort_by: Vec<usize>,
}

/// Writes what comes through `batches` until the sender is dropped. Blocking. None when no row came.
pub(super) fn write(
    schema: &SchemaRef,
    options: &FileOptions,
    mut batches: mpsc::Receiver<RecordBatch>,
    create: impl FnOnce() -> Result<DataFileWriter>,
) -> Result<Option<FinishedFile>> {
    let Some(first) = batches.blocking_recv() else { return Ok(None) };
    let mut writer = ArrowWriter::try_new(create()?, SchemaRef::clone(schema), Some(properties(schema, options)))
        .map_err(unwritable)?;
    if options.sort_by.is_empty() {
        let mut steps = Steps::default();
        let mut next = Some(first);
        while let Some(batch) = next {
            steps.write(batch, &mut writer)?;
            next = batches.blocking_recv();
        }
        steps.flush(&mut writer)?;
    } else {
        let mut all = vec![first];
        while let Some(batch) = batches.blocking_recv() {
            all.push(batch);
        }
        let rows = compute::concat_batches(schema, &all).map_err(unsortable)?;
        drop(all);
        writer.write(&sorted(&rows, &options.sort_by)?).map_err(unwritable)?;
    }
    writer.into_inner().map_err(unwritable)?.finish().map(Some)
}

/// Cuts batches anew, into steps of equal size. Where the source's batches end depends on the network's timing, and Parquet's
/// pages end where its writer is called; with equal steps, equal rows make equal bytes, and replies computed from them stay good.
#[derive(Default)]
struct Steps {
    held: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Steps {
    fn write(&mut self, batch: RecordBatch, writer: &mut ArrowWriter<DataFileWriter>) -> Result<()> {
        let bytes_per_row = batch.get_array_memory_size() / batch.num_rows().max(1);
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (STEP_ROWS - self.rows).min(batch.num_rows() - from);
            self.held.push(batch.slice(from, rows));
            self.rows += rows;
            self.bytes += rows * bytes_per_row;
            from += rows;
            // Very wide rows are written as they come: bounded memory goes before equal bytes.
            if self.rows == STEP_ROWS || self.bytes > STEP_BYTES_MAX {
                self.flush(writer)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, writer: &mut ArrowWriter<DataFileWriter>) -> Result<()> {
        match self.held.as_slice() {
            [] => {}
            [one] => writer.write(one).map_err(unwritable)?,
            several => {
                let schema = several[0].schema();
                let joined = compute::concat_batches(&schema, several).map_err(unsortable)?;
                writer.write(&joined).map_err(unwritable)?;
            }
        }
        *self = Self::default();
        Ok(())
    }
}

fn sorted(rows: &RecordBatch, sort_by: &[usize]) -> Result<RecordBatch> {
    let options = Some(SortOptions { descending: false, nulls_first: false });
    let mut columns: Vec<SortColumn> =
        sort_by.iter().map(|index| SortColumn { values: ArrayRef::clone(rows.column(*index)), options }).collect();
    // Rows with equal keys keep the source's order, so that equal tables make equal files.
    let positions: arrow::array::UInt64Array = (0..rows.num_rows() as u64).collect();
    columns.push(SortColumn { values: std::sync::Arc::new(positions), options });
    let order = compute::lexsort_to_indices(&columns, None).map_err(unsortable)?;
    compute::take_record_batch(rows, &order).map_err(unsortable)
}

fn properties(schema: &SchemaRef, options: &FileOptions) -> WriterProperties {
    let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.into())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(Some(options.row_group_rows))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for field in schema.fields() {
        if field.data_type().is_floating() {
            // Floats hardly repeat: a dictionary of them costs more than it saves.
            builder = builder.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
        }
    }
    builder.build()
}

fn unwritable(error: parquet::errors::ParquetError) -> Error {
    // Errors of the file below come wrapped; theirs is the one that says what to do.
    let text = error.to_string();
    let full = text.contains("No space left") || text.contains("StorageFull");
    let error = Error::new(Code::Unavailable, format!("cannot write a Parquet file: {text}")).with_cause(error);
    if full { error.with_hint("free some space; the snapshot before this run is still served") } else { error }
}

fn unsortable(error: arrow::error::ArrowError) -> Error {
    Error::internal("rows cannot be sorted").with_cause(error)
}
