//! Operators as Postgres resolves them, by the types of both sides, while a statement is planned.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, not_impl_err},
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarUDF,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::{
    CHAR_LENGTH_KEY,
    arithmetic::{self, Operation},
    temporal,
};

/// Plans the operators that the engine has otherwise than Postgres; leaves the rest to those who come after.
#[derive(Debug)]
pub struct PostgresOperators {
    arithmetic: [Arc<ScalarUDF>; Operation::ALL.len()],
    difference: Arc<ScalarUDF>,
}

impl Default for PostgresOperators {
    fn default() -> Self {
        Self { arithmetic: Operation::ALL.map(arithmetic::function), difference: Arc::new(temporal::difference()) }
    }
}

impl PostgresOperators {
    /// Dates and times, where the engine's own operators lose the time or give another type.
    fn temporal(&self, operation: Operation, raw: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
        use DataType::{Date32, Interval, Timestamp};
        let operator = match operation {
            Operation::Add => Operator::Plus,
            Operation::Subtract => Operator::Minus,
            _ => return None,
        };
        let moment = |expression: &Expr| {
            Expr::Cast(Cast::new(Box::new(expression.clone()), Timestamp(TimeUnit::Microsecond, None)))
        };
        let of = |left: Expr, right: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
        let (first, second) = (&raw.left, &raw.right);
        Some(match (left, right) {
            (Date32, Interval(_)) => of(moment(first), second.clone()),
            (Interval(_), Date32) if operation == Operation::Add => of(first.clone(), moment(second)),
            (Date32, Date32) if operation == Operation::Subtract => {
                Expr::Cast(Cast::new(Box::new(of(first.clone(), second.clone())), DataType::Int32))
            }
            (Timestamp(_, first_zone), Timestamp(_, second_zone))
                if operation == Operation::Subtract && first_zone.is_some() == second_zone.is_some() =>
            {
                let elapsed = of(first.clone(), second.clone());
                Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.difference), vec![elapsed]))
            }
            _ => return None,
        })
    }
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let operation = match raw.op {
            BinaryOperator::Plus => Operation::Add,
            BinaryOperator::Minus => Operation::Subtract,
            BinaryOperator::Multiply => Operation::Multiply,
            BinaryOperator::Divide => Operation::Divide,
            BinaryOperator::Modulo => Operation::Modulo,
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => return comparison(raw, schema),
            BinaryOperator::HashArrow | BinaryOperator::HashLongArrow => {
                return not_impl_err!("a JSON path that is not a literal: write it as x -> 'a' ->> 'b'");
            }
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let (mut left, mut right) = (raw.left.get_type(schema)?, raw.right.get_type(schema)?);
        if let Some(planned) = self.temporal(operation, &raw, &left, &right) {
            return Ok(PlannerResult::Planned(planned));
        }
        let (mut first, mut second) = (raw.left, raw.right);
        // A string that nobody has given a type takes the other side's.
        if is_untyped(&first) && is_number(&right) {
            first = Expr::Cast(Cast::new(Box::new(first), right.clone()));
            left = right.clone();
        } else if is_untyped(&second) && is_number(&left) {
            second = Expr::Cast(Cast::new(Box::new(second), left.clone()));
            right = left.clone();
        }
        if !arithmetic::is_arithmetic(operation, &left, &right) {
            return Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left: first, right: second }));
        }
        // A whole number beside a numeric has the digits that it is written with, not all that its type could have.
        if is_decimal(&right) {
            first = narrowed(first);
        }
        if is_decimal(&left) {
            second = narrowed(second);
        }
        let function = Arc::clone(&self.arithmetic[operation as usize]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![first, second]))))
    }
}

/// Beside a `char(n)`, whose spaces at the end mean nothing, a literal's mean nothing either.
fn comparison(raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let is_padded = |expression: &Expr| -> Result<bool> {
        Ok(matches!(expression, Expr::Column(_))
            && expression.to_field(schema)?.1.metadata().contains_key(CHAR_LENGTH_KEY))
    };
    let trimmed = |expression: Expr| match expression {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) => {
            Expr::Literal(ScalarValue::Utf8(Some(text.trim_end_matches(' ').to_owned())), metadata)
        }
        other => other,
    };
    let RawBinaryExpr { op, left, right } = raw;
    let (left_is_padded, right_is_padded) = (is_padded(&left)?, is_padded(&right)?);
    let right = if left_is_padded { trimmed(right) } else { right };
    let left = if right_is_padded { trimmed(left) } else { left };
    Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
}

/// A string literal, which Postgres calls `unknown` until something gives it a type.
fn is_untyped(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(ScalarValue::Utf8(_), _))
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

fn narrowed(expression: Expr) -> Expr {
    let value = match &expression {
        Expr::Cast(cast) if cast.field.data_type().is_integer() => match &*cast.expr {
            Expr::Literal(ScalarValue::Int64(Some(value)), _) => *value,
            _ => return expression,
        },
        _ => return expression,
    };
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
    let precision = u8::try_from(digits).unwrap_or(19);
    Expr::Literal(ScalarValue::Decimal128(Some(i128::from(value)), precision, 0), None)
}
