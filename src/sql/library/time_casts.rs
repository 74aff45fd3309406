//! Casts of dates, times and intervals, their precision, and `AT TIME ZONE`.

use super::{
    interval_input::{IntervalFields, parse_interval, rounded},
    time_input::{MOMENT_MIN, parse_date, parse_time, parse_timestamp, parse_timestamptz},
    time_output::{date_text, interval_text, time_text, timestamp_text, timestamptz_text},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Interval, Value, fault, rows},
};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// From 1970 to 2000, where Postgres counts from, in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The casts, and the functions behind `timestamp(0)` and `AT TIME ZONE`.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("::date (text) -> date", |_, a| Ok(Value::Date(parse_date(a[0].text()?)?))),
    rows("::date (timestamp) -> date", |_, a| date_of(a[0].timestamp()?)),
    rows("::date (timestamptz) -> date", |call, a| date_of(local(call, a[0].timestamp()?)?)),
    rows("::time (text) -> time", |_, a| Ok(Value::Time(parse_time(a[0].text()?)?))),
    rows("::time (timestamp) -> time", |_, a| Ok(time_of(a[0].timestamp()?))),
    rows("::time (timestamptz) -> time", |call, a| Ok(time_of(local(call, a[0].timestamp()?)?))),
    rows("::time (interval) -> time", |_, a| Ok(time_of(a[0].interval()?.micros))),
    rows("::timestamp (text) -> timestamp", |_, a| Ok(Value::Timestamp(parse_timestamp(a[0].text()?)?))),
    rows("::timestamp (date) -> timestamp", |_, a| Ok(Value::Timestamp(midnight(a[0].date()?)?))),
    rows("::timestamp (timestamptz) -> timestamp", |call, a| Ok(Value::Timestamp(local(call, a[0].timestamp()?)?))),
    rows("::timestamptz (text) -> timestamptz", |call, a| {
        Ok(Value::Timestamp(parse_timestamptz(a[0].text()?, &call.zone.into())?))
    }),
    rows("::timestamptz (date) -> timestamptz", |call, a| {
        let moment = Zone::from(call.zone).moment_of(midnight(a[0].date()?)?).and_then(in_range);
        moment.map(Value::Timestamp).map_err(|_| date_out_of_range())
    }),
    rows("::timestamptz (timestamp) -> timestamptz", |call, a| moment_in(&call.zone.into(), a[0].timestamp()?)),
    rows("::interval (text) -> interval", |_, a| Ok(Value::Interval(parse_interval(a[0].text()?)?))),
    rows("::interval (time) -> interval", |_, a| {
        Ok(Value::Interval(Interval { micros: a[0].time()?, ..Interval::default() }))
    }),
    rows("::text (date) -> text", |_, a| Ok(Value::owned(date_text(a[0].date()?)))),
    rows("::text (time) -> text", |_, a| Ok(Value::owned(time_text(a[0].time()?)))),
    rows("::text (timestamp) -> text", |_, a| Ok(Value::owned(timestamp_text(a[0].timestamp()?)))),
    rows("::text (timestamptz) -> text", |call, a| {
        Ok(Value::owned(timestamptz_text(a[0].timestamp()?, &call.zone.into())))
    }),
    rows("::text (interval) -> text", |_, a| Ok(Value::owned(interval_text(a[0].interval()?)))),
    rows("time(time, int4) -> time", |_, a| Ok(Value::Time(time_to_precision(a[0].time()?, digits(&a[1])?)))),
    rows("timestamp(timestamp, int4) -> timestamp", to_precision_of),
    rows("timestamptz(timestamptz, int4) -> timestamptz", to_precision_of),
    rows("pilaster_rounded(time[], int4) -> time[]", each_to_precision),
    rows("pilaster_rounded(timestamp[], int4) -> timestamp[]", each_to_precision),
    rows("pilaster_rounded(timestamptz[], int4) -> timestamptz[]", each_to_precision),
    rows("interval(interval, int4) -> interval", |_, a| {
        Ok(Value::Interval(IntervalFields::of_modifier(a[1].int()?).apply(a[0].interval()?)?))
    }),
    rows("timezone(text, timestamp) -> timestamptz", |call, a| moment_in(&*named(call, &a[0])?, a[1].timestamp()?)),
    rows("timezone(text, timestamptz) -> timestamp", |call, a| local_in(&*named(call, &a[0])?, a[1].timestamp()?)),
    rows("timezone(interval, timestamp) -> timestamptz", |_, a| moment_in(&zone_of(&a[0])?, a[1].timestamp()?)),
    rows("timezone(interval, timestamptz) -> timestamp", |_, a| local_in(&zone_of(&a[0])?, a[1].timestamp()?)),
];

