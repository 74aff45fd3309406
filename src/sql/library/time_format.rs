//! `to_char` of timestamps and intervals, by Postgres's patterns.

use std::fmt::Write;

use super::{
    time_fields::{
        Fields, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS, abbreviation_at, day_of_week, is_finite, iso_week,
        iso_week_start, julian,
    },
    time_pattern::{Case, DAYS, DAYS_SHORT, Field, Item, MONTHS, MONTHS_ROMAN, MONTHS_SHORT, Node, parse},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Interval, Value, fault, rows},
};

/// Names of months and days are padded to the longest.
const NAME_WIDTH: usize = 9;
const ROMAN_WIDTH: usize = 4;

/// The functions.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("to_char(timestamp, text) -> text", |call, a| {
        let moment = a[0].timestamp()?;
        written(call, &a[1], is_finite(moment).then(|| Shown::of_moment(moment, 0, None)))
    }),
    rows("to_char(timestamptz, text) -> text", |call, a| {
        let moment = a[0].timestamp()?;
        if !is_finite(moment) {
            return Ok(Value::Null);
        }
        let zone = Zone::from(call.zone);
        let name = || abbreviation_at(call.zone, moment);
        written(call, &a[1], Some(Shown::of_moment(zone.local_of(moment)?, zone.offset_at(moment), Some(&name))))
    }),
    rows("to_char(interval, text) -> text", |call, a| written(call, &a[1], Some(Shown::of_interval(a[0].interval()?)))),
];

/// NULL for an infinite timestamp, and for an empty pattern.
fn written(call: &Call<'_>, pattern: &Value<'_>, shown: Option<Shown<'_>>) -> Result<Value<'static>> {
    let pattern = pattern.text()?;
    let Some(shown) = shown.filter(|_| !pattern.is_empty()) else { return Ok(Value::Null) };
    let nodes = call.prepared(pattern, |pattern| Ok(parse(pattern)))?;
    let mut out = String::new();
    for node in nodes.iter() {
        match node {
            Node::Item(item) => shown.write(item, &mut out)?,
            Node::Space(letter) | Node::Separator(letter) | Node::Text(letter) => out.push(*letter),
        }
    }
    Ok(Value::owned(out))
}

/// What there is to write: the fields of a moment on a clock, or of an interval, where all of them may be negative or 0.
struct Shown<'a> {
    fields: Fields,
    day_of_year: i64,
    /// Seconds east of Greenwich.
    offset: i64,
    zone: Option<&'a dyn Fn() -> String>,
    is_interval: bool,
}

impl<'a> Shown<'a> {
    fn of_moment(local: i64, offset: i64, zone: Option<&'a dyn Fn() -> String>) -> Self {
        let fields = Fields::of(local);
        let day_of_year = fields.julian() - julian(fields.year, 1, 1) + 1;
        Self { fields, day_of_year, offset, zone, is_interval: false }
    }

    fn of_interval(interval: Interval) -> Self {
        let (months, days, micros) = (i64::from(interval.months), i64::from(interval.days), interval.micros);
        let fields = Fields {
            year: months / 12,
            month: months % 12,
            day: days,
            hour: micros / HOUR_MICROS,
            minute: micros / MINUTE_MICROS % 60,
            second: micros / SECOND_MICROS % 60,
            micros: micros % SECOND_MICROS,
        };
        Self { fields, day_of_year: wrapped(months * 30 + days), offset: 0, zone: None, is_interval: true }
    }

    /// Years before the common era are counted from 1 backwards.
    fn era_year(&self, year: i64) -> i64 {
        if self.is_interval || year > 0 { year } else { 1 - year }
    }

    fn write(&self, item: &Item, out: &mut String) -> Result<()> {
        let is_of_calendar = matches!(
            item.field,
            Field::ZoneName
                | Field::ZoneHours
                | Field::ZoneMinutes
                | Field::ZoneOffset
                | Field::Era
                | Field::EraDotted
                | Field::MonthName
                | Field::MonthShort
                | Field::DayName
                | Field::DayShort
                | Field::DayOfWeek
                | Field::IsoDayOfWeek
        );
        if self.is_interval && is_of_calendar {
            return Err(not_of_intervals());
        }
        match self.number(item) {
            Some((value, width)) => {
                let start = out.len();
                write_number(value, if item.is_short { 0 } else { width }, out);
                write_ordinal(item, start, out);
            }
            None => self.write_words(item, out),
        }
        Ok(())
    }

