//! PostgreSQL's binary numerics as decimals.
//!
//! Owns: base 10,000 to an integer at a fixed scale, exactly or not at all. Must not know: columns, policies.
//!
//! Source: `numeric_send` in PostgreSQL's `numeric.c`: int16 number of digits, int16 weight of the first, uint16 sign,
//! uint16 display scale, then the digits, each 0 to 9999. The value is Σ digit[i] × 10000^(weight − i).

use arrow::datatypes::i256;

/// Powers of ten that fit a `u128`.
const POWERS: [u128; 39] = {
    let mut powers = [1; 39];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// Ten to some power, for the bounds of a column. The power is at most 76.
pub(super) fn power_of_ten(exponent: u8) -> i256 {
    let exponent = usize::from(exponent);
    let low = exponent.min(38);
    let high = (exponent - low).min(38);
    wide(POWERS[low]).wrapping_mul(wide(POWERS[high]))
}

fn wide(value: u128) -> i256 {
    i256::from_parts(value, 0)
}

/// What the bytes hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Numeric<'a> {
    NaN,
    PositiveInfinity,
    NegativeInfinity,
    Finite(Digits<'a>),
}

/// The digits of a finite value, each two bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digits<'a> {
    is_negative: bool,
    weight: i16,
    digits: &'a [[u8; 2]],
}

/// Why a numeric does not become a decimal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The bytes are not a numeric.
    Malformed,
    /// It has digits after the point beyond the column's scale.
    Scale,
    /// It has more digits than the column's precision.
    Precision,
}

impl<'a> Numeric<'a> {
    #[inline]
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (head, digits) = body.split_first_chunk::<8>()?;
        let [count_high, count_low, weight_high, weight_low, sign_high, sign_low, ..] = *head;
        let (digits, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || digits.len() != usize::from(u16::from_be_bytes([count_high, count_low])) {
            return None;
        }
        let weight = i16::from_be_bytes([weight_high, weight_low]);
        match u16::from_be_bytes([sign_high, sign_low]) {
            0x0000 => Some(Self::Finite(Digits { is_negative: false, weight, digits })),
            0x4000 => Some(Self::Finite(Digits { is_negative: true, weight, digits })),
            0xC000 => Some(Self::NaN),
            0xD000 => Some(Self::PositiveInfinity),
            0xF000 => Some(Self::NegativeInfinity),
            _ => None,
        }
    }
}

/// The digits brought to a scale: groups of four decimal digits, the last group shortened, then zeros.
struct Aligned<'a> {
    /// The groups that count in full.
    groups: &'a [[u8; 2]],
    /// What is left of the last group when the scale cuts it, and its number of digits, 1 to 3.
    tail: Option<(u16, usize)>,
    /// Zeros to append.
    zeros: usize,
}

impl<'a> Digits<'a> {
    /// The value × 10^scale, where |value × 10^scale| < 10^precision; at most 38 digits.
    #[inline]
    pub(super) fn to_i128(&self, precision: u8, scale: u8) -> Result<i128, Misfit> {
        let aligned = self.aligned(scale)?;
        let magnitude = aligned.magnitude(aligned.digit_bound())?;
        if magnitude >= POWERS[usize::from(precision.min(38))] {
            return Err(Misfit::Precision);
        }
        let magnitude = magnitude.cast_signed();
        Ok(if self.is_negative { -magnitude } else { magnitude })
    }

    /// As [`Digits::to_i128`], up to 76 digits; `limit` is 10^precision.
    pub(super) fn to_i256(&self, limit: i256, scale: u8) -> Result<i256, Misfit> {
        let aligned = self.aligned(scale)?;
        let bound = aligned.digit_bound();
        let magnitude = if bound <= 38 { wide(aligned.magnitude(bound)?) } else { aligned.wide_magnitude()? };
        if magnitude >= limit {
            return Err(Misfit::Precision);
        }
        Ok(if self.is_negative { magnitude.wrapping_neg() } else { magnitude })
    }

