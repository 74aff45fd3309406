//! Functions of `bytea`: parts, bits, hashes, and the encodings between bytes and text.

use super::text_casts::{push_hex, unescaped};
use crate::{
    error::{Error, Result},
    sql::function::{Entry, Value, engine, fault, rows},
};

/// How large a result may become.
const BYTES_MAX: usize = 16 << 20;
/// After so many characters of base64 comes a line break.
const LINE_LENGTH: usize = 76;

/// Functions and `||`.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("|| (bytea, bytea) -> bytea", |_, a| {
        let joined = [a[0].bytes()?, a[1].bytes()?].concat();
        if joined.len() > BYTES_MAX { Err(fault("54000", "requested length too large")) } else { Ok(bytes(joined)) }
    }),
    rows("length(bytea) -> int4", |_, a| Ok(count(a[0].bytes()?.len()))),
    rows("length(bytea, name) -> int4", |_, a| Ok(count(decoded(a[0].bytes()?, a[1].text()?)?.chars().count()))),
    rows("octet_length(bytea) -> int4", |_, a| Ok(count(a[0].bytes()?.len()))),
    rows("bit_length(bytea) -> int4", |_, a| Ok(count(a[0].bytes()?.len().saturating_mul(8)))),
    rows("bit_count(bytea) -> int8", |_, a| {
        Ok(Value::Int(a[0].bytes()?.iter().map(|byte| i64::from(byte.count_ones())).sum()))
    }),
    rows("substring(bytea, int4) -> bytea", |_, a| part(a[0].bytes()?, a[1].int()?, None)),
    rows("substring(bytea, int4, int4) -> bytea", |_, a| part(a[0].bytes()?, a[1].int()?, Some(a[2].int()?))),
    rows("substr(bytea, int4) -> bytea", |_, a| part(a[0].bytes()?, a[1].int()?, None)),
    rows("substr(bytea, int4, int4) -> bytea", |_, a| part(a[0].bytes()?, a[1].int()?, Some(a[2].int()?))),
    rows("position(bytea, bytea) -> int4", |_, a| Ok(position(a[0].bytes()?, a[1].bytes()?))),
    rows("overlay(bytea, bytea, int4) -> bytea", |_, a| {
        let length = i64::try_from(a[1].bytes()?.len()).unwrap_or(i64::MAX);
        overlay(a[0].bytes()?, a[1].bytes()?, a[2].int()?, length)
    }),
    rows("overlay(bytea, bytea, int4, int4) -> bytea", |_, a| {
        overlay(a[0].bytes()?, a[1].bytes()?, a[2].int()?, a[3].int()?)
    }),
    rows("btrim(bytea, bytea) -> bytea", |_, a| Ok(trim(a[0].bytes()?, a[1].bytes()?, (true, true)))),
    rows("ltrim(bytea, bytea) -> bytea", |_, a| Ok(trim(a[0].bytes()?, a[1].bytes()?, (true, false)))),
    rows("rtrim(bytea, bytea) -> bytea", |_, a| Ok(trim(a[0].bytes()?, a[1].bytes()?, (false, true)))),
    rows("get_byte(bytea, int4) -> int4", |_, a| {
        let (bytes, index) = (a[0].bytes()?, a[1].int()?);
        Ok(Value::Int(bytes[within(index, bytes.len())?].into()))
    }),
    rows("set_byte(bytea, int4, int4) -> bytea", |_, a| set_byte(a[0].bytes()?, a[1].int()?, a[2].int()?)),
    rows("get_bit(bytea, int8) -> int4", |_, a| get_bit(a[0].bytes()?, a[1].int()?)),
    rows("set_bit(bytea, int8, int4) -> bytea", |_, a| set_bit(a[0].bytes()?, a[1].int()?, a[2].int()?)),
    engine("md5(text) -> text", "md5"),
    engine("md5(bytea) -> text", "md5"),
    engine("sha224(bytea) -> bytea", "sha224"),
    engine("sha256(bytea) -> bytea", "sha256"),
    engine("sha384(bytea) -> bytea", "sha384"),
    engine("sha512(bytea) -> bytea", "sha512"),
    rows("encode(bytea, text) -> text", |_, a| encode(a[0].bytes()?, a[1].text()?)),
    rows("decode(text, text) -> bytea", |_, a| decode(a[0].text()?, a[1].text()?)),
    rows("convert_from(bytea, name) -> text", |_, a| decoded(a[0].bytes()?, a[1].text()?).map(Value::owned)),
    rows("convert_to(text, name) -> bytea", |_, a| convert_to(a[0].text()?, a[1].text()?)),
];

