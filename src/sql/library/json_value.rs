//! The values of `jsonb`: how they are printed, which of two is the larger, and which contains another.

use std::{borrow::Cow, cmp::Ordering, collections::HashSet};

use super::json_text::{self, quote};
use crate::{error::Result, sql::function::fault};

/// How many digits a numeric has before the point at most, and behind it.
const WHOLE_DIGITS_MAX: usize = 131_072;
const SCALE_MAX: usize = 16_383;

/// How many scalars of two arrays are compared one by one.
const PAIRS_MAX: usize = 1024;

/// Exponents from here on are none.
const EXPONENT_END: usize = 1_073_741_823;

/// A value of `jsonb`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// With all digits written out: no exponent, and no minus before zero.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    /// By the length of the keys, then by their bytes; each key is there once.
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Json<'a> {
    /// An object of these members; the last one of a key stays.
    pub(super) fn object(mut members: Vec<(Cow<'a, str>, Self)>) -> Self {
        if !members.is_sorted_by(|(first, _), (second, _)| by_length(first, second) == Ordering::Less) {
            members.reverse();
            members.sort_by(|(first, _), (second, _)| by_length(first, second));
            members.dedup_by(|(later, _), (earlier, _)| later == earlier);
        }
        Self::Object(members)
    }

    /// As [`json_text::Shape`] has it.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    pub(super) const fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// The member of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let at = members.binary_search_by(|(other, _)| by_length(other, key)).ok()?;
        members.get(at).map(|(_, value)| value)
    }

    /// As Postgres prints it.
    pub(super) fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Prints behind what is there.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(digits) => out.push_str(digits),
            Self::String(text) => quote(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    quote(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Whether all of `part` is in it: at its own place in objects, anywhere in arrays.
    pub(super) fn contains(&self, part: &Self) -> bool {
        match (self, part) {
            // An array holds a bare scalar, at the top only.
            (Self::Array(elements), scalar) if scalar.is_scalar() => {
                elements.iter().any(|element| element.is_equal_scalar(scalar))
            }
            _ => self.contains_within(part),
        }
    }

    fn contains_within(&self, part: &Self) -> bool {
        match (self, part) {
            (Self::Object(members), Self::Object(parts)) => {
                members.len() >= parts.len()
                    && parts.iter().all(|(key, part)| self.member(key).is_some_and(|value| value.contains_within(part)))
            }
            (Self::Array(elements), Self::Array(parts)) => {
                let key = |scalar: &Self| {
                    let mut key = Vec::new();
                    scalar.write_key(&mut key);
                    key
                };
                let is_large = elements.len().saturating_mul(parts.len()) > PAIRS_MAX;
                let scalars = elements.iter().filter(|element| is_large && element.is_scalar());
                let keys: HashSet<Vec<u8>> = scalars.map(key).collect();
                parts.iter().all(|part| match part.is_scalar() && is_large {
                    true => keys.contains(&key(part)),
                    false => elements.iter().any(|element| element.contains_within(part)),
                })
            }
            _ => self.is_equal_scalar(part),
        }
    }

    /// Whether both are the same scalar; numbers by their value.
    pub(super) fn is_equal_scalar(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(first), Self::Number(second)) => compare_numbers(first, second) == Ordering::Equal,
            (Self::Array(_) | Self::Object(_), _) | (_, Self::Array(_) | Self::Object(_)) => false,
            _ => self == other,
        }
    }

    /// Appends bytes that are ordered as the values are.
    fn write_key(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(1),
            Self::String(text) => {
                out.push(2);
                write_text_key(text, out);
            }
            Self::Number(digits) => {
                out.push(3);
                write_number_key(digits, out);
            }
            Self::Bool(value) => out.extend([4, u8::from(*value)]),
            Self::Array(elements) => {
                out.push(5);
                write_count_key(elements.len(), out);
                for element in elements {
                    element.write_key(out);
                }
            }
            Self::Object(members) => {
                out.push(6);
                write_count_key(members.len(), out);
                for (key, value) in members {
                    write_text_key(key, out);
                    value.write_key(out);
                }
            }
        }
    }
}

/// Bytes that are ordered as Postgres orders the values (texts by their bytes), and equal only for equal values.
///
/// A scalar at the top is an array of one element there, which is before any real one of as many.
pub(super) fn sort_key(jsonb: &str) -> Result<Vec<u8>> {
    let value = json_text::read(jsonb)?;
    let mut key = Vec::with_capacity(jsonb.len() + 8);
    match &value {
        Json::Object(_) => value.write_key(&mut key),
        Json::Array(elements) => {
            key.push(5);
            write_count_key(elements.len(), &mut key);
            key.push(1);
            for element in elements {
                element.write_key(&mut key);
            }
        }
        scalar => {
            key.push(5);
            write_count_key(1, &mut key);
            key.push(0);
            scalar.write_key(&mut key);
        }
    }
    Ok(key)
}

/// Which of two values of `jsonb` is the larger.
pub(super) fn compare(first: &str, second: &str) -> Result<Ordering> {
    if first == second {
        return Ok(Ordering::Equal);
    }
    Ok(sort_key(first)?.cmp(&sort_key(second)?))
}

