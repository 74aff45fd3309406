//! Numbers as wide as the widest of them. The engine takes a `CASE` for what its first branch is, and a union for its first input, until it
//! coerces them all; what reads them would be planned for another width.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result},
    logical_expr::{
        Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, type_coercion::binary::type_union_coercion,
    },
};

const DIGITS_MAX: u8 = 76;

/// The branches of a `CASE` and the like, cast where they are narrower; whether one was.
pub(super) fn of_one_number(values: &mut [&mut Expr], schema: &DFSchema) -> Result<bool> {
    let types = values.iter().map(|value| value.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let Some(widest) = widest(types.iter()) else { return Ok(false) };
    let mut changed = false;
    for (value, data_type) in values.iter_mut().zip(types) {
        if data_type != widest && !data_type.is_null() {
            **value = Expr::Cast(Cast::new(Box::new(std::mem::take(*value)), widest.clone()));
            changed = true;
        }
    }
    Ok(changed)
}

/// The inputs of a union with their numbers cast where they are narrower; none where none is.
pub(super) fn of_one_width(inputs: &[Arc<LogicalPlan>]) -> Result<Option<Vec<Arc<LogicalPlan>>>> {
    let count = inputs.first().map_or(0, |input| input.schema().fields().len());
    let type_at = |input: &Arc<LogicalPlan>, place: usize| input.schema().field(place).data_type().clone();
    let widths: Vec<Option<DataType>> = (0..count)
        .map(|place| {
            let types: Vec<DataType> = inputs.iter().map(|input| type_at(input, place)).collect();
            widest(types.iter())
        })
        .collect();
    let mut is_changed = false;
    let mut made = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut changed = false;
        let columns = input.schema().columns().into_iter().zip(&widths).enumerate().map(|(place, (column, width))| {
            let value = Expr::Column(column.clone());
            match width {
                Some(width) if *width != type_at(input, place) && !type_at(input, place).is_null() => {
                    changed = true;
                    Expr::Cast(Cast::new(Box::new(value), width.clone())).alias_qualified(column.relation, column.name)
                }
                _ => value,
            }
        });
        let columns: Vec<Expr> = columns.collect();
        is_changed |= changed;
        made.push(match changed {
            true => Arc::new(LogicalPlanBuilder::new_from_arc(Arc::clone(input)).project(columns)?.build()?),
            false => Arc::clone(input),
        });
    }
    Ok(is_changed.then_some(made))
}

/// The type that holds all of them; none if one is no number.
fn widest<'a>(types: impl Iterator<Item = &'a DataType>) -> Option<DataType> {
    let mut widest: Option<DataType> = None;
    for data_type in types.filter(|data_type| !data_type.is_null()) {
        if !data_type.is_decimal() && !data_type.is_integer() {
            return None;
        }
        widest = Some(match widest {
            Some(widest) => wider(&widest, data_type)?,
            None => data_type.clone(),
        });
    }
    widest
}

/// Where two do not fit into one, the engine finds no type. Rather all digits behind the point, and a number that is too large is an error.
fn wider(left: &DataType, right: &DataType) -> Option<DataType> {
    let any_decimal = left.is_decimal() || right.is_decimal();
    let behind = scale(left).max(scale(right));
    type_union_coercion(left, right).or(any_decimal.then_some(DataType::Decimal256(DIGITS_MAX, behind)))
}

const fn scale(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use DataType::{Decimal128, Decimal256, Int32, Int64, Null, Utf8};

    use super::*;

    #[test]
    fn no_digit_behind_the_point_is_given_up() {
        let check =
            |types: &[DataType], expect: Option<DataType>| assert_eq!(widest(types.iter()), expect, "{types:?}");
        check(&[Int32, Int64], Some(Int64));
        check(&[Int32, Null], Some(Int32));
        check(&[Decimal128(10, 2), Decimal128(12, 4)], Some(Decimal128(12, 4)));
        check(&[Decimal128(10, 2), Decimal128(4, 4)], Some(Decimal128(12, 4)));
        check(&[Decimal256(76, 1), Decimal128(20, 4)], Some(Decimal256(76, 4)));
        check(&[Decimal128(20, 4), Int32, Decimal256(76, 0), Decimal256(76, 30)], Some(Decimal256(76, 30)));
        check(&[Int32, Utf8], None);
        check(&[Null], None);
    }
}
