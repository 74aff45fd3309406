//! How Postgres cuts the text of a date, a time or an interval into fields, and reads the numbers in them.

use super::time_words::own_word;
use crate::{error::Error, sql::function::fault};

/// A text has no more fields than these.
const FIELDS_MAX: usize = 25;
const MICROS_PER_SECOND: f64 = 1e6;
/// The last hour of an offset.
const OFFSET_HOURS_MAX: i32 = 15;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wrong {
    Format,
    /// A field is out of its range.
    Field,
    /// So it is, and another order of day and month might help.
    MonthOrDay,
    /// The offset of a zone.
    Displacement,
    /// The name of a zone.
    Zone(String),
}

impl Wrong {
    /// The error that Postgres gives for it.
    pub(super) fn error(self, text: &str, kind: &str) -> Error {
        let out_of_range = || fault("22008", format!("date/time field value out of range: \"{text}\""));
        match self {
            Self::Format => fault("22007", format!("invalid input syntax for type {kind}: \"{text}\"")),
            Self::Field => out_of_range(),
            Self::MonthOrDay => out_of_range().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Self::Displacement => fault("22009", format!("time zone displacement out of range: \"{text}\"")),
            Self::Zone(name) => fault("22023", format!("time zone \"{name}\" not recognized")),
        }
    }
}

/// A part of the text, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) form: Form,
    pub(super) text: String,
}

/// What a field looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Digits, perhaps with a decimal point.
    Number,
    /// Digits with two delimiters or with text; also the name of a zone.
    Date,
    /// Digits with colons.
    Time,
    /// Letters.
    Word,
    /// A sign and letters.
    SignedWord,
    /// A sign and digits; also a signed number.
    Signed,
}

/// The fields of a text, which may take up to `bytes_max` bytes together, with one after each.
pub(super) fn fields(text: &str, bytes_max: usize) -> Result<Vec<Field>, Wrong> {
    let mut rest = Rest { text: text.as_bytes(), at: 0 };
    let mut fields = Vec::with_capacity(4);
    let mut used = 0;
    while let Some(byte) = rest.peek() {
        if is_space(byte) {
            rest.at += 1;
            continue;
        }
        if fields.len() >= FIELDS_MAX {
            return Err(Wrong::Format);
        }
        let mut text = String::with_capacity(16);
        let form = match byte {
            b'0'..=b'9' => rest.starts_with_digit(&mut text),
            b'.' => {
                rest.push(&mut text);
                rest.push_while(&mut text, |byte| byte.is_ascii_digit());
                Form::Number
            }
            b'+' | b'-' => rest.starts_with_sign(&mut text)?,
            _ if byte.is_ascii_alphabetic() => rest.starts_with_letter(&mut text),
            // Other punctuation only divides.
            _ if byte.is_ascii_punctuation() => {
                rest.at += 1;
                continue;
            }
            _ => return Err(Wrong::Format),
        };
        if used + text.len() >= bytes_max {
            return Err(Wrong::Format);
        }
        used += text.len() + 1;
        fields.push(Field { form, text });
    }
    Ok(fields)
}

