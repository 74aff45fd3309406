//! `extract` and `date_part`: single fields of dates, times and intervals.

use arrow::datatypes::i256;

use super::{
    interval_math::float,
    time_fields::{
        DAY_MICROS, EPOCH_JULIAN, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS, civil, day_of_week, is_finite,
        is_finite_date, iso_week, julian, midnight,
    },
    time_units::{Unit, field, lowered},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Argument, Call, Decimal, Entry, Interval, Value, fault, rows},
};

const MICROS_DIGITS: u8 = 6;
const MILLIS_DIGITS: u8 = 3;
const WHOLE: (u8, i8) = (19, 0);
const SECONDS: (u8, i8) = (28, 6);

/// The functions.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("extract(text, date) -> numeric", |call, a| extract_date(call, a).and_then(Part::numeric)).scaled(|_| WHOLE),
    rows("extract(text, timestamp) -> numeric", |call, a| extract_timestamp(call, a).and_then(Part::numeric))
        .scaled(scale),
    rows("extract(text, timestamptz) -> numeric", |call, a| extract_timestamptz(call, a).and_then(Part::numeric))
        .scaled(scale),
    rows("extract(text, time) -> numeric", |call, a| extract_time(call, a).and_then(Part::numeric)).scaled(scale),
    rows("extract(text, interval) -> numeric", |call, a| extract_interval(call, a).and_then(Part::numeric))
        .scaled(scale),
    rows("date_part(text, date) -> float8", |call, a| {
        let moment = Value::Timestamp(midnight(a[1].date()?)?);
        extract_timestamp(call, &[a[0].clone(), moment]).map(Part::float)
    }),
    rows("date_part(text, timestamp) -> float8", |call, a| extract_timestamp(call, a).map(Part::float)),
    rows("date_part(text, timestamptz) -> float8", |call, a| extract_timestamptz(call, a).map(Part::float)),
    rows("date_part(text, time) -> float8", |call, a| extract_time(call, a).map(Part::float)),
    rows("date_part(text, interval) -> float8", |call, a| extract_interval(call, a).map(Part::float)),
];

/// What was found, exact enough for both functions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// Of an infinite date, a field that cycles.
    Null,
    /// Of an infinite date, a field that grows; negative or not.
    Infinite(bool),
    Whole(i64),
    /// Of the second: milliseconds.
    Millis(i64),
    /// Of the second: microseconds, shown as seconds.
    Micros(i64),
    /// Microseconds, shown as seconds.
    Epoch(i64),
    /// Of an interval: its days and months, and its time.
    Span(Interval),
    /// Day, and microseconds since it began.
    Julian(i64, i64),
}

impl Part {
    fn numeric(self) -> Result<Value<'static>> {
        let (unscaled, scale) = match self {
            Self::Null => return Ok(Value::Null),
            Self::Infinite(_) => return Err(fault("0A000", "infinite numerics are not supported")),
            Self::Whole(whole) => (i256::from(whole), 0),
            Self::Millis(micros) => (i256::from(micros), MILLIS_DIGITS),
            Self::Micros(micros) | Self::Epoch(micros) => (i256::from(micros), MICROS_DIGITS),
            Self::Span(span) => (i256::from_i128(span_micros(span)), MICROS_DIGITS),
            Self::Julian(day, micros) => julian_digits(day, micros),
        };
        Ok(Value::Numeric(Decimal { unscaled, scale }))
    }

    fn float(self) -> Value<'static> {
        let seconds = |micros: i64| float(micros / SECOND_MICROS) + float(micros % SECOND_MICROS) / 1e6;
        Value::Float(match self {
            Self::Null => return Value::Null,
            Self::Infinite(true) => f64::NEG_INFINITY,
            Self::Infinite(false) => f64::INFINITY,
            Self::Whole(whole) => float(whole),
            Self::Millis(micros) => float(micros / SECOND_MICROS) * 1e3 + float(micros % SECOND_MICROS) / 1e3,
            Self::Micros(micros) => seconds(micros),
            Self::Epoch(micros) => float(micros) / 1e6,
            Self::Span(span) => {
                let years = 365.25 * 86_400.0 * f64::from(span.months / 12);
                let months = 30.0 * 86_400.0 * f64::from(span.months % 12);
                float(span.micros) / 1e6 + years + months + 86_400.0 * f64::from(span.days)
            }
            Self::Julian(day, micros) => {
                let time = float(micros / SECOND_MICROS) + float(micros % SECOND_MICROS) / 1e6;
                float(day) + time / 86_400.0
            }
        })
    }
}

/// All of an interval as microseconds; a year has 365.25 days, a month 30.
fn span_micros(span: Interval) -> i128 {
    let quarter_days =
        1_461 * i128::from(span.months / 12) + 120 * i128::from(span.months % 12) + 4 * i128::from(span.days);
    quarter_days * i128::from(DAY_MICROS / 4) + i128::from(span.micros)
}

