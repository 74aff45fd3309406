//! The tokens of `jsonpath`.

use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A word that is not quoted: a key, or a keyword such as `exists`.
    Word(String),
    /// With quotes.
    String(String),
    /// `$name`
    Variable(String),
    /// Digits only.
    Integer(String),
    /// With a point or an exponent.
    Number(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    End,
}

/// A token, and what Postgres says that an error at it is near to (nothing: at the end).
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) near: String,
}

/// Longer ones first.
const SYMBOLS: [&str; 30] = [
    "&&", "||", "**", "<=", "==", "<>", "!=", ">=", "!", "<", ">", "?", "%", "$", ".", "[", "]", "{", "}", "(", ")",
    "|", "&", "=", "@", "#", ",", "*", ":", "-",
];

pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) fn next(&mut self) -> Result<Placed> {
        loop {
            self.skip()?;
            let placed = self.token()?;
            // Postgres forgets a word that a comment follows without a blank.
            if !(matches!(placed.token, Token::Word(_)) && self.rest.starts_with("/*")) {
                return Ok(placed);
            }
        }
    }

    /// Over blanks and comments.
    fn skip(&mut self) -> Result<()> {
        loop {
            self.rest = self.rest.trim_start_matches(is_blank);
            let Some(comment) = self.rest.strip_prefix("/*") else { return Ok(()) };
            let Some((_, rest)) = comment.split_once("*/") else {
                return Err(wrong("unexpected end of comment", ""));
            };
            self.rest = rest;
        }
    }

    fn token(&mut self) -> Result<Placed> {
        let text = self.rest;
        let place = |token: Token, near: &str| Ok(Placed { token, near: near.to_owned() });
        if text.is_empty() {
            return place(Token::End, "");
        }
        if let Some(rest) = text.strip_prefix("$\"") {
            self.rest = rest;
            return place(Token::Variable(self.quoted()?), "\"");
        }
        if let Some(rest) = text.strip_prefix('"') {
            self.rest = rest;
            return place(Token::String(self.quoted()?), "\"");
        }
        if let Some(name) = text.strip_prefix('$') {
            let length = word_length(name);
            if length > 0 {
                self.rest = &name[length..];
                return place(Token::Variable(name[..length].to_owned()), &text[..=length]);
            }
        }
        if text.starts_with(|first: char| first.is_ascii_digit() || first == '.')
            && let Some((token, length)) = number(text)?
        {
            self.rest = &text[length..];
            return place(token, &text[..length]);
        }
        for symbol in SYMBOLS.into_iter().chain(["+", "/"]) {
            if let Some(rest) = text.strip_prefix(symbol) {
                self.rest = rest;
                return place(Token::Symbol(symbol), symbol);
            }
        }
        let word = self.word()?;
        let blanks = self.rest.len() - self.rest.trim_start_matches(is_blank).len();
        place(Token::Word(word), &self.rest[..blanks])
    }

    /// Up to the next blank, quote or symbol that is not escaped.
    fn word(&mut self) -> Result<String> {
        let mut word = String::new();
        loop {
            let length = word_length(self.rest);
            word.push_str(&self.rest[..length]);
            self.rest = &self.rest[length..];
            if !self.rest.starts_with('\\') {
                return Ok(word);
            }
            self.escape(&mut word)?;
        }
    }

    /// Up to the closing quote.
    fn quoted(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            let length = self.rest.find(['\\', '"']).unwrap_or(self.rest.len());
            text.push_str(&self.rest[..length]);
            self.rest = &self.rest[length..];
            if let Some(rest) = self.rest.strip_prefix('"') {
                self.rest = rest;
                return Ok(text);
            }
            if self.rest.is_empty() {
                return Err(wrong("unexpected end of quoted string", ""));
            }
            self.escape(&mut text)?;
        }
    }

    /// What a backslash begins.
    fn escape(&mut self, out: &mut String) -> Result<()> {
        if self.rest.starts_with("\\u") {
            return self.unicode(out);
        }
        let mut following = self.rest.chars().skip(1);
        let (length, character) = match following.next() {
            None => return Err(wrong("unexpected end after backslash", "\\")),
            Some('b') => (2, '\u{8}'),
            Some('f') => (2, '\u{c}'),
            Some('n') => (2, '\n'),
            Some('r') => (2, '\r'),
            Some('t') => (2, '\t'),
            Some('v') => (2, '\u{b}'),
            Some('x') => {
                let digits = self.rest[2..].bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
                let code = u32::from_str_radix(&self.rest[2..2 + digits], 16).ok().filter(|_| digits == 2);
                let Some(code) = code else {
                    return Err(wrong("invalid hex character sequence", &self.rest[..2 + digits]));
                };
                (4, character(code)?)
            }
            Some(other) => (1 + other.len_utf8(), other),
        };
        out.push(character);
        self.rest = &self.rest[length..];
        Ok(())
    }

    /// `\uXXXX` and `\u{X…}` one behind the other, because two of them may be one character.
    fn unicode(&mut self, out: &mut String) -> Result<()> {
        let surrogate = |which: &str| {
            fault("22P02", "invalid input syntax for type jsonpath")
                .with_detail(format!("Unicode {which} surrogate must not follow a high surrogate."))
        };
        let low_expected = || {
            fault("22P02", "invalid input syntax for type jsonpath")
                .with_detail("Unicode low surrogate must follow a high surrogate.")
        };
        let (start, mut codes) = (self.rest, Vec::new());
        while let Some(escape) = self.rest.strip_prefix("\\u") {
            let (digits, max) = escape.strip_prefix('{').map_or((escape, 4), |digits| (digits, 6));
            let count = digits.bytes().take(max).take_while(u8::is_ascii_hexdigit).count();
            let after = &digits[count..];
            let is_closed = if max == 6 { count > 0 && after.starts_with('}') } else { count == 4 };
            if !is_closed {
                let near = &start[..start.len() - after.len()];
                return Err(wrong("invalid unicode sequence", near));
            }
            codes.push(u32::from_str_radix(&digits[..count], 16).unwrap_or_default());
            self.rest = after.strip_prefix('}').filter(|_| max == 6).unwrap_or(after);
        }
        let mut high = None;
        for code in codes {
            let code = match (code, high.take()) {
                (0xD800..=0xDBFF, Some(_)) => return Err(surrogate("high")),
                (0xD800..=0xDBFF, None) => {
                    high = Some(code);
                    continue;
                }
                (0xDC00..=0xDFFF, Some(high)) => 0x10000 + ((high & 0x3FF) << 10) + (code & 0x3FF),
                (0xDC00..=0xDFFF, None) | (_, Some(_)) => return Err(low_expected()),
                (code, None) => code,
            };
            out.push(character(code)?);
        }
        if high.is_some() { Err(low_expected()) } else { Ok(()) }
    }
}

