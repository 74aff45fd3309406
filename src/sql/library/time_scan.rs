//! Reading the text that `to_date` and `to_timestamp` are given, piece by piece of their pattern.
//!
//! Source: `DCH_from_char` of Postgres 15. Numbers are of 32 bits, and wrap where Postgres's do.

use super::time_pattern::{
    Convention, DAYS, DAYS_SHORT, Field, Item, MONTHS, MONTHS_ROMAN, MONTHS_SHORT, Node, is_separator, is_space,
};
use crate::{
    error::{Error, Result},
    sql::function::fault,
};

const AM_PM: [&str; 2] = ["am", "pm"];
const AM_PM_DOTTED: [&str; 2] = ["a.m.", "p.m."];
const AD_BC: [&str; 2] = ["ad", "bc"];
const AD_BC_DOTTED: [&str; 2] = ["a.d.", "b.c."];

/// What the text said; 0 where it said nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) convention: Option<Convention>,
    pub(super) hour: i32,
    pub(super) is_afternoon: i32,
    pub(super) minute: i32,
    pub(super) second: i32,
    pub(super) second_of_day: i32,
    /// From 1 for Sunday.
    pub(super) weekday: i32,
    pub(super) day: i32,
    pub(super) day_of_year: i32,
    pub(super) month: i32,
    pub(super) millis: i32,
    pub(super) year: i32,
    pub(super) is_before_christ: i32,
    pub(super) week: i32,
    pub(super) week_of_month: i32,
    pub(super) century: i32,
    pub(super) julian: i32,
    pub(super) micros: i32,
    /// How many digits of the year the pattern has.
    pub(super) year_digits: u8,
    pub(super) is_12_hours: bool,
    pub(super) zone_sign: i32,
    pub(super) zone_hours: i32,
    pub(super) zone_minutes: i32,
    /// Digits of the second's fraction, where the pattern says it.
    pub(super) fraction_digits: u8,
}