/// The day and its part, with as many digits as Postgres divides to: 16 that count, in groups of four.
fn julian_digits(day: i64, micros: i64) -> (i256, u8) {
    // A quotient's first group is counted from the first groups of both; that of a day is 864, of three groups.
    let (groups, first) = match micros {
        0..10_000 => (1, micros),
        10_000..100_000_000 => (2, micros / 10_000),
        _ => (3, micros / 100_000_000),
    };
    let missing = 3 - groups + i8::from(first <= 864);
    let digits = 16 + 4 * u8::try_from(missing).unwrap_or_default();
    let power = i256::from_i128(10_i128.pow(u32::from(digits)));
    let day_length = i256::from(DAY_MICROS);
    let part = (i256::from(micros) * power + day_length / i256::from(2)) / day_length;
    (i256::from(day) * power + part, digits)
}

/// By the field, where the statement names it; else for the field that has most digits.
fn scale(arguments: &[Argument<'_>]) -> (u8, i8) {
    let name = arguments.first().and_then(|argument| argument.literal?.try_as_str()?);
    match name.map(|name| field(&lowered(name))) {
        Some(Some(Unit::Second | Unit::Epoch)) => SECONDS,
        Some(Some(Unit::Millisecond)) => (19, 3),
        Some(Some(Unit::Julian)) => (38, 28),
        Some(_) => WHOLE,
        None => (48, 28),
    }
}

/// The field's name as it is in messages, and the field.
fn named(call: &Call<'_>, name: &Value<'_>) -> Result<std::rc::Rc<(String, Option<Unit>)>> {
    call.prepared(name.text()?, |name| {
        let lowered = lowered(name);
        let unit = field(&lowered);
        Ok((lowered, unit))
    })
}

fn not_recognized(name: &str, kind: &str) -> Error {
    fault("22023", format!("unit \"{name}\" not recognized for type {kind}"))
}

fn not_supported(name: &str, kind: &str) -> Error {
    fault("0A000", format!("unit \"{name}\" not supported for type {kind}"))
}

fn extract_date(call: &Call<'_>, arguments: &[Value<'_>]) -> Result<Part> {
    const KIND: &str = "date";
    let (named, date) = (named(call, &arguments[0])?, arguments[1].date()?);
    let (name, Some(unit)) = (&named.0, named.1) else { return Err(not_recognized(&named.0, KIND)) };
    let day = i64::from(date) + EPOCH_JULIAN;
    let part = match unit {
        Unit::Epoch => Some(Part::Whole(i64::from(date) * (DAY_MICROS / SECOND_MICROS))),
        Unit::Julian => Some(Part::Whole(day)),
        unit => date_field(unit, civil(day)).map(Part::Whole),
    };
    let part = part.ok_or_else(|| not_supported(name, KIND))?;
    Ok(if is_finite_date(date) { part } else { infinite(unit, date < 0) })
}

fn extract_timestamp(call: &Call<'_>, arguments: &[Value<'_>]) -> Result<Part> {
    const KIND: &str = "timestamp without time zone";
    let (named, moment) = (named(call, &arguments[0])?, arguments[1].timestamp()?);
    let (name, Some(unit)) = (&named.0, named.1) else { return Err(not_recognized(&named.0, KIND)) };
    if !is_finite(moment) && is_of_zone(unit) {
        return Ok(Part::Null);
    }
    let part = moment_field(unit, moment, moment).ok_or_else(|| not_supported(name, KIND))?;
    Ok(if is_finite(moment) { part } else { infinite(unit, moment < 0) })
}

fn extract_timestamptz(call: &Call<'_>, arguments: &[Value<'_>]) -> Result<Part> {
    const KIND: &str = "timestamp with time zone";
    let (named, moment) = (named(call, &arguments[0])?, arguments[1].timestamp()?);
    let (name, Some(unit)) = (&named.0, named.1) else { return Err(not_recognized(&named.0, KIND)) };
    if !is_finite(moment) {
        let is_known = is_of_zone(unit) || moment_field(unit, 0, 0).is_some();
        return if is_known { Ok(infinite(unit, moment < 0)) } else { Err(not_supported(name, KIND)) };
    }
    let local = Zone::from(call.zone).local_of(moment)?;
    let offset = (local - moment) / SECOND_MICROS;
    let part = match unit {
        Unit::Zone => Some(Part::Whole(offset)),
        Unit::ZoneHour => Some(Part::Whole(offset / 3_600)),
        Unit::ZoneMinute => Some(Part::Whole(offset / 60 % 60)),
        unit => moment_field(unit, local, moment),
    };
    part.ok_or_else(|| not_supported(name, KIND))
}

fn extract_time(call: &Call<'_>, arguments: &[Value<'_>]) -> Result<Part> {
    const KIND: &str = "time without time zone";
    let (named, time) = (named(call, &arguments[0])?, arguments[1].time()?);
    let (name, Some(unit)) = (&named.0, named.1) else { return Err(not_recognized(&named.0, KIND)) };
    match unit {
        Unit::Moment => Err(not_recognized(name, KIND)),
        Unit::Epoch => Ok(Part::Micros(time)),
        unit => time_field(unit, time).ok_or_else(|| not_supported(name, KIND)),
    }
}