fn bytes(bytes: Vec<u8>) -> Value<'static> {
    Value::Bytes(bytes.into())
}

fn count(count: usize) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn negative_length() -> Error {
    fault("22011", "negative substring length not allowed")
}

/// The bytes from number `start` on, which may be before the first: those that are not there count for the length.
fn slice(bytes: &[u8], start: i64, length: Option<i64>) -> Result<&[u8]> {
    let end = match length {
        Some(length) if length < 0 => return Err(negative_length()),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let place = |number: i64| usize::try_from(number.saturating_sub(1)).unwrap_or_default().min(bytes.len());
    Ok(bytes.get(place(start)..place(end)).unwrap_or_default())
}

fn part(of: &[u8], start: i64, length: Option<i64>) -> Result<Value<'static>> {
    Ok(bytes(slice(of, start, length)?.to_vec()))
}

fn position(of: &[u8], wanted: &[u8]) -> Value<'static> {
    if wanted.is_empty() {
        return Value::Int(1);
    }
    count(of.windows(wanted.len()).position(|window| window == wanted).map_or(0, |place| place + 1))
}

fn overlay(of: &[u8], new: &[u8], start: i64, length: i64) -> Result<Value<'static>> {
    if start <= 0 {
        return Err(negative_length());
    }
    let behind = start + length;
    if i32::try_from(behind).is_err() {
        return Err(fault("22003", "integer out of range"));
    }
    Ok(bytes([slice(of, 1, Some(start - 1))?, new, slice(of, behind, None)?].concat()))
}

fn trim(mut of: &[u8], set: &[u8], (left, right): (bool, bool)) -> Value<'static> {
    while let [first, rest @ ..] = of
        && left
        && set.contains(first)
    {
        of = rest;
    }
    while let [rest @ .., last] = of
        && right
        && set.contains(last)
    {
        of = rest;
    }
    bytes(of.to_vec())
}

fn within(index: i64, length: usize) -> Result<usize> {
    let last = i128::try_from(length).unwrap_or(i128::MAX) - 1;
    usize::try_from(index)
        .ok()
        .filter(|place| *place < length)
        .ok_or_else(|| fault("2202E", format!("index {index} out of valid range, 0..{last}")))
}

fn set_byte(of: &[u8], index: i64, value: i64) -> Result<Value<'static>> {
    let place = within(index, of.len())?;
    let mut result = of.to_vec();
    // The lowest byte, whatever is above it.
    result[place] = value.to_le_bytes()[0];
    Ok(bytes(result))
}

fn get_bit(of: &[u8], index: i64) -> Result<Value<'static>> {
    let place = within(index, of.len().saturating_mul(8))?;
    Ok(Value::Int(i64::from(of[place / 8] >> (place % 8) & 1)))
}

fn set_bit(of: &[u8], index: i64, value: i64) -> Result<Value<'static>> {
    let place = within(index, of.len().saturating_mul(8))?;
    let mut result = of.to_vec();
    match value {
        0 => result[place / 8] &= !(1 << (place % 8)),
        1 => result[place / 8] |= 1 << (place % 8),
        _ => return Err(fault("22023", "new bit must be 0 or 1")),
    }
    Ok(bytes(result))
}

