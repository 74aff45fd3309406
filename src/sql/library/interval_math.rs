//! Arithmetic and order of dates, times and intervals.
//!
//! An interval's months, days and time never mix: a month more is the same day of another month, a day more the same time of another
//! day on the session's clock. Only its order makes 30 days of a month and 24 hours of a day.

use super::{
    time_fields::{
        DAY_MICROS, EPOCH_JULIAN, Fields, civil, date_of, in_range, instant_of, is_finite, is_finite_date, midnight,
        timestamp_out_of_range,
    },
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Entry, Interval, Value, fault, rows},
};

const MONTH_DAYS: i32 = 30;
const DAY_SECONDS: f64 = 86_400.0;

/// The operators.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("+ (interval, interval) -> interval", |_, a| plus(a[0].interval()?, a[1].interval()?).map(Value::Interval)),
    rows("- (interval, interval) -> interval", |_, a| minus(a[0].interval()?, a[1].interval()?).map(Value::Interval)),
    rows("- (interval) -> interval", |_, a| minus(Interval::default(), a[0].interval()?).map(Value::Interval)),
    rows("* (interval, float8) -> interval", |_, a| times(a[0].interval()?, a[1].float()?).map(Value::Interval)),
    rows("* (float8, interval) -> interval", |_, a| times(a[1].interval()?, a[0].float()?).map(Value::Interval)),
    rows("/ (interval, float8) -> interval", |_, a| divided(a[0].interval()?, a[1].float()?).map(Value::Interval)),
    rows("= (interval, interval) -> bool", |_, a| Ok(Value::Bool(key(&a[0])? == key(&a[1])?))),
    rows("<> (interval, interval) -> bool", |_, a| Ok(Value::Bool(key(&a[0])? != key(&a[1])?))),
    rows("< (interval, interval) -> bool", |_, a| Ok(Value::Bool(key(&a[0])? < key(&a[1])?))),
    rows("<= (interval, interval) -> bool", |_, a| Ok(Value::Bool(key(&a[0])? <= key(&a[1])?))),
    rows("> (interval, interval) -> bool", |_, a| Ok(Value::Bool(key(&a[0])? > key(&a[1])?))),
    rows(">= (interval, interval) -> bool", |_, a| Ok(Value::Bool(key(&a[0])? >= key(&a[1])?))),
    rows("+ (date, int4) -> date", |_, a| date_plus(a[0].date()?, a[1].int()?)),
    rows("+ (int4, date) -> date", |_, a| date_plus(a[1].date()?, a[0].int()?)),
    rows("- (date, int4) -> date", |_, a| date_plus(a[0].date()?, -a[1].int()?)),
    rows("- (date, date) -> int4", |_, a| date_difference(a[0].date()?, a[1].date()?)),
    rows("+ (date, interval) -> timestamp", |_, a| moved(midnight(a[0].date()?)?, a[1].interval()?)),
    rows("+ (interval, date) -> timestamp", |_, a| moved(midnight(a[1].date()?)?, a[0].interval()?)),
    rows("- (date, interval) -> timestamp", |_, a| moved(midnight(a[0].date()?)?, negated(a[1].interval()?))),
    rows("+ (date, time) -> timestamp", |_, a| date_at(a[0].date()?, a[1].time()?)),
    rows("+ (time, date) -> timestamp", |_, a| date_at(a[1].date()?, a[0].time()?)),
    rows("+ (timestamp, interval) -> timestamp", |_, a| moved(a[0].timestamp()?, a[1].interval()?)),
    rows("+ (interval, timestamp) -> timestamp", |_, a| moved(a[1].timestamp()?, a[0].interval()?)),
    rows("- (timestamp, interval) -> timestamp", |_, a| moved(a[0].timestamp()?, negated(a[1].interval()?))),
    rows("- (timestamp, timestamp) -> interval", |_, a| difference(a[0].timestamp()?, a[1].timestamp()?)),
    rows("+ (timestamptz, interval) -> timestamptz", |call, a| {
        moved_in(&call.zone.into(), a[0].timestamp()?, a[1].interval()?).map(Value::Timestamp)
    }),
    rows("+ (interval, timestamptz) -> timestamptz", |call, a| {
        moved_in(&call.zone.into(), a[1].timestamp()?, a[0].interval()?).map(Value::Timestamp)
    }),
    rows("- (timestamptz, interval) -> timestamptz", |call, a| {
        moved_in(&call.zone.into(), a[0].timestamp()?, negated(a[1].interval()?)).map(Value::Timestamp)
    }),
    rows("- (timestamptz, timestamptz) -> interval", |_, a| difference(a[0].timestamp()?, a[1].timestamp()?)),
    rows("+ (time, interval) -> time", |_, a| Ok(time_plus(a[0].time()?, a[1].interval()?))),
    rows("+ (interval, time) -> time", |_, a| Ok(time_plus(a[1].time()?, a[0].interval()?))),
    rows("- (time, interval) -> time", |_, a| Ok(time_plus(a[0].time()?, negated(a[1].interval()?)))),
    rows("- (time, time) -> interval", |_, a| {
        Ok(Value::Interval(Interval { micros: a[0].time()? - a[1].time()?, ..Interval::default() }))
    }),
];

