//! JSON as text: reading it as Postgres does, with its errors, and walking over text that is known to be JSON without
//! reading it all.

use std::{borrow::Cow, fmt::Write as _};

use super::json_value::{Json, number};
use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// How deep arrays and objects may nest. Postgres stops by the size of its stack, some thousands deep.
const DEPTH_MAX: usize = 500;

/// How many digits may come of exponents that are written out.
const GROWN_MAX: usize = 16 << 20;

/// What may stand between tokens.
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Whether the text is JSON. Escapes need only look right: `json` keeps them as they are.
pub(super) fn validate(text: &str) -> Result<()> {
    Reader::new(text, Reading::Check)?.document().map(drop)
}

/// Whether all strings of this JSON can be made texts, which Postgres finds out wherever it reads keys.
pub(super) fn check_escapes(text: &str) -> Result<()> {
    match text.contains("\\u") {
        true => Reader::new(text, Reading::Decode)?.document().map(drop),
        false => Ok(()),
    }
}

/// The value of a text, as `jsonb` has it.
pub(super) fn read(text: &str) -> Result<Json<'_>> {
    Reader::new(text, Reading::Decode)?.document()
}

/// What `jsonb` prints of a text.
pub(super) fn canonical(text: &str) -> Result<String> {
    Ok(read(text)?.print())
}

/// The text of a string that is written with quotes.
pub(super) fn unquoted(quoted: &str) -> Result<Cow<'_, str>> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    Ok(Reader::new(quoted, Reading::Decode)?.text)
}

/// Writes a text as a JSON string.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            8 => "\\b",
            12 => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..32 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        match escape {
            "" => {
                // Writing to a text does not fail.
                let _ = write!(out, "\\u{byte:04x}");
            }
            escape => out.push_str(escape),
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// What a JSON text is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl Shape {
    pub(super) fn of(json: &str) -> Self {
        match skip_space(json).bytes().next() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }

    /// As `json_typeof` calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Number => "number",
            Self::Bool => "boolean",
            Self::Null => "null",
        }
    }

    pub(super) const fn is_scalar(self) -> bool {
        !matches!(self, Self::Object | Self::Array)
    }
}

/// The elements of an array, each as it is written; nothing for what is no array.
pub(super) fn elements(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = skip_space(json).strip_prefix('[').map_or("", skip_space);
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(']') {
            return None;
        }
        let (value, after) = split_value(rest);
        rest = skip_comma(after);
        Some(value)
    })
}

/// The members of an object, key with its quotes and value, each as it is written; nothing for what is no object.
pub(super) fn members(json: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = skip_space(json).strip_prefix('{').map_or("", skip_space);
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with('}') {
            return None;
        }
        let (key, after) = split_value(rest);
        let after = skip_space(after);
        let (value, after) = split_value(skip_space(after.strip_prefix(':').unwrap_or(after)));
        rest = skip_comma(after);
        Some((key, value))
    })
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches(BLANKS)
}

fn skip_comma(text: &str) -> &str {
    let text = skip_space(text);
    skip_space(text.strip_prefix(',').unwrap_or(text))
}

/// The value that the text begins with, and what is behind it.
fn split_value(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r');
                if depth == 0 {
                    let rest = bytes.get(at..).unwrap_or_default();
                    return text.split_at(at + rest.iter().position(is_end).unwrap_or(rest.len()));
                }
                at += 1;
                continue;
            }
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    text.split_at(at.min(text.len()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Only whether it is JSON.
    Check,
    /// The values, with the escapes of strings resolved.
    Decode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Punctuation(u8),
    String,
    Number,
    True,
    False,
    Null,
    End,
}

/// Reads by the same steps as Postgres, one token ahead, so that of several errors the same one is found.
struct Reader<'a> {
    input: &'a str,
    reading: Reading,
    token: Token,
    start: usize,
    end: usize,
    /// Of the token that is a string, while decoding.
    text: Cow<'a, str>,
    /// Of all numbers that became longer.
    grown: usize,
}

impl<'a> Reader<'a> {
    fn new(input: &'a str, reading: Reading) -> Result<Self> {
        let mut reader =
            Self { input, reading, token: Token::End, start: 0, end: 0, text: Cow::Borrowed(""), grown: 0 };
        reader.advance()?;
        Ok(reader)
    }

