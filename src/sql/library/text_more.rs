//! Functions that put values of any type into text: `concat`, `||`, quoting and arrays; and those on Unicode's escapes and forms.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfd, is_nfkc, is_nfkd};

use super::{
    text::{BYTES_MAX, too_large},
    text_output::{as_text, element, output, output_as},
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Value, fault, rows},
};

/// The entries of `||` between text and a type that is not text.
macro_rules! joined {
    ($($kind:literal)*) => { &[$(
        rows(concat!("|| (text, ", $kind, ") -> text"), join),
        rows(concat!("|| (", $kind, ", text) -> text"), join),
    )*] };
}

/// Those of Postgres are of `anynonarray`: each type by itself leaves arrays out.
pub(in crate::sql) const JOINED: &[Entry] = joined!(
    "bool" "int2" "int4" "int8" "float4" "float8" "numeric" "bytea" "date" "time" "timestamp" "timestamptz" "interval" "uuid"
    "json" "jsonb" "anyenum"
);

/// All others.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("|| (text, text) -> text", join),
    rows("concat(VARIADIC any) -> text", |call, a| concat(call, "", a, 0)).takes_null(),
    rows("concat_ws(text, VARIADIC any) -> text", |call, a| match &a[0] {
        Value::Null => Ok(Value::Null),
        separator => concat(call, separator.text()?, a, 1),
    })
    .takes_null(),
    rows("pilaster_string_agg(text[], text[]) -> text", |_, a| separated(a)),
    rows("pilaster_string_agg(text[], varchar[]) -> text", |_, a| separated(a)),
    rows("pilaster_string_agg(varchar[], text[]) -> text", |_, a| separated(a)),
    rows("pilaster_string_agg(varchar[], varchar[]) -> text", |_, a| separated(a)),
    rows("pilaster_string_agg(bytea[], bytea[]) -> bytea", |_, a| {
        let mut bytes = Vec::new();
        for (place, (value, separator)) in a[0].list()?.iter().zip(a[1].list()?).enumerate() {
            if place > 0 && !separator.is_null() {
                bytes.extend_from_slice(separator.bytes()?);
            }
            bytes.extend_from_slice(value.bytes()?);
        }
        Ok(Value::Bytes(Cow::Owned(bytes)))
    }),
    rows("array_to_string(anyarray, text) -> text", |call, a| array_to_string(call, &a[0], &a[1], None)),
    rows("array_to_string(anyarray, text, text) -> text", |call, a| array_to_string(call, &a[0], &a[1], Some(&a[2])))
        .takes_null(),
    rows("string_to_array(text, text) -> text[]", |_, a| string_to_array(&a[0], &a[1], &Value::Null)).takes_null(),
    rows("string_to_array(text, text, text) -> text[]", |_, a| string_to_array(&a[0], &a[1], &a[2])).takes_null(),
    rows("quote_ident(text) -> text", |_, a| Ok(Value::owned(quote_ident(a[0].text()?)))),
    rows("quote_literal(text) -> text", |_, a| Ok(Value::owned(quote_literal(a[0].text()?)))),
    rows("quote_literal(anyelement) -> text", |call, a| Ok(Value::owned(quote_literal(&as_text(call, a, 0)?)))),
    rows("quote_nullable(text) -> text", quote_nullable).takes_null(),
    rows("quote_nullable(anyelement) -> text", quote_nullable).takes_null(),
    rows("unistr(text) -> text", |_, a| unistr(a[0].text()?)),
    rows("normalize(text) -> text", |_, a| normalize(a[0].text()?, "NFC")),
    rows("normalize(text, text) -> text", |_, a| normalize(a[0].text()?, a[1].text()?)),
    rows("is_normalized(text) -> bool", |_, a| is_normalized(a[0].text()?, "NFC")),
    rows("is_normalized(text, text) -> bool", |_, a| is_normalized(a[0].text()?, a[1].text()?)),
];

/// `||`: each side as its cast to text.
fn join(call: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    let mut text = as_text(call, a, 0)?;
    text.push_str(&as_text(call, a, 1)?);
    bounded(text)
}

