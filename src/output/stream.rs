//! Encoding a result piece by piece, for replies that are not held whole, and at once for those that are.
//!
//! Owns: [`StreamEncoder`], [`encode`], and the interface that the formats share.
//! Must not know: what any format looks like, who reads the bytes.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;

use super::{
    Format, Options,
    column::check_schema,
    columnar::{Ipc, Parquet},
    csv::Csv,
    json::{Document, Lines},
};
use crate::error::Result;

/// One format's way to write a result. Each method appends to `out`.
pub(super) trait Encoder: Send {
    fn start(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;

    fn finish(self: Box<Self>, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// Turns batches into the bytes of a format as they come.
///
/// What `start`, each `batch` and `finish` return is one body when put together; any part may be empty (Parquet comes
/// row group by row group). A body without what `finish` returns is not complete, and in no format but NDJSON and CSV
/// can it be taken for a complete one: for these, the transport has to cut the connection when a stream fails.
pub struct StreamEncoder {
    encoder: Box<dyn Encoder>,
    started: bool,
}

impl StreamEncoder {
    /// An encoder for batches of this schema.
    ///
    /// # Errors
    /// When the format cannot hold a column of the schema, or a time zone in it does not exist (`invalid_value`). So a
    /// server that makes the encoder first can still answer with an error.
    pub fn new(format: Format, options: Options, schema: &SchemaRef) -> Result<Self> {
        check_schema(schema)?;
        let schema = SchemaRef::clone(schema);
        let encoder: Box<dyn Encoder> = match format {
            Format::Json => Box::new(Document::new(schema, options.numbers)),
            Format::NdJson => Box::new(Lines::new(schema, options.numbers)),
            Format::Csv => Box::new(Csv::new(schema)),
            Format::Arrow => Box::new(Ipc::new(schema)?),
            Format::Parquet => Box::new(Parquet::new(schema)?),
        };
        Ok(Self { encoder, started: false })
    }

    /// What precedes the rows. Without this call it comes with the first batch or the end.
    ///
    /// # Errors
    /// `internal` only.
    pub fn start(&mut self) -> Result<Bytes> {
        let mut out = Vec::new();
        self.write_start(&mut out)?;
        Ok(out.into())
    }

    /// The rows of a batch, or of earlier ones.
    ///
    /// # Errors
    /// `internal` when the batch has not the types of the schema. The body is broken after an error.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        let mut out = Vec::new();
        self.write_batch(batch, &mut out)?;
        Ok(out.into())
    }

    /// What follows the rows.
    ///
    /// # Errors
    /// `internal` only.
    pub fn finish(self) -> Result<Bytes> {
        let mut out = Vec::new();
        self.write_finish(&mut out)?;
        Ok(out.into())
    }

    fn write_start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if std::mem::replace(&mut self.started, true) { Ok(()) } else { self.encoder.start(out) }
    }

    fn write_batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.write_start(out)?;
        self.encoder.batch(batch, out)
    }

    fn write_finish(mut self, out: &mut Vec<u8>) -> Result<()> {
        self.write_start(out)?;
        self.encoder.finish(out)
    }
}

impl std::fmt::Debug for StreamEncoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StreamEncoder").field("started", &self.started).finish_non_exhaustive()
    }
}

/// A whole result in a format. The bytes are those of [`StreamEncoder`], put together.
///
/// # Errors
/// As [`StreamEncoder::new`] and [`StreamEncoder::batch`].
pub fn encode(format: Format, options: Options, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes> {
    let mut encoder = StreamEncoder::new(format, options, schema)?;
    let mut out = Vec::new();
    let mut rows_left: usize = batches.iter().map(RecordBatch::num_rows).sum();
    for (place, batch) in batches.iter().enumerate() {
        encoder.write_batch(batch, &mut out)?;
        rows_left -= batch.num_rows();
        if place == 0 && batch.num_rows() > 0 {
            // The next rows will be much like these, give or take an eighth; growing by doubling would copy them once
            // more.
            let row_bytes = out.len() / batch.num_rows() * 9 / 8 + 1;
            out.reserve(row_bytes.saturating_mul(rows_left).saturating_add(64));
        }
    }
    encoder.write_finish(&mut out)?;
    Ok(out.into())
}
