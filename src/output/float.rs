//! Floats as Postgres prints them.
//!
//! Owns: the shortest decimal text that reads back as the same float, laid out as Postgres does. It is a JSON number
//! too, except for NaN and the infinities.
//! Must not know: columns, quotes, formats.

use super::number::{DIGITS_MAX, append_short, digits_of_u128, pair, write_u64, write_zeros};

/// The shortest text that reads back as the same `float8`, laid out as Postgres does.
pub(super) fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() { write_finite(value, out) } else { out.extend_from_slice(name_of(value).as_bytes()) }
}

/// The shortest text that reads back as the same `float4`.
pub(super) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() { write_finite(value, out) } else { out.extend_from_slice(name_of(value.into()).as_bytes()) }
}

trait Float: Copy + serde::Serialize {
    /// Numbers of more digits before the point are printed with an exponent.
    const PLAIN_DIGITS: usize;

    /// The magnitude of the number between those of the next smaller and the next larger one.
    fn neighbourhood(self) -> [f64; 3];
}

impl Float for f64 {
    const PLAIN_DIGITS: usize = 15;

    fn neighbourhood(self) -> [f64; 3] {
        [self.abs().next_down(), self.abs(), self.abs().next_up()]
    }
}

impl Float for f32 {
    const PLAIN_DIGITS: usize = 6;

    fn neighbourhood(self) -> [f64; 3] {
        [self.abs().next_down(), self.abs(), self.abs().next_up()].map(f64::from)
    }
}

fn name_of(value: f64) -> &'static str {
    match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// Numbers from 10^-4 to below 10^`PLAIN_DIGITS` are printed plainly, others with an exponent of at least two digits
/// (`double_to_shortest_decimal_buf` in Postgres's `src/common/d2s.c`). serde_json finds the digits; it lays them out
/// otherwise (`1.0`, `1e16`).
fn write_finite<T: Float>(value: T, out: &mut Vec<u8>) {
    let mut short = [0; 32];
    let mut unused = &mut short[..];
    serde_json::to_writer(&mut unused, &value).expect("a float takes at most 24 bytes");
    let length = 32 - unused.len();
    let sign = usize::from(short[0] == b'-');
    let text = &short[sign..length];
    let exponent_at = text.iter().position(|byte| *byte == b'e');
    let mantissa = &text[..exponent_at.unwrap_or(text.len())];
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    if exponent_at.is_none() && point <= T::PLAIN_DIGITS && !mantissa.starts_with(b"0.0000") {
        let end = if mantissa.ends_with(b".0") { length - 2 } else { length };
        return append_short(&short, end, out);
    }
    if sign == 1 {
        out.push(b'-');
    }

    let exponent = exponent_at.map_or(0, |at| parse_exponent(&text[at + 1..]));
    let mut digits = [0; 32];
    let mut count = 0;
    let mut leading_zeros = 0;
    for byte in mantissa.iter().filter(|byte| **byte != b'.') {
        if count == 0 && *byte == b'0' {
            leading_zeros += 1;
        } else {
            digits[count] = *byte;
            count += 1;
        }
    }
    let significant = digits[..count].iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let digits = &digits[..significant];
    let exponent = point as i32 - leading_zeros - 1 + exponent;
    match within_bounds(digits, exponent, value) {
        None => layout(digits, exponent, T::PLAIN_DIGITS, out),
        Some(number) => {
            let mut buffer = [b'0'; DIGITS_MAX];
            let start = digits_of_u128(number, &mut buffer);
            let digits = &buffer[start..];
            let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            layout(&digits[..significant], digits.len() as i32 - 1, T::PLAIN_DIGITS, out);
        }
    }
}

/// What Postgres prints instead when the shortest digits are exactly halfway to the next float.
///
/// They read back right where halves are rounded to even, but Postgres does not rely on that (`acceptBounds` in
/// `d2s.c`) and takes more digits. It happens to large numbers only, which are whole; those from 2^127 on are left as
/// they are.
fn within_bounds<T: Float>(digits: &[u8], exponent: i32, value: T) -> Option<u128> {
    let exponent = usize::try_from(exponent).ok().filter(|exponent| (T::PLAIN_DIGITS..38).contains(exponent))?;
    // These casts are exact: whole numbers below 10^38.
    let [below, value, above] = value.neighbourhood().map(|number| number as u128);
    let halfway = |number: u128| {
        if number > value { (number - value) * 2 == above - value } else { (value - number) * 2 == value - below }
    };
    let zeros = (exponent + 1).checked_sub(digits.len())?;
    let shortest =
        digits.iter().fold(0, |number, digit| number * 10 + u128::from(digit - b'0')) * 10_u128.pow(zeros as u32);
    if !halfway(shortest) {
        return None;
    }
    (0..zeros as u32).rev().find_map(|zeros| {
        let unit = 10_u128.pow(zeros);
        let (count, rest) = (value / unit, value % unit);
        let up = rest * 2 > unit || rest * 2 == unit && count % 2 == 1;
        let number = (count + u128::from(up)) * unit;
        (!halfway(number)).then_some(number)
    })
}

/// `digits` are significant only; the first one stands for 10^`exponent`.
fn layout(digits: &[u8], exponent: i32, plain_digits: usize, out: &mut Vec<u8>) {
    let Some((first, rest)) = digits.split_first() else { return out.push(b'0') };
    match usize::try_from(exponent) {
        Ok(exponent) if exponent < plain_digits => {
            let whole = exponent + 1;
            if digits.len() <= whole {
                out.extend_from_slice(digits);
                write_zeros(whole - digits.len(), out);
            } else {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
        }
        Err(_) if exponent >= -4 => {
            out.extend_from_slice(b"0.");
            write_zeros(exponent.unsigned_abs() as usize - 1, out);
            out.extend_from_slice(digits);
        }
        _ => {
            out.push(*first);
            if !rest.is_empty() {
                out.push(b'.');
                out.extend_from_slice(rest);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            let magnitude = u64::from(exponent.unsigned_abs());
            if magnitude < 100 {
                out.extend_from_slice(&pair(magnitude));
            } else {
                write_u64(magnitude, out);
            }
        }
    }
}

fn parse_exponent(text: &[u8]) -> i32 {
    let (sign, digits) = match text.split_first() {
        Some((b'-', digits)) => (-1, digits),
        Some((b'+', digits)) => (1, digits),
        _ => (1, text),
    };
    sign * digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The expected texts are those of PostgreSQL 15.
    #[test]
    fn floats_are_printed_as_postgres_does() {
        let float8 = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1_234_567_890_123_456.0, "1.234567890123456e+15"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (0.00012345, "0.00012345"),
            (1.2345e-5, "1.2345e-05"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (999_999_999_999_999.9, "999999999999999.9"),
            (2.5e-7, "2.5e-07"),
            // Halfway between two floats, which Postgres avoids.
            (6.363724043514002e16, "6.3637240435140016e+16"),
            (8.0307492293565e16, "8.030749229356499e+16"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expect) in float8 {
            assert_eq!(text(|out| write_f64(value, out)), expect);
        }
        let float4 = [
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (f32::MAX, "3.4028235e+38"),
            (16_777_216.0, "1.6777216e+07"),
            (4.356631e7, "4.3566312e+07"),
            (1.3258794e8, "1.32587936e+08"),
        ];
        for (value, expect) in float4 {
            assert_eq!(text(|out| write_f32(value, out)), expect);
        }
    }
}