/// Reads a text by a pattern. What the text has after the pattern's end counts for nothing, nor does a pattern after the text's end.
pub(super) fn scan(nodes: &[Node], text: &str) -> Result<Scanned> {
    let mut scanner = Scanner { text, at: 0, is_fixed: false, skipped: 0, found: Scanned::default() };
    for (index, node) in nodes.iter().enumerate() {
        if scanner.rest().is_empty() {
            break;
        }
        scanner.read(node, index == 0, nodes.get(index + 1))?;
    }
    Ok(scanner.found)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// After `FX`: blanks are counted.
    is_fixed: bool,
    /// Letters skipped beyond what the pattern has.
    skipped: i32,
    found: Scanned,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// One letter further, or nowhere at the end.
    fn step(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.step();
            self.skipped += 1;
        }
    }

    fn read(&mut self, node: &Node, is_first: bool, next: Option<&Node>) -> Result<()> {
        let is_field = matches!(node, Node::Item(item) if item.field != Field::Fixed);
        let may_skip = is_field || (is_first && !matches!(node, Node::Item(_)));
        if !self.is_fixed && may_skip {
            self.skip_spaces();
        }
        match node {
            Node::Space(_) | Node::Separator(_) if self.is_fixed => self.step(),
            Node::Space(_) | Node::Separator(_) => match self.peek() {
                Some(letter) if is_space(letter) || is_separator(letter) => self.step(),
                _ => self.skipped -= 1,
            },
            // What was skipped may have been this letter.
            Node::Text(_) if !self.is_fixed && self.skipped > 0 => self.skipped -= 1,
            Node::Text(_) => self.step(),
            Node::Item(item) => {
                self.set_convention(item)?;
                self.read_item(item, next)?;
                if !self.is_fixed {
                    self.skipped = 0;
                    self.skip_spaces();
                }
            }
        }
        Ok(())
    }

    fn set_convention(&mut self, item: &Item) -> Result<()> {
        match (self.found.convention, item.convention) {
            (Some(known), Some(other)) if known != other => {
                let error = fault("22007", "invalid combination of date conventions");
                Err(error.with_hint("Do not mix Gregorian and ISO week date conventions in a formatting template."))
            }
            (known, other) => {
                self.found.convention = known.or(other);
                Ok(())
            }
        }
    }

    fn read_item(&mut self, item: &Item, next: Option<&Node>) -> Result<()> {
        match item.field {
            Field::Fixed => self.is_fixed = true,
            Field::HalfDay | Field::HalfDayDotted => {
                let names = if item.field == Field::HalfDay { AM_PM } else { AM_PM_DOTTED };
                let found = self.word(&names, item)?;
                set(&mut self.found.is_afternoon, found, item)?;
                self.found.is_12_hours = true;
            }
            Field::Era | Field::EraDotted => {
                let names = if item.field == Field::Era { AD_BC } else { AD_BC_DOTTED };
                let found = self.word(&names, item)?;
                set(&mut self.found.is_before_christ, found, item)?;
            }
            Field::MonthName | Field::MonthShort => {
                let names = if item.field == Field::MonthName { MONTHS } else { MONTHS_SHORT };
                let found = self.word(&names, item)?;
                set(&mut self.found.month, found + 1, item)?;
            }
            Field::MonthRoman => {
                let found = self.word(&MONTHS_ROMAN, item)?;
                set(&mut self.found.month, 12 - found, item)?;
            }
            Field::DayName | Field::DayShort => {
                let names = if item.field == Field::DayName { DAYS } else { DAYS_SHORT };
                let found = self.word(&names, item)?;
                set(&mut self.found.weekday, found, item)?;
                self.found.weekday += 1;
            }
            Field::ZoneName | Field::ZoneOffset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", item.name);
                return Err(fault("0A000", message));
            }
            Field::ZoneHours => {
                self.found.zone_sign = self.zone_sign();
                self.number(item, 2, next, |found| &mut found.zone_hours)?;
            }
            Field::ZoneMinutes => {
                if self.found.zone_sign == 0 {
                    self.found.zone_sign = 1;
                }
                self.number(item, 2, next, |found| &mut found.zone_minutes)?;
            }
            _ => {
                self.read_number(item, next)?;
                if item.ordinal.is_some() {
                    self.step();
                    self.step();
                }
            }
        }
        Ok(())
    }

    fn read_number(&mut self, item: &Item, next: Option<&Node>) -> Result<()> {
        let digits = item.name.len();
        match item.field {
            Field::Hour12 => {
                self.number(item, 2, next, |found| &mut found.hour)?;
                self.found.is_12_hours = true;
            }
            Field::Hour24 => drop(self.number(item, 2, next, |found| &mut found.hour)?),
            Field::Minute => drop(self.number(item, digits, next, |found| &mut found.minute)?),
            Field::Second => drop(self.number(item, digits, next, |found| &mut found.second)?),
            Field::SecondOfDay => drop(self.number(item, digits, next, |found| &mut found.second_of_day)?),
            Field::Millisecond => {
                let length = self.number(item, 3, next, |found| &mut found.millis)?;
                self.found.millis = self.found.millis.wrapping_mul(missing(length, 3));
            }
            Field::Microsecond => {
                let length = self.number(item, 6, next, |found| &mut found.micros)?;
                self.found.micros = self.found.micros.wrapping_mul(missing(length, 6));
            }
            Field::Fraction(digits) => {
                self.found.fraction_digits = digits;
                let length = self.number(item, digits.into(), next, |found| &mut found.micros)?;
                self.found.micros = self.found.micros.wrapping_mul(missing(length, 6));
            }
            Field::Month => drop(self.number(item, digits, next, |found| &mut found.month)?),
            Field::DayOfYear | Field::IsoDayOfYear => {
                self.number(item, 3, next, |found| &mut found.day_of_year)?;
            }
            Field::DayOfMonth => drop(self.number(item, digits, next, |found| &mut found.day)?),
            Field::DayOfWeek => drop(self.number(item, digits, next, |found| &mut found.weekday)?),
            Field::IsoDayOfWeek => {
                self.number(item, 1, next, |found| &mut found.weekday)?;
                self.found.weekday = match self.found.weekday.wrapping_add(1) {
                    8.. => 1,
                    weekday => weekday,
                };
            }
            Field::WeekOfYear | Field::IsoWeek => drop(self.number(item, digits, next, |found| &mut found.week)?),
            // Which day of the quarter would it be?
            Field::Quarter => drop(self.integer(item, digits, next)?),
            Field::Century => drop(self.number(item, digits, next, |found| &mut found.century)?),
            Field::YearComma => {
                let year = self.year_with_comma()?;
                set(&mut self.found.year, year, item)?;
                self.found.year_digits = 4;
            }
            Field::Year(count) | Field::IsoYear(count) => {
                let length = self.number(item, digits, next, |found| &mut found.year)?;
                if count < 4 && length < 4 {
                    self.found.year = near_2020(self.found.year);
                }
                self.found.year_digits = count;
            }
            Field::WeekOfMonth => drop(self.number(item, digits, next, |found| &mut found.week_of_month)?),
            Field::Julian => drop(self.number(item, digits, next, |found| &mut found.julian)?),
            _ => {}
        }
        Ok(())
    }

    /// A minus that was skipped as if it were a separator counts.
    fn zone_sign(&mut self) -> i32 {
        match self.peek() {
            Some(sign @ ('+' | '-' | ' ')) => {
                self.step();
                if sign == '-' { -1 } else { 1 }
            }
            _ if self.skipped > 0 && self.text[..self.at].ends_with('-') => -1,
            _ => 1,
        }
    }

    /// Reads a number into its place; gives how many bytes it took, blanks before it included.
    fn number(
        &mut self,
        item: &Item,
        digits: usize,
        next: Option<&Node>,
        place: fn(&mut Scanned) -> &mut i32,
    ) -> Result<usize> {
        let start = self.at;
        let value = self.integer(item, digits, next)?;
        set(place(&mut self.found), value, item)?;
        Ok(self.at - start)
    }

    /// So many digits, or as many as there are where no digit can follow.
    fn integer(&mut self, item: &Item, digits: usize, next: Option<&Node>) -> Result<i32> {
        let start = self.at;
        let rest = self.rest();
        let spaces = rest.len() - rest.trim_start_matches(is_space).len();
        let rest = &rest[spaces..];
        let shown = &rest[..rest.floor_char_boundary(digits)];
        let value = if item.is_short || ends_digits(item, next) {
            let (value, length) = leading_integer(rest);
            self.at += if length == 0 { 0 } else { spaces + length };
            value
        } else {
            if rest.len() < digits {
                let message = format!("source string too short for \"{}\" formatting field", item.name);
                let detail = format!("Field requires {digits} characters, but only {} remain.", rest.len());
                return Err(fixed_width(message, detail));
            }
            let (value, length) = leading_integer(shown);
            if length > 0 && length < digits {
                let detail = format!("Field requires {digits} characters, but only {length} could be parsed.");
                return Err(fixed_width(format!("invalid value \"{shown}\" for \"{}\"", item.name), detail));
            }
            self.at += spaces + length;
            value
        };
        if self.at == start {
            let error = fault("22007", format!("invalid value \"{shown}\" for \"{}\"", item.name));
            return Err(error.with_detail("Value must be an integer."));
        }
        value.and_then(|value| i32::try_from(value).ok()).ok_or_else(|| {
            let error = fault("22008", format!("value for \"{}\" in source string is out of range", item.name));
            error.with_detail(format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX))
        })
    }

    /// Thousands, a comma, and up to three digits.
    fn year_with_comma(&mut self) -> Result<i32> {
        let invalid = || fault("22007", "invalid input string for \"Y,YYY\"");
        let (thousands, length) = leading_integer(self.rest());
        let after = self.rest()[length..].strip_prefix(',').filter(|_| length > 0).ok_or_else(invalid)?;
        let spaces = after.len() - after.trim_start_matches(is_space).len();
        let rest = &after[spaces..];
        let (years, years_length) = leading_integer(&rest[..rest.floor_char_boundary(3)]);
        if years_length == 0 {
            return Err(invalid());
        }
        self.at += length + 1 + spaces + years_length;
        // C keeps the low bits of a number that is too long.
        let low = |value: Option<i64>, otherwise: i64| {
            let bits = value.unwrap_or(otherwise).rem_euclid(1 << 32);
            i32::try_from(if bits < 1 << 31 { bits } else { bits - (1 << 32) }).unwrap_or_default()
        };
        Ok(low(years, 0).wrapping_add(low(thousands, -1).wrapping_mul(1_000)))
    }

    /// Which of the words the text goes on with, in any case.
    fn word(&mut self, words: &[&str], item: &Item) -> Result<i32> {
        let rest = self.rest();
        let is_next = |word: &&str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if let Some(index) = words.iter().position(is_next) {
            self.at += words[index].len();
            return Ok(i32::try_from(index).unwrap_or_default());
        }
        let shown = rest.split(|letter: char| is_space(letter) && letter != '\u{b}').next().unwrap_or_default();
        let error = fault("22007", format!("invalid value \"{shown}\" for \"{}\"", item.name));
        Err(error.with_detail("The given value did not match any of the allowed values for this field."))
    }
}

