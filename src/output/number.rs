//! Exact numbers as Postgres prints them.
//!
//! Owns: the decimal text of integers and numerics, which is a JSON number too.
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
pub(super) const DIGITS_MAX: usize = 78;

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

pub(super) fn digits_of_u128(value: u128, buffer: &mut [u8; DIGITS_MAX]) -> usize {
    match u64::try_from(value) {
        Ok(small) => digits_of(small, buffer),
        Err(_) => digits_of_limbs(&mut [(value >> 64) as u64, value as u64], buffer),
    }
}

/// The same for a number of several 64-bit limbs, the highest first, by long division. The buffer comes filled with
/// `0`.
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

pub(super) fn write_zeros(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b'0');
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
