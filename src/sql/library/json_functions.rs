//! Functions that look into JSON, and those that make it of other values.

use super::{
    json_operators::as_text,
    json_print::{element_kind, to_jsonb, write_array, write_json, write_key},
    json_text::{Shape, canonical, check_escapes, elements, members, quote, unquoted},
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Kind, Value, fault, rows},
};

/// Functions of `json` and `jsonb` that are no operators and change nothing.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("json_typeof(json) -> text", |_, a| type_of(a)),
    rows("jsonb_typeof(jsonb) -> text", |_, a| type_of(a)),
    rows("json_array_length(json) -> int4", |_, a| array_length(a)),
    rows("jsonb_array_length(jsonb) -> int4", |_, a| array_length(a)),
    // Set-returning ones: the caller unnests their arrays.
    rows("pilaster_json_array_elements(json) -> json[]", |_, a| json_elements(a, "json_array_elements", raw)),
    rows("pilaster_json_array_elements_text(json) -> text[]", |_, a| {
        check_escapes(a[0].text()?)?;
        json_elements(a, "json_array_elements_text", as_text)
    }),
    rows("pilaster_jsonb_array_elements(jsonb) -> jsonb[]", |_, a| jsonb_elements(a, raw)),
    rows("pilaster_jsonb_array_elements_text(jsonb) -> text[]", |_, a| jsonb_elements(a, as_text)),
    rows("pilaster_json_object_keys(json) -> text[]", |_, a| match Shape::of(a[0].text()?) {
        Shape::Object => keys(a),
        shape => Err(cannot("json_object_keys", if shape == Shape::Array { "an array" } else { "a scalar" })),
    }),
    rows("pilaster_jsonb_object_keys(jsonb) -> text[]", |_, a| match Shape::of(a[0].text()?) {
        Shape::Object => keys(a),
        shape => Err(cannot("jsonb_object_keys", if shape == Shape::Array { "an array" } else { "a scalar" })),
    }),
    rows("pilaster_json_each_keys(json) -> text[]", |_, a| json_object(a).and_then(|()| keys(a))),
    rows("pilaster_json_each_values(json) -> json[]", |_, a| json_object(a).and_then(|()| values(a, raw))),
    rows("pilaster_json_each_values_text(json) -> text[]", |_, a| json_object(a).and_then(|()| values(a, as_text))),
    rows("pilaster_jsonb_each_keys(jsonb) -> text[]", |_, a| jsonb_object(a, "jsonb_each").and_then(|()| keys(a))),
    rows("pilaster_jsonb_each_text_keys(jsonb) -> text[]", |_, a| {
        jsonb_object(a, "jsonb_each_text").and_then(|()| keys(a))
    }),
    rows("pilaster_jsonb_each_values(jsonb) -> jsonb[]", |_, a| {
        jsonb_object(a, "jsonb_each").and_then(|()| values(a, raw))
    }),
    rows("pilaster_jsonb_each_values_text(jsonb) -> text[]", |_, a| {
        jsonb_object(a, "jsonb_each_text").and_then(|()| values(a, as_text))
    }),
    rows("to_json(anyelement) -> json", |call, a| {
        let mut out = String::new();
        write_json(call, call.kinds[0], &a[0], &mut out);
        Ok(Value::owned(out))
    }),
    rows("to_jsonb(anyelement) -> jsonb", |call, a| Ok(Value::owned(to_jsonb(call, call.kinds[0], &a[0])?))),
    rows("array_to_json(anyarray) -> json", |call, a| array_to_json(call, a, ",")),
    rows("array_to_json(anyarray, bool) -> json", |call, a| {
        array_to_json(call, a, if a[1].bool()? { ",\n " } else { "," })
    }),
    rows("json_build_array() -> json", |_, _| Ok(Value::owned("[]"))),
    rows("json_build_array(VARIADIC any) -> json", |call, a| Ok(Value::owned(build_array(call, a)))).takes_null(),
    rows("jsonb_build_array() -> jsonb", |_, _| Ok(Value::owned("[]"))),
    rows("jsonb_build_array(VARIADIC any) -> jsonb", |call, a| Ok(Value::owned(canonical(&build_array(call, a))?)))
        .takes_null(),
    rows("json_build_object() -> json", |_, _| Ok(Value::owned("{}"))),
    rows("json_build_object(VARIADIC any) -> json", |call, a| {
        Ok(Value::owned(build_object(call, a, "json_build_object", &|at| {
            fault("22023", format!("argument {at} cannot be null")).with_hint("Object keys should be text.")
        })?))
    })
    .takes_null(),
    rows("jsonb_build_object() -> jsonb", |_, _| Ok(Value::owned("{}"))),
    rows("jsonb_build_object(VARIADIC any) -> jsonb", |call, a| {
        let json = build_object(call, a, "jsonb_build_object", &|at| {
            fault("22023", format!("argument {at}: key must not be null"))
        })?;
        Ok(Value::owned(canonical(&json)?))
    })
    .takes_null(),
    rows("json_object(text[]) -> json", |_, a| object_of_pairs(a[0].list()?)),
    rows("json_object(text[], text[]) -> json", |_, a| object_of(a[0].list()?, a[1].list()?)),
    rows("jsonb_object(text[]) -> jsonb", |_, a| Ok(Value::owned(canonical(object_of_pairs(a[0].list()?)?.text()?)?))),
    rows("jsonb_object(text[], text[]) -> jsonb", |_, a| {
        Ok(Value::owned(canonical(object_of(a[0].list()?, a[1].list()?)?.text()?)?))
    }),
    // Aggregates: the caller collects the values in arrays.
    rows("pilaster_json_agg(anyarray) -> json", |call, a| array_to_json(call, a, ", ")),
    rows("pilaster_jsonb_agg(anyarray) -> jsonb", |call, a| {
        Ok(Value::owned(canonical(array_to_json(call, a, ", ")?.text()?)?))
    }),
    rows("pilaster_json_object_agg(anyarray, anycompatiblearray) -> json", |call, a| {
        Ok(Value::owned(object_agg(call, a)?))
    }),
    rows("pilaster_jsonb_object_agg(anyarray, anycompatiblearray) -> jsonb", |call, a| {
        Ok(Value::owned(canonical(&object_agg(call, a)?)?))
    }),
];

