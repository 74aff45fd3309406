//! `date_trunc`: the start of the unit that a moment is in.

use super::{
    time_fields::{
        Fields, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS, civil, in_range, instant_of, is_finite, iso_week,
        iso_week_start,
    },
    time_units::{Unit, lowered, unit},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Interval, Value, fault, rows},
};

/// The functions.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("date_trunc(text, timestamp) -> timestamp", |call, a| {
        truncated_timestamp(call, &a[0], a[1].timestamp()?).map(Value::Timestamp)
    }),
    rows("date_trunc(text, timestamptz) -> timestamptz", |call, a| {
        truncated_in(&call.zone.into(), call, &a[0], a[1].timestamp()?).map(Value::Timestamp)
    }),
    rows("date_trunc(text, timestamptz, text) -> timestamptz", |call, a| {
        if !is_finite(a[1].timestamp()?) {
            return Ok(Value::Timestamp(a[1].timestamp()?));
        }
        let zone = call.prepared(a[2].text()?, Zone::parse)?;
        truncated_in(&zone, call, &a[0], a[1].timestamp()?).map(Value::Timestamp)
    }),
    rows("date_trunc(text, interval) -> interval", |call, a| {
        truncated_interval(call, &a[0], a[1].interval()?).map(Value::Interval)
    }),
];

/// A unit's name as it is in messages, and the unit. Its own type, as names are kept by it.
struct Named(String, Option<Unit>);

fn named(call: &Call<'_>, name: &Value<'_>) -> Result<std::rc::Rc<Named>> {
    call.prepared(name.text()?, |name| {
        let lowered = lowered(name);
        let unit = unit(&lowered);
        Ok(Named(lowered, unit))
    })
}

fn not_recognized(name: &str, kind: &str) -> Error {
    fault("22023", format!("unit \"{name}\" not recognized for type {kind}"))
}

fn not_supported(name: &str, kind: &str) -> Error {
    fault("0A000", format!("unit \"{name}\" not supported for type {kind}"))
}

fn truncated_timestamp(call: &Call<'_>, name: &Value<'_>, moment: i64) -> Result<i64> {
    const KIND: &str = "timestamp without time zone";
    if !is_finite(moment) {
        return Ok(moment);
    }
    let named = named(call, name)?;
    let unit = named.1.ok_or_else(|| not_recognized(&named.0, KIND))?;
    let fields = start_of(unit, Fields::of(moment)).ok_or_else(|| not_supported(&named.0, KIND))?;
    in_range(Some(fields.local()?))
}

/// By the zone's clock. Parts of a day start at the offset of the moment, days and longer at that which they start with.
fn truncated_in(zone: &Zone, call: &Call<'_>, name: &Value<'_>, moment: i64) -> Result<i64> {
    const KIND: &str = "timestamp with time zone";
    if !is_finite(moment) {
        return Ok(moment);
    }
    let named = named(call, name)?;
    let unit = named.1.ok_or_else(|| not_recognized(&named.0, KIND))?;
    let local = zone.local_of(moment)?;
    let fields = start_of(unit, Fields::of(local)).ok_or_else(|| not_supported(&named.0, KIND))?;
    let start = fields.local()?;
    match unit {
        Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour => {
            in_range(moment.checked_sub(local - start))
        }
        _ => instant_of(zone, start),
    }
}

fn start_of(unit: Unit, fields: Fields) -> Option<Fields> {
    let midnight = Fields { hour: 0, minute: 0, second: 0, micros: 0, ..fields };
    let year = |year| Fields { year, month: 1, day: 1, ..midnight };
    let from_one = |years: i64| (fields.year - 1).div_euclid(years) * years + 1;
    Some(match unit {
        Unit::Microsecond => fields,
        Unit::Millisecond => Fields { micros: fields.micros / 1_000 * 1_000, ..fields },
        Unit::Second => Fields { micros: 0, ..fields },
        Unit::Minute => Fields { hour: fields.hour, minute: fields.minute, ..midnight },
        Unit::Hour => Fields { hour: fields.hour, ..midnight },
        Unit::Day => midnight,
        Unit::Week => {
            let (iso_year, week) = iso_week(fields.year, fields.month, fields.day);
            let (year, month, day) = civil(iso_week_start(iso_year, week));
            Fields { year, month, day, ..midnight }
        }
        Unit::Month => Fields { day: 1, ..midnight },
        Unit::Quarter => Fields { month: (fields.month - 1) / 3 * 3 + 1, day: 1, ..midnight },
        Unit::Year => year(fields.year),
        Unit::Decade => year(fields.year.div_euclid(10) * 10),
        Unit::Century => year(from_one(100)),
        Unit::Millennium => year(from_one(1_000)),
        _ => return None,
    })
}

/// Parts below the unit become 0.
fn truncated_interval(call: &Call<'_>, name: &Value<'_>, span: Interval) -> Result<Interval> {
    const KIND: &str = "interval";
    let named = named(call, name)?;
    let unit = named.1.ok_or_else(|| not_recognized(&named.0, KIND))?;
    let of_time = |micros: i64| Interval { micros: span.micros / micros * micros, ..span };
    let of_months = |months: i32| Interval { months: span.months / months * months, days: 0, micros: 0 };
    Ok(match unit {
        Unit::Microsecond => span,
        Unit::Millisecond => of_time(SECOND_MICROS / 1_000),
        Unit::Second => of_time(SECOND_MICROS),
        Unit::Minute => of_time(MINUTE_MICROS),
        Unit::Hour => of_time(HOUR_MICROS),
        Unit::Day => Interval { micros: 0, ..span },
        Unit::Month => of_months(1),
        Unit::Quarter => of_months(3),
        Unit::Year => of_months(12),
        Unit::Decade => of_months(120),
        Unit::Century => of_months(1_200),
        Unit::Millennium => of_months(12_000),
        unit => {
            let error = not_supported(&named.0, KIND);
            let is_week = unit == Unit::Week;
            return Err(if is_week { error.with_detail("Months usually have fractional weeks.") } else { error });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_start() {
        let at = |year, month, day| Fields { year, month, day, hour: 0, minute: 0, second: 0, micros: 0 };
        let check =
            |unit, fields: Fields, expect| assert_eq!(start_of(unit, fields), Some(expect), "{unit:?} {fields:?}");
        check(Unit::Week, at(2021, 1, 3), at(2020, 12, 28));
        check(Unit::Quarter, at(2024, 8, 15), at(2024, 7, 1));
        check(Unit::Decade, at(-5, 8, 15), at(-10, 1, 1));
        check(Unit::Century, at(2000, 8, 15), at(1901, 1, 1));
        check(Unit::Century, at(0, 8, 15), at(-99, 1, 1));
        check(Unit::Millennium, at(-999, 8, 15), at(-999, 1, 1));
        assert_eq!(start_of(Unit::Zone, at(2024, 1, 1)), None);
    }
}
