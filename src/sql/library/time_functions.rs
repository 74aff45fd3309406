//! Functions that make dates, times and intervals, compare spans of them, and put the parts of intervals in order.

use super::{
    calendar::days_in_month,
    interval_math::{float, interval_out_of_range, moved_in, timestamp_plus, whole_micros},
    time_fields::{
        DAY_MICROS, Fields, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS, date_of, in_range, instant_of, is_finite,
        is_finite_date, is_julian, julian, timestamp_out_of_range,
    },
    zone::Zone,
};
use crate::{
    error::Result,
    sql::function::{Call, Entry, Interval, Value, fault, rows},
};

const MONTH_DAYS: i32 = 30;
/// From 1970 to 2000, where Postgres counts from.
const EPOCH_SECONDS: i64 = 946_684_800;
/// 4714-11-24 BC.
const SECONDS_MIN: f64 = -210_866_803_200.0;
/// The last hour of an offset from UTC.
const OFFSET_HOURS_MAX: i64 = 15;

/// The functions.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("age(timestamp, timestamp) -> interval", |_, a| {
        age(&Zone::Fixed(0), a[0].timestamp()?, a[1].timestamp()?).map(Value::Interval)
    }),
    rows("age(timestamptz, timestamptz) -> interval", |call, a| {
        age(&call.zone.into(), a[0].timestamp()?, a[1].timestamp()?).map(Value::Interval)
    }),
    rows("date_bin(interval, timestamp, timestamp) -> timestamp", date_bin),
    rows("date_bin(interval, timestamptz, timestamptz) -> timestamptz", date_bin),
    rows("make_date(int4, int4, int4) -> date", |_, a| make_date(a[0].int()?, a[1].int()?, a[2].int()?)),
    rows("make_time(int4, int4, float8) -> time", |_, a| {
        make_time(a[0].int()?, a[1].int()?, a[2].float()?).map(Value::Time)
    }),
    rows("make_timestamp(int4, int4, int4, int4, int4, float8) -> timestamp", |_, a| {
        make_timestamp(a).map(Value::Timestamp)
    }),
    rows("make_timestamptz(int4, int4, int4, int4, int4, float8) -> timestamptz", |call, a| {
        instant_of(&call.zone.into(), make_timestamp(a)?).map(Value::Timestamp)
    }),
    rows("make_timestamptz(int4, int4, int4, int4, int4, float8, text) -> timestamptz", |_, a| {
        let local = make_timestamp(a)?;
        instant_of(&written_zone(a[6].text()?)?, local).map(Value::Timestamp)
    }),
    rows("make_interval() -> interval", make_interval),
    rows("make_interval(int4) -> interval", make_interval),
    rows("make_interval(int4, int4) -> interval", make_interval),
    rows("make_interval(int4, int4, int4) -> interval", make_interval),
    rows("make_interval(int4, int4, int4, int4) -> interval", make_interval),
    rows("make_interval(int4, int4, int4, int4, int4) -> interval", make_interval),
    rows("make_interval(int4, int4, int4, int4, int4, int4) -> interval", make_interval),
    rows("make_interval(int4, int4, int4, int4, int4, int4, float8) -> interval", make_interval),
    rows("justify_days(interval) -> interval", |_, a| justify_days(a[0].interval()?).map(Value::Interval)),
    rows("justify_hours(interval) -> interval", |_, a| justify_hours(a[0].interval()?).map(Value::Interval)),
    rows("justify_interval(interval) -> interval", |_, a| justify_interval(a[0].interval()?).map(Value::Interval)),
    rows("isfinite(date) -> bool", |_, a| Ok(Value::Bool(is_finite_date(a[0].date()?)))),
    rows("isfinite(timestamp) -> bool", |_, a| Ok(Value::Bool(is_finite(a[0].timestamp()?)))),
    rows("isfinite(timestamptz) -> bool", |_, a| Ok(Value::Bool(is_finite(a[0].timestamp()?)))),
    rows("isfinite(interval) -> bool", |_, _| Ok(Value::Bool(true))),
    rows("overlaps(timestamp, timestamp, timestamp, timestamp) -> bool", overlaps).takes_null(),
    rows("overlaps(timestamp, timestamp, timestamp, interval) -> bool", overlaps).takes_null(),
    rows("overlaps(timestamp, interval, timestamp, timestamp) -> bool", overlaps).takes_null(),
    rows("overlaps(timestamp, interval, timestamp, interval) -> bool", overlaps).takes_null(),
    rows("overlaps(timestamptz, timestamptz, timestamptz, timestamptz) -> bool", overlaps_in_zone).takes_null(),
    rows("overlaps(timestamptz, timestamptz, timestamptz, interval) -> bool", overlaps_in_zone).takes_null(),
    rows("overlaps(timestamptz, interval, timestamptz, timestamptz) -> bool", overlaps_in_zone).takes_null(),
    rows("overlaps(timestamptz, interval, timestamptz, interval) -> bool", overlaps_in_zone).takes_null(),
    rows("overlaps(time, time, time, time) -> bool", overlaps).takes_null(),
    rows("overlaps(time, time, time, interval) -> bool", overlaps).takes_null(),
    rows("overlaps(time, interval, time, time) -> bool", overlaps).takes_null(),
    rows("overlaps(time, interval, time, interval) -> bool", overlaps).takes_null(),
    rows("to_timestamp(float8) -> timestamptz", |_, a| to_timestamp(a[0].float()?)),
];

