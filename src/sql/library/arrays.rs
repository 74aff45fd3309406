//! Functions of arrays of one dimension: parts, sizes, searches and changes.

use crate::{
    error::{Error, Result},
    sql::function::{Entry, Value, fault, rows},
};

use super::array_order::is_same;

/// Postgres stops at 134217727; what is made of nothing stops earlier here.
const ELEMENTS_MAX: i64 = 10_000_000;
/// Of Postgres's arrays; here they have one.
pub(super) const DIMENSIONS_MAX: usize = 6;

/// Functions, and `||`.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("array_append(anycompatiblearray, anycompatible) -> anycompatiblearray", |_, a| append(&a[0], &a[1]))
        .takes_null(),
    rows("array_prepend(anycompatible, anycompatiblearray) -> anycompatiblearray", |_, a| prepend(&a[0], &a[1]))
        .takes_null(),
    rows("array_cat(anycompatiblearray, anycompatiblearray) -> anycompatiblearray", |_, a| concatenate(&a[0], &a[1]))
        .takes_null(),
    rows("|| (anycompatiblearray, anycompatible) -> anycompatiblearray", |_, a| append(&a[0], &a[1])).takes_null(),
    rows("|| (anycompatible, anycompatiblearray) -> anycompatiblearray", |_, a| prepend(&a[0], &a[1])).takes_null(),
    rows("|| (anycompatiblearray, anycompatiblearray) -> anycompatiblearray", |_, a| concatenate(&a[0], &a[1]))
        .takes_null(),
    rows("cardinality(anyarray) -> int4", |_, a| Ok(Value::Int(count(a[0].list()?)))),
    rows("array_ndims(anyarray) -> int4", |_, a| Ok(in_first(a[0].list()?, 1, |_| 1))),
    rows("array_length(anyarray, int4) -> int4", |_, a| Ok(in_first(a[0].list()?, a[1].int()?, |length| length))),
    rows("array_lower(anyarray, int4) -> int4", |_, a| Ok(in_first(a[0].list()?, a[1].int()?, |_| 1))),
    rows("array_upper(anyarray, int4) -> int4", |_, a| Ok(in_first(a[0].list()?, a[1].int()?, |length| length))),
    rows("array_dims(anyarray) -> text", |_, a| Ok(dimensions(a[0].list()?))),
    rows("pilaster_array_get(anyarray, int4) -> anyelement", |_, a| Ok(element(a[0].list()?, a[1].int()?))),
    rows("pilaster_array_slice(anyarray, int4, int4) -> anyarray", |_, a| {
        Ok(slice(a[0].list()?, a[1].int()?, a[2].int()?))
    }),
    rows("array_position(anycompatiblearray, anycompatible) -> int4", |_, a| position(&a[0], &a[1], &Value::Int(1)))
        .takes_null(),
    rows("array_position(anycompatiblearray, anycompatible, int4) -> int4", |_, a| position(&a[0], &a[1], &a[2]))
        .takes_null(),
    rows("array_positions(anycompatiblearray, anycompatible) -> int4[]", |_, a| positions(&a[0], &a[1])).takes_null(),
    rows("array_remove(anycompatiblearray, anycompatible) -> anycompatiblearray", |_, a| remove(&a[0], &a[1]))
        .takes_null(),
    rows("array_replace(anycompatiblearray, anycompatible, anycompatible) -> anycompatiblearray", |_, a| {
        replace(&a[0], &a[1], &a[2])
    })
    .takes_null(),
    rows("array_fill(anyelement, int4[]) -> anyarray", |_, a| fill(&a[0], &a[1], None)).takes_null(),
    rows("array_fill(anyelement, int4[], int4[]) -> anyarray", |_, a| fill(&a[0], &a[1], Some(&a[2]))).takes_null(),
    rows("trim_array(anyarray, int4) -> anyarray", |_, a| trim(a[0].list()?, a[1].int()?)),
    rows("pilaster_unnest(anyarray) -> anyarray", |_, a| Ok(a[0].clone().into_static())),
    rows("pilaster_subscripts(anyarray, int4) -> int4[]", |_, a| Ok(subscripts(a[0].list()?, a[1].int()?, false))),
    rows("pilaster_subscripts(anyarray, int4, bool) -> int4[]", |_, a| {
        Ok(subscripts(a[0].list()?, a[1].int()?, a[2].bool()?))
    }),
];

fn list<'a>(values: impl IntoIterator<Item = &'a Value<'a>>) -> Value<'static> {
    Value::List(values.into_iter().map(|value| value.clone().into_static()).collect())
}

fn count(values: &[Value<'_>]) -> i64 {
    i64::try_from(values.len()).unwrap_or(i64::MAX)
}

/// NULL is no elements here.
fn elements<'a, 'b>(array: &'b Value<'a>) -> Result<&'b [Value<'a>]> {
    if array.is_null() { Ok(&[]) } else { array.list() }
}

fn append(array: &Value<'_>, element: &Value<'_>) -> Result<Value<'static>> {
    Ok(list(elements(array)?.iter().chain([element])))
}

fn prepend(element: &Value<'_>, array: &Value<'_>) -> Result<Value<'static>> {
    Ok(list([element].into_iter().chain(elements(array)?)))
}

fn concatenate(left: &Value<'_>, right: &Value<'_>) -> Result<Value<'static>> {
    if left.is_null() && right.is_null() {
        return Ok(Value::Null);
    }
    let (left, right) = (elements(left)?, elements(right)?);
    if count(left) + count(right) > ELEMENTS_MAX {
        return Err(too_large());
    }
    Ok(list(left.iter().chain(right)))
}