    #[inline]
    fn aligned(&self, scale: u8) -> Result<Aligned<'a>, Misfit> {
        let mut groups = self.digits;
        // Groups of zeros in front, which PostgreSQL never sends, would only spoil the bound on the digits.
        let mut weight = i64::from(self.weight);
        while let Some(([0, 0], rest)) = groups.split_first() {
            groups = rest;
            weight -= 1;
        }
        // The power of ten by which the integer of all groups must be multiplied. At most 65,535 groups: no overflow.
        let mut shift = i64::from(scale) + 4 * (weight - groups.len() as i64 + 1);
        while shift <= -4
            && let Some((last, rest)) = groups.split_last()
        {
            if *last != [0, 0] {
                return Err(if is_group(*last) { Misfit::Scale } else { Misfit::Malformed });
            }
            groups = rest;
            shift += 4;
        }
        if groups.is_empty() {
            return Ok(Aligned { groups, tail: None, zeros: 0 });
        }
        match shift {
            0.. => Ok(Aligned { groups, tail: None, zeros: usize::try_from(shift).unwrap_or(usize::MAX) }),
            _ => {
                let Some((last, rest)) = groups.split_last() else { return Err(Misfit::Malformed) };
                let last = u16::from_be_bytes(*last);
                let (divisor, digits) = match shift {
                    -1 => (10, 3),
                    -2 => (100, 2),
                    _ => (1000, 1),
                };
                if last > 9999 {
                    return Err(Misfit::Malformed);
                }
                if last % divisor != 0 {
                    return Err(Misfit::Scale);
                }
                Ok(Aligned { groups: rest, tail: Some((last / divisor, digits)), zeros: 0 })
            }
        }
    }
}

impl Aligned<'_> {
    /// No more decimal digits than this.
    #[inline]
    fn digit_bound(&self) -> usize {
        (4 * self.groups.len() + self.tail.map_or(0, |(_, digits)| digits)).saturating_add(self.zeros)
    }

    #[inline]
    fn magnitude(&self, bound: usize) -> Result<u128, Misfit> {
        if bound <= 19 {
            // Most money, counted in one machine word: 10^19 fits a u64.
            let mut value: u64 = 0;
            for group in self.groups {
                value = value * 10_000 + u64::from(group_value(*group)?);
            }
            if let Some((tail, digits)) = self.tail {
                value = value * [1, 10, 100, 1000][digits] + u64::from(tail);
            }
            return Ok(u128::from(value) * POWERS[self.zeros]);
        }
        let mut value: u128 = 0;
        for group in self.groups {
            let next =
                value.checked_mul(10_000).and_then(|value| value.checked_add(u128::from(group_value(*group).ok()?)));
            value = next.ok_or_else(|| self.overflow())?;
        }
        if let Some((tail, digits)) = self.tail {
            let next = value.checked_mul(POWERS[digits]).and_then(|value| value.checked_add(u128::from(tail)));
            value = next.ok_or(Misfit::Precision)?;
        }
        if value == 0 {
            return Ok(0);
        }
        POWERS.get(self.zeros).and_then(|power| value.checked_mul(*power)).ok_or(Misfit::Precision)
    }

    fn wide_magnitude(&self) -> Result<i256, Misfit> {
        let mut value = i256::ZERO;
        // Nine groups at a time fit a u128, which is much cheaper to compute with.
        for piece in self.groups.chunks(9) {
            let mut low: u128 = 0;
            for group in piece {
                low = low * 10_000 + u128::from(group_value(*group)?);
            }
            value = shifted(value, 4 * piece.len(), low).ok_or_else(|| self.overflow())?;
        }
        if let Some((tail, digits)) = self.tail {
            value = shifted(value, digits, u128::from(tail)).ok_or(Misfit::Precision)?;
        }
        let mut zeros = self.zeros;
        while zeros > 0 && value != i256::ZERO {
            let step = zeros.min(38);
            value = shifted(value, step, 0).ok_or(Misfit::Precision)?;
            zeros -= step;
        }
        Ok(value)
    }

    /// A value too long to compute is still malformed if one of its groups is.
    #[cold]
    fn overflow(&self) -> Misfit {
        if self.groups.iter().copied().all(is_group) { Misfit::Precision } else { Misfit::Malformed }
    }
}

/// value × 10^digits + low.
fn shifted(value: i256, digits: usize, low: u128) -> Option<i256> {
    value.checked_mul(wide(*POWERS.get(digits)?))?.checked_add(wide(low))
}

#[inline]
fn group_value(group: [u8; 2]) -> Result<u16, Misfit> {
    let value = u16::from_be_bytes(group);
    if value > 9999 { Err(Misfit::Malformed) } else { Ok(value) }
}

