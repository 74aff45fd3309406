//! Numbers as Postgres prints them.
//!
//! Owns: the decimal text of integers, numerics and floats. Every text is a JSON number too, except for NaN and ±Infinity.
//! Must not know: columns, quotes, formats.

use arrow::datatypes::i256;

/// Two digits at a time halves the divisions.
const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839\
    40414243444546474849505152535455565758596061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// The largest power of ten in a `u64`, and its number of zeros.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;

/// 10^scale for the scales that are common.
const SMALL_POWERS: [u64; 11] = {
    let mut powers = [1; 11];
    let mut scale = 1;
    while scale < powers.len() {
        powers[scale] = powers[scale - 1] * 10;
        scale += 1;
    }
    powers
};

/// Room for the digits of 256 bits.
const DIGITS_MAX: usize = 78;

/// Where short texts are put together: a copy of constant size is a few instructions, one of `length` bytes a call.
pub(super) type Short = [u8; 32];

/// Appends the first `length` bytes, at most 32.
#[inline]
pub(super) fn append_short(short: &Short, length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(short);
    out.truncate(end);
}

#[inline]
pub(super) fn write_i64(value: i64, out: &mut Vec<u8>) {
    let mut short = [0; 32];
    short[0] = b'-';
    let length = put_integer(value.unsigned_abs(), usize::from(value < 0), &mut short);
    append_short(&short, length, out);
}

#[inline]
pub(super) fn write_u64(value: u64, out: &mut Vec<u8>) {
    let mut short = [0; 32];
    let length = put_integer(value, 0, &mut short);
    append_short(&short, length, out);
}

/// Puts the digits at `start`, which is 0 or 1, and returns where they end.
#[inline]
fn put_integer(value: u64, start: usize, short: &mut Short) -> usize {
    let end = start + value.checked_ilog10().map_or(1, |exponent| exponent as usize + 1);
    digits_of(value, &mut short[..end]);
    end
}

/// The two digits of a number below 100.
#[inline]
pub(super) fn pair(value: u64) -> [u8; 2] {
    let at = value as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

/// A numeric: `value` × 10^-`scale`, with all digits of its scale.
#[inline]
pub(super) fn write_i128(value: i128, scale: i8, out: &mut Vec<u8>) {
    let magnitude = value.unsigned_abs();
    match (u64::try_from(magnitude), usize::try_from(scale)) {
        (Ok(small), Ok(places)) if places < SMALL_POWERS.len() => write_small(value < 0, small, places, out),
        _ => write_large(value < 0, magnitude, scale, out),
    }
}

/// A numeric that a `u64` holds, of a scale below 11: at most 20 digits, the sign and the point.
#[inline]
fn write_small(negative: bool, magnitude: u64, places: usize, out: &mut Vec<u8>) {
    let mut short = [b'0'; 32];
    short[0] = b'-';
    let (whole, fraction) = (magnitude / SMALL_POWERS[places], magnitude % SMALL_POWERS[places]);
    let mut end = put_integer(whole, usize::from(negative), &mut short);
    if places > 0 {
        short[end] = b'.';
        end += places + 1;
        // Where the fraction has fewer digits, what the buffer was filled with stays.
        let start = end - places;
        digits_of(fraction, &mut short[start..end]);
    }
    append_short(&short, end, out);
}

fn write_large(negative: bool, magnitude: u128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; DIGITS_MAX];
    let start = digits_of_u128(magnitude, &mut buffer);
    write_scaled(negative, &buffer[start..], scale, out);
}

/// A numeric of more than 38 digits: `value` × 10^-`scale`.
pub(super) fn write_i256(value: i256, scale: i8, out: &mut Vec<u8>) {
    if let Some(small) = value.to_i128() {
        return write_i128(small, scale, out);
    }
    // The magnitude of the least value is itself when its bits are read as unsigned.
    let (low, high) = value.wrapping_abs().to_parts();
    let high = high.cast_unsigned();
    let mut buffer = [b'0'; DIGITS_MAX];
    let mut limbs = [(high >> 64) as u64, high as u64, (low >> 64) as u64, low as u64];
    let start = digits_of_limbs(&mut limbs, &mut buffer);
    write_scaled(value.is_negative(), &buffer[start..], scale, out);
}