/// A field may be given twice, if it is the same.
fn set(place: &mut i32, value: i32, item: &Item) -> Result<()> {
    if *place != 0 && *place != value {
        let error = fault("22007", format!("conflicting values for \"{}\" field in formatting string", item.name));
        return Err(error.with_detail("This value contradicts a previous setting for the same field type."));
    }
    *place = value;
    Ok(())
}

fn fixed_width(message: String, detail: String) -> Error {
    let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
    fault("22007", message).with_detail(detail).with_hint(hint)
}

/// Whether what follows in the pattern cannot be a digit, so that a number ends where its digits do.
fn ends_digits(item: &Item, next: Option<&Node>) -> bool {
    item.ordinal.is_some()
        || match next {
            None => true,
            Some(Node::Item(next)) => !next.is_digits,
            Some(Node::Space(letter) | Node::Separator(letter) | Node::Text(letter)) => !letter.is_ascii_digit(),
        }
}

/// A number with its sign and the blanks before it, and the bytes of all that; without a number where it is too long.
fn leading_integer(text: &str) -> (Option<i64>, usize) {
    let unsigned = text.trim_start_matches(is_space);
    let unsigned = unsigned.strip_prefix(['+', '-']).unwrap_or(unsigned);
    let after = unsigned.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if after.len() == unsigned.len() {
        return (Some(0), 0);
    }
    let length = text.len() - after.len();
    (text[..length].trim_start_matches(is_space).parse().ok(), length)
}

