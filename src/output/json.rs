//! JSON: the values, the document and the lines.
//!
//! Owns: the spelling of every value as Postgres's `to_json` has it, and the two encoders, [`Document`] and [`Lines`].
//! Must not know: how numbers and times are spelled (`text` does), transport.
//!
//! Output is valid JSON whatever comes in: a `json` value that is not JSON becomes a string. An embedded `json` value
//! keeps its text, without the line breaks that would end a line of NDJSON.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, SchemaRef},
};
use serde::de::IgnoredAny;

use super::{
    Numbers,
    column::{BytesKind, Column, TextKind, Values, columns},
    names::{postgres_type_name, unique_names},
    number::{self, Short, append_short},
    stream::Encoder,
    text::write_hex,
    time::Style,
};
use crate::error::Result;

/// A column as a member of an object.
pub(super) struct Member<'a> {
    /// What stands before the value.
    prefix: Prefix,
    pub(super) column: Column<'a>,
}

impl<'a> Member<'a> {
    /// The members of a nested object.
    pub(super) fn all(fields: impl IntoIterator<Item = &'a FieldRef>, columns: Vec<Column<'a>>) -> Vec<Self> {
        let prefixes = prefixes(unique_names(fields)).into_iter();
        prefixes.zip(columns).map(|(prefix, column)| Self { prefix, column }).collect()
    }
}

/// `{"name":` or `,"name":`.
#[derive(Clone)]
enum Prefix {
    /// Most are short.
    Short(Short, usize),
    Long(Arc<[u8]>),
}

impl Prefix {
    fn new(text: &[u8]) -> Self {
        let mut short = [0; 32];
        match short.get_mut(..text.len()) {
            Some(start) => {
                start.copy_from_slice(text);
                Self::Short(short, text.len())
            }
            None => Self::Long(text.into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Short(_, length) => *length,
            Self::Long(text) => text.len(),
        }
    }
}

fn prefixes<'a>(names: impl IntoIterator<Item = Cow<'a, str>>) -> Vec<Prefix> {
    let prefix = |(place, name): (usize, Cow<'_, str>)| {
        let mut prefix = vec![if place == 0 { b'{' } else { b',' }];
        write_string(&name, &mut prefix);
        prefix.push(b':');
        Prefix::new(&prefix)
    };
    names.into_iter().enumerate().map(prefix).collect()
}

#[inline]
fn write_object(members: &[Member<'_>], row: usize, out: &mut Vec<u8>) {
    if members.is_empty() {
        out.push(b'{');
    }
    for member in members {
        match &member.prefix {
            Prefix::Short(short, length) => append_short(short, *length, out),
            Prefix::Long(text) => out.extend_from_slice(text),
        }
        member.column.write_json(row, out);
    }
    out.push(b'}');
}

impl Column<'_> {
    /// Writes the value of any row.
    #[inline]
    pub(super) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::Null => out.extend_from_slice(b"null"),
            Values::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Values::Float16(values) => self.write_float(row, values.value(row).to_f32().is_finite(), out),
            Values::Float32(values) => self.write_float(row, values[row].is_finite(), out),
            Values::Float64(values) => self.write_float(row, values[row].is_finite(), out),
            Values::Text(texts, TextKind::Plain) => write_string(texts.value(row), out),
            Values::Text(texts, TextKind::Json) => write_embedded(texts.value(row), out),
            Values::Text(texts, TextKind::Number) => match texts.value(row) {
                text if number::is_json_number(text) => out.extend_from_slice(text.as_bytes()),
                text => write_string(text, out),
            },
            Values::Bytes(blobs, BytesKind::Bytea) => {
                out.extend_from_slice(b"\"\\\\x");
                write_hex(blobs.value(row), out);
                out.push(b'"');
            }
            Values::Bytes(blobs, BytesKind::Uuid) if blobs.value(row).len() != 16 => {
                out.extend_from_slice(b"\"\\\\x");
                write_hex(blobs.value(row), out);
                out.push(b'"');
            }
            Values::Bytes(..) => {
                out.push(b'"');
                self.write_text(row, out);
                out.push(b'"');
            }
            Values::List(ranges, items) => {
                out.push(b'[');
                for (place, item) in ranges.of(row).enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    items.write_json(item, out);
                }
                out.push(b']');
            }
            Values::Struct(members) => write_object(members, row, out),
            Values::Map(ranges, keys, values) => {
                out.push(b'{');
                let mut key = Vec::new();
                for (place, entry) in ranges.of(row).enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    key.clear();
                    keys.write_text(entry, &mut key);
                    write_string(&String::from_utf8_lossy(&key), out);
                    out.push(b':');
                    values.write_json(entry, out);
                }
                out.push(b'}');
            }
            Values::Indexed(indexes, values) => values.write_json(indexes[row], out),
            Values::Union(union, alternatives) => {
                let id = union.type_id(row);
                match alternatives.iter().find(|(own, _)| *own == id) {
                    Some((_, column)) => column.write_json(union.value_offset(row), out),
                    None => out.extend_from_slice(b"null"),
                }
            }
            _ if self.quoted => {
                out.push(b'"');
                self.write_scalar(row, Style::Json, out);
                out.push(b'"');
            }
            _ => self.write_scalar(row, Style::Json, out),
        }
    }

    /// NaN and the infinities are strings, as `to_json` has them.
    #[inline]
    fn write_float(&self, row: usize, finite: bool, out: &mut Vec<u8>) {
        if finite {
            return self.write_scalar(row, Style::Json, out);
        }
        out.push(b'"');
        self.write_scalar(row, Style::Json, out);
        out.push(b'"');
    }
}

