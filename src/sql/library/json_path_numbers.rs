//! The arithmetic of `jsonpath`, on numbers with all their digits: the results have as many behind the point as those of
//! `numeric`.

use num_bigint::{BigInt, Sign};

use super::{
    json_path::Arithmetic,
    json_value::number,
    number_casts::float_of_text,
    numbers::decimal::{divided, division_by_zero, power_of_ten, too_wide},
};
use crate::error::Result;

/// How many digits a quotient has at least, and how many behind the point at most.
const QUOTIENT_DIGITS: i64 = 16;
const QUOTIENT_SCALE_MAX: i64 = 1000;

/// Digits of `numeric` before the point, and behind it.
const WHOLE_MAX: usize = 131_072;
const SCALE_MAX: u32 = 16_383;

/// `unscaled` / 10^`scale`
struct Number {
    unscaled: BigInt,
    scale: u32,
}

impl Number {
    fn read(digits: &str) -> Result<Self> {
        let scale = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let unscaled = digits.replace('.', "").parse().map_err(|_| too_wide())?;
        Ok(Self { unscaled, scale: u32::try_from(scale).map_err(|_| too_wide())? })
    }

    fn print(&self) -> Result<String> {
        let digits = self.unscaled.magnitude().to_string();
        let scale = usize::try_from(self.scale).map_err(|_| too_wide())?;
        if self.scale > SCALE_MAX || digits.len() > WHOLE_MAX + scale {
            return Err(too_wide());
        }
        let sign = if self.unscaled.sign() == Sign::Minus { "-" } else { "" };
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let point = if scale > 0 { "." } else { "" };
        Ok(format!("{sign}{whole}{point}{fraction}"))
    }

    /// With this many digits behind the point, which are at least as many.
    fn at(&self, scale: u32) -> BigInt {
        &self.unscaled * power_of_ten(scale.saturating_sub(self.scale))
    }
}

/// The result of an operator.
pub(super) fn compute(operation: Arithmetic, left: &str, right: &str) -> Result<String> {
    let (first, second) = (Number::read(left)?, Number::read(right)?);
    let scale = first.scale.max(second.scale);
    let is_division = matches!(operation, Arithmetic::Divide | Arithmetic::Modulo);
    if is_division && second.unscaled.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    let result = match operation {
        Arithmetic::Add => Number { unscaled: first.at(scale) + second.at(scale), scale },
        Arithmetic::Subtract => Number { unscaled: first.at(scale) - second.at(scale), scale },
        Arithmetic::Multiply => {
            Number { unscaled: &first.unscaled * &second.unscaled, scale: first.scale + second.scale }
        }
        Arithmetic::Modulo => Number { unscaled: first.at(scale) % second.at(scale), scale },
        Arithmetic::Divide => {
            let wanted = quotient_scale(left, right, i64::from(scale));
            let wanted = u32::try_from(wanted).map_err(|_| too_wide())?;
            // first / second = unscaled quotient * 10^(second.scale - first.scale)
            let dividend = &first.unscaled * power_of_ten(wanted + second.scale);
            let divisor = &second.unscaled * power_of_ten(first.scale);
            Number { unscaled: divided(&dividend, &divisor), scale: wanted }
        }
    };
    result.print()
}

/// As Postgres chooses it: from the first four digits of both, counted from the point, so that sixteen digits will be
/// significant.
fn quotient_scale(left: &str, right: &str, scale: i64) -> i64 {
    let ((first_weight, first_digit), (second_weight, second_digit)) = (leading(left), leading(right));
    let weight = first_weight - second_weight - i64::from(first_digit <= second_digit);
    (QUOTIENT_DIGITS - weight * 4).max(scale).clamp(0, QUOTIENT_SCALE_MAX)
}

/// Where the first group of four digits is that is not zero, and what it is.
fn leading(number: &str) -> (i64, u32) {
    let number = number.trim_start_matches('-');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    if !whole.is_empty() {
        let groups = whole.len().div_ceil(4);
        let first = whole.len() - (groups - 1) * 4;
        return ((length(whole) - 1) / 4, whole[..first].parse().unwrap_or(0));
    }
    let zeros = length(fraction) - length(fraction.trim_start_matches('0'));
    let group = zeros / 4;
    let from = usize::try_from(group * 4).unwrap_or(0);
    let digits = fraction.get(from..).unwrap_or_default();
    match format!("{:0<4}", &digits[..digits.len().min(4)]).parse().unwrap_or(0) {
        0 => (0, 0),
        digit => (-1 - group, digit),
    }
}

/// Without its sign.
pub(super) fn absolute(number: &str) -> String {
    number.trim_start_matches('-').to_owned()
}

/// With the other sign; zero has none.
pub(super) fn negated(number: &str) -> String {
    match number.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None if number.bytes().all(|byte| matches!(byte, b'0' | b'.')) => number.to_owned(),
        None => format!("-{number}"),
    }
}

/// The next integer below, or above.
pub(super) fn floor(number: &str, is_up: bool) -> Result<String> {
    let Some((whole, fraction)) = number.split_once('.') else { return Ok(number.to_owned()) };
    let is_negative = whole.starts_with('-');
    let is_whole = fraction.bytes().all(|byte| byte == b'0');
    let whole = if whole == "-0" { "0" } else { whole };
    match is_whole || is_negative == is_up {
        true => Ok(whole.to_owned()),
        false => compute(if is_up { Arithmetic::Add } else { Arithmetic::Subtract }, whole, "1"),
    }
}

/// The integer that is left where the digits behind the point are cut off, if it is an `int4`.
pub(super) fn subscript(number: &str) -> Option<i64> {
    let whole = number.split_once('.').map_or(number, |(whole, _)| whole);
    whole.parse::<i32>().ok().map(i64::from)
}

/// What `.double()` makes of a string: fifteen digits of it.
pub(super) fn double_of_text(text: &str) -> Option<String> {
    let value = float_of_text(text).ok().filter(|value| value.is_finite())?;
    let scientific = format!("{value:.14e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    number(&format!("{mantissa}e{exponent}")).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_postgres_s_digits() {
        let check = |operation: Arithmetic, left: &str, right: &str, expected: &str| {
            assert_eq!(compute(operation, left, right).unwrap(), expected, "{left} {} {right}", operation.symbol());
        };
        check(Arithmetic::Divide, "1", "3", "0.33333333333333333333");
        check(Arithmetic::Divide, "10000", "3", "3333.3333333333333333");
        check(Arithmetic::Divide, "2.50", "-0.001", "-2500.0000000000000000");
        check(Arithmetic::Modulo, "-7.5", "2", "-1.5");
        check(Arithmetic::Multiply, "1.50", "2.0", "3.000");
        check(Arithmetic::Subtract, "1", "1.00", "0.00");
        assert_eq!(floor("-0.5", false).unwrap(), "-1");
        assert_eq!(floor("-0.5", true).unwrap(), "0");
        assert_eq!(double_of_text(" 1.50e3 ").as_deref(), Some("1500"));
    }
}
