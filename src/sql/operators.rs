//! Operators as Postgres resolves them, by the types of both sides, while a statement is planned.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
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
    forms::TYPED,
    function::{Kind, are_comparable, is_typed},
    strict::{Strict, kind_of},
    temporal,
};
use crate::error::{Code, Error};

/// Plans the operators that the engine has otherwise than Postgres; leaves the rest to those who come after.
#[derive(Debug)]
pub(super) struct PostgresOperators {
    arithmetic: [Arc<ScalarUDF>; Operation::ALL.len()],
    difference: Arc<ScalarUDF>,
    /// The library: an operator is the function that has its symbol for a name.
    functions: Arc<HashMap<String, Arc<ScalarUDF>>>,
}

impl PostgresOperators {
    pub(super) fn new(functions: Arc<HashMap<String, Arc<ScalarUDF>>>) -> Self {
        let arithmetic = Operation::ALL.map(arithmetic::function);
        Self { arithmetic, difference: Arc::new(temporal::difference()), functions }
    }

    /// The library's operator for these operands; the error of it where it takes others.
    fn of_library(&self, raw: &RawBinaryExpr, schema: &DFSchema) -> Option<Result<Expr>> {
        let function = self.functions.get(&raw.op.to_string())?;
        let call = |left: Expr, right: Expr| {
            let call = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![left, right]));
            call.to_field(schema).map(|_| call)
        };
        let (left, right) = (raw.left.clone(), raw.right.clone());
        // What is not known is taken to be of the other side's type first.
        if let (Ok(first), Ok(second)) = (kind_of(&left, schema), kind_of(&right, schema))
            && (first == Kind::Unknown) != (second == Kind::Unknown)
        {
            let (known, is_left) = if first == Kind::Unknown { (second, true) } else { (first, false) };
            if let Some(cast) = self.functions.get(&format!("::{}", known.name())) {
                let typed = |expression: Expr| {
                    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![expression]))
                };
                let exact = match is_left {
                    true => call(typed(left.clone()), right.clone()),
                    false => call(left.clone(), typed(right.clone())),
                };
                if exact.is_ok() {
                    return Some(exact);
                }
            }
        }
        Some(call(left, right))
    }

    /// `left op right` for what the engine compares as Postgres does, once both sides are of one type.
    fn comparison(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if let Some(Ok(planned)) = self.of_library(&raw, schema) {
            return Ok(PlannerResult::Planned(planned));
        }
        let (left, right) = (kind_of(&raw.left, schema)?, kind_of(&raw.right, schema)?);
        let RawBinaryExpr { op, left: mut first, right: mut second } = raw;
        let cast = |expression: Expr, to: Kind| match self.functions.get(&format!("::{}", to.name())) {
            Some(cast) => Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![expression])),
            None => expression,
        };
        match (left, right) {
            (Kind::Unknown, Kind::Unknown) => {}
            // Floats decide about numerics and whole numbers, and the wider about the other.
            (left, right)
                if left != right
                    && (is_float(left) || is_float(right))
                    && left.category() == 'N'
                    && right.category() == 'N' =>
            {
                (first, second) = (cast(first, Kind::Float8), cast(second, Kind::Float8));
            }
            (Kind::Unknown, known) if is_typed(known) => first = cast(first, known),
            (known, Kind::Unknown) if is_typed(known) => second = cast(second, known),
            (Kind::Date | Kind::Timestamp, Kind::Timestamptz) | (Kind::Date, Kind::Timestamp) => {
                first = cast(first, right)
            }
            (Kind::Timestamptz, Kind::Date | Kind::Timestamp) | (Kind::Timestamp, Kind::Date) => {
                second = cast(second, left);
            }
            (left, right) if !are_comparable(left, right) => {
                return Err(no_operator(&op, left, right));
            }
            _ => {}
        }
        comparison(RawBinaryExpr { op, left: first, right: second }, schema)
    }

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
                // Of days, not of dates: the engine takes the difference of those for an elapsed time where it looks for what rules rows out.
                let cast = |value: Expr, to: DataType| Expr::Cast(Cast::new(Box::new(value), to));
                let days = |date: &Expr| cast(cast(date.clone(), DataType::Int32), DataType::Int64);
                cast(of(days(first), days(second)), DataType::Int32)
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

impl PostgresOperators {
    /// An operand whose `CASE`, `COALESCE` and the like are of the type that decides which operator is meant. Operands of operators in it
    /// are settled already.
    fn settled(&self, operand: Expr, schema: &DFSchema) -> Result<Expr> {
        let is_operator = match &operand {
            Expr::BinaryExpr(_) => true,
            Expr::ScalarFunction(call) => {
                self.arithmetic.contains(&call.func)
                    || !call
                        .func
                        .name()
                        .starts_with(|letter: char| letter == '_' || letter == ':' || letter.is_alphabetic())
            }
            _ => false,
        };
        if is_operator {
            return Ok(operand);
        }
        let operand = operand.map_children(|child| self.settled(child, schema).map(Transformed::yes))?.data;
        match &operand {
            Expr::Case(_) | Expr::ScalarFunction(_) => {
                Strict { functions: &self.functions }.expression(operand, schema).map(|made| made.data)
            }
            _ => Ok(operand),
        }
    }
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if matches!(&raw.op, BinaryOperator::Custom(name) if name == TYPED) {
            return self.settled(raw.left, schema).map(PlannerResult::Planned);
        }
        let (left, right) = (self.settled(raw.left, schema)?, self.settled(raw.right, schema)?);
        let raw = RawBinaryExpr { left, right, ..raw };
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
            | BinaryOperator::GtEq => return self.comparison(raw, schema),
            _ => {
                return match self.of_library(&raw, schema) {
                    Some(planned) => planned.map(PlannerResult::Planned),
                    None => Ok(PlannerResult::Original(raw)),
                };
            }
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
            if let Some(planned) = self
                .of_library(&RawBinaryExpr { op: raw.op.clone(), left: first.clone(), right: second.clone() }, schema)
            {
                return planned.map(PlannerResult::Planned);
            }
            // The engine has it of floats.
            if matches!(operation, Operation::Modulo) && is_number(&left) && is_number(&right) {
                return Err(no_operator(&raw.op, kind_of(&first, schema)?, kind_of(&second, schema)?));
            }
            return Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left: first, right: second }));
        }
        // The engine's own cast of a numeric is not always to the nearest float.
        if let Some(float) = self.functions.get("::float8") {
            let wide = |value: Expr| Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(float), vec![value]));
            if is_decimal(&left) && right.is_floating() {
                first = wide(first);
            } else if is_decimal(&right) && left.is_floating() {
                second = wide(second);
            }
        }
        // A whole number beside a numeric has the digits that it is written with, not all that its type could have.
        if is_decimal(&right) && !left.is_floating() {
            first = narrowed(first);
        }
        if is_decimal(&left) && !right.is_floating() {
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

fn no_operator(op: &BinaryOperator, left: Kind, right: Kind) -> DataFusionError {
    let message = format!("operator does not exist: {} {op} {}", left.long_name(), right.long_name());
    let error = Error::new(Code::InvalidSql, message)
        .with_sqlstate("42883")
        .with_hint("no operator of that name takes these types; a cast may help");
    DataFusionError::External(Box::new(error))
}

const fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Float4 | Kind::Float8)
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
