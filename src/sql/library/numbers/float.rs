//! Functions of floats: each one's domain, and the errors where a result is too large or vanishes.

use std::f64::consts::{LN_2, PI};

use super::int4;
use crate::{
    error::{Error, Result},
    sql::function::{Value, fault},
};

/// Half a turn in radians, by half a turn in degrees.
pub(super) const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

/// A result that has grown infinite.
pub(in crate::sql) fn overflow() -> Error {
    fault("22003", "value out of range: overflow")
}

/// A result that has become zero.
pub(in crate::sql) fn underflow() -> Error {
    fault("22003", "value out of range: underflow")
}

/// An argument that the function has no value for.
pub(super) fn out_of_domain() -> Error {
    fault("22003", "input is out of range")
}

/// The result of a finite function: infinite only where the argument is, zero only where it may be.
fn checked(result: f64, was_infinite: bool, may_be_zero: bool) -> Result<f64> {
    if result.is_infinite() && !was_infinite {
        return Err(overflow());
    }
    if result == 0.0 && !may_be_zero {
        return Err(underflow());
    }
    Ok(result)
}

/// -1, 0 or 1; 0 for NaN.
pub(super) fn sign(value: f64) -> f64 {
    match value {
        value if value > 0.0 => 1.0,
        value if value < 0.0 => -1.0,
        _ => 0.0,
    }
}

/// The square root.
pub(super) fn sqrt(value: f64) -> Result<f64> {
    if value < 0.0 {
        return Err(fault("2201F", "cannot take square root of a negative number"));
    }
    checked(value.sqrt(), value.is_infinite(), value == 0.0)
}

/// The cubic root.
pub(super) fn cbrt(value: f64) -> Result<f64> {
    checked(value.cbrt(), value.is_infinite(), value == 0.0)
}

/// e to a power.
pub(super) fn exp(value: f64) -> Result<f64> {
    checked(value.exp(), value == f64::INFINITY, value == f64::NEG_INFINITY)
}

/// `logarithm` to whatever base.
#[expect(clippy::float_cmp, reason = "exactly one")]
pub(super) fn logarithm(value: f64, logarithm: fn(f64) -> f64) -> Result<f64> {
    if value == 0.0 {
        return Err(fault("2201E", "cannot take logarithm of zero"));
    }
    if value < 0.0 {
        return Err(fault("2201E", "cannot take logarithm of a negative number"));
    }
    checked(logarithm(value), value.is_infinite(), value == 1.0)
}