struct Rest<'a> {
    text: &'a [u8],
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn is_next(&self, is_it: impl Fn(u8) -> bool) -> bool {
        self.peek().is_some_and(is_it)
    }

    fn push(&mut self, text: &mut String) {
        if let Some(byte) = self.peek() {
            text.push(char::from(byte.to_ascii_lowercase()));
            self.at += 1;
        }
    }

    fn push_while(&mut self, text: &mut String, is_it: impl Fn(u8) -> bool) {
        while self.is_next(&is_it) {
            self.push(text);
        }
    }

    fn starts_with_digit(&mut self, text: &mut String) -> Form {
        self.push_while(text, |byte| byte.is_ascii_digit());
        match self.peek() {
            Some(b':') => {
                self.push_while(text, |byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
                Form::Time
            }
            Some(delimiter @ (b'-' | b'/' | b'.')) => {
                self.push(text);
                if !self.is_next(|byte| byte.is_ascii_digit()) {
                    self.push_while(text, |byte| byte.is_ascii_alphanumeric() || byte == delimiter);
                    return Form::Date;
                }
                self.push_while(text, |byte| byte.is_ascii_digit());
                if self.peek() == Some(delimiter) {
                    self.push_while(text, |byte| byte.is_ascii_digit() || byte == delimiter);
                    return Form::Date;
                }
                if delimiter == b'.' { Form::Number } else { Form::Date }
            }
            _ => Form::Number,
        }
    }

    fn starts_with_letter(&mut self, text: &mut String) -> Form {
        self.push_while(text, |byte| byte.is_ascii_alphabetic());
        let is_date = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            // A word such as `j` may have its number right behind it.
            Some(b'+' | b'0'..=b'9') => own_word(text).is_none(),
            _ => false,
        };
        if !is_date {
            return Form::Word;
        }
        self.push(text);
        self.push_while(text, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':')
        });
        Form::Date
    }

    fn starts_with_sign(&mut self, text: &mut String) -> Result<Form, Wrong> {
        self.push(text);
        while self.is_next(is_space) {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0'..=b'9') => {
                self.push_while(text, |byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-'));
                Ok(Form::Signed)
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                self.push_while(text, |byte| byte.is_ascii_alphabetic());
                Ok(Form::SignedWord)
            }
            _ => Err(Wrong::Format),
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The whole number that a text starts with, 0 where it starts with none, and what follows; none if it is not an `N`.
pub(super) fn leading<N: TryFrom<i128>>(text: &str) -> Option<(N, &str)> {
    let (is_negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..)?),
        Some(b'+') => (false, text.get(1..)?),
        _ => (false, text),
    };
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Some((N::try_from(0).ok()?, text));
    }
    let (digits, rest) = unsigned.split_at(digits);
    let number: i128 = digits.parse().ok()?;
    Some((N::try_from(if is_negative { -number } else { number }).ok()?, rest))
}

/// A decimal point and digits, or the point alone.
pub(super) fn fraction(text: &str) -> Result<f64, Wrong> {
    match text.strip_prefix('.') {
        Some("") => Ok(0.0),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| Wrong::Format),
        _ => Err(Wrong::Format),
    }
}

/// The same in microseconds.
pub(super) fn fraction_micros(text: &str) -> Result<i64, Wrong> {
    fraction(text).map(|fraction| whole((fraction * MICROS_PER_SECOND).round_ties_even()))
}

/// What clocks show, or how long something takes: `hh:mm`, `hh:mm:ss.sss` and `mm:ss.sss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) hours: i64,
    pub(super) minutes: i64,
    pub(super) seconds: i64,
    pub(super) micros: i64,
}

impl Clock {
    /// Two parts are minutes and seconds where that `is_minute_to_second`, or where the last has a fraction.
    pub(super) fn parse(text: &str, is_minute_to_second: bool) -> Result<Self, Wrong> {
        let (first, rest) = leading::<i64>(text).ok_or(Wrong::Field)?;
        let (second, rest) = leading::<i32>(rest.strip_prefix(':').ok_or(Wrong::Format)?).ok_or(Wrong::Field)?;
        let second = i64::from(second);
        let clock = if let Some(rest) = rest.strip_prefix(':') {
            let (seconds, rest) = leading::<i32>(rest).ok_or(Wrong::Field)?;
            let micros = if rest.is_empty() { 0 } else { fraction_micros(rest)? };
            Self { hours: first, minutes: second, seconds: seconds.into(), micros }
        } else if rest.is_empty() && !is_minute_to_second {
            Self { hours: first, minutes: second, seconds: 0, micros: 0 }
        } else {
            let micros = if rest.is_empty() { 0 } else { fraction_micros(rest)? };
            let minutes = i32::try_from(first).map_err(|_| Wrong::Field)?;
            Self { hours: 0, minutes: minutes.into(), seconds: second, micros }
        };
        let is_right = clock.hours >= 0 && (0..60).contains(&clock.minutes) && (0..=60).contains(&clock.seconds);
        if is_right { Ok(clock) } else { Err(Wrong::Field) }
    }
}

