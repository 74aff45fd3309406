//! Casts between numbers, and from and to their texts.

mod float_text;

use arrow::datatypes::i256;
use num_bigint::BigInt;

pub(in crate::sql) use float_text::{float_of_text, real_of_text, text_of_float, text_of_real};

use super::numbers::{
    decimal::{
        DIGITS_MAX, Rounding, SCALE_OPEN, decimal, digits, fit, literal, literal_text, narrow, power_of_ten, rounded,
        too_wide,
    },
    float::{float_of, overflow, underflow, whole},
    int2, int4, int8,
};
use crate::{
    error::{Error, Result},
    sql::function::{Argument, Decimal, Entry, Value, fault, rows},
};

/// Casts to and from numbers, but for those that the engine does alike.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("::int2 (text) -> int2", |_, a| int_of_text(a[0].text()?, "smallint", i64::from(i16::MAX))),
    rows("::int2 (int4) -> int2", |_, a| int2(a[0].int()?)),
    rows("::int2 (int8) -> int2", |_, a| int2(a[0].int()?)),
    rows("::int2 (float4) -> int2", |_, a| int2(int_of_float(a[0].float()?))),
    rows("::int2 (float8) -> int2", |_, a| int2(int_of_float(a[0].float()?))),
    rows("::int2 (numeric) -> int2", |_, a| int2(int_of_numeric(a[0].numeric()?))),
    rows("::int4 (text) -> int4", |_, a| int_of_text(a[0].text()?, "integer", i64::from(i32::MAX))),
    rows("::bool (int4) -> bool", |_, a| Ok(Value::Bool(a[0].int()? != 0))),
    rows("::int4 (bool) -> int4", |_, a| Ok(Value::Int(i64::from(a[0].bool()?)))),
    rows("::int4 (int8) -> int4", |_, a| int4(a[0].int()?)),
    rows("::int4 (float4) -> int4", |_, a| int4(int_of_float(a[0].float()?))),
    rows("::int4 (float8) -> int4", |_, a| int4(int_of_float(a[0].float()?))),
    rows("::int4 (numeric) -> int4", |_, a| int4(int_of_numeric(a[0].numeric()?))),
    rows("::int8 (text) -> int8", |_, a| int_of_text(a[0].text()?, "bigint", i64::MAX)),
    rows("::int8 (float4) -> int8", |_, a| int8(int_of_float(a[0].float()?))),
    rows("::int8 (float8) -> int8", |_, a| int8(int_of_float(a[0].float()?))),
    rows("::int8 (numeric) -> int8", |_, a| int8(int_of_numeric(a[0].numeric()?))),
    rows("::float4 (text) -> float4", |_, a| real_of_text(a[0].text()?).map(Value::Real)),
    rows("::float4 (float8) -> float4", |_, a| real_of_float(a[0].float()?).map(Value::Real)),
    rows("::float4 (numeric) -> float4", |_, a| real_of_text(&a[0].numeric()?.to_string()).map(Value::Real)),
    rows("::float8 (text) -> float8", |_, a| float_of_text(a[0].text()?).map(Value::Float)),
    rows("::float8 (numeric) -> float8", |_, a| float_of_numeric(a[0].numeric()?).map(Value::Float)),
    rows("::numeric (text) -> numeric", |_, a| numeric_of_text(a[0].text()?).map(Value::Numeric)).scaled(scale),
    rows("::numeric (float4) -> numeric", |_, a| numeric_of_real(real_of_float(a[0].float()?)?).map(Value::Numeric))
        .scaled(scale),
    rows("::numeric (float8) -> numeric", |_, a| numeric_of_float(a[0].float()?).map(Value::Numeric)).scaled(scale),
    rows("::text (int2) -> text", |_, a| Ok(Value::owned(a[0].int()?.to_string()))),
    rows("::text (int4) -> text", |_, a| Ok(Value::owned(a[0].int()?.to_string()))),
    rows("::text (int8) -> text", |_, a| Ok(Value::owned(a[0].int()?.to_string()))),
    rows("::text (float4) -> text", |_, a| Ok(Value::owned(text_of_real(real_of_float(a[0].float()?)?)))),
    rows("::text (float8) -> text", |_, a| Ok(Value::owned(text_of_float(a[0].float()?)))),
    rows("::text (numeric) -> text", |_, a| Ok(Value::owned(a[0].numeric()?.to_string()))),
];

/// What C calls white space.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