enum Encoding {
    Hex,
    Base64,
    Escape,
}

fn encoding(name: &str) -> Result<Encoding> {
    match name.to_ascii_lowercase().as_str() {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        "escape" => Ok(Encoding::Escape),
        _ => Err(fault("22023", format!("unrecognized encoding: \"{name}\""))),
    }
}

fn encode(of: &[u8], name: &str) -> Result<Value<'static>> {
    let encoding = encoding(name)?;
    if of.len() > BYTES_MAX {
        return Err(fault("54000", "requested length too large"));
    }
    let mut text = String::new();
    match encoding {
        Encoding::Hex => push_hex(of, &mut text),
        Encoding::Base64 => push_base64(of, &mut text),
        Encoding::Escape => push_escaped(of, &mut text),
    }
    Ok(Value::owned(text))
}

fn push_escaped(of: &[u8], text: &mut String) {
    for byte in of {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0 | 0x80.. => {
                let digits = [byte >> 6, byte >> 3 & 7, byte & 7];
                text.push('\\');
                text.extend(digits.map(|digit| char::from(b'0' + digit)));
            }
            byte => text.push(char::from(*byte)),
        }
    }
}

const DIGITS_64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn push_base64(of: &[u8], text: &mut String) {
    let mut in_line = 0;
    for chunk in of.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).ok().and_then(|digit| DIGITS_64.get(digit)).copied();
            text.push(if index > chunk.len() { '=' } else { char::from(digit.unwrap_or_default()) });
        }
        in_line += 4;
        // A padded group is the last: no break follows it.
        if in_line >= LINE_LENGTH && chunk.len() == 3 {
            text.push('\n');
            in_line = 0;
        }
    }
}

fn decode(text: &str, name: &str) -> Result<Value<'static>> {
    Ok(bytes(match encoding(name)? {
        Encoding::Hex => hex_digits(text)?,
        Encoding::Base64 => base64_digits(text)?,
        Encoding::Escape => unescaped(text)?,
    }))
}

/// The bytes of hexadecimal digits, between which there may be blanks, but not between the two of a byte.
pub(super) fn hex_digits(text: &str) -> Result<Vec<u8>> {
    let digit = |character: char| {
        let value = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        value.ok_or_else(|| fault("22023", format!("invalid hexadecimal digit: \"{character}\"")))
    };
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if matches!(character, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(character)?;
        let Some(next) = characters.next() else {
            return Err(fault("22023", "invalid hexadecimal data: odd number of digits"));
        };
        bytes.push(high << 4 | digit(next)?);
    }
    Ok(bytes)
}

fn base64_digits(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut place, mut end) = (0_u32, 0, 0);
    for character in text.chars() {
        let digit = match character {
            ' ' | '\t' | '\n' | '\r' => continue,
            '=' => {
                if end == 0 {
                    end = match place {
                        2 => 1,
                        3 => 2,
                        _ => return Err(fault("22023", "unexpected \"=\" while decoding base64 sequence")),
                    };
                }
                0
            }
            _ => {
                let found = DIGITS_64.iter().position(|digit| char::from(*digit) == character);
                let found = found.and_then(|digit| u32::try_from(digit).ok());
                found.ok_or_else(|| {
                    let message = format!("invalid symbol \"{character}\" found while decoding base64 sequence");
                    fault("22023", message)
                })?
            }
        };
        bits = bits << 6 | digit;
        place += 1;
        if place == 4 {
            let [_, first, second, third] = bits.to_be_bytes();
            bytes.push(first);
            if end == 0 || end > 1 {
                bytes.push(second);
            }
            if end == 0 || end > 2 {
                bytes.push(third);
            }
            (bits, place) = (0, 0);
        }
    }
    if place != 0 {
        let hint = "Input data is missing padding, is truncated, or is otherwise corrupted.";
        return Err(fault("22023", "invalid base64 end sequence").with_hint(hint));
    }
    Ok(bytes)
}