/// The difference of what the clock shows at two moments, in years, months, days and time.
///
/// The days of a month that is not whole are those of the earlier moment's month.
fn age(zone: &Zone, one: i64, other: i64) -> Result<Interval> {
    let is_negative = one < other;
    let (later, earlier) = if is_negative { (other, one) } else { (one, other) };
    let (later, earlier) = (shown(zone, later)?, shown(zone, earlier)?);
    let mut months = (later.year - earlier.year) * 12 + later.month - earlier.month;
    let mut days = later.day - earlier.day;
    let mut micros = later.time() - earlier.time();
    if micros < 0 {
        micros += DAY_MICROS;
        days -= 1;
    }
    while days < 0 {
        days += days_in_month(earlier.year, earlier.month);
        months -= 1;
    }
    let sign = if is_negative { -1 } else { 1 };
    match (i32::try_from(sign * months), i32::try_from(sign * days)) {
        (Ok(months), Ok(days)) => Ok(Interval { months, days, micros: sign * micros }),
        _ => Err(interval_out_of_range()),
    }
}

/// What the clock shows. Infinity is a moment for `age`, the last that Postgres's integers hold.
fn shown(zone: &Zone, moment: i64) -> Result<Fields> {
    const CYCLE_YEARS: i64 = 400;
    const CYCLE_MICROS: i64 = 146_097 * DAY_MICROS;
    match moment {
        i64::MIN => Err(timestamp_out_of_range()),
        i64::MAX => {
            let like = i64::MAX - CYCLE_MICROS + EPOCH_SECONDS * SECOND_MICROS;
            let fields = Fields::of(zone.local_of(like)?);
            Ok(Fields { year: fields.year + CYCLE_YEARS, ..fields })
        }
        moment => zone.local_of(moment).map(Fields::of),
    }
}

/// The start of the stride that a moment is in; strides are counted from an origin.
fn date_bin(_: &Call<'_>, arguments: &[Value<'_>]) -> Result<Value<'static>> {
    let (stride, moment, origin) = (arguments[0].interval()?, arguments[1].timestamp()?, arguments[2].timestamp()?);
    if !is_finite(moment) {
        return Ok(Value::Timestamp(moment));
    }
    if !is_finite(origin) {
        return Err(fault("22008", "origin out of range"));
    }
    if stride.months != 0 {
        return Err(fault("0A000", "timestamps cannot be binned into intervals containing months or years"));
    }
    let days = i64::from(stride.days).checked_mul(DAY_MICROS);
    let stride = days.and_then(|days| days.checked_add(stride.micros)).ok_or_else(interval_out_of_range)?;
    if stride <= 0 {
        return Err(fault("22008", "stride must be greater than zero"));
    }
    let since = moment.checked_sub(origin).ok_or_else(interval_out_of_range)?;
    in_range(moment.checked_sub(since.rem_euclid(stride))).map(Value::Timestamp)
}

/// The date's Julian day, after the checks of its fields. A negative year is one before Christ.
fn checked_julian(year: i64, month: i64, day: i64) -> Option<(i64, bool)> {
    let astronomical = if year < 0 { year + 1 } else { year };
    let is_year = year != 0 && year != i64::from(i32::MIN);
    let is_date = is_year && (1..=12).contains(&month) && (1..=days_in_month(astronomical, month)).contains(&day);
    is_date.then(|| (julian(astronomical, month, day), is_julian(astronomical, month)))
}