fn character(code: u32) -> Result<char> {
    match code {
        0 => {
            Err(fault("22P05", "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text."))
        }
        code => char::from_u32(code).ok_or_else(|| fault("42601", "invalid Unicode code point")),
    }
}

/// A syntax error, or another one of the same form.
pub(super) fn wrong(what: &str, near: &str) -> Error {
    match near {
        "" => fault("42601", format!("{what} at end of jsonpath input")),
        near => fault("42601", format!("{what} at or near \"{near}\" of jsonpath input")),
    }
}

const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

fn word_length(text: &str) -> usize {
    let is_end = |character: char| is_blank(character) || "?%$.[]{}()|&!=<>@#,*:-+/\\\"".contains(character);
    text.find(is_end).unwrap_or(text.len())
}

/// A number at the beginning, by the rule that the longest match is taken; none where a longer word or only a point is.
fn number(text: &str) -> Result<Option<(Token, usize)>> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| bytes.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let whole = if bytes.first() == Some(&b'0') { 1 } else { digits(0) };
    let mut length = whole;
    if bytes.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if whole == 0 && fraction == 0 {
            return Ok(None);
        }
        length = whole + 1 + fraction;
    }
    let mut is_integer = length == whole;
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
            is_integer = false;
        } else if sign > 0 {
            return Err(wrong("invalid numeric literal", &text[..length + 2]));
        }
    }
    if word_length(&text[length..]) > 0 {
        // A word that goes on is longer than the number and the one byte that does not belong to it.
        return match word_length(text) > length + 1 {
            true => Ok(None),
            false => Err(wrong("trailing junk after numeric literal", text.get(..=length).unwrap_or(text))),
        };
    }
    let written = text[..length].to_owned();
    Ok(Some((if is_integer { Token::Integer(written) } else { Token::Number(written) }, length)))
}