/// By what Postgres orders and compares intervals: equal ones, such as 30 days and a month, have equal keys.
pub(in crate::sql) fn interval_key(interval: Interval) -> i128 {
    let days = i64::from(interval.months) * i64::from(MONTH_DAYS) + i64::from(interval.days);
    i128::from(days) * i128::from(DAY_MICROS) + i128::from(interval.micros)
}

fn key(value: &Value<'_>) -> Result<i128> {
    value.interval().map(interval_key)
}

/// The sum of each of the parts.
pub(in crate::sql) fn plus(one: Interval, other: Interval) -> Result<Interval> {
    parts(one.months.checked_add(other.months), one.days.checked_add(other.days), one.micros.checked_add(other.micros))
}

/// The difference of each of the parts.
pub(in crate::sql) fn minus(one: Interval, other: Interval) -> Result<Interval> {
    parts(one.months.checked_sub(other.months), one.days.checked_sub(other.days), one.micros.checked_sub(other.micros))
}

fn parts(months: Option<i32>, days: Option<i32>, micros: Option<i64>) -> Result<Interval> {
    let (Some(months), Some(days), Some(micros)) = (months, days, micros) else { return Err(interval_out_of_range()) };
    Ok(Interval { months, days, micros })
}

pub(super) fn interval_out_of_range() -> Error {
    fault("22008", "interval out of range")
}

/// Without the check that `-` makes, as where Postgres subtracts an interval by adding its opposite.
fn negated(interval: Interval) -> Interval {
    Interval {
        months: interval.months.wrapping_neg(),
        days: interval.days.wrapping_neg(),
        micros: interval.micros.wrapping_neg(),
    }
}

/// `interval * factor`.
pub(in crate::sql) fn times(interval: Interval, factor: f64) -> Result<Interval> {
    cascaded(interval, |part| part * factor)
}

/// `interval / divisor`, which averages are made with, too.
pub(in crate::sql) fn divided(interval: Interval, divisor: f64) -> Result<Interval> {
    if divisor == 0.0 {
        return Err(fault("22012", "division by zero"));
    }
    cascaded(interval, |part| part / divisor)
}

/// Fractions go down, of months to days and of days to the time, and never up.
///
/// Source: `interval_mul` of Postgres, the roundings included.
fn cascaded(interval: Interval, scaled: impl Fn(f64) -> f64) -> Result<Interval> {
    let round = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let (months, days) = (scaled(f64::from(interval.months)), scaled(f64::from(interval.days)));
    let (whole_months, mut whole_days) = (whole(months)?, whole(days)?);
    let month_days = round((months - f64::from(whole_months)) * f64::from(MONTH_DAYS));
    let mut seconds = round((days - f64::from(whole_days) + month_days - month_days.trunc()) * DAY_SECONDS);
    if seconds.abs() >= DAY_SECONDS {
        let carried = (seconds / DAY_SECONDS).trunc();
        whole_days = whole_days.checked_add(whole(carried)?).ok_or_else(interval_out_of_range)?;
        seconds -= carried * DAY_SECONDS;
    }
    let days = whole_days.checked_add(whole(month_days)?).ok_or_else(interval_out_of_range)?;
    let micros = (scaled(float(interval.micros)) + seconds * 1e6).round_ties_even();
    Ok(Interval { months: whole_months, days, micros: whole_micros(micros).ok_or_else(interval_out_of_range)? })
}

/// The integer before the point, where there is room for it.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and the fraction is not wanted")]
fn whole(value: f64) -> Result<i32> {
    let limit = -f64::from(i32::MIN);
    (-limit..limit).contains(&value).then_some(value as i32).ok_or_else(interval_out_of_range)
}

/// The same in 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and the fraction is not wanted")]
pub(super) fn whole_micros(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (-LIMIT..LIMIT).contains(&value).then_some(value as i64)
}

/// The nearest float.
#[expect(clippy::cast_precision_loss, reason = "Postgres computes with the nearest float as well")]
pub(super) fn float(value: i64) -> f64 {
    value as f64
}

fn date_plus(date: i32, days: i64) -> Result<Value<'static>> {
    if !is_finite_date(date) {
        return Ok(Value::Date(date));
    }
    date_of(i64::from(date) + EPOCH_JULIAN + days).map(Value::Date).ok_or_else(|| fault("22008", "date out of range"))
}

fn date_difference(later: i32, earlier: i32) -> Result<Value<'static>> {
    if !is_finite_date(later) || !is_finite_date(earlier) {
        return Err(fault("22008", "cannot subtract infinite dates"));
    }
    Ok(Value::Int(i64::from(later.wrapping_sub(earlier))))
}

