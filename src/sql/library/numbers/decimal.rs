//! Numerics of a fixed scale: rounding, remainders, divisors, and the precision and scale that results are given.

use arrow::datatypes::{DataType, i256};
use datafusion::scalar::ScalarValue;
use num_bigint::{BigInt, Sign};

use crate::{
    error::{Error, Result},
    sql::{
        function::{Argument, Decimal, Kind, Value, fault},
        library::number_casts,
    },
};

/// Digits that a numeric can have here, all told.
pub(in crate::sql) const DIGITS_MAX: u8 = 76;
/// Digits behind the point of what has no scale of its own.
pub(in crate::sql) const SCALE_OPEN: u8 = 30;

/// What Postgres says of a numeric with too many digits; ours has fewer.
pub(in crate::sql) fn too_wide() -> Error {
    fault("22003", "value overflows numeric format")
}

/// Any division by zero.
pub(in crate::sql) fn division_by_zero() -> Error {
    fault("22012", "division by zero")
}

/// 10^`exponent`.
pub(in crate::sql) fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// The digits of a numeric, for arithmetic that may need more of them on the way.
pub(in crate::sql) fn wide(value: i256) -> BigInt {
    BigInt::from_signed_bytes_le(&value.to_le_bytes())
}

/// And back, if they fit.
pub(in crate::sql) fn narrow(value: &BigInt) -> Result<i256> {
    let bytes = value.to_signed_bytes_le();
    let fill = if value.sign() == Sign::Minus { 0xff } else { 0 };
    let mut all = [fill; 32];
    all.get_mut(..bytes.len()).ok_or_else(too_wide)?.copy_from_slice(&bytes);
    Ok(i256::from_le_bytes(all))
}

/// `unscaled` / 10^`scale`, with fewer digits behind the point where it would have too many altogether.
pub(in crate::sql) fn decimal(unscaled: &BigInt, scale: u32) -> Result<Decimal> {
    let digits = u32::try_from(unscaled.magnitude().to_string().len()).map_err(|_| too_wide())?;
    let surplus = digits.saturating_sub(u32::from(DIGITS_MAX)).max(scale.saturating_sub(u32::from(DIGITS_MAX)));
    if surplus == 0 {
        return Ok(Decimal { unscaled: narrow(unscaled)?, scale: u8::try_from(scale).map_err(|_| too_wide())? });
    }
    let kept = scale.checked_sub(surplus).ok_or_else(too_wide)?;
    decimal(&divided(unscaled, &power_of_ten(surplus)), kept)
}

/// The quotient, rounded half away from zero.
pub(in crate::sql) fn divided(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    if rest.magnitude() * 2_u8 < *divisor.magnitude() {
        return quotient;
    }
    if dividend.sign() == divisor.sign() { quotient + 1 } else { quotient - 1 }
}

/// The square root, rounded.
pub(in crate::sql) fn root(square: &BigInt) -> BigInt {
    let root = square.sqrt();
    if square - &root * &root > root { root + 1 } else { root }
}

/// Digits behind the point that Postgres gives to `dividend` / 10^`scale` / `divisor`: sixteen significant ones at least, as it estimates
/// by the leading groups of four digits. Source: PostgreSQL, `numeric.c`, `select_div_scale`.
pub(in crate::sql) fn quotient_scale(dividend: &BigInt, scale: u32, divisor: &BigInt) -> u32 {
    let (left, right) = (leading_group(dividend, scale), leading_group(divisor, 0));
    let weight = left.1 - right.1 - i64::from(left.0 <= right.0);
    u32::try_from(16 - 4 * weight).unwrap_or(0).max(scale).min(1000)
}

/// The first group of four digits that is not zero, and how many groups stand between it and the point.
fn leading_group(unscaled: &BigInt, scale: u32) -> (u32, i64) {
    let digits = unscaled.magnitude().to_string();
    if digits == "0" {
        return (0, 0);
    }
    let exponent = i64::try_from(digits.len()).unwrap_or(i64::MAX) - 1 - i64::from(scale);
    let length = usize::try_from(exponent.rem_euclid(4)).unwrap_or(0) + 1;
    let group = format!("{digits:0<4}").get(..length).and_then(|group| group.parse().ok()).unwrap_or(0);
    (group, exponent.div_euclid(4))
}

/// Both with the same scale, which is the larger one.
pub(in crate::sql) fn aligned(left: Decimal, right: Decimal) -> (BigInt, BigInt, u8) {
    let scale = left.scale.max(right.scale);
    let raised = |value: Decimal| match scale - value.scale {
        0 => wide(value.unscaled),
        more => wide(value.unscaled) * power_of_ten(u32::from(more)),
    };
    (raised(left), raised(right), scale)
}