enum Charset {
    Utf8,
    Latin1,
    Ascii,
}

/// A name of an encoding of characters, of which only letters and digits count.
fn charset(name: &str, role: &str) -> Result<Charset> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(Charset::Utf8),
        "latin1" | "iso88591" => Ok(Charset::Latin1),
        "sqlascii" => Ok(Charset::Ascii),
        _ => Err(fault("22023", format!("invalid {role} encoding name \"{name}\""))),
    }
}

fn decoded(of: &[u8], name: &str) -> Result<String> {
    match charset(name, "source")? {
        Charset::Latin1 if of.contains(&0) => Err(invalid_bytes("LATIN1", &[0])),
        Charset::Latin1 => Ok(of.iter().map(|byte| char::from(*byte)).collect()),
        Charset::Utf8 | Charset::Ascii => utf8(of),
    }
}

/// Text of bytes, of which none may be zero.
fn utf8(of: &[u8]) -> Result<String> {
    let zero = of.iter().position(|byte| *byte == 0);
    let valid = of.get(..zero.unwrap_or(of.len())).unwrap_or_default();
    match (std::str::from_utf8(valid), zero) {
        (Ok(text), None) => Ok(text.to_owned()),
        (Ok(_), Some(_)) => Err(invalid_bytes("UTF8", &[0])),
        (Err(error), _) => {
            let rest = of.get(error.valid_up_to()..).unwrap_or_default();
            let length = match rest.first() {
                Some(0xC0..=0xDF) => 2,
                Some(0xE0..=0xEF) => 3,
                Some(0xF0..=0xF7) => 4,
                _ => 1,
            };
            Err(invalid_bytes("UTF8", rest.get(..length.min(rest.len())).unwrap_or_default()))
        }
    }
}

fn sequence(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().take(8).map(|byte| format!("0x{byte:02x}")).collect();
    digits.join(" ")
}

fn invalid_bytes(encoding: &str, bytes: &[u8]) -> Error {
    fault("22021", format!("invalid byte sequence for encoding \"{encoding}\": {}", sequence(bytes)))
}

fn convert_to(text: &str, name: &str) -> Result<Value<'static>> {
    match charset(name, "destination")? {
        Charset::Utf8 | Charset::Ascii => Ok(bytes(text.as_bytes().to_vec())),
        Charset::Latin1 => text
            .chars()
            .map(|character| u8::try_from(u32::from(character)).map_err(|_| no_equivalent(character)))
            .collect::<Result<Vec<u8>>>()
            .map(bytes),
    }
}

fn no_equivalent(character: char) -> Error {
    let bytes = sequence(character.to_string().as_bytes());
    let message =
        format!("character with byte sequence {bytes} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"");
    fault("22P05", message)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, part, slice};

    #[test]
    fn encodings() {
        let check = |name: &str, bytes: &[u8], text: &str| {
            assert_eq!(encode(bytes, name).unwrap().text().unwrap(), text);
            assert_eq!(decode(text, name).unwrap().bytes().unwrap(), bytes);
        };
        check("HEX", &[0xDE, 0xAD], "dead");
        check("base64", &[0xDE, 0xAD, 0xBE, 0xEF], "3q2+7w==");
        check("base64", &[0; 57], &format!("{}\n", "A".repeat(76)));
        check("escape", b"a\\\x00\xff", r"a\\\000\377");
        assert!(decode("abc", "hex").is_err() && decode("a=", "base64").is_err());
    }

    #[test]
    fn parts() {
        assert_eq!(slice(b"abc", -1, Some(3)).unwrap(), b"a");
        assert_eq!(slice(b"abc", 2, None).unwrap(), b"bc");
        assert!(part(b"abc", 1, Some(-1)).is_err());
    }
}