fn date_at(date: i32, time: i64) -> Result<Value<'static>> {
    let midnight = midnight(date)?;
    if !is_finite(midnight) {
        return Ok(Value::Timestamp(midnight));
    }
    in_range(midnight.checked_add(time)).map(Value::Timestamp)
}

fn time_plus(time: i64, interval: Interval) -> Value<'static> {
    Value::Time(time.wrapping_add(interval.micros).rem_euclid(DAY_MICROS))
}

/// The time between, as days and a time of the same sign.
fn difference(later: i64, earlier: i64) -> Result<Value<'static>> {
    if !is_finite(later) || !is_finite(earlier) {
        return Err(fault("22008", "cannot subtract infinite timestamps"));
    }
    let micros = later.wrapping_sub(earlier);
    let days = i32::try_from(micros / DAY_MICROS).map_err(|_| interval_out_of_range())?;
    Ok(Value::Interval(Interval { months: 0, days, micros: micros % DAY_MICROS }))
}

fn moved(timestamp: i64, interval: Interval) -> Result<Value<'static>> {
    timestamp_plus(timestamp, interval).map(Value::Timestamp)
}

/// `timestamp + interval`.
pub(in crate::sql) fn timestamp_plus(timestamp: i64, interval: Interval) -> Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let mut moved = timestamp;
    if interval.months != 0 {
        let mut fields = Fields::of(moved);
        fields.plus_months(i64::from(interval.months));
        moved = in_range(Some(fields.local()?))?;
    }
    if interval.days != 0 {
        let days = i64::from(interval.days).checked_mul(DAY_MICROS);
        moved = in_range(days.and_then(|days| moved.checked_add(days)))?;
    }
    in_range(moved.checked_add(interval.micros))
}

/// `timestamptz + interval` on the zone's clock: a day more is the same time of day, also where the clock has been changed.
pub(in crate::sql) fn moved_in(zone: &Zone, instant: i64, interval: Interval) -> Result<i64> {
    if !is_finite(instant) {
        return Ok(instant);
    }
    let mut moved = instant;
    if interval.months != 0 {
        let mut fields = Fields::of(zone.local_of(moved)?);
        fields.plus_months(i64::from(interval.months));
        moved = instant_of(zone, fields.local()?)?;
    }
    if interval.days != 0 {
        let mut fields = Fields::of(zone.local_of(moved)?);
        let julian = fields.julian() + i64::from(interval.days);
        if julian < -1 {
            return Err(timestamp_out_of_range());
        }
        (fields.year, fields.month, fields.day) = civil(julian);
        moved = instant_of(zone, fields.local()?)?;
    }
    in_range(moved.checked_add(interval.micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn interval(months: i32, days: i32, micros: i64) -> Interval {
        Interval { months, days, micros }
    }

    #[test]
    fn fractions_go_down() {
        let check = |months, days, factor, expect| {
            assert_eq!(times(interval(months, days, 0), factor).unwrap(), expect, "{months} {days} * {factor}");
        };
        check(12, 0, 0.3, interval(3, 18, 0));
        check(1, 0, 1.0 / 7.0, interval(0, 4, 24_685_689_600));
        check(0, 1, 1e-11, interval(0, 0, 1));
        check(0, 1, -0.1, interval(0, 0, -8_640_000_000));
        assert_eq!(times(interval(1, 0, 0), 1e10).unwrap_err().sqlstate(), Some("22008"));
        assert_eq!(divided(interval(1, 0, 0), 0.0).unwrap_err().sqlstate(), Some("22012"));
    }

    #[test]
    fn months_and_days_are_of_the_clock() {
        let zone = &Zone::from(chrono_tz::Tz::Europe__Berlin);
        let at = |year, month, day, hour| {
            let local = Fields { year, month, day, hour, minute: 0, second: 0, micros: 0 }.local().unwrap();
            instant_of(zone, local).unwrap()
        };
        let check = |from, by, expect| assert_eq!(moved_in(zone, from, by).unwrap(), expect, "{from} + {by:?}");
        check(at(2024, 3, 30, 12), interval(0, 1, 0), at(2024, 3, 31, 12));
        check(at(2024, 3, 30, 12), interval(0, 0, DAY_MICROS), at(2024, 3, 31, 13));
        check(at(2024, 1, 31, 12), interval(1, 0, 0), at(2024, 2, 29, 12));
        check(at(2024, 1, 31, 12), interval(-11, -1, 0), at(2023, 2, 27, 12));
        check(i64::MAX, interval(1, 1, 1), i64::MAX);
    }

    #[test]
    fn a_month_is_30_days_where_intervals_are_compared() {
        assert_eq!(interval_key(interval(1, -30, 0)), 0);
        assert!(interval_key(interval(12, 0, 0)) < interval_key(interval(0, 365, 0)));
        assert!(interval_key(interval(i32::MAX, i32::MAX, i64::MAX)) > i128::from(i64::MAX));
    }
}
