//! Functions of text: length, case, parts, padding, search and replacement. All places are counted in characters.

use unicode_segmentation::UnicodeSegmentation;

use super::regex_set::upper;
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Value, engine, fault, rows},
};

/// How large a result may become.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// Under a collation of ICU, whose letters may change their number with their case.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    engine("length(text) -> int4", "character_length"),
    engine("char_length(text) -> int4", "character_length"),
    engine("character_length(text) -> int4", "character_length"),
    engine("octet_length(text) -> int4", "octet_length"),
    engine("bit_length(text) -> int4", "bit_length"),
    engine("lower(text) -> text", "lower"),
    engine("upper(text) -> text", "upper"),
    rows("initcap(text) -> text", |_, a| Ok(Value::owned(initcap(a[0].text()?)))),
    rows("substring(text, int4) -> text", |_, a| part(a[0].text()?, a[1].int()?, None)),
    rows("substring(text, int4, int4) -> text", |_, a| part(a[0].text()?, a[1].int()?, Some(a[2].int()?))),
    rows("substr(text, int4) -> text", |_, a| part(a[0].text()?, a[1].int()?, None)),
    rows("substr(text, int4, int4) -> text", |_, a| part(a[0].text()?, a[1].int()?, Some(a[2].int()?))),
    rows("left(text, int4) -> text", |_, a| Ok(left(a[0].text()?, a[1].int()?))),
    rows("right(text, int4) -> text", |_, a| Ok(right(a[0].text()?, a[1].int()?))),
    rows("lpad(text, int4) -> text", |_, a| pad(a[0].text()?, a[1].int()?, " ", Side::Left)),
    rows("lpad(text, int4, text) -> text", |_, a| pad(a[0].text()?, a[1].int()?, a[2].text()?, Side::Left)),
    rows("rpad(text, int4) -> text", |_, a| pad(a[0].text()?, a[1].int()?, " ", Side::Right)),
    rows("rpad(text, int4, text) -> text", |_, a| pad(a[0].text()?, a[1].int()?, a[2].text()?, Side::Right)),
    rows("btrim(text) -> text", |_, a| Ok(Value::owned(a[0].text()?.trim_matches(' ')))),
    rows("btrim(text, text) -> text", |_, a| {
        let set = a[1].text()?;
        Ok(Value::owned(a[0].text()?.trim_matches(|character| set.contains(character))))
    }),
    rows("ltrim(text) -> text", |_, a| Ok(Value::owned(a[0].text()?.trim_start_matches(' ')))),
    rows("ltrim(text, text) -> text", |_, a| {
        let set = a[1].text()?;
        Ok(Value::owned(a[0].text()?.trim_start_matches(|character| set.contains(character))))
    }),
    rows("rtrim(text) -> text", |_, a| Ok(Value::owned(a[0].text()?.trim_end_matches(' ')))),
    rows("rtrim(text, text) -> text", |_, a| {
        let set = a[1].text()?;
        Ok(Value::owned(a[0].text()?.trim_end_matches(|character| set.contains(character))))
    }),
    engine("strpos(text, text) -> int4", "strpos"),
    engine("position(text, text) -> int4", "strpos"),
    rows("overlay(text, text, int4) -> text", |_, a| {
        let length = i64::try_from(a[1].text()?.chars().count()).unwrap_or(i64::MAX);
        overlay(a[0].text()?, a[1].text()?, a[2].int()?, length)
    }),
    rows("overlay(text, text, int4, int4) -> text", |_, a| {
        overlay(a[0].text()?, a[1].text()?, a[2].int()?, a[3].int()?)
    }),
    rows("replace(text, text, text) -> text", |_, a| replace(a[0].text()?, a[1].text()?, a[2].text()?)),
    rows("translate(text, text, text) -> text", translate),
    engine("reverse(text) -> text", "reverse"),
    rows("repeat(text, int4) -> text", |_, a| repeat(a[0].text()?, a[1].int()?)),
    rows("split_part(text, text, int4) -> text", |_, a| split_part(a[0].text()?, a[1].text()?, a[2].int()?)),
    engine("starts_with(text, text) -> bool", "starts_with"),
    engine("^@ (text, text) -> bool", "starts_with"),
    rows("chr(int4) -> text", |_, a| chr(a[0].int()?)),
    rows("ascii(text) -> int4", |_, a| {
        Ok(Value::Int(a[0].text()?.chars().next().map_or(0, |first| i64::from(u32::from(first)))))
    }),
    rows("to_hex(int4) -> text", |_, a| Ok(Value::owned(format!("{:x}", a[0].int()? & 0xFFFF_FFFF)))),
    rows("to_hex(int8) -> text", |_, a| Ok(Value::owned(format!("{:x}", a[0].int()?)))),
];

