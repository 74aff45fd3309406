//! Roots, exponentials, logarithms and powers of numerics, with as many digits behind the point as Postgres gives: sixteen
//! significant ones at least, and no fewer than the arguments have.
//!
//! They are computed with more digits than asked for, and rounded once. How many digits are asked for follows
//! Postgres's estimates digit by digit, because they decide where the result is rounded.

use arrow::datatypes::i256;
use num_bigint::{BigInt, Sign};

use super::{
    decimal::{
        DIGITS_MAX, decimal, digits, divided, division_by_zero, fit, literal, literal_int, power_of_ten, root,
        too_wide, wide,
    },
    fixed::Fixed,
};
use crate::{
    error::{Error, Result},
    sql::function::{Argument, Decimal, fault},
};

/// Significant digits of a result, at least.
const SIGNIFICANT: i64 = 16;
/// Digits behind the point, at most: there is no room for more.
const SCALE_MAX: i64 = 100;
/// Digits that are computed and not shown.
const GUARD: u32 = 12;
/// Postgres keeps four digits together, and its estimates see only such groups.
const GROUP: i64 = 4;
#[expect(clippy::approx_constant, reason = "as many digits as Postgres estimates with")]
const LOG10_OF_E: f64 = 0.434_294_481_903_252;

pub(super) fn sqrt(value: Decimal) -> Result<Decimal> {
    if value.unscaled < i256::ZERO {
        return Err(fault("2201F", "cannot take square root of a negative number"));
    }
    let weight = Groups::of(value).weight * GROUP / 2 + 1;
    let scale = shown(SIGNIFICANT - weight, &[value]);
    let square = wide(value.unscaled) * power_of_ten(2 * scale - u32::from(value.scale));
    decimal(&root(&square), scale)
}

pub(super) fn exp(value: Decimal) -> Result<Decimal> {
    let weight = (approximate(value) * LOG10_OF_E).clamp(-2000.0, 2000.0);
    let scale = shown(SIGNIFICANT - super::float::whole(weight), &[value]);
    raised(&Fixed::of(value, scale + GUARD + whole_digits(weight)), weight, scale)
}

pub(super) fn ln(value: Decimal) -> Result<Decimal> {
    positive(value)?;
    let scale = shown(SIGNIFICANT - weight_of_ln(value), &[value]);
    Fixed::ln(value, scale + GUARD).rounded(scale)
}

pub(super) fn log(base: Decimal, value: Decimal) -> Result<Decimal> {
    positive(base)?;
    positive(value)?;
    let weight = weight_of_ln(value) - weight_of_ln(base);
    let scale = shown(SIGNIFICANT - weight, &[base, value]);
    // Each has as many significant digits as the quotient needs.
    let precision = scale + GUARD + magnitude(weight) + magnitude(weight_of_ln(base)) + magnitude(weight_of_ln(value));
    let (dividend, divisor) = (Fixed::ln(value, precision), Fixed::ln(base, precision));
    if divisor.value.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    decimal(&divided(&(dividend.value * power_of_ten(scale)), &divisor.value), scale)
}

pub(super) fn log10(value: Decimal) -> Result<Decimal> {
    log(Decimal { unscaled: i256::from_i128(10), scale: 0 }, value)
}

pub(super) fn power(base: Decimal, exponent: Decimal) -> Result<Decimal> {
    let trimmed = super::decimal::trimmed(exponent);
    let is_whole = trimmed.scale == 0;
    if base.unscaled == i256::ZERO && exponent.unscaled < i256::ZERO {
        return Err(fault("2201F", "zero raised to a negative power is undefined"));
    }
    if base.unscaled < i256::ZERO && !is_whole {
        return Err(fault("2201F", "a negative number raised to a non-integer power yields a complex result"));
    }
    if let Some(exponent) = trimmed.unscaled.to_i128().and_then(|value| i32::try_from(value).ok()).filter(|_| is_whole)
    {
        return whole_power(base, exponent, shown(SIGNIFICANT, &[base]));
    }
    if base.unscaled == i256::ZERO {
        return Ok(Decimal { unscaled: i256::ZERO, scale: 16 });
    }
    let is_odd = is_whole && trimmed.unscaled.to_string().ends_with(['1', '3', '5', '7', '9']);
    let is_negative = is_odd && base.unscaled < i256::ZERO;
    let size = Decimal { unscaled: base.unscaled.wrapping_abs(), ..base };
    let weight = weight_of_power(size, exponent);
    if weight.abs() > 2000.0 * 3.01 * LOG10_OF_E {
        return if weight > 0.0 { Err(too_wide()) } else { Ok(Decimal { unscaled: i256::ZERO, scale: DIGITS_MAX }) };
    }
    let scale = shown(SIGNIFICANT - super::float::whole(weight), &[base, exponent]);
    let result = exponential(size, exponent, weight, scale)?;
    Ok(if is_negative { negated(result) } else { result })
}

