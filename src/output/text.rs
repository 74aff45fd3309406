//! Values in Postgres's text output, which CSV, the terminal's table and array literals are made of.
//!
//! Owns: the spelling of every value as `psql` shows it, array and row literals, and quoting.
//! Must not know: lines, headers, JSON.

use arrow::datatypes::TimeUnit;

use super::{
    column::{BytesKind, Column, Values},
    float, number,
    time::{self, Style},
};

const MILLISECONDS_PER_DAY: i64 = 86_400_000;

impl Column<'_> {
    /// Writes the value of a row that is not null, as Postgres's output function for its type would.
    ///
    /// Maps, which Postgres has not, are written as JSON objects.
    pub(super) fn write_text(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Null => {}
            Values::Bool(values) => out.push(if values.value(row) { b't' } else { b'f' }),
            Values::Text(texts, _) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::Bytes(blobs, kind) => match (kind, blobs.value(row)) {
                (BytesKind::Uuid, bytes) if bytes.len() == 16 => write_uuid(bytes, out),
                (_, bytes) => {
                    out.extend_from_slice(b"\\x");
                    write_hex(bytes, out);
                }
            },
            Values::List(ranges, items) => {
                out.push(b'{');
                for (place, item) in ranges.of(row).enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    items.write_array_item(item, out);
                }
                out.push(b'}');
            }
            Values::Struct(members) => {
                out.push(b'(');
                for (place, member) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    if !member.column.is_null(row) {
                        member.column.write_row_item(row, out);
                    }
                }
                out.push(b')');
            }
            Values::Map(..) => self.write_json(row, out),
            Values::Indexed(indexes, values) => values.write_text(indexes[row], out),
            Values::Union(union, alternatives) => {
                let id = union.type_id(row);
                if let Some((_, column)) = alternatives.iter().find(|(own, _)| *own == id) {
                    column.write_text(union.value_offset(row), out);
                }
            }
            _ => self.write_scalar(row, Style::Text, out),
        }
    }

    /// Numbers and times, which are spelled alike in text and JSON but for the style of timestamps.
    #[inline]
    pub(super) fn write_scalar(&self, row: usize, style: Style, out: &mut Vec<u8>) {
        match &self.values {
            Values::Int8(values) => number::write_i64(values[row].into(), out),
            Values::Int16(values) => number::write_i64(values[row].into(), out),
            Values::Int32(values) => number::write_i64(values[row].into(), out),
            Values::Int64(values) => number::write_i64(values[row], out),
            Values::UInt8(values) => number::write_u64(values[row].into(), out),
            Values::UInt16(values) => number::write_u64(values[row].into(), out),
            Values::UInt32(values) => number::write_u64(values[row].into(), out),
            Values::UInt64(values) => number::write_u64(values[row], out),
            Values::Float16(values) => float::write_f32(values.value(row).to_f32(), out),
            Values::Float32(values) => float::write_f32(values[row], out),
            Values::Float64(values) => float::write_f64(values[row], out),
            Values::Decimal32(values, scale) => number::write_i128(values[row].into(), *scale, out),
            Values::Decimal64(values, scale) => number::write_i128(values[row].into(), *scale, out),
            Values::Decimal128(values, scale) => number::write_i128(values[row], *scale, out),
            Values::Decimal256(values, scale) => number::write_i256(values[row], *scale, out),
            Values::Date32(values) => time::write_date(values[row].into(), out),
            Values::Date64(values) => time::write_date(values[row].div_euclid(MILLISECONDS_PER_DAY), out),
            Values::Time32(values, unit) => time::write_time(values[row].into(), *unit, out),
            Values::Time64(values, unit) => time::write_time(values[row], *unit, out),
            Values::Timestamp(values, unit, zone) => time::write_timestamp(values[row], *unit, *zone, style, out),
            Values::Months(values) => time::write_interval(values[row], 0, 0, TimeUnit::Second, out),
            Values::DayTime(values) => {
                let value = values[row];
                time::write_interval(0, value.days, value.milliseconds.into(), TimeUnit::Millisecond, out);
            }
            Values::MonthDayNano(values) => {
                let value = values[row];
                time::write_interval(value.months, value.days, value.nanoseconds, TimeUnit::Nanosecond, out);
            }
            Values::Duration(values, unit) => time::write_interval(0, 0, values[row], *unit, out),
            Values::Null
            | Values::Bool(_)
            | Values::Text(..)
            | Values::Bytes(..)
            | Values::List(..)
            | Values::Struct(_)
            | Values::Map(..)
            | Values::Indexed(..)
            | Values::Union(..) => unreachable!("both callers write these themselves"),
        }
    }

    /// An item of an array literal (`array_out` in Postgres's `arrayfuncs.c`).
    fn write_array_item(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"NULL");
        }
        let start = out.len();
        self.write_text(row, out);
        let item = &out[start..];
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_space(*byte);
        if !self.is_list() && (item.is_empty() || item.eq_ignore_ascii_case(b"null") || item.iter().any(special)) {
            quote_from(out, start, |byte| matches!(byte, b'"' | b'\\').then_some(b'\\'));
        }
    }

    /// An item of a row literal (`record_out` in Postgres's `rowtypes.c`).
    fn write_row_item(&self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        self.write_text(row, out);
        let item = &out[start..];
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',') || is_space(*byte);
        if item.is_empty() || item.iter().any(special) {
            quote_from(out, start, |byte| matches!(byte, b'"' | b'\\').then_some(byte));
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

fn write_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    for (place, group) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if place > 0 {
            out.push(b'-');
        }
        write_hex(&bytes[group], out);
    }
}

/// Puts what was written since `start` into double quotes, with `escape(byte)` before the bytes for which there is one.
///
/// It is done in place, from the end to the start.
pub(super) fn quote_from(out: &mut Vec<u8>, start: usize, escape: impl Fn(u8) -> Option<u8>) {
    let escapes = out[start..].iter().filter(|byte| escape(**byte).is_some()).count();
    let mut read = out.len();
    out.resize(read + escapes + 2, b'"');
    let mut write = out.len() - 1;
    while read > start {
        read -= 1;
        write -= 1;
        let byte = out[read];
        out[write] = byte;
        if let Some(before) = escape(byte) {
            write -= 1;
            out[write] = before;
        }
    }
    out[start] = b'"';
}