fn bounded(text: String) -> Result<Value<'static>> {
    if text.len() > BYTES_MAX { Err(too_large()) } else { Ok(Value::owned(text)) }
}

/// The arguments from `first` on that are not NULL.
fn concat(call: &Call<'_>, separator: &str, a: &[Value<'_>], first: usize) -> Result<Value<'static>> {
    let mut text = String::new();
    let mut is_first = true;
    for index in (first..a.len()).filter(|index| !a[*index].is_null()) {
        if !is_first {
            text.push_str(separator);
        }
        text.push_str(&output(call, a, index)?);
        is_first = false;
    }
    bounded(text)
}

/// Texts, each behind the separator that stands in its place.
fn separated(a: &[Value<'_>]) -> Result<Value<'static>> {
    let mut text = String::new();
    for (place, (value, separator)) in a[0].list()?.iter().zip(a[1].list()?).enumerate() {
        if place > 0 && !separator.is_null() {
            text.push_str(separator.text()?);
        }
        text.push_str(value.text()?);
    }
    bounded(text)
}

fn array_to_string(
    call: &Call<'_>,
    array: &Value<'_>,
    separator: &Value<'_>,
    null: Option<&Value<'_>>,
) -> Result<Value<'static>> {
    if array.is_null() || separator.is_null() {
        return Ok(Value::Null);
    }
    let kind = element(call.kinds[0]);
    let null = null.filter(|null| !null.is_null()).map(Value::text).transpose()?;
    let mut parts = Vec::new();
    for value in array.list()? {
        match (value.is_null(), null) {
            (false, _) => parts.push(output_as(call, kind, value)?),
            (true, Some(null)) => parts.push(null.to_owned()),
            (true, None) => (),
        }
    }
    bounded(parts.join(separator.text()?))
}

/// The parts between separators: without one, the characters; an empty one is nowhere.
fn string_to_array(text: &Value<'_>, separator: &Value<'_>, null: &Value<'_>) -> Result<Value<'static>> {
    if text.is_null() {
        return Ok(Value::Null);
    }
    let text = text.text()?;
    let part = |part: &str| match null {
        Value::Text(null) if null == part => Value::Null,
        _ => Value::owned(part),
    };
    let mut buffer = [0; 4];
    Ok(Value::List(match separator {
        _ if text.is_empty() => Vec::new(),
        Value::Null => text.chars().map(|character| part(character.encode_utf8(&mut buffer))).collect(),
        separator if separator.text()?.is_empty() => vec![part(text)],
        separator => text.split(separator.text()?).map(part).collect(),
    }))
}

/// Words that are no names without quotes, sorted.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint",
    "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate",
    "collation", "column", "concurrently", "constraint", "create", "cross", "current_catalog", "current_date",
    "current_role", "current_schema", "current_time", "current_timestamp", "current_user", "dec", "decimal", "default",
    "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float",
    "for", "foreign", "freeze", "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in",
    "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join", "lateral",
    "leading", "least", "left", "like", "limit", "localtime", "localtimestamp", "national", "natural", "nchar", "none",
    "normalize", "not", "notnull", "null", "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer",
    "overlaps", "overlay", "placing", "position", "precision", "primary", "real", "references", "returning", "right",
    "row", "select", "session_user", "setof", "similar", "smallint", "some", "substring", "symmetric", "table",
    "tablesample", "then", "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user",
    "using", "values", "varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes",
    "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
    "xmlserialize", "xmltable",
];

/// A name as it is written in a statement: in quotes where it needs them.
pub(super) fn quote_ident(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_')
        && KEYWORDS.binary_search(&name).is_err();
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A text as it is written in a statement.
pub(super) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn quote_nullable(call: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    Ok(Value::owned(match &a[0] {
        Value::Null => "NULL".to_owned(),
        _ => quote_literal(&as_text(call, a, 0)?),
    }))
}

fn invalid_escape() -> Error {
    fault("42601", "invalid Unicode escape")
        .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
}

fn invalid_pair() -> Error {
    fault("42601", "invalid Unicode surrogate pair")
}

/// The text with its Unicode escapes resolved.
fn unistr(text: &str) -> Result<Value<'static>> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    // The first half of a character that is written as two.
    let mut half = None;
    while let Some(first) = rest.chars().next() {
        let Some(behind) = rest.strip_prefix('\\') else {
            if half.is_some() {
                return Err(invalid_pair());
            }
            result.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        if let Some(behind) = behind.strip_prefix('\\') {
            if half.is_some() {
                return Err(invalid_pair());
            }
            result.push('\\');
            rest = behind;
            continue;
        }
        let (start, length) = match behind.chars().next() {
            Some('u') => (1, 4),
            Some('U') => (1, 8),
            Some('+') => (1, 6),
            _ => (0, 4),
        };
        let digits = behind.get(start..start + length).unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid_escape());
        }
        let code = u32::from_str_radix(digits, 16).map_err(|_| invalid_escape())?;
        rest = &behind[start + length..];
        half = push_code(code, half, &mut result)?;
    }
    if half.is_some() { Err(invalid_pair()) } else { Ok(Value::owned(result)) }
}

