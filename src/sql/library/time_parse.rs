//! `to_date` and `to_timestamp` of texts, by Postgres's patterns: what was read becomes a date and a time.

use super::{
    calendar::days_in_month,
    time_fields::{Fields, SECOND_MICROS, civil, date_of, in_range, instant_of, is_julian, iso_week_start},
    time_pattern::{Convention, parse},
    time_scan::{Scanned, scan},
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Value, fault, rows},
};

const ZONE_HOURS_MAX: i32 = 15;
/// From 1970 to 2000, from where Postgres rounds away.
const EPOCH_MICROS: i64 = 946_684_800 * SECOND_MICROS;
/// Days of a year before each month and at its end.
const DAYS_BEFORE: [i32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// The functions.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("to_date(text, text) -> date", |call, a| to_date(call, a[0].text()?, a[1].text()?)),
    rows("to_timestamp(text, text) -> timestamptz", |call, a| to_timestamp(call, a[0].text()?, a[1].text()?)),
];

fn to_date(call: &Call<'_>, text: &str, pattern: &str) -> Result<Value<'static>> {
    let read = read(call, text, pattern)?;
    let is_near = is_julian(read.fields.year, read.fields.month);
    let date = date_of(read.fields.julian()).filter(|_| is_near);
    date.map(Value::Date).ok_or_else(|| fault("22008", format!("date out of range: \"{text}\"")))
}

fn to_timestamp(call: &Call<'_>, text: &str, pattern: &str) -> Result<Value<'static>> {
    let read = read(call, text, pattern)?;
    let local = read.fields.local()?;
    let instant = match read.offset {
        Some(offset) => in_range(local.checked_sub(offset * SECOND_MICROS))?,
        None => instant_of(&call.zone.into(), local)?,
    };
    Ok(Value::Timestamp(rounded(instant, read.fraction_digits)))
}

/// To so many digits of the second; 0 is all of them. Half is rounded away from 2000.
fn rounded(instant: i64, digits: u8) -> i64 {
    if digits == 0 {
        return instant;
    }
    let unit = 10_i64.pow(6_u32.saturating_sub(digits.into()));
    let Some(since_2000) = instant.checked_sub(EPOCH_MICROS) else { return instant };
    let steps = (since_2000.abs().saturating_add(unit / 2)) / unit;
    since_2000.signum() * steps * unit + EPOCH_MICROS
}

struct Read {
    fields: Fields,
    /// Seconds east of Greenwich, where the text says it.
    offset: Option<i64>,
    fraction_digits: u8,
}

fn read(call: &Call<'_>, text: &str, pattern: &str) -> Result<Read> {
    let nodes = call.prepared(pattern, |pattern| Ok(parse(pattern)))?;
    let found = scan(&nodes, text)?;
    let out_of_range = || fault("22008", format!("date/time field value out of range: \"{text}\""));
    let (hour, minute, second) = time(&found)?;
    let date = Date::of(&found)?;
    let micros = found.millis.wrapping_mul(1_000).wrapping_add(found.micros);
    let is_time = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..SECOND_MICROS).contains(&micros.into());
    if !date.is_valid() || !is_time {
        return Err(out_of_range());
    }
    let fields = Fields {
        year: date.year.into(),
        month: date.month.into(),
        day: date.day.into(),
        hour: hour.into(),
        minute: minute.into(),
        second: second.into(),
        micros: micros.into(),
    };
    Ok(Read { fields, offset: offset(&found, text)?, fraction_digits: found.fraction_digits })
}

fn time(found: &Scanned) -> Result<(i32, i32, i32)> {
    let given = |value: i32, otherwise: i32| if value == 0 { otherwise } else { value };
    let of_day = found.second_of_day;
    let hour = given(found.hour, of_day / 3_600);
    let minute = given(found.minute, of_day % 3_600 / 60);
    let second = given(found.second, of_day % 60);
    if !found.is_12_hours {
        return Ok((hour, minute, second));
    }
    let hour = match (hour, found.is_afternoon != 0) {
        (12, false) => 0,
        (1..12, true) => hour + 12,
        (1..=12, _) => hour,
        _ => {
            let error = fault("22007", format!("hour \"{hour}\" is invalid for the 12-hour clock"));
            return Err(error.with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
    };
    Ok((hour, minute, second))
}

fn offset(found: &Scanned, text: &str) -> Result<Option<i64>> {
    if found.zone_sign == 0 {
        return Ok(None);
    }
    if !(0..=ZONE_HOURS_MAX).contains(&found.zone_hours) || !(0..60).contains(&found.zone_minutes) {
        return Err(fault("22009", format!("time zone displacement out of range: \"{text}\"")));
    }
    Ok(Some(i64::from(found.zone_sign * (found.zone_hours * 3_600 + found.zone_minutes * 60))))
}

/// A date as it is put together, and which of its parts are to be checked: what was never said needs no check.
#[derive(Clone, Copy, Debug)]
struct Date {
    year: i32,
    month: i32,
    day: i32,
    says_year: bool,
    says_month: bool,
    says_day: bool,
}

impl Date {
    fn of(found: &Scanned) -> Result<Self> {
        let mut date = Self { year: 0, month: 1, day: 1, says_year: false, says_month: false, says_day: false };
        if let Some(year) = year(found) {
            (date.year, date.says_year) = (year, true);
        }
        if found.julian != 0 {
            date.set_julian(found.julian.into());
        }
        let is_iso = found.convention == Some(Convention::IsoWeek);
        let mut day_of_year = found.day_of_year;
        let week_days = found.week.wrapping_sub(1).wrapping_mul(7);
        if found.week != 0 && is_iso {
            let weekday = match found.weekday {
                0 => 0,
                2.. => found.weekday - 2,
                _ => 6,
            };
            date.set_julian(iso_week_start(date.year.into(), 1) + i64::from(week_days) + i64::from(weekday));
        } else if found.week != 0 {
            day_of_year = week_days.wrapping_add(1);
        }
        let day = match found.week_of_month {
            0 => found.day,
            week => week.wrapping_sub(1).wrapping_mul(7).wrapping_add(1),
        };
        if day != 0 {
            (date.day, date.says_day) = (day, true);
        }
        if found.month != 0 {
            (date.month, date.says_month) = (found.month, true);
        }
        if day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
            date.set_day_of_year(day_of_year, is_iso, found.is_before_christ != 0)?;
        }
        Ok(date)
    }

    fn set_julian(&mut self, day: i64) {
        let (year, month, day) = civil(day);
        let small = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
        *self = Self {
            year: small(year),
            month: small(month),
            day: small(day),
            says_year: true,
            says_month: true,
            says_day: true,
        };
    }

    /// The day of the year gives month and day, or that of them which was not given.
    fn set_day_of_year(&mut self, day_of_year: i32, is_iso: bool, is_before_christ: bool) -> Result<()> {
        if self.year == 0 && !is_before_christ {
            return Err(without_year());
        }
        if is_iso {
            self.set_julian(iso_week_start(self.year.into(), 1) - 1 + i64::from(day_of_year));
            return Ok(());
        }
        let leap_days = |month: usize| i32::from(month > 1 && days_in_month(self.year.into(), 2) == 29);
        let before = |month: usize| DAYS_BEFORE.get(month).map_or(0, |days| days + leap_days(month));
        let month = (1..=12).find(|&month| day_of_year <= before(month)).unwrap_or(13);
        if self.day <= 1 {
            self.day = day_of_year.wrapping_sub(before(month - 1));
        }
        if self.month <= 1 {
            self.month = i32::try_from(month).unwrap_or(13);
        }
        (self.says_month, self.says_day) = (true, true);
        Ok(())
    }

    fn is_valid(&self) -> bool {
        if self.says_month && !(1..=12).contains(&self.month) || self.says_day && !(1..=31).contains(&self.day) {
            return false;
        }
        let says_all = self.says_year && self.says_month && self.says_day;
        !says_all || i64::from(self.day) <= days_in_month(self.year.into(), self.month.into())
    }
}

fn without_year() -> Error {
    fault("22007", "cannot calculate day of year without year information")
}

/// The year that year, century and era make, counted astronomically.
fn year(found: &Scanned) -> Option<i32> {
    let is_before_christ = found.is_before_christ != 0;
    let century = if is_before_christ { found.century.wrapping_neg() } else { found.century };
    let hundreds = |century: i32| century.wrapping_mul(100);
    Some(match (found.year, century) {
        (0, 0) => return None,
        // The first of the century; 1 BC is year 0.
        (0, 0..) => hundreds(century.wrapping_sub(1)).wrapping_add(1),
        (0, _) => hundreds(century).wrapping_add(1),
        (year, century) if century != 0 && found.year_digits <= 2 => match (year % 100, century) {
            (0, 0..) => hundreds(century),
            (0, _) => hundreds(century).wrapping_add(1),
            (year, 0..) => hundreds(century.wrapping_sub(1)).wrapping_add(year),
            (year, _) => hundreds(century.wrapping_add(1)).wrapping_sub(year).wrapping_add(1),
        },
        (year, _) => match if is_before_christ { year.wrapping_neg() } else { year } {
            year @ ..0 => year + 1,
            year => year,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_and_centuries() {
        let check = |(year_given, year_digits, century, is_before_christ), expect| {
            let found = Scanned { year: year_given, year_digits, century, is_before_christ, ..Scanned::default() };
            assert_eq!(year(&found), expect, "{found:?}");
        };
        check((2024, 4, 0, 0), Some(2024));
        check((44, 4, 0, 1), Some(-43));
        check((0, 0, 21, 0), Some(2001));
        check((0, 0, 6, 1), Some(-599));
        check((24, 2, 21, 0), Some(2024));
        check((2000, 2, 20, 0), Some(2000));
        check((0, 0, 0, 0), None);
    }

    #[test]
    fn parts_become_a_date() {
        let check = |found: Scanned, expect: Option<(i32, i32, i32)>| {
            let date = Date::of(&found).unwrap();
            assert_eq!(date.is_valid().then_some((date.year, date.month, date.day)), expect, "{found:?}");
        };
        let of = |year, month, day| Scanned { year, year_digits: 4, month, day, ..Scanned::default() };
        check(of(2024, 2, 29), Some((2024, 2, 29)));
        check(of(2023, 2, 29), None);
        check(Scanned { day_of_year: 60, ..of(2024, 0, 0) }, Some((2024, 2, 29)));
        check(Scanned { day_of_year: 367, ..of(2024, 0, 0) }, None);
        let iso = Scanned { convention: Some(Convention::IsoWeek), ..of(2024, 0, 0) };
        check(Scanned { week: 9, weekday: 5, ..iso }, Some((2024, 2, 29)));
        check(Scanned { day_of_year: 60, ..iso }, Some((2024, 2, 29)));
        check(Scanned { julian: 2_460_370, ..Scanned::default() }, Some((2024, 2, 29)));
    }

    #[test]
    fn halves_are_rounded_away_from_2000() {
        assert_eq!(rounded(EPOCH_MICROS + 1_500, 3), EPOCH_MICROS + 2_000);
        assert_eq!(rounded(EPOCH_MICROS - 1_500, 3), EPOCH_MICROS - 2_000);
        assert_eq!(rounded(1_234_567, 0), 1_234_567);
    }
}