    /// The value of a field that is a single number, and how many digits it has at least.
    fn number(&self, item: &Item) -> Option<(i64, usize)> {
        let Fields { year, month, day, hour, minute, second, .. } = self.fields;
        // A sign takes a place of its own.
        let signed = |value: i64, width: usize, of: i64| (value, width + usize::from(of < 0));
        let iso_year = || iso_week(year, month, day).0;
        let year_digits = |of: i64, digits: u8| {
            let value = self.era_year(of) % 10_i64.pow(u32::from(digits));
            // The sign that makes room is that of the calendar year.
            signed(value, usize::from(digits), if digits == 1 { 0 } else { self.era_year(year) })
        };
        Some(match item.field {
            Field::Hour24 => signed(hour, 2, hour),
            Field::Hour12 => signed(if hour % 12 == 0 { 12 } else { hour % 12 }, 2, hour),
            Field::Minute => signed(minute, 2, minute),
            Field::Second => signed(second, 2, second),
            Field::SecondOfDay => (hour * 3_600 + minute * 60 + second, 0),
            Field::Year(4) => signed(self.era_year(year), 4, self.era_year(year)),
            Field::IsoYear(4) => signed(self.era_year(iso_year()), 4, self.era_year(year)),
            Field::Year(digits) => year_digits(year, digits),
            Field::IsoYear(digits) => year_digits(iso_year(), digits),
            Field::Month => signed(month, 2, month),
            Field::DayOfYear => (self.day_of_year, 3),
            Field::IsoDayOfYear => (julian(year, month, day) - iso_week_start(iso_year(), 1) + 1, 3),
            Field::DayOfMonth => (day, 2),
            Field::DayOfWeek => (day_of_week(self.fields.julian()) + 1, 0),
            Field::IsoDayOfWeek => ((day_of_week(self.fields.julian()) + 6) % 7 + 1, 0),
            Field::WeekOfMonth => ((day - 1) / 7 + 1, 0),
            Field::WeekOfYear => ((self.day_of_year - 1) / 7 + 1, 2),
            Field::IsoWeek => (iso_week(year, month, day).1, 2),
            Field::Century => {
                let century = match year {
                    year if self.is_interval => year / 100,
                    1.. => (year - 1) / 100 + 1,
                    _ => year / 100 - 1,
                };
                signed(century, 2, century)
            }
            Field::Julian => (wrapped(julian(year, month, day)), 0),
            Field::Quarter if month != 0 => ((month - 1) / 3 + 1, 0),
            _ => return None,
        })
    }

    fn write_words(&self, item: &Item, out: &mut String) {
        let Fields { year, month, hour, micros, .. } = self.fields;
        let start = out.len();
        match item.field {
            Field::Millisecond => write_fraction(item, micros, 3, out),
            Field::Microsecond => write_fraction(item, micros, 6, out),
            Field::Fraction(digits) => write_fraction(item, micros, digits, out),
            Field::YearComma => {
                let year = self.era_year(year);
                let _ = write!(out, "{},{:03}", year / 1_000, year % 1_000);
                write_ordinal(item, start, out);
            }
            Field::HalfDay => push_cased(if hour % 24 >= 12 { "PM" } else { "AM" }, item.case, out),
            Field::HalfDayDotted => push_cased(if hour % 24 >= 12 { "P.M." } else { "A.M." }, item.case, out),
            Field::Era => push_cased(if year > 0 { "AD" } else { "BC" }, item.case, out),
            Field::EraDotted => push_cased(if year > 0 { "A.D." } else { "B.C." }, item.case, out),
            Field::MonthName => push_padded(at(&MONTHS, month - 1), item, NAME_WIDTH, out),
            Field::MonthShort => push_cased(at(&MONTHS_SHORT, month - 1), item.case, out),
            Field::DayName => push_padded(at(&DAYS, day_of_week(self.fields.julian())), item, NAME_WIDTH, out),
            Field::DayShort => push_cased(at(&DAYS_SHORT, day_of_week(self.fields.julian())), item.case, out),
            Field::MonthRoman if month != 0 || year != 0 => {
                // Months of intervals: whole years are December, and negative ones are counted from there.
                let place = match month {
                    1.. => 12 - month,
                    0 if year >= 0 => 0,
                    0 => 11,
                    _ => -month - 1,
                };
                let mut roman = *item;
                roman.is_translated = false;
                push_padded(at(&MONTHS_ROMAN, place), &roman, ROMAN_WIDTH, out);
            }
            Field::ZoneName => {
                let name = self.zone.map(|name| name()).unwrap_or_default();
                out.push_str(&if item.case == Case::Lower { name.to_ascii_lowercase() } else { name });
            }
            Field::ZoneHours | Field::ZoneMinutes | Field::ZoneOffset => {
                let (hours, minutes) = (self.offset.abs() / 3_600, self.offset.abs() / 60 % 60);
                let sign = if self.offset < 0 { '-' } else { '+' };
                let width = if item.is_short && item.field == Field::ZoneOffset { 0 } else { 2 };
                let _ = match item.field {
                    Field::ZoneMinutes => write!(out, "{minutes:02}"),
                    Field::ZoneOffset if self.offset % 3_600 != 0 => write!(out, "{sign}{hours:0width$}:{minutes:02}"),
                    _ => write!(out, "{sign}{hours:0width$}"),
                };
            }
            _ => {}
        }
    }
}