/// Adds a character, if it is whole with the half before it.
fn push_code(code: u32, half: Option<u32>, result: &mut String) -> Result<Option<u32>> {
    if code == 0 || code > 0x10_FFFF {
        return Err(fault("22023", format!("invalid Unicode code point: {code:04X}")));
    }
    let code = match (half, code) {
        (None, 0xD800..=0xDBFF) => return Ok(Some(code)),
        (Some(high), 0xDC00..=0xDFFF) => 0x1_0000 + ((high - 0xD800) << 10) + (code - 0xDC00),
        (Some(_), _) => return Err(invalid_pair()),
        (None, code) => code,
    };
    result.push(char::from_u32(code).ok_or_else(invalid_pair)?);
    Ok(None)
}

enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

fn form(name: &str) -> Result<Form> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "NFC" => Form::Nfc,
        "NFD" => Form::Nfd,
        "NFKC" => Form::Nfkc,
        "NFKD" => Form::Nfkd,
        _ => return Err(fault("22023", format!("invalid normalization form: {name}"))),
    })
}

fn normalize(text: &str, name: &str) -> Result<Value<'static>> {
    bounded(match form(name)? {
        Form::Nfc => text.nfc().collect(),
        Form::Nfd => text.nfd().collect(),
        Form::Nfkc => text.nfkc().collect(),
        Form::Nfkd => text.nfkd().collect(),
    })
}

fn is_normalized(text: &str, name: &str) -> Result<Value<'static>> {
    Ok(Value::Bool(match form(name)? {
        Form::Nfc => is_nfc(text),
        Form::Nfd => is_nfd(text),
        Form::Nfkc => is_nfkc(text),
        Form::Nfkd => is_nfkd(text),
    }))
}

#[cfg(test)]
mod tests {
    use super::{KEYWORDS, Value, quote_ident, quote_literal, string_to_array, unistr};

    #[test]
    fn quotes() {
        assert!(KEYWORDS.is_sorted());
        let check = |text: &str, name: &str, literal: &str| {
            assert_eq!((quote_ident(text).as_str(), quote_literal(text).as_str()), (name, literal));
        };
        check("apple", "apple", "'apple'");
        check("select", "\"select\"", "'select'");
        check("it's \\", "\"it's \\\"", "E'it''s \\\\'");
    }

    #[test]
    fn arrays() {
        let check = |text: &str, separator: Value<'_>, null: Value<'_>, expected: &[Option<&str>]| {
            let found = string_to_array(&Value::owned(text), &separator, &null).unwrap();
            let expected = expected.iter().map(|text| text.map_or(Value::Null, Value::owned)).collect();
            assert_eq!(found, Value::List(expected));
        };
        check("a,,b", Value::owned(","), Value::owned(""), &[Some("a"), None, Some("b")]);
        check("ab", Value::Null, Value::Null, &[Some("a"), Some("b")]);
        check("", Value::owned(","), Value::Null, &[]);
    }

    #[test]
    fn escapes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(unistr(text).ok(), expected.map(Value::owned));
        };
        check(r"d\0061t\u00e9 \\ \d83d\de00\U0001F600\+01F600", Some(r"daté \ 😀😀😀"));
        check(r"\d83d", None);
        check(r"\zz", None);
    }
}