/// Something of the first dimension; an empty array has none, and none has a second one.
fn in_first(array: &[Value<'_>], dimension: i64, of: fn(i64) -> i64) -> Value<'static> {
    let has = dimension == 1 && !array.is_empty();
    if has { Value::Int(of(count(array))) } else { Value::Null }
}

fn dimensions(array: &[Value<'_>]) -> Value<'static> {
    if array.is_empty() { Value::Null } else { Value::owned(format!("[1:{}]", array.len())) }
}

fn element(array: &[Value<'_>], subscript: i64) -> Value<'static> {
    let index = subscript.checked_sub(1).and_then(|index| usize::try_from(index).ok());
    let found = index.and_then(|index| array.get(index));
    found.map_or(Value::Null, |value| value.clone().into_static())
}

fn slice(array: &[Value<'_>], lower: i64, upper: i64) -> Value<'static> {
    let start = usize::try_from(lower.saturating_sub(1).max(0)).unwrap_or(usize::MAX);
    let end = usize::try_from(upper.max(0)).unwrap_or(usize::MAX).min(array.len());
    list(array.get(start..end).unwrap_or_default())
}

fn position(array: &Value<'_>, element: &Value<'_>, start: &Value<'_>) -> Result<Value<'static>> {
    let array = elements(array)?;
    if array.is_empty() || (element.is_null() && !array.iter().any(Value::is_null)) {
        return Ok(Value::Null);
    }
    if start.is_null() {
        return Err(fault("22004", "initial position must not be null"));
    }
    let start = start.int()?;
    let found = (1..).zip(array).find(|(at, value)| *at >= start && is_same(value, element));
    Ok(found.map_or(Value::Null, |(at, _)| Value::Int(at)))
}

fn positions(array: &Value<'_>, element: &Value<'_>) -> Result<Value<'static>> {
    if array.is_null() {
        return Ok(Value::Null);
    }
    let found = (1..).zip(array.list()?).filter(|(_, value)| is_same(value, element));
    Ok(Value::List(found.map(|(at, _)| Value::Int(at)).collect()))
}

fn remove(array: &Value<'_>, element: &Value<'_>) -> Result<Value<'static>> {
    if array.is_null() {
        return Ok(Value::Null);
    }
    Ok(list(array.list()?.iter().filter(|value| !is_same(value, element))))
}

fn replace(array: &Value<'_>, old: &Value<'_>, new: &Value<'_>) -> Result<Value<'static>> {
    if array.is_null() {
        return Ok(Value::Null);
    }
    Ok(list(array.list()?.iter().map(|value| if is_same(value, old) { new } else { value })))
}

fn fill(element: &Value<'_>, sizes: &Value<'_>, bounds: Option<&Value<'_>>) -> Result<Value<'static>> {
    if sizes.is_null() || bounds.is_some_and(Value::is_null) {
        return Err(fault("22004", "dimension array or low bound array cannot be null"));
    }
    let sizes = integers(sizes)?;
    if sizes.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(sizes.len()));
    }
    let bounds = bounds.map(integers).transpose()?;
    if bounds.as_ref().is_some_and(|bounds| bounds.len() != sizes.len()) {
        let error = fault("2202E", "wrong number of array subscripts");
        return Err(error.with_detail("Low bound array has different size than dimensions array."));
    }
    if sizes.iter().any(|size| *size < 0) {
        return Err(too_large());
    }
    if sizes.is_empty() || sizes.contains(&0) {
        return Ok(Value::List(Vec::new()));
    }
    let [size] = sizes[..] else { return Err(unsupported("arrays of several dimensions")) };
    if size > ELEMENTS_MAX {
        return Err(too_large());
    }
    let bound = bounds.and_then(|bounds| bounds.first().copied()).unwrap_or(1);
    if bound + size > i64::from(i32::MAX) {
        return Err(fault("54000", format!("array lower bound is too large: {bound}")));
    }
    if bound != 1 {
        return Err(unsupported("arrays that do not start at 1"));
    }
    Ok(list((0..size).map(|_| element)))
}

fn integers(array: &Value<'_>) -> Result<Vec<i64>> {
    let integer = |value: &Value<'_>| match value {
        Value::Null => Err(fault("22004", "dimension values cannot be null")),
        value => value.int(),
    };
    array.list()?.iter().map(integer).collect()
}

fn too_large() -> Error {
    fault("54000", "array size exceeds the maximum allowed (134217727)")
}

/// More than Postgres has.
pub(super) fn too_many_dimensions(number: usize) -> Error {
    fault("54000", format!("number of array dimensions ({number}) exceeds the maximum allowed ({DIMENSIONS_MAX})"))
}

/// What Postgres has and we do not.
pub(super) fn unsupported(what: &str) -> Error {
    fault("0A000", format!("{what} are not supported"))
}

fn trim(array: &[Value<'_>], number: i64) -> Result<Value<'static>> {
    let kept = usize::try_from(number).ok().and_then(|number| array.len().checked_sub(number));
    let kept = kept.and_then(|kept| array.get(..kept)).map(list);
    kept.ok_or_else(|| fault("2202E", format!("number of elements to trim must be between 0 and {}", array.len())))
}

fn subscripts(array: &[Value<'_>], dimension: i64, is_reversed: bool) -> Value<'static> {
    let all = 1..=if dimension == 1 { count(array) } else { 0 };
    Value::List(if is_reversed { all.rev().map(Value::Int).collect() } else { all.map(Value::Int).collect() })
}
