//! The functions that take a `jsonpath`, which is a text here.

use std::rc::Rc;

use super::{
    json_path::{Path, parse},
    json_path_run::{exists, query},
    json_text::read,
    json_value::Json,
};
use crate::{
    error::Result,
    sql::function::{Call, Entry, Value, fault, rows},
};

/// Of each function with a path the forms without and with variables, and with whether errors are kept quiet.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("jsonb_path_exists(jsonb, text) -> bool", |call, a| path_exists(call, a, false)),
    rows("jsonb_path_exists(jsonb, text, jsonb) -> bool", |call, a| path_exists(call, a, false)),
    rows("jsonb_path_exists(jsonb, text, jsonb, bool) -> bool", |call, a| path_exists(call, a, a[3].bool()?)),
    rows("jsonb_path_match(jsonb, text) -> bool", |call, a| path_match(call, a, false)),
    rows("jsonb_path_match(jsonb, text, jsonb) -> bool", |call, a| path_match(call, a, false)),
    rows("jsonb_path_match(jsonb, text, jsonb, bool) -> bool", |call, a| path_match(call, a, a[3].bool()?)),
    rows("jsonb_path_query_array(jsonb, text) -> jsonb", |call, a| query_array(call, a, false)),
    rows("jsonb_path_query_array(jsonb, text, jsonb) -> jsonb", |call, a| query_array(call, a, false)),
    rows("jsonb_path_query_array(jsonb, text, jsonb, bool) -> jsonb", |call, a| query_array(call, a, a[3].bool()?)),
    rows("jsonb_path_query_first(jsonb, text) -> jsonb", |call, a| query_first(call, a, false)),
    rows("jsonb_path_query_first(jsonb, text, jsonb) -> jsonb", |call, a| query_first(call, a, false)),
    rows("jsonb_path_query_first(jsonb, text, jsonb, bool) -> jsonb", |call, a| query_first(call, a, a[3].bool()?)),
    // Set-returning: the caller unnests its arrays.
    rows("pilaster_jsonb_path_query(jsonb, text) -> jsonb[]", |call, a| query_all(call, a, false)),
    rows("pilaster_jsonb_path_query(jsonb, text, jsonb) -> jsonb[]", |call, a| query_all(call, a, false)),
    rows("pilaster_jsonb_path_query(jsonb, text, jsonb, bool) -> jsonb[]", |call, a| query_all(call, a, a[3].bool()?)),
];

fn path(call: &Call<'_>, a: &[Value<'_>]) -> Result<Rc<Path>> {
    call.prepared(a[1].text()?, parse)
}

/// The variables; without any, the empty object.
fn variables<'a>(a: &'a [Value<'_>]) -> Result<Json<'a>> {
    read(a.get(2).map_or(Ok("{}"), Value::text)?)
}

/// `@?`, which knows no variables and keeps quiet.
pub(super) fn path_exists_operator(call: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    Ok(exists(&*path(call, a)?, &read(a[0].text()?)?, None, false)?.map_or(Value::Null, Value::Bool))
}

/// `@@`, likewise.
pub(super) fn path_match_operator(call: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    single(&query(&*path(call, a)?, &read(a[0].text()?)?, None, false)?, true)
}

fn path_exists(call: &Call<'_>, a: &[Value<'_>], is_silent: bool) -> Result<Value<'static>> {
    let exists = exists(&*path(call, a)?, &read(a[0].text()?)?, Some(&variables(a)?), !is_silent)?;
    Ok(exists.map_or(Value::Null, Value::Bool))
}

fn path_match(call: &Call<'_>, a: &[Value<'_>], is_silent: bool) -> Result<Value<'static>> {
    single(&query(&*path(call, a)?, &read(a[0].text()?)?, Some(&variables(a)?), !is_silent)?, is_silent)
}

/// The one truth value that was found.
fn single(found: &[Json<'_>], is_silent: bool) -> Result<Value<'static>> {
    match found {
        [Json::Bool(value)] => Ok(Value::Bool(*value)),
        [Json::Null] => Ok(Value::Null),
        _ if is_silent => Ok(Value::Null),
        _ => Err(fault("22038", "single boolean result is expected")),
    }
}

fn query_array(call: &Call<'_>, a: &[Value<'_>], is_silent: bool) -> Result<Value<'static>> {
    let found = query(&*path(call, a)?, &read(a[0].text()?)?, Some(&variables(a)?), !is_silent)?;
    Ok(Value::owned(Json::Array(found).print()))
}

fn query_first(call: &Call<'_>, a: &[Value<'_>], is_silent: bool) -> Result<Value<'static>> {
    let found = query(&*path(call, a)?, &read(a[0].text()?)?, Some(&variables(a)?), !is_silent)?;
    Ok(found.first().map_or(Value::Null, |item| Value::owned(item.print())))
}

fn query_all(call: &Call<'_>, a: &[Value<'_>], is_silent: bool) -> Result<Value<'static>> {
    let found = query(&*path(call, a)?, &read(a[0].text()?)?, Some(&variables(a)?), !is_silent)?;
    Ok(Value::List(found.iter().map(|item| Value::owned(item.print())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find() {
        let call = Call::new(chrono_tz::UTC, &[]);
        let check = |jsonb: &str, path: &str, expected: &str| {
            let found = query_array(&call, &[Value::owned(jsonb), Value::owned(path)], false);
            let found = found.and_then(|found| Ok(found.text()?.to_owned()));
            assert_eq!(found.unwrap_or_else(|error| error.message().to_owned()), expected, "{path}");
        };
        let document = r#"{"a": [1, 2.5, {"b": "xyz"}], "c": null}"#;
        check(document, "$.a[*] ? (@ > 1)", "[2.5]");
        check(document, "$.a.b", r#"["xyz"]"#);
        check(document, "$.a[0 to last].b ? (@ like_regex \"^X\" flag \"i\")", r#"["xyz"]"#);
        check(document, "strict $.a.b", "jsonpath member accessor can only be applied to an object");
        check(document, "$.a[last].keyvalue().id", "[60]");
        check(document, "$.a[0] + $.a[1]", "[3.5]");
        check(document, "$.c == null", "[true]");
        check(document, "$.**{last}", r#"[1, 2.5, "xyz", null]"#);
    }
    #[test]
    fn what_is_too_deep_is_an_error() {
        let call = Call::new(chrono_tz::UTC, &[]);
        let check = |jsonb: &str, path: &str, expected: Option<&str>| {
            let found = query_array(&call, &[Value::owned(jsonb), Value::owned(path)], false);
            assert_eq!(found.map_or_else(|error| error.sqlstate(), |_| None), expected);
        };
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        check(&nested(500), "$.**", None);
        check(&nested(502), "$", Some("54001"));
        check("{}", &format!("${}", ".a".repeat(400)), None);
        check("1", &format!("1{}", " + 1".repeat(240)), None);
        check("1", &format!("1{}", " + 1".repeat(1900)), Some("54001"));
        check("1", &format!("1 == 1{}", " || 1 == 1".repeat(990)), Some("54001"));
        check("1", &format!("{}1{}", "(".repeat(40), ")".repeat(40)), Some("54001"));
        check("1", &format!("{}1{}", "(".repeat(30), ")".repeat(30)), None);
    }
}