#[expect(clippy::float_cmp, reason = "exactly one, and exactly whole")]
pub(super) fn power(base: f64, exponent: f64) -> Result<f64> {
    if base.is_nan() || exponent.is_nan() {
        let is_one = base == 1.0 || exponent == 0.0;
        return Ok(if is_one { 1.0 } else { f64::NAN });
    }
    if base == 0.0 && exponent < 0.0 {
        return Err(fault("2201F", "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.floor() != exponent {
        return Err(fault("2201F", "a negative number raised to a non-integer power yields a complex result"));
    }
    let is_exact = base.is_infinite() || exponent.is_infinite();
    checked(base.powf(exponent), is_exact, is_exact || base == 0.0)
}

/// A function of an angle: there is none at infinity.
pub(super) fn periodic(angle: f64, function: fn(f64) -> f64) -> Result<f64> {
    if angle.is_infinite() { Err(out_of_domain()) } else { Ok(function(angle)) }
}

/// The inverse of a function whose values lie between -1 and 1.
pub(super) fn inverse(value: f64, function: fn(f64) -> f64) -> Result<f64> {
    if value.abs() > 1.0 { Err(out_of_domain()) } else { Ok(function(value)) }
}

pub(super) fn cot(angle: f64) -> f64 {
    1.0 / angle.tan()
}

// The formulas of fdlibm, as C libraries have them: those of the standard library differ in the last digit.

/// Where one more or less makes no difference.
const LARGE: f64 = 268_435_456.0;

pub(super) fn asinh(value: f64) -> f64 {
    let size = value.abs();
    if size < 1.0 / LARGE || !size.is_finite() {
        return value;
    }
    let result = if size > LARGE {
        size.ln() + LN_2
    } else if size > 2.0 {
        (2.0 * size + 1.0 / ((size * size + 1.0).sqrt() + size)).ln()
    } else {
        let square = size * size;
        (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    result.copysign(value)
}

pub(super) fn acosh(value: f64) -> Result<f64> {
    if value < 1.0 {
        return Err(out_of_domain());
    }
    Ok(if value > LARGE {
        value.ln() + LN_2
    } else if value > 2.0 {
        (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln()
    } else {
        let above = value - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    })
}

pub(super) fn atanh(value: f64) -> f64 {
    let size = value.abs();
    if size < 1.0 / LARGE {
        return value;
    }
    let twice = size + size;
    let ratio = if size < 0.5 { twice + twice * size / (1.0 - size) } else { twice / (1.0 - size) };
    (0.5 * ratio.ln_1p()).copysign(value)
}

pub(super) fn degrees(radians: f64) -> Result<f64> {
    checked(radians / RADIANS_PER_DEGREE, radians.is_infinite(), radians == 0.0)
}

pub(super) fn radians(degrees: f64) -> Result<f64> {
    checked(degrees * RADIANS_PER_DEGREE, degrees.is_infinite(), degrees == 0.0)
}

pub(super) const fn pi() -> f64 {
    PI
}

/// In which of `count` equal parts of the range from `low` to `high` the value lies; 0 is before it, `count` + 1 behind it.
pub(super) fn width_bucket(value: f64, low: f64, high: f64, count: i64) -> Result<Value<'static>> {
    if count <= 0 {
        return Err(fault("2201G", "count must be greater than zero"));
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Err(fault("2201G", "operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(fault("2201G", "lower and upper bounds must be finite"));
    }
    let (value, low, high) = if low > high { (-value, -low, -high) } else { (value, low, high) };
    if low >= high {
        return Err(fault("2201G", "lower bound cannot equal upper bound"));
    }
    if value < low {
        return Ok(Value::Int(0));
    }
    if value >= high {
        return int4(count + 1);
    }
    let bucket = float_of(count) * (value - low) / (high - low) + 1.0;
    // Where the difference of the bounds is no float, Postgres gives what its processor makes of that as an integer.
    let is_integer = bucket < 2_147_483_648.0;
    Ok(Value::Int(if is_integer { whole(bucket) } else { i64::from(i32::MIN) }))
}

/// Cut toward zero, and to what an integer can be.
#[expect(clippy::cast_possible_truncation, reason = "it saturates")]
pub(in crate::sql) fn whole(value: f64) -> i64 {
    value as i64
}

/// The nearest float.
#[expect(clippy::cast_precision_loss, reason = "that is what a float is")]
pub(in crate::sql) fn float_of(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::{acosh, asinh, atanh, power, width_bucket};
    use crate::sql::function::Value;

    #[test]
    fn inverses_of_hyperbolic_functions() {
        let check = |result: f64, expected: &str| assert_eq!(result.to_string(), expected);
        check(asinh(1.0), "0.881373587019543");
        check(asinh(-1e300), "-691.4686750787736");
        check(acosh(1.5).unwrap(), "0.9624236501192069");
        check(atanh(0.5), "0.5493061443340548");
        check(atanh(-1.0), "-inf");
    }

    #[test]
    fn powers_outside_their_domain() {
        let check = |base, exponent, sqlstate| {
            assert_eq!(power(base, exponent).unwrap_err().sqlstate(), Some(sqlstate), "{base} ^ {exponent}");
        };
        check(0.0, -1.0, "2201F");
        check(-8.0, 0.5, "2201F");
        check(1e300, 2.0, "22003");
        check(1e-300, 2.0, "22003");
    }

    #[test]
    fn buckets() {
        let check = |value, low, high, expected| {
            assert_eq!(width_bucket(value, low, high, 4).unwrap(), Value::Int(expected), "{value} in {low}..{high}");
        };
        check(-3.0, -2.5, 2.5, 0);
        check(0.0, -2.5, 2.5, 3);
        check(2.5, -2.5, 2.5, 5);
        check(2.5, 2.5, -2.5, 1);
        check(-2.5, 2.5, -2.5, 5);
    }
}