fn is_group(group: [u8; 2]) -> bool {
    u16::from_be_bytes(group) <= 9999
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `numeric_send` gives for a plain decimal text.
    fn encode(text: &str) -> Vec<u8> {
        let (sign, text) = text.strip_prefix('-').map_or((0u16, text), |rest| (0x4000, rest));
        let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
        let pad = (4 - integer.len() % 4) % 4;
        let mut digits = "0".repeat(pad) + integer + fraction;
        digits.push_str(&"0".repeat((4 - digits.len() % 4) % 4));
        let mut groups: Vec<u16> =
            (0..digits.len() / 4).map(|at| digits[at * 4..at * 4 + 4].parse().unwrap()).collect();
        let mut weight = i16::try_from((pad + integer.len()) / 4).unwrap() - 1;
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() {
            weight = 0;
        }
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(u16::try_from(fraction.len()).unwrap().to_be_bytes());
        groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
        bytes
    }

    /// Decodes both ways and compares with the integer that is expected, or the misfit.
    fn check(text: &str, precision: u8, scale: u8, expect: &str) {
        let bytes = encode(text);
        let Some(Numeric::Finite(digits)) = Numeric::parse(&bytes) else { panic!("{text} does not parse") };
        let wide = digits
            .to_i256(power_of_ten(precision), scale)
            .map_or_else(|misfit| format!("{misfit:?}"), |v| v.to_string());
        assert_eq!(wide, expect, "{text} as Decimal256({precision},{scale})");
        if precision <= 38 {
            let narrow =
                digits.to_i128(precision, scale).map_or_else(|misfit| format!("{misfit:?}"), |v| v.to_string());
            assert_eq!(narrow, expect, "{text} as Decimal128({precision},{scale})");
        }
    }

    #[test]
    fn torture() {
        let nines = |count: usize| "9".repeat(count);
        check("0", 1, 0, "0");
        check("0.00", 38, 38, "0");
        check("1", 1, 0, "1");
        check("10", 1, 0, "Precision");
        check("-12.34", 4, 2, "-1234");
        check("12.3", 10, 4, "123000");
        check("12.345", 10, 2, "Scale");
        check("12.340", 10, 2, "1234");
        check("0.0001", 10, 4, "1");
        check("0.00001", 10, 4, "Scale");
        check("0.00000001", 10, 8, "1");
        check("10000", 5, 0, "10000");
        check("100000000", 38, 20, &format!("1{}", "0".repeat(28)));
        check("99999999999999.9999", 18, 4, &nines(18));
        check("9999999999999999999", 19, 0, &nines(19));
        check("99999999999999999999", 20, 0, &nines(20));
        check(&nines(38), 38, 0, &nines(38));
        check(&nines(39), 38, 0, "Precision");
        check(&nines(76), 76, 0, &nines(76));
        check(&nines(77), 76, 0, "Precision");
        check(&format!("0.{}", nines(38)), 38, 38, &nines(38));
        check(&format!("-0.{}", nines(76)), 76, 76, &format!("-{}", nines(76)));
        check(&format!("{}.{}", nines(36), nines(40)), 76, 40, &nines(76));
        check(&format!("1{}", "0".repeat(75)), 76, 0, &format!("1{}", "0".repeat(75)));
        check(&format!("1{}", "0".repeat(76)), 76, 0, "Precision");
        check(&format!("1{}", "0".repeat(2000)), 76, 10, "Precision");
        check(&format!("0.{}1", "0".repeat(2000)), 76, 10, "Scale");
        check("1.5", 38, 37, &format!("15{}", "0".repeat(36)));
        check("123456789012345678901234567890.12345678", 38, 8, "12345678901234567890123456789012345678");
    }

    #[test]
    fn what_is_no_numeric_is_refused() {
        let special = |sign: u16| [&[0, 0, 0, 0][..], &sign.to_be_bytes(), &[0, 0]].concat();
        assert_eq!(Numeric::parse(&special(0xC000)), Some(Numeric::NaN));
        assert_eq!(Numeric::parse(&special(0xD000)), Some(Numeric::PositiveInfinity));
        assert_eq!(Numeric::parse(&special(0xF000)), Some(Numeric::NegativeInfinity));
        assert_eq!(Numeric::parse(&special(0x1234)), None);
        assert_eq!(Numeric::parse(&[0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Numeric::parse(&[]), None);
        for digit in [10_000u16, 0x8000, 0xffff] {
            let bytes = [&[0, 1, 0, 0, 0, 0, 0, 0][..], &digit.to_be_bytes()].concat();
            let Some(Numeric::Finite(digits)) = Numeric::parse(&bytes) else { panic!("must parse") };
            for scale in [0, 2] {
                assert_eq!(digits.to_i128(38, scale), Err(Misfit::Malformed));
                assert_eq!(digits.to_i256(power_of_ten(76), scale), Err(Misfit::Malformed));
            }
        }
    }
}