fn extract_interval(call: &Call<'_>, arguments: &[Value<'_>]) -> Result<Part> {
    const KIND: &str = "interval";
    let (named, span) = (named(call, &arguments[0])?, arguments[1].interval()?);
    let (name, Some(unit)) = (&named.0, named.1) else { return Err(not_recognized(&named.0, KIND)) };
    let (years, months) = (i64::from(span.months / 12), i64::from(span.months % 12));
    Ok(Part::Whole(match unit {
        Unit::Moment => return Err(not_recognized(name, KIND)),
        Unit::Epoch => return Ok(Part::Span(span)),
        Unit::Hour => span.micros / HOUR_MICROS,
        Unit::Day => i64::from(span.days),
        Unit::Month => months,
        Unit::Quarter => months / 3 + 1,
        Unit::Year => years,
        Unit::Decade => years / 10,
        Unit::Century => years / 100,
        Unit::Millennium => years / 1_000,
        unit => return time_field(unit, span.micros).ok_or_else(|| not_supported(name, KIND)),
    }))
}

const fn is_of_zone(unit: Unit) -> bool {
    matches!(unit, Unit::Zone | Unit::ZoneHour | Unit::ZoneMinute)
}

/// Of an infinite date.
fn infinite(unit: Unit, is_negative: bool) -> Part {
    use Unit::{Century, Decade, Epoch, IsoYear, Julian, Millennium, Year};
    match unit {
        Year | Decade | Century | Millennium | Julian | IsoYear | Epoch => Part::Infinite(is_negative),
        _ => Part::Null,
    }
}

fn moment_field(unit: Unit, local: i64, instant: i64) -> Option<Part> {
    let day = local.div_euclid(DAY_MICROS) + EPOCH_JULIAN;
    let time = local.rem_euclid(DAY_MICROS);
    match unit {
        Unit::Epoch => Some(Part::Epoch(instant)),
        Unit::Julian => Some(Part::Julian(day, time)),
        unit => time_field(unit, time).or_else(|| date_field(unit, civil(day)).map(Part::Whole)),
    }
}

/// Of a time of day, or of an interval's time, which may be negative.
fn time_field(unit: Unit, time: i64) -> Option<Part> {
    Some(match unit {
        Unit::Microsecond => Part::Whole(time % MINUTE_MICROS),
        Unit::Millisecond => Part::Millis(time % MINUTE_MICROS),
        Unit::Second => Part::Micros(time % MINUTE_MICROS),
        Unit::Minute => Part::Whole(time / MINUTE_MICROS % 60),
        Unit::Hour => Part::Whole(time / HOUR_MICROS),
        _ => return None,
    })
}

fn date_field(unit: Unit, (year, month, day): (i64, i64, i64)) -> Option<i64> {
    // There is no year 0, and no decade, century or millennium before the first that is not negative.
    let without_zero = |year: i64| if year > 0 { year } else { year - 1 };
    let from_one = |years: i64| match year {
        1.. => (year + years - 1) / years,
        _ => -((years - year) / years),
    };
    Some(match unit {
        Unit::Day => day,
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Week => iso_week(year, month, day).1,
        Unit::Year => without_zero(year),
        Unit::IsoYear => without_zero(iso_week(year, month, day).0),
        Unit::Decade => year.div_euclid(10),
        Unit::Century => from_one(100),
        Unit::Millennium => from_one(1_000),
        Unit::DayOfWeek => day_of_week(julian(year, month, day)),
        Unit::IsoDayOfWeek => (day_of_week(julian(year, month, day)) + 6) % 7 + 1,
        Unit::DayOfYear => julian(year, month, day) - julian(year, 1, 1) + 1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_moments() {
        // 2024-01-01 12:34:56.789012 in UTC.
        let moment = 1_704_112_496_789_012;
        let check = |name: &str, expect: &str| {
            let part = field(&lowered(name)).and_then(|unit| moment_field(unit, moment, moment));
            let found = part.map(|part| part.numeric().unwrap().numeric().unwrap().to_string());
            assert_eq!(found.unwrap_or_default(), expect, "{name}");
        };
        check("Hour", "12");
        check("second", "56.789012");
        check("ms", "56789.012");
        check("epoch", "1704112496.789012");
        check("julian", "2460311.52426839134259259259");
        check("isoyear", "2024");
        check("timezone", "");
        check("now", "");
    }

    #[test]
    fn years_before_christ() {
        let check = |unit, year, expect| assert_eq!(date_field(unit, (year, 3, 15)), Some(expect), "{unit:?} {year}");
        check(Unit::Year, 0, -1);
        check(Unit::Decade, -1, -1);
        check(Unit::Century, 0, -1);
        check(Unit::Century, -99, -1);
        check(Unit::Century, -100, -2);
        check(Unit::Millennium, 2000, 2);
        check(Unit::Millennium, 2001, 3);
    }

    #[test]
    fn intervals_as_seconds() {
        let span = Interval { months: 13, days: -1, micros: 500_000 };
        assert_eq!(Part::Span(span).numeric().unwrap().numeric().unwrap().to_string(), "34063200.500000");
        assert_eq!(Part::Span(span).float(), Value::Float(34_063_200.5));
    }
}
