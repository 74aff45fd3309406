//! Logarithms and exponentials of numbers in binary fixed point, to as many digits as asked for.

use std::sync::LazyLock;

use num_bigint::{BigInt, Sign};

use super::decimal::{decimal, divided, power_of_ten, too_wide, wide};
use crate::{error::Result, sql::function::Decimal};

/// `value` / 2^`bits`.
pub(super) struct Fixed {
    pub(super) value: BigInt,
    bits: u32,
}

/// Bits of what is computed once.
const BITS_MAX: u32 = 2048;

/// The logarithm of two.
static LN_2: LazyLock<BigInt> = LazyLock::new(|| {
    let third = (BigInt::from(1) << BITS_MAX) / 3;
    inverse_hyperbolic_tangent(third, BITS_MAX) * 2
});

/// More than so many decimal digits.
fn bits_of(digits: u32) -> u32 {
    (digits * 10 / 3 + 8).min(BITS_MAX)
}

fn ln_2(bits: u32) -> BigInt {
    &*LN_2 >> (BITS_MAX - bits)
}

impl Fixed {
    pub(super) fn of(value: Decimal, digits: u32) -> Self {
        let bits = bits_of(digits);
        Self { value: (wide(value.unscaled) << bits) / power_of_ten(u32::from(value.scale)), bits }
    }

    pub(super) fn rounded(&self, scale: u32) -> Result<Decimal> {
        decimal(&divided(&(&self.value * power_of_ten(scale)), &(BigInt::from(1) << self.bits)), scale)
    }

    pub(super) fn times(&self, factor: Decimal) -> Self {
        Self { value: &self.value * wide(factor.unscaled) / power_of_ten(u32::from(factor.scale)), bits: self.bits }
    }

    /// Of a positive number, with so many digits behind the point.
    pub(super) fn ln(number: Decimal, digits: u32) -> Self {
        let bits = bits_of(digits);
        let unit = BigInt::from(1) << bits;
        let (dividend, divisor) = (wide(number.unscaled), power_of_ten(u32::from(number.scale)));
        // A power of two brings it between 1/2 and 2, and one more step nearer to 1.
        let mut twos = i64::try_from(dividend.bits()).unwrap_or(0) - i64::try_from(divisor.bits()).unwrap_or(0);
        let mut near = match u32::try_from(twos) {
            Ok(down) => (dividend << bits) / (divisor << down),
            Err(_) => (dividend << (u64::from(bits) + twos.unsigned_abs())) / divisor,
        };
        if &near * 3 > &unit * 4 {
            near >>= 1;
            twos += 1;
        } else if &near * 3 < &unit * 2 {
            near <<= 1;
            twos -= 1;
        }
        let (above, sum) = (&near - &unit, near + unit);
        let is_below = above.sign() == Sign::Minus;
        let ratio = (BigInt::from(above.magnitude().clone()) << bits) / sum;
        let logarithm = inverse_hyperbolic_tangent(ratio, bits) * if is_below { -2 } else { 2 };
        Self { value: if twos == 0 { logarithm } else { logarithm + ln_2(bits) * twos }, bits }
    }

    /// e to this power.
    pub(super) fn exp(&self) -> Result<Self> {
        /// Halved so often, few terms are enough; squaring it again loses a digit in three steps.
        const HALVINGS: u32 = 8;

        let ln_2 = ln_2(self.bits);
        let (mut twos, mut rest) = (&self.value / &ln_2, &self.value % &ln_2);
        if rest.sign() == Sign::Minus {
            twos -= 1;
            rest += ln_2;
        }
        let part = rest >> HALVINGS;
        let mut term = BigInt::from(1) << self.bits;
        let mut sum = term.clone();
        for number in 1_u32.. {
            term = ((term * &part) >> self.bits) / number;
            if term.sign() == Sign::NoSign {
                break;
            }
            sum += &term;
        }
        for _ in 0..HALVINGS {
            sum = (&sum * &sum) >> self.bits;
        }
        let twos = i32::try_from(twos).map_err(|_| too_wide())?;
        let value = if twos < 0 { sum >> twos.unsigned_abs() } else { sum << twos.unsigned_abs() };
        Ok(Self { value, bits: self.bits })
    }
}

/// Of a number from 0 to 1/3; the logarithm is twice this of (x - 1) / (x + 1).
fn inverse_hyperbolic_tangent(value: BigInt, bits: u32) -> BigInt {
    let square = (&value * &value) >> bits;
    let mut sum = value.clone();
    let mut power = value;
    for odd in (3_u32..).step_by(2) {
        power = (power * &square) >> bits;
        if power.sign() == Sign::NoSign {
            break;
        }
        sum += &power / odd;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::Fixed;
    use crate::sql::library::number_casts::numeric_of_text;

    #[test]
    fn logarithms_and_exponentials() {
        let number = |text: &str| numeric_of_text(text).unwrap();
        let check = |fixed: Fixed, expected: &str| assert_eq!(fixed.rounded(50).unwrap().to_string(), expected);
        check(Fixed::ln(number("2"), 60), "0.69314718055994530941723212145817656807550013436026");
        check(Fixed::ln(number("0.1"), 60), "-2.30258509299404568401799145468436420760110148862877");
        check(Fixed::of(number("1"), 60).exp().unwrap(), "2.71828182845904523536028747135266249775724709369996");
        check(Fixed::of(number("-1"), 60).exp().unwrap(), "0.36787944117144232159552377016146086744581113103177");
    }
}