/// A moment rounded to so many digits of a second, halves away from the beginning of 2000.
pub(in crate::sql) fn to_precision(micros: i64, digits: u32) -> Result<i64> {
    let rounded = micros.checked_sub(EPOCH_MICROS).and_then(|micros| rounded(micros, digits));
    rounded.and_then(|micros| micros.checked_add(EPOCH_MICROS)).ok_or_else(out_of_range)
}

/// A time of day rounded to so many digits of a second.
pub(in crate::sql) fn time_to_precision(micros: i64, digits: u32) -> i64 {
    rounded(micros, digits).unwrap_or(micros)
}

fn to_precision_of(_: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    Ok(Value::Timestamp(to_precision(a[0].timestamp()?, digits(&a[1])?)?))
}

fn each_to_precision(_: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    let digits = digits(&a[1])?;
    let rounded = |value: &Value<'_>| {
        Ok(match value {
            Value::Time(time) => Value::Time(time_to_precision(*time, digits)),
            Value::Timestamp(moment) => Value::Timestamp(to_precision(*moment, digits)?),
            _ => Value::Null,
        })
    };
    Ok(Value::List(a[0].list()?.iter().map(rounded).collect::<Result<_>>()?))
}

/// No precision is all of it.
fn digits(value: &Value<'_>) -> Result<u32> {
    Ok(u32::try_from(value.int()?).unwrap_or(u32::MAX))
}

fn date_of(local: i64) -> Result<Value<'static>> {
    i32::try_from(local.div_euclid(MICROS_PER_DAY)).map(Value::Date).map_err(|_| out_of_range())
}

fn time_of(local: i64) -> Value<'static> {
    Value::Time(local.rem_euclid(MICROS_PER_DAY))
}

fn midnight(days: i32) -> Result<i64> {
    i64::from(days).checked_mul(MICROS_PER_DAY).ok_or_else(date_out_of_range)
}

/// What clocks show in the session's zone.
fn local(call: &Call<'_>, moment: i64) -> Result<i64> {
    Zone::from(call.zone).local_of(moment)
}

fn local_in(zone: &Zone, moment: i64) -> Result<Value<'static>> {
    zone.local_of(moment).and_then(in_range).map(Value::Timestamp)
}

fn moment_in(zone: &Zone, local: i64) -> Result<Value<'static>> {
    zone.moment_of(local).and_then(in_range).map(Value::Timestamp)
}

fn named(call: &Call<'_>, name: &Value<'_>) -> Result<std::rc::Rc<Zone>> {
    call.prepared(name.text()?, Zone::parse)
}

fn zone_of(interval: &Value<'_>) -> Result<Zone> {
    let interval = interval.interval()?;
    Zone::of_interval(interval, || interval_text(interval))
}

fn in_range(micros: i64) -> Result<i64> {
    if micros < MOMENT_MIN { Err(out_of_range()) } else { Ok(micros) }
}

fn out_of_range() -> Error {
    fault("22008", "timestamp out of range")
}

fn date_out_of_range() -> Error {
    fault("22008", "date out of range for timestamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_rounds_away_from_2000() {
        assert_eq!(to_precision(1_500_000, 0).ok(), Some(1_000_000));
        assert_eq!(to_precision(946_684_801_500_000, 0).ok(), Some(946_684_802_000_000));
        assert_eq!(to_precision(1_234_567, 3).ok(), Some(1_235_000));
        assert_eq!(time_to_precision(86_399_999_999, 0), 86_400_000_000);
    }

    #[test]
    fn days_out_of_range_are_no_timestamps() {
        assert!(midnight(i32::MAX).is_err() && midnight(0).is_ok());
        assert!(in_range(MOMENT_MIN - 1).is_err());
    }
}
