//! Mathematical functions and operators: integers and the list of all are here, floats, degrees, numerics of a fixed scale and the
//! transcendental functions of numerics have a file each.

pub(in crate::sql) mod decimal;
mod degrees;
mod fixed;
pub(in crate::sql) mod float;
mod transcendental;

use std::cmp::Ordering;

use arrow::datatypes::i256;

use crate::{
    error::{Error, Result},
    sql::function::{Argument, Decimal, Entry, Value, engine, fault, rows},
};
use decimal::{DIGITS_MAX, Rounding, aligned, digits, fit, literal_int};

/// Functions and operators of numbers.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    // absolute values and signs
    rows("abs(int2) -> int2", |_, a| int2(a[0].int()?.checked_abs())),
    rows("abs(int4) -> int4", |_, a| int4(a[0].int()?.checked_abs())),
    rows("abs(int8) -> int8", |_, a| int8(a[0].int()?.checked_abs())),
    engine("abs(float4) -> float4", "abs"),
    engine("abs(float8) -> float8", "abs"),
    rows("abs(numeric) -> numeric", |_, a| absolute(a[0].numeric()?)),
    rows("@ (int2) -> int2", |_, a| int2(a[0].int()?.checked_abs())),
    rows("@ (int4) -> int4", |_, a| int4(a[0].int()?.checked_abs())),
    rows("@ (int8) -> int8", |_, a| int8(a[0].int()?.checked_abs())),
    rows("@ (float4) -> float4", |_, a| real(&a[0], f32::abs)),
    rows("@ (float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.abs()))),
    rows("@ (numeric) -> numeric", |_, a| absolute(a[0].numeric()?)),
    rows("- (int2) -> int2", |_, a| int2(a[0].int()?.checked_neg())),
    rows("- (int4) -> int4", |_, a| int4(a[0].int()?.checked_neg())),
    rows("- (int8) -> int8", |_, a| int8(a[0].int()?.checked_neg())),
    rows("- (float4) -> float4", |_, a| real(&a[0], |value| -value)),
    rows("- (float8) -> float8", |_, a| Ok(Value::Float(-a[0].float()?))),
    rows("- (numeric) -> numeric", |_, a| negated(a[0].numeric()?)),
    rows("+ (int2) -> int2", |_, a| Ok(Value::Int(a[0].int()?))),
    rows("+ (int4) -> int4", |_, a| Ok(Value::Int(a[0].int()?))),
    rows("+ (int8) -> int8", |_, a| Ok(Value::Int(a[0].int()?))),
    rows("+ (float4) -> float4", |_, a| real(&a[0], |value| value)),
    rows("+ (float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?))),
    rows("+ (numeric) -> numeric", |_, a| Ok(Value::Numeric(a[0].numeric()?))),
    rows("sign(float8) -> float8", |_, a| Ok(Value::Float(float::sign(a[0].float()?)))),
    rows("sign(numeric) -> numeric", |_, a| Ok(Value::Numeric(sign(a[0].numeric()?)))).scaled(|_| (1, 0)),
    // rounding
    engine("ceil(float8) -> float8", "ceil"),
    rows("ceil(numeric) -> numeric", |_, a| rounded(&a[0], 0, Rounding::Up)).scaled(whole),
    engine("ceiling(float8) -> float8", "ceil"),
    rows("ceiling(numeric) -> numeric", |_, a| rounded(&a[0], 0, Rounding::Up)).scaled(whole),
    engine("floor(float8) -> float8", "floor"),
    rows("floor(numeric) -> numeric", |_, a| rounded(&a[0], 0, Rounding::Down)).scaled(whole),
    rows("round(float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.round_ties_even()))),
    rows("round(numeric) -> numeric", |_, a| rounded(&a[0], 0, Rounding::HalfAway)).scaled(whole),
    rows("round(numeric, int4) -> numeric", |_, a| rounded(&a[0], a[1].int()?, Rounding::HalfAway)).scaled(places),
    // A number that is written in the statement arrives as the parser reads it.
    rows("round(numeric, int8) -> numeric", |_, a| rounded(&a[0], a[1].int()?, Rounding::HalfAway)).scaled(places),
    rows("trunc(numeric, int8) -> numeric", |_, a| rounded(&a[0], a[1].int()?, Rounding::Truncate)).scaled(places),
    rows("trunc(float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.trunc()))),
    rows("trunc(numeric) -> numeric", |_, a| rounded(&a[0], 0, Rounding::Truncate)).scaled(whole),
    rows("trunc(numeric, int4) -> numeric", |_, a| rounded(&a[0], a[1].int()?, Rounding::Truncate)).scaled(places),
    rows("scale(numeric) -> int4", |_, a| Ok(Value::Int(i64::from(a[0].numeric()?.scale)))),
    rows("min_scale(numeric) -> int4", |_, a| Ok(Value::Int(i64::from(decimal::trimmed(a[0].numeric()?).scale)))),
    rows("trim_scale(numeric) -> numeric", |_, a| Ok(Value::Numeric(decimal::trimmed(a[0].numeric()?)))),
    // quotients and divisors
    rows("mod(int2, int2) -> int2", |_, a| modulo(a[0].int()?, a[1].int()?)),
    rows("mod(int4, int4) -> int4", |_, a| modulo(a[0].int()?, a[1].int()?)),
    rows("mod(int8, int8) -> int8", |_, a| modulo(a[0].int()?, a[1].int()?)),
    rows("mod(numeric, numeric) -> numeric", |_, a| decimal::modulo(a[0].numeric()?, a[1].numeric()?)),
    rows("div(numeric, numeric) -> numeric", |_, a| decimal::div(a[0].numeric()?, a[1].numeric()?)).scaled(quotient),
    rows("gcd(int4, int4) -> int4", |_, a| int4(gcd(a[0].int()?, a[1].int()?))),
    rows("gcd(int8, int8) -> int8", |_, a| int8(gcd(a[0].int()?, a[1].int()?))),
    rows("gcd(numeric, numeric) -> numeric", |_, a| decimal::gcd(a[0].numeric()?, a[1].numeric()?)),
    rows("lcm(int4, int4) -> int4", |_, a| int4(lcm(a[0].int()?, a[1].int()?))),
    rows("lcm(int8, int8) -> int8", |_, a| int8(lcm(a[0].int()?, a[1].int()?))),
    rows("lcm(numeric, numeric) -> numeric", |_, a| decimal::lcm(a[0].numeric()?, a[1].numeric()?)).scaled(multiple),
    rows("factorial(int8) -> numeric", |_, a| decimal::factorial(a[0].int()?)).scaled(|_| (DIGITS_MAX, 0)),
    // powers, roots and logarithms
    rows("sqrt(float8) -> float8", |_, a| float::sqrt(a[0].float()?).map(Value::Float)),
    rows("sqrt(numeric) -> numeric", |_, a| transcendental::sqrt(a[0].numeric()?).map(Value::Numeric))
        .scaled(transcendental::scale_of_sqrt),
    rows("|/ (float8) -> float8", |_, a| float::sqrt(a[0].float()?).map(Value::Float)),
    rows("cbrt(float8) -> float8", |_, a| float::cbrt(a[0].float()?).map(Value::Float)),
    rows("||/ (float8) -> float8", |_, a| float::cbrt(a[0].float()?).map(Value::Float)),
    rows("exp(float8) -> float8", |_, a| float::exp(a[0].float()?).map(Value::Float)),
    rows("exp(numeric) -> numeric", |_, a| transcendental::exp(a[0].numeric()?).map(Value::Numeric))
        .scaled(transcendental::scale_of_exp),
    rows("ln(float8) -> float8", |_, a| float::logarithm(a[0].float()?, f64::ln).map(Value::Float)),
    rows("ln(numeric) -> numeric", |_, a| transcendental::ln(a[0].numeric()?).map(Value::Numeric))
        .scaled(transcendental::scale_of_ln),
    rows("log(float8) -> float8", |_, a| float::logarithm(a[0].float()?, f64::log10).map(Value::Float)),
    rows("log(numeric) -> numeric", |_, a| transcendental::log10(a[0].numeric()?).map(Value::Numeric))
        .scaled(transcendental::scale_of_log10),
    rows("log10(float8) -> float8", |_, a| float::logarithm(a[0].float()?, f64::log10).map(Value::Float)),
    rows("log10(numeric) -> numeric", |_, a| transcendental::log10(a[0].numeric()?).map(Value::Numeric))
        .scaled(transcendental::scale_of_log10),
    rows("log(numeric, numeric) -> numeric", |_, a| {
        transcendental::log(a[0].numeric()?, a[1].numeric()?).map(Value::Numeric)
    })
    .scaled(transcendental::scale_of_log),
    rows("power(float8, float8) -> float8", |_, a| float::power(a[0].float()?, a[1].float()?).map(Value::Float)),
    rows("power(numeric, numeric) -> numeric", |_, a| power(a)).scaled(transcendental::scale_of_power),
    rows("pow(float8, float8) -> float8", |_, a| float::power(a[0].float()?, a[1].float()?).map(Value::Float)),
    rows("pow(numeric, numeric) -> numeric", |_, a| power(a)).scaled(transcendental::scale_of_power),
    rows("^ (float8, float8) -> float8", |_, a| float::power(a[0].float()?, a[1].float()?).map(Value::Float)),
    rows("^ (numeric, numeric) -> numeric", |_, a| power(a)).scaled(transcendental::scale_of_power),
    // angles
    rows("pi() -> float8", |_, _| Ok(Value::Float(float::pi()))),
    rows("degrees(float8) -> float8", |_, a| float::degrees(a[0].float()?).map(Value::Float)),
    rows("radians(float8) -> float8", |_, a| float::radians(a[0].float()?).map(Value::Float)),
    rows("sin(float8) -> float8", |_, a| float::periodic(a[0].float()?, f64::sin).map(Value::Float)),
    rows("cos(float8) -> float8", |_, a| float::periodic(a[0].float()?, f64::cos).map(Value::Float)),
    rows("tan(float8) -> float8", |_, a| float::periodic(a[0].float()?, f64::tan).map(Value::Float)),
    rows("cot(float8) -> float8", |_, a| float::periodic(a[0].float()?, float::cot).map(Value::Float)),
    rows("asin(float8) -> float8", |_, a| float::inverse(a[0].float()?, f64::asin).map(Value::Float)),
    rows("acos(float8) -> float8", |_, a| float::inverse(a[0].float()?, f64::acos).map(Value::Float)),
    rows("atan(float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.atan()))),
    rows("atan2(float8, float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.atan2(a[1].float()?)))),
    rows("sinh(float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.sinh()))),
    rows("cosh(float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.cosh()))),
    rows("tanh(float8) -> float8", |_, a| Ok(Value::Float(a[0].float()?.tanh()))),
    rows("asinh(float8) -> float8", |_, a| Ok(Value::Float(float::asinh(a[0].float()?)))),
    rows("acosh(float8) -> float8", |_, a| float::acosh(a[0].float()?).map(Value::Float)),
    rows("atanh(float8) -> float8", |_, a| float::inverse(a[0].float()?, float::atanh).map(Value::Float)),
    rows("sind(float8) -> float8", |_, a| degrees::sind(a[0].float()?).map(Value::Float)),
    rows("cosd(float8) -> float8", |_, a| degrees::cosd(a[0].float()?).map(Value::Float)),
    rows("tand(float8) -> float8", |_, a| degrees::tand(a[0].float()?).map(Value::Float)),
    rows("cotd(float8) -> float8", |_, a| degrees::cotd(a[0].float()?).map(Value::Float)),
    rows("asind(float8) -> float8", |_, a| float::inverse(a[0].float()?, degrees::asind).map(Value::Float)),
    rows("acosd(float8) -> float8", |_, a| float::inverse(a[0].float()?, degrees::acosd).map(Value::Float)),
    rows("atand(float8) -> float8", |_, a| Ok(Value::Float(degrees::atand(a[0].float()?)))),
    rows("atan2d(float8, float8) -> float8", |_, a| Ok(Value::Float(degrees::atan2d(a[0].float()?, a[1].float()?)))),
    // histograms
    rows("width_bucket(float8, float8, float8, int4) -> int4", |_, a| {
        float::width_bucket(a[0].float()?, a[1].float()?, a[2].float()?, a[3].int()?)
    }),
    rows("width_bucket(numeric, numeric, numeric, int4) -> int4", |_, a| {
        width_bucket(a[0].numeric()?, a[1].numeric()?, a[2].numeric()?, a[3].int()?)
    }),
    rows("width_bucket(anycompatible, anycompatiblearray) -> int4", |_, a| bucket_of(&a[0], a[1].list()?)),
    // bits
    rows("& (int2, int2) -> int2", |_, a| Ok(Value::Int(a[0].int()? & a[1].int()?))),
    rows("& (int4, int4) -> int4", |_, a| Ok(Value::Int(a[0].int()? & a[1].int()?))),
    rows("& (int8, int8) -> int8", |_, a| Ok(Value::Int(a[0].int()? & a[1].int()?))),
    rows("| (int2, int2) -> int2", |_, a| Ok(Value::Int(a[0].int()? | a[1].int()?))),
    rows("| (int4, int4) -> int4", |_, a| Ok(Value::Int(a[0].int()? | a[1].int()?))),
    rows("| (int8, int8) -> int8", |_, a| Ok(Value::Int(a[0].int()? | a[1].int()?))),
    rows("# (int2, int2) -> int2", |_, a| Ok(Value::Int(a[0].int()? ^ a[1].int()?))),
    rows("# (int4, int4) -> int4", |_, a| Ok(Value::Int(a[0].int()? ^ a[1].int()?))),
    rows("# (int8, int8) -> int8", |_, a| Ok(Value::Int(a[0].int()? ^ a[1].int()?))),
    rows("~ (int2) -> int2", |_, a| Ok(Value::Int(!a[0].int()?))),
    rows("~ (int4) -> int4", |_, a| Ok(Value::Int(!a[0].int()?))),
    rows("~ (int8) -> int8", |_, a| Ok(Value::Int(!a[0].int()?))),
    rows("<< (int2, int4) -> int2", |_, a| Ok(Value::Int(sign_extended(a[0].int()? << (a[1].int()? & 31), 16)))),
    rows("<< (int4, int4) -> int4", |_, a| Ok(Value::Int(sign_extended(a[0].int()? << (a[1].int()? & 31), 32)))),
    rows("<< (int8, int4) -> int8", |_, a| Ok(Value::Int(a[0].int()? << (a[1].int()? & 63)))),
    rows(">> (int2, int4) -> int2", |_, a| Ok(Value::Int(a[0].int()? >> (a[1].int()? & 31)))),
    rows(">> (int4, int4) -> int4", |_, a| Ok(Value::Int(a[0].int()? >> (a[1].int()? & 31)))),
    rows(">> (int8, int4) -> int8", |_, a| Ok(Value::Int(a[0].int()? >> (a[1].int()? & 63)))),
];

/// A number, if it is one and fits.
pub(in crate::sql) fn int2(value: impl Into<Option<i64>>) -> Result<Value<'static>> {
    let in_range = value.into().filter(|value| i16::try_from(*value).is_ok());
    in_range.map(Value::Int).ok_or_else(|| fault("22003", "smallint out of range"))
}

/// A number, if it is one and fits.
pub(in crate::sql) fn int4(value: impl Into<Option<i64>>) -> Result<Value<'static>> {
    let in_range = value.into().filter(|value| i32::try_from(*value).is_ok());
    in_range.map(Value::Int).ok_or_else(|| fault("22003", "integer out of range"))
}

/// A number, if it is one.
pub(in crate::sql) fn int8(value: impl Into<Option<i64>>) -> Result<Value<'static>> {
    value.into().map(Value::Int).ok_or_else(|| fault("22003", "bigint out of range"))
}

fn real(value: &Value<'_>, function: fn(f32) -> f32) -> Result<Value<'static>> {
    match value {
        Value::Real(value) => Ok(Value::Real(function(*value))),
        other => Err(Error::internal(format!("{other:?} is not a real"))),
    }
}

fn absolute(value: Decimal) -> Result<Value<'static>> {
    if value.unscaled < i256::ZERO { negated(value) } else { Ok(Value::Numeric(value)) }
}

fn negated(value: Decimal) -> Result<Value<'static>> {
    let unscaled = value.unscaled.checked_neg().ok_or_else(decimal::too_wide)?;
    Ok(Value::Numeric(Decimal { unscaled, ..value }))
}

fn sign(value: Decimal) -> Decimal {
    let sign = match value.unscaled.cmp(&i256::ZERO) {
        Ordering::Less => i256::MINUS_ONE,
        Ordering::Equal => i256::ZERO,
        Ordering::Greater => i256::ONE,
    };
    Decimal { unscaled: sign, scale: 0 }
}

fn rounded(value: &Value<'_>, places: i64, rounding: Rounding) -> Result<Value<'static>> {
    decimal::rounded(value.numeric()?, places, rounding).map(Value::Numeric)
}

fn power(arguments: &[Value<'_>]) -> Result<Value<'static>> {
    transcendental::power(arguments[0].numeric()?, arguments[1].numeric()?).map(Value::Numeric)
}

fn modulo(left: i64, right: i64) -> Result<Value<'static>> {
    if right == 0 {
        return Err(decimal::division_by_zero());
    }
    Ok(Value::Int(left.wrapping_rem(right)))
}

fn gcd(left: i64, right: i64) -> Option<i64> {
    let (mut left, mut right) = (left.unsigned_abs(), right.unsigned_abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    i64::try_from(left).ok()
}

fn lcm(left: i64, right: i64) -> Option<i64> {
    if left == 0 || right == 0 {
        return Some(0);
    }
    (left.checked_abs()? / gcd(left, right)?).checked_mul(right.checked_abs()?)
}

/// The last `bits` of it as a number of its own.
fn sign_extended(value: i64, bits: u32) -> i64 {
    let unused = i64::BITS - bits;
    value << unused >> unused
}

/// In which of `count` equal parts of the range from `low` to `high` the value lies; 0 is before it, `count` + 1 behind it.
fn width_bucket(value: Decimal, low: Decimal, high: Decimal, count: i64) -> Result<Value<'static>> {
    if count <= 0 {
        return Err(fault("2201G", "count must be greater than zero"));
    }
    let scale = value.scale.max(low.scale).max(high.scale);
    let at_scale = |value: Decimal| aligned(value, Decimal { unscaled: i256::ZERO, scale }).0;
    let (value, low, high) = (at_scale(value), at_scale(low), at_scale(high));
    let (value, low, high) = if low > high { (-value, -low, -high) } else { (value, low, high) };
    match () {
        () if low == high => Err(fault("2201G", "lower bound cannot equal upper bound")),
        () if value < low => Ok(Value::Int(0)),
        () if value >= high => int4(count + 1),
        () => int4(i64::try_from((value - &low) * count / (high - low) + 1).ok()),
    }
}

/// How many of the thresholds, which ascend, the value has reached.
fn bucket_of(value: &Value<'_>, thresholds: &[Value<'_>]) -> Result<Value<'static>> {
    if thresholds.iter().any(Value::is_null) {
        return Err(fault("22004", "thresholds array must not contain NULLs"));
    }
    let (mut start, mut end) = (0, thresholds.len());
    while start < end {
        let middle = usize::midpoint(start, end);
        match compare(value, &thresholds[middle])? {
            Ordering::Less => end = middle,
            _ => start = middle + 1,
        }
    }
    int4(i64::try_from(start).ok())
}

fn compare(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering> {
    let floats = |left: f64, right: f64| left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()));
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right))
        | (Value::Time(left), Value::Time(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Real(_) | Value::Float(_), Value::Real(_) | Value::Float(_)) => floats(left.float()?, right.float()?),
        (Value::Numeric(left), Value::Numeric(right)) => {
            let (left, right, _) = aligned(*left, *right);
            left.cmp(&right)
        }
        _ => return Err(fault("0A000", "width_bucket of such thresholds is not supported")),
    })
}

