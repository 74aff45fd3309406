//! Comparisons of arrays and of their elements: operators, containment, and `ANY` and `ALL`.

use std::cmp::Ordering;

use crate::{
    error::{Error, Result},
    sql::function::{Body, Call, Decimal, Entry, Value, rows},
};

use super::{interval_math::interval_key, numbers::decimal::aligned};

/// Operators between arrays, and what `x = ANY (array)` and `x = ALL (array)` become.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("= (anyarray, anyarray) -> bool", |_, a| ordered(a, Ordering::is_eq)),
    rows("<> (anyarray, anyarray) -> bool", |_, a| ordered(a, Ordering::is_ne)),
    rows("< (anyarray, anyarray) -> bool", |_, a| ordered(a, Ordering::is_lt)),
    rows("<= (anyarray, anyarray) -> bool", |_, a| ordered(a, Ordering::is_le)),
    rows("> (anyarray, anyarray) -> bool", |_, a| ordered(a, Ordering::is_gt)),
    rows(">= (anyarray, anyarray) -> bool", |_, a| ordered(a, Ordering::is_ge)),
    rows("@> (anyarray, anyarray) -> bool", |_, a| Ok(contains(a[0].list()?, a[1].list()?))),
    rows("<@ (anyarray, anyarray) -> bool", |_, a| Ok(contains(a[1].list()?, a[0].list()?))),
    rows("&& (anyarray, anyarray) -> bool", |_, a| Ok(overlaps(a[0].list()?, a[1].list()?))),
    rows("pilaster_any_eq(anycompatible, anycompatiblearray) -> bool", |_, a| any(a, Ordering::is_eq)).takes_null(),
    rows("pilaster_any_ne(anycompatible, anycompatiblearray) -> bool", |_, a| any(a, Ordering::is_ne)).takes_null(),
    rows("pilaster_any_lt(anycompatible, anycompatiblearray) -> bool", |_, a| any(a, Ordering::is_lt)).takes_null(),
    rows("pilaster_any_le(anycompatible, anycompatiblearray) -> bool", |_, a| any(a, Ordering::is_le)).takes_null(),
    rows("pilaster_any_gt(anycompatible, anycompatiblearray) -> bool", |_, a| any(a, Ordering::is_gt)).takes_null(),
    rows("pilaster_any_ge(anycompatible, anycompatiblearray) -> bool", |_, a| any(a, Ordering::is_ge)).takes_null(),
    rows("pilaster_all_eq(anycompatible, anycompatiblearray) -> bool", |_, a| all(a, Ordering::is_eq)).takes_null(),
    rows("pilaster_all_ne(anycompatible, anycompatiblearray) -> bool", |_, a| all(a, Ordering::is_ne)).takes_null(),
    rows("pilaster_all_lt(anycompatible, anycompatiblearray) -> bool", |_, a| all(a, Ordering::is_lt)).takes_null(),
    rows("pilaster_all_le(anycompatible, anycompatiblearray) -> bool", |_, a| all(a, Ordering::is_le)).takes_null(),
    rows("pilaster_all_gt(anycompatible, anycompatiblearray) -> bool", |_, a| all(a, Ordering::is_gt)).takes_null(),
    rows("pilaster_all_ge(anycompatible, anycompatiblearray) -> bool", |_, a| all(a, Ordering::is_ge)).takes_null(),
    rows("pilaster_any_like(text, text[]) -> bool", |call, a| by_operator(call, a, "~~", true)).takes_null(),
    rows("pilaster_any_not_like(text, text[]) -> bool", |call, a| by_operator(call, a, "!~~", true)).takes_null(),
    rows("pilaster_any_ilike(text, text[]) -> bool", |call, a| by_operator(call, a, "~~*", true)).takes_null(),
    rows("pilaster_any_not_ilike(text, text[]) -> bool", |call, a| by_operator(call, a, "!~~*", true)).takes_null(),
    rows("pilaster_any_match(text, text[]) -> bool", |call, a| by_operator(call, a, "~", true)).takes_null(),
    rows("pilaster_any_not_match(text, text[]) -> bool", |call, a| by_operator(call, a, "!~", true)).takes_null(),
    rows("pilaster_any_imatch(text, text[]) -> bool", |call, a| by_operator(call, a, "~*", true)).takes_null(),
    rows("pilaster_any_not_imatch(text, text[]) -> bool", |call, a| by_operator(call, a, "!~*", true)).takes_null(),
    rows("pilaster_all_like(text, text[]) -> bool", |call, a| by_operator(call, a, "~~", false)).takes_null(),
    rows("pilaster_all_not_like(text, text[]) -> bool", |call, a| by_operator(call, a, "!~~", false)).takes_null(),
    rows("pilaster_all_ilike(text, text[]) -> bool", |call, a| by_operator(call, a, "~~*", false)).takes_null(),
    rows("pilaster_all_not_ilike(text, text[]) -> bool", |call, a| by_operator(call, a, "!~~*", false)).takes_null(),
    rows("pilaster_all_match(text, text[]) -> bool", |call, a| by_operator(call, a, "~", false)).takes_null(),
    rows("pilaster_all_not_match(text, text[]) -> bool", |call, a| by_operator(call, a, "!~", false)).takes_null(),
    rows("pilaster_all_imatch(text, text[]) -> bool", |call, a| by_operator(call, a, "~*", false)).takes_null(),
    rows("pilaster_all_not_imatch(text, text[]) -> bool", |call, a| by_operator(call, a, "!~*", false)).takes_null(),
];

