//! How close two values of one column must be.

use num_bigint::BigInt;

/// Of the larger of two floats.
const FLOAT_TOLERANCE: f64 = 1e-9;
/// Of the larger of two 32-bit floats, which have some seven digits.
const REAL_TOLERANCE: f64 = 1e-5;
/// Of the largest value of a column of floats: what is left of sums that cancel out is noise of what was summed.
const CANCELLED_TOLERANCE: f64 = 1e-13;
/// A numeric with so many digits behind the point in a statement with quotients may be one, or made of some.
const QUOTIENT_SCALE_MIN: usize = 10;
/// As many of a quotient's digits behind the point are noise, if many of them were summed.
const QUOTIENT_NOISE_DIGITS: usize = 6;
/// Postgres computes quotients to so many significant digits at least.
const QUOTIENT_DIGITS_MIN: usize = 16;

/// How close the values of a column must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Closeness {
    /// Equal as text.
    Exact,
    /// Numerics, equal by value; in statements with quotients, to the digits that both have.
    Numeric { has_quotients: bool },
    /// Floats, to `relative` of the larger, or to `absolute`.
    Float { relative: f64, absolute: f64 },
    /// Arrays of such.
    Array(Numbers),
}

/// What an array is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numbers {
    Numeric { has_quotients: bool },
    Float { relative: f64, absolute: f64 },
}

impl Closeness {
    /// For the values of a column of this Postgres type.
    pub(super) fn of<'a>(kind: &str, has_quotients: bool, values: impl Iterator<Item = &'a str>) -> Self {
        let element = kind.strip_suffix("[]");
        let numbers = match element.unwrap_or(kind) {
            "numeric" => Numbers::Numeric { has_quotients },
            name @ ("float8" | "float4") => {
                let greatest = values.flat_map(numbers_in).filter_map(|text| text.parse::<f64>().ok());
                let greatest =
                    greatest.filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
                let relative = if name == "float8" { FLOAT_TOLERANCE } else { REAL_TOLERANCE };
                let absolute = greatest * CANCELLED_TOLERANCE * (relative / FLOAT_TOLERANCE);
                Numbers::Float { relative, absolute }
            }
            _ => return Self::Exact,
        };
        match (element, numbers) {
            (Some(_), numbers) => Self::Array(numbers),
            (None, Numbers::Numeric { has_quotients }) => Self::Numeric { has_quotients },
            (None, Numbers::Float { relative, absolute }) => Self::Float { relative, absolute },
        }
    }

    /// Whether equal values are equal texts.
    pub(super) fn is_exact(self) -> bool {
        self == Self::Exact
    }

    /// Whether two different texts are close enough.
    pub(super) fn are_close(self, left: &str, right: &str) -> bool {
        match self {
            Self::Exact => false,
            Self::Numeric { has_quotients } => close_numerics(left, right, has_quotients),
            Self::Float { relative, absolute } => close_floats(left, right, relative, absolute),
            Self::Array(numbers) => close_arrays(left, right, numbers),
        }
    }
}

fn numbers_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(['{', '}', ',']).filter(|part| !part.is_empty())
}

/// The same shape, and each number close.
fn close_arrays(left: &str, right: &str, numbers: Numbers) -> bool {
    let shape = |text: &str| text.chars().filter(|letter| matches!(letter, '{' | '}' | ',')).collect::<String>();
    let close = |(left, right): (&str, &str)| {
        left == right
            || match numbers {
                Numbers::Numeric { has_quotients } => close_numerics(left, right, has_quotients),
                Numbers::Float { relative, absolute } => close_floats(left, right, relative, absolute),
            }
    };
    shape(left) == shape(right) && numbers_in(left).zip(numbers_in(right)).all(close)
}

fn close_floats(left: &str, right: &str, relative: f64, absolute: f64) -> bool {
    let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) else { return false };
    if !left.is_finite() || !right.is_finite() {
        return left == right || (left.is_nan() && right.is_nan());
    }
    let apart = (left - right).abs();
    apart <= relative * left.abs().max(right.abs()) || apart <= absolute
}

fn close_numerics(left: &str, right: &str, has_quotients: bool) -> bool {
    let (Some(left), Some(right)) = (Decimal::parse(left), Decimal::parse(right)) else { return false };
    let scale = left.scale.max(right.scale);
    let apart = left.at(scale) - right.at(scale);
    let apart = if apart < BigInt::from(0) { -apart } else { apart };
    if apart == BigInt::from(0) {
        return true;
    }
    let (few, many) = if left.scale <= right.scale { (&left, &right) } else { (&right, &left) };
    if !has_quotients {
        return false;
    }
    if few.scale >= QUOTIENT_SCALE_MIN {
        return apart <= power_of_ten(scale - (few.scale - QUOTIENT_NOISE_DIGITS));
    }
    // A large quotient has few digits behind the point, and many before it.
    let is_rounded = few.scale < many.scale && few.digits() >= QUOTIENT_DIGITS_MIN;
    is_rounded && apart * 2 <= power_of_ten(scale - few.scale) + 2
}

struct Decimal {
    unscaled: BigInt,
    scale: usize,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unscaled = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { unscaled, scale: fraction.len() })
    }

    fn at(&self, scale: usize) -> BigInt {
        &self.unscaled * power_of_ten(scale.saturating_sub(self.scale))
    }

    fn digits(&self) -> usize {
        self.unscaled.magnitude().to_string().len()
    }
}

fn power_of_ten(exponent: usize) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_close_by_their_type() {
        let check = |kind: &str, quotients: bool, left: &str, right: &str, expect: bool| {
            let closeness = Closeness::of(kind, quotients, [left, right].into_iter());
            assert_eq!(closeness.are_close(left, right), expect, "{kind}: {left} and {right}");
        };
        check("text", true, "a", "A", false);
        check("int8", true, "1", "2", false);
        check("numeric", false, "1.50", "1.5", true);
        check("numeric", false, "1.50", "1.51", false);
        check("numeric", true, "1.50", "1.51", false);
        check("numeric", true, "100000000000.00", "100000000000.01", false);
        check("numeric", true, "0.3333333333333333", "0.33333333333333333333", true);
        check("numeric", true, "0.3333333333333333", "0.33333434333333333333", false);
        check("numeric", false, "0.3333333333333333", "0.33333333333333333333", false);
        check("numeric", true, "4115226300411522.6", "4115226300411522.63004115226300411523", true);
        check("numeric", true, "4115226300411522.6", "4115226300411522.73004115226300411523", false);
        check("numeric", false, "NaN", "0", false);
        check("float8", false, "0.1", "0.10000000000000002", true);
        check("float8", false, "0.1", "0.1000001", false);
        check("float8", false, "NaN", "0", false);
        check("float8", false, "Infinity", "-Infinity", false);
        check("float4", false, "0.1234567", "0.1234569", true);
        check("float8[]", false, "{0.1,NULL,{2}}", "{0.10000000000000002,NULL,{2}}", true);
        check("float8[]", false, "{0.1,2}", "{0.1,3}", false);
        check("numeric[]", false, "{1.50}", "{1.5}", true);
        check("numeric[]", false, "{1.50}", "{1.5,2}", false);
    }

    #[test]
    fn what_cancels_out_is_noise_of_what_was_summed() {
        let closeness = Closeness::of("float8", false, ["12345678.5", "1.8e-9", "0"].into_iter());
        assert!(closeness.are_close("1.8e-9", "0"));
        let closeness = Closeness::of("float8", false, ["1.8e-9", "0"].into_iter());
        assert!(!closeness.are_close("1.8e-9", "0"));
    }
}
