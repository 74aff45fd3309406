//! Changing `jsonb`: putting values together, taking parts away, setting them, and printing it on many lines.

use super::{
    json_operators::path_index,
    json_text::{BLANKS, Shape, check_escapes, elements, members, quote, read, unquoted},
    json_value::{Json, by_length},
};
use crate::{
    error::{Error, Result},
    sql::function::{Entry, Value, fault, rows},
};

/// Functions that change `json` and `jsonb`.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("jsonb_set(jsonb, text[], jsonb) -> jsonb", |_, a| set(a, Change::Create)),
    rows("jsonb_set(jsonb, text[], jsonb, bool) -> jsonb", |_, a| set(a, if_missing(&a[3])?)),
    rows("jsonb_set_lax(jsonb, text[], jsonb) -> jsonb", |_, a| set_lax(a)).takes_null(),
    rows("jsonb_set_lax(jsonb, text[], jsonb, bool) -> jsonb", |_, a| set_lax(a)).takes_null(),
    rows("jsonb_set_lax(jsonb, text[], jsonb, bool, text) -> jsonb", |_, a| set_lax(a)).takes_null(),
    rows("jsonb_insert(jsonb, text[], jsonb) -> jsonb", |_, a| set(a, Change::InsertBefore)),
    rows("jsonb_insert(jsonb, text[], jsonb, bool) -> jsonb", |_, a| {
        set(a, if a[3].bool()? { Change::InsertAfter } else { Change::InsertBefore })
    }),
    rows("jsonb_strip_nulls(jsonb) -> jsonb", |_, a| {
        let mut value = read(a[0].text()?)?;
        strip_nulls(&mut value);
        Ok(Value::owned(value.print()))
    }),
    rows("json_strip_nulls(json) -> json", |_, a| {
        check_escapes(a[0].text()?)?;
        let mut out = String::new();
        write_stripped(a[0].text()?, &mut out)?;
        Ok(Value::owned(out))
    }),
    rows("jsonb_pretty(jsonb) -> text", |_, a| {
        let mut out = String::new();
        write_pretty(&read(a[0].text()?)?, 0, &mut out)?;
        Ok(Value::owned(out))
    }),
];

/// How long a text that is broken into lines may become.
const TEXT_MAX: usize = 64 << 20;

/// `||`: members side by side, the right ones win; else all becomes the elements of one array.
pub(super) fn concatenate(left: &str, right: &str) -> Result<Value<'static>> {
    let joined = match (read(left)?, read(right)?) {
        (Json::Object(mut first), Json::Object(second)) => {
            first.extend(second);
            Json::object(first)
        }
        (first, second) => {
            let mut elements = into_elements(first);
            elements.extend(into_elements(second));
            Json::Array(elements)
        }
    };
    Ok(Value::owned(joined.print()))
}