/// What an operator makes of an order.
type Test = fn(Ordering) -> bool;

/// The order of two values of one type as Postgres sorts them: NULL last, texts by bytes, arrays element by element.
pub(in crate::sql) fn compare(left: &Value<'_>, right: &Value<'_>) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right))
        | (Value::Time(left), Value::Time(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Real(left), Value::Real(right)) => compare_floats(f64::from(*left), f64::from(*right)),
        (Value::Float(left), Value::Float(right)) => compare_floats(*left, *right),
        (Value::Numeric(left), Value::Numeric(right)) => compare_numerics(*left, *right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Interval(left), Value::Interval(right)) => interval_key(*left).cmp(&interval_key(*right)),
        (Value::List(left), Value::List(right)) => compare_lists(left, right),
        // Values of one array are of one type: all that is left is NULL.
        (left, right) => left.is_null().cmp(&right.is_null()),
    }
}

/// Whether `IS NOT DISTINCT FROM` holds.
pub(in crate::sql) fn is_same(left: &Value<'_>, right: &Value<'_>) -> bool {
    compare(left, right).is_eq()
}

fn compare_lists(left: &[Value<'_>], right: &[Value<'_>]) -> Ordering {
    let mut pairs = left.iter().zip(right).map(|(left, right)| compare(left, right));
    pairs.find(|order| order.is_ne()).unwrap_or_else(|| left.len().cmp(&right.len()))
}

/// NaN is equal to itself and larger than all others, and zeros are equal.
fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn compare_numerics(left: Decimal, right: Decimal) -> Ordering {
    if left.scale == right.scale {
        return left.unscaled.cmp(&right.unscaled);
    }
    let (left, right, _) = aligned(left, right);
    left.cmp(&right)
}

fn ordered(arguments: &[Value<'_>], test: Test) -> Result<Value<'static>> {
    Ok(Value::Bool(test(compare_lists(arguments[0].list()?, arguments[1].list()?))))
}

/// NULL is never contained.
fn contains(whole: &[Value<'_>], part: &[Value<'_>]) -> Value<'static> {
    let held = |element: &Value<'_>| !element.is_null() && whole.iter().any(|other| is_same(other, element));
    Value::Bool(part.iter().all(held))
}

fn overlaps(left: &[Value<'_>], right: &[Value<'_>]) -> Value<'static> {
    let held = |element: &Value<'_>| !element.is_null() && right.iter().any(|other| is_same(other, element));
    Value::Bool(left.iter().any(held))
}

