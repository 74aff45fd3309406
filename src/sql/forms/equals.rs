//! What compares by `=` without saying so: `CASE x WHEN y`, `NULLIF`, `IS DISTINCT FROM`. Postgres takes the operator of the two types.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
    helpers::attached_token::AttachedToken,
};

use super::{
    make::{function, take},
    own,
};

/// The form with its comparisons written out; none for others.
pub(super) fn rewrite(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::Case { operand: Some(operand), conditions, .. } if !is_random(operand) => {
            for when in conditions {
                when.condition = compared(operand, BinaryOperator::Eq, &when.condition);
            }
            let Expr::Case { operand, .. } = expression else { return None };
            *operand = None;
            rewrite(expression)
        }
        Expr::Case { operand: None, conditions, else_result, .. } => {
            let results = else_result.as_deref().into_iter().chain(conditions.iter().map(|when| &when.result));
            // One branch tells the type of all.
            let branch = results.clone().find(|result| is_short(result))?.clone();
            Some(function("pilaster_said_like", vec![take(expression), branch]))
        }
        // Columns may be what a join is made by.
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right)
            if is_column(left) && is_column(right) =>
        {
            None
        }
        Expr::IsDistinctFrom(left, right) => Some(distinct(take(left), take(right))),
        Expr::IsNotDistinctFrom(left, right) => {
            let expr = Box::new(Expr::Nested(Box::new(distinct(take(left), take(right)))));
            Some(Expr::UnaryOp { op: UnaryOperator::Not, expr })
        }
        _ => None,
    }
}

/// `NULLIF(value, other)`, of the type that `value` is compared in.
pub(super) fn null_if(value: &Expr, other: &Expr) -> Expr {
    let none = Expr::Value(Value::Null.into());
    let otherwise = function("pilaster_as_compared", vec![value.clone(), other.clone()]);
    let made = choice(vec![(compared(value, BinaryOperator::Eq, other), none)], otherwise);
    if is_short(value) { function("pilaster_said_like", vec![made, value.clone()]) } else { made }
}

fn distinct(left: Expr, right: Expr) -> Expr {
    let is_null = |side: &Expr| Expr::IsNull(Box::new(Expr::Nested(Box::new(side.clone()))));
    let is_there = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(right.clone()))));
    let differ = compared(&left, BinaryOperator::NotEq, &right);
    let yes = Expr::Value(Value::Boolean(true).into());
    choice(vec![(is_null(&left), is_there), (is_null(&right), yes)], differ)
}

fn compared(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    let side = |side: &Expr| Box::new(Expr::Nested(Box::new(side.clone())));
    Expr::BinaryOp { left: side(left), op, right: side(right) }
}

fn choice(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let branches = branches.into_iter().map(|(condition, result)| CaseWhen { condition, result });
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: branches.collect(),
        else_result: Some(Box::new(otherwise)),
    }
}

fn is_column(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Whether it may stand in a plan twice, and is no literal.
fn is_short(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_short(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Arrow | BinaryOperator::HashArrow, .. } => is_short(left),
        Expr::Function(call) => call.name.to_string().trim_matches('"').starts_with("::") && is_cast_of_short(call),
        _ => false,
    }
}

fn is_cast_of_short(call: &Function) -> bool {
    let FunctionArguments::List(list) = &call.args else { return false };
    matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] if is_short(value) || matches!(value, Expr::Value(_)))
}

/// Whether it is another value each time that it is asked for.
fn is_random(expression: &Expr) -> bool {
    own::any(
        expression,
        |inner| matches!(inner, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("random")),
    )
}
