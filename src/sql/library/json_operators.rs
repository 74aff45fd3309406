//! The operators of `json` and `jsonb`, and the functions that they are short for.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    json_edit::{concatenate, delete_index, delete_keys, delete_path},
    json_path_functions::{path_exists_operator, path_match_operator},
    json_text::{BLANKS, Shape, check_escapes, elements, members, read, unquoted},
    json_value::{Json, compare, sort_key},
};
use crate::{
    error::Result,
    sql::{
        collation::spell,
        function::{Call, Entry, Kind, Value, fault, rows},
    },
};

/// Operators, and the functions behind them.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("-> (json, text) -> json", |_, a| json_member(a, as_json)),
    rows("-> (json, int4) -> json", |_, a| json_element(a, as_json)),
    rows("->> (json, text) -> text", |_, a| json_member(a, as_text)),
    rows("->> (json, int4) -> text", |_, a| json_element(a, as_text)),
    rows("#> (json, text[]) -> json", |_, a| json_path(a[0].text()?, a[1].list()?, as_json)),
    rows("#>> (json, text[]) -> text", |_, a| json_path(a[0].text()?, a[1].list()?, as_text)),
    rows("-> (jsonb, text) -> jsonb", |_, a| jsonb_member(a, as_json)),
    rows("-> (jsonb, int4) -> jsonb", |_, a| jsonb_element(a, as_json)),
    rows("pilaster_array_get(jsonb, text) -> jsonb", |_, a| jsonb_member(a, as_json)),
    rows("pilaster_array_get(jsonb, int4) -> jsonb", |_, a| jsonb_element(a, as_json)),
    rows("->> (jsonb, text) -> text", |_, a| jsonb_member(a, as_text)),
    rows("->> (jsonb, int4) -> text", |_, a| jsonb_element(a, as_text)),
    rows("#> (jsonb, text[]) -> jsonb", |_, a| jsonb_path(a[0].text()?, a[1].list()?, as_json)),
    rows("#>> (jsonb, text[]) -> text", |_, a| jsonb_path(a[0].text()?, a[1].list()?, as_text)),
    rows("json_object_field(json, text) -> json", |_, a| json_member(a, as_json)),
    rows("json_object_field_text(json, text) -> text", |_, a| json_member(a, as_text)),
    rows("json_array_element(json, int4) -> json", |_, a| json_element(a, as_json)),
    rows("json_array_element_text(json, int4) -> text", |_, a| json_element(a, as_text)),
    rows("jsonb_object_field(jsonb, text) -> jsonb", |_, a| jsonb_member(a, as_json)),
    rows("jsonb_object_field_text(jsonb, text) -> text", |_, a| jsonb_member(a, as_text)),
    rows("jsonb_array_element(jsonb, int4) -> jsonb", |_, a| jsonb_element(a, as_json)),
    rows("jsonb_array_element_text(jsonb, int4) -> text", |_, a| jsonb_element(a, as_text)),
    rows("json_extract_path(json, VARIADIC any) -> json", |call, a| {
        json_path(a[0].text()?, path_arguments("json_extract_path", call, a)?, as_json)
    }),
    rows("json_extract_path_text(json, VARIADIC any) -> text", |call, a| {
        json_path(a[0].text()?, path_arguments("json_extract_path_text", call, a)?, as_text)
    }),
    rows("jsonb_extract_path(jsonb, VARIADIC any) -> jsonb", |call, a| {
        jsonb_path(a[0].text()?, path_arguments("jsonb_extract_path", call, a)?, as_json)
    }),
    rows("jsonb_extract_path_text(jsonb, VARIADIC any) -> text", |call, a| {
        jsonb_path(a[0].text()?, path_arguments("jsonb_extract_path_text", call, a)?, as_text)
    }),
    rows("@> (jsonb, jsonb) -> bool", |_, a| contains(a[0].text()?, a[1].text()?)),
    rows("<@ (jsonb, jsonb) -> bool", |_, a| contains(a[1].text()?, a[0].text()?)),
    rows("jsonb_contains(jsonb, jsonb) -> bool", |_, a| contains(a[0].text()?, a[1].text()?)),
    rows("jsonb_contained(jsonb, jsonb) -> bool", |_, a| contains(a[1].text()?, a[0].text()?)),
    rows("? (jsonb, text) -> bool", |_, a| Ok(Value::Bool(exists(a[0].text()?, a[1].text()?)?))),
    rows("?| (jsonb, text[]) -> bool", |_, a| exists_any(a)),
    rows("?& (jsonb, text[]) -> bool", |_, a| exists_all(a)),
    rows("jsonb_exists(jsonb, text) -> bool", |_, a| Ok(Value::Bool(exists(a[0].text()?, a[1].text()?)?))),
    rows("jsonb_exists_any(jsonb, text[]) -> bool", |_, a| exists_any(a)),
    rows("jsonb_exists_all(jsonb, text[]) -> bool", |_, a| exists_all(a)),
    rows("|| (jsonb, jsonb) -> jsonb", |_, a| concatenate(a[0].text()?, a[1].text()?)),
    rows("jsonb_concat(jsonb, jsonb) -> jsonb", |_, a| concatenate(a[0].text()?, a[1].text()?)),
    rows("- (jsonb, text) -> jsonb", |_, a| delete_keys(a[0].text()?, &a[1..])),
    rows("- (jsonb, int4) -> jsonb", |_, a| delete_index(a[0].text()?, a[1].int()?)),
    rows("- (jsonb, text[]) -> jsonb", |_, a| delete_keys(a[0].text()?, a[1].list()?)),
    rows("jsonb_delete(jsonb, text) -> jsonb", |_, a| delete_keys(a[0].text()?, &a[1..])),
    rows("jsonb_delete(jsonb, int4) -> jsonb", |_, a| delete_index(a[0].text()?, a[1].int()?)),
    rows("jsonb_delete(jsonb, text[]) -> jsonb", |_, a| delete_keys(a[0].text()?, a[1].list()?)),
    rows("#- (jsonb, text[]) -> jsonb", |_, a| delete_path(a[0].text()?, a[1].list()?)),
    rows("jsonb_delete_path(jsonb, text[]) -> jsonb", |_, a| delete_path(a[0].text()?, a[1].list()?)),
    rows("@? (jsonb, text) -> bool", path_exists_operator),
    rows("@@ (jsonb, text) -> bool", path_match_operator),
    rows("= (jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_eq)),
    rows("<> (jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_ne)),
    rows("< (jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_lt)),
    rows("<= (jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_le)),
    rows("> (jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_gt)),
    rows(">= (jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_ge)),
    rows("jsonb_eq(jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_eq)),
    rows("jsonb_ne(jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_ne)),
    rows("jsonb_lt(jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_lt)),
    rows("jsonb_le(jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_le)),
    rows("jsonb_gt(jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_gt)),
    rows("jsonb_ge(jsonb, jsonb) -> bool", |_, a| compares(a, Ordering::is_ge)),
    rows("jsonb_cmp(jsonb, jsonb) -> int4", |_, a| {
        Ok(Value::Int(i64::from(compare(a[0].text()?, a[1].text()?)? as i8)))
    }),
    rows("pilaster_jsonb_key(jsonb) -> text", |_, a| {
        let mut letters = String::new();
        spell(&sort_key(a[0].text()?)?, &mut letters);
        Ok(Value::Text(Cow::Owned(letters)))
    }),
];

/// What a value that was found becomes.
type Give = fn(&str) -> Result<Value<'static>>;

/// The value as it is written.
#[expect(clippy::unnecessary_wraps, reason = "stands beside as_text")]
fn as_json(found: &str) -> Result<Value<'static>> {
    Ok(Value::owned(found))
}

/// The value as text: strings without quotes, null as NULL.
pub(super) fn as_text(found: &str) -> Result<Value<'static>> {
    Ok(match Shape::of(found) {
        Shape::Null => Value::Null,
        Shape::String => Value::owned(unquoted(found.trim_matches(BLANKS))?),
        _ => Value::owned(found),
    })
}

fn given(found: Option<&str>, give: Give) -> Result<Value<'static>> {
    found.map_or(Ok(Value::Null), give)
}

fn json_member(a: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    let json = a[0].text()?;
    check_escapes(json)?;
    match Shape::of(json) {
        Shape::Object => given(find(json, &a[1..])?, give),
        _ => Ok(Value::Null),
    }
}

fn json_element(a: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    let json = a[0].text()?;
    check_escapes(json)?;
    given(element(json, a[1].int()?), give)
}

/// Postgres reads all of the text: of a repeated key the last is found, and escapes that mean nothing are errors.
fn json_path(json: &str, path: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    if path.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    check_escapes(json)?;
    // Without a path it is all that is written, but for the blanks behind, and those before an array or object.
    let json = json.trim_end_matches(BLANKS);
    let json = if Shape::of(json).is_scalar() { json } else { json.trim_start_matches(BLANKS) };
    given(find(json, path)?, give)
}

fn find<'a>(json: &'a str, path: &[Value<'_>]) -> Result<Option<&'a str>> {
    let Some((step, rest)) = path.split_first() else {
        return Ok(Some(json));
    };
    let step = step.text()?;
    match Shape::of(json) {
        Shape::Object => {
            let mut found = None;
            for (key, value) in members(json) {
                if unquoted(key)? == step {
                    // A later one without the rest of the path leaves what was found in an earlier one.
                    found = find(value, rest)?.or(found);
                }
            }
            Ok(found)
        }
        Shape::Array => path_index(step).and_then(|at| element(json, at)).map_or(Ok(None), |value| find(value, rest)),
        _ => Ok(None),
    }
}

/// The element at a place, counted from the end where that is negative.
fn element(json: &str, at: i64) -> Option<&str> {
    let at = match usize::try_from(at) {
        Ok(at) => at,
        Err(_) => elements(json).count().checked_sub(usize::try_from(at.unsigned_abs()).ok()?)?,
    };
    elements(json).nth(at)
}

/// A step of a path as a place in an array, as C reads integers.
pub(super) fn path_index(step: &str) -> Option<i64> {
    let digits = step.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    digits.parse::<i32>().ok().map(i64::from)
}

fn jsonb_member(a: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    given(member(a[0].text()?, a[1].text()?), give)
}

/// The member of an object of `jsonb`, whose keys are there once and have only the escapes that they need.
fn member<'a>(jsonb: &'a str, key: &str) -> Option<&'a str> {
    let is_key = |(quoted, _): &(&str, &str)| match quoted.contains('\\') {
        true => unquoted(quoted).is_ok_and(|text| text == key),
        false => quoted.len() == key.len() + 2 && quoted.get(1..=key.len()) == Some(key),
    };
    members(jsonb).find(is_key).map(|(_, value)| value)
}

/// A scalar is an array of one here.
fn jsonb_element(a: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    let (jsonb, at) = (a[0].text()?, a[1].int()?);
    let found = match Shape::of(jsonb).is_scalar() {
        true => Some(jsonb).filter(|_| matches!(at, 0 | -1)),
        false => element(jsonb, at),
    };
    given(found, give)
}

fn jsonb_path(jsonb: &str, path: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    if path.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    let mut found = Some(jsonb);
    for step in path {
        let step = step.text()?;
        found = found.and_then(|value| match Shape::of(value) {
            Shape::Object => member(value, step),
            Shape::Array => element(value, path_index(step)?),
            _ => None,
        });
    }
    given(found, give)
}

/// The steps behind the first argument: texts, or one array of them.
fn path_arguments<'a>(function: &str, call: &Call<'_>, a: &'a [Value<'a>]) -> Result<&'a [Value<'a>]> {
    let (kinds, steps) = (call.kinds.get(1..).unwrap_or_default(), &a[1..]);
    if let ([Kind::Array(_)], [Value::List(steps)]) = (kinds, steps) {
        return Ok(steps);
    }
    let is_text = |kind: &Kind| matches!(kind, Kind::Unknown | Kind::Text | Kind::Varchar | Kind::Bpchar | Kind::Name);
    if !kinds.iter().all(is_text) {
        let types: Vec<String> = call.kinds.iter().map(|kind| kind.long_name()).collect();
        return Err(fault("42883", format!("function {function}({}) does not exist", types.join(", "))).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ));
    }
    Ok(steps)
}

fn contains(whole: &str, part: &str) -> Result<Value<'static>> {
    let (whole, part) = (read(whole)?, read(part)?);
    let is_object = |json: &Json<'_>| matches!(json, Json::Object(_));
    Ok(Value::Bool(is_object(&whole) == is_object(&part) && whole.contains(&part)))
}

/// Whether the text is a key of the object, an element of the array, or the string itself.
fn exists(jsonb: &str, text: &str) -> Result<bool> {
    let is_text = |value: &str| -> Result<bool> { Ok(Shape::of(value) == Shape::String && unquoted(value)? == text) };
    match Shape::of(jsonb) {
        Shape::Object => Ok(member(jsonb, text).is_some()),
        Shape::Array => {
            for element in elements(jsonb) {
                if is_text(element)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => is_text(jsonb),
    }
}

fn exists_any(a: &[Value<'_>]) -> Result<Value<'static>> {
    for text in a[1].list()?.iter().filter(|text| !text.is_null()) {
        if exists(a[0].text()?, text.text()?)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn exists_all(a: &[Value<'_>]) -> Result<Value<'static>> {
    for text in a[1].list()?.iter().filter(|text| !text.is_null()) {
        if !exists(a[0].text()?, text.text()?)? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn compares(a: &[Value<'_>], is_so: fn(Ordering) -> bool) -> Result<Value<'static>> {
    Ok(Value::Bool(is_so(compare(a[0].text()?, a[1].text()?)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_what_is_there() {
        let path = |steps: &[&str]| steps.iter().map(|step| Value::owned(*step)).collect::<Vec<_>>();
        let check = |json: &str, steps: &[&str], expected: Option<&str>| {
            assert_eq!(find(json, &path(steps)).unwrap(), expected, "{json} {steps:?}");
        };
        check(r#"{"a": {"b":1}, "a": {"c":2}}"#, &["a", "b"], Some("1"));
        check(r#"{"a": {"b":1}, "a": {"b":2}}"#, &["a", "b"], Some("2"));
        check(r"[1, [2, 3]]", &[" -1", "+0"], Some("2"));
        check(" 1 ", &[], Some(" 1 "));
        check("[1]", &["x"], None);
    }

    #[test]
    fn containment_goes_down() {
        let check = |whole: &str, part: &str, expected: bool| {
            assert_eq!(contains(whole, part).unwrap(), Value::Bool(expected), "{whole} @> {part}");
        };
        check(r#"["x", [1, {"a": 2.50}]]"#, r#"[[{"a": 2.5}]]"#, true);
        check(r#"["x"]"#, r#""x""#, true);
        check(r#""x""#, r#"["x"]"#, false);
        check(r#"[["x"]]"#, r#"["x"]"#, false);
        check(r#"{"a": [1]}"#, r#"{"a": 1}"#, false);
    }
}
