//! Floats as C reads them and as Postgres writes them.

use std::fmt::LowerExp;

use super::{BLANKS, invalid};
use crate::{
    error::{Error, Result},
    sql::{function::fault, library::numbers::float::float_of},
};

/// A `float8`: decimal, hexadecimal, or a name.
pub(in crate::sql) fn float_of_text(text: &str) -> Result<f64> {
    let unpadded = text.trim_start_matches(BLANKS);
    let out_of_range = |rest: &str| beyond(&unpadded[..unpadded.len() - rest.len()], "double precision");
    read(text, "double precision", |digits| digits.parse().ok(), |value| value, out_of_range)
}

/// A `float4`.
#[expect(clippy::cast_possible_truncation, reason = "that is what a real is")]
pub(in crate::sql) fn real_of_text(text: &str) -> Result<f32> {
    let nearest = |value: f64| value as f32;
    let decimal = |digits: &str| digits.parse::<f32>().ok().map(f64::from);
    // Postgres names all of the text here.
    let out_of_range = |_: &str| beyond(text, "real");
    read(text, "real", decimal, |value| f64::from(nearest(value)), out_of_range).map(nearest)
}

fn beyond(text: &str, type_name: &str) -> Error {
    fault("22003", format!("\"{text}\" is out of range for type {type_name}"))
}

/// What a number is written as.
enum Number<'a> {
    Name(f64),
    Decimal(&'a str),
    Hexadecimal { value: f64, is_zero: bool },
}

/// What does not fit is reported before what follows it.
fn read(
    text: &str,
    type_name: &str,
    decimal_value: impl Fn(&str) -> Option<f64>,
    nearest: impl Fn(f64) -> f64,
    out_of_range: impl Fn(&str) -> Error,
) -> Result<f64> {
    let syntax = || invalid(type_name, text);
    let unpadded = text.trim_start_matches(BLANKS);
    let unsigned = unpadded.strip_prefix(['-', '+']).unwrap_or(unpadded);
    let (number, rest) =
        named(unsigned).or_else(|| hexadecimal(unsigned)).or_else(|| decimal(unsigned)).ok_or_else(syntax)?;
    let (size, fits) = match number {
        Number::Name(value) => (value, true),
        Number::Hexadecimal { value, is_zero } => {
            let value = nearest(value);
            (value, value.is_finite() && (is_zero || value != 0.0))
        }
        Number::Decimal(digits) => {
            let value = decimal_value(digits).ok_or_else(syntax)?;
            let mut mantissa = digits.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
            (value, value.is_finite() && (value != 0.0 || mantissa.all(|byte| matches!(byte, b'0' | b'.'))))
        }
    };
    if !fits {
        return Err(out_of_range(rest));
    }
    if !rest.trim_start_matches(BLANKS).is_empty() {
        return Err(syntax());
    }
    Ok(if unpadded.starts_with('-') { -size } else { size })
}

fn named(text: &str) -> Option<(Number<'_>, &str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let (length, value) = match () {
        () if starts("infinity") => (8, f64::INFINITY),
        () if starts("inf") => (3, f64::INFINITY),
        () if starts("nan") => (3, f64::NAN),
        () => return None,
    };
    let rest = text.get(length..)?;
    // C lets something in brackets follow NaN.
    let payload = rest.strip_prefix('(').filter(|_| value.is_nan()).and_then(|payload| payload.split_once(')'));
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    Some((Number::Name(value), payload.filter(|(payload, _)| is_word(payload)).map_or(rest, |(_, rest)| rest)))
}

/// The longest decimal number at the start.
fn decimal(text: &str) -> Option<(Number<'_>, &str)> {
    let (whole, rest) = digits(text, u8::is_ascii_digit);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), |rest| digits(rest, u8::is_ascii_digit));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let rest = exponent(rest, ['e', 'E']).map_or(rest, |(_, rest)| rest);
    Some((Number::Decimal(&text[..text.len() - rest.len()]), rest))
}

/// `0x1.8p3`
fn hexadecimal(text: &str) -> Option<(Number<'_>, &str)> {
    /// As many digits as surely fit; of those that follow it matters only whether there are any.
    const DIGITS_MAX: usize = 15;

    let after = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let (whole, rest) = digits(after, u8::is_ascii_hexdigit);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), |rest| digits(rest, u8::is_ascii_hexdigit));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (twos, rest) = exponent(rest, ['p', 'P']).unwrap_or((0, rest));
    let all = format!("{}{fraction}", whole.trim_start_matches('0'));
    let kept = &all[..all.len().min(DIGITS_MAX)];
    let has_more = all[kept.len()..].bytes().any(|digit| digit != b'0');
    let mantissa = i64::from_str_radix(kept, 16).unwrap_or(0) << 1 | i64::from(has_more);
    let dropped = i64::try_from(all.len() - kept.len()).unwrap_or(0) - i64::try_from(fraction.len()).unwrap_or(0);
    let twos = (twos + 4 * dropped - 1).clamp(-4000, 4000);
    let half = i32::try_from(twos / 2).unwrap_or(0);
    let other = i32::try_from(twos).unwrap_or(0) - half;
    let value = float_of(mantissa) * 2_f64.powi(half) * 2_f64.powi(other);
    Some((Number::Hexadecimal { value, is_zero: mantissa == 0 }, rest))
}

fn digits(text: &str, is_digit: fn(&u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| !is_digit(&byte)).unwrap_or(text.len()))
}