/// Writes the digits at the end of the buffer and returns where they start.
#[inline]
fn digits_of(mut value: u64, buffer: &mut [u8]) -> usize {
    let mut at = buffer.len();
    while value >= 100 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&pair(value % 100));
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&pair(value));
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    at
}

fn digits_of_u128(value: u128, buffer: &mut [u8; DIGITS_MAX]) -> usize {
    match u64::try_from(value) {
        Ok(small) => digits_of(small, buffer),
        Err(_) => digits_of_limbs(&mut [(value >> 64) as u64, value as u64], buffer),
    }
}

/// The same for a number of several 64-bit limbs, the highest first, by long division. The buffer comes filled with `0`.
fn digits_of_limbs(limbs: &mut [u64], buffer: &mut [u8; DIGITS_MAX]) -> usize {
    let mut end = DIGITS_MAX;
    loop {
        let mut remainder = 0;
        for limb in limbs.iter_mut() {
            let value = u128::from(remainder) << 64 | u128::from(*limb);
            // Both casts are exact: the remainder is below the divisor, and so the quotient below 2^64.
            *limb = (value / u128::from(CHUNK)) as u64;
            remainder = (value % u128::from(CHUNK)) as u64;
        }
        let start = digits_of(remainder, &mut buffer[..end]);
        if limbs.iter().all(|limb| *limb == 0) {
            return start;
        }
        end -= CHUNK_DIGITS;
    }
}

fn write_scaled(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits);
        if digits != b"0" {
            write_zeros(places, out);
        }
    } else if let Some(whole) = digits.len().checked_sub(places).filter(|whole| *whole > 0) {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    } else {
        out.extend_from_slice(b"0.");
        write_zeros(places - digits.len(), out);
        out.extend_from_slice(digits);
    }
}

fn write_zeros(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b'0');
}

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
/// They read back right where halves are rounded to even, but Postgres does not rely on that (`acceptBounds` in `d2s.c`) and
/// takes more digits. It happens to large numbers only, which are whole; those from 2^127 on are left as they are.
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

/// Whether the text is a number in JSON's grammar (RFC 8259, section 6).
pub(super) fn is_json_number(text: &str) -> bool {
    let digits = |text: &mut &str| {
        let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
        let count = text.len() - rest.len();
        *text = rest;
        count
    };
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let starts_with_zero = rest.starts_with('0');
    let whole = digits(&mut rest);
    if whole == 0 || starts_with_zero && whole > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction;
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        rest = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_exact() {
        for value in [0, 1, 9, 10, 99, 100, 101, 12_345, i64::MAX, i64::MIN, -1] {
            assert_eq!(text(|out| write_i64(value, out)), value.to_string());
        }
        assert_eq!(text(|out| write_u64(u64::MAX, out)), u64::MAX.to_string());
        for value in
            [0, 1, -1, i128::MAX, i128::MIN, u64::MAX.into(), i128::from(CHUNK) * i128::from(CHUNK), CHUNK.into()]
        {
            assert_eq!(text(|out| write_i128(value, 0, out)), value.to_string());
        }
        for value in [i256::MAX, i256::MIN, i256::MINUS_ONE, i256::from_parts(u128::MAX, 0), i256::from_parts(0, 7)] {
            assert_eq!(text(|out| write_i256(value, 0, out)), value.to_string());
        }
    }

    #[test]
    fn numerics_keep_their_scale() {
        let cases = [
            (1250, 2, "12.50"),
            (-1250, 2, "-12.50"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 1, "-0.5"),
            (50, 2, "0.50"),
            (123, 3, "0.123"),
            (123, -2, "12300"),
            (0, -2, "0"),
            (1, 10, "0.0000000001"),
            (99_999_999_999_999_999_999_999_999_999_999_999_999, 38, "0.99999999999999999999999999999999999999"),
        ];
        for (value, scale, expect) in cases {
            assert_eq!(text(|out| write_i128(value, scale, out)), expect);
            assert_eq!(text(|out| write_i256(i256::from_i128(value), scale, out)), expect);
        }
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

    #[test]
    fn json_numbers_are_recognized() {
        for number in ["0", "-0", "12.50", "1e5", "1E+5", "-0.5e-3", "99999999999999999999999999"] {
            assert!(is_json_number(number), "{number}");
        }
        for other in ["", "-", "01", ".5", "5.", "1e", "NaN", "Infinity", "1 ", "+1", "1_0", "0x1"] {
            assert!(!is_json_number(other), "{other}");
        }
    }
}