fn into_elements(value: Json<'_>) -> Vec<Json<'_>> {
    match value {
        Json::Array(elements) => elements,
        value => vec![value],
    }
}

/// `-` of texts: members with these keys, and strings of an array that are equal to them.
pub(super) fn delete_keys(jsonb: &str, keys: &[Value<'_>]) -> Result<Value<'static>> {
    let is_key = |text: &str| keys.iter().any(|key| key.text().is_ok_and(|key| key == text));
    let mut value = read(jsonb)?;
    match &mut value {
        Json::Object(members) => members.retain(|(key, _)| !is_key(key)),
        Json::Array(elements) => {
            elements.retain(|element| !matches!(element, Json::String(text) if is_key(text)));
        }
        _ => return Err(fault("22023", "cannot delete from scalar")),
    }
    Ok(Value::owned(value.print()))
}

/// `-` of a number: the element at that place.
pub(super) fn delete_index(jsonb: &str, at: i64) -> Result<Value<'static>> {
    let mut value = read(jsonb)?;
    match &mut value {
        Json::Object(_) => return Err(fault("22023", "cannot delete from object using integer index")),
        Json::Array(elements) => {
            if let Some(at) = place(at, elements.len()).filter(|at| *at < elements.len()) {
                elements.remove(at);
            }
        }
        _ => return Err(fault("22023", "cannot delete from scalar")),
    }
    Ok(Value::owned(value.print()))
}

/// `#-`.
pub(super) fn delete_path(jsonb: &str, path: &[Value<'_>]) -> Result<Value<'static>> {
    let mut value = read(jsonb)?;
    if value.is_scalar() {
        return Err(fault("22023", "cannot delete path in scalar"));
    }
    if !is_empty(&value) && !path.is_empty() {
        change(&mut value, path, 0, &Json::Null, Change::Delete)?;
    }
    Ok(Value::owned(value.print()))
}

/// A place counted from the end where it is negative; none if that is before the first.
fn place(at: i64, length: usize) -> Option<usize> {
    match usize::try_from(at) {
        Ok(at) => Some(at),
        Err(_) => length.checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
    }
}

fn is_empty(value: &Json<'_>) -> bool {
    match value {
        Json::Array(elements) => elements.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// What is done at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Delete,
    Replace,
    /// Replaces, or makes what is not there.
    Create,
    InsertBefore,
    InsertAfter,
}

impl Change {
    const fn makes(self) -> bool {
        matches!(self, Self::Create | Self::InsertBefore | Self::InsertAfter)
    }
}

fn if_missing(creates: &Value<'_>) -> Result<Change> {
    Ok(if creates.bool()? { Change::Create } else { Change::Replace })
}

fn set(a: &[Value<'_>], how: Change) -> Result<Value<'static>> {
    let mut value = read(a[0].text()?)?;
    if value.is_scalar() {
        return Err(fault("22023", "cannot set path in scalar"));
    }
    let path = a[1].list()?;
    if !path.is_empty() && (how != Change::Replace || !is_empty(&value)) {
        change(&mut value, path, 0, &read(a[2].text()?)?, how)?;
    }
    Ok(Value::owned(value.print()))
}

fn set_lax(a: &[Value<'_>]) -> Result<Value<'static>> {
    let creates = a.get(3).unwrap_or(&Value::Bool(true));
    if a[0].is_null() || a[1].is_null() || creates.is_null() {
        return Ok(Value::Null);
    }
    let treatment = match a.get(4) {
        None => "use_json_null",
        Some(Value::Null) => return Err(no_treatment()),
        Some(treatment) => treatment.text()?,
    };
    if !a[2].is_null() {
        return set(a, if_missing(creates)?);
    }
    match treatment {
        "raise_exception" => Err(fault("22004", "JSON value must not be null")
            .with_detail("Exception was raised because null_value_treatment is \"raise_exception\".")
            .with_hint(
                "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.",
            )),
        "use_json_null" => {
            let with_null = [a[0].clone(), a[1].clone(), Value::owned("null")];
            set(&with_null, if_missing(creates)?)
        }
        "delete_key" => delete_path(a[0].text()?, a[1].list()?),
        "return_target" => Ok(a[0].clone().into_static()),
        _ => Err(no_treatment()),
    }
}

fn no_treatment() -> Error {
    fault(
        "22023",
        "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
    )
}

/// Follows the path from its step `level` on and changes what is at its end.
fn change<'a>(value: &mut Json<'a>, path: &[Value<'_>], level: usize, new: &Json<'a>, how: Change) -> Result<()> {
    let Some(step) = path.get(level) else { return Ok(()) };
    if step.is_null() {
        return Err(fault("22004", format!("path element at position {} is null", level + 1)));
    }
    let (step, is_last) = (step.text()?, level + 1 == path.len());
    match value {
        Json::Object(members) => match members.binary_search_by(|(key, _)| by_length(key, step)) {
            Ok(at) if !is_last => change(&mut members[at].1, path, level + 1, new, how)?,
            Ok(at) => match how {
                Change::Delete => drop(members.remove(at)),
                Change::Replace | Change::Create => members[at].1 = new.clone(),
                Change::InsertBefore | Change::InsertAfter => {
                    return Err(fault("22023", "cannot replace existing key")
                        .with_hint("Try using the function jsonb_set to replace key value."));
                }
            },
            Err(at) if is_last && how.makes() => members.insert(at, (step.to_owned().into(), new.clone())),
            Err(_) => {}
        },
        Json::Array(elements) => {
            let at = path_index(step).ok_or_else(|| {
                fault("22P02", format!("path element at position {} is not an integer: \"{step}\"", level + 1))
            })?;
            match place(at, elements.len()) {
                Some(at) if at < elements.len() && !is_last => change(&mut elements[at], path, level + 1, new, how)?,
                Some(at) if at < elements.len() => match how {
                    Change::Delete => drop(elements.remove(at)),
                    Change::Replace | Change::Create => elements[at] = new.clone(),
                    Change::InsertBefore => elements.insert(at, new.clone()),
                    Change::InsertAfter => elements.insert(at + 1, new.clone()),
                },
                Some(_) if is_last && how.makes() => elements.push(new.clone()),
                None if is_last && how.makes() => elements.insert(0, new.clone()),
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

/// Takes the members away that are null, at all depths; elements of arrays stay.
fn strip_nulls(value: &mut Json<'_>) {
    match value {
        Json::Array(elements) => elements.iter_mut().for_each(strip_nulls),
        Json::Object(members) => {
            members.retain(|(_, value)| *value != Json::Null);
            for (_, value) in members {
                strip_nulls(value);
            }
        }
        _ => {}
    }
}

/// The same of a text, whose members keep their order and numbers their spelling.
fn write_stripped(json: &str, out: &mut String) -> Result<()> {
    match Shape::of(json) {
        Shape::Array => {
            out.push('[');
            for (at, element) in elements(json).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_stripped(element, out)?;
            }
            out.push(']');
        }
        Shape::Object => {
            out.push('{');
            let members = members(json).filter(|(_, value)| Shape::of(value) != Shape::Null);
            for (at, (key, value)) in members.enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                quote(&unquoted(key)?, out);
                out.push(':');
                write_stripped(value, out)?;
            }
            out.push('}');
        }
        shape => {
            let scalar = json.trim_matches(BLANKS);
            match shape {
                Shape::String => quote(&unquoted(scalar)?, out),
                _ => out.push_str(scalar),
            }
        }
    }
    Ok(())
}

/// Each element and member on its own line, four spaces deeper than what holds it.
fn write_pretty(value: &Json<'_>, depth: usize, out: &mut String) -> Result<()> {
    if out.len() > TEXT_MAX {
        return Err(fault("54000", "requested length too large"));
    }
    let line = |at: usize, out: &mut String| {
        out.push_str(if at > 0 { ",\n" } else { "\n" });
        out.push_str(&" ".repeat(4 * (depth + 1)));
    };
    let close = |bracket: char, out: &mut String| {
        out.push('\n');
        out.push_str(&" ".repeat(4 * depth));
        out.push(bracket);
    };
    match value {
        Json::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                line(at, out);
                write_pretty(element, depth + 1, out)?;
            }
            close(']', out);
        }
        Json::Object(members) => {
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                line(at, out);
                quote(key, out);
                out.push_str(": ");
                write_pretty(value, depth + 1, out)?;
            }
            close('}', out);
        }
        scalar => scalar.write(out),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_changed() {
        let check = |jsonb: &str, path: &[&str], how: Change, expected: &str| {
            let path = Value::List(path.iter().map(|step| Value::owned(*step)).collect());
            assert_eq!(set(&[Value::owned(jsonb), path, Value::owned("9")], how).unwrap(), Value::owned(expected));
        };
        check("[1, {\"x\": 2}]", &["-1", "x"], Change::Create, "[1, {\"x\": 9}]");
        check("[1]", &["7"], Change::Create, "[1, 9]");
        check("[1]", &["-7"], Change::InsertAfter, "[9, 1]");
        check("[1]", &["7"], Change::Replace, "[1]");
        check("[1, 2]", &["0"], Change::InsertAfter, "[1, 9, 2]");
        check("{\"bb\": 1}", &["a"], Change::Create, "{\"a\": 9, \"bb\": 1}");
        check("{}", &["a", "b"], Change::Create, "{}");
    }
}
