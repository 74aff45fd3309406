//! CSV: RFC 4180 in the dialect of Postgres's `COPY … TO … WITH (FORMAT csv, HEADER)`.
//!
//! Owns: the header, the lines and when a value is quoted.
//! Must not know: how values are spelled (`text` does).
//!
//! Lines end with a line feed. NULL is nothing, the empty string is `""`. Nothing else is changed: a value that a
//! spreadsheet would take for a formula leaves as it is, because the next reader may be a database.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use super::{
    Numbers,
    column::{Column, Values, columns},
    stream::Encoder,
    text::quote_from,
};
use crate::error::Result;

pub(super) struct Csv {
    schema: SchemaRef,
}

impl Csv {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Encoder for Csv {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let alone = self.schema.fields().len() == 1;
        for (place, field) in self.schema.fields().iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            let start = out.len();
            out.extend_from_slice(field.name().as_bytes());
            quote_if_needed(out, start, alone);
        }
        out.push(b'\n');
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let columns = columns(&self.schema, batch, Numbers::Native)?;
        let alone = columns.len() == 1;
        let quotable: Vec<bool> = columns.iter().map(is_quotable).collect();
        out.reserve(batch.num_rows() * columns.len() * 4);
        for row in 0..batch.num_rows() {
            for (place, (column, quotable)) in columns.iter().zip(&quotable).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                if column.is_null(row) {
                    continue;
                }
                let start = out.len();
                column.write_text(row, out);
                if *quotable {
                    quote_if_needed(out, start, alone);
                }
            }
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Whether any of the column's values could need quotes: numbers, times and the like never do.
fn is_quotable(column: &Column<'_>) -> bool {
    matches!(
        column.values,
        Values::Text(..)
            | Values::List(..)
            | Values::Struct(_)
            | Values::Map(..)
            | Values::Indexed(..)
            | Values::Union(..)
    )
}

/// Quotes as Postgres's `CopyAttributeOutCSV` does; `alone` on its line, `\.` would mean the end of the data.
fn quote_if_needed(out: &mut Vec<u8>, start: usize, alone: bool) {
    let value = &out[start..];
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if value.is_empty() || value.iter().any(special) || alone && value == b"\\." {
        quote_from(out, start, |byte| (byte == b'"').then_some(b'"'));
    }
}
