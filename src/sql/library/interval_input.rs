//! Intervals from text: Postgres's own forms, those of the SQL standard with the fields of a literal, and ISO 8601's.

use super::{
    interval_iso::read_iso,
    time_text::{Clock, Field, Form, Wrong, fields, fraction, leading, whole},
    time_words::{IntervalWord, Unit, interval_word},
};
use crate::{
    error::{Error, Result},
    sql::function::{Interval, fault},
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60_000_000;
const MICROS_PER_HOUR: i64 = 3_600_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const DAYS_PER_MONTH: i32 = 30;
const MONTHS_PER_YEAR: i32 = 12;
/// Digits of a second that Postgres keeps.
const DIGITS_MAX: u32 = 6;
/// How long a text may be without what divides its fields.
const BYTES_MAX: usize = 255;

/// A field of an interval, largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sql) enum IntervalField {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// What `interval year to month` and `interval day to second(3)` say beside `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in crate::sql) struct IntervalFields {
    /// The largest and the smallest field; all where none is named.
    pub(in crate::sql) span: Option<(IntervalField, IntervalField)>,
    /// Digits of a second.
    pub(in crate::sql) digits: Option<u32>,
}

impl IntervalFields {
    /// By the modifier of the type, as `pg_attribute.atttypmod` has it.
    pub(in crate::sql) fn of_modifier(modifier: i64) -> Self {
        use IntervalField::{Day, Hour, Minute, Month, Second, Year};
        if modifier < 0 {
            return Self::default();
        }
        // The bits of Postgres's fields, smallest first.
        let bits = [(12, Second), (11, Minute), (10, Hour), (3, Day), (1, Month), (2, Year)];
        let named = || bits.iter().filter(|(bit, _)| (modifier >> 16) & (1 << bit) != 0).map(|(_, field)| *field);
        let span = match (modifier >> 16) & 0x7FFF {
            0x7FFF => None,
            _ => named().next_back().zip(named().next()),
        };
        Self { span, digits: u32::try_from(modifier & 0xFFFF).ok().filter(|digits| *digits <= DIGITS_MAX) }
    }

    /// The interval without what the fields do not have: smaller fields are cut off, seconds are rounded.
    pub(in crate::sql) fn apply(self, interval: Interval) -> Result<Interval> {
        let Interval { months, micros, .. } = interval;
        let cut = |unit: i64| micros / unit * unit;
        let interval = match self.span.map(|(_, last)| last) {
            Some(IntervalField::Year) => {
                Interval { months: months / MONTHS_PER_YEAR * MONTHS_PER_YEAR, days: 0, micros: 0 }
            }
            Some(IntervalField::Month) => Interval { days: 0, micros: 0, ..interval },
            Some(IntervalField::Day) => Interval { micros: 0, ..interval },
            Some(IntervalField::Hour) => Interval { micros: cut(MICROS_PER_HOUR), ..interval },
            Some(IntervalField::Minute) => Interval { micros: cut(MICROS_PER_MINUTE), ..interval },
            Some(IntervalField::Second) | None => interval,
        };
        let Some(digits) = self.digits else { return Ok(interval) };
        let micros = rounded(interval.micros, digits).ok_or_else(out_of_range)?;
        Ok(Interval { micros, ..interval })
    }
}

/// Microseconds rounded to so many digits of a second, halves away from zero; none if that is too much.
pub(super) fn rounded(micros: i64, digits: u32) -> Option<i64> {
    let scale = 10_i64.pow(DIGITS_MAX.saturating_sub(digits));
    let half = scale / 2 * micros.signum();
    Some(micros.checked_add(half)? / scale * scale)
}

/// The `interval` that a text is.
pub(in crate::sql) fn parse_interval(text: &str) -> Result<Interval> {
    interval_of(text, IntervalFields::default())
}