/// The decimal exponent of a power by way of a logarithm of eight digits, as Postgres estimates it.
fn weight_of_power(size: Decimal, exponent: Decimal) -> f64 {
    let unit = 10_f64.powf(super::float::float_of((8 - weight_of_ln(size)).max(0)));
    let logarithm = BigInt::from(super::float::whole((approximate_ln(size) * unit).round()));
    let product = divided(&(logarithm * wide(exponent.unscaled)), &power_of_ten(u32::from(exponent.scale)));
    product.to_string().parse().map_or(0.0, |product: f64| product / unit * LOG10_OF_E)
}

/// Multiplied exactly where that is short enough.
fn whole_power(base: Decimal, exponent: i32, scale: u32) -> Result<Decimal> {
    /// Bits of an exact result.
    const BITS_MAX: u64 = 1 << 14;

    let count = exponent.unsigned_abs();
    if base.unscaled == i256::ZERO {
        return decimal(&if exponent == 0 { power_of_ten(scale) } else { BigInt::from(0) }, scale);
    }
    let digits = wide(base.unscaled);
    let scale_of_base = u32::from(base.scale);
    if digits.bits().max(4 * u64::from(scale_of_base)).saturating_mul(u64::from(count)) <= BITS_MAX {
        let (dividend, divisor) = (digits.pow(count), power_of_ten(scale_of_base * count));
        let (dividend, divisor) = if exponent < 0 { (divisor, dividend) } else { (dividend, divisor) };
        return decimal(&divided(&(dividend * power_of_ten(scale)), &divisor), scale);
    }
    let is_negative = base.unscaled < i256::ZERO && exponent % 2 != 0;
    let size = Decimal { unscaled: base.unscaled.wrapping_abs(), ..base };
    let weight = approximate_ln(size) * f64::from(exponent) * LOG10_OF_E;
    let exponent = Decimal { unscaled: i256::from_i128(i128::from(exponent)), scale: 0 };
    let result = exponential(size, exponent, weight, scale)?;
    Ok(if is_negative { negated(result) } else { result })
}

/// `size` ^ `exponent`, of about `weight` digits, by way of the logarithm.
fn exponential(size: Decimal, exponent: Decimal, weight: f64, scale: u32) -> Result<Decimal> {
    let length = u32::try_from(exponent.unscaled.to_string().len()).map_err(|_| too_wide())?;
    let precision = scale + GUARD + whole_digits(weight) + length;
    raised(&Fixed::ln(size, precision).times(exponent), weight, scale)
}

/// e ^ `exponent`, of about `weight` digits.
fn raised(exponent: &Fixed, weight: f64, scale: u32) -> Result<Decimal> {
    if weight > f64::from(DIGITS_MAX) + 2.0 {
        return Err(too_wide());
    }
    if weight < -f64::from(scale) - 2.0 {
        return Ok(Decimal { unscaled: i256::ZERO, scale: u8::try_from(scale).unwrap_or(DIGITS_MAX).min(DIGITS_MAX) });
    }
    exponent.exp()?.rounded(scale)
}

fn positive(value: Decimal) -> Result<()> {
    let logarithm_of = |what: &str| -> Error { fault("2201E", format!("cannot take logarithm of {what}")) };
    match value.unscaled {
        unscaled if unscaled < i256::ZERO => Err(logarithm_of("a negative number")),
        unscaled if unscaled == i256::ZERO => Err(logarithm_of("zero")),
        _ => Ok(()),
    }
}