/// A JSON document inside ours.
fn write_embedded(text: &str, out: &mut Vec<u8>) {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return write_string(text, out);
    }
    // Outside strings a line break is mere space, and inside them JSON does not allow one.
    let text = text.trim_matches([' ', '\t', '\r', '\n']).as_bytes();
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// A string with its quotes, escaped as Postgres's `escape_json` does.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    while let Some(at) = first_escape(rest) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                out.extend_from_slice(b"\\u00");
                write_hex(&[control], out);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte is that JSON strings cannot hold as it is, eight bytes at a time.
#[inline]
fn first_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Each term marks the high bit of the bytes it looks for. Borrowing marks a byte wrongly only above a right
        // one, and only the lowest mark is read.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5c);
        let marks = control | quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash;
        let marks = marks & HIGHS;
        if marks != 0 {
            return Some(place * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let escaped = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    rest.iter().position(escaped).map(|at| words.len() * 8 + at)
}

/// What both encoders keep.
struct Rows {
    schema: SchemaRef,
    numbers: Numbers,
    prefixes: Vec<Prefix>,
}

impl Rows {
    fn new(schema: SchemaRef, numbers: Numbers) -> Self {
        let prefixes = prefixes(unique_names(schema.fields()));
        Self { schema, numbers, prefixes }
    }

    /// Writes each row's object after what `before` writes, and then what `after` writes.
    fn write(
        &self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        mut before: impl FnMut(&mut Vec<u8>),
        after: impl Fn(&mut Vec<u8>),
    ) -> Result<()> {
        let prefixes = self.prefixes.iter().cloned();
        let columns = columns(&self.schema, batch, self.numbers)?;
        let members: Vec<_> = prefixes.zip(columns).map(|(prefix, column)| Member { prefix, column }).collect();
        // A guess at the least, which spares the first reallocations.
        let row_bytes = self.prefixes.iter().map(|prefix| prefix.len() + 4).sum::<usize>() + 2;
        out.reserve(row_bytes * batch.num_rows());
        for row in 0..batch.num_rows() {
            before(out);
            write_object(&members, row, out);
            after(out);
        }
        Ok(())
    }
}

/// `{"meta":[{"name":…,"type":…}],"data":[{…},…],"rows":n}`, with exactly these keys in this order and no white space.
pub(super) struct Document {
    rows: Rows,
    row_count: u64,
}

impl Document {
    pub(super) fn new(schema: SchemaRef, numbers: Numbers) -> Self {
        Self { rows: Rows::new(schema, numbers), row_count: 0 }
    }
}

impl Encoder for Document {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"{\"meta\":[");
        let fields = self.rows.schema.fields();
        for (place, (field, name)) in fields.iter().zip(unique_names(fields)).enumerate() {
            out.extend_from_slice(if place == 0 { b"{\"name\":" } else { b",{\"name\":" });
            write_string(&name, out);
            out.extend_from_slice(b",\"type\":");
            write_string(&postgres_type_name(field), out);
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"data\":[");
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let mut first = self.row_count == 0;
        let comma = |out: &mut Vec<u8>| {
            if !first {
                out.push(b',');
            }
            first = false;
        };
        self.rows.write(batch, out, comma, |_| {})?;
        self.row_count += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"],\"rows\":");
        number::write_u64(self.row_count, out);
        out.push(b'}');
        Ok(())
    }
}

/// One object per line, each with its line feed.
pub(super) struct Lines(Rows);

impl Lines {
    pub(super) fn new(schema: SchemaRef, numbers: Numbers) -> Self {
        Self(Rows::new(schema, numbers))
    }
}

impl Encoder for Lines {
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.0.write(batch, out, |_| {}, |out| out.push(b'\n'))
    }
}
