//! Intervals as ISO 8601 writes them: `P1Y2M3DT4H5M6.7S`, `P0001-02-03T04:05:06`, `P00010203T040506`.

use super::{
    interval_input::Sum,
    time_text::{Wrong, whole},
    time_words::Unit,
};

/// Larger numbers lose their fraction in a float.
const NUMBER_MAX: f64 = 1e15;
const DATE_DIGITS: usize = 8;
const TIME_DIGITS: usize = 6;

/// The interval that a text is.
pub(super) fn read_iso(text: &str) -> Result<Sum, Wrong> {
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Wrong::Format)?;
    let mut sum = Sum::default();
    let mut is_date = true;
    let mut has_field = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (rest, is_date, has_field) = (time, false, false);
            continue;
        }
        let number = Number::take(&mut rest)?;
        let symbol = rest.chars().next();
        let unit = match (symbol, is_date) {
            (Some('Y'), true) => Some(Unit::Year),
            (Some('M'), true) => Some(Unit::Month),
            (Some('W'), true) => Some(Unit::Week),
            (Some('D'), true) => Some(Unit::Day),
            (Some('H'), false) => Some(Unit::Hour),
            (Some('M'), false) => Some(Unit::Minute),
            (Some('S'), false) => Some(Unit::Second),
            _ => None,
        };
        if let Some(unit) = unit {
            number.add(&mut sum, unit)?;
            rest = rest.get(1..).unwrap_or_default();
            has_field = true;
            continue;
        }
        if has_field && (is_date || matches!(symbol, None | Some(':'))) {
            return Err(Wrong::Format);
        }
        match (is_date, symbol) {
            (true, None | Some('T')) if number.digits == DATE_DIGITS => number.add_date(&mut sum)?,
            (true, None | Some('T' | '-')) => {
                add_parts(&mut sum, &number, &mut rest, '-', [Unit::Year, Unit::Month, Unit::Day])?;
            }
            (false, None) if number.digits == TIME_DIGITS => number.add_time(&mut sum)?,
            (false, None | Some(':')) => {
                add_parts(&mut sum, &number, &mut rest, ':', [Unit::Hour, Unit::Minute, Unit::Second])?;
                return if rest.is_empty() { Ok(sum) } else { Err(Wrong::Format) };
            }
            _ => return Err(Wrong::Format),
        }
        // Behind the date there is nothing but a time.
        if !rest.is_empty() && !rest.starts_with('T') {
            return Err(Wrong::Format);
        }
    }
    Ok(sum)
}

/// Adds a number and up to two more behind it, each of a smaller unit.
fn add_parts(sum: &mut Sum, first: &Number, rest: &mut &str, divider: char, units: [Unit; 3]) -> Result<(), Wrong> {
    let [largest, units @ ..] = units;
    first.add(sum, largest)?;
    for unit in units {
        let Some(after) = rest.strip_prefix(divider) else { break };
        *rest = after;
        Number::take(rest)?.add(sum, unit)?;
    }
    Ok(())
}

struct Number {
    whole: i64,
    fraction: f64,
    /// How many digits stand before the decimal point.
    digits: usize,
}

impl Number {
    /// Takes what C's `strtod` takes for a decimal number.
    fn take(rest: &mut &str) -> Result<Self, Wrong> {
        if !rest.starts_with(|symbol: char| symbol.is_ascii_digit() || matches!(symbol, '-' | '.')) {
            return Err(Wrong::Format);
        }
        let unsigned = rest.strip_prefix('-').unwrap_or(rest);
        let run = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let digits = run(unsigned);
        let mut end = rest.len() - unsigned.len() + digits;
        if rest.get(end..).is_some_and(|after| after.starts_with('.')) {
            end += 1 + run(rest.get(end + 1..).unwrap_or_default());
        }
        let exponent = rest.get(end..).and_then(|after| after.strip_prefix(['e', 'E'])).unwrap_or_default();
        let places = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if run(places) > 0 {
            end += 1 + exponent.len() - places.len() + run(places);
        }
        let (number, after) = rest.split_at(end);
        let value: f64 = number.parse().map_err(|_| Wrong::Format)?;
        if value.is_infinite() {
            return Err(Wrong::Format);
        }
        if value.abs() > NUMBER_MAX {
            return Err(Wrong::Field);
        }
        *rest = after;
        Ok(Self { whole: whole(value), fraction: value - value.trunc(), digits })
    }

    fn add(&self, sum: &mut Sum, unit: Unit) -> Result<(), Wrong> {
        sum.add(self.whole, self.fraction, unit)
    }

    /// `yyyymmdd`
    fn add_date(&self, sum: &mut Sum) -> Result<(), Wrong> {
        sum.add(self.whole / 10_000, 0.0, Unit::Year)?;
        sum.add(self.whole / 100 % 100, 0.0, Unit::Month)?;
        sum.add(self.whole % 100, self.fraction, Unit::Day)
    }

    /// `hhmmss`; its fraction is of a microsecond, as in Postgres.
    fn add_time(&self, sum: &mut Sum) -> Result<(), Wrong> {
        sum.add(self.whole / 10_000, 0.0, Unit::Hour)?;
        sum.add(self.whole / 100 % 100, 0.0, Unit::Minute)?;
        sum.add(self.whole % 100, 0.0, Unit::Second)?;
        sum.add(0, self.fraction, Unit::Microsecond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_the_same() {
        let check = |text: &str, same: &str| assert_eq!(read_iso(text), read_iso(same), "{text}");
        check("P1Y2M3DT4H5M6S", "P0001-02-03T04:05:06");
        check("P1Y2M3DT4H5M6S", "P00010203T040506");
        check("P1W", "P7D");
        check("PT1.5H", "PT90M");
        check("P1e1D", "P10D");
        for text in ["P", "1Y", "P1", "PT1D", "P1Y2", "P1H", "PT1:2:3x"] {
            let expect = if text == "P1" { read_iso("P1Y") } else { Err(Wrong::Format) };
            assert_eq!(read_iso(text), expect, "{text}");
        }
    }
}
