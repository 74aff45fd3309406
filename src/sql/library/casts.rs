//! Casts that the engine does as Postgres does, and the lengths and precisions that types are declared with.

use arrow::datatypes::i256;

use super::{
    interval_input::{IntervalFields, interval_of},
    interval_math::interval_key,
};
use crate::{
    error::Result,
    sql::function::{Decimal, Entry, Value, cast, rows},
};

/// What `varchar(n)` and `char(n)` do, and the casts that change nothing but the type.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    cast("::bool (bool) -> bool"),
    cast("::int2 (int2) -> int2"),
    cast("::int4 (int2) -> int4"),
    cast("::int4 (int4) -> int4"),
    cast("::int8 (int2) -> int8"),
    cast("::int8 (int4) -> int8"),
    cast("::int8 (int8) -> int8"),
    cast("::float4 (float4) -> float4"),
    cast("::float4 (int2) -> float4"),
    cast("::float4 (int4) -> float4"),
    cast("::float4 (int8) -> float4"),
    cast("::float8 (int2) -> float8"),
    cast("::float8 (int4) -> float8"),
    cast("::float8 (int8) -> float8"),
    cast("::float8 (float4) -> float8"),
    cast("::float8 (float8) -> float8"),
    cast("::numeric (int2) -> numeric").scaled(|_| (38, 0)),
    cast("::numeric (int4) -> numeric").scaled(|_| (38, 0)),
    cast("::numeric (int8) -> numeric").scaled(|_| (38, 0)),
    cast("::numeric (numeric) -> numeric"),
    cast("::text (text) -> text"),
    cast("::text (varchar) -> text"),
    cast("::text (name) -> text"),
    cast("::text (bpchar) -> text"),
    cast("::varchar (text) -> varchar"),
    cast("::varchar (varchar) -> varchar"),
    cast("::varchar (bpchar) -> varchar"),
    cast("::name (name) -> name"),
    cast("::bytea (bytea) -> bytea"),
    cast("::date (date) -> date"),
    cast("::time (time) -> time"),
    cast("::timestamp (timestamp) -> timestamp"),
    cast("::timestamp (date) -> timestamp"),
    cast("::timestamptz (timestamptz) -> timestamptz"),
    cast("::interval (interval) -> interval"),
    cast("::uuid (uuid) -> uuid"),
    cast("::json (json) -> json"),
    cast("::jsonb (jsonb) -> jsonb"),
    rows("::bpchar (text) -> bpchar", |_, a| Ok(Value::owned(a[0].text()?.trim_end_matches(' ')))),
    rows("::bpchar (varchar) -> bpchar", |_, a| Ok(Value::owned(a[0].text()?.trim_end_matches(' ')))),
    cast("::bpchar (bpchar) -> bpchar"),
    rows("pilaster_interval_of(text, int4) -> interval", |_, a| {
        interval_of(a[0].text()?, IntervalFields::of_modifier(a[1].int()?)).map(Value::Interval)
    }),
    rows("pilaster_interval_key(interval) -> numeric", |_, a| {
        let key = interval_key(a[0].interval()?);
        Ok(Value::Numeric(Decimal { unscaled: i256::from_i128(key), scale: 0 }))
    })
    .scaled(|_| (38, 0)),
    rows("pg_typeof(any) -> regtype", |call, _| {
        // What nobody has given a type is text by the time that it is a value; here it is still what it was.
        Ok(Value::owned(call.kinds.first().map_or_else(String::new, |kind| kind.long_name())))
    })
    .takes_null(),
    rows("::text (regtype) -> text", |_, a| Ok(Value::owned(a[0].text()?))),
    rows("pilaster_varchar(varchar, int8) -> varchar", |_, a| first(a[0].text()?, a[1].int()?)),
    rows("pilaster_bpchar(bpchar, int8) -> bpchar", |_, a| {
        first(a[0].text()?, a[1].int()?).map(|cut| match cut {
            Value::Text(text) => Value::owned(text.trim_end_matches(' ')),
            other => other,
        })
    }),
];

/// These casts cut; what is too long is no error.
fn first(text: &str, length: i64) -> Result<Value<'static>> {
    let length = usize::try_from(length).unwrap_or(0);
    let end = text.char_indices().nth(length).map_or(text.len(), |(index, _)| index);
    Ok(Value::owned(&text[..end]))
}
