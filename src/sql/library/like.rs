//! `LIKE` and `ILIKE` of text and of bytes, and what `SIMILAR TO` makes of its patterns.

use crate::{
    error::Result,
    sql::function::{Call, Entry, Value, fault, rows},
};

/// How many `%` may be open at once.
const DEPTH_MAX: usize = 1000;

/// `LIKE` in all its forms.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("~~ (text, text) -> bool", |_, a| like(a[0].text()?, a[1].text()?)),
    rows("!~~ (text, text) -> bool", |_, a| negated(like(a[0].text()?, a[1].text()?))),
    rows("~~* (text, text) -> bool", |call, a| like_any_case(call, a[0].text()?, a[1].text()?)),
    rows("!~~* (text, text) -> bool", |call, a| negated(like_any_case(call, a[0].text()?, a[1].text()?))),
    rows("~~ (bytea, bytea) -> bool", |_, a| like_bytes(a[0].bytes()?, a[1].bytes()?)),
    rows("!~~ (bytea, bytea) -> bool", |_, a| negated(like_bytes(a[0].bytes()?, a[1].bytes()?))),
    rows("like(text, text) -> bool", |_, a| like(a[0].text()?, a[1].text()?)),
    rows("like(bytea, bytea) -> bool", |_, a| like_bytes(a[0].bytes()?, a[1].bytes()?)),
    rows("notlike(text, text) -> bool", |_, a| negated(like(a[0].text()?, a[1].text()?))),
    rows("notlike(bytea, bytea) -> bool", |_, a| negated(like_bytes(a[0].bytes()?, a[1].bytes()?))),
    rows("like_escape(text, text) -> text", |_, a| like_escape(a[0].text()?, a[1].text()?)),
    rows("like_escape(bytea, bytea) -> bytea", |_, a| like_escape_bytes(a[0].bytes()?, a[1].bytes()?)),
    rows("similar_to_escape(text) -> text", |_, a| similar_to_escape(a[0].text()?, "\\").map(Value::owned)),
    rows("similar_to_escape(text, text) -> text", |_, a| {
        similar_to_escape(a[0].text()?, a[1].text()?).map(Value::owned)
    }),
];

fn like(text: &str, pattern: &str) -> Result<Value<'static>> {
    let found = matches(text.as_bytes(), pattern.as_bytes(), character_length, 0)?;
    Ok(Value::Bool(found == Found::Yes))
}

fn like_bytes(text: &[u8], pattern: &[u8]) -> Result<Value<'static>> {
    Ok(Value::Bool(matches(text, pattern, |_| 1, 0)? == Found::Yes))
}

/// The pattern of `ILIKE` in lower case.
struct Lower(String);