fn negated(value: Decimal) -> Decimal {
    Decimal { unscaled: value.unscaled.wrapping_neg(), ..value }
}

/// Digits behind the point of a result for which `scale` would be enough.
fn shown(scale: i64, arguments: &[Decimal]) -> u32 {
    let least = arguments.iter().map(|value| i64::from(value.scale)).max().unwrap_or(0);
    u32::try_from(scale.clamp(least, SCALE_MAX.max(least))).unwrap_or(0)
}

fn whole_digits(weight: f64) -> u32 {
    magnitude(super::float::whole(weight.max(0.0))).min(2 * u32::from(DIGITS_MAX))
}

fn magnitude(weight: i64) -> u32 {
    u32::try_from(weight.unsigned_abs()).unwrap_or(0)
}

fn approximate(value: Decimal) -> f64 {
    value.to_string().parse().unwrap_or(0.0)
}

/// Also of a number that is very near to one.
fn approximate_ln(value: Decimal) -> f64 {
    let (numerator, unit) = (wide(value.unscaled), power_of_ten(u32::from(value.scale)));
    let above = (numerator - &unit) * power_of_ten(40) / unit;
    match approximate(value) {
        near if (0.9..=1.1).contains(&near) => (above.to_string().parse::<f64>().unwrap_or(0.0) * 1e-40).ln_1p(),
        value => value.ln(),
    }
}

/// The number's leading digits as Postgres keeps them, in groups of four that start at the point.
struct Groups {
    first: f64,
    second: Option<f64>,
    /// Groups in front of the point, less one.
    weight: i64,
}

impl Groups {
    fn of(value: Decimal) -> Self {
        let text = value.to_string();
        let (whole, fraction) =
            text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), ""));
        let lead = whole.len().next_multiple_of(4);
        let mut all = format!("{whole:0>lead$}{fraction}");
        let end = all.len().next_multiple_of(4);
        all = format!("{all:0<end$}");
        let groups: Vec<f64> =
            (0..end / 4).filter_map(|group| all.get(4 * group..4 * group + 4)?.parse().ok()).collect();
        let Some(start) = groups.iter().position(|group| *group != 0.0) else {
            return Self { first: 0.0, second: None, weight: 0 };
        };
        let last = groups.iter().rposition(|group| *group != 0.0).unwrap_or(start);
        let weight = i64::try_from(lead / 4).unwrap_or(0) - i64::try_from(start).unwrap_or(0) - 1;
        let second = groups.get(start + 1).copied().filter(|_| last > start);
        Self { first: groups.get(start).copied().unwrap_or(0.0), second, weight }
    }
}

/// The decimal exponent of the natural logarithm, as Postgres estimates it.
fn weight_of_ln(value: Decimal) -> i64 {
    let exactly = |tenths: i128| Decimal { unscaled: i256::from_i128(tenths), scale: 1 };
    let against = |bound: Decimal| {
        let (value, bound, _) = super::decimal::aligned(value, bound);
        value.cmp(&bound)
    };
    let is_near = against(exactly(9)).is_ge() && against(exactly(11)).is_le();
    if is_near {
        let (value, one, scale) = super::decimal::aligned(value, exactly(10));
        let Ok(above) = decimal(&(value - one), u32::from(scale)) else { return 0 };
        let groups = Groups::of(above);
        if groups.first == 0.0 {
            return 0;
        }
        return groups.weight * GROUP + super::float::whole(groups.first.log10());
    }
    let groups = Groups::of(value);
    let (leading, weight) = match groups.second {
        Some(second) => (groups.first * 10_000.0 + second, (groups.weight - 1) * GROUP),
        None => (groups.first, groups.weight * GROUP),
    };
    let logarithm = leading.ln() + super::float::float_of(weight) * std::f64::consts::LN_10;
    super::float::whole(logarithm.abs().log10())
}