/// Precision and scale of a whole number; rounding can add a digit.
fn whole(arguments: &[Argument<'_>]) -> (u8, i8) {
    fit(arguments.first().map_or(1, |argument| digits(argument).0) + 1, 0)
}

/// Precision and scale after rounding to places that the statement names. Digits that may be there go before those that round adds.
fn places(arguments: &[Argument<'_>]) -> (u8, i8) {
    let (whole, scale) = arguments.first().map_or((1, 0), digits);
    let places = arguments.get(1).and_then(literal_int).unwrap_or(scale);
    fit((whole + 1).min(i64::from(DIGITS_MAX) - places.clamp(0, scale)), places)
}

/// Precision and scale of a quotient without its fraction: the divisor may be as small as its scale allows.
fn quotient(arguments: &[Argument<'_>]) -> (u8, i8) {
    let (whole, scale) = (
        arguments.first().map_or(1, |argument| digits(argument).0),
        arguments.get(1).map_or(0, |argument| digits(argument).1),
    );
    fit(whole + scale, 0)
}

/// Precision and scale of a multiple, which can be the product of both as if they had no point.
fn multiple(arguments: &[Argument<'_>]) -> (u8, i8) {
    let scale = arguments.iter().map(|argument| digits(argument).1).max().unwrap_or(0);
    let whole = arguments.iter().map(|argument| digits(argument).0).sum::<i64>() + scale;
    fit(whole.min(i64::from(DIGITS_MAX) - scale), scale)
}

#[cfg(test)]
mod tests {
    use super::{gcd, lcm, sign_extended, width_bucket};
    use crate::sql::{function::Value, library::number_casts::numeric_of_text};

    #[test]
    fn divisors_and_multiples() {
        let check = |left: i64, right: i64, divisor: Option<i64>, multiple: Option<i64>| {
            assert_eq!((gcd(left, right), lcm(left, right)), (divisor, multiple), "{left}, {right}");
        };
        check(12, 18, Some(6), Some(36));
        check(0, 0, Some(0), Some(0));
        check(-4, 6, Some(2), Some(12));
        check(i64::MIN, 0, None, Some(0));
        check(i64::MIN, -1, Some(1), None);
        check(i64::MAX, 2, Some(1), None);
    }

    #[test]
    fn buckets() {
        let check = |value: &str, low: &str, high: &str, expected: i64| {
            let [value, low, high] = [value, low, high].map(|text| numeric_of_text(text).unwrap());
            assert_eq!(width_bucket(value, low, high, 5).unwrap(), Value::Int(expected));
        };
        check("2.5", "0", "10", 2);
        check("10.00", "0", "10", 6);
        check("-0.1", "0", "10", 0);
        check("2.5", "5", "0", 3);
        check("0", "5", "0", 6);
    }

    #[test]
    fn shifted_bits_beyond_the_type_are_lost() {
        assert_eq!(sign_extended(1 << 31, 32), i64::from(i32::MIN));
        assert_eq!(sign_extended(1 << 16, 16), 0);
    }
}