    fn document(mut self) -> Result<Json<'a>> {
        let value = self.value(0)?;
        match self.token {
            Token::End => Ok(value),
            _ => Err(self.expected("end of input")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let value = match self.token {
            Token::Punctuation(b'{') => return self.object(depth),
            Token::Punctuation(b'[') => return self.array(depth),
            Token::String => Json::String(std::mem::take(&mut self.text)),
            Token::Number if self.reading == Reading::Decode => {
                let written = self.seen();
                self.advance()?;
                let number = number(written)?;
                if number.len() > written.len() {
                    self.grown += number.len();
                }
                return match self.grown > GROWN_MAX {
                    true => Err(fault("54000", "requested length too large")),
                    false => Ok(Json::Number(number)),
                };
            }
            Token::Number | Token::Null => Json::Null,
            Token::True => Json::Bool(true),
            Token::False => Json::Bool(false),
            Token::Punctuation(_) | Token::End => return Err(self.expected("JSON value")),
        };
        self.advance()?;
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>> {
        self.advance()?;
        let mut members = Vec::new();
        if self.token == Token::Punctuation(b'}') {
            self.advance()?;
            return Ok(Json::Object(members));
        }
        if self.token != Token::String {
            return Err(self.expected("string or \"}\""));
        }
        loop {
            if self.token != Token::String {
                return Err(self.expected("string"));
            }
            let key = std::mem::take(&mut self.text);
            self.advance()?;
            if self.token != Token::Punctuation(b':') {
                return Err(self.expected("\":\""));
            }
            self.advance()?;
            let value = self.value(depth + 1)?;
            if self.reading == Reading::Decode {
                members.push((key, value));
            }
            match self.token {
                Token::Punctuation(b',') => self.advance()?,
                Token::Punctuation(b'}') => break,
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
        }
        self.advance()?;
        Ok(Json::object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>> {
        self.advance()?;
        let mut elements = Vec::new();
        if self.token == Token::Punctuation(b']') {
            self.advance()?;
            return Ok(Json::Array(elements));
        }
        loop {
            let value = self.value(depth + 1)?;
            if self.reading == Reading::Decode {
                elements.push(value);
            }
            match self.token {
                Token::Punctuation(b',') => self.advance()?,
                Token::Punctuation(b']') => break,
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
        self.advance()?;
        Ok(Json::Array(elements))
    }

    fn advance(&mut self) -> Result<()> {
        let rest = skip_space(&self.input[self.end..]);
        self.start = self.input.len() - rest.len();
        let length = |is_in: fn(u8) -> bool| rest.bytes().position(|byte| !is_in(byte)).unwrap_or(rest.len());
        self.end = self.start + 1;
        self.token = match rest.bytes().next() {
            None => {
                self.end = self.start;
                Token::End
            }
            Some(byte @ (b'{' | b'}' | b'[' | b']' | b',' | b':')) => Token::Punctuation(byte),
            Some(b'"') => {
                self.string()?;
                Token::String
            }
            Some(b'-' | b'0'..=b'9') => {
                let proper = number_length(rest);
                let word = &rest[proper.unwrap_or_else(|wrong| wrong)..];
                let word_length = word.bytes().position(|byte| !is_word(byte)).unwrap_or(word.len());
                self.end = self.input.len() - word.len() + word_length;
                if proper.is_err() || word_length > 0 {
                    return Err(self.invalid_token());
                }
                Token::Number
            }
            Some(byte) if is_word(byte) => {
                self.end = self.start + length(is_word);
                match self.seen() {
                    "true" => Token::True,
                    "false" => Token::False,
                    "null" => Token::Null,
                    _ => return Err(self.invalid_token()),
                }
            }
            Some(_) => return Err(self.invalid_token()),
        };
        Ok(())
    }

    /// The string whose opening quote is at the start of the token.
    fn string(&mut self) -> Result<()> {
        let (input, opening) = (self.input, self.start + 1);
        let decodes = self.reading == Reading::Decode;
        let low_expected = || invalid("Unicode low surrogate must follow a high surrogate.");
        let (mut text, mut from, mut at) = (String::new(), opening, opening);
        let mut high = None;
        loop {
            let byte = input.as_bytes().get(at).copied();
            if byte == Some(b'"') && high.is_none() {
                break;
            }
            match byte {
                None => {
                    self.end = input.len();
                    return Err(self.invalid_token());
                }
                Some(byte @ 0..32) => {
                    return Err(invalid(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
                Some(b'\\') => {
                    text.push_str(&input[from..at]);
                    let escape = input[at + 1..].chars().next();
                    at += 1 + escape.map_or(0, char::len_utf8);
                    from = at;
                    let character = match escape {
                        None => continue,
                        Some('u') => {
                            let unit = self.hexadecimal(at)?;
                            at += 4;
                            from = at;
                            match decodes {
                                true => decoded(unit, &mut high)?,
                                false => None,
                            }
                        }
                        Some(_) if high.is_some() => return Err(low_expected()),
                        Some(character @ ('"' | '\\' | '/')) => Some(character),
                        Some('b') => Some('\u{8}'),
                        Some('f') => Some('\u{c}'),
                        Some('n') => Some('\n'),
                        Some('r') => Some('\r'),
                        Some('t') => Some('\t'),
                        Some(other) => return Err(invalid(format!("Escape sequence \"\\{other}\" is invalid."))),
                    };
                    text.extend(character);
                }
                Some(_) if high.is_some() => return Err(low_expected()),
                Some(_) => at += 1,
            }
        }
        if decodes {
            self.text = match text.is_empty() && from == opening {
                true => Cow::Borrowed(&input[from..at]),
                false => Cow::Owned(text + &input[from..at]),
            };
        }
        self.end = at + 1;
        Ok(())
    }

    /// The four digits of `\uXXXX`.
    fn hexadecimal(&mut self, at: usize) -> Result<u32> {
        let mut unit = 0;
        for place in at..at + 4 {
            let Some(byte) = self.input.as_bytes().get(place) else {
                self.end = self.input.len();
                return Err(self.invalid_token());
            };
            let Some(digit) = char::from(*byte).to_digit(16) else {
                return Err(invalid("\"\\u\" must be followed by four hexadecimal digits."));
            };
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    /// The token as it is written.
    fn seen(&self) -> &'a str {
        let rest = &self.input[self.start..];
        let length = self.end - self.start;
        &rest[..(length..rest.len()).find(|length| rest.is_char_boundary(*length)).unwrap_or(rest.len())]
    }

    fn invalid_token(&self) -> Error {
        invalid(format!("Token \"{}\" is invalid.", self.seen()))
    }

    fn expected(&self, what: &str) -> Error {
        match self.token {
            Token::End => invalid("The input string ended unexpectedly."),
            _ => invalid(format!("Expected {what}, but found \"{}\".", self.seen())),
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 128
}

/// How long the number is that the text begins with, or how far one can read what is none.
fn number_length(text: &str) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
    };
    let start = usize::from(text.starts_with('-'));
    let mut is_wrong = false;
    let mut at = match bytes.get(start) {
        Some(b'0') => start + 1,
        Some(b'1'..=b'9') => digits(start),
        _ => {
            is_wrong = true;
            start
        }
    };
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        is_wrong |= end == at + 1;
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let first = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(first);
        is_wrong |= end == first;
        at = end;
    }
    if is_wrong { Err(at) } else { Ok(at) }
}

/// The character that a `\uXXXX` ends; half of one is kept for the next.
fn decoded(unit: u32, high: &mut Option<u32>) -> Result<Option<char>> {
    let low_expected = || invalid("Unicode low surrogate must follow a high surrogate.");
    let code = match (unit, high.take()) {
        (0xD800..=0xDBFF, Some(_)) => {
            return Err(invalid("Unicode high surrogate must not follow a high surrogate."));
        }
        (0xD800..=0xDBFF, None) => {
            *high = Some(unit);
            return Ok(None);
        }
        (0xDC00..=0xDFFF, Some(first)) => 0x10000 + ((first & 0x3FF) << 10) + (unit & 0x3FF),
        (0xDC00..=0xDFFF, None) | (_, Some(_)) => return Err(low_expected()),
        (0, None) => {
            return Err(fault("22P05", "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text."));
        }
        (unit, None) => unit,
    };
    Ok(char::from_u32(code))
}

fn invalid(detail: impl Into<String>) -> Error {
    fault("22P02", "invalid input syntax for type json").with_detail(detail)
}

pub(super) fn too_deep() -> Error {
    fault("54001", "stack depth limit exceeded").with_hint(
        "Increase the configuration parameter \"max_stack_depth\" (currently 2048kB), \
         after ensuring the platform's stack depth limit is adequate.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_postgres_s() {
        let check = |text: &str, expected: &str| assert_eq!(canonical(text).unwrap(), expected, "{text}");
        check(" { \"bb\" : 1e3,\"a\":[ ] , \"b\":-0.0,\"a\":{} } ", r#"{"a": {}, "b": 0.0, "bb": 1000}"#);
        check(r#""\ud83d\ude00\u0041\/\u001f\n""#, r#""😀A/\u001f\n""#);
        check("[1.50,true,null,\"\"]", r#"[1.50, true, null, ""]"#);
    }

    #[test]
    fn errors_say_what_postgres_says() {
        let check = |text: &str, expected: &str| {
            assert_eq!(canonical(text).unwrap_err().detail(), Some(expected), "{text}");
        };
        check("", "The input string ended unexpectedly.");
        check("[1,]", "Expected JSON value, but found \"]\".");
        check("{\"a\" 1}", "Expected \":\", but found \"1\".");
        check("\"\\ud83d\"", "Unicode low surrogate must follow a high surrogate.");
        check("\"\\u0000\"", "\\u0000 cannot be converted to text.");
        check("1.x", "Token \"1.x\" is invalid.");
        check("[\"a\\é\"]", "Escape sequence \"\\é\" is invalid.");
    }

    #[test]
    fn walking_gives_what_is_written() {
        let json = r#" [ 1 ,"a,]\"" , {"x": [2, {"y":"}"}]},null] "#;
        assert_eq!(elements(json).collect::<Vec<_>>(), ["1", r#""a,]\"""#, r#"{"x": [2, {"y":"}"}]}"#, "null"]);
        assert_eq!(members(r#"{ "a" :1 , "b":[ 2 ]}"#).collect::<Vec<_>>(), [("\"a\"", "1"), ("\"b\"", "[ 2 ]")]);
        assert_eq!(elements("[]").chain(elements("1")).count(), 0);
    }
}