fn not_of_intervals() -> Error {
    fault("22007", "invalid format specification for an interval value")
        .with_hint("Intervals are not tied to specific calendar dates.")
}

/// As in 32 bits, where Postgres's numbers of days go round.
fn wrapped(value: i64) -> i64 {
    const HALF: i64 = 1 << 31;
    (value + HALF).rem_euclid(2 * HALF) - HALF
}

fn write_number(value: i64, width: usize, out: &mut String) {
    let _ = write!(out, "{value:0width$}");
}

/// Digits behind the second's point, which `FM` does not shorten.
fn write_fraction(item: &Item, micros: i64, digits: u8, out: &mut String) {
    let start = out.len();
    write_number(micros / 10_i64.pow(6 - u32::from(digits)), digits.into(), out);
    write_ordinal(item, start, out);
}

fn write_ordinal(item: &Item, start: usize, out: &mut String) {
    let Some(case) = item.ordinal else { return };
    let ordinal = match &out.as_bytes()[start..] {
        [.., b'1', _] => "TH",
        [.., b'1'] => "ST",
        [.., b'2'] => "ND",
        [.., b'3'] => "RD",
        _ => "TH",
    };
    push_cased(ordinal, case, out);
}

fn at(names: &[&'static str], place: i64) -> &'static str {
    usize::try_from(place).ok().and_then(|place| names.get(place)).copied().unwrap_or_default()
}

fn push_cased(word: &str, case: Case, out: &mut String) {
    match case {
        Case::Upper => out.extend(word.chars().map(|letter| letter.to_ascii_uppercase())),
        Case::Capital => out.push_str(word),
        Case::Lower => out.extend(word.chars().map(|letter| letter.to_ascii_lowercase())),
    }
}

fn push_padded(word: &str, item: &Item, width: usize, out: &mut String) {
    push_cased(word, item.case, out);
    if !item.is_short && !item.is_translated {
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(word.len())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(shown: &Shown<'_>, pattern: &str) -> Result<String> {
        let mut out = String::new();
        for node in parse(pattern) {
            match node {
                Node::Item(item) => shown.write(&item, &mut out)?,
                Node::Space(letter) | Node::Separator(letter) | Node::Text(letter) => out.push(letter),
            }
        }
        Ok(out)
    }

    #[test]
    fn moments_are_written() {
        // 2024-02-09 14:05:06.0789 in a zone at +01.
        let name = || "CET".to_owned();
        let shown = Shown::of_moment(1_707_487_506_078_900, 3_600, Some(&name));
        let check = |pattern: &str, expect: &str| assert_eq!(format(&shown, pattern).unwrap(), expect, "{pattern}");
        check("YYYY-MM-DD HH24:MI:SS", "2024-02-09 14:05:06");
        check("yyyy-mm", "2024-02");
        check("Mon DD, YYYY", "Feb 09, 2024");
        check("FMMonth FMDD, YYYY", "February 9, 2024");
        check("Month|MONTH|month|", "February |FEBRUARY |february |");
        check("Day|FMDay|DY|dy", "Friday   |Friday|FRI|fri");
        check("DDth FMDDTH D ID DDD", "09th 9TH 6 5 040");
        check("HH12:MI am|PM|P.M.", "02:05 pm|PM|P.M.");
        check("MS US FF1 SSSS", "078 078900 0 50706");
        check("IYYY-IW-ID \"Week\" WW W Q CC J", "2024-06-5 Week 06 2 1 21 2460350");
        check("Y,YYY YYY YY Y", "2,024 024 24 4");
        check("TZ tz OF TZH:TZM", "CET cet +01 +01:00");
        check("\"Q\"Q \\\"x\\\"", "Q1 \"x\"");
        check("RM|FMrm", "II  |ii");
    }

    #[test]
    fn intervals_are_written() {
        let check = |(months, days, micros), pattern: &str, expect: &str| {
            let shown = Shown::of_interval(Interval { months, days, micros });
            let found = format(&shown, pattern).unwrap_or_else(|error| error.message().to_owned());
            assert_eq!(found, expect, "{pattern}");
        };
        check((14, 3, 100 * HOUR_MICROS), "YYYY MM DD HH24 HH12 MI", "0001 02 03 100 04 00");
        check((0, 0, -90 * MINUTE_MICROS), "HH24:MI:SS", "-01:-30:00");
        check((-1, 0, 0), "RM Q", "XII  1");
        check((0, 1, 0), "Day", "invalid format specification for an interval value");
    }
}