/// Each word of Unicode's text segmentation with its first letter in title case and the others in lower case.
fn initcap(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for word in text.split_word_bounds() {
        let start = word.find(begins_title).unwrap_or(word.len());
        let (before, word) = word.split_at(start);
        result.push_str(before);
        if let Some(first) = word.chars().next() {
            push_title(first, &mut result);
            // What a sigma becomes depends on the letters before it.
            let first_length: usize = first.to_lowercase().map(char::len_utf8).sum();
            result.push_str(word.to_lowercase().get(first_length..).unwrap_or_default());
        }
    }
    result
}

/// ICU looks for the first letter, number or symbol.
fn begins_title(character: char) -> bool {
    character.is_alphanumeric()
        || !(character.is_ascii() || character.is_whitespace())
        || matches!(character, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~')
}

fn push_title(character: char, result: &mut String) {
    match character {
        'Ǆ'..='ǆ' => result.push('ǅ'),
        'Ǉ'..='ǉ' => result.push('ǈ'),
        'Ǌ'..='ǌ' => result.push('ǋ'),
        'Ǳ'..='ǳ' => result.push('ǲ'),
        'ŉ' => result.push_str("ʼN"),
        // Georgian has no title case.
        'ა'..='ჿ' => result.push(character),
        _ => {
            let mut mapped = character.to_uppercase();
            if mapped.len() == 1 || upper(character) != character {
                result.push(upper(character));
            } else if let Some(first) = mapped.next() {
                // A ligature: only its first letter is one of title case.
                result.push(first);
                result.push_str(&mapped.collect::<String>().to_lowercase());
            }
        }
    }
}

/// The byte where the character of this index starts; the text's length behind the last.
fn offset(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(offset, _)| offset)
}

fn negative_length() -> Error {
    fault("22011", "negative substring length not allowed")
}

/// The characters from number `start` on, which may be before the first: those that are not there count for the length.
fn slice(text: &str, start: i64, length: Option<i64>) -> Result<&str> {
    let end = match length {
        Some(length) if length < 0 => return Err(negative_length()),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let index = |number: i64| usize::try_from(number.saturating_sub(1)).unwrap_or_default();
    let rest = text.get(offset(text, index(start))..).unwrap_or_default();
    let count = index(end).saturating_sub(index(start));
    Ok(rest.get(..offset(rest, count)).unwrap_or_default())
}

fn part(text: &str, start: i64, length: Option<i64>) -> Result<Value<'static>> {
    Ok(Value::owned(slice(text, start, length)?))
}

/// As many of the first characters; if negative, all but as many of the last.
fn left(text: &str, count: i64) -> Value<'static> {
    let kept = usize::try_from(count).unwrap_or_else(|_| {
        let dropped = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        text.chars().count().saturating_sub(dropped)
    });
    Value::owned(text.get(..offset(text, kept)).unwrap_or_default())
}

/// As many of the last characters; if negative, all but as many of the first.
fn right(text: &str, count: i64) -> Value<'static> {
    let dropped = match usize::try_from(count) {
        Ok(kept) => text.chars().count().saturating_sub(kept),
        // To Postgres, the least of all has no positive counterpart.
        Err(_) if count == i64::from(i32::MIN) => 0,
        Err(_) => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
    };
    Value::owned(text.get(offset(text, dropped)..).unwrap_or_default())
}

pub(super) fn too_large() -> Error {
    fault("54000", "requested length too large")
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

fn pad(text: &str, length: i64, fill: &str, side: Side) -> Result<Value<'static>> {
    let length = usize::try_from(length).unwrap_or_default();
    let present = text.chars().count();
    if present >= length || fill.is_empty() {
        return Ok(Value::owned(text.get(..offset(text, length)).unwrap_or_default()));
    }
    if length > BYTES_MAX {
        return Err(too_large());
    }
    let padding = fill.chars().cycle().take(length - present);
    Ok(Value::owned(match side {
        Side::Left => padding.chain(text.chars()).collect::<String>(),
        Side::Right => text.chars().chain(padding).collect(),
    }))
}