/// Precision and scale of a root.
pub(super) fn scale_of_sqrt(arguments: &[Argument<'_>]) -> (u8, i8) {
    known(arguments, |values| sqrt(*values.first()?).ok()).unwrap_or_else(|| {
        let (whole, scale) = arguments.first().map_or((1, 0), digits);
        fit(whole / 2 + 1, scale.max(SIGNIFICANT - 1 + 2 * ((scale + GROUP - 1) / GROUP)))
    })
}

/// Precision and scale of e to some power: numbers of one digit have all that Postgres gives, others as many as there is room for.
pub(super) fn scale_of_exp(arguments: &[Argument<'_>]) -> (u8, i8) {
    known(arguments, |values| exp(*values.first()?).ok()).unwrap_or_else(|| {
        match arguments.first().map_or((1, 0), digits) {
            (..=1, scale) => fit(5, scale.max(SIGNIFICANT + 4)),
            _ => fit(44, 32),
        }
    })
}

/// Precision and scale of a natural or decimal logarithm.
pub(super) fn scale_of_ln(arguments: &[Argument<'_>]) -> (u8, i8) {
    known(arguments, |values| ln(*values.first()?).ok()).unwrap_or_else(|| {
        let (_, scale) = arguments.first().map_or((1, 0), digits);
        fit(3, SIGNIFICANT + 1 + scale)
    })
}

/// Precision and scale of a decimal logarithm.
pub(super) fn scale_of_log10(arguments: &[Argument<'_>]) -> (u8, i8) {
    known(arguments, |values| log10(*values.first()?).ok()).unwrap_or_else(|| scale_of_ln(arguments))
}

/// Precision and scale of a logarithm to any base.
pub(super) fn scale_of_log(arguments: &[Argument<'_>]) -> (u8, i8) {
    known(arguments, |values| log(*values.first()?, *values.get(1)?).ok()).unwrap_or_else(|| {
        let scale = arguments.iter().map(|argument| digits(argument).1).max().unwrap_or(0);
        fit(20, SIGNIFICANT + 2 + scale)
    })
}

/// Precision and scale of a power. A literal exponent that is a natural number tells how long it can become.
pub(super) fn scale_of_power(arguments: &[Argument<'_>]) -> (u8, i8) {
    known(arguments, |values| power(*values.first()?, *values.get(1)?).ok()).unwrap_or_else(|| {
        let (whole, scale) = arguments.first().map_or((1, 0), digits);
        match arguments.get(1).and_then(literal_int) {
            Some(exponent @ 0..) => fit(whole.max(1).saturating_mul(exponent.max(1)).min(60), scale.max(SIGNIFICANT)),
            _ => fit(46, 30),
        }
    })
}

/// Of a result whose arguments are all written in the statement.
fn known(arguments: &[Argument<'_>], compute: fn(&[Decimal]) -> Option<Decimal>) -> Option<(u8, i8)> {
    let values: Vec<Decimal> = arguments.iter().map(literal).collect::<Option<_>>()?;
    let result = compute(&values)?;
    let whole = result.unscaled.to_string().trim_start_matches('-').len();
    Some(fit(i64::try_from(whole).unwrap_or(i64::MAX) - i64::from(result.scale), i64::from(result.scale)))
}

#[cfg(test)]
mod tests {
    use super::{exp, ln, log, power, sqrt};
    use crate::{
        error::Result,
        sql::{function::Decimal, library::number_casts::numeric_of_text},
    };

    #[test]
    fn as_many_digits_as_postgres() {
        let number = |text: &str| numeric_of_text(text).unwrap();
        let check = |result: Result<Decimal>, expected: &str| assert_eq!(result.unwrap().to_string(), expected);
        check(sqrt(number("0.1")), "0.31622776601683793");
        check(exp(number("-2.5")), "0.08208499862389880");
        check(ln(number("3.1416")), "1.1447322242816628");
        check(log(number("2"), number("1024")), "10.0000000000000000");
        check(power(number("1.5"), number("2.5")), "2.7556759606310754");
        check(power(number("10"), number("30")), "1000000000000000000000000000000.0000000000000000");
        check(power(number("12345.678"), number("-3")), "0.0000000000005314");
    }
}
