//! Casts between text and `boolean`, `uuid`, `bytea` and enums.

use super::text_bytes::hex_digits;
use crate::{
    error::{Error, Result},
    sql::function::{Entry, Value, fault, rows},
};

/// How many bytes a `name` holds.
const NAME_BYTES_MAX: usize = 63;

/// Casts between kinds of text that cut nothing are the engine's.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("::text (bool) -> text", |_, a| Ok(Value::owned(a[0].bool()?.to_string()))),
    rows("::varchar (bool) -> varchar", |_, a| Ok(Value::owned(a[0].bool()?.to_string()))),
    rows("::bpchar (bool) -> bpchar", |_, a| Ok(Value::owned(a[0].bool()?.to_string()))),
    rows("::bool (text) -> bool", |_, a| bool_of(a[0].text()?)),
    rows("::bool (varchar) -> bool", |_, a| bool_of(a[0].text()?)),
    rows("::bool (bpchar) -> bool", |_, a| bool_of(a[0].text()?)),
    rows("::int4 (bool) -> int4", |_, a| Ok(Value::Int(i64::from(a[0].bool()?)))),
    rows("::text (uuid) -> text", same),
    rows("::varchar (uuid) -> varchar", same),
    rows("::bpchar (uuid) -> bpchar", same),
    rows("::uuid (text) -> uuid", |_, a| uuid_of(a[0].text()?)),
    rows("::uuid (varchar) -> uuid", |_, a| uuid_of(a[0].text()?)),
    rows("::uuid (bpchar) -> uuid", |_, a| uuid_of(a[0].text()?)),
    rows("::text (bytea) -> text", |_, a| Ok(Value::owned(hex(a[0].bytes()?)))),
    rows("::varchar (bytea) -> varchar", |_, a| Ok(Value::owned(hex(a[0].bytes()?)))),
    rows("::bpchar (bytea) -> bpchar", |_, a| Ok(Value::owned(hex(a[0].bytes()?)))),
    rows("::bytea (text) -> bytea", |_, a| bytea_of(a[0].text()?)),
    rows("::bytea (varchar) -> bytea", |_, a| bytea_of(a[0].text()?)),
    rows("::bytea (bpchar) -> bytea", |_, a| bytea_of(a[0].text()?)),
    rows("::text (anyenum) -> text", same),
    rows("::varchar (anyenum) -> varchar", same),
    rows("::bpchar (anyenum) -> bpchar", same),
    rows("::varchar (name) -> varchar", same),
    rows("::bpchar (name) -> bpchar", |_, a| Ok(Value::owned(a[0].text()?.trim_end_matches(' ')))),
    rows("::name (text) -> name", |_, a| Ok(name_of(a[0].text()?))),
    rows("::name (varchar) -> name", |_, a| Ok(name_of(a[0].text()?))),
    rows("::name (bpchar) -> name", |_, a| Ok(name_of(a[0].text()?))),
];

fn same(_: &crate::sql::function::Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    Ok(Value::owned(a[0].text()?))
}

fn invalid(kind: &str, text: &str) -> Error {
    fault("22P02", format!("invalid input syntax for type {kind}: \"{text}\""))
}

/// A beginning of `true`, `false`, `yes` or `no`, as long as it is one word's only, `on`, `of`, `off`, `1` or `0`, in any case.
fn bool_of(text: &str) -> Result<Value<'static>> {
    let is_space = |character: char| matches!(character, ' ' | '\t'..='\r');
    let word = text.trim_matches(is_space).to_ascii_lowercase();
    let begins = |whole: &str| !word.is_empty() && whole.starts_with(&word);
    if begins("true") || begins("yes") || word == "on" || word == "1" {
        return Ok(Value::Bool(true));
    }
    if begins("false") || begins("no") || word == "of" || word == "off" || word == "0" {
        return Ok(Value::Bool(false));
    }
    Err(invalid("boolean", text))
}

/// 32 digits, with a hyphen behind any four of them or none, and braces around them or none.
fn uuid_of(text: &str) -> Result<Value<'static>> {
    let inner = match text.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}').ok_or_else(|| invalid("uuid", text))?,
        None => text,
    };
    let mut result = String::with_capacity(36);
    let mut digits = 0;
    let mut is_behind_hyphen = true;
    for character in inner.chars() {
        if character == '-' && !is_behind_hyphen && digits % 4 == 0 && digits < 32 {
            is_behind_hyphen = true;
            continue;
        }
        if !character.is_ascii_hexdigit() || digits == 32 {
            return Err(invalid("uuid", text));
        }
        if matches!(digits, 8 | 12 | 16 | 20) {
            result.push('-');
        }
        result.push(character.to_ascii_lowercase());
        digits += 1;
        is_behind_hyphen = false;
    }
    if digits == 32 && !is_behind_hyphen { Ok(Value::owned(result)) } else { Err(invalid("uuid", text)) }
}

/// `\xdeadbeef`
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    push_hex(bytes, &mut text);
    text
}

/// The digits of bytes.
pub(super) fn push_hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or_default()));
    }
}

/// `\x` and hexadecimal digits, or characters with `\\` for a backslash and `\ooo` for any byte.
fn bytea_of(text: &str) -> Result<Value<'static>> {
    let bytes = match text.strip_prefix("\\x") {
        Some(digits) => hex_digits(digits)?,
        None => unescaped(text)?,
    };
    Ok(Value::Bytes(bytes.into()))
}

/// The bytes of the escape format.
pub(super) fn unescaped(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let byte;
        (byte, rest) = match (first, behind) {
            (b'\\', [b'\\', behind @ ..]) => (b'\\', behind),
            (b'\\', [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', behind @ ..]) => {
                (((high - b'0') << 6) | ((middle - b'0') << 3) | (low - b'0'), behind)
            }
            (b'\\', _) => return Err(fault("22P02", "invalid input syntax for type bytea")),
            (byte, behind) => (*byte, behind),
        };
        bytes.push(byte);
    }
    Ok(bytes)
}

/// As much of it as a name holds, in whole characters.
fn name_of(text: &str) -> Value<'static> {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::owned(text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Value, bool_of, bytea_of, uuid_of};

    #[test]
    fn texts() {
        let check = |found: crate::error::Result<Value<'static>>, expected: Option<Value<'static>>| {
            assert_eq!(found.ok(), expected);
        };
        check(bool_of(" tRu "), Some(Value::Bool(true)));
        check(bool_of("of"), Some(Value::Bool(false)));
        check(bool_of("o"), None);
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        check(uuid_of("{A0EE-BC999C0B4EF8-BB6D-6BB9-BD38-0A11}"), Some(Value::owned(uuid)));
        check(uuid_of("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1-1"), None);
        check(bytea_of(r"a\\b\000é"), Some(Value::Bytes(vec![97, 92, 98, 0, 0xC3, 0xA9].into())));
        check(bytea_of(r"\xDE ad"), Some(Value::Bytes(vec![0xDE, 0xAD].into())));
        check(bytea_of(r"a\8"), None);
    }
}