/// What makes a fraction's digits so many.
fn missing(length: usize, digits: usize) -> i32 {
    match length {
        0 => 1,
        length => 10_i32.pow(u32::try_from(digits.saturating_sub(length)).unwrap_or_default()),
    }
}

/// Years of less than four digits are near 2020.
fn near_2020(year: i32) -> i32 {
    match year {
        ..70 | 100..520 => year.wrapping_add(2_000),
        70..100 => year + 1_900,
        520..1_000 => year + 1_000,
        _ => year,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::time_pattern::parse, *};

    #[test]
    fn texts_are_read() {
        let check = |text: &str, pattern: &str, expect: (i32, i32, i32)| {
            let found = scan(&parse(pattern), text).unwrap();
            assert_eq!((found.year, found.month, found.day), expect, "{text} by {pattern}");
        };
        check("2024-02-29", "YYYY-MM-DD", (2024, 2, 29));
        check("20240229", "YYYYMMDD", (2024, 2, 29));
        check("  2024/2/9 and more", "YYYY-MM-DD", (2024, 2, 9));
        check("29 february 2024", "DD Month YYYY", (2024, 2, 29));
        check("9th xii", "DDth RM", (0, 12, 9));
        check("2,024", "Y,YYY", (2024, 0, 0));
        check("69", "YY", (2069, 0, 0));
        check("70", "YY", (1970, 0, 0));
        check("2024", "YYYY-MM", (2024, 0, 0));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let check = |text: &str, pattern: &str, expect: &str| {
            assert_eq!(scan(&parse(pattern), text).unwrap_err().message(), expect, "{text} by {pattern}");
        };
        check("2024   Feb", "FXYYYY Mon", "invalid value \"\" for \"Mon\"");
        check("29 Fez", "DD Mon", "invalid value \"Fez\" for \"Mon\"");
        check("2a", "DDMM", "invalid value \"2a\" for \"DD\"");
        check("2024 2023", "YYYY yyyy", "conflicting values for \"yyyy\" field in formatting string");
        check("2024 3", "YYYY IW", "invalid combination of date conventions");
        check("99999999999", "J", "value for \"J\" in source string is out of range");
        check("CET", "TZ", "formatting field \"TZ\" is only supported in to_char");
    }
}
