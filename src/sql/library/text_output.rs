//! Values as Postgres's output functions write them, which is what text functions of any type see.

use super::{
    array_text::written,
    number_casts::{text_of_float, text_of_real},
    text_casts::hex,
    time_output::{date_text, interval_text, time_text, timestamp_text, timestamptz_text},
    zone::Zone,
};
use crate::{
    error::Result,
    sql::function::{Call, Kind, Value},
};

/// How the argument `index` of a call goes out: a boolean as `t` or `f`, NULL as nothing.
pub(super) fn output(call: &Call<'_>, arguments: &[Value<'_>], index: usize) -> Result<String> {
    let kind = call.kinds.get(index).copied().unwrap_or(Kind::Text);
    arguments.get(index).map_or(Ok(String::new()), |value| output_as(call, kind, value))
}

/// What the cast to text makes of an argument: the same, but for booleans.
pub(super) fn as_text(call: &Call<'_>, arguments: &[Value<'_>], index: usize) -> Result<String> {
    match arguments.get(index) {
        Some(Value::Bool(value)) => Ok(value.to_string()),
        _ => output(call, arguments, index),
    }
}

/// The same of a value of this type.
pub(super) fn output_as(call: &Call<'_>, kind: Kind, value: &Value<'_>) -> Result<String> {
    Ok(match value {
        Value::Null => String::new(),
        Value::Bool(value) => (if *value { "t" } else { "f" }).to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Real(value) => text_of_real(*value),
        Value::Float(value) => text_of_float(*value),
        Value::Numeric(value) => value.to_string(),
        Value::Text(value) => value.to_string(),
        Value::Bytes(value) => hex(value),
        Value::Date(value) => date_text(*value),
        Value::Time(value) => time_text(*value),
        Value::Timestamp(value) if kind == Kind::Timestamptz => timestamptz_text(*value, &Zone::Named(call.zone)),
        Value::Timestamp(value) => timestamp_text(*value),
        Value::Interval(value) => interval_text(*value),
        Value::List(values) => {
            let of = element(kind);
            written(values, |value| output_as(call, of, value))?.text()?.to_owned()
        }
    })
}

/// The type of an array's elements.
pub(super) fn element(kind: Kind) -> Kind {
    match kind {
        Kind::Array(element) => element.kind(),
        _ => Kind::Text,
    }
}