fn any(arguments: &[Value<'_>], test: Test) -> Result<Value<'static>> {
    quantified(arguments, true, |left, right| Ok(test(compare(left, right))))
}

fn all(arguments: &[Value<'_>], test: Test) -> Result<Value<'static>> {
    quantified(arguments, false, |left, right| Ok(test(compare(left, right))))
}

/// `ANY` or `ALL` of an operator between texts, which the library has.
fn by_operator(call: &Call<'_>, arguments: &[Value<'_>], symbol: &str, decided: bool) -> Result<Value<'static>> {
    let entry = call.prepared(symbol, |symbol| {
        let signature = format!("{symbol} (text, text) -> bool");
        let found = super::entries().find(|entry| entry.signature == signature).copied();
        found.ok_or_else(|| Error::internal(format!("there is no operator {symbol}")))
    })?;
    let Body::Rows(body) = entry.body else {
        return Err(Error::internal(format!("the operator {symbol} is not computed by rows")));
    };
    quantified(arguments, decided, |left, right| body(call, &[left.clone(), right.clone()])?.bool())
}

/// `decided` as soon as one element says so, else NULL if one comparison is NULL.
fn quantified(
    arguments: &[Value<'_>],
    decided: bool,
    test: impl Fn(&Value<'_>, &Value<'_>) -> Result<bool>,
) -> Result<Value<'static>> {
    let (element, list) = (&arguments[0], &arguments[1]);
    if list.is_null() {
        return Ok(Value::Null);
    }
    let mut is_unknown = false;
    for other in list.list()? {
        if element.is_null() || other.is_null() {
            is_unknown = true;
        } else if test(element, other)? == decided {
            return Ok(Value::Bool(decided));
        }
    }
    Ok(if is_unknown { Value::Null } else { Value::Bool(!decided) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::function::Interval;
    use arrow::datatypes::i256;

    #[test]
    fn values_are_ordered_as_postgres_sorts_them() {
        let numeric = |unscaled, scale| Value::Numeric(Decimal { unscaled: i256::from_i128(unscaled), scale });
        let interval = |months, days, micros| Value::Interval(Interval { months, days, micros });
        let list = |values: &[i64]| Value::List(values.iter().copied().map(Value::Int).collect());
        let huge = Value::Numeric(Decimal { unscaled: i256::MAX, scale: 0 });
        let check = |left: &Value<'_>, right: &Value<'_>, expect| {
            assert_eq!(compare(left, right), expect, "{left:?} {right:?}");
            assert_eq!(compare(right, left), expect.reverse(), "{right:?} {left:?}");
        };
        check(&Value::Float(f64::NAN), &Value::Float(f64::INFINITY), Ordering::Greater);
        check(&Value::Float(-0.0), &Value::Float(0.0), Ordering::Equal);
        check(&numeric(150, 2), &numeric(15, 1), Ordering::Equal);
        check(&huge, &numeric(1, 40), Ordering::Greater);
        check(&interval(1, 0, 0), &interval(0, 29, 86_400_000_000), Ordering::Equal);
        check(&Value::Null, &Value::Int(i64::MAX), Ordering::Greater);
        check(&list(&[1, 2]), &list(&[1, 2, 0]), Ordering::Less);
        check(&list(&[2]), &list(&[1, 9]), Ordering::Greater);
        check(&Value::owned("é"), &Value::owned("z"), Ordering::Greater);
    }

    #[test]
    fn any_and_all_are_of_three_values() {
        let list = |values: &[Option<i64>]| {
            Value::List(values.iter().map(|value| value.map_or(Value::Null, Value::Int)).collect())
        };
        let check = |element: Value<'static>, values: &[Option<i64>], is_any: bool, expect: Value<'static>| {
            let arguments = [element, list(values)];
            let result =
                if is_any { any(&arguments, Ordering::is_eq) } else { all(&arguments, Ordering::is_eq) }.unwrap();
            assert_eq!(result, expect, "{arguments:?}");
        };
        check(Value::Int(1), &[None, Some(1)], true, Value::Bool(true));
        check(Value::Int(1), &[None, Some(2)], true, Value::Null);
        check(Value::Int(1), &[None, Some(2)], false, Value::Bool(false));
        check(Value::Int(1), &[None, Some(1)], false, Value::Null);
        check(Value::Null, &[], true, Value::Bool(false));
        check(Value::Null, &[Some(1)], false, Value::Null);
    }
}