/// The order of the keys in an object.
pub(super) fn by_length(first: &str, second: &str) -> Ordering {
    first.len().cmp(&second.len()).then_with(|| first.cmp(second))
}

fn write_count_key(count: usize, out: &mut Vec<u8>) {
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

/// The character 0 is in no text of `jsonb`, so it can end them.
fn write_text_key(text: &str, out: &mut Vec<u8>) {
    out.extend(text.as_bytes());
    out.push(0);
}

/// The sign, how many digits are before the point, the digits; all upside down where it is negative.
fn write_number_key(number: &str, out: &mut Vec<u8>) {
    let (is_negative, exponent, digits) = significant(number);
    if digits.is_empty() {
        return out.push(2);
    }
    out.push(if is_negative { 1 } else { 3 });
    let flip = if is_negative { 0xFF } else { 0 };
    let exponent = u32::try_from(exponent + (1 << 30)).unwrap_or(u32::MAX);
    out.extend(exponent.to_be_bytes().map(|byte| byte ^ flip));
    out.extend(digits.bytes().map(|byte| byte ^ flip));
    out.push(flip);
}

/// Of two numbers that are written out, by their values.
pub(super) fn compare_numbers(first: &str, second: &str) -> Ordering {
    if first == second {
        return Ordering::Equal;
    }
    let key = |number: &str| {
        let mut key = Vec::with_capacity(number.len() + 6);
        write_number_key(number, &mut key);
        key
    };
    key(first).cmp(&key(second))
}

/// Whether a number is negative, how many digits it has before the point (less than none for zeros behind it), and its
/// digits from the first to the last that is not zero.
fn significant(number: &str) -> (bool, i64, Cow<'_, str>) {
    let (is_negative, digits) = number.strip_prefix('-').map_or((false, number), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    if whole.is_empty() {
        let digits = fraction.trim_start_matches('0');
        return (is_negative, length(digits) - length(fraction), Cow::Borrowed(digits.trim_end_matches('0')));
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = match fraction {
        "" => Cow::Borrowed(whole.trim_end_matches('0')),
        fraction => Cow::Owned(format!("{whole}{fraction}")),
    };
    (is_negative, length(whole), digits)
}

/// A number of JSON with all digits written out, as `numeric` has it.
pub(super) fn number(written: &str) -> Result<Cow<'_, str>> {
    let overflow = || fault("22003", "value overflows numeric format");
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: isize = exponent.parse().map_err(|_| overflow())?;
    if exponent.unsigned_abs() >= EXPONENT_END {
        return Err(overflow());
    }
    // Where the point is in the digits, and how many stay behind it.
    let point = isize::try_from(whole.len()).map_err(|_| overflow())? + exponent;
    let scale = usize::try_from(isize::try_from(fraction.len()).map_err(|_| overflow())? - exponent).unwrap_or(0);
    let is_zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if scale > SCALE_MAX {
        return Err(overflow());
    }
    if is_zero {
        let zeros = "0".repeat(scale);
        return Ok(match scale {
            0 => Cow::Borrowed("0"),
            _ => Cow::Owned(format!("0.{zeros}")),
        });
    }
    let leading = whole.bytes().chain(fraction.bytes()).take_while(|byte| *byte == b'0').count();
    if usize::try_from(point).is_ok_and(|point| point.saturating_sub(leading) > WHOLE_DIGITS_MAX) {
        return Err(overflow());
    }
    if exponent == 0 {
        return Ok(Cow::Borrowed(mantissa));
    }
    let all = format!("{whole}{fraction}");
    let text = match usize::try_from(point) {
        Ok(point) if point >= all.len() => {
            let all = format!("{all}{}", "0".repeat(point - all.len()));
            all.trim_start_matches('0').to_owned()
        }
        Ok(point) if point > 0 => {
            let (whole, fraction) = all.split_at(point);
            let whole = whole.trim_start_matches('0');
            format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole })
        }
        _ => format!("0.{}{all}", "0".repeat(point.unsigned_abs())),
    };
    Ok(Cow::Owned(format!("{sign}{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_out() {
        let check = |written: &str, expected: &str| assert_eq!(number(written).unwrap(), expected, "{written}");
        check("1.00000e-2", "0.0100000");
        check("12.0e3", "12000");
        check("-1.2345e2", "-123.45");
        check("0.00015e5", "15");
        check("0.00015e4", "1.5");
        check("-0e3", "0");
        assert_eq!(number("1e131072").unwrap_err().sqlstate(), Some("22003"));
        assert_eq!(number("0e-16384").unwrap_err().sqlstate(), Some("22003"));
    }

    #[test]
    fn values_are_ordered() {
        let ordered = [
            "[]",
            "null",
            "\"\"",
            "\"B\"",
            "\"a\"",
            "-10",
            "-9.5",
            "-0.01",
            "0",
            "0.001",
            "0.01",
            "1",
            "10",
            "11",
            "false",
            "true",
            "[null]",
            "[\"z\"]",
            "[3]",
            "[[]]",
            "[1, 2]",
            "{}",
            "{\"a\": null}",
            "{\"a\": 2}",
            "{\"b\": 1}",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]).unwrap(), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("[1.0, -2]", "[1, -2.00]").unwrap(), Ordering::Equal);
    }
}