fn invalid(type_name: &str, text: &str) -> Error {
    fault("22P02", format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn int_of_text(text: &str, type_name: &str, max: i64) -> Result<Value<'static>> {
    let unpadded = text.trim_start_matches(BLANKS);
    let is_negative = unpadded.starts_with('-');
    let unsigned = unpadded.strip_prefix(['-', '+']).unwrap_or(unpadded);
    let rest = unsigned.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let digits = &unsigned[..unsigned.len() - rest.len()];
    if digits.is_empty() {
        return Err(invalid(type_name, text));
    }
    let too_large = || fault("22003", format!("value \"{text}\" is out of range for type {type_name}"));
    // Downwards, where there is one number more. What is too large is reported before what follows it.
    let value = digits.bytes().try_fold(0_i64, |value, digit| {
        value.checked_mul(10)?.checked_sub(i64::from(digit - b'0')).filter(|value| *value >= -max - 1)
    });
    let value = value.ok_or_else(too_large)?;
    if !rest.trim_start_matches(BLANKS).is_empty() {
        return Err(invalid(type_name, text));
    }
    let value = if is_negative { Some(value) } else { value.checked_neg().filter(|value| *value <= max) };
    value.map(Value::Int).ok_or_else(too_large)
}

/// The nearest integer, the even one of two.
fn int_of_float(value: f64) -> Option<i64> {
    /// 2^63: the largest bigint is no float.
    const END: f64 = 9_223_372_036_854_775_808.0;

    let nearest = value.round_ties_even();
    (-END..END).contains(&nearest).then(|| whole(nearest))
}

fn int_of_numeric(value: Decimal) -> Option<i64> {
    let whole = rounded(value, 0, Rounding::HalfAway).ok()?;
    whole.unscaled.to_i128().and_then(|value| i64::try_from(value).ok())
}

/// The nearest float.
fn float_of_numeric(value: Decimal) -> Result<f64> {
    /// Up to here all integers are floats, and all powers of ten: their quotient is then the nearest float.
    const EXACT: u64 = 1 << 53;
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ];

    let unscaled = value.unscaled.to_i128().and_then(|unscaled| i64::try_from(unscaled).ok());
    match (unscaled.filter(|unscaled| unscaled.unsigned_abs() <= EXACT), POWERS.get(usize::from(value.scale))) {
        (Some(unscaled), Some(power)) => Ok(float_of(unscaled) / power),
        _ => float_of_text(&value.to_string()),
    }
}

/// An integer as it is.
pub(in crate::sql) fn numeric_of(value: i64) -> Decimal {
    Decimal { unscaled: i256::from_i128(i128::from(value)), scale: 0 }
}

/// Of a float fifteen digits survive.
pub(in crate::sql) fn numeric_of_float(value: f64) -> Result<Decimal> {
    if value.is_finite() { numeric_of_text(&format!("{value:.14e}")).map(shortest) } else { Err(not_finite()) }
}

/// Of a real six.
pub(in crate::sql) fn numeric_of_real(value: f32) -> Result<Decimal> {
    if value.is_finite() { numeric_of_text(&format!("{value:.5e}")).map(shortest) } else { Err(not_finite()) }
}

fn shortest(value: Decimal) -> Decimal {
    let ten = i256::from_i128(10);
    let mut value = value;
    while value.scale > 0 && value.unscaled.wrapping_rem(ten) == i256::ZERO {
        value = Decimal { unscaled: value.unscaled.wrapping_div(ten), scale: value.scale - 1 };
    }
    value
}

fn not_finite() -> Error {
    fault("0A000", "numeric values NaN and Infinity are not supported")
}

/// All digits that are written, as far as there is room for them.
pub(in crate::sql) fn numeric_of_text(text: &str) -> Result<Decimal> {
    let syntax = || invalid("numeric", text);
    let trimmed = text.trim_matches(BLANKS);
    let unsigned = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    let lower = unsigned.to_ascii_lowercase();
    if matches!(lower.as_str(), "inf" | "infinity") || (lower == "nan" && trimmed.len() == 3) {
        return Err(not_finite());
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent).ok_or_else(syntax)?),
        None => (lower.as_str(), 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    if !has_digits || ![whole, fraction].iter().all(|digits| digits.bytes().all(|digit| digit.is_ascii_digit())) {
        return Err(syntax());
    }
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let scale = i64::try_from(fraction.len()).map_err(|_| too_wide())? - exponent;
    let count = i64::try_from(significant.len()).map_err(|_| too_wide())?;
    let room = i64::from(DIGITS_MAX);
    if count == 0 || count - scale < -room {
        return Ok(Decimal { unscaled: i256::ZERO, scale: u8::try_from(scale.clamp(0, room)).unwrap_or(0) });
    }
    if count - scale > room {
        return Err(too_wide());
    }
    // Digits that can not stay are cut off, but for one to round by, and one to say whether there were more.
    let kept = usize::try_from((count - (scale - room).max(0)).clamp(0, room) + 2).unwrap_or(0).min(significant.len());
    let (digits, rest) = significant.split_at(kept);
    let sticky = if rest.bytes().any(|digit| digit != b'0') { "1" } else { "" };
    let scale = scale - i64::try_from(rest.len()).unwrap_or(0) + i64::try_from(sticky.len()).unwrap_or(0);
    let sign = if trimmed.starts_with('-') { "-" } else { "" };
    let unscaled: BigInt = format!("{sign}{digits}{sticky}").parse().map_err(|_| syntax())?;
    if let Ok(scale) = u32::try_from(scale) {
        return decimal(&unscaled, scale);
    }
    let zeros = u32::try_from(-scale).map_err(|_| too_wide())?;
    Ok(Decimal { unscaled: narrow(&(unscaled * power_of_ten(zeros)))?, scale: 0 })
}