/// Seconds east of UTC: `+hh`, `-hhmm`, `+hh:mm:ss`.
pub(super) fn zone_offset(text: &str) -> Result<i64, Wrong> {
    let is_west = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).ok_or(Wrong::Format)?;
    let number = |text| leading::<i32>(text).ok_or(Wrong::Displacement);
    let (mut hours, mut rest) = number(unsigned)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (minutes, rest) = number(after)?;
        if let Some(after) = rest.strip_prefix(':') {
            (seconds, rest) = number(after)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if !(0..=OFFSET_HOURS_MAX).contains(&hours) || !(0..60).contains(&minutes) || !(0..60).contains(&seconds) {
        return Err(Wrong::Displacement);
    }
    if !rest.is_empty() {
        return Err(Wrong::Format);
    }
    let offset = i64::from((hours * 60 + minutes) * 60 + seconds);
    Ok(if is_west { -offset } else { offset })
}

/// The parts of a date with delimiters: runs of letters or of digits. Right behind a run, one byte is lost, as Postgres
/// has it.
pub(super) fn date_parts(text: &str) -> Result<Vec<&str>, Wrong> {
    let mut parts = Vec::with_capacity(3);
    let mut rest = text;
    while !rest.is_empty() && parts.len() < FIELDS_MAX {
        rest = rest.trim_start_matches(|symbol: char| !symbol.is_ascii_alphanumeric());
        let is_digits = rest.bytes().next().ok_or(Wrong::Format)?.is_ascii_digit();
        let ends = |byte: u8| if is_digits { !byte.is_ascii_digit() } else { !byte.is_ascii_alphabetic() };
        let (part, after) = rest.split_at(rest.bytes().position(ends).unwrap_or(rest.len()));
        parts.push(part);
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(parts)
}

/// The number that a text starts with, in 32 bits; what is too large for them is wrapped, as in Postgres.
pub(super) fn wrapped(text: &str) -> i64 {
    const RANGE: i64 = 1 << 32;
    let (number, _) = leading::<i128>(text).unwrap_or((i128::from(i64::MAX), ""));
    let number = i64::try_from(number).unwrap_or(i64::MAX).rem_euclid(RANGE);
    if number < RANGE / 2 { number } else { number - RANGE }
}

/// The float without its fraction.
#[expect(clippy::cast_possible_truncation, reason = "the cast cuts off as Postgres does; callers stay far below 2^63")]
pub(super) fn whole(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut() {
        let check = |text: &str, expect: &[(Form, &str)]| {
            let found = fields(text, 150).unwrap_or_default();
            let found: Vec<_> = found.iter().map(|field| (field.form, field.text.as_str())).collect();
            assert_eq!(found, expect, "{text}");
        };
        check(
            "2024-01-02 10:00:00.5+02",
            &[(Form::Date, "2024-01-02"), (Form::Time, "10:00:00.5"), (Form::Signed, "+02")],
        );
        check("January 8, 1999", &[(Form::Word, "january"), (Form::Number, "8"), (Form::Number, "1999")]);
        check("J2451187", &[(Form::Word, "j"), (Form::Number, "2451187")]);
        check("now America/New_York", &[(Form::Word, "now"), (Form::Date, "america/new_york")]);
        check("- 1 -infinity", &[(Form::Signed, "-1"), (Form::SignedWord, "-infinity")]);
        check("1é", &[]);
    }

    #[test]
    fn numbers_lead() {
        assert_eq!(leading::<i32>("-12.5"), Some((-12, ".5")));
        assert_eq!(leading::<i32>("x"), Some((0, "x")));
        assert_eq!(leading::<i32>("3000000000"), None);
        assert_eq!(fraction_micros(".1234565"), Ok(123_456));
        assert_eq!(fraction(".5x"), Err(Wrong::Format));
        assert_eq!(wrapped("42949672970"), 10);
        assert_eq!(zone_offset("-0330"), Ok(-12_600));
        assert_eq!(zone_offset("+16"), Err(Wrong::Displacement));
        assert_eq!(date_parts("1-jan2000"), Ok(vec!["1", "jan", "000"]));
    }
}