#[expect(clippy::unnecessary_wraps, reason = "stands beside as_text")]
fn raw(found: &str) -> Result<Value<'static>> {
    Ok(Value::owned(found))
}

fn type_of(a: &[Value<'_>]) -> Result<Value<'static>> {
    Ok(Value::owned(Shape::of(a[0].text()?).name()))
}

fn array_length(a: &[Value<'_>]) -> Result<Value<'static>> {
    let json = a[0].text()?;
    match Shape::of(json) {
        Shape::Array => Ok(Value::Int(i64::try_from(elements(json).count()).unwrap_or(i64::MAX))),
        Shape::Object => Err(fault("22023", "cannot get array length of a non-array")),
        _ => Err(fault("22023", "cannot get array length of a scalar")),
    }
}

fn cannot(function: &str, what: &str) -> Error {
    fault("22023", format!("cannot call {function} on {what}"))
}

type Give = fn(&str) -> Result<Value<'static>>;

fn json_elements(a: &[Value<'_>], function: &str, give: Give) -> Result<Value<'static>> {
    let json = a[0].text()?;
    match Shape::of(json) {
        Shape::Array => Ok(Value::List(elements(json).map(give).collect::<Result<_>>()?)),
        Shape::Object => Err(cannot(function, "a non-array")),
        _ => Err(cannot(function, "a scalar")),
    }
}

fn jsonb_elements(a: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    let jsonb = a[0].text()?;
    match Shape::of(jsonb) {
        Shape::Array => Ok(Value::List(elements(jsonb).map(give).collect::<Result<_>>()?)),
        Shape::Object => Err(fault("22023", "cannot extract elements from an object")),
        _ => Err(fault("22023", "cannot extract elements from a scalar")),
    }
}

/// Of an object, in its order.
fn keys(a: &[Value<'_>]) -> Result<Value<'static>> {
    let json = a[0].text()?;
    check_escapes(json)?;
    Ok(Value::List(members(json).map(|(key, _)| Ok(Value::owned(unquoted(key)?))).collect::<Result<_>>()?))
}

fn values(a: &[Value<'_>], give: Give) -> Result<Value<'static>> {
    let json = a[0].text()?;
    check_escapes(json)?;
    Ok(Value::List(members(json).map(|(_, value)| give(value)).collect::<Result<_>>()?))
}

fn json_object(a: &[Value<'_>]) -> Result<()> {
    match Shape::of(a[0].text()?) {
        Shape::Object => Ok(()),
        Shape::Array => Err(fault("22023", "cannot deconstruct an array as an object")),
        _ => Err(fault("22023", "cannot deconstruct a scalar")),
    }
}

fn jsonb_object(a: &[Value<'_>], function: &str) -> Result<()> {
    match Shape::of(a[0].text()?) {
        Shape::Object => Ok(()),
        _ => Err(cannot(function, "a non-object")),
    }
}

fn array_to_json(call: &Call<'_>, a: &[Value<'_>], separator: &str) -> Result<Value<'static>> {
    let mut out = String::new();
    write_array(call, call.kinds[0], a[0].list()?, separator, &mut out);
    Ok(Value::owned(out))
}

fn build_array(call: &Call<'_>, a: &[Value<'_>]) -> String {
    let mut out = "[".to_owned();
    for (at, (kind, value)) in call.kinds.iter().zip(a).enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        write_json(call, *kind, value, &mut out);
    }
    out.push(']');
    out
}

fn build_object(call: &Call<'_>, a: &[Value<'_>], function: &str, null_key: &dyn Fn(usize) -> Error) -> Result<String> {
    if !a.len().is_multiple_of(2) {
        return Err(fault("22023", "argument list must have even number of elements")
            .with_hint(format!("The arguments of {function}() must consist of alternating keys and values.")));
    }
    let mut out = "{".to_owned();
    for (at, (kinds, pair)) in call.kinds.chunks(2).zip(a.chunks(2)).enumerate() {
        let ([key_kind, value_kind], [key, value]) = (kinds, pair) else { break };
        out.push_str(if at > 0 { ", " } else { "" });
        if key.is_null() {
            return Err(null_key(2 * at + 1));
        }
        write_member(call, (*key_kind, key), (*value_kind, value), &mut out)?;
    }
    out.push('}');
    Ok(out)
}

fn write_member(call: &Call<'_>, key: (Kind, &Value<'_>), value: (Kind, &Value<'_>), out: &mut String) -> Result<()> {
    write_key(call, key.0, key.1, out)?;
    out.push_str(" : ");
    write_json(call, value.0, value.1, out);
    Ok(())
}

fn object_agg(call: &Call<'_>, a: &[Value<'_>]) -> Result<String> {
    let kinds = (element_kind(call.kinds[0]), element_kind(call.kinds[1]));
    let mut out = "{ ".to_owned();
    for (at, (key, value)) in a[0].list()?.iter().zip(a[1].list()?).enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        if key.is_null() {
            return Err(fault("22023", "field name must not be null"));
        }
        write_member(call, (kinds.0, key), (kinds.1, value), &mut out)?;
    }
    out.push_str(" }");
    Ok(out)
}

fn object_of_pairs(texts: &[Value<'_>]) -> Result<Value<'static>> {
    if !texts.len().is_multiple_of(2) {
        return Err(fault("2202E", "array must have even number of elements"));
    }
    write_object(texts.chunks(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?))))
}

fn object_of(keys: &[Value<'_>], values: &[Value<'_>]) -> Result<Value<'static>> {
    if keys.is_empty() != values.is_empty() {
        return Err(fault("2202E", "wrong number of array subscripts"));
    }
    if keys.len() != values.len() {
        return Err(fault("2202E", "mismatched array dimensions"));
    }
    write_object(keys.iter().zip(values))
}

fn write_object<'a>(pairs: impl Iterator<Item = (&'a Value<'a>, &'a Value<'a>)>) -> Result<Value<'static>> {
    let mut out = "{".to_owned();
    for (at, (key, value)) in pairs.enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        if key.is_null() {
            return Err(fault("22004", "null value not allowed for object key"));
        }
        quote(key.text()?, &mut out);
        out.push_str(" : ");
        match value {
            Value::Null => out.push_str("null"),
            value => quote(value.text()?, &mut out),
        }
    }
    out.push('}');
    Ok(Value::owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::function::Body;

    #[test]
    fn functions_answer() {
        let check = |signature: &str, kinds: &[Kind], a: &[Value<'_>], expected: &str| {
            let entry = ENTRIES.iter().find(|entry| entry.signature == signature).unwrap();
            let Body::Rows(body) = entry.body else { panic!("{signature}") };
            let answer = body(&Call::new(chrono_tz::UTC, kinds), a);
            let text = answer.and_then(|answer| Ok(answer.text()?.to_owned()));
            assert_eq!(text.unwrap_or_else(|error| error.message().to_owned()), expected);
        };
        let pair = [Value::owned("b\n"), Value::Int(1)];
        check("json_build_object(VARIADIC any) -> json", &[Kind::Text, Kind::Int4], &pair, r#"{"b\n" : 1}"#);
        check(
            "jsonb_build_array(VARIADIC any) -> jsonb",
            &[Kind::Json, Kind::Int4],
            &[Value::owned("[ ]"), Value::Null],
            "[[], null]",
        );
        check(
            "jsonb_build_object(VARIADIC any) -> jsonb",
            &[Kind::Text; 2],
            &[Value::Null, Value::Null],
            "argument 1: key must not be null",
        );
    }
}