/// The interval that a text is as one of these fields: `interval '1-2' year to month`.
pub(in crate::sql) fn interval_of(text: &str, named: IntervalFields) -> Result<Interval> {
    let read = fields(text, BYTES_MAX).and_then(|fields| read_fields(&fields, named.span));
    let read = match read {
        Err(Wrong::Format) => read_iso(text),
        read => read,
    };
    let sum = read.map_err(|wrong| match wrong {
        Wrong::Field => fault("22015", format!("interval field value out of range: \"{text}\"")),
        wrong => wrong.error(text, "interval"),
    })?;
    named.apply(sum.interval()?)
}

/// The sum of what was read, where years are still apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Sum {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

impl Sum {
    /// Adds a number of units, whose fraction spills into smaller ones.
    pub(super) fn add(&mut self, number: i64, fraction: f64, unit: Unit) -> Result<(), Wrong> {
        let done = match unit {
            Unit::Microsecond => self.add_micros(number, fraction, 1),
            Unit::Millisecond => self.add_micros(number, fraction, 1_000),
            Unit::Second => self.add_micros(number, fraction, MICROS_PER_SECOND),
            Unit::Minute => self.add_micros(number, fraction, MICROS_PER_MINUTE),
            Unit::Hour => self.add_micros(number, fraction, MICROS_PER_HOUR),
            Unit::Day => {
                self.add_days(number, 1).and_then(|()| self.add_fraction_of_micros(fraction * float(MICROS_PER_DAY)))
            }
            Unit::Week => self.add_days(number, 7).and_then(|()| self.add_fraction_of_days(fraction * 7.0)),
            Unit::Month => {
                self.add_months(number).and_then(|()| self.add_fraction_of_days(fraction * f64::from(DAYS_PER_MONTH)))
            }
            Unit::Year => self.add_years(number, fraction, 1),
            Unit::Decade => self.add_years(number, fraction, 10),
            Unit::Century => self.add_years(number, fraction, 100),
            Unit::Millennium => self.add_years(number, fraction, 1_000),
        };
        done.ok_or(Wrong::Field)
    }

    fn add_micros(&mut self, number: i64, fraction: f64, unit: i64) -> Option<()> {
        self.micros = self.micros.checked_add(number.checked_mul(unit)?)?;
        self.add_fraction_of_micros(fraction * float(unit))
    }

    /// Adds microseconds, rounded: halves towards zero.
    pub(super) fn add_fraction_of_micros(&mut self, micros: f64) -> Option<()> {
        let cut = whole(micros);
        let rest = micros - float(cut);
        let rounded = if rest > 0.5 {
            cut + 1
        } else if rest < -0.5 {
            cut - 1
        } else {
            cut
        };
        self.micros = self.micros.checked_add(rounded)?;
        Some(())
    }

    fn add_days(&mut self, number: i64, unit: i32) -> Option<()> {
        self.days = self.days.checked_add(i32::try_from(number).ok()?.checked_mul(unit)?)?;
        Some(())
    }

    fn add_fraction_of_days(&mut self, days: f64) -> Option<()> {
        let cut = whole(days);
        self.add_days(cut, 1)?;
        self.add_fraction_of_micros((days - float(cut)) * float(MICROS_PER_DAY))
    }

    fn add_months(&mut self, number: i64) -> Option<()> {
        self.months = self.months.checked_add(i32::try_from(number).ok()?)?;
        Some(())
    }

    fn add_years(&mut self, number: i64, fraction: f64, unit: i32) -> Option<()> {
        self.years = self.years.checked_add(i32::try_from(number).ok()?.checked_mul(unit)?)?;
        let months = fraction * f64::from(unit) * f64::from(MONTHS_PER_YEAR);
        self.add_months(whole(months.round_ties_even()))
    }

