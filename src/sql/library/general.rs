//! Functions that belong to no type: counts of NULLs, and series as arrays.

use std::cmp::Ordering;

use arrow::datatypes::i256;

use crate::{
    error::{Error, Result},
    sql::function::{Decimal, Entry, Interval, Value, fault, rows},
};

use super::{
    array_order::compare,
    interval_math::{interval_key, moved_in, timestamp_plus},
    numbers::decimal::{aligned, narrow},
};

/// A series is in memory as a whole.
const SERIES_MAX: usize = 10_000_000;

/// Counts of NULLs, and what the rows of `generate_series` are made of.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("num_nulls(VARIADIC any) -> int4", |_, a| Ok(count(a, true))).takes_null(),
    rows("num_nonnulls(VARIADIC any) -> int4", |_, a| Ok(count(a, false))).takes_null(),
    rows("pilaster_num_nulls(anyarray) -> int4", |_, a| Ok(count(a[0].list()?, true))),
    rows("pilaster_num_nonnulls(anyarray) -> int4", |_, a| Ok(count(a[0].list()?, false))),
    rows("pilaster_series(int4, int4) -> int4[]", |_, a| integers(a[0].int()?, a[1].int()?, 1)),
    rows("pilaster_series(int4, int4, int4) -> int4[]", |_, a| integers(a[0].int()?, a[1].int()?, a[2].int()?)),
    rows("pilaster_series(int8, int8) -> int8[]", |_, a| integers(a[0].int()?, a[1].int()?, 1)),
    rows("pilaster_series(int8, int8, int8) -> int8[]", |_, a| integers(a[0].int()?, a[1].int()?, a[2].int()?)),
    rows("pilaster_series(numeric, numeric) -> numeric[]", |_, a| numerics(a[0].numeric()?, a[1].numeric()?, ONE)),
    rows("pilaster_series(numeric, numeric, numeric) -> numeric[]", |_, a| {
        numerics(a[0].numeric()?, a[1].numeric()?, a[2].numeric()?)
    }),
    rows("pilaster_series(timestamp, timestamp, interval) -> timestamp[]", |_, a| {
        let step = a[2].interval()?;
        timestamps(a[0].timestamp()?, a[1].timestamp()?, step, |local| timestamp_plus(local, step))
    }),
    rows("pilaster_series(timestamptz, timestamptz, interval) -> timestamptz[]", |call, a| {
        let (step, zone) = (a[2].interval()?, call.zone.into());
        timestamps(a[0].timestamp()?, a[1].timestamp()?, step, |instant| moved_in(&zone, instant, step))
    }),
];

const ONE: Decimal = Decimal { unscaled: i256::ONE, scale: 0 };

fn count(values: &[Value<'_>], of_nulls: bool) -> Value<'static> {
    let number = values.iter().filter(|value| value.is_null() == of_nulls).count();
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn integers(start: i64, end: i64, step: i64) -> Result<Value<'static>> {
    // Said at once, and not when as many have been made.
    let count = (i128::from(end) - i128::from(start)).checked_div(step.into()).unwrap_or(0);
    if count >= SERIES_MAX as i128 {
        return Err(too_long());
    }
    series(Value::Int(start), &Value::Int(end), step.cmp(&0), |value| {
        // Past the end of its type it is past the end of the series.
        Ok(value.int()?.checked_add(step).map(Value::Int))
    })
}

fn numerics(start: Decimal, end: Decimal, step: Decimal) -> Result<Value<'static>> {
    let (start, by, scale) = aligned(start, step);
    let (start, by) = (narrow(&start)?, narrow(&by)?);
    let numeric = |unscaled| Value::Numeric(Decimal { unscaled, scale });
    series(numeric(start), &Value::Numeric(end), by.cmp(&i256::ZERO), |value| {
        Ok(value.numeric()?.unscaled.checked_add(by).map(numeric))
    })
}

fn timestamps(start: i64, end: i64, step: Interval, next: impl Fn(i64) -> Result<i64>) -> Result<Value<'static>> {
    series(Value::Timestamp(start), &Value::Timestamp(end), interval_key(step).cmp(&0), |value| {
        Ok(Some(Value::Timestamp(next(value.timestamp()?)?)))
    })
}

/// All values from `start` that are not past `end`.
fn series(
    start: Value<'static>,
    end: &Value<'_>,
    direction: Ordering,
    next: impl Fn(&Value<'static>) -> Result<Option<Value<'static>>>,
) -> Result<Value<'static>> {
    if direction.is_eq() {
        return Err(fault("22023", "step size cannot equal zero"));
    }
    let (mut values, mut value) = (Vec::new(), Some(start));
    while let Some(current) = value.filter(|value| compare(value, end) != direction) {
        if values.len() == SERIES_MAX {
            return Err(too_long());
        }
        value = next(&current)?;
        values.push(current);
    }
    Ok(Value::List(values))
}

fn too_long() -> Error {
    fault("54000", format!("series of more than {SERIES_MAX} values are not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_end_where_postgres_ends_them() {
        let ints = |values: &[i64]| Value::List(values.iter().copied().map(Value::Int).collect());
        let check = |(start, end, step), expect: &[i64]| {
            assert_eq!(integers(start, end, step).unwrap(), ints(expect), "{start} {end} {step}");
        };
        check((1, 5, 2), &[1, 3, 5]);
        check((5, 1, -3), &[5, 2]);
        check((1, 0, 1), &[]);
        check((i64::MAX - 1, i64::MAX, 3), &[i64::MAX - 1]);
        assert_eq!(integers(1, 2, 0).unwrap_err().sqlstate(), Some("22023"));
        assert_eq!(integers(1, i64::MAX, 1).unwrap_err().sqlstate(), Some("54000"));
    }
}
