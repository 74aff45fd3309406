//! What ordered-set aggregates make of a group's values, which come as an array in their order and without NULL.
//!
//! Source of the ranks: PostgreSQL, `orderedsetaggs.c`.

use super::array_order::is_same;
use crate::{
    error::Result,
    sql::function::{Entry, Value, fault, rows},
};

/// `mode` and `percentile_disc`, and `percentile_cont` of many fractions.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("pilaster_mode(anyarray) -> anyelement", |_, a| Ok(mode(a[0].list()?).into_static())),
    rows("pilaster_percentile_disc(anyarray, float8) -> anyelement", |_, a| {
        Ok(discrete(a[0].list()?, a[1].float()?)?.into_static())
    }),
    rows("pilaster_percentile_disc(anyarray, float8[]) -> anyarray", |_, a| {
        let values = a[0].list()?;
        each(a[1].list()?, |fraction| Ok(discrete(values, fraction)?.into_static()))
    }),
    rows("pilaster_percentile_cont(float8[], float8[]) -> float8[]", |_, a| {
        let values = a[0].list()?;
        each(a[1].list()?, |fraction| continuous(values, fraction))
    }),
    // An aggregate of no rows is NULL; as a list it is empty.
    rows("pilaster_array_or_empty(anyarray) -> anyarray", |_, a| {
        Ok(if a[0].is_null() { Value::List(Vec::new()) } else { a[0].clone().into_static() })
    })
    .takes_null(),
    // Of how many rows stand before the value, and how many there are.
    rows("pilaster_hypothetical_rank(int8) -> int8", |_, a| Ok(Value::Int(a[0].int()? + 1))),
    rows("pilaster_hypothetical_dense_rank(int8) -> int8", |_, a| Ok(Value::Int(a[0].int()? + 1))),
    rows("pilaster_hypothetical_percent_rank(int8, int8) -> float8", |_, a| {
        Ok(Value::Float(if a[1].int()? == 0 { 0.0 } else { float(a[0].int()?) / float(a[1].int()?) }))
    }),
    rows("pilaster_hypothetical_cume_dist(int8, int8) -> float8", |_, a| {
        Ok(Value::Float(float(a[0].int()? + 1) / float(a[1].int()? + 1)))
    }),
];

#[expect(clippy::cast_precision_loss, reason = "Postgres divides as float8, too")]
fn float(count: i64) -> f64 {
    count as f64
}

fn each(fractions: &[Value<'_>], of: impl Fn(f64) -> Result<Value<'static>>) -> Result<Value<'static>> {
    let of_one = |fraction: &Value<'_>| if fraction.is_null() { Ok(Value::Null) } else { of(fraction.float()?) };
    Ok(Value::List(fractions.iter().map(of_one).collect::<Result<_>>()?))
}

/// The most frequent; of several the first.
fn mode<'a>(values: &[Value<'a>]) -> Value<'a> {
    let (mut best, mut best_count): (Option<&Value<'a>>, usize) = (None, 0);
    for run in values.chunk_by(is_same) {
        if run.len() > best_count {
            (best, best_count) = (run.first(), run.len());
        }
    }
    best.cloned().unwrap_or(Value::Null)
}

fn checked(fraction: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(fraction);
    }
    Err(fault("22003", format!("percentile value {fraction} is not between 0 and 1")))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Postgres computes the rank in float8, too, and it is between 0 and the length"
)]
fn discrete<'a>(values: &[Value<'a>], fraction: f64) -> Result<Value<'a>> {
    let place = (checked(fraction)? * values.len() as f64).ceil() as usize;
    Ok(values.get(place.saturating_sub(1)).cloned().unwrap_or(Value::Null))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Postgres computes the rank in float8, too, and it is between 0 and the last index"
)]
fn continuous(values: &[Value<'_>], fraction: f64) -> Result<Value<'static>> {
    let fraction = checked(fraction)?;
    let Some(last) = values.len().checked_sub(1) else { return Ok(Value::Null) };
    let rank = fraction * last as f64;
    let (low, high) = ((rank.floor() as usize).min(last), (rank.ceil() as usize).min(last));
    let (lower, upper) = (values[low].float()?, values[high].float()?);
    Ok(Value::Float(if low == high { lower } else { lower + (rank - rank.floor()) * (upper - lower) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_postgress() {
        let values = |numbers: &[i64]| numbers.iter().copied().map(Value::Int).collect::<Vec<_>>();
        let check = |fraction: f64, numbers: &[i64], expect: Value<'static>| {
            assert_eq!(discrete(&values(numbers), fraction).unwrap(), expect, "{fraction} of {numbers:?}");
        };
        check(0.5, &[], Value::Null);
        check(0.0, &[1, 2], Value::Int(1));
        check(0.5, &[1, 2, 3, 4], Value::Int(2));
        check(0.51, &[1, 2, 3, 4], Value::Int(3));
        check(1.0, &[1, 2], Value::Int(2));
        assert!(discrete(&values(&[1]), 1.5).is_err());
        assert_eq!(mode(&values(&[1, 2, 2, 3, 3])), Value::Int(2));
        assert_eq!(mode(&values(&[])), Value::Null);
    }
}