/// The exponent and what follows it, if there is one.
fn exponent(text: &str, letters: [char; 2]) -> Option<(i64, &str)> {
    let after = text.strip_prefix(letters)?;
    let unsigned = after.strip_prefix(['-', '+']).unwrap_or(after);
    let (digits, rest) = digits(unsigned, u8::is_ascii_digit);
    if digits.is_empty() {
        return None;
    }
    let size = digits.parse().unwrap_or(1_000_000).min(1_000_000);
    Some((if after.starts_with('-') { -size } else { size }, rest))
}

/// The shortest text that is read back as the same `float8`.
pub(in crate::sql) fn text_of_float(value: f64) -> String {
    const BITS: u32 = 54;
    const DIGITS: usize = 17;
    const PLAIN_MAX: i32 = 15;

    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => {
            let text = shortest(value, can_be_tied(value), BITS, DIGITS, |text| text.parse() == Ok(value));
            laid_out(&text, PLAIN_MAX)
        }
    }
}

/// The shortest text that is read back as the same `float4`.
pub(in crate::sql) fn text_of_real(value: f32) -> String {
    const BITS: u32 = 25;
    const DIGITS: usize = 9;
    const PLAIN_MAX: i32 = 6;

    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => {
            let text = shortest(value, can_be_tied(f64::from(value)), BITS, DIGITS, |text| text.parse() == Ok(value));
            laid_out(&text, PLAIN_MAX)
        }
    }
}

/// With an exponent. Of two decimals that are equally near it is the even one. Where a decimal lies just between two floats it is
/// read as this one only by the rule of even halves: Postgres does not rely on that, and takes one with more digits.
fn shortest(
    value: impl LowerExp,
    can_be_tied: bool,
    bits: u32,
    digits_max: usize,
    is_same: impl Fn(&str) -> bool,
) -> String {
    let text = format!("{value:e}");
    let is_between_two = is_between(&text, bits);
    if !is_between_two && !can_be_tied {
        return text;
    }
    let length = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let rounded = |digits: usize| format!("{value:.places$e}", places = digits - 1);
    let fits = |text: &String| is_same(text) && !is_between(text, bits);
    let lengths = if is_between_two { length..=digits_max } else { length..=length };
    lengths.map(rounded).find(fits).unwrap_or(text)
}

/// Whether two decimals of so few digits can be equally near to a float: then it has no more than one digit more itself.
fn can_be_tied(value: f64) -> bool {
    /// Halved more often, a number has too many digits.
    const HALVINGS_MAX: i32 = 25;
    const MAX: f64 = 1e19;

    value.abs() < MAX && (value * 2_f64.powi(HALVINGS_MAX)).fract() == 0.0
}

/// Whether a decimal needs exactly `bits` bits, which is one more than a float has.
fn is_between(text: &str, bits: u32) -> bool {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u64 = format!("{}{fraction}", whole.trim_start_matches('-')).parse().unwrap_or(0);
    let places = i32::try_from(fraction.len()).unwrap_or(0);
    let fives = exponent.parse::<i32>().unwrap_or(0) - places;
    // With more fives than this it needs more bits.
    let Some(power) = 5_u64.checked_pow(fives.unsigned_abs()) else { return false };
    let odd = match fives {
        0.. => Some(u128::from(digits) * u128::from(power)),
        _ => digits.is_multiple_of(power).then(|| u128::from(digits / power)),
    };
    odd.is_some_and(|odd| odd != 0 && u128::BITS - odd.leading_zeros() - odd.trailing_zeros() == bits)
}

/// `1.5e20` as `1.5e+20`; without an exponent from 0.0001 up to `plain_max` digits.
fn laid_out(text: &str, plain_max: i32) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits = mantissa.replace('.', "");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    if !(-4..plain_max).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}e{exponent:+03}");
    }
    match usize::try_from(exponent) {
        Ok(exponent) if exponent + 1 >= digits.len() => format!("{sign}{digits:0<width$}", width = exponent + 1),
        Ok(exponent) => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) => {
            let width = digits.len() + usize::try_from(-exponent - 1).unwrap_or(0);
            format!("{sign}0.{digits:0>width$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{float_of_text, real_of_text, text_of_float, text_of_real};

    #[test]
    fn written() {
        let check = |value: f64, expected: &str| assert_eq!(text_of_float(value), expected);
        check(1e14, "100000000000000");
        check(1e15, "1e+15");
        check(0.0001, "0.0001");
        check(-0.00001, "-1e-05");
        check(-0.0, "-0");
        check(123_456_789_012_345_678.0, "1.2345678901234568e+17");
        check(1e23, "9.999999999999999e+22");
        check(5e-324, "5e-324");
        check(f64::NEG_INFINITY, "-Infinity");
        let check = |value: f32, expected: &str| assert_eq!(text_of_real(value), expected);
        check(999_999.0, "999999");
        check(1e6, "1e+06");
        check(12_345_678.0, "1.2345678e+07");
    }

    #[test]
    fn read() {
        let check = |text: &str, expected: &str| {
            let read = float_of_text(text).map_or_else(|error| error.message().to_owned(), text_of_float);
            assert_eq!(read, expected, "{text}");
        };
        check(" +1e3 ", "1000");
        check("-inf", "-Infinity");
        check("nan(abc)", "NaN");
        check("0x1.8p3", "12");
        check(".5", "0.5");
        check("1e400x", "\"1e400\" is out of range for type double precision");
        check("-1e-400", "\"-1e-400\" is out of range for type double precision");
        check("1e", "invalid input syntax for type double precision: \"1e\"");
        check("", "invalid input syntax for type double precision: \"\"");
        assert_eq!(real_of_text("1e39").unwrap_err().message(), "\"1e39\" is out of range for type real");
    }
}