/// C lets it stand behind blanks. Far beyond what there is room for it does not matter by how much.
fn exponent_of(text: &str) -> Option<i64> {
    const FAR: i64 = 1_000_000_000;

    let text = text.trim_start_matches(BLANKS);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(FAR).min(FAR);
    Some(if text.starts_with('-') { -size } else { size })
}

/// Precision and scale of a cast: all digits of a literal, of other texts and floats as many as there is room for.
fn scale(arguments: &[Argument<'_>]) -> (u8, i8) {
    let Some(argument) = arguments.first() else { return (DIGITS_MAX, 0) };
    let written = literal_text(argument).map_or_else(|| literal(argument), |text| numeric_of_text(text).ok());
    if let Some(value) = written {
        let count = value.unscaled.to_string().trim_start_matches('-').len();
        return fit(i64::try_from(count).unwrap_or(0) - i64::from(value.scale), i64::from(value.scale));
    }
    match digits(argument) {
        (whole, 0) => fit(whole, 0),
        _ => fit(i64::from(DIGITS_MAX - SCALE_OPEN), i64::from(SCALE_OPEN)),
    }
}

/// The nearest one that is neither infinite nor zero unless the value is.
#[expect(clippy::cast_possible_truncation, reason = "that is what a real is")]
fn real_of_float(value: f64) -> Result<f32> {
    let real = value as f32;
    if real.is_infinite() && value.is_finite() {
        return Err(overflow());
    }
    if real == 0.0 && value != 0.0 {
        return Err(underflow());
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::{int_of_float, int_of_text, numeric_of_float, numeric_of_real, numeric_of_text};
    use crate::sql::function::Value;

    #[test]
    fn integers_of_texts() {
        let check =
            |text: &str, expected: Result<i64, (&str, &str)>| match (int_of_text(text, "smallint", 32767), expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, Value::Int(expected)),
                (Err(error), Err(expected)) => assert_eq!((error.sqlstate().unwrap(), error.message()), expected),
                (result, _) => panic!("{text}: {result:?}"),
            };
        check(" -32768\t", Ok(-32768));
        check("+7", Ok(7));
        check("32768", Err(("22003", "value \"32768\" is out of range for type smallint")));
        check("99999x", Err(("22003", "value \"99999x\" is out of range for type smallint")));
        check("1.5", Err(("22P02", "invalid input syntax for type smallint: \"1.5\"")));
        check("- 1", Err(("22P02", "invalid input syntax for type smallint: \"- 1\"")));
    }

    #[test]
    fn integers_of_floats() {
        let check = |value: f64, expected: Option<i64>| assert_eq!(int_of_float(value), expected, "{value}");
        check(2.5, Some(2));
        check(-3.5, Some(-4));
        check(9_223_372_036_854_775_807.0, None);
        check(-9_223_372_036_854_775_808.0, Some(i64::MIN));
        check(f64::NAN, None);
    }

    #[test]
    fn numerics() {
        let check = |value: crate::error::Result<crate::sql::function::Decimal>, expected: &str| {
            assert_eq!(value.map_or_else(|error| error.message().to_owned(), |value| value.to_string()), expected);
        };
        check(numeric_of_text(" 007.500"), "7.500");
        check(numeric_of_text("-1.5e3"), "-1500");
        check(numeric_of_text("1.5E-3"), "0.0015");
        check(numeric_of_text("5."), "5");
        check(numeric_of_text("1e80"), "value overflows numeric format");
        check(numeric_of_text("1 2"), "invalid input syntax for type numeric: \"1 2\"");
        check(numeric_of_text("."), "invalid input syntax for type numeric: \".\"");
        check(numeric_of_float(0.1 + 0.2), "0.3");
        check(numeric_of_float(9_007_199_254_740_993.0), "9007199254740990");
        check(numeric_of_real(123_456.79), "123457");
    }
}