fn like_any_case(call: &Call<'_>, text: &str, pattern: &str) -> Result<Value<'static>> {
    let pattern = call.prepared(pattern, |pattern| Ok(Lower(pattern.to_lowercase())))?;
    like(&text.to_lowercase(), &pattern.0)
}

fn negated(found: Result<Value<'static>>) -> Result<Value<'static>> {
    found.and_then(|found| Ok(Value::Bool(!found.bool()?)))
}

#[derive(Clone, Copy, PartialEq)]
enum Found {
    Yes,
    No,
    /// Not from here on, whatever an earlier `%` takes: the text is too short.
    Never,
}

/// Whether the text is as the pattern says. `length` is that of the character with this first byte.
///
/// An escape at the pattern's end is only met if all before it has matched, as in Postgres.
fn matches(mut text: &[u8], mut pattern: &[u8], length: fn(u8) -> usize, depth: usize) -> Result<Found> {
    if depth > DEPTH_MAX {
        return Err(fault("54001", "stack depth limit exceeded"));
    }
    while let (Some(first), Some(wanted)) = (text.first(), pattern.first()) {
        match wanted {
            b'\\' => {
                pattern = pattern.get(1..).unwrap_or_default();
                match pattern.first() {
                    None => return Err(escape_at_end()),
                    Some(wanted) if wanted != first => return Ok(Found::No),
                    Some(_) => text = text.get(1..).unwrap_or_default(),
                }
            }
            b'%' => return matches_anywhere(text, pattern, length, depth),
            b'_' => text = text.get(length(*first)..).unwrap_or_default(),
            wanted if wanted != first => return Ok(Found::No),
            _ => text = text.get(1..).unwrap_or_default(),
        }
        pattern = pattern.get(1..).unwrap_or_default();
    }
    match (text.is_empty(), pattern.iter().all(|byte| *byte == b'%')) {
        (false, _) => Ok(Found::No),
        (true, true) => Ok(Found::Yes),
        (true, false) => Ok(Found::Never),
    }
}

/// Of a pattern that begins with `%`.
fn matches_anywhere(mut text: &[u8], mut pattern: &[u8], length: fn(u8) -> usize, depth: usize) -> Result<Found> {
    let wanted = loop {
        match (pattern.first(), text.first()) {
            (None, _) => return Ok(Found::Yes),
            (Some(b'%'), _) => (),
            (Some(b'_'), None) => return Ok(Found::Never),
            (Some(b'_'), Some(first)) => text = text.get(length(*first)..).unwrap_or_default(),
            (Some(b'\\'), _) => break *pattern.get(1).ok_or_else(escape_at_end)?,
            (Some(wanted), _) => break *wanted,
        }
        pattern = pattern.get(1..).unwrap_or_default();
    };
    while let Some(first) = text.first() {
        if *first == wanted {
            let found = matches(text, pattern, length, depth + 1)?;
            if found != Found::No {
                return Ok(found);
            }
        }
        text = text.get(length(*first)..).unwrap_or_default();
    }
    Ok(Found::Never)
}

/// In bytes, of a character of UTF-8 by its first.
fn character_length(first: u8) -> usize {
    match first {
        0..0xC0 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

fn escape_at_end() -> crate::error::Error {
    fault("22025", "LIKE pattern must not end with escape character")
}

/// The pattern with the backslash for its escape.
fn like_escape(pattern: &str, escape: &str) -> Result<Value<'static>> {
    let mut characters = escape.chars();
    let escape = match (characters.next(), characters.next()) {
        (None, _) => return Ok(Value::owned(pattern.replace('\\', "\\\\"))),
        (Some('\\'), None) => return Ok(Value::owned(pattern)),
        (Some(escape), None) => escape,
        (Some(_), Some(_)) => return Err(no_escape()),
    };
    let mut result = String::with_capacity(pattern.len());
    let mut is_escaped = false;
    for character in pattern.chars() {
        if character == escape && !is_escaped {
            result.push('\\');
            is_escaped = true;
            continue;
        }
        if character == '\\' && !is_escaped {
            result.push('\\');
        }
        result.push(character);
        is_escaped = false;
    }
    Ok(Value::owned(result))
}

fn like_escape_bytes(pattern: &[u8], escape: &[u8]) -> Result<Value<'static>> {
    let escape = match escape {
        [] => None,
        [b'\\'] => return Ok(Value::Bytes(pattern.to_vec().into())),
        [escape] => Some(*escape),
        _ => return Err(no_escape()),
    };
    let mut result = Vec::with_capacity(pattern.len());
    let mut is_escaped = false;
    for byte in pattern {
        if Some(*byte) == escape && !is_escaped {
            result.push(b'\\');
            is_escaped = true;
            continue;
        }
        if *byte == b'\\' && !is_escaped {
            result.push(b'\\');
        }
        result.push(*byte);
        is_escaped = false;
    }
    Ok(Value::Bytes(result.into()))
}

fn no_escape() -> crate::error::Error {
    fault("22025", "invalid escape string").with_hint("Escape string must be empty or one character.")
}

/// The regular expression for a pattern of `SIMILAR TO` or of SQL's `substring`.
///
/// The two escaped quotes of the latter cut it in three: the first takes as little as it can, the second, which is what is
/// wanted and therefore captures, as much.
pub(super) fn similar_to_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        return Err(no_escape());
    }
    let mut result = String::from("^(?:");
    let mut is_escaped = false;
    let mut quotes = 0;
    let mut brackets = 0_usize;
    // Behind `[`: 1, behind `[^`: 2, further: 3. A `]` is a plain character up to there.
    let mut place = 0_u8;
    for character in pattern.chars() {
        if is_escaped {
            is_escaped = false;
            if character != '"' || brackets > 0 {
                result.extend(['\\', character]);
                place = 3;
                continue;
            }
            result.push_str(match quotes {
                0 => "){1,1}?(",
                1 => "){1,1}(?:",
                _ => {
                    let message = "SQL regular expression may not contain more than two escape-double-quote separators";
                    return Err(fault("2200C", message));
                }
            });
            quotes += 1;
        } else if Some(character) == escape {
            is_escaped = true;
        } else if brackets > 0 {
            if character == '\\' {
                result.push('\\');
            }
            result.push(character);
            match character {
                ']' if place > 2 => brackets -= 1,
                '[' => {
                    brackets += 1;
                    place = 3;
                }
                '^' => place = place.saturating_add(1),
                _ => place = 3,
            }
        } else {
            match character {
                '[' => {
                    result.push('[');
                    brackets = 1;
                    place = 1;
                }
                '%' => result.push_str(".*"),
                '_' => result.push('.'),
                '(' => result.push_str("(?:"),
                '\\' | '.' | '^' | '$' => result.extend(['\\', character]),
                _ => result.push(character),
            }
        }
    }
    result.push_str(")$");
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::{like, like_escape, similar_to_escape};

    #[test]
    fn patterns_of_like() {
        let check = |text: &str, pattern: &str, expected: Option<bool>| {
            let found = like(text, pattern).ok().map(|found| found.bool().unwrap());
            assert_eq!(found, expected, "{text} {pattern}");
        };
        check("日本語", "__語", Some(true));
        check("banana", "%an_%a%", Some(true));
        check("banana", "%x%", Some(false));
        check("a%c", r"a\%c", Some(true));
        check("appl", r"appl\", Some(false));
        check("apple", r"appl\", None);
        check("", "%", Some(true));
    }

    #[test]
    fn escapes() {
        let check = |pattern: &str, escape: &str, expected: &str| {
            assert_eq!(like_escape(pattern, escape).unwrap().text().unwrap(), expected);
        };
        check("a!_!!\\", "!", r"a\_\!\\");
        check(r"a\_", "", r"a\\_");
        assert!(like_escape("a", "xx").is_err());
        assert_eq!(similar_to_escape("%#\"a_#\"(b)", "#").unwrap(), "^(?:.*){1,1}?(a.){1,1}(?:(?:b))$");
        assert_eq!(similar_to_escape("[]%_]_.", "\\").unwrap(), r"^(?:[]%_].\.)$");
    }
}