fn make_date(year: i64, month: i64, day: i64) -> Result<Value<'static>> {
    // Postgres shows the year as it counts it inside, except the one that it cannot turn round.
    let shown = if year < 0 && year != i64::from(i32::MIN) { year + 1 } else { year };
    let Some((julian, is_julian)) = checked_julian(year, month, day) else {
        return Err(fault("22008", format!("date field value out of range: {shown}-{month:02}-{day:02}")));
    };
    let date = date_of(julian).filter(|_| is_julian);
    date.map(Value::Date).ok_or_else(|| fault("22008", format!("date out of range: {shown}-{month:02}-{day:02}")))
}

/// Microseconds since midnight; up to 24:00.
fn make_time(hour: i64, minute: i64, second: f64) -> Result<i64> {
    let micros = whole_micros((second * 1e6).round_ties_even()).filter(|micros| (0..=MINUTE_MICROS).contains(micros));
    let is_time = (0..=24).contains(&hour) && (0..60).contains(&minute);
    let time = micros.filter(|_| is_time).map(|micros| hour * HOUR_MICROS + minute * MINUTE_MICROS + micros);
    time.filter(|&time| time <= DAY_MICROS).ok_or_else(|| {
        let shown = padded_general(second);
        fault("22008", format!("time field value out of range: {hour}:{minute:02}:{shown}"))
    })
}

fn make_timestamp(arguments: &[Value<'_>]) -> Result<i64> {
    let [year, month, day, hour, minute, second, ..] = arguments else { return Err(timestamp_out_of_range()) };
    let (year, month, day) = (year.int()?, month.int()?, day.int()?);
    let (hour, minute, second) = (hour.int()?, minute.int()?, second.float()?);
    let Some((day_number, is_julian)) = checked_julian(year, month, day) else {
        return Err(fault("22008", format!("date field value out of range: {year}-{month:02}-{day:02}")));
    };
    if !is_julian {
        return Err(fault("22008", format!("date out of range: {year}-{month:02}-{day:02}")));
    }
    let time = make_time(hour, minute, second)?;
    let days = day_number - julian(1970, 1, 1);
    in_range(days.checked_mul(DAY_MICROS).and_then(|micros| micros.checked_add(time))).map_err(|_| {
        let shown = padded_general(second);
        let message = format!("timestamp out of range: {year}-{month:02}-{day:02} {hour}:{minute:02}:{shown}");
        fault("22008", message)
    })
}

/// The zone of `make_timestamptz`: an offset with its sign as in a timestamp, an abbreviation or a name.
fn written_zone(name: &str) -> Result<Zone> {
    if name.starts_with(|letter: char| letter.is_ascii_digit()) {
        let error = fault("22023", format!("invalid input syntax for type numeric time zone: \"{name}\""));
        return Err(error.with_hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    let sign = match name.chars().next() {
        Some('+') => 1,
        Some('-') => -1,
        _ => return Zone::parse(name),
    };
    let out_of_range = || fault("22023", format!("numeric time zone \"{name}\" out of range"));
    let number = |text: &'_ str| -> Result<(i64, usize)> {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let number = text.get(..end).filter(|digits| !digits.is_empty()).map_or(Ok(0), str::parse::<i32>);
        Ok((number.map_err(|_| out_of_range())?.into(), end))
    };
    let (mut hours, mut end) = number(&name[1..])?;
    let (mut minutes, mut seconds) = (0, 0);
    end += 1;
    if let Some(after) = name[end..].strip_prefix(':') {
        let length;
        (minutes, length) = number(after)?;
        end += 1 + length;
        if let Some(after) = name[end..].strip_prefix(':') {
            let length;
            (seconds, length) = number(after)?;
            end += 1 + length;
        }
    } else if end == name.len() && end > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if hours > OFFSET_HOURS_MAX || minutes >= 60 || seconds >= 60 {
        return Err(out_of_range());
    }
    if end < name.len() {
        return Zone::parse(name);
    }
    Ok(Zone::Fixed(sign * (hours * 3_600 + minutes * 60 + seconds)))
}

/// Years, months, weeks, days, hours, minutes and seconds, as many of them as there are. Integers wrap, as in Postgres 15.
fn make_interval(_: &Call<'_>, arguments: &[Value<'_>]) -> Result<Value<'static>> {
    let part = |index: usize| match arguments.get(index) {
        Some(part) => part.int().and_then(|part| i32::try_from(part).map_err(|_| interval_out_of_range())),
        None => Ok(0),
    };
    let seconds = arguments.get(6).map_or(Ok(0.0), Value::float)?;
    if !seconds.is_finite() {
        return Err(interval_out_of_range());
    }
    let hours = i64::from(part(4)?) * HOUR_MICROS;
    let minutes = i64::from(part(5)?) * MINUTE_MICROS;
    let micros = whole_micros((seconds * 1e6).round_ties_even()).unwrap_or(i64::MIN);
    Ok(Value::Interval(Interval {
        months: part(0)?.wrapping_mul(12).wrapping_add(part(1)?),
        days: part(2)?.wrapping_mul(7).wrapping_add(part(3)?),
        micros: hours.wrapping_add(minutes).wrapping_add(micros),
    }))
}