/// How the digits that are cut off change those that stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Rounding {
    HalfAway,
    Truncate,
    Up,
    Down,
}

/// With `places` digits behind the point; fewer than none are tens and hundreds.
pub(in crate::sql) fn rounded(value: Decimal, places: i64, rounding: Rounding) -> Result<Decimal> {
    let dropped = i64::from(value.scale) - places;
    let Ok(dropped @ 1..) = u32::try_from(dropped) else {
        return Ok(value);
    };
    let scale = u8::try_from(places.max(0)).map_err(|_| too_wide())?;
    let padding = u32::try_from(-places.min(0)).unwrap_or(u32::MAX);
    if let (Some(unscaled), Some(unit)) = (value.unscaled.to_i128(), 10_i128.checked_pow(dropped)) {
        let (quotient, rest) = (unscaled / unit, unscaled % unit);
        let kept = quotient + step(rounding, unscaled < 0, rest != 0, rest.unsigned_abs() >= unit.unsigned_abs() / 2);
        if let Some(unscaled) = 10_i128.checked_pow(padding).and_then(|factor| kept.checked_mul(factor)) {
            return Ok(Decimal { unscaled: i256::from_i128(unscaled), scale });
        }
    }
    if dropped > u32::from(DIGITS_MAX) + 1 {
        let is_up = rounding == Rounding::Up && value.unscaled > i256::ZERO;
        let is_down = rounding == Rounding::Down && value.unscaled < i256::ZERO;
        return if is_up || is_down { Err(too_wide()) } else { Ok(Decimal { unscaled: i256::ZERO, scale }) };
    }
    let (unscaled, unit) = (wide(value.unscaled), power_of_ten(dropped));
    let (quotient, rest) = (&unscaled / &unit, &unscaled % &unit);
    let is_half = rest.magnitude() * 2_u8 >= *unit.magnitude();
    let kept = quotient + step(rounding, value.unscaled < i256::ZERO, rest.sign() != Sign::NoSign, is_half);
    Ok(Decimal { unscaled: narrow(&(kept * power_of_ten(padding)))?, scale })
}

fn step(rounding: Rounding, is_negative: bool, has_rest: bool, is_half: bool) -> i128 {
    match rounding {
        Rounding::HalfAway if is_half && is_negative => -1,
        Rounding::HalfAway if is_half => 1,
        Rounding::Up if has_rest && !is_negative => 1,
        Rounding::Down if has_rest && is_negative => -1,
        _ => 0,
    }
}

/// The remainder, with the sign of the dividend.
pub(super) fn modulo(left: Decimal, right: Decimal) -> Result<Value<'static>> {
    if right.unscaled == i256::ZERO {
        return Err(division_by_zero());
    }
    let (left, right, scale) = aligned(left, right);
    Ok(Value::Numeric(decimal(&(left % right), u32::from(scale))?))
}

/// The quotient, cut toward zero.
pub(super) fn div(left: Decimal, right: Decimal) -> Result<Value<'static>> {
    if right.unscaled == i256::ZERO {
        return Err(division_by_zero());
    }
    let (left, right, _) = aligned(left, right);
    Ok(Value::Numeric(decimal(&(left / right), 0)?))
}

/// The greatest common divisor.
pub(super) fn gcd(left: Decimal, right: Decimal) -> Result<Value<'static>> {
    let (left, right, scale) = aligned(left, right);
    Ok(Value::Numeric(decimal(&common_divisor(left, right), u32::from(scale))?))
}

/// The least common multiple.
pub(super) fn lcm(left: Decimal, right: Decimal) -> Result<Value<'static>> {
    let (left, right, scale) = aligned(left, right);
    let divisor = common_divisor(left.clone(), right.clone());
    let multiple = match divisor.sign() {
        Sign::NoSign => divisor,
        _ => left / divisor * right,
    };
    Ok(Value::Numeric(decimal(&BigInt::from(multiple.magnitude().clone()), u32::from(scale))?))
}

fn common_divisor(mut left: BigInt, mut right: BigInt) -> BigInt {
    while right.sign() != Sign::NoSign {
        (left, right) = (right.clone(), left % right);
    }
    BigInt::from(left.magnitude().clone())
}

/// Without the zeros at its end.
pub(super) fn trimmed(mut value: Decimal) -> Decimal {
    let ten = i256::from_i128(10);
    while value.scale > 0 {
        match (value.unscaled.checked_rem(ten), value.unscaled.checked_div(ten)) {
            (Some(i256::ZERO), Some(tenth)) => value = Decimal { unscaled: tenth, scale: value.scale - 1 },
            _ => break,
        }
    }
    value
}