fn overlay(text: &str, new: &str, start: i64, length: i64) -> Result<Value<'static>> {
    if start <= 0 {
        return Err(negative_length());
    }
    let behind = start + length;
    if i32::try_from(behind).is_err() {
        return Err(fault("22003", "integer out of range"));
    }
    Ok(Value::owned([slice(text, 1, Some(start - 1))?, new, slice(text, behind, None)?].concat()))
}

fn replace(text: &str, from: &str, to: &str) -> Result<Value<'static>> {
    if from.is_empty() {
        return Ok(Value::owned(text));
    }
    let mut result = String::with_capacity(text.len());
    let mut parts = text.split(from);
    result.push_str(parts.next().unwrap_or_default());
    for part in parts {
        result.push_str(to);
        result.push_str(part);
        if result.len() > BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(Value::owned(result))
}

/// Of two characters to be replaced that are the same, the first counts.
fn translate(_: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    let (from, to) = (a[1].text()?, a[2].text()?);
    let changed = |character| match from.chars().position(|wanted| wanted == character) {
        Some(index) => to.chars().nth(index),
        None => Some(character),
    };
    Ok(Value::owned(a[0].text()?.chars().filter_map(changed).collect::<String>()))
}

fn repeat(text: &str, count: i64) -> Result<Value<'static>> {
    let count = usize::try_from(count).unwrap_or_default();
    match text.len().checked_mul(count) {
        Some(length) if length <= BYTES_MAX => Ok(Value::owned(text.repeat(count))),
        _ => Err(too_large()),
    }
}

fn split_part(text: &str, separator: &str, number: i64) -> Result<Value<'static>> {
    if number == 0 {
        return Err(fault("22023", "field position must not be zero"));
    }
    if separator.is_empty() {
        return Ok(Value::owned(if number.abs() == 1 { text } else { "" }));
    }
    let wanted = if let Ok(number) = usize::try_from(number) {
        Some(number - 1)
    } else {
        let from_end = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
        text.split(separator).count().checked_sub(from_end)
    };
    Ok(Value::owned(wanted.and_then(|wanted| text.split(separator).nth(wanted)).unwrap_or_default()))
}

fn chr(code: i64) -> Result<Value<'static>> {
    let beyond = |what: &str| fault("54000", format!("requested character {what} for encoding: {code}"));
    match u32::try_from(code) {
        Err(_) => Err(fault("22023", "character number must be positive")),
        Ok(0) => Err(fault("54000", "null character not permitted")),
        Ok(code) if code > 0x10_FFFF => Err(beyond("too large")),
        Ok(code) => char::from_u32(code).map(Value::owned).ok_or_else(|| beyond("not valid")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Side, initcap, left, overlay, pad, part, right, split_part};
    use crate::{error::Result, sql::function::Value};

    #[test]
    fn parts_of_text() {
        let check = |found: Result<Value<'static>>, expected: &str| {
            assert_eq!(
                found.map_or_else(|error| error.message().to_owned(), |text| text.text().unwrap().to_owned()),
                expected
            );
        };
        check(part("banana", -1, Some(4)), "ba");
        check(part("日本語", 2, None), "本語");
        check(part("abc", 2, Some(-1)), "negative substring length not allowed");
        check(Ok(left("émile", -2)), "émi");
        check(Ok(right("émile", 2)), "le");
        check(pad("é", 4, "日本", Side::Left), "日本日é");
        check(pad("émile", 2, "", Side::Right), "ém");
        check(overlay("banana", "-", 4, -2), "ban-anana");
        check(split_part("a,b,,d", ",", -4), "a");
        check(split_part("a", ",", 0), "field position must not be zero");
    }

    #[test]
    fn title_case() {
        let check = |text: &str, expected: &str| assert_eq!(initcap(text), expected);
        check("hELLO wORLD-wide 2nd o'neil_x éCOLE", "Hello World-Wide 2nd O'neil_x École");
        check("ǆx ﬁn ßa ᾳ", "ǅx Fin Ssa ᾼ");
    }
}