/// 30 days become a month.
fn justify_days(mut interval: Interval) -> Result<Interval> {
    carry_days(&mut interval)?;
    if interval.months > 0 && interval.days < 0 {
        interval.days += MONTH_DAYS;
        interval.months -= 1;
    } else if interval.months < 0 && interval.days > 0 {
        interval.days -= MONTH_DAYS;
        interval.months += 1;
    }
    Ok(interval)
}

/// 24 hours become a day.
fn justify_hours(mut interval: Interval) -> Result<Interval> {
    carry_hours(&mut interval)?;
    align_time(&mut interval);
    Ok(interval)
}

/// Both, and all parts get the same sign.
fn justify_interval(mut interval: Interval) -> Result<Interval> {
    let goes_further = (interval.days > 0 && interval.micros > 0) || (interval.days < 0 && interval.micros < 0);
    if goes_further {
        carry_days(&mut interval)?;
    }
    carry_hours(&mut interval)?;
    carry_days(&mut interval)?;
    let below = (interval.days, interval.micros);
    if interval.months > 0 && below < (0, 0) {
        interval.days += MONTH_DAYS;
        interval.months -= 1;
    } else if interval.months < 0 && below > (0, 0) {
        interval.days -= MONTH_DAYS;
        interval.months += 1;
    }
    align_time(&mut interval);
    Ok(interval)
}

fn carry_days(interval: &mut Interval) -> Result<()> {
    let months = interval.months.checked_add(interval.days / MONTH_DAYS);
    interval.months = months.ok_or_else(interval_out_of_range)?;
    interval.days %= MONTH_DAYS;
    Ok(())
}

fn carry_hours(interval: &mut Interval) -> Result<()> {
    let days = i32::try_from(interval.micros / DAY_MICROS).ok().and_then(|days| interval.days.checked_add(days));
    interval.days = days.ok_or_else(interval_out_of_range)?;
    interval.micros %= DAY_MICROS;
    Ok(())
}

fn align_time(interval: &mut Interval) {
    if interval.days > 0 && interval.micros < 0 {
        interval.micros += DAY_MICROS;
        interval.days -= 1;
    } else if interval.days < 0 && interval.micros > 0 {
        interval.micros -= DAY_MICROS;
        interval.days += 1;
    }
}

fn overlaps(_: &Call<'_>, arguments: &[Value<'_>]) -> Result<Value<'static>> {
    spans_overlap(arguments, timestamp_plus)
}

fn overlaps_in_zone(call: &Call<'_>, arguments: &[Value<'_>]) -> Result<Value<'static>> {
    let zone = call.zone.into();
    spans_overlap(arguments, |moment, interval| moved_in(&zone, moment, interval))
}

