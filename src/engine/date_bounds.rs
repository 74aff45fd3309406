//! Dates beside times: `day < date '1994-01-01' + interval '1 year'`. A date is a midnight, so that a constant time bounds it as a date does;
//! and a date is compared as it lies in the file, where whole row groups and pages can be passed over.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{
        Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

const DAY_MICROS: i64 = 86_400_000_000;

/// Compares dates with dates, in conditions.
#[derive(Debug)]
pub(super) struct DateBounds;

impl OptimizerRule for DateBounds {
    fn name(&self) -> &'static str {
        "date_bounds"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(mut filter) = plan else { return Ok(Transformed::no(plan)) };
        let schema = filter.input.schema();
        let bounded = filter.predicate.transform_up(|part| {
            let is_date = |expression: &Expr| matches!(expression.get_type(schema), Ok(DataType::Date32));
            Ok(bound(&part, is_date).map_or(Transformed::no(part), Transformed::yes))
        })?;
        filter.predicate = bounded.data;
        Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), bounded.transformed))
    }
}

/// The comparison as one of dates, where it is one of a date and a constant time.
fn bound(comparison: &Expr, is_date: impl Fn(&Expr) -> bool) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = comparison else { return None };
    let (date, operator, time) = match (&**left, &**right) {
        (Expr::Cast(date), Expr::Literal(time, _)) => (date, *op, time),
        (Expr::Literal(time, _), Expr::Cast(date)) => (date, op.swap()?, time),
        _ => return None,
    };
    let ScalarValue::TimestampMicrosecond(Some(micros), None) = *time else { return None };
    let is_midnights = *date.field.data_type() == DataType::Timestamp(TimeUnit::Microsecond, None);
    if !is_midnights || !is_date(&date.expr) {
        return None;
    }
    let is_midnight = micros.rem_euclid(DAY_MICROS) == 0;
    let operator = match operator {
        // Of the day itself, the midnight comes before the time.
        Operator::Lt if !is_midnight => Operator::LtEq,
        Operator::GtEq if !is_midnight => Operator::Gt,
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => operator,
        Operator::Eq | Operator::NotEq if is_midnight => operator,
        _ => return None,
    };
    let day = i32::try_from(micros.div_euclid(DAY_MICROS)).ok()?;
    let day = Expr::Literal(ScalarValue::Date32(Some(day)), None);
    Some(Expr::BinaryExpr(BinaryExpr::new(date.expr.clone(), operator, Box::new(day))))
}

#[cfg(test)]
mod tests {
    use datafusion::{logical_expr::cast, prelude::col};

    use super::*;

    fn check(operator: Operator, micros: i64, expect: Option<&str>) {
        let midnight = cast(col("day"), DataType::Timestamp(TimeUnit::Microsecond, None));
        let time = Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), None), None);
        let compared = |left: &Expr, operator, right: &Expr| {
            let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
            let comparison = Expr::BinaryExpr(BinaryExpr::new(left, operator, right));
            bound(&comparison, |date| *date == col("day")).map(|bounded| bounded.to_string())
        };
        assert_eq!(compared(&midnight, operator, &time).as_deref(), expect, "day {operator} {micros}");
        let swapped = operator.swap().unwrap();
        assert_eq!(compared(&time, swapped, &midnight).as_deref(), expect, "{micros} {swapped} day");
    }

    #[test]
    fn a_time_bounds_dates_as_a_date_does() {
        let noon = DAY_MICROS / 2;
        check(Operator::Lt, DAY_MICROS, Some("day < Date32(\"1970-01-02\")"));
        check(Operator::Lt, noon, Some("day <= Date32(\"1970-01-01\")"));
        check(Operator::LtEq, DAY_MICROS, Some("day <= Date32(\"1970-01-02\")"));
        check(Operator::LtEq, noon, Some("day <= Date32(\"1970-01-01\")"));
        check(Operator::Gt, DAY_MICROS, Some("day > Date32(\"1970-01-02\")"));
        check(Operator::Gt, noon, Some("day > Date32(\"1970-01-01\")"));
        check(Operator::GtEq, DAY_MICROS, Some("day >= Date32(\"1970-01-02\")"));
        check(Operator::GtEq, noon, Some("day > Date32(\"1970-01-01\")"));
        check(Operator::Eq, DAY_MICROS, Some("day = Date32(\"1970-01-02\")"));
        check(Operator::NotEq, 0, Some("day != Date32(\"1970-01-01\")"));
        check(Operator::Eq, noon, None);
        // Before the epoch.
        check(Operator::Lt, -1, Some("day <= Date32(\"1969-12-31\")"));
        check(Operator::GtEq, -DAY_MICROS, Some("day >= Date32(\"1969-12-31\")"));
    }
}
