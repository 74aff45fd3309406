//! How values of each type are written inside JSON: dates and times in ISO 8601, numbers as they are, all else as a
//! string.

use std::fmt::Write as _;

use chrono_tz::Tz;

use super::{
    json_text::{self, quote},
    number_casts::{text_of_float, text_of_real},
    time_output::{date_text, interval_text, time_text, timestamp_text},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Kind, Value, fault},
};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Writes a value as `to_json` makes it.
pub(super) fn write_json(call: &Call<'_>, kind: Kind, value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::List(values) => write_array(call, kind, values, ",", out),
        Value::Text(json) if matches!(kind, Kind::Json | Kind::Jsonb) => out.push_str(json),
        _ => {
            let text = scalar_text(call.zone, kind, value);
            match value {
                Value::Bool(_) | Value::Int(_) | Value::Numeric(_) => out.push_str(&text),
                Value::Real(number) if number.is_finite() => out.push_str(&text),
                Value::Float(number) if number.is_finite() => out.push_str(&text),
                _ => quote(&text, out),
            }
        }
    }
}

/// Writes an array with this between its elements.
pub(super) fn write_array(call: &Call<'_>, kind: Kind, values: &[Value<'_>], separator: &str, out: &mut String) {
    let element = element_kind(kind);
    out.push('[');
    for (at, value) in values.iter().enumerate() {
        out.push_str(if at > 0 { separator } else { "" });
        write_json(call, element, value, out);
    }
    out.push(']');
}

/// Of an array's elements.
pub(super) fn element_kind(kind: Kind) -> Kind {
    match kind {
        Kind::Array(element) => element.kind(),
        kind => kind,
    }
}

/// Writes a value as the key of an object.
pub(super) fn write_key(call: &Call<'_>, kind: Kind, value: &Value<'_>, out: &mut String) -> Result<()> {
    if matches!(kind, Kind::Json | Kind::Jsonb) || matches!(value, Value::List(_)) {
        return Err(no_scalar_key());
    }
    quote(&scalar_text(call.zone, kind, value), out);
    Ok(())
}

/// The value as `jsonb`.
pub(super) fn to_jsonb(call: &Call<'_>, kind: Kind, value: &Value<'_>) -> Result<String> {
    let mut json = String::new();
    write_json(call, kind, value, &mut json);
    match kind {
        Kind::Jsonb => Ok(json),
        _ => json_text::canonical(&json),
    }
}

fn no_scalar_key() -> Error {
    fault("22023", "key value must be scalar, not array, composite, or json")
}

/// The text of one value, without quotes.
fn scalar_text(zone: Tz, kind: Kind, value: &Value<'_>) -> String {
    match value {
        Value::Null | Value::List(_) => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Real(value) => text_of_real(*value),
        Value::Float(value) => text_of_float(*value),
        Value::Numeric(value) => value.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
        Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) => "infinity".to_owned(),
        Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) => "-infinity".to_owned(),
        Value::Date(days) => date_text(*days),
        Value::Time(micros) => time_text(*micros),
        Value::Timestamp(micros) if kind == Kind::Timestamptz => {
            let offset = Zone::from(zone).offset_at(*micros);
            timestamp_iso(micros.saturating_add(offset * MICROS_PER_SECOND), &offset_text(offset))
        }
        Value::Timestamp(micros) => timestamp_iso(*micros, ""),
        Value::Interval(interval) => interval_text(*interval),
    }
}

/// In ISO 8601: with a `T`, and the offset before the era.
fn timestamp_iso(micros: i64, offset: &str) -> String {
    let text = timestamp_text(micros).replacen(' ', "T", 1);
    match text.strip_suffix(" BC") {
        Some(text) => format!("{text}{offset} BC"),
        None => text + offset,
    }
}

/// Hours and minutes, and seconds where there are any.
fn offset_text(offset: i64) -> String {
    let seconds = offset.abs();
    let sign = if offset < 0 { '-' } else { '+' };
    let text = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    match seconds % 60 {
        0 => text,
        rest => format!("{text}:{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::function::Interval;

    #[test]
    fn values_are_written_as_postgres_writes_them() {
        let zone = chrono_tz::Asia::Kolkata;
        let check =
            |kind: Kind, value: Value<'_>, expected: &str| assert_eq!(scalar_text(zone, kind, &value), expected);
        check(Kind::Float8, Value::Float(1e21), "1e+21");
        check(Kind::Float8, Value::Float(-0.000_123), "-0.000123");
        check(Kind::Float8, Value::Float(1e-7), "1e-07");
        check(Kind::Float8, Value::Float(123_456_789_012_345.0), "123456789012345");
        check(Kind::Float4, Value::Real(1_000_000.0), "1e+06");
        check(Kind::Date, Value::Date(-719_163), "0001-12-31 BC");
        check(Kind::Timestamp, Value::Timestamp(951_827_696_789_010), "2000-02-29T12:34:56.78901");
        check(Kind::Timestamptz, Value::Timestamp(0), "1970-01-01T05:30:00+05:30");
        let interval = Interval { months: -1, days: 3, micros: 14_706_789_000 };
        check(Kind::Interval, Value::Interval(interval), "-1 mons +3 days 04:05:06.789");
        check(Kind::Interval, Value::Interval(Interval::default()), "00:00:00");
    }
}