/// Whether two spans have a moment in common: each from a start, to an end or for an interval.
///
/// A span holds its start and not its end; its ends may be given in any order, and one of them may be unknown.
fn spans_overlap(arguments: &[Value<'_>], plus: impl Fn(i64, Interval) -> Result<i64>) -> Result<Value<'static>> {
    let [start, end, other_start, other_end] = arguments else { return Ok(Value::Null) };
    let end_of = |start: &Value<'_>, end: &Value<'_>| match (start, end) {
        (Value::Null, Value::Interval(_)) => Ok(None),
        (Value::Time(start), Value::Interval(span)) => Ok(Some(start.wrapping_add(span.micros).rem_euclid(DAY_MICROS))),
        (start, Value::Interval(span)) => plus(start.timestamp()?, *span).map(Some),
        (_, end) => moment(end),
    };
    let one = ordered(moment(start)?, end_of(start, end)?);
    let other = ordered(moment(other_start)?, end_of(other_start, other_end)?);
    let (Some((start, end)), Some((other_start, other_end))) = (one, other) else { return Ok(Value::Null) };
    let (later, end, other_end) =
        if start < other_start { (other_start, other_end, end) } else { (start, end, other_end) };
    if start == other_start {
        return Ok(if end.is_some() && other_end.is_some() { Value::Bool(true) } else { Value::Null });
    }
    Ok(match other_end {
        None => Value::Null,
        Some(other_end) if later < other_end => Value::Bool(true),
        Some(_) if end.is_none() => Value::Null,
        Some(_) => Value::Bool(false),
    })
}

fn moment(value: &Value<'_>) -> Result<Option<i64>> {
    match value {
        Value::Null => Ok(None),
        Value::Time(time) => Ok(Some(*time)),
        moment => moment.timestamp().map(Some),
    }
}

fn ordered(start: Option<i64>, end: Option<i64>) -> Option<(i64, Option<i64>)> {
    match (start, end) {
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (Some(known), None) | (None, Some(known)) => Some((known, None)),
        (None, None) => None,
    }
}

/// The moment so many seconds after 1970 began.
fn to_timestamp(seconds: f64) -> Result<Value<'static>> {
    if seconds.is_nan() {
        return Err(fault("22008", "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(Value::Timestamp(if seconds < 0.0 { i64::MIN } else { i64::MAX }));
    }
    // Postgres rounds from 2000 on, where floats are finer.
    let since_2000 = whole_micros(((seconds - float(EPOCH_SECONDS)) * 1e6).round_ties_even());
    let micros = since_2000.and_then(|micros| micros.checked_add(EPOCH_SECONDS * SECOND_MICROS));
    in_range(micros.filter(|_| seconds >= SECONDS_MIN))
        .map(Value::Timestamp)
        .map_err(|_| fault("22008", format!("timestamp out of range: \"{}\"", general(seconds))))
}

/// As C's `%02g` writes it.
fn padded_general(value: f64) -> String {
    let shown = general(value);
    if shown.len() == 1 { format!("0{shown}") } else { shown }
}

/// As C's `%g` writes it: six digits, without zeros at their end.
fn general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Infinity".to_owned() } else { "Infinity".to_owned() };
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trimmed = |digits: &str| {
        let end =
            if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.').len() } else { digits.len() };
        digits[..end].to_owned()
    };
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(digits), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(5 - exponent).unwrap_or_default();
    trimmed(&format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn interval(months: i32, days: i32, micros: i64) -> Interval {
        Interval { months, days, micros }
    }

    #[test]
    fn ages_have_years_months_and_days() {
        let at = |year, month, day, hour| {
            Fields { year, month, day, hour, minute: 0, second: 0, micros: 0 }.local().unwrap()
        };
        let check = |one, other, expect| {
            assert_eq!(age(&Zone::Fixed(0), one, other).unwrap(), expect, "{one} {other}");
        };
        check(at(2024, 3, 1, 0), at(2024, 1, 31, 0), interval(1, 1, 0));
        check(at(2024, 1, 31, 0), at(2024, 3, 1, 12), interval(-1, -1, -12 * HOUR_MICROS));
        check(at(2001, 4, 10, 0), at(1957, 6, 13, 0), interval(43 * 12 + 9, 27, 0));
    }

    #[test]
    fn intervals_are_justified() {
        let check = |given, expect| assert_eq!(justify_interval(given).unwrap(), expect, "{given:?}");
        check(interval(1, 0, -HOUR_MICROS), interval(0, 29, 23 * HOUR_MICROS));
        check(interval(0, -400, 3 * HOUR_MICROS), interval(-13, -9, -21 * HOUR_MICROS));
        assert_eq!(justify_hours(interval(0, 0, 50 * HOUR_MICROS)).unwrap(), interval(0, 2, 2 * HOUR_MICROS));
        assert_eq!(justify_days(interval(0, 65, 0)).unwrap(), interval(2, 5, 0));
    }

    #[test]
    fn spans_with_unknown_ends() {
        let check = |span: [Option<i64>; 4], expect: Option<bool>| {
            let arguments = span.map(|moment| moment.map_or(Value::Null, Value::Timestamp));
            let found = spans_overlap(&arguments, timestamp_plus).unwrap();
            assert_eq!(found, expect.map_or(Value::Null, Value::Bool), "{span:?}");
        };
        check([Some(1), Some(2), Some(2), Some(3)], Some(false));
        check([Some(3), Some(1), Some(2), Some(4)], Some(true));
        check([Some(2), Some(2), Some(2), Some(3)], Some(true));
        check([Some(2), None, Some(1), Some(3)], Some(true));
        check([Some(2), None, Some(2), Some(3)], None);
        check([None, None, Some(2), Some(3)], None);
    }

    #[test]
    fn numbers_in_messages() {
        let check = |value, expect| assert_eq!(padded_general(value), expect);
        check(1.0, "01");
        check(60.123_456_789, "60.1235");
        check(1e10, "1e+10");
        check(0.000_012_5, "1.25e-05");
        check(-5.0, "-5");
        check(float(999_999_999), "1e+09");
    }
}
