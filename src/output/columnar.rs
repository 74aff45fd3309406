//! The binary formats: Arrow IPC streams and Parquet files.
//!
//! Owns: which Arrow types go onto the wire in place of those that many readers cannot read.
//! Must not know: text formats, but for the text of what Parquet cannot hold.
//!
//! Views (`Utf8View`, `BinaryView`, `ListView`) become the types that every Arrow reader knows. Field metadata stays,
//! so [`PG_TYPE_KEY`](crate::sql::PG_TYPE_KEY) tells the Postgres type. Parquet has no type for Postgres's intervals (nor for durations, unions
//! and structs without fields); such columns are Postgres's text there, and lose nothing.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    ipc::writer::StreamWriter,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use super::{
    Numbers,
    column::{Column, check_batch, columns},
    names::{postgres_type_name, unique_names},
    stream::Encoder,
};
use crate::error::{Error, Result};

/// A row group is written once it is estimated to be this large, which bounds the memory of a streamed reply.
const ROW_GROUP_BYTES_MAX: usize = 16 << 20;

/// An Arrow IPC stream.
pub(super) struct Ipc {
    schema: SchemaRef,
    wire_schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

impl Ipc {
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let fields: Fields = schema.fields().iter().map(without_views).collect();
        let wire_schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let writer = StreamWriter::try_new(Vec::new(), &wire_schema).map_err(failed)?;
        Ok(Self { schema, wire_schema, writer })
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.get_mut());
    }
}

impl Encoder for Ipc {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.take(out);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        check_batch(&self.schema, batch)?;
        let wire_fields = self.wire_schema.fields().iter();
        let arrays = wire_fields.zip(batch.columns()).map(|(field, array)| cast(array, field.data_type())).collect();
        let batch = wire_batch(&self.wire_schema, arrays, batch.num_rows())?;
        self.writer.write(&batch).map_err(failed)?;
        self.take(out);
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.writer.finish().map_err(failed)?;
        self.take(out);
        Ok(())
    }
}

/// A Parquet file, compressed with zstd. Names that occur twice are numbered as in JSON, because most readers need it.
pub(super) struct Parquet {
    schema: SchemaRef,
    wire_schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
}

impl Parquet {
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let fields: Fields = schema
            .fields()
            .iter()
            .zip(unique_names(schema.fields()))
            .map(|(field, name)| {
                let wire = if parquet_holds(field.data_type()) { without_views(field) } else { text_field(field) };
                if wire.name() == name.as_ref() { wire } else { Arc::new(wire.as_ref().clone().with_name(name)) }
            })
            .collect();
        let wire_schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
            .set_created_by(concat!("pilaster ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&wire_schema), Some(properties)).map_err(failed)?;
        Ok(Self { schema, wire_schema, writer })
    }

    fn take(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.writer.sync().map_err(failed)?;
        // The writer counts its own offsets, so what it has written can be taken away.
        out.append(self.writer.inner_mut());
        Ok(())
    }
}

impl Encoder for Parquet {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.take(out)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let columns = columns(&self.schema, batch, Numbers::Native)?;
        let arrays = columns
            .iter()
            .zip(batch.columns())
            .zip(self.schema.fields().iter().zip(self.wire_schema.fields()))
            .map(|((column, array), (field, wire))| match parquet_holds(field.data_type()) {
                true => cast(array, wire.data_type()),
                false => Ok(text_array(column, array.len())),
            })
            .collect();
        let batch = wire_batch(&self.wire_schema, arrays, batch.num_rows())?;
        self.writer.write(&batch).map_err(failed)?;
        self.take(out)
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.writer.finish().map_err(failed)?;
        self.take(out)
    }
}

fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("cannot encode the result").with_cause(cause)
}

fn wire_batch(schema: &SchemaRef, arrays: Result<Vec<ArrayRef>>, row_count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays?, &options).map_err(failed)
}

fn cast(array: &ArrayRef, wire_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == wire_type {
        return Ok(Arc::clone(array));
    }
    if let DataType::RunEndEncoded(_, item) = wire_type {
        let runs = arrow::array::AsArray::as_any_ree(array.as_ref());
        return Ok(runs.with_values(cast(runs.values(), item.data_type())?));
    }
    // Not `safe`, which would put nulls where a value cannot be cast.
    cast_with_options(array, wire_type, &CastOptions { safe: false, ..CastOptions::default() }).map_err(failed)
}

fn without_views(field: &FieldRef) -> FieldRef {
    match wire_type(field.data_type()) {
        Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type)),
        None => Arc::clone(field),
    }
}

/// The type without views, or `None` where there are none. Unions stay as they are.
fn wire_type(data_type: &DataType) -> Option<DataType> {
    let changed = match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(without_views(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(without_views(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(without_views(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(without_views).collect()),
        DataType::Map(entries, sorted) => DataType::Map(without_views(entries), *sorted),
        DataType::Dictionary(keys, values) => DataType::Dictionary(keys.clone(), Box::new(wire_type(values)?)),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(Arc::clone(ends), without_views(values)),
        _ => return None,
    };
    (changed != *data_type).then_some(changed)
}

/// Whether Parquet has a type of the same values.
fn parquet_holds(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_) | DataType::Duration(_) | DataType::Union(..) => false,
        DataType::Struct(fields) => !fields.is_empty() && fields.iter().all(|field| parquet_holds(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => parquet_holds(item.data_type()),
        DataType::Dictionary(_, values) => parquet_holds(values),
        _ => true,
    }
}

/// The column as text, with its Postgres type in the metadata.
fn text_field(field: &Field) -> FieldRef {
    let mut metadata = field.metadata().clone();
    metadata.insert(crate::sql::PG_TYPE_KEY.to_owned(), postgres_type_name(field).into_owned());
    Arc::new(Field::new(field.name(), DataType::Utf8, true).with_metadata(metadata))
}

fn text_array(column: &Column<'_>, row_count: usize) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(row_count, row_count * 16);
    let mut text = Vec::new();
    for row in 0..row_count {
        if column.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        column.write_text(row, &mut text);
        builder.append_value(std::str::from_utf8(&text).expect("values are written as UTF-8"));
    }
    Arc::new(builder.finish())
}