    fn negated(self) -> Option<Self> {
        Some(Self {
            years: self.years.checked_neg()?,
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }

    fn interval(self) -> Result<Interval> {
        let months = i64::from(self.years) * i64::from(MONTHS_PER_YEAR) + i64::from(self.months);
        let months = i32::try_from(months).map_err(|_| out_of_range())?;
        Ok(Interval { months, days: self.days, micros: self.micros })
    }
}

/// Reads from right to left, since units stand behind their numbers.
fn read_fields(fields: &[Field], span: Option<(IntervalField, IntervalField)>) -> Result<Sum, Wrong> {
    let is_minute_to_second = span == Some((IntervalField::Minute, IntervalField::Second));
    let mut sum = Sum::default();
    let mut seen = Seen::default();
    let mut unit = Expected::Nothing;
    let mut is_ago = false;
    for Field { form, text } in fields.iter().rev() {
        let signed_clock = match form {
            Form::Signed if text.contains(':') => text.get(1..).map(|clock| read_clock(clock, is_minute_to_second)),
            _ => None,
        };
        match (form, signed_clock) {
            (Form::Time, _) => {
                sum.micros = read_clock(text, is_minute_to_second)?;
                seen.clock()?;
                unit = Expected::Unit(Unit::Day);
            }
            (Form::Signed, Some(Ok(micros))) => {
                sum.micros = if text.starts_with('-') { -micros } else { micros };
                seen.clock()?;
                unit = Expected::Unit(Unit::Day);
            }
            (Form::Signed | Form::Date | Form::Number, _) => {
                let (number, fraction, of_number) = read_number(text, unit.of_number(span))?;
                sum.add(number, fraction, of_number)?;
                seen.unit(of_number, fraction != 0.0)?;
                // A number before hours is of days.
                unit = Expected::Unit(if of_number == Unit::Hour { Unit::Day } else { of_number });
            }
            (Form::Word | Form::SignedWord, _) => match interval_word(text) {
                Some(IntervalWord::Unit(word)) => unit = Expected::Unit(word),
                Some(IntervalWord::Other) => unit = Expected::Unknown,
                Some(IntervalWord::Ago) => {
                    is_ago = true;
                    unit = Expected::Unknown;
                }
                None => return Err(Wrong::Format),
            },
        }
    }
    if seen == Seen::default() {
        return Err(Wrong::Format);
    }
    if is_ago { sum.negated().ok_or(Wrong::Field) } else { Ok(sum) }
}

/// The unit of the next number.
#[derive(Clone, Copy)]
enum Expected {
    /// That of the literal's last field.
    Nothing,
    Unit(Unit),
    /// One that numbers cannot have.
    Unknown,
}

impl Expected {
    fn of_number(self, span: Option<(IntervalField, IntervalField)>) -> Option<Unit> {
        match self {
            Self::Unit(unit) => Some(unit),
            Self::Unknown => None,
            Self::Nothing => Some(match span.map(|(_, last)| last) {
                Some(IntervalField::Year) => Unit::Year,
                Some(IntervalField::Month) => Unit::Month,
                Some(IntervalField::Day) => Unit::Day,
                Some(IntervalField::Hour) => Unit::Hour,
                Some(IntervalField::Minute) => Unit::Minute,
                Some(IntervalField::Second) | None => Unit::Second,
            }),
        }
    }
}

/// Which units have been seen: each may be there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Seen(u32);

impl Seen {
    const SECONDS: u32 = bit(Unit::Microsecond) | bit(Unit::Millisecond) | bit(Unit::Second);
    const CLOCK: u32 = Self::SECONDS | bit(Unit::Minute) | bit(Unit::Hour);

    fn clock(&mut self) -> Result<(), Wrong> {
        self.bits(Self::CLOCK)
    }

    fn unit(&mut self, unit: Unit, has_fraction: bool) -> Result<(), Wrong> {
        self.bits(if unit == Unit::Second && has_fraction { Self::SECONDS } else { bit(unit) })
    }

    fn bits(&mut self, bits: u32) -> Result<(), Wrong> {
        if self.0 & bits != 0 {
            return Err(Wrong::Format);
        }
        self.0 |= bits;
        Ok(())
    }
}

const fn bit(unit: Unit) -> u32 {
    match unit {
        Unit::Microsecond => 1,
        Unit::Millisecond => 1 << 1,
        Unit::Second => 1 << 2,
        Unit::Minute => 1 << 3,
        Unit::Hour => 1 << 4,
        Unit::Day => 1 << 5,
        Unit::Week => 1 << 6,
        Unit::Month => 1 << 7,
        Unit::Year => 1 << 8,
        Unit::Decade => 1 << 9,
        Unit::Century => 1 << 10,
        Unit::Millennium => 1 << 11,
    }
}

fn read_clock(text: &str, is_minute_to_second: bool) -> Result<i64, Wrong> {
    let Clock { hours, minutes, seconds, micros } = Clock::parse(text, is_minute_to_second)?;
    let hours = hours.checked_mul(MICROS_PER_HOUR);
    let micros =
        hours.and_then(|hours| hours.checked_add(minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND + micros));
    micros.ok_or(Wrong::Field)
}

/// A number with its fraction, of `unit`, or years and months together, as `1-2`.
fn read_number(text: &str, unit: Option<Unit>) -> Result<(i64, f64, Unit), Wrong> {
    let is_negative = text.starts_with('-');
    let (number, rest) = leading::<i64>(text).ok_or(Wrong::Field)?;
    if let Some(months) = rest.strip_prefix('-') {
        let (months, rest) = leading::<i32>(months).ok_or(Wrong::Field)?;
        if !(0..MONTHS_PER_YEAR).contains(&months) {
            return Err(Wrong::Field);
        }
        if !rest.is_empty() {
            return Err(Wrong::Format);
        }
        let months = i64::from(if is_negative { -months } else { months });
        let all = number.checked_mul(i64::from(MONTHS_PER_YEAR)).and_then(|years| years.checked_add(months));
        return Ok((all.ok_or(Wrong::Field)?, 0.0, Unit::Month));
    }
    let fraction = if rest.is_empty() { 0.0 } else { fraction(rest)? };
    Ok((number, if is_negative { -fraction } else { fraction }, unit.ok_or(Wrong::Format)?))
}

#[expect(clippy::cast_precision_loss, reason = "as Postgres converts them")]
fn float(value: i64) -> f64 {
    value as f64
}

fn out_of_range() -> Error {
    fault("22008", "interval out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let error = |error: Error| format!("{} {error}", error.sqlstate().unwrap_or_default());
        let check = |text: &str, named: IntervalFields, expect: Result<(i32, i32, i64), &str>| {
            let found = interval_of(text, named).map_err(error);
            let expect = expect.map(|(months, days, micros)| Interval { months, days, micros });
            assert_eq!(found, expect.map_err(ToOwned::to_owned), "{text}");
        };
        let all = IntervalFields::default();
        check("1 year 2 months", all, Ok((14, 0, 0)));
        check("1-2", all, Ok((14, 0, 0)));
        check("1 day 02:03:04", all, Ok((0, 1, 7_384_000_000)));
        check("-1 month - 1 day +00:00:01.5", all, Ok((-1, -1, 1_500_000)));
        check("@ 1 minute ago", all, Ok((0, 0, -60_000_000)));
        check("1.5 months", all, Ok((1, 15, 0)));
        check("2.5 weeks", all, Ok((0, 17, 43_200_000_000)));
        check("P1Y2M3DT4H", all, Ok((14, 3, 14_400_000_000)));
        check("1 fortnight", all, Err("22007 invalid input syntax for type interval: \"1 fortnight\""));
        check("1 day 1 day", all, Err("22007 invalid input syntax for type interval: \"1 day 1 day\""));
        check("99999999999 years", all, Err("22015 interval field value out of range: \"99999999999 years\""));
        check("178956971 years", all, Err("22008 interval out of range"));
        let minutes = IntervalFields { span: Some((IntervalField::Minute, IntervalField::Second)), digits: Some(1) };
        check("1:02.26", minutes, Ok((0, 0, 62_300_000)));
        check("1:02", minutes, Ok((0, 0, 62_000_000)));
        let years = IntervalFields { span: Some((IntervalField::Year, IntervalField::Year)), digits: None };
        check("18 months", years, Ok((12, 0, 0)));
        assert_eq!(IntervalFields::of_modifier((4 << 16) | 0xFFFF), years);
    }
}