/// `n!`
pub(super) fn factorial(number: i64) -> Result<Value<'static>> {
    if number < 0 {
        return Err(fault("22003", "factorial of a negative number is undefined"));
    }
    // 58! has more digits than there are.
    if number > 57 {
        return Err(too_wide());
    }
    let product = (2..=number).fold(BigInt::from(1), |product, factor| product * factor);
    Ok(Value::Numeric(decimal(&product, 0)?))
}

/// Precision and scale for so many digits in front of the point and behind it, as far as there is room.
pub(in crate::sql) fn fit(whole: i64, scale: i64) -> (u8, i8) {
    let whole = whole.clamp(1, i64::from(DIGITS_MAX));
    let scale = scale.clamp(0, i64::from(DIGITS_MAX) - whole);
    (u8::try_from(whole + scale).unwrap_or(DIGITS_MAX), i8::try_from(scale).unwrap_or(0))
}

/// Digits in front of the point and behind it, that an argument can have as a numeric.
pub(in crate::sql) fn digits(argument: &Argument<'_>) -> (i64, i64) {
    if let Some(value) = literal(argument) {
        let digits = i64::try_from(value.to_string().bytes().filter(u8::is_ascii_digit).count()).unwrap_or(i64::MAX);
        return (digits - i64::from(value.scale), i64::from(value.scale));
    }
    match argument.data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            (i64::from(*precision) - i64::from(*scale), i64::from(*scale).max(0))
        }
        _ => match argument.kind {
            Kind::Int2 => (5, 0),
            Kind::Int4 => (10, 0),
            Kind::Int8 => (19, 0),
            _ => (i64::from(DIGITS_MAX - SCALE_OPEN), i64::from(SCALE_OPEN)),
        },
    }
}

/// The integer that is written in the statement.
pub(in crate::sql) fn literal_int(argument: &Argument<'_>) -> Option<i64> {
    let value = literal(argument)?;
    let whole = if value.scale == 0 { value } else { trimmed(value) };
    if whole.scale == 0 { whole.unscaled.to_i128().and_then(|value| i64::try_from(value).ok()) } else { None }
}

/// The number that is written in the statement.
pub(in crate::sql) fn literal(argument: &Argument<'_>) -> Option<Decimal> {
    let whole = |value: i64| Decimal { unscaled: i256::from_i128(i128::from(value)), scale: 0 };
    let scaled = |unscaled: i256, scale: i8| Some(Decimal { unscaled, scale: u8::try_from(scale).ok()? });
    match argument.literal? {
        ScalarValue::Int8(Some(value)) => Some(whole(i64::from(*value))),
        ScalarValue::Int16(Some(value)) => Some(whole(i64::from(*value))),
        ScalarValue::Int32(Some(value)) => Some(whole(i64::from(*value))),
        ScalarValue::Int64(Some(value)) => Some(whole(*value)),
        ScalarValue::Decimal128(Some(value), _, scale) => scaled(i256::from_i128(*value), *scale),
        ScalarValue::Decimal256(Some(value), _, scale) => scaled(*value, *scale),
        ScalarValue::Float32(Some(value)) => number_casts::numeric_of_real(*value).ok(),
        ScalarValue::Float64(Some(value)) => number_casts::numeric_of_float(*value).ok(),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            number_casts::numeric_of_text(text).ok()
        }
        _ => None,
    }
}

/// The text that is written in the statement.
pub(in crate::sql) fn literal_text<'a>(argument: &Argument<'a>) -> Option<&'a str> {
    match argument.literal? {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Some(text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Rounding, rounded};
    use crate::sql::library::number_casts::numeric_of_text;

    #[test]
    fn rounds() {
        let check = |value: &str, places: i64, rounding: Rounding, expected: &str| {
            let value = numeric_of_text(value).unwrap();
            assert_eq!(rounded(value, places, rounding).unwrap().to_string(), expected, "{value} to {places}");
        };
        check("2.5", 0, Rounding::HalfAway, "3");
        check("-2.5", 0, Rounding::HalfAway, "-3");
        check("-2.4", 0, Rounding::HalfAway, "-2");
        check("123456", -3, Rounding::HalfAway, "123000");
        check(
            "999999999999999999999999999999999999999999.95",
            1,
            Rounding::HalfAway,
            "1000000000000000000000000000000000000000000.0",
        );
        check("-0.9", 0, Rounding::Truncate, "0");
        check("-0.000000001", 0, Rounding::Down, "-1");
        check("0.1", 0, Rounding::Up, "1");
        check("5", -100, Rounding::HalfAway, "0");
    }
}
